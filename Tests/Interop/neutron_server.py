"""A real Neutron on this machine: MariaDB, neutron-server under uwsgi, and the workers that drive the hosts.

Everything is in one directory and in one network namespace, and ends with the test. There is no RabbitMQ and no
keystone: the mechanism driver under test needs no agents, and whoever is in the namespace is the administrator.
"""

import contextlib
import fcntl
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
from pathlib import Path

from processes import Process, eventually, run

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "deploy/neutron"
CACHE = Path(os.environ.get("MARTLET_TEST_CACHE", "/var/cache/martlet-tests"))
VERSION = os.environ.get("MARTLET_NEUTRON", "29.0.0")
PROJECT = "p1"
ADDRESS = ("127.0.0.1", 9696)


def environment():
    """A virtual environment with Neutron, this repository's driver and what tests it; made on first use, a minute or two."""
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / f"neutron-{VERSION}"
    pip = [place / "bin/pip", "install", "-q"]
    with open(CACHE / "neutron.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            # Debian's: its python3-venv is installed.
            run("/usr/bin/python3", "-m", "venv", place, limit=120)
            run(*pip, "--upgrade", "setuptools<81", "wheel", limit=300)
            # uwsgi is linked with the Python that builds it: none of another environment's will do.
            run(*pip, "--no-cache-dir", f"neutron=={VERSION}", "uwsgi", "-e", f"{PACKAGE}[test]", limit=900)
            (place / "complete").touch()
        # What is installed is this checkout, whichever one made the environment.
        run(*pip, "--no-deps", "--no-build-isolation", "-e", PACKAGE, limit=120)
    return place


class Database:
    """MariaDB, at a Unix socket only."""

    def __init__(self, directory):
        self.directory = Path(directory) / "database"
        self.socket = self.directory / "socket"
        self.process = None

    def start(self):
        if not self.directory.exists():
            self.directory.mkdir()
            run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.directory}/data",
                "--auth-root-authentication-method=normal", "--skip-test-db", limit=60)
        # Nothing here outlives the test: no need to wait for the disk.
        self.process = Process(
            ["mariadbd", "--no-defaults", "--user=root", f"--datadir={self.directory}/data", f"--socket={self.socket}",
             "--skip-networking", f"--pid-file={self.directory}/pid", "--innodb-flush-log-at-trx-commit=0",
             "--max-connections=200", "--plugin-dir=/usr/lib/mysql/plugin"], self.directory / "log")
        eventually(lambda: self._admin("ping").returncode == 0, 30, "MariaDB", interval=0.1)
        self.run("CREATE DATABASE IF NOT EXISTS neutron CHARACTER SET utf8mb3")
        return self

    def _admin(self, *words):
        self.process.assert_alive()
        return run("mariadb-admin", "--no-defaults", f"--socket={self.socket}", *words, check=False)

    def run(self, statement):
        """What a statement prints, rows as lines."""
        return run("mariadb", "--no-defaults", f"--socket={self.socket}", "-N", "-B", "-e", statement).stdout

    @property
    def url(self):
        return f"mysql+pymysql://root@localhost/neutron?unix_socket={self.socket}&charset=utf8"

    def stop(self):
        self.process.stop()


class Problem(Exception):
    """What Neutron refused."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status


class Neutron:
    """neutron-server with ML2 and the martlet driver.

    `endpoints` are hosts by name; `tls` the (authority, certificate, key) files of the driver.
    """

    def __init__(self, directory, namespace, endpoints, tls=None, options=()):
        self.directory = Path(directory) / "neutron"
        self.namespace = namespace
        self.environment = environment()
        self.database = Database(directory)
        self.options = options
        self._endpoints, self._tls = endpoints, tls
        self._more_ports = itertools.count(9697)
        self.server = self.workers = None

    def start(self):
        self.directory.mkdir(exist_ok=True)
        self.database.start()
        self._write_configuration()
        # Neutron's own tables and the driver's.
        self.run("neutron-db-manage", *self._files, "upgrade", "heads", limit=120)
        self.start_server()
        self.start_workers()
        return self

    @property
    def _files(self):
        return ["--config-file", self.directory / "neutron.conf", "--config-file", self.directory / "ml2_conf.ini"]

    def run(self, program, *words, **options):
        return run(self.environment / "bin" / program, *words, **options)

    def _in_namespace(self, program, *words):
        return ["nsenter", f"--net={self.namespace.path}", self.environment / "bin" / program, *words]

    def start_server(self):
        self.server = Process(self._in_namespace("uwsgi", "--ini", self.directory / "uwsgi.ini"),
                              self.directory / "server.log")

        def answers():
            self.server.assert_alive()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("networks") is not None
        eventually(answers, 60, "neutron-server", interval=0.2)

    def start_workers(self):
        self.workers = self.more_workers("workers")

    def more_workers(self, name):
        """Workers as another server has them, beside those that there are; whoever asks for them ends them."""
        command = ["neutron-periodic-workers"] if self._has_services else self._whole_server(name)
        return Process(self._in_namespace(*command, *self._files), self.directory / f"{name}.log")

    @property
    def _has_services(self):
        """Since 2024.2 the API is a module for WSGI servers, and drivers' workers are a service of their own."""
        return (self.environment / "bin/neutron-periodic-workers").exists()

    def _whole_server(self, name):
        """What runs drivers' workers before 2024.2: a server with an API, at a port of its own that nobody asks."""
        self._write(f"{name}.conf", {"DEFAULT": {"bind_host": "127.0.0.1", "bind_port": next(self._more_ports), "api_workers": 1}})
        return ["neutron-server", "--config-file", self.directory / f"{name}.conf"]

    def tell_of(self, endpoints):
        """Other hosts in the configuration, as an operator does it."""
        self._endpoints = endpoints
        self._write_configuration()
        os.kill(self.workers.pid, signal.SIGHUP)

    def kill_server(self):
        self.server.kill()
        # The workers of uwsgi end a moment after it, and hold its port until then.
        eventually(lambda: not self._listens(), 10, "the server's port to be free")

    def _listens(self):
        with self.namespace.entered(), socket.socket() as stream:
            return stream.connect_ex(ADDRESS) == 0

    def kill_workers(self):
        self.workers.kill()

    def log(self):
        return "\n".join(process.output() for process in (self.server, self.workers) if process)

    def stop(self):
        for process in (self.workers, self.server):
            if process:
                process.kill()
        self.database.stop()

    # MARK: Configuration

    def _write_configuration(self):
        martlet = {"endpoints": ",".join(f"{host}={url}" for host, url in self._endpoints.items())}
        if self._tls:
            martlet.update(zip(("ca_file", "cert_file", "key_file"), self._tls))
        paste = self.environment / "etc/neutron/api-paste.ini"
        self._write("neutron.conf", {
            "DEFAULT": {
                "auth_strategy": "noauth", "core_plugin": "ml2", "service_plugins": "router,qos",
                "transport_url": "fake://", "rpc_workers": 0, "rpc_state_report_workers": 0, "state_path": self.directory,
                "notify_nova_on_port_status_changes": False, "notify_nova_on_port_data_changes": False,
                "api_paste_config": paste, "dhcp_agent_notification": False, "max_allowed_address_pair": 100, "agent_down_time": 15,
            },
            "quotas": {f"quota_{what}": -1 for what in ("network", "subnet", "port", "security_group", "security_group_rule")},
            "database": {"connection": self.database.url},
            "oslo_concurrency": {"lock_path": self.directory / "locks"},
            "oslo_policy": {"enforce_scope": False, "enforce_new_defaults": False},
        })
        self._write("ml2_conf.ini", {
            "ml2": {"type_drivers": "local,flat,vlan,vxlan,gre,geneve", "tenant_network_types": "vxlan",
                    "mechanism_drivers": "martlet", "extension_drivers": "port_security,qos"},
            "ml2_type_flat": {"flat_networks": "*"},
            "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:199"},
            "ml2_type_vxlan": {"vni_ranges": "1000:9999"},
            "ml2_type_gre": {"tunnel_id_ranges": "1000:9999"},
            "ml2_type_geneve": {"vni_ranges": "1000:9999", "max_header_size": 38},
            "ml2_martlet": {**martlet, **dict(self.options)},
        })
        (self.directory / "uwsgi.ini").write_text("\n".join([
            "[uwsgi]", self._application, f"http-socket = {ADDRESS[0]}:{ADDRESS[1]}", "master = true",
            "processes = 1", "threads = 4", "enable-threads = true", "lazy-apps = true", "die-on-term = true",
            "need-app = true", f"virtualenv = {self.environment}", f"chdir = {self.directory}", "buffer-size = 65535", "http-chunked-input = true", "add-header = Connection: close", "start-time = %t",
            f"env = OS_NEUTRON_CONFIG_DIR={self.directory}",
            "env = OS_NEUTRON_CONFIG_FILES=neutron.conf;ml2_conf.ini", ""]))

    @property
    def _application(self):
        return "module = neutron.wsgi.api:application" if self._has_services else f"wsgi-file = {self.environment}/bin/neutron-api"

    def _write(self, name, sections):
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        (self.directory / name).write_text("\n".join(lines))

    # MARK: Its API

    def _ask(self, method, path, body=None):
        # uwsgi ends a connection after each answer.
        connection = http.client.HTTPConnection(*ADDRESS, timeout=60)
        with contextlib.closing(connection):
            with self.namespace.entered():
                connection.connect()
            connection.request(method, f"/v2.0/{path}", json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        if response.status >= 300:
            raise Problem(response.status, content.decode(errors="replace")[:2000])
        return json.loads(content) if content else None

    def get(self, path):
        """What is under a path, such as `ports` or `ports/ID`."""
        answer = self._ask("GET", path)
        return next(iter(answer.values()))

    def create(self, kind, **values):
        """`kind` as in bodies: network, subnet, port, security_group ..."""
        path = kind.replace("_", "-") + "s"
        return self._ask("POST", path, {kind: {"project_id": PROJECT, **values}})[kind]

    def update(self, kind, identifier, **values):
        path = kind.replace("_", "-") + "s"
        return self._ask("PUT", f"{path}/{identifier}", {kind: values})[kind]

    def delete(self, kind, identifier):
        self.remove(f"{kind.replace('_', '-')}s/{identifier}")

    def remove(self, path):
        self._ask("DELETE", path)

    def put(self, path, body=None):
        return self._ask("PUT", path, body)

    def post(self, path, body):
        return self._ask("POST", path, body)

    # MARK: In the words of tests

    def network(self, kind, name, cidr, **values):
        """A network of a type with a subnet."""
        network = self.create("network", name=name, **{"provider:network_type": kind}, **values)
        self.create("subnet", network_id=network["id"], cidr=cidr, ip_version=4, enable_dhcp=False)
        return network

    def port(self, network, host, **values):
        """A port bound to a host, as nova asks for one."""
        return self.create("port", network_id=network["id"], device_owner="compute:nova",
                           **{"binding:host_id": host, "admin_state_up": True, **values})

    def wait_until_active(self, *ports, limit=30):
        def statuses():
            return {port["id"]: self.get(f"ports/{port['id']}")["status"] for port in ports}
        eventually(lambda: set(statuses().values()) == {"ACTIVE"}, limit, "ports to be ACTIVE", interval=0.1)


if __name__ == "__main__":
    print(environment())
