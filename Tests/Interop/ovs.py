"""Open vSwitch over DPDK, the peer that Martlet's figures are printed beside. Own database, sockets and prefix."""

import os
from pathlib import Path

from processes import Process, eventually, run

DAEMON = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class OpenVSwitch:
    """One bridge `br0` with learning ports. `kill` and `start` keep the ports: they are in the database."""

    name = "OVS-DPDK"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._environment = dict(os.environ, OVS_RUNDIR=str(self.directory), OVS_DBDIR=str(self.directory),
                                 OVS_SYSCONFDIR=str(self.directory), OVS_LOGDIR=str(self.directory))
        self._database = self._start_database()
        self._daemon = None
        self._settings()
        self.start()
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")

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

    def _vsctl(self, *words):
        return run("ovs-vsctl", f"--db=unix:{self._socket}", *words, env=self._environment)

    def _settings(self):
        self._vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                    "other_config:dpdk-extra=--no-pci --in-memory", "other_config:dpdk-socket-mem=512",
                    "other_config:pmd-cpu-mask=0x2", "other_config:dpdk-lcore-mask=0x1")

    def start(self, wait=False):
        """Starts the daemon; there is nothing to wait for that `_vsctl` would not wait for."""
        self._daemon = Process([DAEMON, f"unix:{self._socket}", "--no-chdir", f"--pidfile={self.directory}/vs.pid"],
                               self.directory / "vswitchd.log", env=self._environment)

    def socket_for(self, name, mode, room):
        """Where the guest must look: in mode server the switch's own run directory, under the port's name."""
        return room.socket(name) if mode == "client" else self.directory / name

    def add_vhost_user(self, name, path, mode):
        if mode == "client":
            kind = ["type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
        else:
            kind = ["type=dpdkvhostuser"]
        self._vsctl("add-port", "br0", name, "--", "set", "interface", name, *kind)

    def kill(self):
        self._daemon.kill()

    def assert_alive(self):
        self._daemon.assert_alive()

    def stop(self):
        if self._daemon:
            self._daemon.kill()
        self._database.stop()
