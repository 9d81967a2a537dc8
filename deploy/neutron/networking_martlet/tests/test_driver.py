"""Binding, documents, and the ports' status, through Neutron's plugin."""

import pathlib
import re
import unittest

from neutron.objects.qos import policy as policy_object
from neutron.objects.qos import rule as rule_object
from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_config import cfg

from networking_martlet import config
from networking_martlet import models
from networking_martlet.tests import base
from networking_martlet.tests import endpoint_model

CMP1, CMP2 = 'cmp1', 'cmp2'


class BindingTest(base.MartletTestCase):

    def test_binds_a_tunnel_port_with_a_socket_that_qemu_listens_at(self):
        network = self.make_network()
        port = self.make_port(network['id'], CMP1)
        self.assertEqual('vhostuser', port[portbindings.VIF_TYPE])
        details = port[portbindings.VIF_DETAILS]
        self.assertEqual(f"/run/martlet/vif/vhu{port['id'][:11]}", details['vhostuser_socket'])
        self.assertEqual('server', details['vhostuser_mode'])
        self.assertIs(False, details['vhostuser_ovs_plug'])
        self.assertEqual(network['mtu'], details['mtu'])
        # The host does not filter: its capabilities say nothing of security groups.
        self.assertIs(False, details['port_filter'])

    def test_filters_only_where_the_host_can(self):
        self.endpoints[CMP1].capabilities.append('security-groups')
        self.endpoints[CMP1].instance = 'another'
        self.coordinator.tellers[CMP1]._is_introduced = False
        self.settle()
        port = self.make_port(self.make_network()['id'], CMP1)
        self.assertIs(True, port[portbindings.VIF_DETAILS]['port_filter'])

    def test_binds_nothing_where_there_is_no_martletd(self):
        port = self.make_port(self.make_network()['id'], 'elsewhere')
        self.assertEqual('binding_failed', port[portbindings.VIF_TYPE])

    def test_binds_nothing_to_a_host_that_is_silent(self):
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.query(models.Host).update({'answered_at': models.Host.answered_at - 1000})
        port = self.make_port(self.make_network()['id'], CMP1)
        self.assertEqual('binding_failed', port[portbindings.VIF_TYPE])

    def test_binds_vlan_only_to_a_mapped_physical_network(self):
        network = self.make_network(**{'provider:network_type': 'vlan', 'provider:physical_network': 'physnet1',
                                       'provider:segmentation_id': 7})
        other = self.make_network(**{'provider:network_type': 'vlan', 'provider:physical_network': 'physnet2',
                                     'provider:segmentation_id': 207})
        self.assertEqual('vhostuser', self.make_port(network['id'], CMP1)[portbindings.VIF_TYPE])
        self.assertEqual('binding_failed', self.make_port(other['id'], CMP1)[portbindings.VIF_TYPE])
        self.settle()
        held = self.held(CMP1, 'network')
        self.assertEqual([network['id']], list(held))
        self.assertEqual((7, 'physnet1'), (held[network['id']]['segmentation_id'],
                                           held[network['id']]['physical_network']))

    def test_leaves_other_vnic_types_to_others(self):
        port = self.make_port(self.make_network()['id'], CMP1, **{portbindings.VNIC_TYPE: 'direct'})
        self.assertEqual('binding_failed', port[portbindings.VIF_TYPE])


class DocumentsTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']

    def test_a_port_goes_to_all_hosts_of_its_network_and_to_no_other(self):
        subnet = self.make_subnet(self.network)
        here, there = self.make_port(self.network, CMP1), self.make_port(self.network, CMP2)
        unbound = self.make_port(self.network)
        self.settle()
        for host in (CMP1, CMP2):
            self.assertEqual({here['id'], there['id']}, set(self.held(host, 'port')))
            self.assertEqual({subnet['id']}, set(self.held(host, 'subnet')))
            self.assertEqual(set(base.HOSTS), set(self.held(host, 'host')))
            self.assert_agrees(host)
        self.assertEqual({}, self.held('cmp3', 'port'))
        document = self.held(CMP2, 'port')[here['id']]
        document.pop('revision')
        self.assertEqual({
            'type': 'port', 'id': here['id'], 'schema': 1, 'network_id': self.network,
            'mac_address': here['mac_address'], 'admin_state_up': True, 'host': CMP1,
            'fixed_ips': [{'ip_address': here['fixed_ips'][0]['ip_address'], 'subnet_id': subnet['id']}],
            'port_security_enabled': True, 'security_groups': here['security_groups'], 'allowed_address_pairs': [],
            'vif': {'type': 'vhost-user', 'path': f"/run/martlet/vif/vhu{here['id'][:11]}", 'mode': 'client'},
        }, document)
        self.assertNotIn(unbound['id'], self.held(CMP1, 'port'))

    def test_a_host_that_loses_its_last_port_loses_the_network(self):
        port, other = self.make_port(self.network, CMP1), self.make_port(self.network, CMP2)
        self.settle()
        self.plugin.delete_port(self.admin, port['id'])
        self.settle()
        for kind in ('network', 'port', 'security_group'):
            self.assertEqual({}, self.held(CMP1, kind), kind)
        self.assertEqual({other['id']}, set(self.held(CMP2, 'port')))
        self.assertEqual([CMP2], [row.host for row in self.rows(models.Holding)])

    def test_changes_of_all_kinds_arrive(self):
        subnet = self.make_subnet(self.network)
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.update_port(port['id'], name='a\nb', admin_state_up=False, port_security_enabled=True,
                         allowed_address_pairs=[{'ip_address': '10.0.0.0/28', 'mac_address': 'fa:16:3e:00:00:01'}])
        self.plugin.update_network(self.admin, self.network, {'network': {'mtu': 1400, 'name': 'new'}})
        self.plugin.update_subnet(self.admin, subnet['id'], {'subnet': {
            'dns_nameservers': ['9.9.9.9', '1.1.1.1'], 'enable_dhcp': False}})
        self.settle()
        held = self.held(CMP1, 'port')[port['id']]
        self.assertEqual(('a b', False), (held['name'], held['admin_state_up']))
        self.assertEqual([{'ip_address': '10.0.0.0/28', 'mac_address': 'fa:16:3e:00:00:01'}],
                         held['allowed_address_pairs'])
        self.assertEqual(1400, self.held(CMP1, 'network')[self.network]['mtu'])
        self.assertEqual(['9.9.9.9', '1.1.1.1'], self.held(CMP1, 'subnet')[subnet['id']]['dns_nameservers'])
        self.assertIs(False, self.held(CMP1, 'subnet')[subnet['id']]['enable_dhcp'])

    def test_a_group_s_rules_arrive_where_its_ports_are(self):
        port = self.make_port(self.network, CMP1)
        group = port['security_groups'][0]
        self.settle()
        before = len(self.held(CMP1, 'security_group')[group]['rules'])
        rule = self.plugin.create_security_group_rule(self.admin, {'security_group_rule': {
            'security_group_id': group, 'direction': 'ingress', 'ethertype': 'IPv4', 'protocol': 'tcp',
            'port_range_min': 22, 'port_range_max': 23, 'remote_ip_prefix': '10.0.0.0/8', 'remote_group_id': None,
            'remote_address_group_id': None, 'tenant_id': 'p', 'project_id': 'p',
            'description': ''}})
        self.settle()
        rules = {one['id']: one for one in self.held(CMP1, 'security_group')[group]['rules']}
        self.assertEqual({'id': rule['id'], 'direction': 'ingress', 'ethertype': 'IPv4', 'protocol': 'tcp',
                          'port_range_min': 22, 'port_range_max': 23, 'remote_ip_prefix': '10.0.0.0/8'},
                         rules[rule['id']])
        self.assertEqual({}, self.held(CMP2, 'security_group'))
        self.plugin.delete_security_group_rule(self.admin, rule['id'])
        self.settle()
        self.assertEqual(before, len(self.held(CMP1, 'security_group')[group]['rules']))

    def test_a_policy_s_rules_are_its_ports(self):
        plugin = directory.get_plugin('QOS')
        policy = plugin.create_policy(self.admin, {'policy': {
            'name': 'q', 'tenant_id': 'p', 'project_id': 'p', 'shared': False, 'is_default': False}})
        port = self.make_port(self.network, CMP1)
        # Not by update_port: it reads in a second session, which SQLite in memory does not tell from the first.
        policy_object.QosPolicy.get_object(self.admin, id=policy['id']).attach_port(port['id'])
        self.settle()
        plugin.create_policy_rule(self.admin, rule_object.QosBandwidthLimitRule, policy['id'], {
            'bandwidth_limit_rule': {'max_kbps': 1000, 'max_burst_kbps': 100, 'direction': 'egress'}})
        self.settle()
        self.assertEqual({'bandwidth_limits': [{'direction': 'egress', 'max_kbps': 1000, 'max_burst_kbps': 100}]},
                         self.held(CMP1, 'port')[port['id']]['qos'])


class RoutingTest(base.MartletTestCase):

    def test_routers_and_floating_ips_follow_their_networks(self):
        l3 = directory.get_plugin('L3_ROUTER_NAT')
        inside = self.make_network()['id']
        subnet = self.make_subnet(inside, '10.9.0.0/24')
        outside = self.make_network(**{'router:external': True})['id']
        self.make_subnet(outside, '203.0.113.0/24')
        port = self.make_port(inside, CMP1)
        self.settle()
        router = l3.create_router(self.admin, {'router': {
            'name': 'r', 'admin_state_up': True, 'tenant_id': 'p', 'external_gateway_info': {'network_id': outside}}})
        self.settle()
        self.assertEqual({}, self.held(CMP1, 'router'))
        l3.add_router_interface(self.admin, router['id'], {'subnet_id': subnet['id']})
        self.settle()
        held = self.held(CMP1, 'router')[router['id']]
        self.assertEqual([inside], [one['network_id'] for one in held['interfaces']])
        self.assertEqual(outside, held['gateway']['network_id'])
        self.assertEqual({}, self.held(CMP2, 'router'))
        floating = l3.create_floatingip(self.admin, {'floatingip': {
            'floating_network_id': outside, 'port_id': port['id'], 'tenant_id': 'p', 'fixed_ip_address': None,
            'subnet_id': None, 'floating_ip_address': None, 'description': ''}})
        self.settle()
        self.assertEqual(floating['floating_ip_address'],
                         self.held(CMP1, 'floating_ip')[floating['id']]['floating_ip_address'])
        l3.update_floatingip(self.admin, floating['id'], {'floatingip': {'port_id': None}})
        self.settle()
        self.assertEqual({}, self.held(CMP1, 'floating_ip'))
        l3.remove_router_interface(self.admin, router['id'], {'subnet_id': subnet['id']})
        self.settle()
        self.assertEqual({}, self.held(CMP1, 'router'))
        self.assert_agrees(CMP1)


class StatusTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']

    def status(self, port):
        return self.port(port['id'])['status']

    def test_a_port_is_active_when_its_host_says_so_and_not_before(self):
        self.endpoints[CMP1].guests_are_connected = False
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.pump()
        self.assertEqual(constants.PORT_STATUS_DOWN, self.status(port))
        self.endpoints[CMP1].guests_are_connected = True
        self.pump()
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.status(port))
        self.endpoints[CMP1].guests_are_connected = False
        self.pump()
        self.assertEqual(constants.PORT_STATUS_DOWN, self.status(port))

    def test_another_host_s_word_counts_for_nothing(self):
        port = self.make_port(self.network, CMP1)
        self.coordinator.tellers[CMP2].status.report([{'id': port['id'], 'status': 'up', 'revision': 1 << 50}], False)
        self.assertEqual(constants.PORT_STATUS_DOWN, self.status(port))

    def test_a_report_of_a_binding_that_is_gone_counts_for_nothing(self):
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.pump()
        old = self.endpoints[CMP1].ports()
        self.update_port(port['id'], **{portbindings.HOST_ID: ''})
        self.settle()
        self.endpoints[CMP1].guests_are_connected = False
        self.update_port(port['id'], **{portbindings.HOST_ID: CMP1})
        self.settle()
        self.coordinator.tellers[CMP1].status.report(old, False)
        self.assertEqual(constants.PORT_STATUS_DOWN, self.status(port))

    def test_a_new_profile_does_not_take_the_device_away(self):
        """Neutron unbinds for a moment: the host is told of no removal, and the port is ACTIVE again."""
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.pump()
        self.endpoints[CMP1].deliveries.clear()
        self.update_port(port['id'], **{portbindings.PROFILE: {'migrating_to': CMP2}})
        self.settle()
        self.pump()
        self.assertEqual([], [body for body in self.endpoints[CMP1].deliveries if b'"deleted"' in body])
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.status(port))

    def test_a_port_that_is_set_down_in_between_is_active_again(self):
        """What its former host reported may come in when the port has moved."""
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.pump()
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.status(port))
        self.plugin.update_port_status(self.admin, port['id'], constants.PORT_STATUS_DOWN, CMP2)
        self.coordinator.tellers[CMP1].status.settle()
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.status(port))

    def test_a_status_alone_is_not_told(self):
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.plugin.update_port_status(self.admin, port['id'], constants.PORT_STATUS_ACTIVE, CMP1)
        self.assertEqual([], self.rows(models.Dirty))

    def test_a_move_is_one_of_bindings(self):
        port = self.make_port(self.network, CMP1)
        self.settle()
        self.pump()
        self.update_port(port['id'], **{portbindings.HOST_ID: CMP2})
        self.assertEqual(constants.PORT_STATUS_DOWN, self.status(port))
        self.settle()
        self.pump()
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.status(port))
        self.assertEqual({}, self.held(CMP1, 'port'))
        self.assertEqual(CMP2, self.held(CMP2, 'port')[port['id']]['host'])


class MigrationTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']
        self.vm = self.make_port(self.network, CMP1, device_owner='compute:nova', device_id='vm')
        self.settle()
        self.pump()
        self.plugin.create_port_binding(self.admin, self.vm['id'], {'binding': {
            'host': CMP2, 'vnic_type': 'normal', 'profile': {}}})

    def held_by(self, host):
        return self.held(host, 'port').get(self.vm['id'])

    def test_the_destination_gets_the_network_and_the_device_before_the_port(self):
        self.settle()
        for host in (CMP1, CMP2):
            self.assertEqual(CMP1, self.held_by(host)['host'])
            self.assertEqual(CMP2, self.held_by(host)['migrating_to']['host'])
            self.assert_agrees(host)
        self.plugin.activate(self.admin, CMP2, self.vm['id'])
        self.settle()
        self.pump()
        self.assertEqual(CMP2, self.held_by(CMP2)['host'])
        self.assertNotIn('migrating_to', self.held_by(CMP2))
        self.assertIsNone(self.held_by(CMP1))
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.port(self.vm['id'])['status'])
        self.plugin.delete_port_binding(self.admin, CMP1, self.vm['id'])
        self.settle()
        self.assert_agrees(CMP2)
        self.assertEqual([], self.rows(models.Migration))

    def test_an_aborted_migration_leaves_nothing_at_the_destination(self):
        self.settle()
        self.plugin.delete_port_binding(self.admin, CMP2, self.vm['id'])
        self.settle()
        self.assertEqual({}, self.held(CMP2, 'port'))
        self.assertEqual({}, self.held(CMP2, 'network'))
        self.assertNotIn('migrating_to', self.held_by(CMP1))
        self.assertEqual(constants.PORT_STATUS_ACTIVE, self.port(self.vm['id'])['status'])
        self.assertEqual([], self.rows(models.Migration))

    def test_a_port_that_is_deleted_while_it_migrates_is_gone_everywhere(self):
        self.settle()
        self.plugin.delete_port(self.admin, self.vm['id'])
        self.settle()
        for host in (CMP1, CMP2):
            self.assertIsNone(self.held_by(host))
            self.assert_agrees(host)


class SegmentAccessTest(base.MartletTestCase):

    SEGMENTS = {'physnet1': {'network_type': 'vlan', 'physical_network': 'physnet1', 'segmentation_id': 1},
                'physnet2': {'network_type': 'vlan', 'physical_network': 'physnet2', 'segmentation_id': 1}}

    def network_of(self, number, *physical):
        return self.make_network(**{'segments': [
            {**{f'provider:{key}': value for key, value in self.SEGMENTS[one].items()}, 'provider:segmentation_id': number}
            for one in physical], 'provider:network_type': constants.ATTR_NOT_SPECIFIED})['id']

    def test_hosts_have_a_network_if_they_carry_one_of_its_segments(self):
        asked = {CMP1, 'cmp3', 'elsewhere'}
        for number, physical, having in ((1, ['physnet1'], {CMP1, 'cmp3'}), (2, ['physnet2'], set()),
                                         (3, ['physnet2', 'physnet1'], {CMP1, 'cmp3'})):
            found = self.plugin.filter_hosts_with_network_access(self.admin, self.network_of(number, *physical), asked)
            self.assertEqual(having, found)

    def test_its_agents_have_the_segments_that_they_carry_and_no_others(self):
        agent, = self.plugin.get_agents(self.admin, filters={'host': [CMP1]})
        for segment, has in ((self.SEGMENTS['physnet1'], True), (self.SEGMENTS['physnet2'], False),
                             ({'network_type': 'gre', 'physical_network': None}, True)):
            self.assertIs(has, self.plugin.check_segment_for_agent(segment, agent))
            self.assertIs(False, self.plugin.check_segment_for_agent(segment, {**agent, 'agent_type': 'another'}))


class ConfigurationTest(unittest.TestCase):

    def endpoints(self, *entries):
        conf = cfg.ConfigOpts()
        config.register(conf)
        conf.set_override('endpoints', list(entries), config.GROUP)
        return config.endpoints(conf)

    def test_hosts_have_endpoints(self):
        self.assertEqual({'a': 'https://10.0.0.1:1', 'b': 'http://[::1]:2'},
                         self.endpoints('a=https://10.0.0.1:1/', ' b = http://[::1]:2'))

    def test_an_entry_that_is_no_endpoint_is_named(self):
        for wrong in ('cmp1', '=http://x:1', 'cmp1=ftp://x:1', 'cmp1=https://', 'cmp1=http://x:1/v1',
                      'cmp1=https://x:1    # a comment'):
            with self.assertRaisesRegex(ValueError, re.escape(wrong)):
                self.endpoints('cmp2=http://x:2', wrong)
        with self.assertRaisesRegex(ValueError, "'cmp1' is there twice"):
            self.endpoints('cmp1=http://x:1', 'cmp1=http://x:2')

    def test_the_readme_has_every_option_with_its_default(self):
        text = (pathlib.Path(__file__).parents[2] / 'README.md').read_text()
        rows = [line.split('|')[1:3] for line in text.splitlines() if line.startswith('| `')]
        said = {name: default.strip() for names, default in rows for name in re.findall('`([a-z_]+)`', names)}
        options = {option.name: f'{option.default:g}' if option.default else 'none' for option in config.OPTIONS}
        self.assertEqual(options, said)


class AgentTest(base.MartletTestCase):

    def test_hosts_are_agents_that_are_alive_while_they_answer(self):
        agents = {agent['host']: agent for agent in self.plugin.get_agents(self.admin)}
        self.assertEqual(set(base.HOSTS), set(agents))
        self.assertEqual(('Martlet vSwitch', True), (agents[CMP1]['agent_type'], agents[CMP1]['alive']))
        self.assertEqual({'physnet1': 'br-eth1'}, agents[CMP1]['configurations']['bridge_mappings'])

    def test_an_endpoint_of_another_host_is_not_believed(self):
        self.endpoints['cmp4'] = endpoint_model.Endpoint('cmp9')
        cfg.CONF.set_override('endpoints', ['cmp4=http://cmp4:1'], group=config.GROUP)
        self.coordinator._asked = base.worker.timeutils.StopWatch()
        self.pump()
        self.assertIn("'cmp9'", self.rows(models.Host, host='cmp4')[0].last_error)
