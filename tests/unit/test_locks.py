"""The locks: order of arrival is order of service, and nothing is left behind."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass
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
            try:
                await self.leave.wait()
            finally:
                self.inside = False


class House:
    """A read-write lock with keyed locks behind it, and the order in which visitors got in.

    There are things for the keys a, b and c.
    """

    def __init__(self) -> None:
        self.outer = FairLock()
        self.inner = KeyedLocks(lambda key: key in "abc")
        self.log: list[str] = []
        self.visitors: dict[str, Visitor] = {}

    def come(self, *keys: str, exclusive: bool = False, nameless: bool = False) -> LockRequest:
        wanted = None if nameless else keys
        return LockRequest(self.outer, exclusive=exclusive, inner=self.inner, keys=wanted)

    def wait(self, name: str, entry: LockRequest) -> Visitor:
        self.visitors[name] = Visitor(self.log, name, entry)
        return self.visitors[name]

    def visit(self, name: str, *keys: str, exclusive: bool = False) -> Visitor:
        return self.wait(name, self.come(*keys, exclusive=exclusive))

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
    early = house.come("a")
    late = house.come("a")
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
        async with house.come("a"):
            raise ZeroDivisionError
    async with house.come(exclusive=True):
        pass
    assert house.empty


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("keys", [(), "a", "ab", "xy"])
async def test_a_waiter_who_is_cancelled_makes_room(house, keys, exclusive):
    house.visit("inside", "a", exclusive=True)
    waiter = house.visit("waiter", *keys, exclusive=exclusive)
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
        house.come("a"),
        house.come("a"),
        house.come(nameless=True),
        house.come("x"),
        house.come(exclusive=True),
        house.come(nameless=True),
    ]
    for entry in reversed(entries):
        assert not entry.given_up
        entry.leave()
        entry.leave()
        assert entry.given_up
    assert house.empty


# Several keys -------------------------------------------------------------------


async def test_several_keys_are_had_in_one_moment_or_not_at_all(house):
    house.visit("a", "a")
    house.visit("abc", "a", "b", "c")
    house.visit("b", "b")
    house.visit("bc", "b", "c")
    await settled()
    # What it cannot have yet is kept for it, and by nobody held.
    assert house.inside() == {"a"}
    await house.let_go("a")
    assert house.inside() == {"abc"}
    await house.let_go("abc")
    assert house.inside() == {"b"}
    await house.let_go("b")
    assert house.inside() == {"bc"}


async def test_those_with_other_keys_do_not_wait(house):
    house.visit("ab", "a", "b")
    house.visit("c", "c")
    house.visit("bc", "b", "c")
    await settled()
    assert house.inside() == {"ab", "c"}
    await house.let_go("ab")
    assert house.inside() == {"c"}
    await house.let_go("c")
    assert house.inside() == {"bc"}


async def test_a_key_that_is_named_twice_is_one(house):
    house.visit("a", "a", "a")
    house.visit("next", "a")
    house.visit("b", "b", "b")
    await settled()
    assert house.inside() == {"a", "b"}
    await house.let_go("b")
    await house.let_go("a")
    assert house.inside() == {"next"}


# Keys that are named later ------------------------------------------------------


async def test_one_who_names_a_key_later_comes_before_those_behind(house):
    house.visit("inside", "a")
    early = house.come(nameless=True)
    house.visit("behind", "a")
    await settled()
    early.narrow("a")
    house.wait("early", early)
    await house.let_go("inside")
    assert house.inside() == {"early"}
    await house.let_go("early")
    assert house.inside() == {"behind"}


async def test_one_who_names_a_key_too_late_waits_for_whoever_is_inside(house):
    early = house.come(nameless=True)
    house.visit("inside", "a")
    house.visit("behind", "a")
    await settled()
    assert house.inside() == {"inside"}
    early.narrow("a")
    house.wait("early", early)
    await settled()
    assert house.inside() == {"inside"}
    await house.let_go("inside")
    assert house.inside() == {"early"}


@pytest.mark.parametrize("named", ["x", "y", "a", ""])
async def test_a_key_without_a_thing_is_kept_for_whoever_may_name_it(house, named):
    house.visit("before", "x")
    early = house.come(nameless=True)
    house.visit("behind", "x")
    house.visit("other", "a")
    house.visit("both", "b", "x")
    await house.let_go("before", "other")
    assert house.inside() == set()
    early.narrow(*named)
    house.wait("early", early)
    await settled()
    assert house.inside() == ({"early"} if named == "x" else {"early", "behind"})
    await house.let_go("early")
    assert house.inside() == {"behind"}
    await house.let_go("behind")
    assert house.inside() == {"both"}


async def test_a_key_is_kept_until_all_have_named_theirs_or_left(house):
    first, second = house.come(nameless=True), house.come(nameless=True)
    house.visit("x", "x")
    late = house.come(nameless=True)
    await settled()
    assert house.inside() == set()
    second.leave()
    await settled()
    assert house.inside() == set()
    first.leave()
    await settled()
    assert house.inside() == {"x"}
    late.leave()


async def test_a_place_is_named_before_its_turn_as_well(house):
    house.visit("alone", exclusive=True)
    early = house.come(nameless=True)
    house.visit("behind", "x")
    early.narrow("x")
    house.wait("early", early)
    await house.let_go("alone")
    assert house.inside() == {"early"}


async def test_several_keys_named_late_make_nobody_wait_in_a_circle(house):
    house.visit("a", "a")
    early = house.come(nameless=True)
    house.visit("ab", "a", "b")
    house.visit("bc", "b", "c")
    early.narrow("b", "a")
    house.wait("early", early)
    for name in ("a", "early", "ab", "bc"):
        await settled()
        assert house.inside() == {name}
        await house.let_go(name)


# Places that were wider than needed ----------------------------------------------


async def widening(house: House, name: str, first: str, more: str, go: asyncio.Event) -> None:
    """Visit for one key, and want another one as well once the event is set."""
    entry = house.come(first)
    async with entry:
        await go.wait()
        await entry.widen(more)
        assert entry.keys == (first, more)
        house.log.append(name)


async def test_one_who_wants_more_keeps_its_place(house):
    go = asyncio.Event()
    house.visit("1", "b")
    wide = asyncio.create_task(widening(house, "2", "a", "b", go))
    await settled()
    for name, key in (("3", "a"), ("4", "b")):
        house.visit(name, key)
    go.set()
    await settled()
    assert house.log == ["1"]
    await house.let_go("1")
    await wide
    await settled()
    assert house.log == ["1", "2", "3", "4"]


@pytest.mark.parametrize("late", ["first", "second"])
async def test_two_who_want_what_the_other_has_go_one_after_the_other(house, late):
    events = {"first": asyncio.Event(), "second": asyncio.Event()}
    one = asyncio.create_task(widening(house, "1", "a", "b", events["first"]))
    await settled()
    other = asyncio.create_task(widening(house, "2", "b", "a", events["second"]))
    await settled()
    events.pop("second" if late == "first" else "first").set()
    await settled()
    assert house.log == []
    events[late].set()
    await asyncio.gather(one, other)
    assert house.log == ["1", "2"]


async def test_one_who_gives_up_wanting_more_leaves_nothing_behind(house):
    go = asyncio.Event()
    house.visit("1", "b")
    wide = asyncio.create_task(widening(house, "2", "a", "b", go))
    await settled()
    house.visit("3", "a")
    go.set()
    await settled()
    wide.cancel()
    await settled()
    assert house.log == ["1", "3"]


@pytest.mark.parametrize("seed", range(5))
async def test_any_number_of_those_who_want_more_come_to_an_end(house, seed):
    dice = random.Random(seed)
    inside: set[str] = set()

    async def visit() -> None:
        keys = dice.sample("abc", dice.choice([1, 2]))
        entry = house.come(*keys)
        async with entry:
            for _ in range(dice.choice([0, 1, 2])):
                await asyncio.sleep(0)
                await entry.widen(*dice.sample("abc", 1))
            assert not inside & set(entry.keys)
            inside.update(entry.keys)
            await asyncio.sleep(0)
            inside.difference_update(entry.keys)

    await asyncio.gather(*(visit() for _ in range(200)))


async def test_one_who_waits_to_be_alone_and_need_not_be_gets_in(house):
    house.visit("a", "a")
    wide = house.come(exclusive=True, nameless=True)
    house.visit("behind", "b")
    house.visit("next", "c")
    await settled()
    assert house.inside() == {"a"}
    wide.narrow("c")
    house.wait("wide", wide)
    await settled()
    assert house.inside() == {"a", "wide", "behind"}


async def test_one_who_is_alone_and_need_not_be_lets_others_in(house):
    wide = house.come(exclusive=True, nameless=True)
    house.visit("behind", "b")
    house.visit("next", "c")
    house.visit("alone", exclusive=True)
    await settled()
    assert (wide.turn.done(), house.inside()) == (True, set())
    wide.narrow("c")
    house.wait("wide", wide)
    await settled()
    assert house.inside() == {"wide", "behind"}


async def test_a_place_that_was_given_up_cannot_be_narrowed(house):
    entry = house.come(nameless=True)
    entry.leave()
    with pytest.raises(RuntimeError, match="given up"):
        entry.narrow("a")


# Bookkeeping --------------------------------------------------------------------


@pytest.mark.statement("LOCK-05")
async def test_keys_are_forgotten_when_nobody_uses_them(house):
    for number in range(100):
        house.visit(f"{number}", f"key {number % 10}")
    await settled()
    assert len(house.inner) == 10
    await house.let_go()
    assert len(house.inner) == 0


@dataclass(eq=False)
class Guest:
    """A visitor of the mixture.

    :param keys: ``None`` before it has told them.
    :param told: how many had got in when it told them.
    """

    entry: LockRequest
    keys: frozenset[str] | None
    alone: bool = False
    told: int = 0

    def is_in_the_way_of(self, other: Guest) -> bool:
        shared = (self.keys or frozenset()) & (other.keys or frozenset())
        return self.alone or other.alone or bool(shared)


class Mixture:
    """Visitors of all kinds, in the order of their places, and what they may expect."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.dice = random.Random(seed)
        self.guests: dict[str, Guest] = {}

    def come(self, name: str) -> None:
        """One more visitor takes a place."""
        kind = self.dice.choices(["keys", "nameless", "alone", "wide"], [12, 3, 1, 1])[0]
        keys = self.draw() if kind == "keys" else []
        exclusive, nameless = kind in ("alone", "wide"), kind != "keys"
        entry = self.house.come(*keys, exclusive=exclusive, nameless=nameless)
        if kind in ("nameless", "wide"):
            self.guests[name] = Guest(entry, None)
        else:
            self.guests[name] = Guest(entry, frozenset(keys), alone=kind == "alone")
            self.house.wait(name, entry)

    def draw(self) -> list[str]:
        """Some keys, most often one; there is no thing for x and y."""
        return self.dice.sample("abcxy", self.dice.choice([0, 1, 1, 1, 2, 3]))

    def settle(self, name: str) -> None:
        """A visitor tells what it wants, or goes on or away."""
        guest = self.guests[name]
        if guest.keys is None:
            if self.dice.random() < 0.2:
                guest.keys = frozenset()
                guest.entry.leave()
                return
            keys = self.draw()
            guest.keys, guest.told = frozenset(keys), len(self.house.log)
            guest.entry.narrow(*keys)
            self.house.wait(name, guest.entry)
        elif name in self.house.visitors:
            visitor = self.house.visitors[name]
            if self.dice.random() < 0.2:
                visitor.task.cancel()
            else:
                visitor.leave.set()

    def check_inside(self) -> None:
        """None is in the way of another."""
        inside = [self.guests[name] for name in self.house.inside()]
        for one, other in itertools.combinations(inside, 2):
            assert not one.is_in_the_way_of(other)

    def check_order(self) -> None:
        """Nobody got in before one who had come, and told what it wanted, earlier."""
        position = {name: number for number, name in enumerate(self.house.log)}
        came = [name for name in self.guests if name in position]
        for first, second in itertools.combinations(came, 2):
            one, other = self.guests[first], self.guests[second]
            if one.is_in_the_way_of(other):
                too_late = one.told > position[second] and not other.alone
                assert position[first] < position[second] or too_late


@pytest.mark.parametrize("seed", range(5))
async def test_any_mixture_of_visitors_comes_to_an_end(house, seed):
    mixture = Mixture(house, seed)
    for number in range(300):
        mixture.come(f"{number}")
        # Let it begin: a task that is cancelled before that can give no place back.
        await asyncio.sleep(0)
        for _ in range(2):
            mixture.settle(f"{mixture.dice.randint(max(0, number - 20), number)}")
            await asyncio.sleep(0)
        mixture.check_inside()
    while any(guest.keys is None for guest in mixture.guests.values()):
        for name in mixture.guests:
            mixture.settle(name)
        await settled()
    await house.let_go()
    tasks = [visitor.task for visitor in house.visitors.values()]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in done)
    assert len(set(house.log)) == len(house.log)
    assert 100 < len(house.log) < 300
    mixture.check_order()


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
