"""The one reader of the kernel's tables: all who need them at one time share one read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from gns3server.running.identity import Handle, ProcessIdentity, open_all
from gns3server.running.procfs import ProcessStat, ProcessTable, processes, run_id_carriers
from gns3server.running.readiness import ReadinessQuery, ReadinessResult, discard, look
from gns3server.running.threads import thread_pool

log = logging.getLogger(__name__)

PAUSE = 0.015
"""Seconds between two rounds: a start is answered soon, and the rounds leave the CPU to it."""

Look = Callable[[Sequence[ReadinessQuery], ProcessTable], list[ReadinessResult | None]]

T = TypeVar("T")


class Shared(Generic[T]):
    """Calls a blocking function in a thread, once for all who asked before the call began.

    :param pool: its threads.
    :param function: what to call.
    """

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[[], T]) -> None:
        self._pool = pool
        self._function = function
        self._turn = asyncio.Lock()
        self._upcoming: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the result of a call that begins after this request; raise what it raises."""
        if self._upcoming is None:
            self._upcoming = asyncio.create_task(self._call())
        # Shielded: one of those who share it may be cancelled.
        return await asyncio.shield(self._upcoming)

    async def _call(self) -> T:
        async with self._turn:
            # Anyone who asks from here on must see what happened after this call began.
            self._upcoming = None
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._function)


class KernelReader:
    """Reads /proc in one thread, off the loop; does nothing at all while nobody asks.

    To be made on the running loop. Must be closed.

    :param look: reads the tables for one round of questions, as :func:`readiness.look` does.
    :raises OSError: no thread can be started.
    """

    def __init__(self, look: Look = look) -> None:
        self._look = look
        self._pool = thread_pool("kernel-reader")
        self._asked: dict[ReadinessQuery, Callable[[ReadinessResult], None]] = {}
        self._deserted = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._processes = Shared(self._pool, processes)
        self._carriers = Shared(self._pool, run_id_carriers)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer, and no round is under way."""
        return not self._asked and self._rounds is None

    def ask(self, question: ReadinessQuery, answered: Callable[[ReadinessResult], None]) -> None:
        """Look repeatedly until there is an answer.

        :param question: findings are noted in it.
        :param answered: called once, on the loop; it owns the pidfds in the answer.
        """
        self._asked[question] = answered
        self._deserted.clear()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._answer_all())

    def withdraw(self, question: ReadinessQuery) -> None:
        """Stop asking a question.

        :param question: it may have been answered, or never have been asked.
        """
        self._asked.pop(question, None)
        if not self._asked:
            self._deserted.set()

    def withdraw_all(self) -> None:
        """Stop asking all questions."""
        self._asked.clear()
        self._deserted.set()

    async def family(self, known: Collection[ProcessIdentity]) -> list[Handle]:
        """Open the living descendants of processes.

        :param known: the processes, which are not opened themselves.
        :raises OSError: /proc cannot be read, or no descriptor is left.
        """
        table = await self._processes.get()
        roots = [
            identity.pid for identity in known if table.holds(identity.pid, identity.start_time)
        ]
        return await self._open(table.descendants(roots), known)

    async def carriers(
        self, run_ids: Collection[str], known: Collection[ProcessIdentity]
    ) -> list[Handle]:
        """Open the living processes that carry one of these run ids.

        :param run_ids: the run ids.
        :param known: processes that are not opened.
        :raises OSError: /proc cannot be read, or no descriptor is left.
        """
        carriers = await self._carriers.get()
        found = [stat for run_id in run_ids for stat in carriers.get(run_id, ())]
        return await self._open(found, known)

    async def close(self) -> None:
        """End the thread; questions that are still open are never answered."""
        self.withdraw_all()
        if self._rounds is not None:
            await self._rounds
        await asyncio.to_thread(self._pool.shutdown)

    async def _open(
        self, stats: Iterable[ProcessStat], known: Collection[ProcessIdentity]
    ) -> list[Handle]:
        seen = {(identity.pid, identity.start_time) for identity in known}
        new = [stat for stat in stats if (stat.pid, stat.start_time) not in seen]
        if not new:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._pool, open_all, new)

    async def _answer_all(self) -> None:
        table = ProcessTable()
        try:
            while self._asked:
                await self._round(list(self._asked), table)
                if self._asked:
                    # The last question may be withdrawn during the pause.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(PAUSE):
                            await self._deserted.wait()
        finally:
            self._rounds = None

    async def _round(self, questions: list[ReadinessQuery], table: ProcessTable) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._pool, self._look, questions, table)
        except OSError as error:
            # Most often because no file descriptor was left: the next round may find one.
            log.warning("cannot read the kernel's tables: %s", error)
            return
        for question, answer in zip(questions, answers, strict=True):
            if answer is None:
                continue
            answered = self._asked.pop(question, None)
            if answered is None:
                discard(answer)
            else:
                answered(answer)
