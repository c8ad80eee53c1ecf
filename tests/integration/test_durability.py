"""What is answered is on the disk: seen from the system calls of a server of its own."""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import pytest
from api_calls import ID, PROJECT, later

CALLS = "fsync,fdatasync,write,pwrite64,sendto,openat,mkdir,rename"
LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")


@dataclass
class SystemCall:
    """One call: where in the trace it began and ended, and what it was."""

    name: str
    arguments: str
    begun: int
    ended: int = 0

    @property
    def path(self) -> str:
        """The file that its first argument, a descriptor, is open on."""
        found = re.match(r"\d+<([^>]*)>", self.arguments)
        return found[1] if found else ""

    @property
    def names(self) -> list[str]:
        """The file names among its arguments."""
        return re.findall(r'"([^"]*)"', self.arguments)


def read_trace(text: str) -> Iterator[SystemCall]:
    """The calls of a trace that succeeded or are not known to have failed, as they began."""
    under_way: dict[str, SystemCall] = {}
    for number, line in enumerate(text.splitlines()):
        match = LINE.match(line)
        if match is None:
            continue
        thread, resumed, name, rest = match.groups()
        if resumed:
            call = under_way.pop(thread, None)
            if call is None:
                continue
            call.ended = number
        else:
            call = SystemCall(name, rest, number, number)
            if rest.endswith("<unfinished ...>"):
                under_way[thread] = call
                continue
        if " = -1 " not in line:
            yield call


@dataclass
class Disk:
    """What would be there after a loss of power, followed call by call."""

    root: str
    written: dict[str, SystemCall] = field(default_factory=dict)
    entered: dict[str, SystemCall] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    syncs: Counter[str] = field(default_factory=Counter)

    def follow(self, call: SystemCall) -> None:
        """Take one call into account."""
        if call.name in ("fsync", "fdatasync"):
            self._synced(call)
        elif call.name in ("write", "pwrite64") and self._counts(call.path):
            self.written[call.path] = call
        elif call.name == "mkdir" or "O_CREAT" in call.arguments:
            self._enter(call.names[0], call)
        elif call.name == "rename":
            old, new = call.names
            self.seen.discard(new)
            self.entered.pop(old, None)
            self._enter(new, call)

    def _enter(self, path: str, call: SystemCall) -> None:
        # A move prepares in a directory that is removed in the end.
        transient = "/.gns3_moving-" in path
        if self._counts(path) and not transient and path not in self.seen:
            self.seen.add(path)
            self.entered[path] = call

    def _counts(self, path: str) -> bool:
        # What runs writes its own log, SQLite removes its journal before it is done, and a lock
        # means something only while there is a server.
        return path.startswith(self.root) and not path.endswith((".log", "-journal", ".lock"))

    def _synced(self, call: SystemCall) -> None:
        self.syncs[PurePath(call.path).name] += 1
        written = self.written.get(call.path)
        if written is not None and written.ended < call.begun:
            del self.written[call.path]
        for path, entered in list(self.entered.items()):
            if str(PurePath(path).parent) == call.path and entered.ended < call.begun:
                del self.entered[path]

    @property
    def in_danger(self) -> set[str]:
        """The files whose content or name would be lost."""
        return {*self.written, *self.entered}


def follow(trace: Path, root: Path) -> Iterator[tuple[Disk, str]]:
    """The state of the disk as each answer is sent, and the answer's first line."""
    disk = Disk(str(root))
    calls = [*read_trace(trace.read_text(errors="replace"))]
    # A call counts when it has ended; an answer is sent as soon as it begins.
    for call in sorted(calls, key=lambda c: c.begun if c.name == "sendto" else c.ended):
        if call.name == "sendto" and '"HTTP/1.1' in call.arguments:
            yield disk, call.names[0].partition("\\r")[0]
            disk.syncs.clear()
        disk.follow(call)


@pytest.fixture
def strace(tmp_path):
    """The program and arguments that trace a server into a file, and that file."""
    program = shutil.which("strace")
    assert program, "this test needs strace: apt-get install strace"
    trace = tmp_path / "trace"
    return [program, "-D", "-f", "-y", "-s", "200", "-o", str(trace), "-e", f"trace={CALLS}"], trace


NIO = {"type": "nio_udp", "rhost": "127.0.0.1", "rport": 9}
MOVE = {"path": "another one"}
NODES = f"{PROJECT}/toy/vms"
VM = "7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02"
NODE = f"{NODES}/{VM}"
WIRE = f"{NODE}/adapters/0/ports/0/nio"

CHANGES: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/v1/projects", {"project_id": ID}, {"project.db-wal", "server.db-wal"}),
    ("PUT", PROJECT, {"name": "renamed"}, {"project.db-wal"}),
    ("POST", NODES, {"vm_id": VM, "name": "a"}, {"project.db-wal"}),
    ("POST", NODES, {"name": "b", "note": "as a file"}, {"project.db-wal", "note.new"}),
    ("PUT", NODE, {"name": "c"}, {"project.db-wal"}),
    ("PUT", NODE, {"note": "a script"}, {"project.db-wal", "note.new"}),
    ("POST", f"{PROJECT}/ports/toy", None, {"project.db-wal"}),
    ("POST", WIRE, NIO, {"project.db-wal"}),
    ("POST", f"{NODE}/start", None, {"project.db-wal"}),
    ("POST", f"{NODE}/stop", None, {"project.db-wal"}),
    ("PUT", f"{PROJECT}/layout", {VM: {"x": 1}}, {"project.db-wal"}),
    ("DELETE", WIRE, None, {"project.db-wal"}),
    ("DELETE", NODE, None, {"project.db-wal"}),
    ("POST", f"{PROJECT}/commit", None, {"project.db-wal"}),
    ("PUT", PROJECT, {"temporary": True}, {"project.db-wal"}),
    ("PUT", PROJECT, {"temporary": False}, {"project.db-wal"}),
    ("POST", f"{PROJECT}/close", None, {"server.db-wal"}),
    ("POST", "/v1/projects", {"project_id": ID}, {"server.db-wal"}),
    ("PUT", PROJECT, MOVE, {"server.db-wal", "project.db-wal"}),
    ("DELETE", PROJECT, None, {"server.db-wal"}),
]
"""Requests, and the files that each must have synced before it is answered."""


@pytest.mark.heavy
async def test_every_change_is_synced_before_it_is_answered(toy_process, strace, tmp_path):
    under, trace = strace
    async with toy_process(under=under) as server:
        added: dict[str, int] = {}
        for method, path, body, _ in CHANGES:
            values = {**NIO, **added} if body == NIO else body
            if body == MOVE:
                values = {"path": str(tmp_path / "new" / "place")}
            answer = await server.client.request(method, path, values)
            assert answer.status < 300, (answer, answer.body)
            if path.endswith("/ports/toy"):
                added = {"lport": answer.json["udp_port"]}
    answers = follow(trace, tmp_path)
    for (method, path, body, files), (disk, head) in zip(CHANGES, answers, strict=True):
        what = f"{method} {path} {body}"
        assert head.split()[1].startswith("2"), what
        assert disk.in_danger == set(), what
        assert files <= set(disk.syncs), (what, disk.syncs)


async def test_concurrent_changes_share_a_commit(client, project, lab, hold_disk):
    numbers = range(25)
    thread = lab.projects.databases
    with hold_disk() as begun:
        await asyncio.to_thread(begun.wait)
        submitted, commits = thread.submitted, thread.commits
        creations = [later(client.post(f"{project}/toy/vms", {"name": f"{n}"})) for n in numbers]
        while thread.submitted < submitted + len(numbers):
            await client.get("/v1/version")
    assert {answer.status for answer in await asyncio.gather(*creations)} == {201}
    assert thread.commits == commits + 1
