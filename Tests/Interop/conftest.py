"""Fixtures of the interop suite: every one of them undoes what it did, also when a test fails."""

import os
import signal

import pytest

import guest
from results import Results
from room import Room


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run what takes minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; runs with --long only")
    config.results = Results(os.environ.get("MARTLET_RESULTS"))
    # As on Ctrl-C: a run that is told to end (by timeout(1), say) still undoes what it did.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


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


@pytest.fixture
def room():
    with Room.opened() as room:
        yield room


@pytest.fixture(scope="module")
def module_room():
    with Room.opened() as room:
        yield room


@pytest.fixture
def daemon(room):
    """A martletd of the test's own with bridge br0."""
    daemon = room.daemon()
    daemon.add_bridge()
    return daemon
