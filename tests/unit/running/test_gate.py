"""The start gate: bounded, in order, and no place is ever lost."""

import asyncio

import pytest

from gns3server.running.gate import StartGate

NEVER = 3600.0


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


class Visitor:
    def __init__(self, gate: StartGate) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate))

    async def _visit(self, gate: StartGate) -> None:
        async with gate.slot():
            self.inside = True
            await self.leave.wait()


async def places(gate: StartGate) -> int:
    """How many are let in."""
    visitors = [Visitor(gate) for _ in range(10)]
    await settled()
    inside = sum(visitor.inside for visitor in visitors)
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
    return inside


async def test_lets_in_as_many_as_there_are_places_in_order() -> None:
    gate = StartGate(2, hold_limit=NEVER)
    visitors = [Visitor(gate) for _ in range(5)]
    await settled()
    assert [visitor.inside for visitor in visitors] == [True, True, False, False, False]
    assert gate.waiting == 3
    visitors[1].leave.set()
    await settled()
    assert [visitor.inside for visitor in visitors] == [True, True, True, False, False]
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
    assert gate.waiting == 0
    assert await places(gate) == 2


async def test_a_place_that_is_held_too_long_goes_to_the_next() -> None:
    gate = StartGate(1, hold_limit=0.01)
    slow = Visitor(gate)
    await settled()
    assert slow.inside
    async with gate.slot():
        assert not slow.task.done()
    slow.leave.set()
    await slow.task
    # Its place came back once, not twice.
    assert await places(gate) == 1


async def test_a_waiter_who_goes_away_costs_no_place() -> None:
    gate = StartGate(1, hold_limit=NEVER)
    first, second, third = (Visitor(gate) for _ in range(3))
    await settled()
    second.task.cancel()
    await settled()
    assert gate.waiting == 1
    first.leave.set()
    await settled()
    assert third.inside
    third.leave.set()
    await third.task


async def test_a_place_given_to_one_who_goes_away_is_passed_on() -> None:
    gate = StartGate(1, hold_limit=NEVER)
    async with gate.slot():
        second, third = Visitor(gate), Visitor(gate)
        await settled()
    # Second has been given the place, but has not run since.
    second.task.cancel()
    await settled()
    assert third.inside
    assert not second.inside
    third.leave.set()
    await third.task


async def test_an_error_in_the_block_gives_the_place_back() -> None:
    gate = StartGate(1, hold_limit=NEVER)
    with pytest.raises(ZeroDivisionError):
        async with gate.slot():
            raise ZeroDivisionError
    assert await places(gate) == 1


def test_refuses_a_gate_without_places() -> None:
    with pytest.raises(ValueError, match="slots"):
        StartGate(0)
