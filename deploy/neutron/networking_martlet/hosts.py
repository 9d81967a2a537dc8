"""What is known of the hosts: their own documents, whether they answer, and what they refuse."""

import json

from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_log import log as logging
import sqlalchemy as sa

from networking_martlet import binding
from networking_martlet import config
from networking_martlet import documents
from networking_martlet import journal
from networking_martlet import leases
from networking_martlet import models

LOG = logging.getLogger(__name__)
AGENT_TYPE = 'Martlet vSwitch'
AGENT_BINARY = 'martletd'


@db_api.retry_if_session_inactive()
def carrier_of(context, host):
    """What a host can carry, or None if it does not answer at present."""
    with db_api.CONTEXT_READER.using(context):
        row = context.session.get(models.Host, host)
        if row is None or not row.document:
            return None
        silence = leases.database_time(context.session) - row.answered_at
        # A negative silence is a clock that was set back: it says nothing against the host.
        return binding.Carrier.of(row) if silence < config.cfg.CONF[config.GROUP].host_down_time else None


@db_api.retry_if_session_inactive()
def register(context, names):
    """Makes these the hosts; what was known of others goes, and the rest is told."""
    with db_api.CONTEXT_WRITER.using(context):
        session = context.session
        known = {host for host, in session.execute(sa.select(models.Host.host))}
        for host in sorted(set(names) - known):
            session.add(models.Host(host=host, document='', capabilities='', vif_dir='', instance='', answered_at=0,
                                    stale=True, last_error=''))
        for host in sorted(known - set(names)):
            for model in (models.Host, models.Pending, models.Holding):
                session.query(model).filter_by(host=host).delete(synchronize_session=False)
            journal.record(context, 'host', host)


@db_api.retry_if_session_inactive()
def introduce(context, host, document, version):
    """Keeps what a host says of itself, and has all told if it is new. True if it is another run of the daemon."""
    document = {key: value for key, value in document.items() if key != 'revision'}
    text = documents.canonical(document).decode()
    with db_api.CONTEXT_WRITER.using(context):
        row = context.session.get(models.Host, host)
        if row is None:
            return False
        if row.document != text:
            row.document = text
            journal.record(context, 'host', host)
        is_other_run = row.instance != version.get('instance', '')
        row.instance = version.get('instance', '')
        row.vif_dir = version.get('vif_dir', '')
        row.capabilities = ' '.join(sorted(version.get('capabilities', ())))
        return is_other_run


def check_introduction(host, document, version):
    """:raises ValueError: if this is not the host that it should be, or one that speaks otherwise."""
    if document.get('type') != 'host' or document.get('id') != host:
        raise ValueError(f"the endpoint of '{host}' says that its host is '{document.get('id')}': correct "
                         f"[{config.GROUP}] endpoints here, or 'host' in its martletd.toml")
    if version.get('schema') != documents.SCHEMA:
        raise ValueError(f"the endpoint of '{host}' has documents of schema {version.get('schema')}, this driver of "
                         f"{documents.SCHEMA}: bring both to the same release")


@db_api.retry_if_session_inactive()
def answered(context, host):
    """Keeps that a host answers, for bind_port and for `openstack network agent list`."""
    with db_api.CONTEXT_WRITER.using(context):
        row = context.session.get(models.Host, host)
        if row is None:
            return
        row.answered_at, row.last_error = leases.database_time(context.session), ''
        state = _agent_state(row, journal.refusals(context.session, host))
    directory.get_plugin().create_or_update_agent(context, state)


@db_api.retry_if_session_inactive()
def failed(context, host, reason):
    """Keeps why a host does not answer. A sign of life that is to come was before the clock was set back: its silence
    counts from now.
    """
    answered_at = models.Host.answered_at
    with db_api.CONTEXT_WRITER.using(context):
        seconds = leases.database_time(context.session)
        context.session.query(models.Host).filter_by(host=host).update(
            {'last_error': reason[:1000], 'answered_at': sa.case((answered_at > seconds, seconds), else_=answered_at)},
            synchronize_session=False)


def _agent_state(row, refusals):
    own = json.loads(row.document or '{}')
    return {
        'agent_type': AGENT_TYPE, 'binary': AGENT_BINARY, 'host': row.host, 'topic': 'N/A',
        'configurations': {
            'bridge_mappings': own.get('bridge_mappings', {}), 'tunnel_types': binding.Carrier.of(row).tunnel_types,
            'tunneling_ip': own.get('tunnel_address'), 'capabilities': row.capabilities.split(),
            'stale': row.stale,
            'refused': [f"{kind} {identifier}: {reason[:200]} (attempt {attempts})"
                        for kind, identifier, reason, attempts in refusals[:5]]}}


@db_api.retry_if_session_inactive()
def set_stale(context, host):
    """From now on nothing is queued for this host: it is compared when it is back."""
    with db_api.CONTEXT_WRITER.using(context):
        context.session.query(models.Host).filter_by(host=host).update({'stale': True})
        journal.discard(context.session, host)


@db_api.retry_if_session_inactive()
def begin_comparison(context, host):
    """From now on changes are queued again: those that the comparison does not see come after it."""
    with db_api.CONTEXT_WRITER.using(context):
        context.session.query(models.Host).filter_by(host=host).update({'stale': False})


def is_stale(session, host):
    row = session.get(models.Host, host)
    return row is not None and row.stale


def held_networks(session, host, among):
    """Those of the networks that the host was told in full."""
    query = sa.select(models.Holding.network_id).where(models.Holding.host == host)
    return {network for ids in documents.chunks(among)
            for network, in session.execute(query.where(models.Holding.network_id.in_(ids)))}


def set_holdings(session, host, entered=(), left=()):
    for network in sorted(entered):
        session.merge(models.Holding(host=host, network_id=network))
    for ids in documents.chunks(left):
        session.query(models.Holding).filter(
            models.Holding.host == host, models.Holding.network_id.in_(ids)).delete(synchronize_session=False)


def replace_holdings(session, host, networks):
    session.query(models.Holding).filter_by(host=host).delete(synchronize_session=False)
    session.flush()
    session.add_all(models.Holding(host=host, network_id=network) for network in sorted(networks))
