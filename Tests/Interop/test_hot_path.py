"""The packet loop as the compiler left it: nothing in it may count references, allocate or lock.

`@_noLocks` says so of `Lane.receive` in the source; this looks at the machine code of all that a packet passes,
the worker's loop included, of the release build that is tested.
"""

import re
import subprocess

import pytest

import martlet

LOOP = [
    r"Worker\.\(run in ",
    r"Worker\.\(settle in |Worker\.\(send",
    r"Lane\.receive\(",
    r"Lane\.(receiveByFlows|fetchTables|switchTracked|switchOther|passes|passesTracks|commit|classify|forward|finish)\(",
    r"Lane\.\((takeKeys|find|run|runOthers|sendEach|classifyAny|forwardOther|flood|emitCopy|emitRun|discardAll) in ",
    r"DropSamples\.\(?(take|copy)\b",
    r"Lane\.\(?(receiveDatagrams|receivePieces|receiveTunnelledPieces|takePieces|keepWaiting|dropLateFragments)\b",
    r"PacketTracker\.\(?(track|trackAgain|begin|follow|update|index|waits|repeated|note|joins)\b",
    r"FragmentStore\.\(?(put|predecessor|add|complete|link|unlink|remove|track|takePiece)\b",
    r"ConnectionTable\.\(?(find|create|take|evict|refill|remove|giveBack|sweep)\b",
    r"ConnectionIndex\.\(?(find|insert|remove)\b",
    r"ForwardingDatabase\.\((update|read|readFurther|probe|find|insert|write|link|unlink) in ",
]
# What the loop must be made of at least: a renamed function must not make the test see nothing.
REQUIRED = ["Worker.(run in ", "Lane.receive(", "Lane.forward(", "Lane.classify(", "Lane.switchTracked(",
            "Lane.receiveDatagrams(", "FragmentStore.put("]
FORBIDDEN = re.compile(
    r"\bcall\s.*<(swift_(retain|release|bridgeObject\w+|allocObject|slowAlloc|beginAccess|once|initStackObject"
    r"|getGenericMetadata|dynamicCast\w*)|malloc|calloc|realloc|free|posix_memalign|pthread_mutex_\w+)(@plt)?>"
)


def functions():
    """Demangled name -> disassembly, of every function that the loop is made of."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", martlet.BINARIES / "martletd"],
        capture_output=True, text=True, check=True,
    ).stdout
    bodies = dict(re.findall(r"^[0-9a-f]+ <(\$s\S+)>:\n((?:[ \t].*\n)+)", listing, re.MULTILINE))
    names = [name for name in bodies if "9Dataplane" in name or "8PacketIO6Worker" in name]
    plain = subprocess.run(
        ["swift", "demangle", "--compact"], input="\n".join(names), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {
        readable: bodies[name]
        for name, readable in zip(names, plain)
        if any(re.search(pattern, readable) for pattern in LOOP)
    }


@pytest.fixture(scope="module")
def loop():
    return functions()


def test_the_loop_is_found_in_the_binary(loop):
    for part in REQUIRED:
        assert any(part in name for name in loop), f"no {part} in the binary: has it been renamed?"


def test_no_packet_costs_a_reference_count_an_allocation_or_a_mutex(loop):
    found = [
        f"{name.split('(')[0]}: {line.strip()}"
        for name, body in loop.items()
        for line in body.splitlines()
        if FORBIDDEN.search(line)
    ]
    # The loop's own frame: the burst array is made before the first turn and freed after the last.
    allowed = [entry for entry in found if entry.startswith("PacketIO.Worker.") and "swift_slow" in entry]
    assert [entry for entry in found if entry not in allowed] == []
