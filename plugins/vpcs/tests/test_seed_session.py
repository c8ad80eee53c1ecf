"""The session of the API's general document, with the programs that a person would use.

``seed_session.txt`` holds its shell transcript word for word. Each command of it is run, each
answer compared; only the ids differ, and what the document itself leaves open: it says that its
output is truncated, and banner, ping lines and the name before a new address depend on the version
of VPCS. With another one first in ``PATH``, it is the session of that one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from vpcs_namespace import own_network
from vpcs_terminal import PROMPT, Terminal

from gns3server.testing import marks, processes_of

TRANSCRIPT = Path(__file__).with_name("seed_session.txt")
PORTS = [("tcp", 8000), ("tcp", 2000), ("tcp", 2001), ("udp", 10000), ("udp", 10001)]
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAMES = ("VPCS 1", "VPCS 2")
PING_REPLY = r"icmp_seq={} .*time="
LIMIT = 40


def steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a transcript, each with the lines that it shows.

    Commands typed into a console follow the ``telnet`` that opened it.
    """
    for paragraph in text.strip().split("\n\n"):
        command, *shown = paragraph.splitlines()
        yield command, shown


class Session:
    """A person at a shell, who puts the ids in that the server has answered."""

    def __init__(self, enter: tuple[str, ...], home: Path) -> None:
        self.enter = enter
        self.test_id = uuid.uuid4().hex
        proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in proxies and not name.startswith(("GNS3_", "XDG_"))
        }
        self.env = {
            **kept,
            "HOME": str(home),
            "TERM": "dumb",
            **marks(self.test_id),
        }
        self.ids: dict[str, str] = {}
        self.home = home

    @contextmanager
    def running(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """Have a program run where the ports are ours."""
        with subprocess.Popen(
            [*self.enter, *argv],
            env=self.env,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def shell(self, command: str) -> str:
        """Run a line of the document in a shell; returns what it prints."""
        with_ids = ID.sub(lambda found: self.ids.get(found[0], found[0]), command)
        done = subprocess.run(
            [*self.enter, "sh", "-c", with_ids],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{with_ids}\n{done.stderr}"
        return done.stdout

    def telnet(self, port: str) -> Terminal:
        """Open a console."""
        return Terminal([*self.enter, "telnet", "127.0.0.1", port], self.env)

    def learn(self, documented: dict[str, object], answered: dict[str, object]) -> None:
        """Compare an answer with the document's and note the ids."""
        for key, value in documented.items():
            if key.endswith("_id"):
                assert self.ids.setdefault(str(value), str(answered[key])) == answered[key]
            elif key == "name":
                # The document writes a project's name in two ways.
                assert str(value).casefold() == str(answered[key]).casefold()
            elif key != "version":
                assert answered[key] == value, key


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A person at a shell in a network that has the document's ports free."""
    for program, package in (("vpcs", "vpcs"), ("telnet", "telnet"), ("curl", "curl")):
        if shutil.which(program) is None:
            pytest.fail(f"This test needs {program}: sudo apt-get install {package}")
    with own_network(PORTS) as enter:
        session = Session(enter, tmp_path)
        yield session
        left = processes_of(session.test_id)
        assert not left, f"processes were left behind: {left}"


@pytest.fixture
def server(session: Session) -> Iterator[subprocess.Popen[str]]:
    """The server as its users start it."""
    with session.running(sys.executable, "-m", "gns3server") as server:
        read_until(server, "listens on http://127.0.0.1:8000")
        yield server


@pytest.fixture
def listener(session: Session, server: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A client that listens to all notifications, from before the first command."""
    with session.running("curl", "-sN", "http://localhost:8000/notifications") as listener:
        assert read_until(listener, "ping") == ['{"action": "ping"}\n']
        yield listener


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """The lines of a program's output up to one that holds ``text``."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"{text!r} never came:\n{''.join(lines)}")


@pytest.mark.timeout(180)
@pytest.mark.statement("PORT-06", "PORT-07", "NOTIF-01")
def test_the_session_of_the_document(
    session: Session, server: subprocess.Popen[str], listener: subprocess.Popen[str]
) -> None:
    play(session, list(steps(TRANSCRIPT.read_text())))
    ping_back(session)
    end_both(session)
    told = [json.loads(line) for line in read_until(listener, "log.error")]
    # What the document's clients do not know, they leave out.
    known = ("vm.created", "vm.started", "vm.stopped", "log.error")
    events = [line for line in told if line["action"] in known]
    assert [(line["action"], line["event"].get("name")) for line in events] == [
        *[(action, name) for action in ("vm.created", "vm.started") for name in NAMES],
        *[("vm.stopped", name) for name in NAMES],
        ("log.error", None),
    ]
    assert NAMES[1] in events[-1]["event"]["message"]
    server.send_signal(signal.SIGTERM)
    log, _ = server.communicate(timeout=LIMIT)
    assert server.returncode == 0, log
    assert listener.wait(LIMIT) == 0, "the stream was not ended in order"


def play(session: Session, script: list[tuple[str, list[str]]]) -> None:
    """Do what the transcript does and compare what it shows."""
    for number, (command, shown) in enumerate(script):
        if command.startswith("# curl"):
            printed = session.shell(command.removeprefix("# "))
            documented = "".join(shown).rstrip("%")
            if documented:
                session.learn(json.loads(documented), json.loads(printed))
            else:
                assert printed == "", command
        elif command.startswith("# telnet"):
            typed = []
            for following, lines in script[number + 1 :]:
                if not following.startswith(PROMPT):
                    break
                typed.append((following.removeprefix(PROMPT), lines))
            at_console(session, command.split()[-1], shown, typed)


def at_console(
    session: Session, port: str, greeting: list[str], typed: list[tuple[str, list[str]]]
) -> None:
    """Open a console, type lines at its prompt and compare what is shown."""
    with session.telnet(port) as console:
        for line in greeting:
            console.expect(shown_as(line))
        for number, (command, lines) in enumerate(typed):
            console.at_prompt(command, first=number == 0)
            for line in lines:
                console.expect(shown_as(line))
        console.wait_for_end()


def shown_as(line: str) -> str:
    """The pattern that a line of the document stands for, whatever the version."""
    reply = re.search(r"icmp_seq=(\d+)", line)
    if reply is not None:
        return PING_REPLY.format(reply[1])
    if line.startswith("telnet "):
        return ""  # a slip of the document: the command once more
    if line.startswith("PC1 : "):
        # 0.5b2 numbers its PCs here; later ones show the name that is in the prompt.
        return f"(PC1|VPCS) : {re.escape(line.removeprefix('PC1 : '))}"
    for beginning in ("Connected to ", "Welcome to Virtual PC Simulator, version "):
        if line.startswith(beginning):
            return re.escape(beginning)
    if line.startswith(("Build time", "Copyright", "Dedicated", "For more", "Source code", "VPCS")):
        return ""
    return re.escape(line)


def ping_back(session: Session) -> None:
    """The other direction, which the document leaves to its reader."""
    replies = [f"icmp_seq={number}" for number in range(1, 6)]
    typed = [("ping 192.168.1.2", replies), ("disconnect", ["Good-bye"])]
    at_console(session, "2000", ["Connected to "], typed)


def end_both(session: Session) -> None:
    """Stop one virtual PC through the API and let the other one crash."""
    project, first, _ = session.ids.values()
    url = f"http://localhost:8000/v1/projects/{project}/vpcs/vms/{first}/stop"
    assert session.shell(f"curl -sS -X POST {url} -d '{{}}'") == ""
    pcs = [pid for pid, command in processes_of(session.test_id).items() if " -m 1 " in command]
    assert len(pcs) == 1, pcs
    os.kill(pcs[0], signal.SIGKILL)
