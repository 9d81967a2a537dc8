"""The driver's tables in Neutron's database. None of them holds a document: documents are always read anew."""

from neutron_lib.db import model_base
import sqlalchemy as sa

# SQLite counts by itself only what is called INTEGER.
Sequence = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Seconds = sa.Float(53)


class Lease(model_base.BASEV2):
    """Who does what, and until when: seconds by the database's clock, which all servers share."""
    __tablename__ = 'martlet_leases'

    name = sa.Column(sa.String(270), primary_key=True)
    owner = sa.Column(sa.String(64), nullable=False, default='')
    # Grows whenever the lease is taken, so that what the last holder left under way is older than all that follows.
    generation = sa.Column(sa.BigInteger, nullable=False, default=0)
    expires_at = sa.Column(Seconds, nullable=False, default=0)


class Host(model_base.BASEV2):
    """A host with a martletd: what it says of itself, and how it fares."""
    __tablename__ = 'martlet_hosts'

    host = sa.Column(sa.String(255), primary_key=True)
    # The host document without its revision, or '' before it was ever reached.
    document = sa.Column(sa.Text, nullable=False, default='')
    capabilities = sa.Column(sa.Text, nullable=False, default='')
    # Where its guests' sockets are.
    vif_dir = sa.Column(sa.String(255), nullable=False, default='')
    instance = sa.Column(sa.String(64), nullable=False, default='')
    answered_at = sa.Column(Seconds, nullable=False, default=0)
    # Nothing is queued for a stale host: it is compared as a whole before anything else.
    stale = sa.Column(sa.Boolean, nullable=False, default=True)
    last_error = sa.Column(sa.Text, nullable=False, default='')


class Dirty(model_base.BASEV2):
    """The journal: something changed, in the same transaction as this row."""
    __tablename__ = 'martlet_journal'

    seq = sa.Column(Sequence, primary_key=True, autoincrement=True)
    type = sa.Column(sa.String(32), nullable=False)
    id = sa.Column(sa.String(255), nullable=False)
    revision = sa.Column(sa.BigInteger, nullable=True)
    network_id = sa.Column(sa.String(36), nullable=True)
    router_id = sa.Column(sa.String(36), nullable=True)
    # Hosts that the change itself knows of (those of a binding before and after), as a JSON list.
    hosts = sa.Column(sa.Text, nullable=False, default='[]')


class Pending(model_base.BASEV2):
    """A host has to be told of a document, whatever it says when the host is told."""
    __tablename__ = 'martlet_pending'

    host = sa.Column(sa.String(255), primary_key=True)
    type = sa.Column(sa.String(32), primary_key=True)
    id = sa.Column(sa.String(255), primary_key=True)
    network_id = sa.Column(sa.String(36), nullable=True)
    # Changes whenever the document did: a row goes only if it is still the one that was carried out.
    seq = sa.Column(sa.String(36), nullable=False)
    # Not before this: 0, a small delay, or the back-off of a document that was refused.
    due_at = sa.Column(Seconds, nullable=False, default=0)
    attempts = sa.Column(sa.Integer, nullable=False, default=0)
    reason = sa.Column(sa.Text, nullable=False, default='')
    __table_args__ = (sa.Index('ix_martlet_pending_due', 'host', 'due_at'), model_base.BASEV2.__table_args__)


class Holding(model_base.BASEV2):
    """A host was told the whole of a network."""
    __tablename__ = 'martlet_holdings'

    host = sa.Column(sa.String(255), primary_key=True)
    network_id = sa.Column(sa.String(36), primary_key=True, index=True)


class Migration(model_base.BASEV2):
    """An inactive binding that bind_port promised: Neutron says nothing when it appears, nor when it goes."""
    __tablename__ = 'martlet_migrations'

    port_id = sa.Column(sa.String(36), primary_key=True)
    host = sa.Column(sa.String(255), primary_key=True)
    network_id = sa.Column(sa.String(36), nullable=False)
    seen = sa.Column(sa.Boolean, nullable=False, default=False)
    since = sa.Column(Seconds, nullable=False)


TABLES = [model.__table__ for model in (Lease, Host, Dirty, Pending, Holding, Migration)]
