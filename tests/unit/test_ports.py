"""The port pools: who may have which port, and who may not."""

import asyncio
import os
import socket

import pytest

from gns3server.errors import Conflict
from gns3server.ports import Holder, PortPool, Ports, Use, can_bind
from gns3server.testing.port_blocks import PORT_BLOCK, PortBlock, claimed_ports

ONE, TWO = "project-one", "project-two"
TYPES = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


@pytest.fixture
def block():
    """Ports that no other test has."""
    with claimed_ports() as ports:
        yield ports


@pytest.fixture
def foreign():
    """Binds ports as another program would: ``foreign("UDP", 10000)``."""
    taken = []

    def bind(kind: str, port: int, address: str = "0.0.0.0") -> socket.socket:
        taken.append(socket.socket(socket.AF_INET, TYPES[kind]))
        if kind == "TCP":
            # As servers do it: a connection of an earlier test may still fade out here.
            taken[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken[-1].bind((address, port))
        if kind == "TCP":
            taken[-1].listen()
        return taken[-1]

    yield bind
    for sock in taken:
        sock.close()


def pool(kind: str, block: PortBlock, count: int = 20, companions: tuple[int, ...] = ()):
    return PortPool(kind, block.first, block.first + count - 1, companions)


async def can_bind_here(kind: str, port: int) -> bool:
    """What the local machine answers."""
    return can_bind(kind, port)


async def allocate(pool: PortPool, holder: Holder) -> int:
    return await pool.allocate(holder, can_bind_here)


def console(node: str, project: str = ONE) -> Holder:
    return Holder(project, Use.CONSOLE, node)


def nio(node: str, project: str = ONE, detail: str = "0/0") -> Holder:
    return Holder(project, Use.NIO, node, detail)


def running(node: str, project: str = ONE) -> Holder:
    return Holder(project, Use.RUNNING, node)


def allocated(project: str = ONE) -> Holder:
    return Holder(project, Use.ALLOCATED)


# Handing out ------------------------------------------------------------------


@pytest.mark.statement("PORT-04", "PORT-08")
@pytest.mark.parametrize("kind", ["TCP", "UDP"])
async def test_the_lowest_port_that_is_free_comes_first(kind, block, foreign):
    ports = pool(kind, block)
    foreign(kind, block.first + 1)
    assert await allocate(ports, allocated()) == block.first
    assert await allocate(ports, allocated()) == block.first + 2
    ports.release(block.first, allocated())
    assert await allocate(ports, allocated(TWO)) == block.first
    assert len(ports) == 2


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
async def test_a_port_that_is_bound_on_one_address_only_is_not_free_either(kind, block, foreign):
    foreign(kind, block.first, "127.0.0.1")
    assert not can_bind(kind, block.first)
    assert await allocate(pool(kind, block), allocated()) == block.first + 1


async def test_a_port_that_others_bound_with_address_reuse_is_not_free(block):
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", block.first))
        assert await allocate(pool("UDP", block), allocated()) == block.first + 1


def test_a_connection_that_lingers_is_no_obstacle(block):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", block.first))
        listener.listen()
        with socket.create_connection(("127.0.0.1", block.first)):
            # The side that closes first is the one that lingers.
            listener.accept()[0].close()
    assert can_bind("TCP", block.first)


# A machine that takes its time -------------------------------------------------


class SlowMachine:
    """Answers when it is told to: ``answers`` are what it was asked and has not answered."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[tuple[int, asyncio.Future[bool]]] = asyncio.Queue()

    async def can_bind(self, kind: str, port: int) -> bool:
        answer = asyncio.get_running_loop().create_future()
        self.answers.put_nowait((port, answer))
        free: bool = await answer
        return free


async def test_two_allocations_at_once_get_two_ports_the_lowest_first(block):
    ports, machine = pool("UDP", block), SlowMachine()
    both = [asyncio.create_task(ports.allocate(allocated(), machine.can_bind)) for _ in range(2)]
    for port, free in ((0, False), (1, True), (0, True)):
        asked, answer = await machine.answers.get()
        assert asked == block.first + port
        assert machine.answers.empty()
        answer.set_result(free)
    assert [await one for one in both] == [block.first + 1, block.first]


async def test_a_port_that_a_machine_is_asked_about_is_nobody_elses(block):
    ports, machine = pool("TCP", block), SlowMachine()
    allocation = asyncio.create_task(ports.allocate(console("one"), machine.can_bind))
    _, answer = await machine.answers.get()
    with pytest.raises(Conflict, match="VM one"):
        ports.hold(block.first, console("two"))
    answer.set_result(True)
    assert await allocation == block.first


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OSError("no answer")])
async def test_a_machine_that_gives_no_answer_leaves_nothing_reserved(block, error):
    ports, machine = pool("TCP", block), SlowMachine()
    allocation = asyncio.create_task(ports.allocate(console("one"), machine.can_bind))
    _, answer = await machine.answers.get()
    answer.set_exception(error)
    with pytest.raises(type(error)):
        await allocation
    assert not ports.reserved
    assert await allocate(ports, console("two")) == block.first


# The ports of tests -------------------------------------------------------------


def test_a_test_gets_no_ports_of_which_anybody_has_one(foreign):
    # Beside all other blocks, and beside those of whoever else runs this test.
    first = 32000 + os.getpid() % 200
    blocks, last = range(first, first + PORT_BLOCK, PORT_BLOCK), first + PORT_BLOCK - 1
    with claimed_ports(blocks) as ports:
        assert ports == PortBlock(first, last)
        with pytest.raises(RuntimeError, match="in use"), claimed_ports(blocks):
            pass
    for kind in TYPES:
        taken = foreign(kind, last)
        with pytest.raises(RuntimeError, match="in use"), claimed_ports(blocks):
            pass
        if kind == "TCP":
            with socket.create_connection(("127.0.0.1", last)):
                taken.accept()[0].close()
        taken.close()
        # A connection that fades out is in nobody's way.
        with claimed_ports(blocks):
            pass


@pytest.mark.statement("PORT-09")
@pytest.mark.parametrize("kind", ["TCP", "UDP"])
async def test_a_range_is_used_to_its_very_last_port_and_then_refused(kind, block, foreign):
    ports = pool(kind, block, count=3)
    foreign(kind, block.first + 1)
    assert [await allocate(ports, allocated()) for _ in range(2)] == [block.first, block.first + 2]
    with pytest.raises(Conflict, match=f"No free {kind} port is left between {block.first} and"):
        await allocate(ports, allocated())
    assert len(ports) == 2


@pytest.mark.statement("PORT-05")
def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(Conflict, match="2000-1999"):
        PortPool("TCP", 2000, 1999)
    assert PortPool("TCP", 2000, 2000).last == 2000


# Companions -------------------------------------------------------------------


async def test_ports_at_a_companions_distance_are_skipped_in_both_directions(block):
    ports = pool("UDP", block, companions=(9,))
    got = [await allocate(ports, allocated()) - block.first for _ in range(10)]
    assert got == [*range(9), 18]
    ports.release(block.first + 18, allocated())
    ports.release(block.first, allocated())
    # 9 is free of its lower neighbour now, and blocks 0 and 18 in turn.
    assert await allocate(ports, allocated()) == block.first
    ports.release(block.first, allocated())
    ports.hold(block.first + 9, nio("a"))
    assert await allocate(ports, allocated()) == block.first + 19


@pytest.mark.parametrize("companions", [(), (0,)])
async def test_without_companions_every_port_is_handed_out(companions, block):
    ports = pool("UDP", block, count=12, companions=companions)
    assert [await allocate(ports, allocated()) for _ in range(12)] == [
        *range(block.first, block.first + 12)
    ]


async def test_a_companion_of_a_running_process_is_neither_handed_out_nor_run_on(block):
    ports = pool("UDP", block)
    ports.hold_companion(block.first, running("a"))
    assert await allocate(ports, allocated()) == block.first + 1
    ports.hold(block.first, nio("b"))
    with pytest.raises(Conflict, match="the running process of VM a"):
        ports.hold(block.first, running("b"))
    ports.hold(block.first, running("a"))
    ports.release(block.first, running("a"))
    ports.hold(block.first, running("b"))


async def test_a_companion_is_noted_even_where_the_port_is_taken(block):
    ports = pool("UDP", block)
    ports.hold(block.first, nio("b", TWO))
    ports.hold_companion(block.first, running("a"))
    ports.release(block.first, nio("b", TWO))
    assert await allocate(ports, allocated()) == block.first + 1


# Clashes ----------------------------------------------------------------------

CLASHES = [
    ("TCP", console("a"), console("b"), True),
    ("TCP", console("a"), console("a", TWO), True),
    ("TCP", console("a"), running("b"), True),
    ("TCP", running("a"), console("b"), True),
    ("TCP", console("a"), running("a"), False),
    ("TCP", running("a"), console("a"), False),
    ("TCP", console("a"), console("a"), False),
    ("UDP", allocated(), allocated(TWO), True),
    ("UDP", allocated(), nio("a", TWO), True),
    ("UDP", nio("a"), nio("b", TWO), True),
    ("UDP", nio("a"), running("b", TWO), True),
    ("UDP", running("a"), running("b"), True),
    ("UDP", running("a"), nio("b"), False),
    ("UDP", allocated(), nio("a"), False),
    ("UDP", nio("a"), nio("b"), False),
    ("UDP", nio("a"), nio("a", detail="0/1"), False),
    ("UDP", nio("a"), running("b"), False),
    ("UDP", running("a"), running("a"), False),
]


@pytest.mark.statement("PORT-01", "PORT-02")
@pytest.mark.parametrize(
    ("kind", "first", "second", "clash"),
    CLASHES,
    ids=lambda value: value.describe() if isinstance(value, Holder) else str(value),
)
def test_who_may_hold_a_port_that_somebody_has(kind, first, second, clash, block):
    ports = pool(kind, block)
    ports.hold(block.first, first)
    if clash:
        with pytest.raises(Conflict) as refused:
            ports.hold(block.first, second)
        assert f"{kind} port {block.first} already in use on this host" in refused.value.message
        assert first.describe() in refused.value.message
        assert ports.holders(block.first) == {first}
    else:
        ports.hold(block.first, second)
        assert ports.holders(block.first) == {first, second}


@pytest.mark.statement("PORT-15")
def test_a_port_that_is_asked_for_need_not_be_of_the_range_nor_free_of_others(block, foreign):
    ports = pool("TCP", block, count=1)
    foreign("TCP", block.first + 5)
    ports.hold(block.first + 5, console("a"))
    assert ports.holders(block.first + 5) == {console("a")}


# Giving back --------------------------------------------------------------------


@pytest.mark.statement("PORT-03", "PORT-14")
async def test_a_port_is_free_once_its_last_holder_lets_go(block):
    ports = pool("UDP", block)
    for holder in (allocated(), nio("a"), running("a")):
        ports.hold(block.first, holder)
    for holder in (allocated(), nio("a")):
        ports.release(block.first, holder)
        assert await allocate(ports, allocated(TWO)) == block.first + 1
        ports.release(block.first + 1, allocated(TWO))
    ports.release(block.first, running("a"))
    ports.release(block.first, running("a"))
    assert await allocate(ports, allocated(TWO)) == block.first


def test_releasing_takes_nothing_from_others(block):
    ports = pool("UDP", block)
    ports.hold(block.first, nio("a"))
    for stranger in (nio("b"), nio("a", TWO), nio("a", detail="0/1"), running("a"), allocated()):
        ports.release(block.first, stranger)
    assert ports.holders(block.first) == {nio("a")}


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({}, {allocated(TWO)}),
        ({"use": Use.ALLOCATED}, {nio("a"), nio("b"), running("a"), allocated(TWO)}),
        ({"node_id": "a"}, {allocated(), nio("b"), allocated(TWO)}),
        ({"port": 1}, {allocated(), nio("a"), running("a"), allocated(TWO)}),
    ],
)
def test_release_where_takes_exactly_what_matches(wanted, left, block):
    ports = pool("UDP", block)
    base = block.first
    holders = [allocated(), nio("a"), running("a"), nio("b"), allocated(TWO)]
    for offset, holder in zip((0, 0, 0, 1, 2), holders, strict=True):
        ports.hold(base + offset, holder)
    if "port" in wanted:
        wanted = {"port": base + wanted["port"]}
    ports.release_where(ONE, **wanted)
    assert {h for port in range(base, base + 3) for h in ports.holders(port)} == left


@pytest.mark.statement("PORT-11")
def test_a_project_gives_back_all_it_has_of_both_kinds(block):
    ports = Ports(pool("TCP", block), pool("UDP", block))
    ports.tcp.hold(block.first, console("a"))
    ports.udp.hold(block.first, nio("a"))
    ports.udp.hold_companion(block.first + 9, running("a"))
    ports.udp.hold(block.first + 1, allocated(TWO))
    ports.release_project(ONE)
    assert (len(ports.tcp), len(ports.udp)) == (0, 1)
    ports.udp.hold(block.first + 9, running("b", TWO))
    assert ports.pool("tcp") is ports.tcp
    assert ports.pool("udp") is ports.udp
