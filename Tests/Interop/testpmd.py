"""dpdk-testpmd as guests: virtio-user ports that send, receive and record what a test gives them."""

import itertools
import os
import re
import shutil
import subprocess

from processes import Process, eventually

_serial = itertools.count(1)


class Testpmd:
    """One interactive testpmd on lcore 0, without hugepages, so that any number runs beside the switch."""

    __test__ = False

    def __init__(self, directory, vdevs, *options, memory=512, hugepages=False, mbufs=16384, lcores="0@0,1@0"):
        self.prefix = f"tp{os.getpid()}n{next(_serial)}"
        storage = ["--single-file-segments", "--in-memory"] if hugepages else ["--no-huge", "--no-shconf"]
        self.process = Process(
            # Unbuffered: a prompt that stays in the pipe's buffer would be waited for in vain.
            ["stdbuf", "-o0", "dpdk-testpmd", "--lcores", lcores, "--no-pci", "--no-telemetry", *storage,
             "-m", memory, "--file-prefix", self.prefix, *[f"--vdev={vdev}" for vdev in vdevs],
             "--", "-i", "--nb-cores=1", f"--total-num-mbufs={mbufs}", "--no-mlockall", "--disable-link-check",
             *options],
            directory / f"{self.prefix}.log", stdin=subprocess.PIPE)

    def wait_until_ready(self, limit=30.0):
        self.process.wait_for_output("testpmd> ", limit)
        return self

    def command(self, text, limit=20.0):
        """Runs a command at the prompt and returns what it prints."""
        before = len(self.process.output())
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

        def answered():
            self.process.assert_alive()
            return self.process.output()[before:].count("testpmd> ") > 0
        eventually(answered, limit, f"testpmd's answer to '{text}'")
        return self.process.output()[before:]

    def statistics(self, port):
        """(received, sent) packets of a port since the last clear."""
        text = self.command(f"show port stats {port}")
        received, sent = (int(re.search(rf"{name}-packets: (\d+)", text).group(1)) for name in ("RX", "TX"))
        return received, sent

    def stop(self):
        self.process.kill()
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)

    def quit(self, limit=30.0):
        """Ends it in order, so that capture files are written to their end."""
        self.process.stdin.write(b"quit\n")
        self.process.stdin.flush()
        self.process.wait(limit)
