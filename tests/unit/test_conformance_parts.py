"""What the conformance suite is made of: its patience, its events, and the end of leftovers."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gns3server.plugin_host.modules import PluginModules
from gns3server.running.spec import Port
from gns3server.testing import (
    TEST_VARIABLE,
    NodeTypeConformance,
    PluginConformance,
    processes_of,
)
from gns3server.testing.bound_ports import bound_ports
from gns3server.testing.leftovers import kill_leftovers, nothing_left
from gns3server.testing.loop_watch import LoopWatch
from gns3server.testing.own_events import OwnEvents

OURS, OTHER = "ours", "other"


def event(action: str, node_id: str) -> dict[str, Any]:
    return {"action": action, "event": {"vm_id": node_id}}


async def stream(*events: Any) -> AsyncIterator[Any]:
    for one in events:
        yield one


async def pings() -> AsyncIterator[Any]:
    while True:
        await asyncio.sleep(0)
        yield {"action": "ping"}


async def test_only_the_servers_events_of_own_nodes_are_heeded():
    wanted = [event("vm.started", OURS), event("log.error", OURS)]
    others = [
        {"action": "ping"},
        event("vm.started", OTHER),
        event("mine.vm.started", OURS),
        {"action": "log.error", "event": {"message": "a plugin has failed"}},
        {"action": "mine.list", "event": [OURS]},
    ]
    events = stream(*others, wanted[0], *others, wanted[1], *others)
    deadline = asyncio.get_running_loop().time() + 30
    own = OwnEvents(events, [OURS], deadline)
    assert [await own.next(), await own.next()] == wanted
    with pytest.raises(AssertionError, match=r"nothing more was told of ours: the stream has end"):
        await own.next()


async def test_what_others_are_told_does_not_prolong_the_patience_of_a_test():
    suite = NodeTypeConformance()
    suite.deadline = asyncio.get_running_loop().time() + 0.05
    events = OwnEvents(pings(), [OURS], suite.deadline)
    with pytest.raises(AssertionError, match="the time of this test is over"):
        await events.next()
    # There is one patience for all events, and it is used up.
    with pytest.raises(AssertionError, match="the time of this test is over"):
        await OwnEvents(pings(), [OURS], suite.deadline).next()


async def test_a_test_has_one_deadline():
    suite = NodeTypeConformance()
    first = suite.deadline
    await asyncio.sleep(0)
    assert suite.deadline == first


@pytest.mark.parametrize("suite", [NodeTypeConformance, PluginConformance])
def test_each_conformance_test_says_what_is_required(suite):
    tests = [
        test
        for name, test in inspect.getmembers(suite, inspect.isfunction)
        if name.startswith("test_")
    ]
    assert tests
    assert [test.__name__ for test in tests if not test.__doc__] == []


FAMILY = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    os.fork()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"up")
signal.pause()
"""


@pytest.fixture
def family():
    """Three processes of a test, in two sessions, deaf to TERM; tells the id of the test."""
    test_id = uuid.uuid4().hex
    argv = [sys.executable, "-c", FAMILY]
    environ = {**os.environ, TEST_VARIABLE: test_id}
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""
        while len(said) < len("up") * 3:
            said += os.read(process.stdout.fileno(), 100)
        try:
            yield test_id
        finally:
            kill_leftovers(test_id)


def test_leftovers_are_killed_and_named(family):
    left = processes_of(family)
    assert len(left) == 3
    with pytest.raises(AssertionError) as failure, nothing_left(family):
        pass
    assert all(f"{pid}: '{sys.executable} -c" in str(failure.value) for pid in left)
    assert processes_of(family) == {}


def test_leftovers_are_killed_although_the_test_has_failed(family):
    with pytest.raises(ZeroDivisionError), nothing_left(family):
        raise ZeroDivisionError
    assert processes_of(family) == {}


def test_processes_of_other_tests_are_left_alone(family):
    left = processes_of(family)
    assert kill_leftovers(uuid.uuid4().hex) == {}
    assert processes_of(family) == left


LEAVES_A_PROCESS = """
import os, sys

async def test_it(gns3_settings):
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    os.posix_spawn(sys.executable, argv, gns3_settings.environ)
"""


def test_a_test_that_leaves_a_process_fails(tmp_path: Path) -> None:
    (tmp_path / "test_leaves.py").write_text(LEAVES_A_PROCESS)
    (tmp_path / "tox.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_leaves.py"]
    env = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "processes were left behind, and killed: {" in done.stdout


SUITE = """
import pytest

class TestMine:
    gns3_requirements = True

    def test_it_is_met(self): ...
    def test_it_is_not_met(self): assert False
    def test_it_is_not_needed(self): pytest.skip("does not apply: it has none")
    def test_it_cannot_be_cleaned_up(self, dirty): ...

@pytest.fixture
def dirty():
    yield
    assert False

def test_of_its_own(): ...
"""

REPORT = """\
TestMine: 1 met, 1 not needed, 2 NOT MET
    not met: it cannot be cleaned up
    not met: it is not met
"""


def run_pytest(folder: Path, *options: str) -> str:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options]
    env = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_report_tells_the_result_by_requirement(tmp_path: Path, workers: tuple[str]) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE)
    said = run_pytest(tmp_path, *workers)
    assert "= requirements of gns3server =" in said
    assert REPORT in said


def test_nothing_is_reported_where_there_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_it(): ...")
    said = run_pytest(tmp_path)
    assert "1 passed" in said
    assert "requirements" not in said


def test_ports_are_those_of_the_processes_that_are_asked_about():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire, socket.socket() as console:
        wire.bind(("127.0.0.1", 0))
        console.bind(("127.0.0.1", 0))
        udp, tcp = Port("udp", wire.getsockname()[1]), Port("tcp", console.getsockname()[1])
        found = bound_ports([os.getpid()])
        assert (udp in found, tcp in found) == (True, False)
        console.listen()
        assert tcp in bound_ports([os.getpid()])
        assert udp not in bound_ports([os.getppid()])


@pytest.mark.parametrize(("plugin", "held"), [(__name__, True), ("other", False)])
async def test_only_code_of_plugins_is_said_to_hold_the_loop(plugin, held):
    modules = PluginModules()
    modules.add("mine", plugin)
    with LoopWatch(modules).watching() as watch:
        threading.Event().wait(2)
    assert bool(watch.held) == held
    assert all(place.startswith("the plugin 'mine', ") for place in watch.held)
