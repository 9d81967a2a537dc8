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


def record(context, kind, identifier, network_id=None, router_id=None, hosts=(), revision=None):
    """Notes a change, in the transaction under way if there is one."""
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
        hosts = {host for host, in session.execute(sa.select(models.Host.host).where(models.Host.stale.is_(False)))}
        targets = {target for target in _Expansion(session, rows, hosts).targets() if target.host in hosts}
        _enqueue(session, targets)
        session.execute(sa.delete(models.Dirty).where(models.Dirty.seq.in_([row.seq for row in rows])))
        return len(rows)


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


def _enqueue(session, targets, delay=None):
    """Adds pending rows, or marks those that are there as changed since."""
    seconds = leases.database_time(session)
    delay = TIDY_DELAY if delay is None else delay
    there = {(row.host, row.type, row.id): row for row in _rows_of(session, targets)}
    for target in sorted(targets, key=lambda one: one[:3]):
        due = seconds + delay if target.type == TIDY else seconds
        row = there.get(target[:3])
        if row is None:
            session.add(models.Pending(**target._asdict(), seq=uuidutils.generate_uuid(), due_at=due, attempts=0,
                                       reason=''))
        elif target.type != TIDY:
            row.seq, row.due_at, row.attempts = uuidutils.generate_uuid(), due, 0
            row.network_id = target.network_id or row.network_id


def _rows_of(session, targets):
    by_host = _multimap((target.host, target.id) for target in targets)
    for host, ids in by_host.items():
        for chunk in documents.chunks(ids):
            yield from session.query(models.Pending).filter(models.Pending.host == host, models.Pending.id.in_(chunk))


# What a host's worker does with its rows

def due(session, host):
    """The pending rows of a host whose time has come."""
    return session.query(models.Pending).filter(
        models.Pending.host == host, models.Pending.due_at <= leases.database_time(session)).order_by(
        models.Pending.due_at).limit(BATCH).all()


def due_hosts(session):
    """The hosts that have rows whose time has come."""
    query = sa.select(models.Pending.host).where(models.Pending.due_at <= leases.database_time(session)).distinct()
    return {host for host, in session.execute(query)}


def count(session, host):
    return session.query(models.Pending).filter_by(host=host).count()


def finish(session, host, done):
    """Removes rows that were carried out, unless they changed meanwhile. `done`: pairs (key, seq)."""
    for kind_and_id, seq in done:
        session.query(models.Pending).filter_by(
            host=host, type=kind_and_id[0], id=kind_and_id[1], seq=seq).delete(synchronize_session=False)


def postpone(session, host, refused, longest):
    """Keeps what a host refused, with the reason, for a later attempt. `refused`: {key: (network, reason)}."""
    seconds = leases.database_time(session)
    for (kind, identifier), (network, reason) in sorted(refused.items()):
        row = session.get(models.Pending, (host, kind, identifier))
        if row is None:
            row = models.Pending(host=host, type=kind, id=identifier, network_id=network, attempts=0,
                                 seq=uuidutils.generate_uuid())
            session.add(row)
        row.attempts, row.reason = row.attempts + 1, reason
        row.due_at = seconds + min(2 ** row.attempts, longest)



def discard(session, host):
    """Forgets what is pending for a host that will be compared as a whole."""
    session.query(models.Pending).filter_by(host=host).delete(synchronize_session=False)


def refusals(session, host):
    """What a host refuses at present: (type, id, reason, attempts), the oldest first."""
    rows = session.query(models.Pending).filter(
        models.Pending.host == host, models.Pending.attempts > 0).order_by(models.Pending.due_at).limit(20)
    return [(row.type, row.id, row.reason, row.attempts) for row in rows]
