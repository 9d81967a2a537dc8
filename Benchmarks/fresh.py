"""Headers that nobody has seen before, written into the replayed packets of a switch under test: see fresh.c."""
import functools
import pathlib
import shlex
import struct
import subprocess
import tempfile

_SOURCE = pathlib.Path(__file__).resolve().parent / "fresh.c"


class FreshHeaders:
    """For the switch of one measurement. `settings` are those of fresh.c, without its prefix: {"SHARE": 0.5}."""

    def __init__(self, folder, settings):
        self._counter = folder / "fresh"
        self._counter.write_bytes(bytes(8))
        build(folder / "fresh.so")
        self.environment = {"LD_PRELOAD": str(folder / "fresh.so"), "FRESH_COUNT": str(self._counter),
                            **{f"FRESH_{name}": str(value) for name, value in settings.items()}}

    def count(self):
        return struct.unpack("=Q", self._counter.read_bytes())[0]


def build(library):
    library.write_bytes(_compiled())


@functools.cache
def _compiled():
    """The library's bytes: built once, and no file outlives a measurement."""
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "fresh.so"
        # Lazily bound: programs on the way to the switch (unshare) load it too, and have no DPDK.
        subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-Wl,-z,lazy", *shlex.split(flags), _SOURCE, "-o", library],
                       check=True)
        return library.read_bytes()
