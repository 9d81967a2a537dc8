"""Helpers of connection tracking: FTP and TFTP through a switch that lets in nothing but what was asked for or announced."""

import sys
from pathlib import Path

import pytest

from netns import pings
from processes import Process, eventually
from test_kernel import HERE, THERE, Cable

CONTENT = bytes(range(256)) * 4096
FTP, TFTP = "tcp", "udp"
PORTS = {FTP: 21, TFTP: 69}
# How curl(1) has the data connection made: RFC 2428's ways, and RFC 959's.
WAYS = {"EPSV": (), "PASV": ("--disable-epsv",), "EPRT": ("--ftp-port", "-"), "PORT": ("--ftp-port", "-", "--disable-eprt")}


@pytest.fixture(scope="module")
def cable(module_room):
    """A client here, and servers there."""
    cable = Cable(module_room)
    cable.far.ip("addr", "add", f"{THERE}/24", "dev", "eth0")
    assert pings(cable.near, THERE)
    folder = module_room.directory / "files"
    folder.mkdir(mode=0o777)
    (folder / "file").write_bytes(CONTENT)
    folder.chmod(0o755)
    for words in ([sys.executable, "-m", "pyftpdlib", "--interface", THERE, "--port", PORTS[FTP], "--directory", folder],
                  ["in.tftpd", "--foreground", "--address", f"{THERE}:{PORTS[TFTP]}", "--secure", "--verbose", folder]):
        module_room.keeps(Process(["nsenter", f"--net={cable.far.path}", *words], module_room.directory / f"{Path(words[0]).name}.log"))
    return cable


def guard(cable, helpers):
    """Lets the client begin to speak to the servers' ports, and whatever that announces."""
    flows = ["priority=0 actions=drop", "priority=1,arp actions=NORMAL", "priority=1,ip actions=ct(table=1,zone=7)",
             "table=1,priority=2,ct_state=+est actions=NORMAL",
             "table=1,priority=2,ip,ct_state=+new+rel actions=ct(commit,zone=7),NORMAL"]
    flows += [f'table=1,priority=3,{kind},in_port="tap0",ct_state=+new-rel,tp_dst={port} '
              f"actions=ct(commit,zone=7{',alg=' + helpers[kind] if kind in helpers else ''}),NORMAL"
              for kind, port in PORTS.items()]
    path = cable.daemon.directory / "guard.flows"
    path.write_text("\n".join(flows))
    cable.daemon.ctl("flow", "replace", "br0", "--file", path)
    cable.daemon.ctl("conntrack", "flush")


def fetched(cable, url, *words, limit=20):
    """What the client gets; None when that takes too long."""
    target = cable.daemon.directory / "fetched"
    target.unlink(missing_ok=True)
    done = cable.near.run("curl", "--silent", "--show-error", "--max-time", limit, "--output", target, *words, url,
                          check=False, limit=limit + 10)
    return target.read_bytes() if done.returncode == 0 else None


def served(cable, url):
    eventually(lambda: fetched(cable, url) == CONTENT, 30, f"an answer of {url}", interval=0.5)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_comes_by_ftp_whichever_way_its_connection_is_made(cable, way):
    guard(cable, {FTP: "ftp"})
    url = f"ftp://{THERE}/file"
    served(cable, url)
    cable.daemon.ctl("conntrack", "flush")
    assert fetched(cable, url, *WAYS[way]) == CONTENT
    [control] = [entry for entry in cable.daemon.json("conntrack", "dump") if entry.get("helper") == "ftp"]
    assert control["original"]["destinationPort"] == PORTS[FTP]
    assert "helper=ftp" in cable.daemon.ctl("conntrack", "dump").stdout


def test_a_file_comes_by_tftp(cable):
    guard(cable, {TFTP: "tftp"})
    served(cable, f"tftp://{THERE}/file")


def test_without_a_helper_no_data_connection_is_let_in(cable):
    guard(cable, {FTP: "ftp", TFTP: "tftp"})
    urls = [f"ftp://{THERE}/file", f"tftp://{THERE}/file"]
    for url in urls:
        served(cable, url)
    guard(cable, {})
    for url, way in zip((*urls, urls[0]), ((), (), WAYS["PORT"])):
        assert fetched(cable, url, *way, limit=2) is None
