"""The journal: what changed, who has to be told, and when it was done.

`record` writes a row in the transaction of the change itself, so that there is one exactly if the change happened.
It has no content: whoever tells a host reads the database again. `distribute` turns rows into pending rows, one a host
and document, however often it changed.
"""

import collections
import json

from neutron.plugins.ml2 import models as ml2
from neutron_lib import constants
from neutron_lib.db import api as db_api
from oslo_utils import uuidutils
import sqlalchemy as sa

from networking_martlet import config
from networking_martlet import documents
from networking_martlet import leases
from networking_martlet import models

# Security groups, routers and floating IPs of a host are gone over a little after its ports came or went.
TIDY = 'tidy'
TIDY_DELAY = 2
BATCH = 1000
# Seconds in which Neutron must have written an inactive binding that was promised.
MIGRATION_PATIENCE = 60

Target = collections.namedtuple('Target', 'host type id network_id')
Work = collections.namedtuple('Work', 'changes migrations hosts')


@db_api.retry_if_session_inactive()
def record(context, kind, identifier, network_id=None, router_id=None, hosts=(), revision=None):
    """Notes a change, in the transaction under way if there is one: whoever began that one tries it again."""
    with db_api.CONTEXT_WRITER.using(context):
        context.session.add(models.Dirty(
            type=kind, id=identifier, network_id=network_id, router_id=router_id, revision=revision,
            hosts=json.dumps(sorted({host for host in hosts if host}))))


@db_api.retry_if_session_inactive()
def expect_migration(context, port_id, network_id, host):
    """Notes that `host` may become the destination of a live migration. Not if the port is simply bound there."""
    with db_api.CONTEXT_WRITER.using(context):
        current = context.session.get(ml2.PortBinding, (port_id, host))
        if current is not None and current.status == constants.ACTIVE:
            return
        context.session.merge(models.Migration(port_id=port_id, host=host, network_id=network_id, seen=False,
                                               since=leases.database_time(context.session)))


@db_api.retry_if_session_inactive()
def follow_migrations(context):
    """Records inactive bindings that came, or went without a word."""
    with db_api.CONTEXT_WRITER.using(context):
        session = context.session
        for row in session.query(models.Migration).limit(BATCH).all():
            binding = session.get(ml2.PortBinding, (row.port_id, row.host))
            is_there = binding is not None and binding.status == constants.INACTIVE
            if is_there and not row.seen:
                row.seen = True
            elif is_there or (not row.seen and binding is None and _is_fresh(session, row)):
                continue
            else:
                session.delete(row)
            record(context, 'port', row.port_id, row.network_id, hosts=[row.host])


def _is_fresh(session, row):
    return abs(leases.database_time(session) - row.since) < MIGRATION_PATIENCE


@db_api.retry_if_session_inactive()
def distribute(context):
    """Moves rows from the journal to the hosts that they matter to. Returns how many it moved."""
    with db_api.CONTEXT_WRITER.using(context):
        session = context.session
        # The journal before the hosts: a host that is found stale here is compared after these changes were committed.
        rows = session.query(models.Dirty).order_by(models.Dirty.seq).limit(BATCH).all()
        if not rows:
            return 0
        if _length(session) > config.cfg.CONF[config.GROUP].pending_limit:
            # Nobody distributed for long, or very much came at once.
            _compare_all(session)
        hosts = {host for host, in session.execute(sa.select(models.Host.host).where(models.Host.stale.is_(False)))}
        targets = {target for target in _Expansion(session, rows, hosts).targets() if target.host in hosts}
        _enqueue(session, targets)
        session.execute(sa.delete(models.Dirty).where(models.Dirty.seq.in_([row.seq for row in rows])))
        return len(rows)


def _length(session):
    return session.query(models.Dirty).count()


def _compare_all(session):
    """Instead of queueing what is in the journal: it goes, and then every host is compared."""
    session.query(models.Host).update({'stale': True}, synchronize_session=False)
    session.query(models.Pending).delete(synchronize_session=False)


class _Expansion:
    """From changes to the hosts that they matter to, by one query for each kind of change."""

    def __init__(self, session, rows, hosts):
        self._rows = rows
        self._all_hosts = hosts
        by_type = collections.defaultdict(set)
        for row in rows:
            by_type[row.type].add(row.id)
        self._more_groups = documents.groups_of_addresses(session, by_type['address_group'])
        self._policy_ports = documents.ports_of_policies(session, by_type['qos_policy'])
        self._group_hosts = _multimap(documents.hosts_of_groups(session, by_type['security_group'] | self._more_groups))
        self._router_networks = _multimap(documents.networks_of_routers(
            session, {row.router_id for row in rows} - {None}))
        networks = {row.network_id for row in rows} | {network for _, network in self._policy_ports}
        networks = networks.union(*self._router_networks.values()) - {None}
        self._holders = _multimap(documents.holders(session, networks))

    def targets(self):
        for row in self._rows:
            yield from self._of_row(row)
        for group in self._more_groups:
            yield from self._of_group(group)
        for port, network in self._policy_ports:
            yield from (Target(host, 'port', port, network) for host in self._holders[network])

    def _of_row(self, row):
        named = set(json.loads(row.hosts))
        if row.type == 'host':
            return (Target(host, 'host', row.id, None) for host in self._all_hosts)
        if row.type == 'security_group':
            return self._of_group(row.id, named)
        if row.type in documents.IN_NETWORK:
            return self._of_network(row, named)
        if row.type in ('router', 'floating_ip'):
            return self._of_router(row)
        return ()

    def _of_network(self, row, named):
        for host in self._holders[row.network_id] | named:
            yield Target(host, row.type, row.id, row.network_id)
        for host in named:
            yield Target(host, TIDY, '', None)

    def _of_group(self, group, named=frozenset()):
        for host in self._group_hosts[group] | named:
            yield Target(host, 'security_group', group, None)
            yield Target(host, TIDY, '', None)

    def _of_router(self, row):
        networks = self._router_networks[row.router_id] | {row.network_id} - {None}
        for host in set().union(*(self._holders[network] for network in networks)):
            yield Target(host, row.type, row.id, None)
            yield Target(host, TIDY, '', None)


def _multimap(pairs):
    found = collections.defaultdict(set)
    for one, other in pairs:
        found[one].add(other)
    return found


def _enqueue(session, targets):
    """Makes rows pending, anew if they are there: whoever carries out the old ones does not finish the new ones. A few
    statements for each host, however many rows.
    """
    seconds, seq = leases.database_time(session), uuidutils.generate_uuid()
    # What is not due yet was read by nobody, and will do.
    tidied = set(session.execute(sa.select(models.Pending.host).where(
        models.Pending.type == TIDY, sa.not_(_is_due()))).scalars())
    targets = {target[:3]: target for target in targets if target.type != TIDY or target.host not in tidied}
    for (host, kind), ids in _multimap(((host, kind), identifier) for host, kind, identifier in targets).items():
        _delete(session, host, kind, ids)
    # What is not delayed is due by any clock.
    rows = [dict(target._asdict(), seq=seq, due_at=seconds + TIDY_DELAY if target.type == TIDY else 0, attempts=0, reason='')
            for _, target in sorted(targets.items())]
    if rows:
        session.execute(sa.insert(models.Pending), rows)


def _delete(session, host, kind, ids, **more):
    for chunk in documents.chunks(ids):
        session.query(models.Pending).filter_by(host=host, type=kind, **more).filter(
            models.Pending.id.in_(chunk)).delete(synchronize_session=False)


# What a host's worker does with its rows

def due(session, host):
    """The pending rows of a host whose time has come."""
    return session.query(models.Pending).filter(
        models.Pending.host == host, _is_due()).order_by(models.Pending.due_at).limit(BATCH).all()


def _is_due():
    """Its time has come, or is farther off than any delay: such a time was given before the clock was set back."""
    due_at = models.Pending.due_at
    return sa.or_(due_at <= leases.now(), due_at > leases.now() + _longest_delay())


def _longest_delay():
    """Seconds at most between two attempts at a document that is refused."""
    return 5 * config.cfg.CONF[config.GROUP].max_backoff


def look(session):
    """What there is to do: changes to distribute, migrations to follow, and hosts that have rows whose time has come."""
    changes, migrations = session.execute(sa.select(
        sa.exists(sa.select(models.Dirty.seq)), sa.exists(sa.select(models.Migration.port_id)))).one()
    hosts = sa.select(models.Pending.host).where(_is_due()).distinct()
    return Work(bool(changes), bool(migrations), set(session.execute(hosts).scalars()))


def has_backlog(session):
    """Whether more changes wait to be distributed than one round takes."""
    return _length(session) > BATCH


def count(session, host):
    return session.query(models.Pending).filter_by(host=host).count()


def finish(session, host, done):
    """Removes rows that were carried out, unless they changed meanwhile. `done`: pairs (key, seq)."""
    for (kind, seq), ids in _multimap(((kind, seq), identifier) for (kind, identifier), seq in done).items():
        _delete(session, host, kind, ids, seq=seq)


def postpone(session, host, refused):
    """Keeps what a host refused, with the reason, for a later attempt. `refused`: {key: (network, reason)}."""
    seconds = leases.database_time(session)
    for (kind, identifier), (network, reason) in sorted(refused.items()):
        row = session.get(models.Pending, (host, kind, identifier))
        if row is None:
            row = models.Pending(host=host, type=kind, id=identifier, network_id=network, attempts=0,
                                 seq=uuidutils.generate_uuid())
            session.add(row)
        row.attempts, row.reason = row.attempts + 1, reason
        row.due_at = seconds + min(2 ** row.attempts, _longest_delay())


def discard(session, host):
    """Forgets what is pending for a host that will be compared as a whole."""
    session.query(models.Pending).filter_by(host=host).delete(synchronize_session=False)


def refusals(session, host):
    """What a host refuses at present: (type, id, reason, attempts), the oldest first."""
    rows = session.query(models.Pending).filter(
        models.Pending.host == host, models.Pending.attempts > 0).order_by(models.Pending.due_at).limit(20)
    return [(row.type, row.id, row.reason, row.attempts) for row in rows]
