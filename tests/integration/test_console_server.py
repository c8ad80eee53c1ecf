"""The console server's process: terminals, telnet, and nothing that interrupts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest
from console_process import console_process
from waiting import until

from gns3server.running.helper_client import HelperFailed

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
    assert os.listdir(consoles.socket.parent) == []


async def test_stays_for_a_living_program_without_any_controller(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    controller.close()
    # It has nothing to hold, and so says when that would have been the end of the other one.
    async with console_process(wanted["port"]) as other:
        await asyncio.to_thread(other.process.wait)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        consoles.process.send_signal(number)
    viewer = await consoles.viewer(wanted["port"])
    viewer.type(b"echo $((6*7))\r")
    await viewer.until(b"42\r\n")


CONTROLLER = """
import asyncio, os, subprocess, sys
from console_process import Controller
from pathlib import Path

async def main(path, port):
    controller = await Controller.connect(Path(path))
    wanted = {"id": "a", "host": "127.0.0.1", "port": int(port), "source": {"kind": "terminal"},
              "scrollback": 65536}
    await controller.state(wanted)
    master, slave = os.openpty()
    await controller.call("terminal", [master], console="a")
    argv = ["setsid", "--fork", "--ctty", "sh", "-c", "PS1='$ ' exec sh -i"]
    subprocess.run(argv, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_controller_that_is_killed_interrupts_nothing(consoles):
    port = consoles.port()
    command = [sys.executable, "-c", CONTROLLER, str(consoles.socket), str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    assert await killed.stdout.readline() == b"ready\n"
    viewer = await consoles.viewer(port)
    await viewer.until(b"$ ")
    viewer.type(b"(read go; echo $((6*7)))\r")
    killed.kill()
    await killed.wait()
    viewer.type(b"\r")
    await viewer.until(b"42\r\n")
    controller = await consoles.controller()
    assert (await controller.status("a"))["alive"]
    await controller.state()
    await viewer.end()


async def test_state_with_an_older_number_is_ignored(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted, number=7)
    assert (await controller.state(number=6))["number"] == 7
    await consoles.viewer(wanted["port"])
    # Another one has numbers of its own, and says what counts from now on.
    another = await consoles.controller()
    await another.state(number=1)
    with pytest.raises(ConnectionRefusedError):
        await consoles.viewer(wanted["port"])


async def test_both_controllers_are_told_what_ends(consoles, controller):
    await controller.state(consoles.console("a"))
    another = await consoles.controller()
    await consoles.run(another, "a", "true")
    assert await controller.ended.get() == "a"
    assert await another.ended.get() == "a"


async def test_port_changes_while_the_session_goes_on(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    first = await consoles.viewer(wanted["port"])
    await first.until(b"$ ")
    moved = {**wanted, "port": consoles.port()}
    await controller.state(moved)
    with pytest.raises(ConnectionRefusedError):
        await consoles.viewer(wanted["port"])
    second = await consoles.viewer(moved["port"])
    second.type(b"echo $((6*7))\r")
    await first.until(b"42\r\n")
    await second.until(b"42\r\n")
    # Nobody can come any more, and who is there stays.
    await controller.state({**moved, "port": None})
    first.type(b"echo $((7*7))\r")
    await second.until(b"49\r\n")


async def test_two_consoles_change_their_ports_with_each_other(consoles, controller):
    one, other = consoles.console("one"), consoles.console("other")
    await controller.state(one, other)
    await consoles.run(controller, "one", "sh", "-c", "echo one; exec cat")
    swapped = {**one, "port": other["port"]}, {**other, "port": one["port"]}
    assert (await controller.state(*swapped))["failed"] == {}
    await (await consoles.viewer(other["port"])).until(b"one")


async def test_who_came_by_an_address_that_is_given_up_is_hung_up_on(consoles, controller):
    wanted = consoles.console("a", host="0.0.0.0")
    await controller.state(wanted)
    await consoles.run(controller, "a", *SHELL)
    viewer = await consoles.viewer(wanted["port"], "127.0.0.2")
    await viewer.until(b"$ ")
    await controller.state({**wanted, "host": "127.0.0.1"})
    await viewer.end()
    with pytest.raises(ConnectionRefusedError):
        await consoles.viewer(wanted["port"], "127.0.0.2")
    await (await consoles.viewer(wanted["port"])).until(b"$ ")


async def test_localhost_is_all_that_it_means_here(consoles, controller):
    wanted = consoles.console("a", host="localhost")
    assert (await controller.state(wanted))["failed"] == {}
    await consoles.viewer(wanted["port"])


async def test_scroll_back_changes_with_the_state(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    program = "echo first; read go; echo second; read go; echo third; exec cat"
    await consoles.run(controller, "a", "sh", "-c", program)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"first")
    await controller.state({**wanted, "scrollback": 0})
    viewer.type(b"\r")
    await viewer.until(b"second")
    assert await controller.call("tail", console="a", bytes=1000) == ""
    await controller.state({**wanted, "scrollback": 1000})
    viewer.type(b"\r")
    await viewer.until(b"third\r\n")
    late = await consoles.viewer(wanted["port"])
    assert b"second" not in await late.until(b"third")


async def test_transcript_has_all_output_while_it_is_wanted(consoles, controller, tmp_path):
    path = tmp_path / "transcript"
    path.write_text("of before\n")
    wanted = consoles.console("a", transcript=str(path))
    assert (await controller.state(wanted))["transcripts"] == {}
    await consoles.run(controller, "a", *SHELL)
    viewer = await consoles.viewer(wanted["port"])
    viewer.type(b"echo $((6*7))\r")
    await viewer.until(b"42\r\n$ ")
    await controller.state({**wanted, "transcript": None})
    viewer.type(b"echo $((7*7))\r")
    await viewer.until(b"49\r\n")
    text = path.read_text()
    assert text.startswith("of before\n")
    assert "42\n" in text
    assert "49" not in text
    assert path.stat().st_mode & 0o077 == 0


async def test_transcript_that_cannot_be_written_is_named(consoles, controller, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    wanted = [
        consoles.console(name, transcript=str(tmp_path / name))
        for name in ("pipe", "link", "absent/file", "fine")
    ]
    answer = await controller.state(*wanted)
    assert answer["failed"] == {}
    assert answer["transcripts"].keys() == {"pipe", "link", "absent/file"}
    assert not (tmp_path / "elsewhere").exists()
    for each in wanted:
        await consoles.viewer(each["port"])


async def test_new_terminal_takes_the_place_of_the_former(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    former = await consoles.run(controller, "a", "sh", "-c", "echo former; exec cat")
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"former")
    await consoles.run(controller, "a", "sh", "-c", "echo newer; exec cat")
    await viewer.until(b"newer")
    assert await asyncio.to_thread(former.wait) == -signal.SIGHUP
    assert controller.ended.empty()


async def test_terminal_after_the_end_of_another_is_served_again(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    await consoles.run(controller, "a", "true")
    await controller.ended.get()
    await consoles.run(controller, "a", "sh", "-c", "echo again; exec cat")
    await (await consoles.viewer(wanted["port"])).until(b"again")


async def test_only_terminals_are_taken_as_terminals(consoles, controller, tmp_path):
    socket_console = consoles.console("b", source={"kind": "unix", "path": str(tmp_path / "s")})
    await controller.state(consoles.console("a"), socket_console)
    before = consoles.descriptors
    with socket.socket() as none:
        for name in ("a", "b"):
            with pytest.raises(HelperFailed, match="no terminal"):
                await controller.call("terminal", [none.fileno()], console=name)
    assert consoles.descriptors == before


GOOD = {
    "id": "x",
    "host": "127.0.0.1",
    "port": None,
    "source": {"kind": "terminal"},
    "scrollback": 100,
    "transcript": None,
    "input": None,
}


@pytest.mark.heavy
@pytest.mark.parametrize(
    "what",
    [
        {},
        {"number": "1", "consoles": []},
        {"number": True, "consoles": []},
        {"number": 1, "consoles": {}},
        {"number": 1, "consoles": ["x"]},
        {"number": 1, "consoles": [GOOD, GOOD]},
        *(
            {"number": 1, "consoles": [GOOD | bad]}
            for bad in (
                {"id": ""},
                {"id": 7},
                {"host": None},
                {"host": "a\0b"},
                {"port": 0},
                {"port": 65536},
                {"port": "2000"},
                {"source": None},
                {"source": {"kind": "pipe"}},
                {"source": {"kind": "unix"}},
                {"source": {"kind": "tcp", "host": "127.0.0.1", "port": -1}},
                {"scrollback": -1},
                {"scrollback": 2**40},
                {"transcript": ["a"]},
                {"input": "follow"},
                {"input": {"follow": "\u20ac"}},
                {"input": {"by_line": 1}},
                {"input": {"break_text": 1}},
                {"input": {"farewell": {"command": "", "refusal": "a", "answer": "b"}}},
            )
        ),
    ],
)
async def test_state_that_makes_no_sense_is_refused_and_changes_nothing(consoles, controller, what):
    wanted = consoles.console("a")
    await controller.state(wanted)
    with pytest.raises(HelperFailed):
        await controller.call("state", **what)
    await consoles.viewer(wanted["port"])


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"[]\n",
        b"no json\n",
        b"[" * 100_000 + b"\n",
        b'{"call": "state", "id": 1, "with": []}\n',
        b'{"call": "state", "id": {}, "with": {"number": 1, "consoles": [{"id": {}}]}}\n',
        b'{"call": ["state"], "id": 1}\n',
        b"\xff\xfe\n",
        b'{"call": "attach", "id": 1, "with": {"console": "a"}}\nw\x7f\xff\xff\xff',
        b'{"call": "attach", "id": 1, "with": {"console": "a"}}\nw\0\0\0\x01.',
    ],
)
async def test_controller_that_talks_nonsense_hurts_only_itself(consoles, controller, said):
    wanted = consoles.console("a")
    await controller.state(wanted)
    reader, writer = await asyncio.open_unix_connection(consoles.socket)
    writer.write(said)
    writer.write_eof()
    await reader.read()
    writer.close()
    await consoles.run(controller, "a", *SHELL)
    await (await consoles.viewer(wanted["port"])).until(b"$ ")


async def test_calls_that_make_no_sense_are_refused(consoles, controller):
    await controller.state(consoles.console("a"))
    for name, what in (
        ("dance", {}),
        ("tail", {"console": "a"}),
        ("tail", {"console": "b", "bytes": 1}),
        ("tail", {"console": "a", "bytes": -1}),
        ("attach", {"console": "b"}),
        ("attach", {"console": "a", "read_only": "no"}),
        ("attach", {"console": "a", "columns": "80", "rows": 24}),
    ):
        with pytest.raises(HelperFailed):
            await controller.call(name, **what)
    assert not (await controller.status("a"))["alive"]


async def test_descriptors_that_no_call_takes_do_not_pile_up(consoles, controller):
    before = consoles.descriptors
    another = await consoles.controller()
    with socket.socket() as unasked:
        while not another.lost.is_set():
            with contextlib.suppress(HelperFailed):
                await another.call("status", [unasked.fileno()])

    async def are_closed() -> bool:
        return bool(consoles.descriptors == before)

    await until(are_closed)
    await controller.call("status")


async def test_socket_is_connected_once_it_is_there_and_again_when_lost(
    consoles, controller, tmp_path
):
    path = tmp_path / "serial"
    wanted = consoles.console("a", source={"kind": "unix", "path": str(path)})
    await controller.state(wanted)
    viewer = await consoles.viewer(wanted["port"])
    for greeting in (b"first", b"second"):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            connection, _ = await asyncio.to_thread(listening.accept)
        path.unlink()
        with connection:
            connection.sendall(greeting)
            await viewer.until(greeting)
            viewer.type(b"typed\r\n")
            assert await asyncio.to_thread(connection.recv, 100) == b"typed\r"
            assert (await controller.status("a"))["alive"]
        assert await controller.ended.get() == "a"


async def test_tcp_port_of_an_emulator_is_served_as_well(consoles, controller):
    source = {"kind": "tcp", "host": "127.0.0.1", "port": consoles.port()}
    wanted = consoles.console("a", source=source)
    await controller.state(wanted)
    viewer = await consoles.viewer(wanted["port"])
    typed = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello \xff")
        typed.set_result(await reader.readexactly(3))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", source["port"]):
        await viewer.until(b"hello \xff")
        viewer.type(b"a\xff\xff\r")
        assert await typed == b"a\xff\r"


async def test_source_can_be_changed(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    program = await consoles.run(controller, "a", "sh", "-c", "echo here; exec cat")
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"here")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"there")
        await reader.read()
        writer.close()

    port = consoles.port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        source = {"kind": "tcp", "host": "127.0.0.1", "port": port}
        await controller.state({**wanted, "source": source})
        await viewer.until(b"there")
        assert await asyncio.to_thread(program.wait) == -signal.SIGHUP
        await controller.state()


async def test_output_that_nobody_reads_is_taken_all_the_same(consoles, controller):
    wanted = consoles.console("a")
    await controller.state(wanted)
    flood = "head -c 5000000 /dev/zero | tr '\\0' x; printf '\nthe end'"
    await consoles.run(controller, "a", "sh", "-c", flood)
    assert await controller.ended.get() == "a"
    assert (await controller.call("tail", console="a", bytes=9)).endswith("\nthe end")


@pytest.mark.heavy
async def test_serves_three_hundred_consoles_and_keeps_nothing_of_them(consoles, controller):
    before = consoles.descriptors
    wanted = [consoles.console(f"c{number}") for number in range(300)]
    assert (await controller.state(*wanted))["failed"] == {}
    for each in wanted:
        await consoles.run(controller, each["id"], "sh", "-c", f"echo I am {each['id']}; exec cat")
    viewers = [await consoles.viewer(each["port"]) for each in wanted]
    for each, viewer in zip(wanted, viewers, strict=True):
        await viewer.until(f"I am {each['id']}\r\n".encode())
    assert (await controller.state())["failed"] == {}
    for viewer in viewers:
        await viewer.end()
        viewer.close()

    async def are_closed() -> bool:
        return bool(consoles.descriptors == before)

    await until(are_closed)
    for program in consoles.programs:
        assert await asyncio.to_thread(program.wait) == -signal.SIGHUP
