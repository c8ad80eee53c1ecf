"""VPCS on a terminal of its own, served by the console server: what is special about it.

``GNS3_TEST_VPCS`` names another program than the installed one, to see how other versions behave.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from console_process import ConsoleProcess, Controller, Viewer, console_process
from gns3server_vpcs.node import KEYS

from gns3server.testing import claimed_ports

RULES = asdict(KEYS)

WIRE = 20
"""How far two local UDP ports are apart: each PC also binds the one at 9."""

Look = Callable[[], Awaitable[Viewer]]


@pytest.fixture
def program(vpcs_program: str) -> str:
    """The program under test."""
    return os.environ.get("GNS3_TEST_VPCS", vpcs_program)


@pytest.fixture
async def consoles() -> AsyncIterator[ConsoleProcess]:
    """A console server."""
    with claimed_ports() as ports:
        async with console_process(ports.first) as running:
            yield running


@pytest.fixture
async def controller(consoles: ConsoleProcess) -> Controller:
    """Whoever controls it."""
    return await consoles.controller()


@pytest.fixture
async def look(
    consoles: ConsoleProcess, controller: Controller, program: str, tmp_path: Path
) -> Look:
    """Connects to the console of a PC whose wire ends in itself, and so pings itself."""
    wanted = consoles.console("pc", input=RULES)
    await controller.state(wanted)
    port = str(consoles.port())
    wire = ("-s", port, "-c", port, "-t", "127.0.0.1")
    await consoles.run(controller, "pc", program, "-m", "1", "-i", "1", "-F", *wire, cwd=tmp_path)

    async def look() -> Viewer:
        viewer = await consoles.viewer(wanted["port"])
        await viewer.until(b"VPCS> ")
        return viewer

    return look


async def test_client_that_comes_late_sees_banner_and_prompt(look: Look) -> None:
    first = await look()
    assert b"Welcome to Virtual PC Simulator" in first.shown
    second = await look()
    assert second.shown == first.shown


@pytest.mark.parametrize("command", [b"disconnect", b"di", b"disc", b"disconnect now", b" di"])
async def test_client_that_disconnects_is_told_good_bye_and_goes_alone(
    look: Look, command: bytes
) -> None:
    leaving, staying = await look(), await look()
    leaving.type(command + b"\r\n")
    assert (await leaving.end()) == command + b"\r\nGood-bye\r\n"
    staying.type(b"echo still here\r\n")
    shown = await staying.until(b"still here\r\nstill here")
    assert b"daemon" not in shown
    assert b"Good-bye" not in shown


async def test_command_from_the_history_disconnects_as_well(look: Look) -> None:
    first, second = await look(), await look()
    first.type(b"disconnect\r")
    await first.end()
    await second.until(b"VPCS> ")
    second.type(b"\x1b[A")
    await second.until(b"disconnect")
    second.type(b"\r")
    assert await second.end() == b"\r\nGood-bye\r\n"


async def test_nothing_that_only_looks_like_it_disconnects(look: Look) -> None:
    viewer = await look()
    # In 0.5b2 no name is longer than five characters.
    for name in (b"di", b"disco", b"disconnect"):
        viewer.type(b"set pcname %s\r\n" % name)
        await viewer.until(b"> ")
        viewer.type(b"echo NOT daemon mode\r\n")
        await viewer.until(b"\nNOT daemon mode\r\n")
        await viewer.until(b"> ")
    for command in (b"DISCONNECT", b"disconnected", b"d"):
        viewer.type(command + b"\r\n")
        await viewer.until(command + b"\r\n")
        await viewer.until(b"> ")
    viewer.type(b"di\r")
    assert await viewer.end() == b"di\r\nGood-bye\r\n"


async def test_quit_ends_the_pc(look: Look, controller: Controller) -> None:
    viewer, another = await look(), await look()
    viewer.type(b"quit\r\n")
    await viewer.end()
    await another.end()
    assert await controller.ended.get() == "pc"


async def test_pasted_block_of_forty_lines_arrives_whole(look: Look) -> None:
    viewer = await look()
    block = [b"echo line %d" % number for number in range(37)] + [b"", b"", b"show"]
    viewer.type(b"".join(line + b"\r\n" for line in block))
    await viewer.until(b"show\r\n")
    for number in range(37):
        assert b"> echo line %d\r\nline %d\r\n" % (number, number) in viewer.shown
    await viewer.until(b"VPCS> ")


async def test_lines_after_a_slow_command_arrive_whole(look: Look) -> None:
    viewer = await look()
    # It looks for another PC of the same address for three seconds.
    viewer.type(b"ip 10.0.0.1/24\r\necho first\r\necho second\r\n")
    shown = await viewer.until(b"\nsecond\r\n")
    assert b"> echo first\r\nfirst\r\n" in shown
    assert shown.count(b"echo first") == shown.count(b"echo second") == 1


async def test_interrupt_ends_a_command_at_once(look: Look) -> None:
    viewer = await look()
    viewer.type(b"sleep 1000\r\necho never\r\n")
    await viewer.until(b"sleep 1000\r\n")
    while b"VPCS> " not in viewer.shown.rpartition(b"sleep 1000")[2]:
        # It heeds this once the command runs, a moment after its line is shown.
        viewer.type(b"\x03")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await viewer.until(b"\rVPCS> ")
    viewer.type(b"echo after\r\n")
    await viewer.until(b"\nafter\r\n")
    assert b"never" not in viewer.shown.rpartition(b"sleep 1000\r\n")[2]


async def test_history_keys_work(look: Look) -> None:
    viewer = await look()
    viewer.type(b"echo once\r\n")
    await viewer.until(b"\nonce\r\n")
    await viewer.until(b"VPCS> ")
    viewer.type(b"\x1b[A\r\n")
    await viewer.until(b"echo once\r\nonce\r\n")


async def test_two_pcs_ping_each_other_while_their_controller_goes(
    consoles: ConsoleProcess, controller: Controller, program: str, tmp_path: Path
) -> None:
    wanted = [consoles.console(name, input=RULES) for name in ("one", "other")]
    await controller.state(*wanted)
    first = consoles.port()
    ports = (first, first + WIRE)
    viewers = []
    for number, each in enumerate(wanted):
        here = tmp_path / each["id"]
        here.mkdir()
        wire = ("-s", str(ports[number]), "-c", str(ports[1 - number]), "-t", "127.0.0.1")
        argv = (program, "-m", str(number), "-i", "1", "-F", *wire)
        await consoles.run(controller, each["id"], *argv, cwd=here)
        viewers.append(await consoles.viewer(each["port"]))
    for number, viewer in enumerate(viewers):
        viewer.type(b"ip 10.0.0.%d/24\r\n" % (number + 1))
    for viewer in viewers:
        await viewer.until(b"255.255.255.0\r\n")
        await viewer.until(b"VPCS> ")
    viewers[0].type(b"ping 10.0.0.2 -c 5\r\n")
    await viewers[0].until(b"icmp_seq=1 ")
    controller.close()
    for number in range(2, 6):
        await viewers[0].until(b"icmp_seq=%d " % number)
    await viewers[0].until(b"VPCS> ")
