"""Calls into plugins' nodes: their limit, which rests while the core works, and what is inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gns3server.errors import Conflict, PluginFault
from gns3server.nodes import runtime
from gns3server.nodes.limits import CallLimits, check_outside, core_code, is_core_code

LONG = 3600.0


class Clock:
    """What the loop was asked to call later, which happens when the test says so."""

    def __init__(self, monkeypatch) -> None:
        self.timers: list[tuple[float, asyncio.TimerHandle, Callable[[], None]]] = []
        loop = asyncio.get_running_loop()

        def call_later(delay, call):
            timer = loop.call_at(loop.time() + LONG, call)
            self.timers.append((delay, timer, call))
            return timer

        monkeypatch.setattr(loop, "call_later", call_later)

    @property
    def running(self) -> list[float]:
        """The limits that run."""
        return [delay for delay, timer, _ in self.timers if not timer.cancelled()]

    def strike(self) -> None:
        """Let all limits that run be over."""
        for _, timer, call in self.timers:
            if not timer.cancelled():
                call()


@pytest.fixture
async def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_call_that_ends_in_time_has_no_limit_any_more(clock):
    call = CallLimits(10).begin("start", lambda: asyncio.sleep(0, "done"))
    assert clock.running == [10]
    assert await call.wait()
    assert call.task.result() == "done"
    assert clock.running == []
    assert not call.active


async def test_a_call_that_takes_too_long_is_cancelled_and_abandoned(clock):
    call = CallLimits(10).begin("start", hang)
    await asyncio.sleep(0)
    clock.strike()
    assert not await call.wait()
    assert call.abandoned
    await asyncio.wait({call.task})
    assert call.task.cancelled()


async def test_when_the_server_stops_calls_under_way_have_little_time(clock):
    limits = CallLimits(10)
    call = limits.begin("stop", hang)
    limits.hurry()
    assert clock.running == [1.0]
    later = limits.begin("leave", hang)
    assert clock.running == [1.0, 1.0]
    for each in (call, later):
        each.task.cancel()
        await asyncio.wait({each.task})


async def test_a_short_limit_is_not_made_longer_by_hurry(clock):
    limits = CallLimits(0.5)
    limits.hurry()
    assert limits.seconds == 0.5


async def test_no_time_passes_while_the_core_works(clock):
    entered, leave = asyncio.Event(), asyncio.Event()

    @core_code
    async def core() -> str:
        check_outside("Project.enter")
        entered.set()
        await leave.wait()
        return "done"

    async def start() -> str:
        return await core() + " and more"

    call = CallLimits(10).begin("start", start)
    await entered.wait()
    assert clock.running == []
    leave.set()
    assert await call.wait()
    assert call.task.result() == "done and more"


async def test_after_the_core_has_worked_the_whole_limit_is_there_again(clock):
    @core_code
    async def core() -> None:
        await asyncio.sleep(0)

    async def start() -> None:
        await core()
        await hang()

    call = CallLimits(10).begin("start", start)
    for _ in range(4):
        await asyncio.sleep(0)
    assert clock.running == [10]
    clock.strike()
    assert not await call.wait()


async def test_who_was_given_up_cannot_have_the_core_work_any_more():
    goes_on, refused = asyncio.Event(), asyncio.get_running_loop().create_future()

    @core_code
    async def core() -> None:
        raise AssertionError("the core works for it")

    async def deaf() -> None:
        try:
            await goes_on.wait()
        except asyncio.CancelledError:
            await goes_on.wait()
        try:
            await core()
        except RuntimeError as error:
            refused.set_result(str(error))

    call = CallLimits(0.01).begin("stop of 'PC'", deaf)
    assert not await call.wait()
    goes_on.set()
    assert "stop of 'PC' goes on although it was given up" in await refused


def test_the_cores_own_methods_are_known():
    @core_code
    async def core() -> None:
        """What it does."""

    assert is_core_code(core)
    assert core.__doc__ == "What it does."
    assert not is_core_code(hang)


async def test_locks_are_refused_inside_of_a_call_and_only_there():
    check_outside("Project.enter")

    async def start() -> None:
        check_outside("Project.enter")

    call = CallLimits(LONG).begin("start of 'PC'", start)
    await call.wait()
    with pytest.raises(PluginFault, match=r"start of 'PC' must not call Project\.enter"):
        call.task.result()


# Directories for sockets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "user_runtime", "base"),
    [
        ("/var/lib/gns3", None, "/var/lib/gns3/run"),
        ("/var/lib/gns3", "/run/user/1000", "/var/lib/gns3/run"),
        (f"/home/{'x' * 80}", "/run/user/1000", "/run/user/1000/gns3server-*"),
        (f"/home/{'x' * 80}", None, "/tmp/gns3server-*"),
        (f"/home/{'x' * 80}", f"/run/{'x' * 80}", "/tmp/gns3server-*"),
        (f"/home/{'ü' * 30}", None, "/tmp/gns3server-*"),
    ],
)
def test_the_path_of_a_directory_for_sockets_is_short_and_always_the_same(
    state, user_runtime, base
):
    found = runtime.runtime_base(Path(state), user_runtime)
    assert found.match(base)
    assert found == runtime.runtime_base(Path(state), user_runtime)
    directory = runtime.runtime_directory(found, "b481a455-5e82-4f46-92ba-b0c1d4f9ae01")
    assert len(str(directory).encode()) <= 70
    assert directory != runtime.runtime_directory(found, "another")


def test_a_directory_for_sockets_comes_and_goes(tmp_path):
    directory = tmp_path / "run" / "node"
    for _ in range(2):
        runtime.make(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    (directory / "socket").write_text("")
    for _ in range(2):
        runtime.remove(directory)
        assert not directory.exists()
    runtime.remove_base(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_directory_that_somebody_else_has_put_there_is_refused(tmp_path, what):
    directory, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "link":
        directory.symlink_to(elsewhere)
    else:
        directory.write_text("")
    with pytest.raises(Conflict, match=r"another user's|cannot be made"):
        runtime.make(directory / "node")
    assert [*elsewhere.iterdir()] == []
