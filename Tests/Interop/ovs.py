"""Real Open vSwitches: over DPDK, the peer that Martlet's figures are printed beside, and as a host of a network namespace.
Each has a database, sockets and a prefix of its own."""

import os
from pathlib import Path

from processes import Process, eventually, run

DPDK_DAEMON = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
DAEMON = Path("/usr/lib/openvswitch-switch/ovs-vswitchd")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class Switch:
    """A database and the daemon that `command` starts. `kill` and `start` keep the ports: they are in the database."""

    def __init__(self, directory, *command):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._command = command
        self._environment = dict(os.environ, OVS_RUNDIR=str(self.directory), OVS_DBDIR=str(self.directory),
                                 OVS_SYSCONFDIR=str(self.directory), OVS_LOGDIR=str(self.directory))
        self._database = self._start_database()
        self._daemon = None

    def _start_database(self):
        database = self.directory / "conf.db"
        run("ovsdb-tool", "create", database, SCHEMA)
        server = Process(["ovsdb-server", f"--remote=punix:{self._socket}", "--no-chdir", database],
                         self.directory / "ovsdb.log", env=self._environment)
        eventually(self._socket.exists, 10, "ovsdb-server's socket")
        return server

    @property
    def _socket(self):
        return self.directory / "db.sock"

    def vsctl(self, *words):
        return run("ovs-vsctl", f"--db=unix:{self._socket}", *words, env=self._environment)

    def add_bridge(self, name, *settings):
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", *settings)

    def add_port(self, bridge, name, *settings):
        self.vsctl("add-port", bridge, name, *(["--", "set", "interface", name, *settings] if settings else []))

    def start(self, wait=False):
        """Starts the daemon; there is nothing to wait for that `vsctl` would not wait for."""
        self._daemon = Process([*self._command, f"unix:{self._socket}", "--no-chdir",
                                f"--pidfile={self.directory}/vs.pid", f"--unixctl={self.directory}/vs.ctl"],
                               self.directory / "vswitchd.log", env=self._environment)

    def kill(self):
        self._daemon.kill()

    def assert_alive(self):
        self._daemon.assert_alive()

    def stop(self):
        if self._daemon:
            self._daemon.kill()
        self._database.stop()


class OpenVSwitch(Switch):
    """Over DPDK, with one bridge `br0` with learning ports."""

    name = "OVS-DPDK"

    def __init__(self, directory):
        super().__init__(directory, DPDK_DAEMON)
        self._settings()
        self.start()
        self.add_bridge("br0")

    def _settings(self):
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   "other_config:dpdk-extra=--no-pci --in-memory", "other_config:dpdk-socket-mem=512",
                   "other_config:pmd-cpu-mask=0x2", "other_config:dpdk-lcore-mask=0x1")

    def socket_for(self, name, mode, room):
        """Where the guest must look: in mode server the switch's own run directory, under the port's name."""
        return room.socket(name) if mode == "client" else self.directory / name

    def add_vhost_user(self, name, path, mode):
        if mode == "client":
            kind = ["type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
        else:
            kind = ["type=dpdkvhostuser"]
        self.add_port("br0", name, *kind)


class UserspaceSwitch(Switch):
    """In a network namespace, whose devices it reaches through AF_PACKET and whose routes it follows."""

    def __init__(self, directory, namespace):
        super().__init__(directory, "nsenter", f"--net={namespace.path}", DAEMON, "--disable-system")
        self.vsctl("--no-wait", "init")
        self.start()

    def replace_flows(self, bridge, *flows):
        run("ovs-ofctl", "replace-flows", f"unix:{self.directory}/{bridge}.mgmt", "-", input="\n".join(flows),
            env=self._environment)

    def forget_cached(self):
        """Has each packet looked up anew: what one met while a tunnel came or went stays in use else, now and then."""
        run("ovs-appctl", "-t", self.directory / "vs.ctl", "revalidator/purge", env=self._environment)

    def map_option(self, bridge, mapping):
        """Gives a Geneve option (RFC 8926, section 3.5) the place of one of the fields tun_metadata0 ..."""
        run("ovs-ofctl", "add-tlv-map", f"unix:{self.directory}/{bridge}.mgmt", mapping, env=self._environment)
