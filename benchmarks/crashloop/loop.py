"""Kill, look, start again: the loop itself, and its summary."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from labbench.box import Box
from labbench.servers import NODES, Server, start_ours

from crashloop.checks import Checker
from crashloop.client import REQUEST_SECONDS, Client, Violation
from crashloop.durable import Remains, remains
from crashloop.emulators import Emulator
from crashloop.model import Model, NodeModel, ProjectModel
from crashloop.processes import processes_of_nodes
from crashloop.second_client import SecondClient

PROJECTS, NODES_EACH = 3, 8
OWN_CONSOLES = 4
"""How many consoles there are to choose from for each node."""

SHOWN = 200
"""How many lines of the history are shown when something is wrong."""


class Way(Enum):
    """When the server is killed."""

    IN_FLIGHT = auto()
    SPAWNED = auto()
    AT_REST = auto()
    STARTING = auto()


PLAN = {Way.IN_FLIGHT: 5, Way.SPAWNED: 2, Way.AT_REST: 1, Way.STARTING: 1}
"""How often each way is used; the seed decides the order. The last way kills twice."""


@dataclass(slots=True)
class Summary:
    """How often the server was killed, and when.

    :param phases: how often in each; a kill may count for several.
    """

    seed: int
    kills: int = 0
    requests: int = 0
    adopted: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        phases = ", ".join(f"{count} {phase}" for phase, count in self.phases.most_common())
        return (
            f"seed {self.seed}: {self.kills} kills ({phases}), {self.requests} requests, "
            f"{self.adopted} times a node outlived its server, 0 violations"
        )


class CrashLoop:
    """One run of the loop.

    :param kills: how many.
    """

    def __init__(self, box: Box, emulator: Emulator, seed: int, kills: int) -> None:
        self._emulator = emulator
        self._kills = kills
        self._rng = random.Random(seed)
        self._box = box
        self._home = box.directory("crash")
        self.summary = Summary(seed)
        self._model = Model([self._new_project() for _ in range(PROJECTS)])
        self._server: Server | None = None
        self._plan: list[Way] = []

    def _new_project(self) -> ProjectModel:
        project_id = self._id()
        nodes = [NodeModel(self._id(), [None]) for _ in range(NODES_EACH)]
        return ProjectModel(project_id, self._home / "projects" / project_id, nodes)

    def _id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    async def run(self) -> Summary:
        """Kill the server as often as wanted, check it after each kill, and end it cleanly.

        :raises Violation: with the seed and the history.
        """
        try:
            server = await self._start()
            async with self._client(server) as client:
                for project in self._model.projects:
                    await client.open(project)
            while self.summary.kills < self._kills:
                server = await self._round(server)
            await self._end(server)
        except BaseException as error:
            log = self._stop()
            tail = "\n".join(self._model.history[-SHOWN:])
            raise Violation(
                f"{error!r}\nafter {self.summary.kills} kills with seed {self.summary.seed}; "
                f"the last {SHOWN} lines of {len(self._model.history)}:\n{tail}\n"
                f"the server's log ends:\n{log[-4000:]}"
            ) from error
        return self.summary

    async def _start(self) -> Server:
        # Local, because otherwise nobody could move a project.
        extra = {"GNS3_SERVER_LOCAL": "true", **self._emulator.environ}
        port = self._server.port if self._server else None
        self._server = start_ours(self._box, self._home, port=port, extra=extra)
        return self._server

    def _stop(self) -> str:
        """End the server that was started last, whoever waits for it; return its log."""
        if self._server is None:
            return ""
        self._server.process.kill()
        self._server.process.wait()
        return self._server.log.read_text()

    @asynccontextmanager
    async def _client(self, server: Server) -> AsyncIterator[Client]:
        await asyncio.to_thread(server.wait_first_answer)
        limit = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(server.url, timeout=limit, connector=connector) as session:
            kind = SecondClient if self._emulator.second_api else Client
            client = kind(
                session, self._model, self._emulator, self._rng, self._own_consoles(server)
            )
            try:
                yield client
            finally:
                self.summary.requests += client.sent

    def _own_consoles(self, server: Server) -> Mapping[str, range]:
        """Consoles that nodes are moved to: each has its own range, at the upper end."""
        first = server.port + NODES - OWN_CONSOLES * PROJECTS * NODES_EACH
        return {
            node.id: range(first + OWN_CONSOLES * n, first + OWN_CONSOLES * (n + 1))
            for n, node in enumerate(self._model.nodes)
        }

    # One round ---------------------------------------------------------------

    async def _round(self, server: Server) -> Server:
        way = self._next_way()
        async with self._client(server) as client:
            if way is Way.SPAWNED:
                await self._between_spawn_and_record(server, client)
            elif way is Way.AT_REST:
                await self._at_rest(server, client)
            else:
                await self._in_flight(server, client)
            in_flight = client.unanswered > 0
        self._count("with a change in flight" if in_flight else "with none")
        left = self._look_at_disk()
        dead = self._kill_some_nodes()
        server = await self._start()
        if way is Way.STARTING:
            await self._kill_while_starting(server)
            server = await self._start()
        async with self._client(server) as client:
            await self.check(server, client, left, dead)
        self.summary.adopted += sum(node.process is not None for node in self._model.nodes)
        return server

    async def check(
        self, server: Server, client: Client, left: dict[Path, Remains], dead: set[str]
    ) -> None:
        """Check a server that was just started against the model.

        :raises Violation: it has broken a promise.
        """
        checker = Checker(
            self._model,
            self._emulator,
            range(server.port + 1, server.port + NODES + 1),
            range(server.port + NODES + 1, server.port + 3 * NODES + 1),
        )
        await checker.check(client, left, dead)

    def _next_way(self) -> Way:
        if not self._plan:
            self._plan = [way for way, count in PLAN.items() for _ in range(count)]
            self._rng.shuffle(self._plan)
        return self._plan.pop()

    def _count(self, phase: str) -> None:
        self.summary.kills += 1
        self.summary.phases[phase] += 1
        self._model.history.append(f"!! kill {self.summary.kills}, {phase}")

    async def _in_flight(self, server: Server, client: Client) -> None:
        """Kill it a moment after some request, while it has something to do."""
        driving = asyncio.create_task(client.drive())
        await self._unless_over(driving, client.busy(self._rng.randint(5, 120)))
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        await self._unless_over(driving, client.busy(0))
        await self._kill(server)
        await driving

    async def _unless_over(
        self, driving: asyncio.Task[None], waiting: Coroutine[Any, Any, None]
    ) -> None:
        """Wait for something that will not happen if the client has found something wrong."""
        task = asyncio.create_task(waiting)
        await asyncio.wait({driving, task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await driving

    async def _between_spawn_and_record(self, server: Server, client: Client) -> None:
        """Have the next node that is started kill it."""
        self._emulator.arm()
        driving = asyncio.create_task(client.drive())
        await asyncio.to_thread(server.process.wait, REQUEST_SECONDS)
        await driving
        if self._emulator.disarm():
            raise Violation("the server ended, but no node had killed it")

    async def _at_rest(self, server: Server, client: Client) -> None:
        """Kill it while no request is under way."""
        for project in self._model.projects:
            if not project.is_open:
                await client.open(project)
        await self._kill(server)

    async def _kill_while_starting(self, server: Server) -> None:
        pause = self._rng.uniform(0, 1.0)
        await asyncio.sleep(pause)
        await self._kill(server)
        self._count("while it was starting")

    async def _kill(self, server: Server) -> None:
        server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(server.process.wait)

    def _look_at_disk(self) -> dict[Path, Remains]:
        left = {
            state.path: remains(project.id, state.path)
            for project in self._model.projects
            for state in project.states
            if state is not None
        }
        unrecorded = set[str]().union(*(found.unrecorded for found in left.values()))
        if unrecorded:
            alive = {run_id for _, run_id, _ in processes_of_nodes()} & unrecorded
            self.summary.phases["between spawn and record"] += bool(alive)
            self.summary.phases["between intent and spawn"] += bool(unrecorded - alive)
        return left

    def _kill_some_nodes(self) -> set[str]:
        """End some nodes while no server runs to see it."""
        dead = set()
        for node in self._model.nodes:
            if node.process is not None and len(node.states) == 1 and self._rng.random() < 0.1:
                os.kill(node.process.pid, signal.SIGKILL)
                psutil.wait_procs([psutil.Process(node.process.pid)])
                dead.add(node.id)
                self._model.history.append(f"!! node {node.id} is killed")
        return dead

    async def _end(self, server: Server) -> None:
        async with self._client(server) as client:
            for project in self._model.projects:
                await client.ask("DELETE", f"/v1/projects/{project.id}")
        server.process.terminate()
        code = await asyncio.to_thread(server.process.wait, REQUEST_SECONDS)
        left = [*self._box.processes()]
        if code or left:
            raise Violation(f"the server ended with {code} and left the processes {left}")
