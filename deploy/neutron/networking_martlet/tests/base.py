"""Neutron with this driver alone, in memory, and endpoints that are models."""

from unittest import mock

from neutron.conf.plugins.ml2.drivers import driver_type
from neutron.tests.unit.plugins.ml2 import test_plugin
from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib import context as n_context
from neutron_lib.db import api as db_api
from neutron_lib import exceptions as n_exc  # noqa: F401
from neutron_lib.plugins import directory
from oslo_config import cfg
import sqlalchemy as sa

from networking_martlet import client
from networking_martlet import config
from networking_martlet import documents
from networking_martlet import journal
from networking_martlet import models
from networking_martlet import worker
from networking_martlet.tests import endpoint_model

HOSTS = ('cmp1', 'cmp2', 'cmp3')


class MartletTestCase(test_plugin.Ml2PluginV2TestCase):
    _mechanism_drivers = ['martlet']
    _extension_drivers = ['port_security', 'qos']

    def get_additional_service_plugins(self):
        return {'qos': 'qos'}

    def setUp(self):
        config.register()
        driver_type.register_ml2_drivers_vxlan_opts()
        driver_type.register_ml2_drivers_vlan_opts()
        cfg.CONF.set_override('extension_drivers', self._extension_drivers, group='ml2')
        cfg.CONF.set_override('vni_ranges', ['1000:2000'], group='ml2_type_vxlan')
        # Leases run out when a test says so, not when the machine is slow.
        cfg.CONF.set_override('lease_time', 1000, group=config.GROUP)
        cfg.CONF.set_override('endpoints', [f'{host}=http://{host}:1' for host in HOSTS], group=config.GROUP)
        super().setUp()
        patch = mock.patch.object(journal, 'TIDY_DELAY', 0)
        patch.start()
        self.addCleanup(patch.stop)
        self.admin = n_context.get_admin_context()
        self.plugin = directory.get_plugin()
        self.endpoints = {
            host: endpoint_model.Endpoint(host, f'192.0.2.{number}', {'physnet1': 'br-eth1'})
            for number, host in enumerate(HOSTS, 1)}
        self.coordinator = worker.Coordinator(self.connect)
        self.settle()

    def connect(self, url):
        return client.Client(self.endpoints[url.split('/')[2].partition(':')[0]])

    # Driving

    def pump(self, coordinator=None):
        """One round of everything that the worker's threads do."""
        coordinator = coordinator or self.coordinator
        coordinator.tick(start=False)
        for teller in list(coordinator.tellers.values()):
            teller.listen(0)
            teller.delivery.step()

    def settle(self, coordinator=None, rounds=200):
        """Until nothing is left to do, and every host was compared at least once."""
        for _ in range(rounds):
            self.pump(coordinator)
            if not self.rows(models.Dirty) and not self.due() and not self.stale():
                return
        self.fail(f"not settled: {self.rows(models.Dirty)} {self.rows(models.Pending)} {self.stale()}")

    def rows(self, model, **filters):
        with db_api.CONTEXT_READER.using(self.admin):
            return self.admin.session.query(model).filter_by(**filters).all()

    def due(self):
        return [row for row in self.rows(models.Pending) if not row.attempts]

    def stale(self):
        return [row.host for row in self.rows(models.Host) if row.stale]

    def on_statement(self, change):
        """Has each statement go through a function first, which may change it, or raise what a database would."""
        def pass_through(connection, cursor, statement, parameters, context, many):
            return change(statement), parameters
        where = db_api.CONTEXT_WRITER.get_engine(), 'before_cursor_execute', pass_through
        sa.event.listen(*where, retval=True)
        self.addCleanup(sa.event.remove, *where)

    def make_due(self):
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.query(models.Pending).update({'due_at': 0})

    # What should be

    def wanted(self, host):
        with db_api.CONTEXT_READER.using(self.admin):
            return documents.everything(self.admin.session, host)

    def assert_agrees(self, host):
        """The endpoint holds exactly what a fresh snapshot would give it."""
        fresh = endpoint_model.Endpoint(host)
        client.Client(fresh).snapshot('s', 1, [{**one, 'revision': 1} for one in self.wanted(host).values()])
        held = {key: documents.canonical(one) for key, one in self.endpoints[host].documents.items()}
        expected = {key: documents.canonical(one) for key, one in fresh.documents.items()}
        self.assertEqual(expected, held)
        self.assertEqual(fresh.digest(), self.endpoints[host].digest())

    def held(self, host, kind):
        return {key[1]: one for key, one in self.endpoints[host].documents.items() if key[0] == kind}

    # Neutron's API

    def make_network(self, **attributes):
        return self.plugin.create_network(self.admin, {'network': {
            'name': 'net', 'admin_state_up': True, 'shared': False, 'tenant_id': 'p', 'port_security_enabled': True,
            'provider:network_type': 'vxlan', **attributes}})

    def make_subnet(self, network, cidr='10.0.0.0/24', **attributes):
        unset = constants.ATTR_NOT_SPECIFIED
        return self.plugin.create_subnet(self.admin, {'subnet': {
            'name': '', 'network_id': network, 'tenant_id': 'p', 'cidr': cidr, 'ip_version': 6 if ':' in cidr else 4,
            'gateway_ip': unset, 'allocation_pools': unset, 'enable_dhcp': True, 'dns_nameservers': unset,
            'host_routes': unset, 'ipv6_ra_mode': unset, 'ipv6_address_mode': unset, 'subnetpool_id': unset,
            'prefixlen': unset, 'service_types': [], **attributes}})

    def make_port(self, network, host=None, **attributes):
        if host:
            attributes[portbindings.HOST_ID] = host
        answer = self._create_port(self.fmt, network, is_admin=True,
                                   arg_list=(portbindings.HOST_ID, portbindings.PROFILE, *attributes), **attributes)
        self.assertLess(answer.status_int, 300, answer.body)
        return self.deserialize(self.fmt, answer)['port']

    def update_port(self, port, **attributes):
        return self.plugin.update_port(self.admin, port, {'port': attributes})

    def port(self, port):
        return self.plugin.get_port(self.admin, port)
