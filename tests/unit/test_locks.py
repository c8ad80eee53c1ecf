"""The locks: order of arrival is order of service, and nothing is left behind."""

import asyncio
import itertools
import random
from functools import partial

import pytest

from gns3server.locks import FairLock, KeyedLocks, LockRequest


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


class Visitor:
    """Enters, notes that, and leaves when told to."""

    def __init__(self, log: list[str], name: str, entry: LockRequest) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(log, name, entry))

    async def _visit(self, log: list[str], name: str, entry: LockRequest) -> None:
        async with entry:
            self.inside = True
            log.append(name)
            await self.leave.wait()
            self.inside = False


class House:
    """A read-write lock with keyed locks behind it, and the order in which visitors got in."""

    def __init__(self) -> None:
        self.outer = FairLock()
        self.inner = KeyedLocks()
        self.log: list[str] = []
        self.visitors: dict[str, Visitor] = {}

    def visit(self, name: str, key: str | None = None, *, exclusive: bool = False) -> Visitor:
        entry = LockRequest(self.outer, exclusive=exclusive, inner=self.inner, key=key)
        self.visitors[name] = Visitor(self.log, name, entry)
        return self.visitors[name]

    def inside(self) -> set[str]:
        return {name for name, visitor in self.visitors.items() if visitor.inside}

    async def let_go(self, *names: str) -> None:
        for name in names or self.visitors:
            self.visitors[name].leave.set()
        await settled()

    @property
    def empty(self) -> bool:
        return self.outer.idle and len(self.inner) == 0


@pytest.fixture
async def house():
    """A house that must be empty in the end."""
    house = House()
    yield house
    await house.let_go()
    assert all(visitor.task.done() for visitor in house.visitors.values())
    assert house.empty


async def test_shared_visitors_are_inside_together_an_exclusive_one_alone(house):
    for name in ("a", "b"):
        house.visit(name)
    house.visit("alone", exclusive=True)
    house.visit("c")
    house.visit("d")
    await settled()
    assert house.inside() == {"a", "b"}
    await house.let_go("a")
    assert house.inside() == {"b"}
    await house.let_go("b")
    assert house.inside() == {"alone"}
    await house.let_go("alone")
    assert house.inside() == {"c", "d"}


async def test_nobody_overtakes_an_exclusive_visitor_who_waits(house):
    house.visit("a")
    house.visit("first", exclusive=True)
    house.visit("second", exclusive=True)
    house.visit("b")
    await house.let_go("a")
    assert house.inside() == {"first"}
    await house.let_go("first")
    assert house.inside() == {"second"}
    await house.let_go("second")
    assert house.log == ["a", "first", "second", "b"]


@pytest.mark.statement("LOCK-01", "LOCK-02")
async def test_one_key_is_served_in_order_and_others_overlap(house):
    for name in ("a1", "b1", "a2", "a3", "b2"):
        house.visit(name, name[0])
    house.visit("keyless")
    await settled()
    assert house.inside() == {"a1", "b1", "keyless"}
    await house.let_go("b1")
    assert house.inside() == {"a1", "b2", "keyless"}
    await house.let_go("a1")
    assert house.inside() == {"a2", "b2", "keyless"}
    await house.let_go("a2")
    assert [name for name in house.log if name[0] == "a"] == ["a1", "a2", "a3"]


async def test_the_place_is_taken_by_the_constructor_not_by_the_wait(house):
    early = LockRequest(house.outer, inner=house.inner, key="a")
    late = LockRequest(house.outer, inner=house.inner, key="a")
    order = []

    async def pass_through(name: str, entry: LockRequest) -> None:
        async with entry:
            order.append(name)

    # The late one awaits first and is still served second.
    second = asyncio.create_task(pass_through("late", late))
    await settled()
    assert order == []
    await pass_through("early", early)
    await second
    assert order == ["early", "late"]


async def test_those_who_waited_outside_keep_their_order_inside(house):
    house.visit("alone", exclusive=True)
    names = [f"{key}{number}" for number in range(4) for key in "ab"]
    for name in names:
        house.visit(name, name[0])
    await house.let_go("alone")
    for name in names:
        await house.let_go(name)
    assert [n for n in house.log if n[0] == "a" and n != "alone"] == ["a0", "a1", "a2", "a3"]
    assert [n for n in house.log if n[0] == "b"] == ["b0", "b1", "b2", "b3"]


async def test_an_exclusive_visitor_waits_for_those_who_queue_for_a_key(house):
    house.visit("a1", "a")
    house.visit("a2", "a")
    house.visit("alone", exclusive=True)
    await house.let_go("a1")
    assert house.inside() == {"a2"}
    await house.let_go("a2")
    assert house.inside() == {"alone"}


# Going away ---------------------------------------------------------------------


@pytest.mark.statement("LOCK-03")
async def test_a_visitor_who_fails_leaves_the_lock(house):
    with pytest.raises(ZeroDivisionError):
        async with LockRequest(house.outer, inner=house.inner, key="a"):
            raise ZeroDivisionError
    async with LockRequest(house.outer, exclusive=True):
        pass
    assert house.empty


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("key", ["a", None])
async def test_a_waiter_who_is_cancelled_makes_room(house, key, exclusive):
    house.visit("inside", "a", exclusive=True)
    waiter = house.visit("waiter", key, exclusive=exclusive)
    house.visit("next", "a")
    await settled()
    waiter.task.cancel()
    await asyncio.wait([waiter.task])
    assert house.inside() == {"inside"}
    await house.let_go("inside")
    assert house.inside() == {"next"}
    assert "waiter" not in house.log


async def test_a_waiter_for_a_key_who_is_cancelled_lets_an_exclusive_one_in(house):
    house.visit("a1", "a")
    waiter = house.visit("a2", "a")
    house.visit("alone", exclusive=True)
    await settled()
    waiter.task.cancel()
    await house.let_go("a1")
    assert house.inside() == {"alone"}


async def test_cancelled_in_the_moment_of_the_turn_the_place_is_passed_on(house):
    house.visit("inside", "a")
    waiter = house.visit("waiter", "a")
    house.visit("next", "a")
    await settled()
    # The turn is granted first, then the waiter is cancelled before it has run.
    house.visitors["inside"].leave.set()
    while not house.visitors["inside"].task.done():
        await asyncio.sleep(0)
        if waiter.inside:
            pytest.fail("it got in before it could be cancelled")
        waiter.task.cancel()
    await settled()
    assert house.inside() == {"next"}


async def test_an_entry_that_was_never_awaited_can_be_given_back(house):
    entries = [
        LockRequest(house.outer, inner=house.inner, key="a"),
        LockRequest(house.outer, inner=house.inner, key="a"),
        LockRequest(house.outer, exclusive=True),
    ]
    for entry in reversed(entries):
        entry.leave()
        entry.leave()
    assert house.empty


# Bookkeeping --------------------------------------------------------------------


@pytest.mark.statement("LOCK-05")
async def test_keys_are_forgotten_when_nobody_uses_them(house):
    for number in range(100):
        house.visit(f"{number}", f"key {number % 10}")
    await settled()
    assert len(house.inner) == 10
    await house.let_go()
    assert len(house.inner) == 0


async def test_any_mixture_of_visitors_comes_to_an_end(house):
    dice = random.Random(20)
    for number in range(300):
        key = dice.choice(["a", "b", "c", None])
        house.visit(f"{number}", key, exclusive=dice.random() < 0.1)
        await asyncio.sleep(0)
        someone = house.visitors[f"{dice.randint(0, number)}"]
        if dice.random() < 0.2:
            someone.task.cancel()
        else:
            someone.leave.set()
    await house.let_go()
    tasks = [visitor.task for visitor in house.visitors.values()]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in done)
    assert len(set(house.log)) == len(house.log)
    assert 100 < len(house.log) < 300


def test_a_turn_is_granted_by_a_plain_call():
    lock = FairLock()
    order: list[int] = []
    turns = [
        lock.join(exclusive, partial(order.append, number))
        for number, exclusive in enumerate([True, False, False, True])
    ]
    assert order == [0]
    lock.leave(turns[0])
    assert order == [0, 1, 2]
    for first, second in itertools.pairwise(turns[1:]):
        assert first.inside
        lock.leave(first)
        assert second.inside
    lock.leave(turns[3])
    assert lock.idle
