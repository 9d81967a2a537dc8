"""Fixtures of the interop suite: every one of them undoes what it did, also when a test fails."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

import guest
from martlet import BINARIES, Daemon
from results import Results


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run what takes minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; runs with --long only")
    config.results = Results(os.environ.get("MARTLET_RESULTS"))


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="needs --long"))


def pytest_terminal_summary(terminalreporter, config):
    text = config.results.text()
    if text:
        terminalreporter.section("measured, not asserted")
        terminalreporter.write_line(text)


def pytest_sessionfinish(session):
    session.config.results.write()
    guest.forget_boot_files()


@pytest.fixture(scope="session")
def long_run(request):
    """Whether --long was given: for tests that do more of the same then."""
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def results(request):
    """Figures worth printing at the end of the run."""
    return request.config.results


@contextlib.contextmanager
def _workspace():
    # Directly under /tmp: a Unix socket's path has 107 bytes.
    path = Path(tempfile.mkdtemp(prefix="mt-", dir="/tmp"))
    try:
        with contextlib.ExitStack() as stack:
            yield path, stack
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Room:
    """A directory of the test's own, and what must be undone when the test is over, last first."""

    def __init__(self, directory, stack):
        self.directory = directory
        self._stack = stack
        self.owns = stack.callback

    def keeps(self, thing):
        """Stops (or closes) `thing` at the end and returns it."""
        self._stack.callback(thing.stop if hasattr(thing, "stop") else thing.close)
        return thing

    def daemon(self, **options):
        """A running martletd without bridges."""
        assert (BINARIES / "martletd").exists(), f"no martletd in {BINARIES}: build first, or set MARTLET_BIN"
        daemon = self.keeps(Daemon(self.directory, **options))
        return daemon.start()

    def socket(self, name):
        return self.directory / f"{name}.sock"


@pytest.fixture
def room():
    with _workspace() as (path, stack):
        yield Room(path, stack)


@pytest.fixture(scope="module")
def module_room():
    with _workspace() as (path, stack):
        yield Room(path, stack)


@pytest.fixture
def daemon(room):
    """A martletd of the test's own with bridge br0."""
    daemon = room.daemon()
    daemon.add_bridge()
    return daemon
