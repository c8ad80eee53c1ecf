"""The console server's process: terminals, telnet, and nothing that interrupts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from console_process import ConsoleProcess, Controller, console_process

from gns3server.running.control import HelperFailed
from gns3server.testing.port_blocks import claimed_ports


@pytest.fixture
async def consoles(tmp_path) -> AsyncIterator[ConsoleProcess]:
    """A console server."""
    with claimed_ports() as ports:
        async with console_process(tmp_path, ports.first) as running:
            yield running


@pytest.fixture
async def controller(consoles: ConsoleProcess) -> Controller:
    """Whoever controls it."""
    return await consoles.controller()


SHELL = ("sh", "-c", "PS1='$ ' exec sh -i")


async def test_program_on_a_terminal_is_used_by_telnet(consoles, controller):
    wanted = consoles.console("a")
    answer = await controller.state(wanted)
    assert answer == {"number": 1, "failed": {}, "transcripts": {}}
    await consoles.run(controller, "a", *SHELL)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"$ ")
    viewer.type(b"echo $((6*7))\r")
    assert b"42\r\n" in await viewer.until(b"\n$ ")


async def test_client_that_comes_late_sees_what_was_shown(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    first = await consoles.viewer(wanted["port"])
    first.type(b"echo $((6*7))\r")
    await first.until(b"42\r\n")
    second = await consoles.viewer(wanted["port"])
    await second.until(b"42\r\n")
    second.type(b"echo $((7*7))\r")
    await first.until(b"49\r\n")
    await second.until(b"49\r\n")


async def test_end_of_a_program_is_told_and_its_clients_are_hung_up_on(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", "sh", "-c", "read line; echo so long")
    viewer = await consoles.viewer(wanted["port"])
    viewer.type(b"\r")
    assert b"so long\r\n" in await viewer.end()
    assert await controller.ended.get() == "a"
    assert not (await controller.status("a"))["alive"]
    with pytest.raises(ConnectionRefusedError):
        await consoles.viewer(wanted["port"])
    assert "so long" in await controller.call("tail", console="a", bytes=100)


async def test_console_that_is_not_wanted_any_more_is_closed(consoles, controller):
    one, other = consoles.console("one"), consoles.console("other")
    await controller.state(one, other)
    program = await consoles.run(controller, "one", *SHELL)
    await consoles.run(controller, "other", *SHELL)
    viewers = [await consoles.viewer(each["port"]) for each in (one, other)]
    for viewer in viewers:
        await viewer.until(b"$ ")
    await controller.state(other)
    await viewers[0].end()
    # It was hung up on, as it is when a person closes the window.
    assert await asyncio.to_thread(program.wait) != 0
    with pytest.raises(ConnectionRefusedError):
        await consoles.viewer(one["port"])
    viewers[1].type(b"echo $((6*7))\r")
    await viewers[1].until(b"42\r\n")


async def test_port_that_is_taken_is_named_and_the_others_work(consoles, controller):
    taken, free = consoles.console("taken"), consoles.console("free")
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", taken["port"]):
        answer = await controller.state(taken, free)
        assert [*answer["failed"]] == ["taken"]
        assert str(taken["port"]) in answer["failed"]["taken"]
        (await consoles.viewer(free["port"])).close()
    # Wanted once more, now that it is free.
    assert (await controller.state(taken, free))["failed"] == {}
    await consoles.viewer(taken["port"])


async def test_terminal_of_an_unknown_console_is_refused(consoles, controller):
    master, slave = os.openpty()
    try:
        with pytest.raises(HelperFailed, match="there is no console 'nobody'"):
            await controller.call("terminal", [master], console="nobody")
        with pytest.raises(HelperFailed, match="no descriptor came with this call"):
            await controller.call("terminal", console="nobody")
    finally:
        os.close(master)
        os.close(slave)


async def test_controller_that_goes_leaves_everything_as_it_is(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"$ ")
    controller.close()
    viewer.type(b"echo $((6*7))\r")
    await viewer.until(b"42\r\n")
    another = await consoles.controller()
    # The same again, with the first number of another one.
    assert (await another.state(wanted, number=1))["failed"] == {}
    viewer.type(b"echo $((7*7))\r")
    await viewer.until(b"49\r\n")


async def test_ends_by_itself_without_source_and_controller(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"$ ")
    controller.close()
    viewer.type(b"exit\r")
    await viewer.end()
    assert await asyncio.to_thread(consoles.process.wait) == 0
    assert not consoles.socket.exists()
    with contextlib.suppress(FileNotFoundError):
        assert os.listdir(consoles.socket.parent) == []
