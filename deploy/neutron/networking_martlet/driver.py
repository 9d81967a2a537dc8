"""The mechanism driver: binds ports, and notes every change in the journal, in the change's own transaction."""

from neutron.db.models import l3
from neutron.db.models import securitygroup
from neutron.db import provisioning_blocks
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events
from neutron_lib.callbacks import priority_group
from neutron_lib.callbacks import registry
from neutron_lib.callbacks import resources
from neutron_lib import constants
from neutron_lib.db import api as db_api
from neutron_lib.plugins.ml2 import api
from oslo_log import log as logging

from networking_martlet import binding
from networking_martlet import config
from networking_martlet import documents
from networking_martlet import hosts
from networking_martlet import journal
from networking_martlet import models  # noqa: F401, the tables belong to Neutron's metadata
from networking_martlet import qos
from networking_martlet import worker

LOG = logging.getLogger(__name__)
# What changes on a port without being of any document.
ACCOUNTING = {'status', 'updated_at', 'revision_number'}
ROUTER_PORTS = (*documents.INTERFACE_OWNERS, constants.DEVICE_OWNER_ROUTER_GW)


class MartletDriver(api.MechanismDriver):
    """ML2 mechanism driver of hosts with a martletd. It needs no agents: it tells the hosts' endpoints."""

    def initialize(self):
        config.register()
        config.endpoints()
        self._subscribe()
        qos.register()

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def get_workers(self):
        return [worker.MartletWorker()]

    # Binding

    def bind_port(self, context):
        """Binds to the first segment that the port's host can carry, if the host answers."""
        port = context.current
        if port[portbindings.VNIC_TYPE] != portbindings.VNIC_NORMAL:
            return
        plugin_context = _plugin_context(context)
        carrier = hosts.carrier_of(plugin_context.elevated(), context.host)
        if carrier is None:
            LOG.debug("Port %s is not bound: host %s has no martletd, or it does not answer", port['id'], context.host)
            return
        for segment in context.segments_to_bind:
            if carrier.carries(segment[api.NETWORK_TYPE], segment[api.PHYSICAL_NETWORK]):
                journal.expect_migration(plugin_context.elevated(), port['id'], port['network_id'], context.host)
                details = carrier.vif_details(port['id'], context.network.current.get('mtu'))
                context.set_binding(segment[api.ID], portbindings.VIF_TYPE_VHOST_USER, details)
                return
        LOG.warning("Port %s is not bound: %s can carry none of %s: see its bridge mappings and tunnel types",
                    port['id'], context.host, context.segments_to_bind)

    # Which hosts have a segment: for DHCP agents and for routed networks

    def filter_hosts_with_segment_access(self, context, segments, candidate_hosts, agent_getter):
        """Without it Neutron filters by no driver at all, those of other hosts included."""
        agents = agent_getter(context, filters={'host': list(candidate_hosts), 'agent_type': [hosts.AGENT_TYPE]})
        return {agent['host'] for agent in agents
                if any(self.check_segment_for_agent(segment, agent) for segment in segments)}

    def check_segment_for_agent(self, segment, agent):
        carrier = binding.Carrier.of_agent(agent['configurations'])
        return agent['agent_type'] == hosts.AGENT_TYPE and carrier.carries(
            segment[api.NETWORK_TYPE], segment[api.PHYSICAL_NETWORK])

    # Hooks of ML2

    def update_network_precommit(self, context):
        self._network(context)

    def delete_network_precommit(self, context):
        self._network(context)

    def create_subnet_precommit(self, context):
        self._subnet(context)

    def update_subnet_precommit(self, context):
        self._subnet(context)

    def delete_subnet_precommit(self, context):
        self._subnet(context)

    def create_port_precommit(self, context):
        # Neutron binds it next, which is an update; told before that, its hosts would be told twice.
        self._port(context, is_told=context.vif_type != portbindings.VIF_TYPE_UNBOUND)

    def update_port_precommit(self, context):
        self._hold_back(context)
        if not _is_accounting(context):
            self._port(context)

    def delete_port_precommit(self, context):
        self._port(context)

    def _network(self, context):
        network = context.current['id']
        journal.record(_plugin_context(context), 'network', network, network, revision=_revision(context))

    def _subnet(self, context):
        journal.record(_plugin_context(context), 'subnet', context.current['id'], context.current['network_id'],
                       revision=_revision(context))

    def _port(self, context, is_told=True):
        plugin_context = _plugin_context(context)
        for port in filter(None, (context.current, context.original)):
            if port['device_owner'] in ROUTER_PORTS and port['device_id']:
                journal.record(plugin_context, 'router', port['device_id'], port['network_id'],
                               router_id=port['device_id'])
        places = {context.host, context.original_host} - {None, ''}
        if places and is_told:
            journal.record(plugin_context, 'port', context.current['id'], context.current['network_id'],
                           hosts=places, revision=_revision(context))

    def _hold_back(self, context):
        """A port that was bound by this driver is ACTIVE when its host says so, and not before."""
        levels = context.binding_levels or ()
        is_ours = any(level[api.BOUND_DRIVER] == documents.DRIVER for level in levels)
        if is_ours and context.vif_type == portbindings.VIF_TYPE_VHOST_USER and (
                context.current['status'] != constants.PORT_STATUS_ACTIVE):
            provisioning_blocks.add_provisioning_component(
                _plugin_context(context), context.current['id'], resources.PORT,
                provisioning_blocks.L2_AGENT_ENTITY)

    # What ML2 has no hooks for

    def _subscribe(self):
        for resource, event, callback in (
                (resources.SECURITY_GROUP, events.PRECOMMIT_UPDATE, self._group_changed),
                (resources.SECURITY_GROUP, events.PRECOMMIT_DELETE, self._group_deleted),
                (resources.SECURITY_GROUP_RULE, events.PRECOMMIT_CREATE, self._rule_changed),
                (resources.SECURITY_GROUP_RULE, events.PRECOMMIT_DELETE, self._rule_changed),
                (resources.ADDRESS_GROUP, events.AFTER_UPDATE, self._addresses_changed),
                (resources.ROUTER, events.PRECOMMIT_UPDATE, self._router_changed),
                (resources.ROUTER, events.AFTER_UPDATE, self._router_changed),
                (resources.ROUTER, events.PRECOMMIT_DELETE, self._router_changed),
                (resources.ROUTER_INTERFACE, events.AFTER_CREATE, self._router_changed),
                (resources.FLOATING_IP, events.PRECOMMIT_CREATE, self._floating_ip_changed),
                (resources.FLOATING_IP, events.PRECOMMIT_UPDATE, self._floating_ip_changed),
                (resources.FLOATING_IP, events.PRECOMMIT_DELETE, self._floating_ip_deleted),
                ('port_forwarding', events.AFTER_CREATE, self._forwarding_changed),
                ('port_forwarding', events.AFTER_UPDATE, self._forwarding_changed),
                ('port_forwarding', events.AFTER_DELETE, self._forwarding_changed)):
            registry.subscribe(callback, resource, event, priority_group.PRIORITY_DEFAULT)

    def _group_changed(self, resource, event, trigger, payload):
        journal.record(payload.context, 'security_group', payload.resource_id)

    def _group_deleted(self, resource, event, trigger, payload):
        """The rules of other groups that name this one go with it, and no event says so."""
        with db_api.CONTEXT_WRITER.using(payload.context):
            session, group = payload.context.session, payload.resource_id
            places = {host for _, host in documents.hosts_of_groups(session, {group})}
            journal.record(payload.context, 'security_group', group, hosts=places)
            for naming in _groups_naming(session, group) - {group}:
                journal.record(payload.context, 'security_group', naming)

    def _rule_changed(self, resource, event, trigger, payload):
        group = (payload.metadata or {}).get('security_group_id') or payload.latest_state['security_group_id']
        journal.record(payload.context, 'security_group', group)

    def _addresses_changed(self, resource, event, trigger, payload):
        journal.record(payload.context, 'address_group', payload.resource_id)

    def _router_changed(self, resource, event, trigger, payload):
        gateway = _gateway_network(payload)
        journal.record(payload.context, 'router', payload.resource_id, gateway, router_id=payload.resource_id)

    def _floating_ip_changed(self, resource, event, trigger, payload):
        states = [*payload.states, payload.desired_state]
        identifier = next(state['id'] for state in states if state and _get(state, 'id'))
        self._floating_ip(payload.context, identifier, {_get(state, 'router_id') for state in states if state})

    def _floating_ip_deleted(self, resource, event, trigger, payload):
        """Neutron publishes the deletion of the floating IP's port."""
        with db_api.CONTEXT_WRITER.using(payload.context):
            rows = payload.context.session.query(l3.FloatingIP.id, l3.FloatingIP.router_id).filter_by(
                floating_port_id=payload.resource_id).all()
            for identifier, router in rows:
                self._floating_ip(payload.context, identifier, {router})

    def _forwarding_changed(self, resource, event, trigger, payload):
        for state in payload.states:
            self._forwards_otherwise(payload.context, state.floatingip_id)

    @db_api.retry_if_session_inactive()
    def _forwards_otherwise(self, context, identifier):
        with db_api.CONTEXT_WRITER.using(context):
            row = context.session.get(l3.FloatingIP, identifier)
            if row is not None:
                self._floating_ip(context, row.id, {row.router_id, row.last_known_router_id})

    def _floating_ip(self, context, identifier, routers):
        for router in sorted(routers - {None}):
            journal.record(context, 'floating_ip', identifier, router_id=router)


def _groups_naming(session, group):
    Rule = securitygroup.SecurityGroupRule
    return {naming for naming, in session.query(Rule.security_group_id).filter_by(remote_group_id=group).distinct()}


def _get(state, name):
    """Events carry dicts, objects and rows."""
    return state.get(name) if isinstance(state, dict) else getattr(state, name, None)


def _gateway_network(payload):
    for state in (*payload.states, payload.desired_state):
        info = _get(state, 'external_gateway_info') if isinstance(state, dict) else None
        if info and info.get('network_id'):
            return info['network_id']


def _plugin_context(context):
    """Its public name is newer than the releases that this driver works with."""
    return getattr(context, 'plugin_context', None) or context._plugin_context


def _revision(context):
    return context.current.get('revision_number')


def _is_accounting(context):
    """Whether an update is of the port's status alone, which hosts know better."""
    current, original = context.current, context.original
    changed = {key for key in {*current, *original} if current.get(key) != original.get(key)}
    return changed <= ACCOUNTING and 'status' in changed and context.host == context.original_host
