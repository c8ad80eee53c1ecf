"""Whether runs are ready: one look at the kernel's tables serves all starts. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from gns3server.running.identity import Handle, ProcessIdentity, close_all, open_all
from gns3server.running.procfs import (
    ProcessStat,
    ProcessTable,
    hides_descriptors,
    run_id_carriers,
    socket_inodes,
    socket_owners,
)
from gns3server.running.sockets import bound_sockets, listening_unix_sockets
from gns3server.running.spec import Port
from gns3server.running.terminals import is_raw

Place = Port | str
"""What a program binds: a port, or the path of a unix socket."""


@dataclass(eq=False, slots=True)
class ReadinessQuery:
    """What one start waits for, and what has been found so far.

    :param missing: what was missing at the last look, for a message.
    :param bound_before: inodes of sockets that were bound before its program was started: none of
        them is its own, and none is in its way.
    :param foreign: ports that another process had bound at the last look.
    :param settled: inodes of the sockets that were found to be the run's own.
    :param terminal: a descriptor of the terminal that must be raw; then nothing else is asked.
    """

    main: ProcessIdentity
    run_id: str
    ports: tuple[Port, ...]
    children: int
    sockets: tuple[str, ...] = ()
    bound_before: frozenset[int] = frozenset()
    missing: str = "not looked at yet"
    foreign: set[Place] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    terminal: int | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """The ports and sockets that must be bound."""
        return (*self.ports, *self.sockets)


class Ready(NamedTuple):
    """All is bound, and these are the essential children; the asker owns their pidfds."""

    children: list[Handle]


class Foreign(NamedTuple):
    """At two successive looks, this was bound by a process that is not part of the run."""

    port: Place


ReadinessResult = Ready | Foreign


class ReadinessScan:
    """One look. Tables are read once for all questions, and only if one of them needs them."""

    def __init__(self, questions: Sequence[ReadinessQuery], table: ProcessTable) -> None:
        self._table = table
        # Sockets before processes: the holder of any socket we saw is then in the process table.
        self._sockets = bound_sockets(set(chain.from_iterable(q.ports for q in questions)))
        self._unix = {
            q.main.pid: listening_unix_sockets(q.main.pid) for q in questions if q.sockets
        }

    @cached_property
    def _processes(self) -> ProcessTable:
        return self._table.refresh()

    @cached_property
    def _carriers(self) -> dict[str, list[ProcessStat]]:
        return run_id_carriers()

    def answer(self, question: ReadinessQuery) -> ReadinessResult | None:
        """Answer one question; None means that it must be asked again. May raise OSError."""
        if question.terminal is not None:
            question.missing = "its terminal is not raw"
            return Ready([]) if is_raw(question.terminal) else None
        held = {
            place: found for place in question.places if (found := self._bound(question, place))
        }
        unbound = [str(place) for place in question.places if place not in held]
        inodes = set(chain.from_iterable(held.values()))
        if unbound:
            question.missing = f"{', '.join(unbound)} not bound"
            if inodes <= question.settled:
                return None
        family = self._family(question)
        owned = self._owned(question.main.pid, family)
        strange = {place for place, found in held.items() if found.isdisjoint(owned)}
        if strange or len(family) < question.children:
            family = self._wider_family(question, family)
            owned = self._owned(question.main.pid, family)
            strange = {place for place, found in held.items() if found.isdisjoint(owned)}
        if strange and any(map(hides_descriptors, self._pids(question.main.pid, family))):
            # Bound since the start, and by nobody who can be seen: by the one who hides.
            seen = socket_owners(inodes)
            strange = {place for place in strange if held[place] <= seen.keys()}
        repeated = strange & question.foreign
        question.foreign = strange
        if repeated:
            return Foreign(min(repeated, key=question.places.index))
        question.settled = inodes if not strange else set()
        if unbound or strange:
            return None
        return self._ready(question, family, owned)

    def _bound(self, question: ReadinessQuery, place: Place) -> set[int]:
        """Return the inodes of the sockets that are bound there."""
        if isinstance(place, Port):
            found = self._sockets.get(place, set())
        else:
            found = self._unix[question.main.pid].get(place, set())
        return found - question.bound_before

    def _family(self, question: ReadinessQuery) -> list[ProcessStat]:
        main = question.main
        if not self._processes.holds(main.pid, main.start_time):
            return []
        return self._processes.descendants([main.pid])

    def _wider_family(
        self, question: ReadinessQuery, family: list[ProcessStat]
    ) -> list[ProcessStat]:
        """Add the processes that left the tree but still carry the run id."""
        known = {question.main.pid, *(stat.pid for stat in family)}
        carriers = self._carriers.get(question.run_id, [])
        return [*family, *(stat for stat in carriers if stat.pid not in known)]

    def _owned(self, main: int, family: list[ProcessStat]) -> dict[int, int]:
        """Which of the family (a pid) holds each socket (an inode)."""
        return {inode: pid for pid in self._pids(main, family) for inode in socket_inodes(pid)}

    @staticmethod
    def _pids(main: int, family: list[ProcessStat]) -> tuple[int, ...]:
        return (main, *(stat.pid for stat in family))

    def _ready(
        self, question: ReadinessQuery, family: list[ProcessStat], owned: dict[int, int]
    ) -> Ready | None:
        wanted = chain.from_iterable(self._bound(question, place) for place in question.places)
        holders = {owned.get(inode) for inode in wanted}
        # First the processes that hold the ports, as these do the program's work; then the oldest.
        family.sort(key=lambda stat: (stat.pid not in holders, stat.start_time, stat.pid))
        handles = open_all(family[: question.children])
        if len(handles) == question.children:
            return Ready(handles)
        close_all(handles)
        self._table.clear()
        question.missing = f"{len(handles)} of {question.children} child processes there"
        return None


def look(questions: Sequence[ReadinessQuery], table: ProcessTable) -> list[ReadinessResult | None]:
    """Answer questions in the given order.

    :param table: shared by successive looks: each reads only processes new since the last.
    :raises OSError: the kernel's tables cannot be read; no pidfd is left open.
    """
    answers: list[ReadinessResult | None] = []
    try:
        view = ReadinessScan(questions, table)
        # One by one: answers given before an error are in the list, to be closed.
        answers.extend(view.answer(question) for question in questions)
    except OSError as error:
        for answer in answers:
            discard(answer)
        for question in questions:
            question.missing = f"the kernel's tables cannot be read ({error})"
        raise
    return answers


def discard(answer: ReadinessResult | None) -> None:
    """Close the pidfds of an answer that nobody waits for any more."""
    if isinstance(answer, Ready):
        close_all(answer.children)
