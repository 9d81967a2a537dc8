"""Telling one host: what is pending, and what differs after an absence.

    pending rows -> the database as it is now -> one batch -> the rows go, if they did not change meanwhile

A failure at any place leaves the rows, and the same is done again: documents bear repetition.
"""

import collections
import time

from neutron_lib import context as n_context
from neutron_lib.db import api as db_api
from oslo_log import log as logging
from oslo_utils import uuidutils

from networking_martlet import client
from networking_martlet import config
from networking_martlet import documents
from networking_martlet import hosts
from networking_martlet import journal

LOG = logging.getLogger(__name__)
# Documents of one request; a request is bounded at 16 MiB, and a port has a few hundred bytes.
REQUEST = 2000
# Networks beyond which it is cheaper to ask for the digests of a whole type than of one network at a time.
MANY_NETWORKS = 20
TIDY_TYPES = ('security_group', 'router', 'floating_ip')

Plan = collections.namedtuple('Plan', 'rows documents entered left is_stale')


class LeaseLost(Exception):
    """Another server tells this host now."""


class Delivery:
    """Tells one host, under a lease. One thread."""

    def __init__(self, host, endpoint, lease, status, clock=time.monotonic):
        self._host, self._endpoint, self._lease, self._status = host, endpoint, lease, status
        self._clock = clock
        self._failing_since = None
        self._failures = 0
        self._compare_at = 0

    # What the worker calls

    def step(self):
        """Does what is due. Returns seconds to wait before the next step, 0 if there may be more to do."""
        try:
            more = self._deliver()
        except LeaseLost:
            return 1
        except client.EndpointError as error:
            return self._failed(error)
        self._failing_since, self._failures = None, 0
        return 0 if more else 1

    def compare_soon(self):
        """The host came back, or is another run of its daemon."""
        self._compare_at = 0

    def _failed(self, error):
        self._failures += 1
        self._failing_since = self._failing_since or self._clock()
        level = LOG.warning if self._failures == 1 else LOG.debug
        level("%s is not told at present: %s", self._host, error)
        hosts.failed(n_context.get_admin_context(), self._host, str(error))
        settings = config.cfg.CONF[config.GROUP]
        if self._clock() - self._failing_since > settings.resync_after:
            hosts.set_stale(n_context.get_admin_context(), self._host)
        return min(0.25 * 2 ** min(self._failures, 16), settings.max_backoff)

    def _deliver(self):
        if not self._lease.is_valid:
            raise LeaseLost()
        plan = self._plan()
        if plan.rows:
            self._carry_out(plan)
            return True
        is_due = plan.is_stale or self._clock() >= self._compare_at
        # What is left of a long journal would be told once more after a comparison.
        if not is_due or self._read(lambda session, _: journal.has_backlog(session)):
            return False
        if plan.is_stale:
            hosts.begin_comparison(n_context.get_admin_context(), self._host)
            self._compare_or_mark_stale()
        else:
            self._compare()
        return True

    # What is pending

    @db_api.retry_if_session_inactive()
    def _read_plan(self, context):
        # A writer, for the writer's connection: a server that reads from replicas must not read the past.
        with db_api.CONTEXT_WRITER.using(context):
            session = context.session
            if (hosts.is_stale(session, self._host)
                    or journal.count(session, self._host) > config.cfg.CONF[config.GROUP].pending_limit):
                return Plan((), {}, set(), set(), True)
            rows = {(row.type, row.id): (row.seq, row.network_id) for row in journal.due(session, self._host)}
            networks = {network for _, network in rows.values() if network}
            wanted = documents.networks_of(session, self._host, networks) if networks else set()
            held = hosts.held_networks(session, self._host, networks)
            entered, left = wanted - held, held - wanted
            return Plan(rows, self._documents(session, rows, entered), entered, left, False)

    def _plan(self):
        plan = self._read_plan(n_context.get_admin_context())
        if plan.is_stale:
            hosts.set_stale(n_context.get_admin_context(), self._host)
        return plan

    def _documents(self, session, rows, entered):
        keys = [key for key in rows if key[0] in documents.TYPES]
        found = documents.of_networks(session, self._host, entered)
        if entered:
            found.update(documents.of_policies(session, self._host))
        found.update(documents.of_keys(session, self._host, keys))
        return found

    def _carry_out(self, plan):
        removed = {key for key in plan.rows if key[0] in documents.TYPES and key not in plan.documents}
        for network in plan.entered | plan.left:
            removed |= set(self._endpoint.digests_of_network(network)) - set(plan.documents)
        refused = self._send(plan.documents, removed, {key: network for key, (_, network) in plan.rows.items()})
        # What a router's or a network's going leaves behind is not worth a delay.
        needs_tidying = (journal.TIDY, '') in plan.rows or plan.left or any(
            kind in TIDY_TYPES for kind, _ in removed)
        if needs_tidying:
            refused.update(self._tidy())
        self._finish(plan, refused)
        self._status.delivered({identifier for kind, identifier in plan.documents if kind == 'port'})

    @db_api.retry_if_session_inactive()
    def _finish_rows(self, context, plan, refused):
        with db_api.CONTEXT_WRITER.using(context):
            session = context.session
            journal.finish(session, self._host, [(key, seq) for key, (seq, _) in plan.rows.items()
                                                 if key not in refused])
            journal.postpone(session, self._host, refused)
            entered = {network for network in plan.entered if ('network', network) not in refused}
            hosts.set_holdings(session, self._host, entered, plan.left)

    def _finish(self, plan, refused):
        self._finish_rows(n_context.get_admin_context(), plan, refused)

    def _tidy(self):
        """Brings security groups, routers and floating IPs to what the host needs."""
        wanted = self._read(documents.of_policies)
        summary = self._endpoint.digest().get('types', {})
        present, removed = {}, set()
        for kind in TIDY_TYPES:
            ours = {key: one for key, one in wanted.items() if key[0] == kind}
            if not _agrees(summary.get(kind), ours.values()):
                theirs = self._endpoint.digests_of_type(kind)
                present.update(_missing(ours, theirs))
                removed |= set(theirs) - set(ours)
        return self._send(present, removed, {})

    @db_api.retry_if_session_inactive()
    def _read_with(self, context, function):
        with db_api.CONTEXT_WRITER.using(context):
            return function(context.session, self._host)

    def _read(self, function):
        return self._read_with(n_context.get_admin_context(), function)

    # Requests

    def _send(self, present, removed, networks):
        """Sends what is present and removed. Returns {key: (network, reason)} of what the host refuses."""
        order = {kind: place for place, kind in enumerate(documents.TYPES)}
        changes = [('put', key) for key in sorted(present, key=lambda key: (order[key[0]], key[1]))]
        changes += [('remove', key) for key in sorted(removed, key=lambda key: (-order[key[0]], key[1]))]
        refused = {}
        for start in range(0, len(changes), REQUEST):
            self._send_some(changes[start:start + REQUEST], present, refused)
        if refused:
            LOG.warning("%s refuses %d documents, among them %s", self._host, len(refused),
                        '; '.join(f'{kind} {one}: {reason}' for (kind, one), reason in list(refused.items())[:3]))
        return {key: (networks.get(key) or present.get(key, {}).get('network_id'), reason)
                for key, reason in refused.items()}

    def _send_some(self, changes, present, refused):
        """One request; again without the document that was refused, or in halves if none was named."""
        while changes:
            if not self._lease.is_valid:
                raise LeaseLost()
            try:
                self._endpoint.batch([self._change(kind, key, present) for kind, key in changes])
                return
            except client.Refused as error:
                keys = {key for _, key in changes}
                if error.document in keys:
                    culprits = _with_dependents(error.document, keys, present)
                elif len(changes) == 1:
                    culprits = keys
                else:
                    half = len(changes) // 2
                    self._send_some(changes[:half], present, refused)
                    changes = changes[half:]
                    continue
                refused.update({key: str(error) for key in culprits})
                changes = [(kind, key) for kind, key in changes if key not in culprits]

    def _change(self, kind, key, present):
        revision = self._lease.revision()
        if kind == 'put':
            self._status.sent(key, present[key], revision)
            return {**present[key], 'revision': revision}
        self._status.sent(key, None, revision)
        return {'type': key[0], 'id': key[1], 'revision': revision, 'deleted': True}

    # Comparison

    def _compare_or_mark_stale(self):
        try:
            self._compare()
        except Exception:
            hosts.set_stale(n_context.get_admin_context(), self._host)
            raise

    def _compare(self):
        """Brings the host to what the database says, by digests or, if most of it differs, by a snapshot."""
        wanted = self._read(documents.everything)
        present, removed = self._differences(wanted, self._endpoint.digest())
        if present or removed:
            LOG.info("%s differs from the database: %d documents are missing or others, %d are there in excess",
                     self._host, len(present), len(removed))
        refused = {}
        if len(present) + len(removed) <= max(len(wanted) // 2, 1) or not self._snapshot(wanted):
            refused = self._send(present, removed, {})
        self._finish_comparison(n_context.get_admin_context(), wanted, refused)
        self._compare_at = self._clock() + config.cfg.CONF[config.GROUP].audit_interval
        self._status.delivered({identifier for kind, identifier in wanted if kind == 'port'})

    @db_api.retry_if_session_inactive()
    def _finish_comparison(self, context, wanted, refused):
        with db_api.CONTEXT_WRITER.using(context):
            hosts.replace_holdings(context.session, self._host, {
                identifier for kind, identifier in wanted if kind == 'network' and (kind, identifier) not in refused})
            journal.postpone(context.session, self._host, refused)

    def _snapshot(self, wanted):
        """False if the host refuses a document of it: then the others are sent one by one."""
        if not self._lease.is_valid:
            raise LeaseLost()
        changes = [self._change('put', key, wanted) for key in wanted]
        try:
            self._endpoint.snapshot(uuidutils.generate_uuid(), self._lease.revision(), changes)
        except client.Refused as error:
            LOG.info("%s refuses a document of the snapshot: %s", self._host, error)
            return False
        return True

    def _differences(self, wanted, summary):
        """({key: document} that the host lacks, {key} that it has in excess)"""
        by_type, by_network = _by_type(wanted), _by_network(wanted)
        types, networks = summary.get('types', {}), summary.get('networks', {})
        kinds = {kind for kind in documents.TYPES if not _agrees(types.get(kind), by_type[kind].values())}
        theirs = {}
        if kinds & set(documents.IN_NETWORK):
            differing = {network for network in set(networks) | set(by_network)
                         if not _agrees(networks.get(network), by_network[network].values())}
            if differing and len(differing) <= MANY_NETWORKS:
                kinds -= set(documents.IN_NETWORK)
                for network in differing:
                    theirs.update(self._endpoint.digests_of_network(network))
                ours = {key: one for network in differing for key, one in by_network[network].items()}
            else:
                ours = {}
        else:
            ours = {}
        for kind in kinds:
            theirs.update(self._endpoint.digests_of_type(kind))
            ours.update(by_type[kind])
        return _missing(ours, theirs), set(theirs) - set(ours)


def _with_dependents(culprit, keys, present):
    """A document that is refused, and, of a network, what cannot be without it."""
    if culprit[0] != 'network':
        return {culprit}
    return {culprit} | {key for key in keys if present.get(key, {}).get('network_id') == culprit[1]}


def _missing(ours, theirs):
    return {key: one for key, one in ours.items() if theirs.get(key) != documents.digest(one)}


def _agrees(summary, ours):
    """Whether the host's digest of a set is that of these documents."""
    ours = list(ours)
    if not isinstance(summary, dict):
        return not ours
    return summary.get('count') == len(ours) and summary.get('digest') == documents.digest_of(
        documents.digest(one) for one in ours)


def _by_type(wanted):
    found = collections.defaultdict(dict)
    for key, one in wanted.items():
        found[key[0]][key] = one
    return found


def _by_network(wanted):
    found = collections.defaultdict(dict)
    for key, one in wanted.items():
        if key[0] in documents.IN_NETWORK:
            found[one['id'] if key[0] == 'network' else one['network_id']][key] = one
    return found
