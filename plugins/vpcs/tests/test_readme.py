"""The README's commands and the manual's session, done as a newcomer would do them.

The README is followed from top to bottom: a virtual environment is made as it says; its ``pip
install`` line, word for word, installs a copy of this repository into it; ``gns3server`` then
runs from there; all further blocks are pasted into one shell, and what the README shows at a
console prompt is typed into telnet. Two things differ from a newcomer's machine: pip takes the
packages of others from the environment that the tests run in instead of downloading them, and all
of it happens in a network of its own, so that the ports are free. The two ``bootstrap.py`` lines
are run by ``test_bootstrap_commands.py``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rst_blocks import blocks
from vpcs_newcomer import (
    LIMIT,
    LISTENS,
    README,
    ROOT,
    Newcomer,
    let_others_in,
    make_clone,
    paste,
    use_console,
)
from vpcs_terminal import PROMPT, Terminal

SESSION = ROOT / "docs" / "session.rst"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FILES = {"python": "gns3server_web.py", "toml": "pyproject.toml"}
"""What the files of the README's plugin are called there."""


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_the_readme_from_top_to_bottom(newcomer: Newcomer) -> None:
    clone = make_clone(newcomer.home)
    todo = [block for block in blocks(README) if not block.text.startswith("python3 bootstrap.py ")]
    make, install, *rest = todo
    assert make.lines[0] == "python3 -m venv ~/gns3-venv"
    plugins = "./plugins/udp ./plugins/ethernet ./plugins/linux ./plugins/v2 ./plugins/vpcs"
    assert install.text == f"pip install . {plugins} && gns3server"
    with newcomer.at_shell(clone) as server, newcomer.at_shell(newcomer.home) as shell:
        paste(server, make)
        let_others_in(newcomer.home / "gns3-venv")
        server.type(install.text)
        server.expect(LISTENS)
        page = newcomer.run("curl http://localhost:8000/manual/install.html")
        assert "<h1>Installing and setting up" in page
        for number, block in enumerate(rest):
            if block.language == "sh" and block.text.startswith("telnet "):
                use_console(shell, block.text, rest[number + 1])
            elif block.language == "sh":
                paste(shell, block)
            elif block.language in FILES:
                file = newcomer.home / "gns3server-web" / FILES[block.language]
                file.write_text(block.text)
        assert "web 0.1 (gns3server-web): ok" in str(shell)
        newcomer.interrupt_server()
        server.expect(r"INFO stopped")
        server.type('echo "done:$?"')
        server.expect(r"done:0")


@contextmanager
def serving(newcomer: Newcomer) -> Iterator[None]:
    """The server of the tests' own environment."""
    argv = [*newcomer.enter, sys.executable, "-m", "gns3server"]
    with Terminal(argv, newcomer.env, LIMIT) as server:
        server.expect(LISTENS)
        yield
        newcomer.interrupt_server()
        assert server.wait_for_end() == 0, str(server)


@pytest.mark.timeout(180)
def test_the_answers_of_the_manuals_session_are_the_servers(newcomer: Newcomer) -> None:
    """Every request of the page, and its whole answer: ids, home and version alone may differ."""
    ids: dict[str, str] = {}
    with serving(newcomer):
        for block in blocks(SESSION):
            if block.language == "console":
                for step in block.text.split("\n\n"):
                    command, _, documented = step.partition("\n")
                    line = ID.sub(lambda found: ids[found[0]], command.removeprefix("$ "))
                    check_answer(documented, newcomer.run(line), ids, newcomer.home)


def check_answer(documented: str, answered: str, ids: dict[str, str], home: Path) -> None:
    """Compare an answer with the documented one, and learn the ids that are new in it."""
    if not documented:
        assert answered == ""
        return
    was, now = json.loads(documented), json.loads(answered)
    for key in was:
        if key.endswith("_id"):
            ids.setdefault(was[key], now[key])
    expected = ID.sub(lambda found: ids[found[0]], documented).replace("/home/you", str(home))
    if "version" in was:
        expected = expected.replace(was["version"], now["version"])
    assert answered == f"{expected}\n"


def test_the_manuals_session_shows_the_consoles_as_they_are() -> None:
    """The dialogue itself is held by the README's test, which types the same commands."""

    def typed(path: Path) -> list[str]:
        text = "\n".join(block.text for block in blocks(path) if block.language == "text")
        return [line for line in text.splitlines() if line.startswith(PROMPT)]

    assert typed(SESSION) == typed(README)
