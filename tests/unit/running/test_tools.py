"""Helper programs: run, bounded in time and output, and found."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gns3server.running.procfs import RUN_ID_VARIABLE, run_id_carriers
from gns3server.running.tools import OUTPUT_LIMIT, ToolFailed, find_program, run_tool

PYTHON = (sys.executable, "-I", "-S", "-c")


async def all_gone(run_id: str) -> None:
    """Wait until what was killed is gone, which it is a moment later; else the test times out."""
    while run_id in await asyncio.to_thread(run_id_carriers):
        pass


async def test_returns_code_and_all_output_as_text() -> None:
    code = "import os; os.write(1, b'one\\xff '); os.write(2, b'two'); os._exit(3)"
    result = await run_tool([*PYTHON, code])
    assert (result.code, result.output) == (3, "one\N{REPLACEMENT CHARACTER} two")


@pytest.mark.statement("UTIL-01")
async def test_the_loop_goes_on_meanwhile() -> None:
    async def report_start(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(report_start, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        code = f"import socket; print(socket.create_connection({address}).recv(5))"
        assert (await run_tool([*PYTHON, code], limit=30)).output == "b'hello'\n"


async def test_runs_where_and_with_what_it_is_told(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ['TOLD'])"
    result = await run_tool([*PYTHON, code], cwd=str(tmp_path), env={"TOLD": "so"})
    assert result.output == f"{tmp_path} so\n"


@pytest.mark.statement("UTIL-03")
@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "while True: print('x' * 9999)"])
async def test_kills_what_takes_too_long(code: str) -> None:
    run_id = f"late-{os.getpid()}"
    family = f"import os; os.fork(); {code}" if "while" not in code else f"import os\n{code}"
    with pytest.raises(ToolFailed, match=r"did not end within 0\.3 s"):
        await run_tool([*PYTHON, family], limit=0.3, env={RUN_ID_VARIABLE: run_id})
    await all_gone(run_id)


async def test_does_not_wait_for_what_it_leaves_behind() -> None:
    run_id = f"left-{os.getpid()}"
    code = "import os, time\nif os.fork() == 0: time.sleep(600)\nprint('done')"
    result = await run_tool([*PYTHON, code], limit=60, env={RUN_ID_VARIABLE: run_id})
    assert result.output == "done\n"
    await all_gone(run_id)


async def test_slow_programs_hold_up_nothing_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    argv = ["/bin/cat", str(tmp_path / "pipe")]
    tools = [asyncio.create_task(run_tool(argv, limit=600)) for _ in range(40)]
    await asyncio.sleep(0)
    # This is what reads everybody's files.
    assert await asyncio.gather(*(asyncio.to_thread(abs, -1) for _ in range(50))) == [1] * 50
    assert not any(tool.done() for tool in tools)
    while not all(tool.done() for tool in tools):
        await asyncio.to_thread(open_and_close, tmp_path / "pipe")
    assert [tool.result().code for tool in tools] == [0] * 40


def open_and_close(pipe: Path) -> None:
    """Let everybody go on who waits for a pipe; nobody may."""
    with suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


async def test_keeps_a_bounded_part_of_the_output() -> None:
    code = f"import sys; sys.stdout.write('x' * {OUTPUT_LIMIT * 3})"
    result = await run_tool([*PYTHON, code], limit=60)
    assert result.output == "x" * OUTPUT_LIMIT


@pytest.mark.statement("UTIL-01")
@pytest.mark.parametrize("argv", [(), ("",), ("/does/not/exist",), ("a\0b",)])
async def test_says_what_cannot_be_run(argv: tuple[str, ...]) -> None:
    with pytest.raises(ToolFailed, match="cannot run"):
        await run_tool(argv)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Three directories: a directory of the name, a plain file of the name, the program."""
    (tmp_path / "first" / "prog").mkdir(parents=True)
    for name, mode in (("second", 0o644), ("third", 0o755), ("fourth", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prog").touch(mode)
    return tmp_path


def test_finds_the_first_that_can_be_run(programs: Path) -> None:
    search = ":".join(str(programs / name) for name in ("first", "none", "second", "third"))
    assert find_program("prog", search) == str(programs / "third" / "prog")
    assert find_program("other", search) is None
    assert find_program("", search) is None


def test_an_empty_entry_of_the_search_path_is_no_directory(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(programs / "third")
    assert find_program("prog", ":") is None


def test_takes_a_value_with_a_slash_as_a_path(programs: Path) -> None:
    search = str(programs / "third")
    assert find_program(str(programs / "fourth" / "prog"), search) == str(
        programs / "fourth" / "prog"
    )
    assert find_program(str(programs / "first" / "prog"), search) is None
    assert find_program(str(programs / "second" / "prog"), search) is None
