"""Real child processes, most of them badly behaved, and a proof that none is left behind."""

import asyncio
import os
import socket
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from blockbuster import blockbuster_ctx

from gns3server.running.local import LocalRunner
from gns3server.running.local_run import LocalRun
from gns3server.running.procfs import ProcessTable, run_id_carriers
from gns3server.running.reader import KernelReader, Look
from gns3server.running.readiness import ReadinessQuery, ReadinessResult, look
from gns3server.running.spec import LaunchSpec, Port

PRELUDE = """
import os, signal, socket, sys, time

def tcp(number):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", number))
    sock.listen()
    return sock

def udp(number):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", number))
    return sock

def rest():
    while True:
        signal.pause()

def ignore(*numbers):
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)

def fork(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    return pid
"""


class SpecMaker(Protocol):
    def __call__(self, body: str, **fields: Any) -> LaunchSpec: ...


class Starter(Protocol):
    async def __call__(self, spec: LaunchSpec) -> LocalRun: ...


@pytest.fixture
def free_port() -> Callable[[Literal["tcp", "udp"]], Port]:
    def find(kind: Literal["tcp", "udp"]) -> Port:
        with socket.socket(
            type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
        ) as probe:
            probe.bind(("0.0.0.0", 0))
            return Port(kind, probe.getsockname()[1])

    return find


@pytest.fixture
def tcp_port(free_port: Callable[[str], Port]) -> Port:
    return free_port("tcp")


@pytest.fixture
def udp_port(free_port: Callable[[str], Port]) -> Port:
    return free_port("udp")


@pytest.fixture
def make_spec(tmp_path: Path) -> SpecMaker:
    """Make the spec of a Python program that begins with PRELUDE."""

    def make(body: str, **fields: Any) -> LaunchSpec:
        fields = {"cwd": str(tmp_path / "node"), **fields}
        return LaunchSpec(argv=(sys.executable, "-I", "-S", "-c", PRELUDE + body), **fields)

    return make


@pytest.fixture
def run_ids() -> Callable[[], str]:
    """Make run ids; `runner` makes sure that no process carries one of them in the end."""
    return RunIds()


class RunIds(list[str]):
    def __call__(self) -> str:
        self.append(uuid.uuid4().hex)
        return self[-1]


class Looks:
    """What the kernel reader does in a round; a test may do something of its own instead."""

    def __init__(self) -> None:
        self.look: Look = look

    def __call__(
        self, questions: Sequence[ReadinessQuery], table: ProcessTable
    ) -> list[ReadinessResult | None]:
        return self.look(questions, table)


def open_files() -> Counter[str]:
    """What this process has open, and how often."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
    return found


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
async def reader(looks: Looks) -> KernelReader:
    """The reader that `runner` has, and closes."""
    return KernelReader(looks)


@pytest.fixture
async def runner(
    run_ids: RunIds, reader: KernelReader, request: pytest.FixtureRequest
) -> AsyncIterator[LocalRunner]:
    failed = request.session.testsfailed
    before = await asyncio.to_thread(open_files)
    runner = LocalRunner({"PATH": os.defpath}, log_period=0.01, reader=reader)
    with blockbuster_ctx(scanned_modules=["gns3server.running"]):
        yield runner
        left = (await asyncio.to_thread(run_id_carriers)).keys() & set(run_ids)
        if left:
            await runner.sweep(left)
        await runner.close()
    if request.session.testsfailed != failed:
        # It did not come to clear up, and one failure of a test is enough.
        return
    assert not left, "processes of the test are left"
    # What others have closed meanwhile does not make up for what is left.
    assert not await asyncio.to_thread(open_files) - before, "file descriptors are left"


@pytest.fixture
def spawn(runner: LocalRunner, run_ids: RunIds) -> Starter:
    async def start(spec: LaunchSpec) -> LocalRun:
        return await runner.spawn(spec, run_id=run_ids())

    return start


@pytest.fixture
def start(spawn: Starter) -> Starter:
    """Spawn and wait until it is ready."""

    async def start(spec: LaunchSpec) -> LocalRun:
        run = await spawn(spec)
        await run.ready()
        return run

    return start
