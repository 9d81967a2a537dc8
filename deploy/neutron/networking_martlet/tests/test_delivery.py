"""What is told to hosts when things go wrong: faults, absences, refusals, several servers, clocks."""

import json
import random
from unittest import mock

from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib.db import api as db_api
from oslo_config import cfg
from oslo_db import exception as db_exc

from networking_martlet import client
from networking_martlet import config
from networking_martlet import delivery
from networking_martlet import documents
from networking_martlet import hosts
from networking_martlet import journal
from networking_martlet import leases
from networking_martlet import models
from networking_martlet import worker
from networking_martlet.tests import base
from networking_martlet.tests import endpoint_model

CMP1, CMP2 = 'cmp1', 'cmp2'
LOST = endpoint_model.Fault('lost', False)
DEAD = endpoint_model.Fault('lost', True)


class DigestTest(base.MartletTestCase):

    def test_canonical_json_is_that_of_the_endpoint(self):
        one = {'type': 'port', 'id': 'é"\\', 'b': [], 'a': {'z': 9007199254740991, 'y': None}, 'revision': 7}
        self.assertEqual('{"a":{"y":null,"z":9007199254740991},"b":[],"id":"é\\"\\\\","type":"port"}'.encode(),
                         documents.canonical(one))
        self.assertEqual('0' * 64, documents.digest_of([]))
        self.assertEqual('0' * 64, documents.digest_of([documents.digest(one)] * 2))


class FaultTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']

    def test_a_lost_acknowledgement_is_made_good(self):
        self.make_port(self.network, CMP1)
        self.endpoints[CMP1].faults = [LOST] * 9
        self.settle()
        self.assert_agrees(CMP1)

    def test_a_host_that_is_silent_delays_no_other(self):
        self.endpoints[CMP1].faults = [DEAD] * 1000
        port = self.make_port(self.network, CMP1)
        other = self.make_port(self.network, CMP2)
        for _ in range(5):
            self.pump()
        self.assertEqual({port['id'], other['id']}, set(self.held(CMP2, 'port')))
        self.assertEqual({}, self.held(CMP1, 'port'))
        self.assertIn('connection reset', self.rows(models.Host, host=CMP1)[0].last_error)

    def test_a_host_backs_off(self):
        self.endpoints[CMP1].faults = [DEAD] * 1000
        self.make_port(self.network, CMP1)
        self.coordinator.tick(start=False)
        waits = [self.coordinator.tellers[CMP1].delivery.step() for _ in range(12)]
        self.assertEqual(sorted(waits), waits)
        self.assertEqual(cfg.CONF[config.GROUP].max_backoff, waits[-1])

    def test_an_absent_host_is_compared_when_it_returns(self):
        cfg.CONF.set_override('resync_after', 1, group=config.GROUP)
        gone, kept = self.make_port(self.network, CMP1), self.make_port(self.network, CMP1)
        self.settle()
        clock = mock.Mock(return_value=1000.0)
        self.coordinator.tellers[CMP1].delivery._clock = clock
        self.endpoints[CMP1].faults = [DEAD] * 8
        self.plugin.delete_port(self.admin, gone['id'])
        self.pump()
        clock.return_value += 10
        self.pump()
        self.assertEqual([CMP1], self.stale())
        self.assertEqual([], self.rows(models.Pending, host=CMP1))
        self.update_port(kept['id'], name='changed while it was away')
        self.coordinator.tick(start=False)
        self.assertEqual([], self.rows(models.Pending, host=CMP1))
        self.endpoints[CMP1].faults = []
        self.settle()
        self.assertEqual([kept['id']], list(self.held(CMP1, 'port')))
        self.assert_agrees(CMP1)

    def test_a_host_that_lost_everything_gets_a_snapshot(self):
        self.make_port(self.network, CMP1)
        self.settle()
        old = self.endpoints[CMP1]
        fresh = endpoint_model.Endpoint(CMP1, '192.0.2.1', {'physnet1': 'br-eth1'})
        fresh.instance = 'another run'
        self.endpoints[CMP1] = fresh
        for exchange in (self.coordinator.tellers[CMP1]._listening, self.coordinator.tellers[CMP1]._telling):
            exchange._exchange = fresh
        self.coordinator.tellers[CMP1]._is_introduced = False
        self.settle()
        self.pump()
        self.assertIn('snapshot', ''.join(path for _, path in fresh.requests))
        self.assertEqual(old.digest(), fresh.digest())

    def test_a_small_difference_is_mended_without_a_snapshot(self):
        ports = [self.make_port(self.network, CMP1) for _ in range(4)]
        self.settle()
        endpoint = self.endpoints[CMP1]
        del endpoint.documents['port', ports[0]['id']]
        stray = dict(endpoint.documents['port', ports[1]['id']], id='stray')
        endpoint.documents['port', 'stray'] = stray
        endpoint.requests.clear()
        self.coordinator.tellers[CMP1].delivery.compare_soon()
        self.settle()
        self.pump()
        self.assert_agrees(CMP1)
        self.assertNotIn('snapshot', ''.join(path for _, path in endpoint.requests))

    def test_too_many_pending_rows_become_a_comparison(self):
        cfg.CONF.set_override('pending_limit', 100, group=config.GROUP)
        self.make_port(self.network, CMP1)
        self.settle()
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.add_all(models.Pending(host=CMP1, type='port', id=f'p{n}', network_id=self.network,
                                                      seq='s', due_at=0, attempts=0, reason='') for n in range(101))
        self.endpoints[CMP1].deliveries.clear()
        self.settle()
        self.assertEqual([], self.endpoints[CMP1].deliveries)
        self.assert_agrees(CMP1)

    def test_a_stale_host_is_compared_when_the_journal_is_short(self):
        self.make_port(self.network, CMP1)
        self.settle()
        endpoint, delivery = self.endpoints[CMP1], self.coordinator.tellers[CMP1].delivery
        with mock.patch.object(journal, 'BATCH', 3):
            for number in range(4):
                journal.record(self.admin, 'port', f'p{number}', self.network)
            hosts.set_stale(self.admin, CMP1)
            endpoint.requests.clear()
            self.assertEqual(1, delivery.step())
            self.assertEqual([], endpoint.requests)
            self.settle()
        self.assertIn('/v1/digest', ''.join(path for _, path in endpoint.requests))
        self.assert_agrees(CMP1)

    def test_a_long_journal_becomes_a_comparison(self):
        self.make_port(self.network, CMP1)
        self.settle()
        cfg.CONF.set_override('pending_limit', 100, group=config.GROUP)
        for number in range(101):
            journal.record(self.admin, 'port', f'p{number}', self.network)
        del self.endpoints[CMP1].documents['network', self.network]
        self.endpoints[CMP1].deliveries.clear()
        self.coordinator.tick(start=False)
        self.assertEqual([], self.due())
        self.assertIn(CMP1, self.stale())
        self.settle()
        self.assert_agrees(CMP1)

    def test_tidying_that_may_be_under_way_is_asked_for_again(self):
        def tidy():
            row, = self.rows(models.Pending, host=CMP1, type=journal.TIDY)
            return row.seq
        self.make_port(self.network, CMP1)
        self.coordinator.tick(start=False)
        before = tidy()
        self.make_port(self.network, CMP1)
        self.coordinator.tick(start=False)
        self.assertNotEqual(before, tidy())
        with mock.patch.object(journal, 'TIDY_DELAY', 60):
            self.make_port(self.network, CMP1)
            self.coordinator.tick(start=False)
            later = tidy()
            self.make_port(self.network, CMP1)
            self.coordinator.tick(start=False)
            self.assertEqual(later, tidy())

    def test_a_change_during_a_request_is_told_again(self):
        port = self.make_port(self.network, CMP1)
        self.settle()
        endpoint = self.endpoints[CMP1]
        original = endpoint.batch

        def change_meanwhile(body):
            endpoint.batch = original
            answer = original(body)
            self.update_port(port['id'], name='second')
            self.coordinator.tick(start=False)
            return answer
        endpoint.batch = change_meanwhile
        self.update_port(port['id'], name='first')
        self.settle()
        self.assertEqual('second', self.held(CMP1, 'port')[port['id']]['name'])

    def test_answers_are_bounded(self):
        exchange = client.HTTPExchange('http://127.0.0.1:9', cfg.CONF[config.GROUP])
        answer = mock.Mock()
        answer.iter_content.return_value = iter([b'x' * (1 << 20)] * 100)
        self.assertRaises(client.Unreachable, exchange._read, answer, float('inf'))
        answer.iter_content.return_value = iter([b'x'])
        self.assertRaises(client.Unreachable, exchange._read, answer, 0)


class PoisonTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']
        self.ports = [self.make_port(self.network, CMP1)['id'] for _ in range(5)]

    def test_a_refused_document_stays_with_its_reason_and_the_rest_goes(self):
        bad = self.ports[2]
        self.endpoints[CMP1].refuses = lambda one: 'too odd: make it even' if one['id'] == bad else None
        self.settle()
        self.assertEqual(set(self.ports) - {bad}, set(self.held(CMP1, 'port')))
        row, = self.rows(models.Pending, host=CMP1)
        self.assertEqual((bad, 'too odd: make it even', True), (row.id, row.reason, row.attempts >= 1))
        # It costs nothing until its time has come, and backs off.
        self.endpoints[CMP1].deliveries.clear()
        self.pump()
        self.assertEqual([], self.endpoints[CMP1].deliveries)
        attempts = row.attempts
        self.make_due()
        self.pump()
        again, = self.rows(models.Pending, host=CMP1)
        self.assertEqual(attempts + 1, again.attempts)
        self.assertGreater(again.due_at, row.due_at)
        self.coordinator.tellers[CMP1]._heartbeat = worker.timeutils.StopWatch()
        self.pump()
        agent, = self.plugin.get_agents(self.admin, filters={'host': [CMP1]})
        self.assertIn('too odd', agent['configurations']['refused'][0])
        # It is mended: it arrives without a change in Neutron.
        self.endpoints[CMP1].refuses = lambda one: None
        self.make_due()
        self.settle()
        self.assertEqual(set(self.ports), set(self.held(CMP1, 'port')))
        self.assertEqual([], self.rows(models.Pending))

    def test_one_that_is_refused_without_a_name_is_found_by_halves(self):
        bad = self.ports[1]
        original = self.endpoints[CMP1].batch

        def nameless(body):
            if bad in body.decode():
                return 400, {'title': 'malformed', 'status': 400, 'detail': 'cannot read this'}
            return original(body)
        self.settle()
        self.endpoints[CMP1].batch = nameless
        for port in self.ports:
            self.update_port(port, name='new')
        self.settle()
        self.assertEqual({'new'}, {one['name'] for key, one in self.held(CMP1, 'port').items() if key != bad})
        self.assertEqual([bad], [row.id for row in self.rows(models.Pending)])

    def test_a_refused_network_takes_its_ports_with_it_in_one_request(self):
        other = self.make_network()['id']
        port = self.make_port(other, CMP1)
        self.endpoints[CMP1].refuses = lambda one: 'no bridge' if one['id'] == self.network else None
        self.settle()
        self.assertEqual([port['id']], list(self.held(CMP1, 'port')))
        self.assertLess(len(self.endpoints[CMP1].deliveries), 6)
        self.endpoints[CMP1].refuses = lambda one: None
        self.make_due()
        self.settle()
        self.assert_agrees(CMP1)


class SeveralServersTest(base.MartletTestCase):

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']
        self.other = worker.Coordinator(self.connect)

    def expire(self):
        """All leases end, as when their holder is stopped for a while."""
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.query(models.Lease).update({'expires_at': 1})

    def test_only_one_has_a_host(self):
        self.other.tick(start=False)
        self.assertEqual({}, self.other.tellers)
        self.coordinator.stop()
        self.other._asked = worker.timeutils.StopWatch()
        self.other.tick(start=False)
        self.assertEqual(set(base.HOSTS), set(self.other.tellers))

    def test_what_the_last_holder_left_under_way_undoes_nothing(self):
        port = self.make_port(self.network, CMP1)
        self.settle()
        before = [*self.endpoints[CMP1].deliveries]
        generation = self.rows(models.Lease, name=f'host/{CMP1}')[0].generation
        self.expire()
        self.other.tick(start=False)
        self.update_port(port['id'], name='new')
        self.settle(self.other)
        self.assertEqual(generation + 1, self.rows(models.Lease, name=f'host/{CMP1}')[0].generation)
        expected = self.endpoints[CMP1].digest()
        for body in before:
            self.endpoints[CMP1].batch(body)
        self.assertEqual(expected, self.endpoints[CMP1].digest())
        self.assert_agrees(CMP1)

    def test_the_last_holder_stops_when_its_time_is_over(self):
        teller = self.coordinator.tellers[CMP1]
        teller.lease._clock = lambda: teller.lease._valid_until + 1
        self.assertRaises(delivery.LeaseLost, teller.delivery._deliver)

    def test_two_that_both_believe_to_have_a_host_end_in_agreement(self):
        ports = [self.make_port(self.network, CMP1)['id'] for _ in range(3)]
        self.settle()
        self.expire()
        self.other.tick(start=False)
        chance = random.Random(5)
        for turn in range(30):
            self.update_port(chance.choice(ports), name=f'n{turn}')
            self.coordinator._renew = self.other._renew = lambda start: None
            self.pump(chance.choice([self.coordinator, self.other]))
        self.settle(self.other)
        self.assert_agrees(CMP1)

    def test_a_clock_that_was_set_back_does_not_keep_a_lease_for_ever(self):
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.query(models.Lease).update({'expires_at': models.Lease.expires_at + 1e6})
        lease = leases.Lease(f'host/{CMP1}', 'another', 15)
        self.assertTrue(lease.acquire(self.admin))

    def test_a_generation_that_is_used_up_is_followed_by_the_next(self):
        lease = leases.Lease('host/x', 'me', 15)
        lease.acquire(self.admin)
        last = lease.revision()
        lease._counter = (1 << leases.COUNTER_BITS) - 1
        self.assertRaises(OverflowError, lease.revision)
        self.assertFalse(lease.is_valid)
        self.assertTrue(lease.acquire(self.admin))
        self.assertGreater(lease.revision(), last)

    def test_a_restored_database_outranks_what_hosts_hold(self):
        revision = self.coordinator.tellers[CMP1].lease.revision()
        with db_api.CONTEXT_WRITER.using(self.admin):
            self.admin.session.query(models.Lease).delete()
        lease = leases.Lease(f'host/{CMP1}', 'another', 15)
        with mock.patch.object(leases, 'database_time', return_value=leases.database_time(self.admin.session) + 60):
            self.assertTrue(lease.acquire(self.admin))
        self.assertGreater(lease.revision(), revision)
        self.assertLess(lease.revision(), 1 << 53)


class ClockTest(base.MartletTestCase):
    """The database's clock, by which all servers go, is set forward by an hour, and back again."""

    JUMPS = (3600, -3600)

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']
        self.jump = 0
        self.on_statement(lambda text: text.replace("julianday('now')", f"(julianday('now') + {self.jump} / 86400.0)"))

    def test_what_is_pending_waits_for_no_clock(self):
        for jump in self.JUMPS:
            self.everyone_answers()
            port = self.make_port(self.network, CMP1)
            self.coordinator.tick(start=False)
            self.assertNotEqual([], self.rows(models.Pending, host=CMP1))
            self.jump += jump
            self.settle()
            self.assertIn(port['id'], self.held(CMP1, 'port'))
            self.assert_agrees(CMP1)

    def test_tidying_waits_for_no_clock(self):
        for jump in self.JUMPS:
            self.everyone_answers()
            port = self.make_port(self.network, CMP1)
            self.settle()
            self.plugin.delete_port(self.admin, port['id'])
            with mock.patch.object(journal, 'TIDY_DELAY', 2):
                self.coordinator.tick(start=False)
                self.jump += jump
                self.settle()
            self.assertEqual({}, self.held(CMP1, 'security_group'))

    def test_what_was_refused_is_tried_again_in_its_time(self):
        for jump in self.JUMPS:
            self.everyone_answers()
            port = self.make_port(self.network, CMP1)
            self.endpoints[CMP1].refuses = lambda one: 'too odd' if one['type'] == 'port' else None
            self.settle()
            self.assertEqual([port['id']], [row.id for row in self.rows(models.Pending, host=CMP1)])
            self.endpoints[CMP1].refuses = lambda one: None
            self.jump += jump
            self.pump()
            self.assertIn(port['id'], self.held(CMP1, 'port'))

    def test_a_host_has_one_teller_again_when_a_third_of_a_lease_is_over(self):
        """Until then it may have two, of which it heeds the later one."""
        port = self.make_port(self.network, CMP1)
        holder, other = self.coordinator, worker.Coordinator(self.connect)
        for jump in self.JUMPS:
            self.settle(holder)
            self.jump += jump
            other._asked = worker.timeutils.StopWatch()
            other.tick(start=False)
            self.assertEqual(set(base.HOSTS), set(other.tellers))
            self.update_port(port['id'], name=f'told by two, {jump}')
            for _ in range(3):
                self.pump(other)
                self.pump(holder)
            self.let_a_third_of_the_lease_pass(holder)
            holder.tick(start=False)
            self.assertEqual({}, holder.tellers)
            self.update_port(port['id'], name=f'told by one, {jump}')
            self.settle(other)
            self.assert_agrees(CMP1)
            holder, other = other, holder

    def test_whoever_renews_first_keeps_its_hosts(self):
        other = worker.Coordinator(self.connect)
        for jump in self.JUMPS:
            self.jump += jump
            self.let_a_third_of_the_lease_pass(self.coordinator)
            self.coordinator.tick(start=False)
            other._asked = worker.timeutils.StopWatch()
            other.tick(start=False)
            self.assertEqual({}, other.tellers)
            self.assertEqual(set(base.HOSTS), set(self.coordinator.tellers))

    def let_a_third_of_the_lease_pass(self, coordinator):
        for teller in coordinator.tellers.values():
            later = teller.lease._valid_until - 0.6 * cfg.CONF[config.GROUP].lease_time
            teller.lease._clock = mock.Mock(return_value=later)

    def everyone_answers(self):
        for teller in self.coordinator.tellers.values():
            teller._heartbeat = worker.timeutils.StopWatch()
        self.pump()

    def test_a_host_that_is_silent_when_the_clock_is_set_back_is_down_after_its_time(self):
        self.endpoints[CMP1].faults = [DEAD] * 1000
        self.jump -= 3600
        self.pump()
        self.jump += cfg.CONF[config.GROUP].host_down_time + 1
        self.assertEqual('binding_failed', self.make_port(self.network, CMP1)[portbindings.VIF_TYPE])

    def test_a_host_that_answers_is_alive_with_its_next_answer(self):
        for jump in self.JUMPS:
            self.jump += jump
            self.everyone_answers()
            self.assertEqual('vhostuser', self.make_port(self.network, CMP1)[portbindings.VIF_TYPE])


class DeadlockTest(base.MartletTestCase):
    """The database chooses the journal's transaction as the victim of a deadlock."""

    def setUp(self):
        super().setUp()
        self.network = self.make_network()['id']
        self.deadlocks = 0
        self.on_statement(self.deadlock)

    def deadlock(self, statement):
        if self.deadlocks and statement.startswith('INSERT INTO martlet_journal'):
            self.deadlocks -= 1
            raise db_exc.DBDeadlock()
        return statement

    def row_of(self, kind, identifier):
        """The journal's one row of what was done, at the second attempt."""
        self.assertEqual(0, self.deadlocks)
        row, = self.rows(models.Dirty)
        self.assertEqual((kind, identifier), (row.type, row.id))
        self.settle()
        self.assert_agrees(CMP1)

    def test_a_request_is_carried_out_again_and_journaled_once(self):
        self.deadlocks = 1
        port = self.make_port(self.network, CMP1)['id']
        self.row_of('port', port)
        self.assertEqual([port], list(self.held(CMP1, 'port')))
        self.deadlocks = 1
        self.update_port(port, name='new')
        self.row_of('port', port)
        self.assertEqual('new', self.held(CMP1, 'port')[port]['name'])
        self.deadlocks = 1
        self.plugin.delete_port(self.admin, port)
        self.row_of('port', port)
        self.assertEqual({}, self.held(CMP1, 'port'))

    def test_what_only_an_event_tells_is_carried_out_again_and_journaled_once(self):
        group = self.make_port(self.network, CMP1)['security_groups'][0]
        self.settle()
        self.deadlocks = 1
        self.plugin.update_security_group(self.admin, group, {'security_group': {'description': 'new'}})
        self.row_of('security_group', group)

    def test_what_an_event_tells_after_its_transaction_is_journaled(self):
        """Neutron does not repeat that, nor does the request fail."""
        addresses = self.plugin.create_address_group(self.admin, {'address_group': {
            'name': 'a', 'description': '', 'addresses': ['10.0.0.0/24'], 'project_id': 'p'}})['id']
        self.settle()
        self.deadlocks = 1
        self.plugin.add_addresses(self.admin, addresses, {'addresses': ['10.1.0.0/24']})
        self.row_of('address_group', addresses)


class AnySequenceTest(base.MartletTestCase):
    """Any sequence of API calls, with faults and repeated or late deliveries, ends in the state of a fresh snapshot."""

    STEPS = 60

    def test_ends_in_the_state_of_a_fresh_snapshot(self):
        for seed in range(4):
            with self.subTest(seed=seed):
                self.run_sequence(random.Random(seed))

    def run_sequence(self, chance):
        self.chance = chance
        self.networks, self.ports, self.subnets = [self.make_network()['id']], [], []
        self.groups = []
        actions = [self.add_port] * 5 + [self.move] * 4 + [self.rename] * 3 + [self.add_network, self.add_subnet,
                   self.delete_port, self.delete_port, self.migrate, self.activate_or_abort, self.add_rule,
                   self.change_network, self.lose_documents, self.replay, self.replay, self.fail, self.fail]
        for _ in range(self.STEPS):
            chance.choice(actions)()
            if chance.random() < 0.4:
                self.pump()
        for endpoint in self.endpoints.values():
            endpoint.faults = []
        for teller in self.coordinator.tellers.values():
            teller.delivery.compare_soon()
        self.settle()
        self.pump()
        for host in base.HOSTS:
            self.replay()
            self.assert_agrees(host)
        self.everything_forwards()

    def everything_forwards(self):
        self.pump()
        for port in self.ports:
            now = self.port(port)
            expected = 'ACTIVE' if now[portbindings.VIF_TYPE] == 'vhostuser' else 'DOWN'
            self.assertEqual(expected, now['status'], now)

    def host(self):
        return self.chance.choice(base.HOSTS)

    def add_network(self):
        self.networks.append(self.make_network()['id'])

    def add_subnet(self):
        network = self.chance.choice(self.networks)
        self.subnets.append(self.make_subnet(network, f'10.{len(self.subnets)}.0.0/24')['id'])

    def add_port(self):
        host = self.chance.choice([None, *base.HOSTS])
        self.ports.append(self.make_port(self.chance.choice(self.networks), host, device_owner='compute:nova')['id'])

    def delete_port(self):
        if self.ports:
            self.plugin.delete_port(self.admin, self.ports.pop(self.chance.randrange(len(self.ports))))

    def rename(self):
        if self.ports:
            self.update_port(self.chance.choice(self.ports), name=str(self.chance.random()),
                             admin_state_up=self.chance.random() < 0.9 or True)

    def move(self):
        if self.ports:
            port, host = self.chance.choice(self.ports), self.chance.choice(['', *base.HOSTS])
            # To a host with an inactive binding Neutron itself refuses it.
            if host not in {one['host'] for one in self.plugin.get_port_bindings(self.admin, port)}:
                self.update_port(port, **{portbindings.HOST_ID: host})

    def change_network(self):
        self.plugin.update_network(self.admin, self.chance.choice(self.networks),
                                   {'network': {'name': str(self.chance.random())}})

    def add_rule(self):
        if self.ports:
            group = self.port(self.chance.choice(self.ports))['security_groups'][0]
            number = self.chance.randrange(1, 65535)
            try:
                self.plugin.create_security_group_rule(self.admin, {'security_group_rule': {
                    'security_group_id': group, 'direction': 'ingress', 'ethertype': 'IPv4', 'protocol': 'tcp',
                    'port_range_min': number, 'port_range_max': number, 'remote_ip_prefix': None,
                    'remote_group_id': group, 'remote_address_group_id': None, 'tenant_id': 'p', 'project_id': 'p',
                    'description': ''}})
            except base.n_exc.Conflict:
                pass

    def migrate(self):
        port = self.chance.choice(self.ports) if self.ports else None
        if port and self.port(port)[portbindings.VIF_TYPE] == 'vhostuser':
            try:
                self.plugin.create_port_binding(self.admin, port, {'binding': {
                    'host': self.host(), 'vnic_type': 'normal', 'profile': {}}})
            except base.n_exc.NeutronException:
                pass

    def activate_or_abort(self):
        for port in self.ports:
            for binding in self.plugin.get_port_bindings(self.admin, port):
                if binding['status'] == constants.INACTIVE:
                    if self.chance.random() < 0.5 and binding['vif_type'] == 'vhostuser':
                        self.plugin.activate(self.admin, binding['host'], port)
                    else:
                        self.plugin.delete_port_binding(self.admin, binding['host'], port)
                    return

    def lose_documents(self):
        """A host of which some documents are lost, as by a disk that was restored."""
        held = self.endpoints[self.host()].documents
        for key in self.chance.sample(sorted(held), len(held) // 4):
            if key[0] == 'port':
                del held[key]

    def replay(self):
        """An earlier delivery arrives again, or late."""
        endpoint = self.endpoints[self.host()]
        if endpoint.deliveries:
            endpoint.batch(self.chance.choice(endpoint.deliveries))

    def fail(self):
        self.endpoints[self.host()].faults.extend(
            self.chance.choice(endpoint_model.FAULTS) for _ in range(self.chance.randrange(1, 6)))


class SnapshotTest(base.MartletTestCase):

    def test_a_snapshot_goes_in_chunks_and_goes_on_where_it_was(self):
        endpoint = endpoint_model.Endpoint('x')
        sent = [{'type': 'host', 'id': f'h{n}', 'revision': 5} for n in range(100)]
        with mock.patch.object(client, 'SNAPSHOT_CHUNK', 500):
            endpoint.faults = [None] * 3 + [DEAD]
            talker = client.Client(endpoint)
            self.assertRaises(client.Unreachable, talker.snapshot, 's', 5, sent)
            before = len(endpoint.requests)
            talker.snapshot('s', 5, sent)
        self.assertEqual(100, len(endpoint.documents))
        total = len(''.join(json.dumps(one, separators=(',', ':')) + '\n' for one in sent))
        self.assertEqual(-(-total // 500) - 2, len(endpoint.requests) - before - 1)


class JournalTest(base.MartletTestCase):

    def test_what_is_rolled_back_leaves_no_row(self):
        try:
            with db_api.CONTEXT_WRITER.using(self.admin):
                journal.record(self.admin, 'port', 'p', 'n', hosts=[CMP1])
                raise ValueError
        except ValueError:
            pass
        self.assertEqual([], self.rows(models.Dirty))

    def test_the_number_of_queries_does_not_grow_with_the_ports(self):
        network = self.make_network()['id']
        self.make_subnet(network, '10.0.0.0/16')

        def queries():
            counted = []
            engine = db_api.CONTEXT_WRITER.get_engine()
            listen = base.sa.event.listens_for
            remove = base.sa.event.remove

            @listen(engine, 'before_cursor_execute')
            def count(*args):
                counted.append(args[2])
            try:
                self.wanted(CMP1)
            finally:
                remove(engine, 'before_cursor_execute', count)
            return len(counted)
        self.make_port(network, CMP1)
        few = queries()
        for _ in range(20):
            self.make_port(network, CMP1)
        self.assertEqual(few, queries())
