"""From what a host reports to the status of Neutron's ports."""

import collections
import threading

from neutron.db import provisioning_blocks
from neutron.db import models_v2
from neutron.plugins.ml2 import models as ml2
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import resources
from neutron_lib import constants
from neutron_lib import context as n_context
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_log import log as logging
import sqlalchemy as sa

from networking_martlet import documents

LOG = logging.getLogger(__name__)
UP = 'up'
REMEMBERED = 65536


class PortStatus:
    """What one host last said of its ports, and what follows for those that are bound to it.

    A report counts only if its revision is that of a document for the present binding: one that was under way while the
    port went away and came back says nothing. `sent` is called by the thread that tells the host, `report` by the one
    that listens.
    """

    def __init__(self, host):
        self._host = host
        self._lock = threading.Lock()
        # Teller and listener may come to the same port at once; Neutron need not hear of it twice.
        self._applying = threading.Lock()
        self._reported = {}
        # The revision since which a port is not, or was not, at this host.
        self._away_since = collections.OrderedDict()

    def sent(self, key, document, revision):
        """A document goes to the host, None if it is removed there."""
        if key[0] != 'port':
            return
        here = document is not None and self._host in (
            document.get('host'), document.get('migrating_to', {}).get('host'))
        if not here:
            with self._lock:
                self._away_since[key[1]] = revision
                self._away_since.move_to_end(key[1])
                # It matters only as long as a report may be under way.
                if len(self._away_since) > REMEMBERED:
                    self._away_since.popitem(last=False)

    def report(self, ports, is_complete):
        """Takes a report, and carries out what follows from it."""
        changed = {}
        for port in ports:
            if isinstance(port, dict) and isinstance(port.get('id'), str):
                changed[port['id']] = (port.get('status'), int(port.get('revision') or 0), port.get('reason', ''))
        with self._lock:
            if is_complete:
                self._reported = {}
            self._reported.update(changed)
        self._apply(n_context.get_admin_context(), set(changed))
        with self._lock:
            self._reported = {port: said for port, said in self._reported.items() if said[0] != 'removed'}
        if is_complete:
            self._missing_are_down(set(changed))

    def delivered(self, ports):
        """The host has these documents now: what it said of them before may count from here on."""
        with self._lock:
            known = {port for port in ports if port in self._reported}
        self._apply(n_context.get_admin_context(), known)

    def settle(self):
        """What the host said last is so, whoever came between: a port that moved here may have been set DOWN by what its
        former host reported at the same moment.
        """
        with self._lock:
            known = set(self._reported)
        self._apply(n_context.get_admin_context(), known)

    def _counts(self, port):
        """What the host says of a port, or None if that is of a binding that is gone."""
        with self._lock:
            status, revision, reason = self._reported.get(port, (None, 0, ''))
            if status is None or revision <= self._away_since.get(port, -1):
                return None
            return status, reason

    def _apply(self, context, ports):
        with self._applying:
            self._apply_alone(context, ports)

    def _apply_alone(self, context, ports):
        for port, current in self._bound(context, ports).items():
            counted = self._counts(port)
            if counted is None:
                continue
            status, reason = counted
            if reason:
                LOG.warning("Port %s at %s is %s: %s", port, self._host, status, reason)
            if status == UP and current != constants.PORT_STATUS_ACTIVE:
                provisioning_blocks.provisioning_complete(context, port, resources.PORT,
                                                          provisioning_blocks.L2_AGENT_ENTITY)
            elif status != UP and current == constants.PORT_STATUS_ACTIVE:
                self._set_down(context, port)

    def _set_down(self, context, port):
        directory.get_plugin().update_port_status(context, port, constants.PORT_STATUS_DOWN, self._host)

    def _missing_are_down(self, reported):
        context = n_context.get_admin_context()
        for port, status in self._bound(context, None).items():
            if port not in reported and status == constants.PORT_STATUS_ACTIVE:
                self._set_down(context, port)

    @db_api.retry_if_session_inactive()
    def _bound(self, context, ports):
        """{port: status} of those that are bound to this host, of these or of all."""
        Binding, Port = ml2.PortBinding, models_v2.Port
        query = sa.select(Port.id, Port.status).join(Binding, Binding.port_id == Port.id).where(
            Binding.host == self._host, Binding.status == constants.ACTIVE,
            Binding.vif_type == portbindings.VIF_TYPE_VHOST_USER)
        with db_api.CONTEXT_READER.using(context):
            if ports is None:
                return dict(map(tuple, context.session.execute(query)))
            return {port: status for ids in documents.chunks(ports)
                    for port, status in context.session.execute(query.where(Port.id.in_(ids)))}
