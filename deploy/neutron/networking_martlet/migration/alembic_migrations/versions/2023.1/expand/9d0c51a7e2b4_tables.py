"""The tables of the first release."""

from alembic import op
from neutron.db.migration import cli
import sqlalchemy as sa

revision = '9d0c51a7e2b4'
down_revision = 'start_martlet'
branch_labels = (cli.EXPAND_BRANCH,)

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def _text(name, length=None, **options):
    return sa.Column(name, sa.String(length) if length else sa.Text, nullable=False, **options)


def _seconds(name):
    return sa.Column(name, sa.Float(53), nullable=False)


def upgrade():
    op.create_table(
        'martlet_leases', _text('name', 270, primary_key=True), _text('owner', 64),
        sa.Column('generation', sa.BigInteger, nullable=False), _seconds('expires_at'))
    op.create_table(
        'martlet_hosts', _text('host', 255, primary_key=True), _text('document'), _text('capabilities'),
        _text('vif_dir', 255), _text('instance', 64), _seconds('answered_at'), sa.Column('stale', sa.Boolean, nullable=False),
        _text('last_error'))
    op.create_table(
        'martlet_journal', sa.Column('seq', SEQUENCE, primary_key=True, autoincrement=True), _text('type', 32),
        _text('id', 255), sa.Column('revision', sa.BigInteger), sa.Column('network_id', sa.String(36)),
        sa.Column('router_id', sa.String(36)), _text('hosts'))
    op.create_table(
        'martlet_pending', _text('host', 255, primary_key=True), _text('type', 32, primary_key=True),
        _text('id', 255, primary_key=True), sa.Column('network_id', sa.String(36)), _text('seq', 36),
        _seconds('due_at'), sa.Column('attempts', sa.Integer, nullable=False), _text('reason'))
    op.create_index('ix_martlet_pending_due', 'martlet_pending', ['host', 'due_at'])
    op.create_table(
        'martlet_holdings', _text('host', 255, primary_key=True), _text('network_id', 36, primary_key=True))
    op.create_index('ix_martlet_holdings_network_id', 'martlet_holdings', ['network_id'])
    op.create_table(
        'martlet_migrations', _text('port_id', 36, primary_key=True), _text('host', 255, primary_key=True),
        _text('network_id', 36), sa.Column('seen', sa.Boolean, nullable=False), _seconds('since'))
