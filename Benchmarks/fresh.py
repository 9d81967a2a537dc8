"""Headers that nobody has seen before, written into the replayed packets of a switch under test: see fresh.c."""
import struct

import preload


class FreshHeaders:
    """For the switch of one measurement. `settings` are those of fresh.c, without its prefix: {"SHARE": 0.5}."""

    def __init__(self, folder, settings):
        self._counter = folder / "fresh"
        self._counter.write_bytes(bytes(8))
        preload.build("fresh.c", folder / "fresh.so")
        self.environment = {"LD_PRELOAD": str(folder / "fresh.so"), "FRESH_COUNT": str(self._counter),
                            **{f"FRESH_{name}": str(value) for name, value in settings.items()}}

    def count(self):
        return struct.unpack("=Q", self._counter.read_bytes())[0]
