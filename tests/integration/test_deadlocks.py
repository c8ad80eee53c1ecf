"""A hunt for deadlocks: clients do anything at any time, and nobody ever waits for ever.

What a client does is drawn by a seed; which of them is faster is not.
"""

import asyncio
import io
import random
import uuid
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

import orjson
import pytest
from aiohttp import ClientError
from api_calls import new_project, new_toy
from faults import cancel_handlers

from gns3server.locks import FairLock, KeyedLocks, LockRequest
from gns3server.testing import LabServer

BOUND = 40.0
"""Seconds that nobody waits for a lock, however slow the machine is."""

SEEDS = range(3)
CLIENTS = 6
STEPS = 22
MODES = ("good", "good", "exit", "unwired", "ignores-term", "crash-on-connect", "quit-on-connect")


def stack_of(task: "asyncio.Task[Any] | None") -> str:
    """Where a task is."""
    text = io.StringIO()
    if task is not None:
        task.print_stack(file=text)
    return text.getvalue()


class Guard:
    """Sees every visit of a lock, and tells of those that wait too long."""

    def __init__(self) -> None:
        self.outer: set[FairLock] = set()
        self.inner: set[KeyedLocks] = set()
        self.reports: list[str] = []
        self._inside: dict[LockRequest, asyncio.Task[Any] | None] = {}
        self._enter, self._leave = LockRequest.__aenter__, LockRequest.leave

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def enter(entry: LockRequest) -> None:
            self.outer.add(entry._outer)
            if entry._inner is not None:
                self.inner.add(entry._inner)
            try:
                async with asyncio.timeout(BOUND):
                    await self._enter(entry)
            except TimeoutError:
                self.reports.append(self._report(entry))
                raise
            self._inside[entry] = asyncio.current_task()

        def leave(entry: LockRequest) -> None:
            self._inside.pop(entry, None)
            self._leave(entry)

        monkeypatch.setattr(LockRequest, "__aenter__", enter)
        monkeypatch.setattr(LockRequest, "leave", leave)

    def _report(self, waiting: LockRequest) -> str:
        holders = [task for entry, task in self._inside.items() if entry._outer is waiting._outer]
        who = "\n".join(map(stack_of, holders))
        return f"{stack_of(asyncio.current_task())} waits for what is held by:\n{who}"

    @property
    def busy(self) -> bool:
        """Whether anybody is in a lock or waits for one."""
        return not all(lock.idle for lock in self.outer)

    def check_empty(self) -> None:
        """Nobody is in a lock or waits for one, and none is kept."""
        assert self.reports == []
        assert self._inside == {}
        assert not self.busy
        assert [len(locks) for locks in self.inner] == [0] * len(self.inner)


@pytest.fixture
def guard(monkeypatch):
    """Guards the locks of the test."""
    guard = Guard()
    guard.install(monkeypatch)
    return guard


class Hunt:
    """Clients of one server that share a few projects and nodes."""

    def __init__(self, seed: int, places: list[str]) -> None:
        self.seed = seed
        self.history: list[str] = []
        self._ids = random.Random(seed)
        self.projects = [self._new_id() for _ in range(3)]
        self.nodes = {project: [self._new_id() for _ in range(2)] for project in self.projects}
        self.places = places
        self.server_ends = False

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128)))

    async def run(self, server: LabServer, leg: str) -> None:
        """Let all clients do their steps."""
        await asyncio.gather(*(self._client(server, f"{leg}{n}") for n in range(CLIENTS)))

    async def _client(self, server: LabServer, name: str) -> None:
        dice = random.Random(f"{self.seed} {name}")
        for _ in range(STEPS):
            method, path, body = self._draw(dice, server)
            if method == "CONNECT":
                await self._connect(name, body)
                continue
            hangs_up, late = dice.random() < 0.15, dice.random() < 0.3
            how = ", hangs up" * hangs_up + ", body later" * late
            self.history.append(f"{name} {method} {path} {body}{how}")
            if hangs_up or late:
                after = (dice.randint(0, 20) * late, dice.randint(0, 20))
                await self._send(server, method, path, body, after, hangs_up=hangs_up)
            else:
                await self._ask(server, method, path, body)

    def _draw(self, dice: random.Random, server: LabServer) -> tuple[str, str, Any]:
        project_id = dice.choice(self.projects)
        # Now and then another project's.
        owner = project_id if dice.random() < 0.9 else dice.choice(self.projects)
        node_id = dice.choice(self.nodes[owner])
        project = f"/v1/projects/{project_id}"
        node = f"{project}/toy/vms/{node_id}"
        first = server.settings.server.udp_start_port_range
        port = first + 100 + dice.randint(0, 5)
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port}
        place, temporary = dice.choice(self.places), dice.random() < 0.3
        opened = {"project_id": project_id, "temporary": temporary}
        made = {"vm_id": node_id, "name": "PC", "mode": dice.choice(MODES)}
        choices: list[tuple[int, tuple[str, str, Any]]] = [
            (6, ("POST", "/v1/projects", opened)),
            (2, ("POST", "/v1/projects", {**opened, "path": place})),
            (2, ("PUT", project, {"name": "new", "temporary": temporary})),
            (4, ("PUT", project, {"path": place})),
            (4, ("POST", f"{project}/commit", None)),
            (2, ("POST", f"{project}/close", None)),
            (1, ("DELETE", project, None)),
            (2, ("POST", f"{project}/ports/toy", None)),
            (2, ("GET", f"{project}/files", None)),
            (2, ("GET", f"{project}/toy/vms", None)),
            (12, ("POST", f"{project}/toy/vms", made)),
            (3, ("GET", node, None)),
            (3, ("PUT", node, {"name": "other", "console": first + dice.randint(0, 9)})),
            (12, ("POST", f"{node}/start", None)),
            (4, ("POST", f"{node}/stop", None)),
            (4, ("POST", f"{node}/reload", None)),
            (4, ("DELETE", node, None)),
            (4, ("POST", f"{node}/adapters/0/ports/0/nio", nio)),
            (2, ("DELETE", f"{node}/adapters/0/ports/0/nio", None)),
            (6, ("CONNECT", "", first + dice.randint(0, 9))),
        ]
        weights = [weight for weight, _ in choices]
        return dice.choices([choice for _, choice in choices], weights)[0]

    async def _ask(self, server: LabServer, method: str, path: str, body: Any) -> None:
        try:
            answer = await server.client.request(method, path, body)
        except ClientError as error:
            # Only a server that has ended hangs up on its clients.
            self.history.append(f"{method} {path} -> {error!r}")
            assert self.server_ends
            return
        self.history.append(f"{method} {path} -> {answer.status}")
        assert answer.status < 500, answer.json

    async def _send(
        self,
        server: LabServer,
        method: str,
        path: str,
        body: Any,
        after: tuple[int, int],
        *,
        hangs_up: bool,
    ) -> None:
        """Send head and body, with so many turns of the loop before the body, and after it
        before hanging up; in every third case there is no body.
        """
        content = orjson.dumps(body or {})
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.running.port)
            writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode())
            for _ in range(after[0]):
                await asyncio.sleep(0)
            if not hangs_up or after[1] % 3:
                writer.write(content)
            if hangs_up:
                for _ in range(after[1]):
                    await asyncio.sleep(0)
                writer.transport.abort()
                return
            answer = await reader.read()
            writer.close()
            self.history.append(f"{method} {path} -> {answer[9:12].decode()}")
            assert answer[9:10] in (b"2", b"4", b"")

    async def _connect(self, name: str, port: int) -> None:
        """Connect to what may be a console, which ends some toys."""
        self.history.append(f"{name} connects to {port}")
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()


async def all_gone(server: LabServer, guard: Guard, nodes: Iterable[str]) -> None:
    """Delete what is still open; then nothing is left of it, not even the ids of nodes."""
    client = server.client
    await client.get("/v1/version")
    # Requests of those who have hung up are still being carried out.
    while guard.busy:
        await client.get("/v1/version")
    for project in (await client.get("/v1/projects")).json:
        answer = await client.delete(f"/v1/projects/{project['project_id']}")
        assert answer.status == 204, answer.json
    assert server.processes() == {}
    for pool in (server.ports.tcp, server.ports.udp):
        assert pool.reserved == frozenset()
    project = await new_project(client)
    for node_id in nodes:
        await new_toy(client, project, vm_id=node_id)
    assert (await client.delete(project)).status == 204


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.statement("LOCK-03", "LOCK-05")
@pytest.mark.parametrize("seed", SEEDS)
async def test_nobody_waits_for_ever(serving, guard, tmp_path, monkeypatch, seed):
    # Every other hunt: with handlers that are cancelled when their client hangs up.
    cancel_handlers(monkeypatch, cancel=bool(seed % 2))
    before = asyncio.all_tasks()
    hunt = Hunt(seed, [str(tmp_path / f"place{n}") for n in range(3)])
    try:
        async with serving() as server:
            await hunt.run(server, "before")
            clients = asyncio.create_task(hunt.run(server, "during"))
            await server.client.get("/v1/version")
            hunt.server_ends = True
            await server.running.server.projects.shutdown(open_again=True)
            await clients
        guard.check_empty()
        assert server.processes() == {}
        hunt.server_ends = False
        async with serving() as server:
            await hunt.run(server, "after")
            await all_gone(server, guard, chain.from_iterable(hunt.nodes.values()))
        guard.check_empty()
        # aiohttp waits a moment for the rest of a refused body, whose client may have gone.
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*asyncio.all_tasks() - before, return_exceptions=True)
    except BaseException as error:
        error.add_note(f"Seed {seed}. What was asked for and answered:")
        error.add_note("\n".join([*hunt.history, *guard.reports]))
        raise
