"""What is typed reaches programs with needs of their own: a toy that behaves as VPCS does."""

from __future__ import annotations

import pytest
from console_process import ConsoleProcess, Controller, Viewer
from waiting import until

FAREWELL = {"command": "le", "refusal": "this is no daemon", "answer": "So long"}
RULES = {"follow": "\0\0", "by_line": True, "break_text": "", "farewell": FAREWELL}

Toy = tuple[dict[str, object], Viewer]


@pytest.fixture
async def toy(consoles: ConsoleProcess, controller: Controller) -> Toy:
    """A toy at its prompt: what is wanted of its console, and a client."""
    wanted = consoles.console("a", input=RULES)
    await controller.state(wanted)
    await consoles.run_toy(controller, "a")
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"PC> ")
    return wanted, viewer


async def test_pasted_block_arrives_whole(toy):
    _, viewer = toy
    viewer.type(b"".join(b"say %d\r\n" % number for number in range(40)))
    shown = await viewer.until(b"say 39\r\n39\r\n\r\n\rPC> ")
    for number in range(40):
        assert b"PC> say %d\r\n%d\r\n" % (number, number) in b"PC> " + shown


async def test_empty_lines_are_lines_as_well(toy):
    _, viewer = toy
    viewer.type(b"\r\n\r\nsay 1\r\n\r\nsay 2\r\n")
    shown = await viewer.until(b"say 2\r\n2\r\n\r\n\rPC> ")
    assert shown.count(b"PC> ") == 5
    assert b"\rPC> say 1\r\n1\r\n" in shown


async def test_lines_of_many_pieces_and_two_clients_stay_whole(consoles, toy):
    wanted, viewer = toy
    another = await consoles.viewer(wanted["port"])
    await another.until(b"PC> ")
    for number in range(10):
        for key in b"say one%d\r" % number:
            viewer.type(bytes((key,)))
        await viewer.until(b"\none%d\r\n\r\n\rPC> " % number)
        another.type(b"say other%d\r" % number)
        await another.until(b"\nother%d\r\n\r\n\rPC> " % number)
        await viewer.until(b"\nother%d\r\n\r\n\rPC> " % number)


async def test_what_is_typed_before_the_first_prompt_arrives(consoles, controller):
    wanted = consoles.console("a", input=RULES)
    await controller.state(wanted)
    await consoles.run_toy(controller, "a")
    viewer = await consoles.viewer(wanted["port"])
    viewer.type(b"say early\r\n")
    assert b"PC> say early\r\nearly" in await viewer.until(b"\nearly\r\n\r\n\rPC> ")


async def test_lines_wait_while_a_command_runs(toy, tmp_path):
    _, viewer = toy
    go = tmp_path / "go"
    viewer.type(b"wait %s\r\nsay done\r\n" % bytes(go))
    await viewer.until(b"waiting\r\n")
    viewer.type(b"say more\r\n")
    go.touch()
    shown = await viewer.until(b"\nmore\r\n\r\n\rPC> ")
    # Shown after the prompt, once: not by a terminal that is not raw.
    assert shown.count(b"say done") == shown.count(b"PC> say done\r\ndone") == 1
    assert shown.count(b"say more") == 1


async def test_interrupt_comes_at_once_and_discards_what_waits(toy, tmp_path):
    _, viewer = toy
    viewer.type(b"wait %s\r\nsay never\r\n" % bytes(tmp_path / "never"))
    await viewer.until(b"waiting\r\n")
    viewer.type(b"say nor this\r\n\x03say after\r\n")
    shown = await viewer.until(b"\nafter\r\n\r\n\rPC> ")
    assert b"never" not in shown
    assert b"nor this" not in shown


async def test_interrupt_gets_through_however_much_waits(consoles, toy, tmp_path):
    wanted, viewer = toy
    another = await consoles.viewer(wanted["port"])
    await another.until(b"PC> ")
    viewer.type(b"wait %s\r\n" % bytes(tmp_path / "never"))
    await viewer.until(b"waiting\r\n")
    # More than is taken of one client: it is not read any more.
    viewer.type(b"say never\r\n" * 500_000)
    another.type(b"x\x03say after\r\n")
    shown = await another.until(b"\nafter\r\n")
    assert b"\nnever" not in shown


async def test_interrupt_of_who_has_pasted_much_gets_through(toy, tmp_path):
    _, viewer = toy
    viewer.type(b"wait %s\r\n" % bytes(tmp_path / "never"))
    await viewer.until(b"waiting\r\n")
    viewer.type(b"say never\r\n" * 50_000 + b"\x03say after\r\n")
    assert b"\nnever" not in await viewer.until(b"\nafter\r\n")


async def test_interrupt_at_the_prompt_gives_a_line_up(toy):
    _, viewer = toy
    viewer.type(b"say never\x03say this\r")
    shown = await viewer.until(b"\nthis\r\n\r\n\rPC> ")
    assert b"\nnever" not in shown


async def test_client_that_leaves_is_hung_up_on_alone(consoles, toy):
    wanted, viewer = toy
    another = await consoles.viewer(wanted["port"])
    await another.until(b"PC> ")
    viewer.type(b"leave\r\n")
    assert await viewer.end() == b"leave\r\nSo long\r\n"
    another.type(b"say still here\r\n")
    shown = await another.until(b"\nstill here\r\n")
    assert b"daemon" not in shown
    assert b"So long" not in shown


async def test_clients_come_after_others_have_left(consoles, controller, toy):
    wanted, staying = toy
    before = consoles.descriptors
    for number in range(10):
        viewer = await consoles.viewer(wanted["port"])
        await viewer.until(b"PC> ")
        viewer.type(b"leave\r\n")
        await viewer.end()
        viewer.close()
        staying.type(b"say %d\r\n" % number)
        await staying.until(b"\n%d\r\n\r\n\rPC> " % number)

    async def nothing_is_left() -> bool:
        return bool(consoles.descriptors == before)

    await until(nothing_is_left)


@pytest.mark.parametrize("name", ["le", "leave"])
async def test_nobody_leaves_by_what_only_looks_like_it(toy, name):
    _, viewer = toy
    viewer.type(b"say this is no daemon\r\n")
    await viewer.until(b"\nthis is no daemon\r\n\r\n\rPC> ")
    viewer.type(b"name %s\r\n" % name.encode())
    await viewer.until(b"\n\r%s> " % name.encode())
    viewer.type(b"say this is no daemon\r\n")
    await viewer.until(b"\nthis is no daemon\r\n")
    await viewer.until(b"> ")
    viewer.type(b"le\r\n")
    assert await viewer.end() == b"le\r\nSo long\r\n"


RAW = """
import os, sys, termios, tty
cooked = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b'ready ')
while True:
    data = os.read(0, 1000)
    os.write(1, data.hex().encode() + b' ')
    if b'c' in data:
        termios.tcsetattr(0, termios.TCSANOW, cooked)
        os.write(1, b'cooked ')
"""


async def raw_viewer(consoles: ConsoleProcess, controller: Controller) -> Viewer:
    wanted = consoles.console("a", input={"follow": "\0\0", "by_line": False})
    await controller.state(wanted)
    await consoles.run_python(controller, "a", RAW)
    viewer = await consoles.viewer(wanted["port"])
    await viewer.until(b"ready ")
    return viewer


async def test_keys_are_followed_by_what_the_program_waits_for(consoles, controller):
    viewer = await raw_viewer(consoles, controller)
    for keys, shown in ((b"a", b"610000 "), (b"bb", b"62620000 "), (b"\r\n", b"0d0000 ")):
        viewer.type(keys)
        assert await viewer.until(shown) == shown


@pytest.mark.parametrize("sequence", [b"\x1b[A", b"\x1b[1;5C", b"\x1bOP", b"\x1bx"])
async def test_nothing_comes_between_the_keys_of_an_escape_sequence(consoles, controller, sequence):
    viewer = await raw_viewer(consoles, controller)
    viewer.type(sequence)
    assert await viewer.until(b"0000 ") == sequence.hex().encode() + b"0000 "
    for key in sequence[:-1]:
        viewer.type(bytes((key,)))
        assert await viewer.until(b" ") == b"%02x " % key
    viewer.type(sequence[-1:])
    assert await viewer.until(b" ") == b"%02x0000 " % sequence[-1]


async def test_nothing_follows_while_the_terminal_is_not_raw(consoles, controller):
    viewer = await raw_viewer(consoles, controller)
    viewer.type(b"c")
    await viewer.until(b"cooked ")
    viewer.type(b"line\r")
    assert (await viewer.until(b"0a ")).endswith(b"6c696e650a ")


async def test_rules_can_be_changed_while_a_program_runs(consoles, controller):
    viewer = await raw_viewer(consoles, controller)
    status = await controller.status("a")
    await controller.state({**status["console"], "input": {"follow": "\x01"}})
    viewer.type(b"a")
    await viewer.until(b"6101 ")
