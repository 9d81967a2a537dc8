"""From Neutron's database to documents, as they are now.

Everything is read by queries for sets: their number does not depend on how many ports there are. A document is a dict
whose digest is that of the endpoint; its key is (type, id).
"""

import collections
import functools
import hashlib
import itertools
import json

from neutron.db.models import address_group
from neutron.db.models import allowed_address_pair
from neutron.db.models import l3
from neutron.db.models import l3_attrs
from neutron.db.models import port_forwarding
from neutron.db.models import securitygroup
from neutron.db.models import segment
from neutron.db import models_v2
from neutron.db.port_security import models as port_security
from neutron.db.qos import models as qos
from neutron.plugins.ml2 import models as ml2
from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
import sqlalchemy as sa

from networking_martlet import binding
from networking_martlet import models

DRIVER = 'martlet'
SCHEMA = 1
# In the order in which they need each other.
TYPES = ('host', 'network', 'subnet', 'security_group', 'port', 'router', 'floating_ip')
IN_NETWORK = ('network', 'subnet', 'port')
NOT_BOUND = (portbindings.VIF_TYPE_BINDING_FAILED, portbindings.VIF_TYPE_DISTRIBUTED)
INTERFACE_OWNERS = tuple(constants.ROUTER_INTERFACE_OWNERS)
# Databases bound the parameters of one statement.
CHUNK = 500

Port, Binding, Level = models_v2.Port, ml2.PortBinding, ml2.PortBindingLevel


def canonical(document):
    """The text that a document's digest is of."""
    kept = {key: value for key, value in document.items() if key != 'revision'}
    return json.dumps(kept, sort_keys=True, separators=(',', ':'), ensure_ascii=False).encode()


def digest(document):
    return hashlib.sha256(canonical(document)).hexdigest()


def digest_of(digests):
    """That of a set: the exclusive-or of its documents', zeros when empty."""
    return f"{functools.reduce(int.__xor__, (int(one, 16) for one in digests), 0):064x}"


def key(document):
    return document['type'], document['id']


# Who needs what

def holders(session, networks):
    """Pairs (network, host) of all hosts to which one of these networks matters, or did when they were last told."""
    found = set()
    for ids in chunks(networks):
        bound = sa.select(Port.network_id, Level.host).join(Level, Level.port_id == Port.id).where(
            Level.driver == DRIVER, Port.network_id.in_(ids))
        coming = sa.select(Port.network_id, Binding.host).join(Binding, Binding.port_id == Port.id).where(
            _is_coming(), Port.network_id.in_(ids))
        told = sa.select(models.Holding.network_id, models.Holding.host).where(models.Holding.network_id.in_(ids))
        found.update((network, host) for network, host in session.execute(sa.union(bound, coming, told)) if host)
    return found


def networks_of(session, host, among=None):
    """The networks that a host needs: a port of them is bound to it, is about to be, or migrates to it."""
    bound = sa.select(Port.network_id).join(Level, Level.port_id == Port.id).where(
        Level.driver == DRIVER, Level.host == host)
    coming = sa.select(Port.network_id).join(Binding, Binding.port_id == Port.id).where(
        _is_coming(), Binding.host == host)
    if among is not None:
        among = list(among)
        bound, coming = bound.where(Port.network_id.in_(among)), coming.where(Port.network_id.in_(among))
    found = {network for network, in session.execute(bound.distinct())}
    coming = {network for network, in session.execute(coming.distinct())} - found
    return found | set(_segments(session, host, coming))


def hosts_of_groups(session, groups):
    """Pairs (group, host): ports there are in the group, or in one with a rule that names it."""
    Member, Rule = securitygroup.SecurityGroupPortBinding, securitygroup.SecurityGroupRule
    found = set()
    for ids in chunks(groups):
        direct = sa.select(Member.security_group_id, Binding.host).join(
            Binding, Binding.port_id == Member.port_id).where(Member.security_group_id.in_(ids))
        named = sa.select(Rule.remote_group_id, Binding.host).join(
            Member, Member.security_group_id == Rule.security_group_id).join(
            Binding, Binding.port_id == Member.port_id).where(Rule.remote_group_id.in_(ids))
        found.update((group, host) for group, host in session.execute(sa.union(direct, named)) if host)
    return found


def networks_of_routers(session, routers):
    """Pairs (router, network) of their interfaces."""
    query = sa.select(Port.device_id, Port.network_id).where(Port.device_owner.in_(INTERFACE_OWNERS)).distinct()
    return {tuple(row) for ids in chunks(routers) for row in session.execute(query.where(Port.device_id.in_(ids)))}


def ports_of_policies(session, policies):
    """Pairs (port, network) of the ports that a QoS policy applies to, by themselves or by their network."""
    Own, Nets = qos.QosPortPolicyBinding, qos.QosNetworkPolicyBinding
    own = sa.select(Port.id, Port.network_id).join(Own, Own.port_id == Port.id).where(
        Own.policy_id.in_(list(policies)))
    inherited = sa.select(Port.id, Port.network_id).join(Nets, Nets.network_id == Port.network_id).where(
        Nets.policy_id.in_(list(policies)))
    return {tuple(row) for row in session.execute(sa.union(own, inherited))} if policies else set()


def groups_of_addresses(session, address_groups):
    """The security groups with a rule that names one of these address groups."""
    Rule = securitygroup.SecurityGroupRule
    query = sa.select(Rule.security_group_id).where(Rule.remote_address_group_id.in_(list(address_groups))).distinct()
    return {group for group, in session.execute(query)} if address_groups else set()


# Documents

def everything(session, host):
    """All documents that a host needs, by key."""
    networks = networks_of(session, host)
    return _by_key(_hosts(session), _networks(session, host, networks), _subnets(session, networks),
                   _ports(session, networks=networks), *_policies(session, host, networks))


def of_networks(session, host, networks):
    """These networks with their subnets and ports, as far as the host needs them, by key."""
    networks = networks_of(session, host, networks) if networks else set()
    return _by_key(_networks(session, host, networks), _subnets(session, networks), _ports(session, networks=networks))


def of_policies(session, host):
    """The security groups, routers and floating IPs that a host needs, by key."""
    return _by_key(*_policies(session, host, networks_of(session, host)))


def of_keys(session, host, keys):
    """Those of these documents that the host needs; what is not in the answer it is to forget."""
    wanted = collections.defaultdict(set)
    for kind, identifier in keys:
        wanted[kind].add(identifier)
    found = _by_key(_ports(session, ids=wanted['port']), _subnets(session, ids=wanted['subnet']))
    networks = wanted['network'] | {document['network_id'] for document in found.values()}
    networks = networks_of(session, host, networks) if networks else set()
    found = {key: document for key, document in found.items() if document['network_id'] in networks}
    found.update(_by_key(_networks(session, host, wanted['network'] & networks)))
    if wanted['host']:
        found.update(_by_key(one for one in _hosts(session) if one['id'] in wanted['host']))
    found.update(_groups_for(session, host, wanted['security_group'], found))
    found.update(_routing_for(session, host, wanted['router'], wanted['floating_ip']))
    return found


def _by_key(*sets):
    return {key(document): document for document in itertools.chain(*sets)}


def _groups_for(session, host, groups, found):
    """These groups if the host needs them, and with them those of its own ports: a port never precedes its groups."""
    own = {group for document in found.values() if document['type'] == 'port' and host in _places(document)
           for group in document['security_groups']}
    if groups:
        groups = groups & _wanted_groups(session, host)
    groups = groups | own
    return _by_key(_groups(session, groups | _remote_groups(session, groups)))


def _routing_for(session, host, routers, floating_ips):
    if not routers and not floating_ips:
        return {}
    wanted = _wanted_routers(session, networks_of(session, host))
    return _by_key(_routers(session, wanted & routers),
                   (one for one in _floating_ips(session, wanted) if one['id'] in floating_ips))


def _policies(session, host, networks):
    routers = _wanted_routers(session, networks)
    return (_groups(session, _wanted_groups(session, host)), _routers(session, routers),
            _floating_ips(session, routers))


def _places(document):
    return document.get('host'), document.get('migrating_to', {}).get('host')


def _is_coming():
    """Neutron takes a binding away for a moment whenever its inputs change, and nothing is torn down for that."""
    return sa.and_(Binding.status == constants.ACTIVE, Binding.host != '',
                   Binding.vif_type == portbindings.VIF_TYPE_UNBOUND,
                   Binding.vnic_type == portbindings.VNIC_NORMAL)


def _wanted_groups(session, host):
    Member = securitygroup.SecurityGroupPortBinding
    query = sa.select(Member.security_group_id).join(Binding, Binding.port_id == Member.port_id).where(
        Binding.host == host, sa.or_(Binding.vif_type == portbindings.VIF_TYPE_VHOST_USER, _is_coming()))
    direct = {group for group, in session.execute(query.distinct())}
    return direct | _remote_groups(session, direct)


def _remote_groups(session, groups):
    Rule = securitygroup.SecurityGroupRule
    query = sa.select(Rule.remote_group_id).where(Rule.remote_group_id.is_not(None)).distinct()
    return {group for ids in chunks(groups)
            for group, in session.execute(query.where(Rule.security_group_id.in_(ids)))}


def _wanted_routers(session, networks):
    query = sa.select(Port.device_id).where(Port.device_owner.in_(INTERFACE_OWNERS)).distinct()
    return {router for ids in chunks(networks)
            for router, in session.execute(query.where(Port.network_id.in_(ids)))}


def _hosts(session):
    texts = session.execute(sa.select(models.Host.document).where(models.Host.document != ''))
    return [json.loads(text) for text, in texts]


def _segments(session, host, networks):
    """Of each network the segment that the host's ports are bound to, or the first that it can carry."""
    if not networks:
        return {}
    row = session.get(models.Host, host)
    carrier = binding.Carrier.of(row) if row else binding.Carrier({})
    Segment = segment.NetworkSegment
    used = {identifier for identifier, in session.execute(
        sa.select(Level.segment_id).where(Level.host == host, Level.driver == DRIVER).distinct())}
    found = {}
    query = sa.select(Segment.id, Segment.network_id, Segment.network_type, Segment.physical_network,
                      Segment.segmentation_id).order_by(Segment.segment_index, Segment.id)
    for ids in chunks(networks):
        for one in session.execute(query.where(Segment.network_id.in_(ids))):
            if one.id in used:
                found[one.network_id] = one
            elif carrier.carries(one.network_type, one.physical_network):
                found.setdefault(one.network_id, one)
    return found


def _networks(session, host, networks):
    segments = _segments(session, host, networks)
    query = sa.select(models_v2.Network.id, models_v2.Network.name, models_v2.Network.mtu)
    for ids in chunks(segments):
        for row in session.execute(query.where(models_v2.Network.id.in_(ids))):
            one = segments[row.id]
            yield _document('network', row.id, name=_name(row.name), mtu=row.mtu, network_type=one.network_type,
                            physical_network=one.physical_network, segmentation_id=one.segmentation_id)


def _subnets(session, networks=(), ids=()):
    Subnet = models_v2.Subnet
    rows = _select(session, sa.select(Subnet.id, Subnet.name, Subnet.network_id, Subnet.cidr, Subnet.ip_version,
                                      Subnet.gateway_ip, Subnet.enable_dhcp, Subnet.ipv6_ra_mode,
                                      Subnet.ipv6_address_mode),
                   (Subnet.network_id, networks), (Subnet.id, ids))
    Route, Server = models_v2.SubnetRoute, models_v2.DNSNameServer
    found = [row.id for row in rows]
    routes = _grouped(session, Route.subnet_id, found, Route.destination, Route.nexthop)
    servers = _grouped(session, Server.subnet_id, found, Server.order, Server.address)
    for row in rows:
        yield _document(
            'subnet', row.id, name=_name(row.name), network_id=row.network_id, cidr=str(row.cidr),
            ip_version=row.ip_version, gateway_ip=_text(row.gateway_ip), enable_dhcp=bool(row.enable_dhcp),
            ipv6_ra_mode=row.ipv6_ra_mode, ipv6_address_mode=row.ipv6_address_mode,
            host_routes=_routes(routes[row.id]) or None,
            dns_nameservers=[address for _, address in sorted(servers[row.id])] or None)


def _ports(session, networks=(), ids=()):
    """Ports that are somewhere, of these networks or these identifiers."""
    Security, Own, Nets = port_security.PortSecurityBinding, qos.QosPortPolicyBinding, qos.QosNetworkPolicyBinding
    query = sa.select(
        Port.id, Port.name, Port.network_id, Port.mac_address, Port.admin_state_up, Port.device_owner,
        Binding.host, Binding.vif_type, Binding.vif_details, Security.port_security_enabled,
        Own.policy_id.label('own_policy'), Nets.policy_id.label('network_policy'),
    ).join(Binding, Binding.port_id == Port.id).outerjoin(Security, Security.port_id == Port.id).outerjoin(
        Own, Own.port_id == Port.id).outerjoin(Nets, Nets.network_id == Port.network_id).where(
        Binding.status == constants.ACTIVE, Binding.host != '', Binding.vif_type.not_in(NOT_BOUND),
        sa.or_(Binding.vif_type != portbindings.VIF_TYPE_UNBOUND, Binding.vnic_type == portbindings.VNIC_NORMAL))
    rows = _select(session, query, (Port.network_id, networks), (Port.id, ids))
    details = _PortDetails(session, rows)
    return [details.document(row) for row in rows]


class _PortDetails:
    """What belongs to ports and is in other tables, read for all of them at once."""

    def __init__(self, session, rows):
        ids = [row.id for row in rows]
        Address, Member = models_v2.IPAllocation, securitygroup.SecurityGroupPortBinding
        Pair = allowed_address_pair.AllowedAddressPair
        self._addresses = _grouped(session, Address.port_id, ids, Address.ip_address, Address.subnet_id)
        self._groups = _grouped(session, Member.port_id, ids, Member.security_group_id)
        self._pairs = _grouped(session, Pair.port_id, ids, Pair.ip_address, Pair.mac_address)
        self._targets = _grouped(session, Binding.port_id, ids, Binding.host, Binding.vif_details, where=sa.and_(
            Binding.status == constants.INACTIVE, Binding.vif_type == portbindings.VIF_TYPE_VHOST_USER))
        self._qos = _qos_rules(session, {_policy(row) for row in rows} - {None})
        self._vif_dirs = dict(session.execute(sa.select(models.Host.host, models.Host.vif_dir)).all())

    def document(self, row):
        secured = row.port_security_enabled is not False
        return _document(
            'port', row.id, name=_name(row.name), network_id=row.network_id, mac_address=str(row.mac_address),
            admin_state_up=bool(row.admin_state_up), device_owner=row.device_owner or None, host=row.host,
            fixed_ips=[{'ip_address': address, 'subnet_id': subnet}
                       for address, subnet in sorted(self._addresses[row.id])],
            port_security_enabled=secured, security_groups=sorted(group for group, in self._groups[row.id]),
            allowed_address_pairs=[{'ip_address': str(address), 'mac_address': str(mac)}
                                   for address, mac in sorted(map(tuple, self._pairs[row.id]))],
            vif=self._vif(row.id, row.host, row.vif_details)
            if row.vif_type in (portbindings.VIF_TYPE_VHOST_USER, portbindings.VIF_TYPE_UNBOUND) else None,
            qos=self._qos.get(_policy(row)), migrating_to=self._target(row.id))

    def _target(self, port):
        for host, details in sorted(self._targets[port])[:1]:
            return {'host': host, 'vif': self._vif(port, host, details)}

    def _vif(self, port, host, details):
        path = json.loads(details or '{}').get(portbindings.VHOST_USER_SOCKET) or binding.socket_path(
            self._vif_dirs.get(host, ''), port)
        return {'type': 'vhost-user', 'path': path, 'mode': 'client'}


def _policy(row):
    inherits = row.network_policy and not (row.device_owner or '').startswith(constants.DEVICE_OWNER_NETWORK_PREFIX)
    return row.own_policy or (row.network_policy if inherits else None)


def _qos_rules(session, policies):
    Limit, Mark = qos.QosBandwidthLimitRule, qos.QosDscpMarkingRule
    limits = _grouped(session, Limit.qos_policy_id, policies, Limit.direction, Limit.max_kbps, Limit.max_burst_kbps)
    marks = _grouped(session, Mark.qos_policy_id, policies, Mark.dscp_mark)
    found = {}
    for policy in policies:
        rules = {'bandwidth_limits': [
            {'direction': direction, 'max_kbps': rate, 'max_burst_kbps': burst or 0}
            for direction, rate, burst in sorted(map(tuple, limits[policy]))]}
        if marks[policy]:
            rules['dscp_mark'] = marks[policy][0][0]
        found[policy] = rules if marks[policy] or limits[policy] else None
    return found


def _groups(session, groups):
    Group, Rule = securitygroup.SecurityGroup, securitygroup.SecurityGroupRule
    rows = _select(session, sa.select(Group.id, Group.name, Group.stateful), (Group.id, groups))
    rules = _grouped(session, Rule.security_group_id, [row.id for row in rows], Rule.id, Rule.direction,
                     Rule.ethertype, Rule.protocol, Rule.port_range_min, Rule.port_range_max, Rule.remote_ip_prefix,
                     Rule.remote_group_id, Rule.remote_address_group_id)
    Address = address_group.AddressAssociation
    named = {rule.remote_address_group_id for several in rules.values() for rule in several} - {None}
    addresses = _grouped(session, Address.address_group_id, named, Address.address)
    for row in rows:
        yield _document('security_group', row.id, name=_name(row.name), stateful=row.stateful is not False,
                        rules=[text for rule in sorted(rules[row.id], key=lambda one: one.id)
                               for text in _rules(rule, addresses)])


def _rules(rule, addresses):
    """A rule; one that names an address group is one for each address."""
    if rule.remote_address_group_id is None:
        return [_rule(rule, id=rule.id, remote_ip_prefix=rule.remote_ip_prefix)]
    version = 6 if rule.ethertype == constants.IPv6 else 4
    texts = sorted(str(address) for address, in addresses[rule.remote_address_group_id])
    return [_rule(rule, remote_ip_prefix=text) for text in texts if (':' in text) == (version == 6)]


def _rule(rule, **more):
    return _without_none(direction=rule.direction, ethertype=rule.ethertype, protocol=rule.protocol,
                         port_range_min=rule.port_range_min, port_range_max=rule.port_range_max,
                         remote_group_id=rule.remote_group_id, **more)


def _routers(session, routers):
    Router, Extra, Route = l3.Router, l3_attrs.RouterExtraAttributes, l3.RouterRoute
    rows = _select(session, sa.select(Router.id, Router.name, Router.admin_state_up, Router.enable_snat,
                                      Router.gw_port_id, Extra.distributed).outerjoin(
        Extra, Extra.router_id == Router.id), (Router.id, routers))
    routes = _grouped(session, Route.router_id, [row.id for row in rows], Route.destination, Route.nexthop)
    interfaces = _interfaces(session, rows)
    for row in rows:
        yield _document(
            'router', row.id, name=_name(row.name), admin_state_up=bool(row.admin_state_up),
            distributed=bool(row.distributed), enable_snat=bool(row.enable_snat),
            interfaces=interfaces[row.id, False], gateway=next(iter(interfaces[row.id, True]), None),
            routes=_routes(routes[row.id]))


def _interfaces(session, routers):
    """By (router, whether it is the gateway)."""
    columns = (Port.device_id, Port.id, Port.network_id, Port.mac_address, Port.device_owner, Binding.host)
    owners = (*INTERFACE_OWNERS, constants.DEVICE_OWNER_ROUTER_GW)
    rows = _select(session, sa.select(*columns).outerjoin(
        Binding, sa.and_(Binding.port_id == Port.id, Binding.status == constants.ACTIVE)).where(
        Port.device_owner.in_(owners)), (Port.device_id, [row.id for row in routers]))
    Address = models_v2.IPAllocation
    addresses = _grouped(session, Address.port_id, [row.id for row in rows], Address.ip_address, Address.subnet_id)
    found = collections.defaultdict(list)
    for row in sorted(rows, key=lambda one: one.id):
        is_gateway = row.device_owner == constants.DEVICE_OWNER_ROUTER_GW
        found[row.device_id, is_gateway].append(_without_none(
            port_id=row.id, network_id=row.network_id, mac_address=str(row.mac_address),
            fixed_ips=[{'ip_address': address, 'subnet_id': subnet}
                       for address, subnet in sorted(map(tuple, addresses[row.id]))],
            host=(row.host or None) if is_gateway else None))
    return found


def _floating_ips(session, routers):
    FloatingIP, Forwarding = l3.FloatingIP, port_forwarding.PortForwarding
    rows = _select(session, sa.select(
        FloatingIP.id, FloatingIP.floating_ip_address, FloatingIP.floating_network_id, FloatingIP.router_id,
        FloatingIP.fixed_port_id, FloatingIP.fixed_ip_address), (FloatingIP.router_id, routers))
    forwardings = _grouped(
        session, Forwarding.floatingip_id, [row.id for row in rows], Forwarding.id, Forwarding.protocol,
        Forwarding.external_port_start, Forwarding.external_port_end, Forwarding.internal_port_start,
        Forwarding.internal_port_end, Forwarding.internal_ip_address, Forwarding.internal_neutron_port_id)
    for row in rows:
        yield _document(
            'floating_ip', row.id, floating_ip_address=str(row.floating_ip_address),
            floating_network_id=row.floating_network_id, router_id=row.router_id, port_id=row.fixed_port_id,
            fixed_ip_address=_text(row.fixed_ip_address),
            port_forwardings=[_forwarding(one) for one in sorted(forwardings[row.id], key=lambda one: one.id)] or None)


def _forwarding(one):
    return {'protocol': one.protocol, 'internal_ip_address': str(one.internal_ip_address),
            'internal_port_id': one.internal_neutron_port_id,
            **_port_range('external_port', one.external_port_start, one.external_port_end),
            **_port_range('internal_port', one.internal_port_start, one.internal_port_end)}


def _port_range(name, first, last):
    return {name: first} if first == last else {f'{name}_range': f'{first}:{last}'}


# Reading

def _document(kind, identifier, **values):
    return _without_none(type=kind, id=identifier, schema=SCHEMA, **values)


def _without_none(**values):
    return {key: value for key, value in values.items() if value is not None}


def _text(value):
    return None if value is None else str(value)


def _name(text):
    """Names are free text in Neutron; control characters are refused by hosts, and worth no refusal here."""
    return ''.join(letter if letter.isprintable() else ' ' for letter in text or '') or None


def _routes(rows):
    return [{'destination': str(destination), 'nexthop': str(nexthop)}
            for destination, nexthop in sorted((str(one), str(two)) for one, two in rows)]


def chunks(values):
    """The values in lists that one statement can take."""
    values = sorted(values)
    return (values[start:start + CHUNK] for start in range(0, len(values), CHUNK))


def _select(session, query, *filters):
    """The rows whose column has one of the values, of any of the filters."""
    return [row for column, values in filters for ids in chunks(set(values))
            for row in session.execute(query.where(column.in_(ids)))]


def _grouped(session, owner, owners, *columns, where=None):
    """Rows of the columns by owner."""
    found = collections.defaultdict(list)
    query = sa.select(*columns, owner.label('owner_of_row'))
    query = query if where is None else query.where(where)
    for ids in chunks(owners):
        for row in session.execute(query.where(owner.in_(ids))):
            found[row.owner_of_row].append(_Row(columns, row))
    return found


class _Row(tuple):
    """The columns of a row, without its owner: a tuple with names."""

    def __new__(cls, columns, row):
        self = super().__new__(cls, row[:len(columns)])
        self._names = {column.key: index for index, column in enumerate(columns)}
        return self

    def __getattr__(self, name):
        try:
            return self[self._names[name]]
        except KeyError:
            raise AttributeError(name) from None
