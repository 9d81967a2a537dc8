"""The process that tells the hosts: one distributor among all servers, and for each host one teller."""

import os
import socket
import threading

from neutron_lib import context as n_context
from neutron_lib.db import api as db_api
from neutron_lib import worker
from oslo_log import log as logging
from oslo_utils import timeutils
from oslo_utils import uuidutils

from networking_martlet import client
from networking_martlet import config
from networking_martlet import delivery
from networking_martlet import hosts
from networking_martlet import journal
from networking_martlet import leases
from networking_martlet import status

LOG = logging.getLogger(__name__)


class Teller:
    """One host: a delivery and a listener, on a lease."""

    def __init__(self, host, connect, owner, seconds):
        self.host = host
        self.lease = leases.Lease(f'host/{host}', owner, seconds)
        self.status = status.PortStatus(host)
        # A connection each: a long poll must not delay a change.
        self._listening, self._telling = connect(), connect()
        self.delivery = delivery.Delivery(host, self._telling, self.lease, self.status)
        self._cursor = None
        self._is_introduced = False
        self._heartbeat = timeutils.StopWatch()
        self._wake = threading.Event()
        self._is_stopping = threading.Event()
        self._threads = []

    def listen(self, wait=None):
        """One request for news, and what follows from it. Returns seconds to wait before the next."""
        if wait is None:
            wait = self._patience()
        try:
            if not self._is_introduced:
                self._introduce()
            answer = self._listening.status(self._cursor, wait if self._cursor else 0)
        except (client.EndpointError, ValueError) as error:
            self._is_introduced = False
            hosts.failed(n_context.get_admin_context(), self.host, str(error))
            LOG.debug("%s does not answer: %s", self.host, error)
            return 1
        # Before all else: somebody waits for it.
        self.status.report(answer.get('ports') or [], answer.get('complete', True))
        self._cursor = answer.get('cursor')
        self._beat()
        return 0

    def _introduce(self):
        document, version = self._listening.host(), self._listening.version()
        hosts.check_introduction(self.host, document, version)
        if hosts.introduce(n_context.get_admin_context(), self.host, document, version):
            self._cursor = None
            self.delivery.compare_soon()
        self._is_introduced = True
        self._heartbeat = timeutils.StopWatch()
        self.wake()

    @staticmethod
    def _patience():
        """Seconds that a host may keep a request: three in which it says nothing are as long as it takes to be dead."""
        return max(1, int(config.cfg.CONF[config.GROUP].host_down_time / 3))

    def _beat(self):
        """A sign of life in the database: not with each answer, for they may follow each other fast."""
        if not self._heartbeat.has_started() or self._heartbeat.elapsed() > self._patience() / 2:
            hosts.answered(n_context.get_admin_context(), self.host)
            self.status.settle()
            self._heartbeat = timeutils.StopWatch().start()

    # Threads

    def start(self):
        for name, loop in (('listen', self.listen), ('tell', self._tell)):
            thread = threading.Thread(target=self._run, args=(loop,), name=f'{self.host}-{name}', daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self):
        self._wake.set()

    def stop(self):
        self._is_stopping.set()
        self._wake.set()
        self.lease.release(n_context.get_admin_context())
        self._listening.close()
        self._telling.close()

    def _tell(self):
        seconds = self.delivery.step()
        if seconds:
            self._wake.wait(seconds)
        self._wake.clear()
        return 0

    def _run(self, loop):
        while not self._is_stopping.is_set():
            try:
                seconds = loop()
            except Exception:
                # A database that is away, or a mistake of ours: in neither case may the host be forgotten.
                LOG.exception("Telling %s failed, and goes on", self.host)
                seconds = 1
            if seconds:
                self._is_stopping.wait(seconds)


class Coordinator:
    """Leases, the distributor, and the tellers of this process."""

    def __init__(self, connect=client.connect):
        self._connect = connect
        self._owner = f'{socket.gethostname()[:20]}:{os.getpid()}:{uuidutils.generate_uuid()[:8]}'
        self._seconds = config.cfg.CONF[config.GROUP].lease_time
        self._distributing = leases.Lease('distributor', self._owner, self._seconds)
        self._endpoints = {}
        self._asked = timeutils.StopWatch()
        self._waiting = timeutils.StopWatch()
        self.tellers = {}

    def tick(self, start=True):
        """Does what is due; called again and again. `start` False leaves the tellers' threads to the caller."""
        self._follow_configuration()
        self._renew(start)
        context = n_context.get_admin_context()
        work = self._look(context)
        if self._has_distribution(context) and (work.changes or work.migrations):
            self._distribute(context, work)
            work = self._look(context)
        for host in work.hosts & set(self.tellers):
            self.tellers[host].wake()

    def _distribute(self, context, work):
        if work.migrations:
            journal.follow_migrations(context)
        while journal.distribute(context) == journal.BATCH:
            pass

    def stop(self):
        for host in list(self.tellers):
            self.tellers.pop(host).stop()
        self._distributing.release(n_context.get_admin_context())

    def _follow_configuration(self):
        try:
            endpoints = config.endpoints()
        except ValueError as error:
            LOG.error("%s; going on with what was there before", error)
            return
        if endpoints == self._endpoints:
            return
        hosts.register(n_context.get_admin_context(), endpoints)
        for host in set(self.tellers):
            if endpoints.get(host) != self._endpoints.get(host):
                self.tellers.pop(host).stop()
        self._endpoints = endpoints
        self._asked = timeutils.StopWatch()

    def _renew(self, start):
        """Renews what this process has, and looks now and then for what nobody has."""
        context = n_context.get_admin_context()
        for host, teller in list(self.tellers.items()):
            if teller.lease.needs_renewal and not teller.lease.acquire(context):
                LOG.info("%s is told by another server now", host)
                self.tellers.pop(host).stop()
        if self._asked.has_started() and self._asked.elapsed() < self._seconds / 3:
            return
        self._asked = timeutils.StopWatch().start()
        for host in sorted(set(self._endpoints) - set(self.tellers)):
            self._take(context, host, start)

    def _take(self, context, host, start):
        teller = Teller(host, lambda: self._connect(self._endpoints[host]), self._owner, self._seconds)
        if teller.lease.acquire(context):
            self.tellers[host] = teller
            if start:
                teller.start()

    def _has_distribution(self, context):
        """Whether this process distributes: renewed in time if it does, asked for now and then if it does not."""
        if self._distributing.is_valid and not self._distributing.needs_renewal:
            return True
        if not self._distributing.is_valid and self._waiting.has_started() and not self._waiting.expired():
            return False
        self._waiting = timeutils.StopWatch(self._seconds / 3).start()
        return self._distributing.acquire(context)

    @db_api.retry_if_session_inactive()
    def _look(self, context):
        """What there is to do: this is asked many times a second, and mostly for nothing."""
        with db_api.CONTEXT_READER.using(context):
            return journal.look(context.session)


class MartletWorker(worker.BaseWorker):
    """Runs a coordinator in neutron-periodic-workers."""

    def __init__(self):
        super().__init__(worker_process_count=1, desc='martlet')
        self._is_stopping = threading.Event()
        self._thread = None

    def start(self, name='neutron-server', desc=None):
        super().start(name=name, desc=desc or 'martlet')
        self._is_stopping.clear()
        self._thread = threading.Thread(target=self._run, name='martlet', daemon=True)
        self._thread.start()

    def stop(self):
        self._is_stopping.set()

    def wait(self):
        if self._thread is not None:
            self._thread.join()

    def reset(self):
        """SIGHUP: the configuration is read by each tick."""

    def _run(self):
        coordinator = Coordinator()
        while not self._is_stopping.wait(config.cfg.CONF[config.GROUP].poll_interval):
            try:
                coordinator.tick()
            except Exception:
                LOG.exception("A round of the journal failed, and is tried again")
                self._is_stopping.wait(1)
        coordinator.stop()
