"""Calls into plugins' nodes: their limit, which rests while the core works, and what is inside."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Coroutine
from pathlib import Path

import pytest
from waiting import until

from gns3server.calls import CallFailed, LimitedCall, LimitedCalls
from gns3server.errors import Conflict, PluginFault
from gns3server.nodes.limits import AuthorCall, check_outside, core_code, is_core_code
from gns3server.plugin_host.calls import HookCaller
from gns3server.running import runtime

LONG = 3600.0


class Clock:
    """The clock of the loop, which stands still until the test lets time pass."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    def left(self, *calls: LimitedCall) -> list[float]:
        """How long some calls may still take."""
        return [call.end - self.now for call in calls]


@pytest.fixture
async def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_call_that_ends_in_time_has_no_limit_any_more(clock):
    limits = LimitedCalls(10)
    call = LimitedCall(limits, lambda: asyncio.sleep(0, "done"))
    assert clock.left(call) == [10]
    assert await call.wait()
    assert call.result() == "done"
    assert not limits.running
    assert not call.active


async def test_a_call_that_takes_too_long_is_cancelled_and_abandoned(clock):
    call = LimitedCall(LimitedCalls(10), hang)
    await asyncio.sleep(0)
    clock.now += 10
    assert not await call.wait()
    assert call.abandoned
    await asyncio.wait({call.task})
    assert call.task.cancelled()


async def test_a_call_may_have_more_time_than_others_until_the_server_stops(clock):
    limits = LimitedCalls(10)
    calls = [AuthorCall("x", limits, hang, least) for least in (30.0, 0.0)]
    assert clock.left(*calls) == [30, 10]
    limits.hurry()
    assert clock.left(*calls) == [1, 1]
    for call in calls:
        call.task.cancel()


async def test_each_call_has_its_own_time(clock):
    limits = LimitedCalls(10)
    later = LimitedCall(limits, hang)
    clock.now += 1
    latest, first = LimitedCall(limits, hang), LimitedCall(limits, hang, 5)
    assert clock.left(later, latest, first) == [9, 10, 5]
    clock.now += 5
    assert not await first.wait()
    assert [call.abandoned for call in (later, latest)] == [False, False]
    clock.now += 4
    assert not await later.wait()
    assert not latest.abandoned
    clock.now += 1
    assert not await latest.wait()
    await asyncio.wait({call.task for call in (first, later, latest)})


async def test_when_the_server_stops_calls_under_way_have_little_time(clock):
    limits = LimitedCalls(10)
    call = LimitedCall(limits, hang)
    limits.hurry()
    later = LimitedCall(limits, hang)
    assert clock.left(call, later) == [1, 1]
    clock.now += 1
    assert [await call.wait(), await later.wait()] == [False, False]
    await asyncio.wait({call.task, later.task})


async def test_a_short_limit_is_not_made_longer_by_hurry(clock):
    limits = LimitedCalls(0.5)
    limits.hurry()
    assert limits.seconds == 0.5


async def test_a_call_that_cancels_itself_has_failed():
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await hang()

    with pytest.raises(CallFailed, match="it was cancelled, and not by this server"):
        await LimitedCalls(LONG).run(cancel)


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

    call = AuthorCall("start", LimitedCalls(10), start)
    await entered.wait()
    clock.now += LONG
    for _ in range(4):
        await asyncio.sleep(0)
    leave.set()
    assert await call.wait()
    assert call.result() == "done and more"


async def test_the_server_waits_for_its_own_work_even_in_a_hurry(clock):
    entered, leave = asyncio.Event(), asyncio.Event()

    @core_code
    async def core() -> None:
        entered.set()
        await leave.wait()

    limits = LimitedCalls(10)
    call = AuthorCall("stop", limits, core)
    await entered.wait()
    limits.hurry()
    assert clock.left(call) == [math.inf]
    leave.set()
    assert await call.wait()


async def test_after_the_core_has_worked_the_whole_limit_is_there_again(clock):
    back = asyncio.Event()

    @core_code
    async def core() -> None:
        await asyncio.sleep(0)

    async def start() -> None:
        clock.now += 9
        await core()
        back.set()
        await hang()

    call = AuthorCall("start", LimitedCalls(10), start)
    await back.wait()
    assert clock.left(call) == [10]
    clock.now += 10
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

    call = AuthorCall("stop of 'PC'", LimitedCalls(0.01), deaf)
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

    call = AuthorCall("start of 'PC'", LimitedCalls(LONG), start)
    await call.wait()
    with pytest.raises(PluginFault, match=r"start of 'PC' must not call Project\.enter"):
        call.result()


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


async def test_a_coroutine_that_is_made_too_late_is_dropped():
    begun, release, made = threading.Event(), threading.Event(), list[Coroutine[None, None, None]]()

    def hook() -> Coroutine[None, None, None]:
        begun.set()
        release.wait()
        made.append(hang())
        return made[0]

    call = asyncio.ensure_future(HookCaller(LONG).observe(hook))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    await asyncio.wait({call})
    release.set()

    async def dropped() -> bool:
        return bool(made) and inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED

    await until(dropped)
