"""One thread reads for all."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gns3server.running.procfs import ProcessTable
from gns3server.running.reader import KernelReader, Shared
from gns3server.running.readiness import ReadinessQuery, ReadinessResult, look
from gns3server.running.spec import LaunchSpec, Port

Questions = Sequence[ReadinessQuery]
Answers = list[ReadinessResult | None]


async def test_who_comes_during_a_read_shares_the_next_one() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    calls: list[None] = []

    def read() -> int:
        begun.release()
        go_on.acquire()
        calls.append(None)
        return len(calls)

    with ThreadPoolExecutor(1) as pool:
        shared = Shared(pool, read)
        first = [asyncio.create_task(shared.get()) for _ in range(3)]
        await asyncio.to_thread(begun.acquire)
        late = [asyncio.create_task(shared.get()) for _ in range(3)]
        await asyncio.sleep(0)
        late[0].cancel()
        go_on.release(2)
        assert await asyncio.gather(*first) == [1, 1, 1]
        assert await asyncio.gather(*late[1:]) == [2, 2]
    assert len(calls) == 2


async def test_starts_share_their_rounds_and_leave_none_behind(
    spawn: Callable[[LaunchSpec], Any],
    make_spec: Callable[..., LaunchSpec],
    free_port: Callable[[str], Port],
    looks: Any,
    reader: KernelReader,
) -> None:
    rounds: list[int] = []

    def counting(questions: Questions, table: ProcessTable) -> Answers:
        rounds.append(len(questions))
        return look(questions, table)

    looks.look = counting
    runs = []
    for number in range(3):
        port = free_port("udp")
        body = f"a = udp({port.number}); rest()"
        runs.append(await spawn(make_spec(body, log_name=f"{number}.log", ports=(port,))))
    await asyncio.gather(*(run.ready() for run in runs))
    assert rounds[0] == 3
    await asyncio.gather(*(run.stop() for run in runs))
    assert reader.idle


async def test_a_failed_round_is_followed_by_another(
    spawn: Callable[[LaunchSpec], Any],
    make_spec: Callable[..., LaunchSpec],
    udp_port: Port,
    looks: Any,
) -> None:
    failures = [OSError("no file descriptor left")]

    def failing(questions: Questions, table: ProcessTable) -> Answers:
        if failures:
            raise failures.pop()
        return look(questions, table)

    looks.look = failing
    run = await spawn(make_spec(f"a = udp({udp_port.number}); rest()", ports=(udp_port,)))
    await run.ready()
    assert not failures
    await run.stop()


async def test_an_answer_that_nobody_wants_any_more_is_let_go(
    spawn: Callable[[LaunchSpec], Any],
    make_spec: Callable[..., LaunchSpec],
    udp_port: Port,
    looks: Any,
) -> None:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    go_on = threading.Semaphore(0)

    def late(questions: Questions, table: ProcessTable) -> Answers:
        answers = look(questions, table)
        if answers[0] is not None:
            loop.call_soon_threadsafe(answered.set_result, None)
            go_on.acquire()
        return answers

    looks.look = late
    body = f"fork(rest); a = udp({udp_port.number}); rest()"
    run = await spawn(make_spec(body, ports=(udp_port,), children=1))
    waiting = asyncio.create_task(run.ready())
    await answered
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.release()
    # The fixture counts the file descriptors.
    await run.stop()
    assert len(run.processes) == 1
