"""Clients of the console server: telnet, the server's own, slow and hostile ones."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import telnetlib3
from console_process import Viewer
from waiting import until

from gns3server.consoles import telnet
from gns3server.consoles.stream import ConsoleStream
from gns3server.running.helper_client import HelperFailed

IAC, SB, SE, DO, DONT, WILL, WONT, NAWS = 255, 250, 240, 253, 254, 251, 252, 31

HEX = """
import os, tty
tty.setraw(0)
os.write(1, b'ready ')
while True:
    os.write(1, os.read(0, 1000).hex().encode() + b' ')
"""
"""Shows the bytes that it is typed."""

SIZES = """
import os, signal, time
def show(*_):
    os.write(1, b'%dx%d ' % os.get_terminal_size(0))
signal.signal(signal.SIGWINCH, show)
os.write(1, b'ready ')
while True:
    signal.pause()
"""
"""Shows the size of its window when that changes."""

CAT = ("sh", "-c", "echo ready; exec cat")


async def opened(consoles, controller, program, **more):
    """A console with a program that is ready; returns what was wanted, and a client."""
    wanted = consoles.console("a", **more)
    await controller.state(wanted)
    if isinstance(program, tuple):
        await consoles.run(controller, "a", *program)
    else:
        await consoles.run_python(controller, "a", program)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"ready")
    return wanted, viewer


async def stream(consoles, console: str, **how) -> ConsoleStream:
    """Look at a console as the server does."""
    opened = await ConsoleStream.open(
        *await asyncio.open_unix_connection(consoles.socket), console, **how
    )
    consoles.closing.callback(opened.close)
    return opened


async def read_until(stream: ConsoleStream, wanted: bytes) -> bytes:
    shown = b""
    async with asyncio.timeout(30):
        while wanted not in shown:
            data = await stream.read()
            assert data, f"{wanted!r} was not shown before the end: {shown!r}"
            shown += data
    return shown


# Telnet -----------------------------------------------------------------------------


async def test_client_is_greeted_with_what_the_console_offers(consoles, controller):
    _, viewer = await opened(consoles, controller, CAT)
    assert viewer.raw.startswith(
        bytes((IAC, WILL, 1, IAC, WILL, 3, IAC, WILL, 0, IAC, DO, 3, IAC, DO, 0, IAC, DO, NAWS))
    )


@pytest.mark.parametrize("enter", [b"\r\n", b"\r\0", b"\n", b"\r"])
async def test_each_way_to_press_enter_is_one_carriage_return(consoles, controller, enter):
    _, viewer = await opened(consoles, controller, HEX)
    viewer.type(b"a" + enter + b"b" + enter + enter + b"c")
    shown = await viewer.until(b"63 ")
    assert shown.replace(b" ", b"") == b"610d620d0d63"


async def test_enter_that_is_split_is_one_as_well(consoles, controller):
    _, viewer = await opened(consoles, controller, HEX)
    for piece, shown in ((b"\r", b"0d "), (b"\na\r", b"610d "), (b"\0b", b"62 ")):
        viewer.type(piece)
        assert (await viewer.until(shown)).strip() == shown.strip()


async def test_every_byte_passes_both_ways(consoles, controller):
    wanted, viewer = await opened(consoles, controller, "import os, tty; tty.setraw(0)\n"
        "os.write(1, b'ready ')\nwhile True: os.write(1, os.read(0, 1000))")  # fmt: skip
    every = bytes(number for number in range(256) if number not in (10, 13)) * 2
    viewer.type(every.replace(b"\xff", b"\xff\xff") + b"end")
    await viewer.until_sent(b"end")
    assert every.replace(b"\xff", b"\xff\xff") + b"end" in viewer.raw
    late = await consoles.viewer(wanted["port"])
    await late.until_sent(b"end")
    assert every.replace(b"\xff", b"\xff\xff") + b"end" in late.raw


async def test_keys_that_telnet_has_commands_for(consoles, controller):
    _, viewer = await opened(consoles, controller, HEX, input={"break_text": "\x00\xfe"})
    for command, shown in ((244, b"03"), (247, b"7f"), (248, b"15"), (243, b"00fe")):
        viewer.type(bytes((IAC, command)))
        await viewer.until(shown)
    viewer.type(bytes((IAC, 246)))
    await viewer.until(b"[yes]")


async def test_urgent_data_stays_in_its_place(consoles, controller):
    wanted, _ = await opened(consoles, controller, HEX)
    viewer = await consoles.viewer(wanted["port"])
    # As telnet sends an interrupt: the data mark is urgent.
    sock: socket.socket = viewer.writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(sock.fileno())) as own:
        own.send(b"a" + bytes((IAC, 244, IAC)))
        own.send(bytes((242,)), socket.MSG_OOB)
        own.send(b"b")
    await viewer.until(b"62")
    assert viewer.shown.replace(b" ", b"").endswith(b"610362")


async def test_last_window_that_changed_counts(consoles, controller):
    wanted, viewer = await opened(consoles, controller, SIZES)
    viewer.type(bytes((IAC, WILL, NAWS, IAC, SB, NAWS, 0, 99, 0, 33, IAC, SE)))
    await viewer.until(b"99x33")
    another = await consoles.viewer(wanted["port"])
    # A column count that has a 255 in it is sent doubled.
    another.type(bytes((IAC, SB, NAWS, 0, IAC, IAC, 0, 50, IAC, SE)))
    await viewer.until(b"255x50")
    looking = await stream(consoles, "a", size=(70, 20))
    await viewer.until(b"70x20")
    await looking.resize(71, 21)
    await viewer.until(b"71x21")
    status = await controller.status("a")
    assert (status["columns"], status["rows"], status["clients"]) == (71, 21, 3)


async def test_size_is_kept_for_the_next_program(consoles, controller):
    _, viewer = await opened(consoles, controller, SIZES)
    viewer.type(bytes((IAC, SB, NAWS, 0, 99, 0, 33, IAC, SE)))
    await viewer.until(b"99x33")
    await consoles.run(controller, "a", "stty", "size")
    await viewer.until(b"33 99")


async def test_independent_telnet_client_is_served(consoles, controller):
    wanted, _ = await opened(consoles, controller, ("sh", "-c", "echo ready; stty size; exec cat"))
    reader: Any
    writer: Any
    reader, writer = await telnetlib3.open_connection(
        "127.0.0.1", wanted["port"], encoding=False, cols=101, rows=37, connect_minwait=0.0
    )
    try:
        async with asyncio.timeout(30):
            shown = b""
            # What is typed before the size is shown would be shown before it as well.
            while not re.search(rb"ready\r\n\d+ \d+\r\n", shown):
                shown += await reader.read(1000)
            writer.write(b"hello \xff\r\n")
            while b"hello \xff\r\nhello \xff\r\n" not in shown:
                shown += await reader.read(1000)

        async def has_told_its_size() -> bool:
            status = await controller.status("a")
            return (status["columns"], status["rows"]) == (101, 37)

        async def has_agreed() -> bool:
            # Each option is agreed upon by messages of its own.
            options = (telnetlib3.telopt.ECHO, telnetlib3.telopt.SGA)
            enabled = all(map(writer.remote_option.enabled, options))
            return enabled and writer.inbinary and writer.outbinary

        await until(has_told_its_size)
        await until(has_agreed)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        bytes((IAC,)) * 9999,
        bytes((IAC, SB, NAWS)) + b"x" * 500_000,
        bytes((IAC, SB, NAWS, 0, 0, 0, 0, IAC, SE)),
        bytes((IAC, SB, NAWS, 255, 255, 255, 255, 255, 255, 255, 255, IAC, SE)),
        bytes((IAC, SB, IAC, SE, IAC, SB, 1, 2, 3)),
        bytes((IAC, DO, 1, IAC, DONT, 1)) * 5000,
        bytes((IAC, WILL, 99, IAC, WONT, 99)) * 5000,
        bytes((IAC, 243)) * 5000,
        b"\0" * 1000,
    ],
)
async def test_client_that_talks_nonsense_hurts_only_itself(consoles, controller, said):
    wanted, viewer = await opened(consoles, controller, CAT)
    hostile = await consoles.viewer(wanted["port"])
    hostile.type(said)
    hostile.writer.write_eof()
    await hostile.end()
    # After Ctrl-U, which forgets what it may have typed.
    viewer.type(b"\x15still here\r")
    await viewer.until(b"still here\r\nstill here")


async def test_as_many_clients_as_there_may_be(consoles, controller):
    wanted, _ = await opened(consoles, controller, CAT)
    more = [await consoles.viewer(wanted["port"]) for _ in range(63)]
    for each in more:
        await each.until(b"ready")
    refused = await consoles.viewer(wanted["port"])
    assert b"as many clients" in await refused.end()
    with pytest.raises(HelperFailed, match="as many clients"):
        await stream(consoles, "a")
    more[0].close()

    async def has_room() -> bool:
        return bool((await controller.status("a"))["clients"] == 63)

    await until(has_room)
    await (await consoles.viewer(wanted["port"])).until(b"ready")


# Slow ones ----------------------------------------------------------------------------


async def deaf(port: int) -> socket.socket:
    """A client that does not read, and takes little into its buffers."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def test_client_that_does_not_read_is_dropped_and_nobody_else_notices(consoles, controller):
    flood = "echo ready; read go; yes 0123456789 | head -c 9000000; echo; echo the end; exec cat"
    wanted, viewer = await opened(consoles, controller, ("sh", "-c", flood))
    stuck = await deaf(wanted["port"])
    reader, writer = await asyncio.open_unix_connection(consoles.socket, limit=1000)
    stuck_stream = await ConsoleStream.open(reader, writer, "a")

    async def all_are_there() -> bool:
        return bool((await controller.status("a"))["clients"] == 3)

    with stuck:
        await until(all_are_there)
        viewer.type(b"\r")
        assert await viewer.skip(b"the end") > 9_000_000
        assert (await controller.status("a"))["clients"] == 1
    stuck_stream.close()


async def test_flood_starves_nobody(consoles, controller):
    wanted, viewer = await opened(consoles, controller, CAT)
    flooding = consoles.console("flooding")
    await controller.state(wanted, flooding)
    await consoles.run(controller, "flooding", "yes")
    await (await consoles.viewer(flooding["port"])).until(b"y\r\ny\r\n")
    for number in range(100):
        viewer.type(b"line %d\r" % number)
        await viewer.until(b"line %d\r\nline %d\r\n" % (number, number))
    await controller.status("a")


def resident(pid: int) -> int:
    """The memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


async def test_input_that_nobody_takes_is_bounded(consoles, controller):
    program = "import time, tty; tty.setraw(0); print('ready'); import sys; sys.stdout.flush()\n"
    wanted, _ = await opened(consoles, controller, program + "time.sleep(1000)")
    before = resident(consoles.pid)
    with socket.socket() as typing:
        typing.setblocking(False)
        await asyncio.get_running_loop().sock_connect(typing, ("127.0.0.1", wanted["port"]))
        sent = 0
        refused = 0
        while refused < 20:
            try:
                sent += typing.send(b"x" * 65536)
                refused = 0
            except BlockingIOError:
                # An answer says that it has had time to read what was sent.
                await controller.call("status")
                refused += 1
    assert sent > 256 * 1024
    assert resident(consoles.pid) - before < 8 * 1024


# The server's own -----------------------------------------------------------------------


async def test_attached_client_sees_and_types_like_others(consoles, controller):
    _, viewer = await opened(consoles, controller, ("sh", "-c", "PS1='ready$ ' exec sh -i"))
    looking = await stream(consoles, "a")
    await read_until(looking, b"ready$ ")
    await looking.write(b"echo $((6*7))\n")
    await read_until(looking, b"42\r\n")
    await viewer.until(b"42\r\n")
    viewer.type(b"exit\r")
    while await looking.read():
        pass


async def test_attached_client_may_be_for_reading_only(consoles, controller):
    _, viewer = await opened(consoles, controller, SIZES)
    looking = await stream(consoles, "a", read_only=True, size=(11, 11))
    await read_until(looking, b"ready")
    await looking.resize(10, 10)
    await looking.write(b"\x03")
    typing = await stream(consoles, "a", size=(50, 20))
    assert b"10x10" not in await read_until(looking, b"50x20")
    assert b"11x11" not in await viewer.until(b"50x20")
    await typing.write(b"\x03")
    while await looking.read():
        pass


async def test_large_input_of_an_attached_client_arrives_whole(consoles, controller):
    program = (
        "import os, tty\ntty.setraw(0)\nos.write(1, b'ready')\ncount = 0\n"
        "while count < 300_000: count += len(os.read(0, 65536))\nos.write(1, b'all')\nos.read(0, 1)"
    )
    await opened(consoles, controller, program)
    looking = await stream(consoles, "a")
    await looking.write(b"x" * 300_000)
    await read_until(looking, b"all")


async def test_attached_client_of_nothing_is_told_so(consoles, controller):
    with pytest.raises(HelperFailed, match="there is no console 'a'"):
        await stream(consoles, "a")
    await controller.state(consoles.console("a"))
    looking = await stream(consoles, "a")
    # There is no terminal yet: it waits for one.
    await consoles.run(controller, "a", "echo", "here")
    assert await read_until(looking, b"here\r\n") == b"here\r\n"
    assert await looking.read() == b""


async def test_keys_before_there_is_a_program_are_lost_and_hurt_nobody(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    early: Viewer = await consoles.viewer(wanted["port"])
    await early.until_sent(telnet.GREETING)
    early.type(b"too early\r" + bytes((IAC, 243)))
    await consoles.run(controller, "a", *CAT)
    await early.until(b"ready")
