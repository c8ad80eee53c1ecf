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
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rst_blocks import Block, blocks
from vpcs_namespace import own_network
from vpcs_terminal import PROMPT, Terminal

from gns3server.testing import marks, processes_of

ROOT = Path(__file__).parents[3]
README = ROOT / "README.rst"
SESSION = ROOT / "docs" / "session.rst"
PORTS = [("tcp", 8000), ("tcp", 2000), ("tcp", 2001), ("udp", 10000), ("udp", 10001)]
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "tests", "manual")
LISTENS = r"listens on http://127\.0\.0\.1:8000"
LIMIT = 120

SHOWN = {
    "/v1/version": ('"version": "',),
    '"VPCS 1"': ('"console": 2000',),
    '"VPCS 2"': ('"console": 2001',),
    "/ports/udp": (r'"udp_port": 1000[01]',),
    "/v1/plugins": ('"name": "udp"', '"name": "vpcs"'),
    "gns3server plugins": (r"udp \S+ \(gns3server-udp\): ok", r"vpcs \S+ \(gns3server-vpcs\): ok"),
    "ip 192.168.1.1": (r"PC1 : 192\.168\.1\.1 255\.255\.255\.0",),
    "ip 192.168.1.2": (r"PC1 : 192\.168\.1\.2 255\.255\.255\.0",),
    "ping ": tuple(rf"icmp_seq={number} .*time=" for number in range(1, 6)),
    "disconnect": ("Good-bye",),
}
"""What the README says, or lets one expect, of a line that holds the text."""


@dataclass(frozen=True)
class Newcomer:
    """Somebody at a machine that has the needed ports free."""

    enter: tuple[str, ...]
    env: dict[str, str]
    test_id: str
    home: Path

    def at_shell(self, cwd: Path) -> Terminal:
        """Open a terminal with a shell."""
        shell = ["env", "-C", str(cwd), "bash", "--norc", "--noprofile", "--noediting", "-i"]
        return Terminal([*self.enter, *shell], self.env, LIMIT)

    def run(self, command: str) -> str:
        """Run a command line; returns what it prints."""
        argv = [*self.enter, "bash", "-c", command]
        return subprocess.run(
            argv, env=self.env, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True
        ).stdout

    def interrupt_server(self) -> None:
        """What Ctrl+C does."""
        servers = [
            pid
            for pid, command in processes_of(self.test_id).items()
            if re.search(r"python\S* (-m|\S*/)\s*gns3server", command)
        ]
        assert len(servers) == 1, processes_of(self.test_id)
        os.kill(servers[0], signal.SIGINT)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """A newcomer with an empty home; curl fails on an answer of 400 or more."""
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    test_id = uuid.uuid4().hex
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("GNS3_", "XDG_", "PIP_"))
    }
    env = {**kept, "HOME": str(tmp_path), "TERM": "dumb", "PS1": "$ ", **marks(test_id)}
    env.update(PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    env["PATH"] = f"{sys.base_prefix}/bin:{env['PATH']}"
    with own_network(PORTS) as enter:
        yield Newcomer(enter, env, test_id, tmp_path)
        left = processes_of(test_id)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"processes were left behind: {left}"


@pytest.fixture
def clone(newcomer: Newcomer) -> Path:
    """A copy of what a clone has, because pip leaves files in the folder that it installs from."""
    copy = newcomer.home / "clone"
    copy.mkdir()
    shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=LEFT_OUT)
    return copy


def let_others_in(home: Path) -> None:
    """Let a new virtual environment find the packages of others without a network."""
    inside = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))
    for entry in [*inside.glob("setuptools*"), *inside.glob("pkg_resources")]:
        # Too old in Python 3.11's; the one below is taken instead.
        shutil.rmtree(entry)
    (inside / "of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_the_readme_from_top_to_bottom(newcomer: Newcomer, clone: Path) -> None:
    todo = [block for block in blocks(README) if block.language in ("sh", "text")]
    todo = [block for block in todo if not block.text.startswith("python3 bootstrap.py ")]
    make, install, *rest = todo
    assert make.lines[0] == "python3 -m venv ~/gns3-venv"
    assert install.text == "pip install . ./plugins/udp ./plugins/vpcs && gns3server"
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
        newcomer.interrupt_server()
        server.expect(r"INFO stopped")
        server.type('echo "done:$?"')
        server.expect(r"done:0")


def paste(shell: Terminal, block: Block) -> None:
    """Run each line of a block; all must succeed and show what is said of them."""
    for line in block.lines:
        shell.type(line)
        shell.expect(re.escape(line[-20:]))
        for text, shown in SHOWN.items():
            if text in line and "$(" not in line:
                for pattern in shown:
                    shell.expect(pattern)
        shell.type('echo "done:$?"')
        assert shell.expect(r"done:(\d+)")[1] == "0", f"{line}\n{shell}"


def use_console(shell: Terminal, telnet: str, dialogue: Block) -> None:
    """Open a console and type what the README shows behind its prompt."""
    assert dialogue.language == "text"
    shell.type(telnet)
    shell.expect(r"Escape character is")
    for number, line in enumerate(dialogue.lines):
        assert line.startswith(PROMPT)
        command = line.removeprefix(PROMPT)
        shell.at_prompt(command, first=number == 0)
        for text, shown in SHOWN.items():
            if command.startswith(text):
                for pattern in shown:
                    shell.expect(pattern)
    shell.expect("Connection closed by foreign host")


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
