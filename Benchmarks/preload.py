"""C that is preloaded into a switch under test."""
import functools
import pathlib
import shlex
import subprocess
import tempfile

_FOLDER = pathlib.Path(__file__).resolve().parent


def build(source, library):
    """`source` is the name of a file in this folder."""
    library.write_bytes(_compiled(source))


@functools.cache
def _compiled(source):
    """The library's bytes: built once, and no file outlives a measurement."""
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "preload.so"
        # Lazily bound: programs on the way to the switch (unshare) load it too, and have no DPDK.
        subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-Wl,-z,lazy", *shlex.split(flags), _FOLDER / source,
                        "-o", library], check=True)
        return library.read_bytes()
