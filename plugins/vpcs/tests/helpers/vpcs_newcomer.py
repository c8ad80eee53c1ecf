"""Somebody who does what the README and the manual say, on a machine that has nothing yet."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clean_environment import lend_packages
from rst_blocks import Block
from vpcs_namespace import own_network
from vpcs_terminal import Terminal

from gns3server.testing import marks, processes_of

ROOT = Path(__file__).parents[4]
README = ROOT / "README.rst"
PORTS = [("tcp", 8000), ("tcp", 2000), ("tcp", 2001), ("udp", 10000), ("udp", 10001)]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "tests", "manual")
LISTENS = r"listens on http://127\.0\.0\.1:8000"
LIMIT = 120

SHOWN = {
    "/v1/version": ('"version": "',),
    '"VPCS 1"': ('"console": 2000',),
    '"VPCS 2"': ('"console": 2001',),
    "/ports/udp": (r'"udp_port": 1000[0-2]',),
    "/v1/plugins": ('"name": "udp"', '"name": "vpcs"'),
    "gns3server doctor": (r"Projects\r?\n", "This machine"),
    "gns3server plugins": (r"udp \S+ \(gns3server-udp\): ok", r"vpcs \S+ \(gns3server-vpcs\): ok"),
}
"""What the README says, or lets one expect, of a command that holds the text."""

SHOWN_AT_CONSOLE = {
    "ip 192.168.1.1": (r"(PC1|VPCS) : 192\.168\.1\.1 255\.255\.255\.0",),
    "ip 192.168.1.2": (r"(PC1|VPCS) : 192\.168\.1\.2 255\.255\.255\.0",),
    "ping ": tuple(rf"icmp_seq={number} .*time=" for number in range(1, 6)),
    "disconnect": ("Good-bye",),
}
"""The same of what is typed at a PC's prompt."""


@dataclass(frozen=True)
class Newcomer:
    """Somebody at a machine that has the needed ports free."""

    enter: tuple[str, ...]
    env: dict[str, str]
    test_id: str
    home: Path

    def at_shell(self, cwd: Path) -> Terminal:
        """Open a terminal with a shell."""
        # The tests may run in the background, where interrupts are ignored.
        outside = ["env", "--default-signal", "-C", str(cwd)]
        shell = [*outside, "bash", "--norc", "--noprofile", "--noediting", "-i"]
        return Terminal([*self.enter, *shell], self.env, LIMIT)

    def run(self, command: str) -> str:
        """Run a command line; returns what it prints."""
        argv = [*self.enter, "bash", "-c", command]
        return subprocess.run(
            argv, env=self.env, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True
        ).stdout

    def servers(self) -> list[int]:
        """The processes of servers."""
        return [
            pid
            for pid, command in processes_of(self.test_id).items()
            if re.search(r"python\S* (-m|\S*/)\s*gns3server", command)
        ]

    def interrupt_server(self) -> None:
        """What Ctrl+C does."""
        servers = self.servers()
        assert len(servers) == 1, processes_of(self.test_id)
        os.kill(servers[0], signal.SIGINT)

    def wait_for_servers(self) -> None:
        """Wait until all servers that are about to end have ended."""
        for pid in self.servers():
            with suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                ended, _, _ = select.select([process], [], [], LIMIT)
                os.close(process)
                assert ended, f"process {pid} does not end"


@contextmanager
def newcomer_at(home: Path) -> Iterator[Newcomer]:
    """A newcomer with an empty home; curl fails on an answer of 400 or more."""
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    test_id = uuid.uuid4().hex
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("GNS3_", "XDG_", "PIP_"))
    }
    env = {**kept, "HOME": str(home), "TERM": "dumb", "PS1": "$ ", **marks(test_id)}
    env.update(PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    env["PATH"] = f"{sys.base_prefix}/bin:{env['PATH']}"
    with own_network(PORTS) as enter:
        yield Newcomer(enter, env, test_id, home)
        left = processes_of(test_id)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"processes were left behind: {left}"


def make_clone(home: Path) -> Path:
    """A copy of what a clone has, because pip leaves files in the folder that it installs from."""
    copy = home / "clone"
    copy.mkdir()
    shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=LEFT_OUT)
    return copy


def let_others_in(home: Path) -> None:
    """Let a new virtual environment find the packages of others without a network."""
    inside = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))
    for entry in [*inside.glob("setuptools*"), *inside.glob("pkg_resources")]:
        # Too old in Python 3.11's; the one below is taken instead.
        shutil.rmtree(entry)
    (inside / "of-the-tests.pth").write_text(f"{lend_packages(home)}\n")


def paste(shell: Terminal, block: Block) -> None:
    """Run each command of a block; all must succeed and show what is said of them."""
    for command in commands(block):
        run_at(shell, command)


def commands(block: Block) -> Iterator[str]:
    """The commands of a block: most are a line, and some go on over several."""
    text = ""
    for line in block.text.splitlines():
        text = f"{text}\n{line}".lstrip("\n")
        parsed = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False)
        if text and parsed.returncode == 0 and not parsed.stderr:
            yield text
            text = ""
    assert not text, f"this is no whole command: {text}"


def run_at(shell: Terminal, command: str, *, codes: Collection[int] = (0,)) -> None:
    """Run a command, which must show what is said of it.

    :param codes: the exit codes that it may end with.
    """
    for line in command.splitlines():
        shell.type(line)
        shell.expect(re.escape(line[-20:]))
    for text, shown in SHOWN.items():
        if text in command and not re.search(r"\$\(|\(\) {", command):
            for pattern in shown:
                shell.expect(pattern)
    shell.type('echo "done:$?"')
    assert int(shell.expect(r"done:(\d+)")[1]) in codes, f"{command}\n{shell}"


def use_console(shell: Terminal, telnet: str, dialogue: Block) -> None:
    """Open a console and type what the README shows behind its prompt."""
    assert dialogue.language == "text"
    shell.type(telnet)
    shell.expect(r"Escape character is")
    for number, line in enumerate(dialogue.lines):
        prompt, command = line.split(" ", 1)
        assert prompt.endswith(">")
        shell.at_prompt(command, first=number == 0, prompt=f"{prompt} ")
        for text, shown in SHOWN_AT_CONSOLE.items():
            if command.startswith(text):
                for pattern in shown:
                    shell.expect(pattern)
    shell.expect("Connection closed by foreign host")
