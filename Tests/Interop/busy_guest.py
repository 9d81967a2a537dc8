"""A guest to kill: sends broadcast frames to a vhost-user socket as fast as Python can, until it is killed.

    busy_guest.py SOCKET listen|connect split|packed
"""

import sys

from frames import BROADCAST, frame, station
from vhost_user import FrontEnd


def main(path, role, ring):
    guest = FrontEnd(path, listens=role == "listen", packed=ring == "packed").connect()
    contents = [frame(station(0xDEAD), BROADCAST, length=64 + number) for number in range(32)]
    while True:
        for content in contents:
            guest.send(content)
        guest.received()


main(*sys.argv[1:])
