"""A client that makes random requests, by a seed, and notes the answers in the model."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from crashloop.emulators import Emulator
from crashloop.model import Model, NodeModel, NodeState, Process, ProjectModel, ProjectState
from crashloop.processes import main_process

REQUEST_SECONDS = 60.0
AT_ONCE = 4
"""How many requests about one project may be under way at the same time."""


class Unanswered(Exception):
    """The server has gone."""


class Violation(Exception):
    """The server has broken a promise."""


class Client:
    """Drives the server until it is gone.

    :param consoles: ports that nodes may be given, a separate range for each node.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        model: Model,
        emulator: Emulator,
        rng: random.Random,
        consoles: Mapping[str, range],
    ) -> None:
        self._session = session
        self._model = model
        self._emulator = emulator
        self._rng = rng
        self._consoles = consoles
        self.sent = 0
        self.unanswered = 0
        self.gone = False
        self._sending = asyncio.Condition()

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, parsed: bool = True
    ) -> Any:
        """Make one request that must succeed.

        :param parsed: the answer is JSON; anything else is not looked at.
        :raises Unanswered: the server has gone.
        :raises Violation: it refuses.
        """
        what = f"{method} {path} {json.dumps(body or {})}"
        self.sent += 1
        self.unanswered += 1
        self._model.history.append(f"-> {what}")
        async with self._sending:
            self._sending.notify_all()
        try:
            async with self._session.request(method, path, json=body or {}) as answer:
                status, content = answer.status, await answer.read()
        except (aiohttp.ClientError, ConnectionError) as error:
            self.gone = True
            self._model.history.append(f"?? {what}: {type(error).__name__}")
            # The request stays counted: it is a change in flight.
            raise Unanswered from error
        self.unanswered -= 1
        self._model.history.append(f"<- {what}: {status}")
        if status >= 400:
            raise Violation(f"{what} was answered with {status} {content.decode()}")
        return json.loads(content) if content and parsed else None

    async def busy(self, requests: int) -> None:
        """Wait until this many requests were sent, and one of them waits for its answer."""
        async with self._sending:
            await self._sending.wait_for(lambda: self.sent >= requests and self.unanswered > 0)

    async def drive(self) -> None:
        """Work on all projects until the server has gone."""
        await asyncio.gather(*(self._work_on(project) for project in self._model.projects))

    async def _work_on(self, project: ProjectModel) -> None:
        while not self.gone:
            steps: list[Awaitable[None]]
            state = project.known
            if state is None or not state.open:
                steps = [self.open(project)]
            elif project.closed_before:
                steps = [self.take_stock(project)]
            elif self._rng.random() < 0.15:
                steps = [self._step_project(project, state)]
            else:
                nodes = self._rng.sample(project.nodes, AT_ONCE)
                steps = [self._step_node(project, node) for node in nodes]
            for result in await asyncio.gather(*steps, return_exceptions=True):
                if isinstance(result, BaseException) and not isinstance(result, Unanswered):
                    raise result

    # Projects ----------------------------------------------------------------

    async def open(self, project: ProjectModel) -> None:
        """Create a project, or open one that is closed."""
        before = project.known
        if before is None:
            # Files that it left there when it moved would come back with it.
            await asyncio.to_thread(shutil.rmtree, project.home, ignore_errors=True)
        new = ProjectState(self._some_name(), project.home)
        if before is not None:
            new = replace(before, name=new.name, open=True)
        project.states = [before, new]
        await self.ask("POST", "/v1/projects", {"project_id": project.id, "name": new.name})
        project.settle(new)

    def _some_name(self) -> str:
        return f"lab {self._rng.randrange(1000)}"

    async def take_stock(self, project: ProjectModel) -> None:
        """See which consoles the nodes of a reopened project have, and unplug their wires:
        its ports may be another's by now.
        """
        path = f"/v1/projects/{project.id}/{self._emulator.type}/vms"
        consoles = {node["vm_id"]: node["console"] for node in await self.ask("GET", path)}
        for node in project.nodes:
            if node.known is not None:
                state = replace(node.known, console=consoles[node.id])
                node.states = [state]
                if state.wire is not None:
                    await self._unwire(project, node, state)
        project.closed_before = False

    async def _step_project(self, project: ProjectModel, state: ProjectState) -> None:
        steps = self._project_steps()
        await self._rng.choices([*steps], weights=[*steps.values()])[0](project, state)

    def _project_steps(
        self,
    ) -> dict[Callable[[ProjectModel, ProjectState], Awaitable[None]], int]:
        """What may be done with a project, and how often."""
        return {
            self._change_project: 6,
            self._commit: 3,
            self._close: 2,
            self._delete_project: 1,
        }

    async def _change_project(self, project: ProjectModel, state: ProjectState) -> None:
        """Change some of its values at once; changing its path takes the longest."""
        places = [project.home, *(project.home.with_name(f"{project.id}-{n}") for n in range(2))]
        changes: dict[str, Any] = {
            "name": self._some_name(),
            "path": self._rng.choice(places),
            "temporary": self._rng.random() < 0.5,
        }
        chosen = self._rng.sample([*changes], self._rng.randint(1, 3))
        new = replace(state, **{key: changes[key] for key in chosen})
        project.states = [state, new]
        body = {key: getattr(new, key) for key in chosen} | {"path": str(new.path)}
        await self.ask("PUT", f"/v1/projects/{project.id}", body)
        project.settle(new)

    async def _commit(self, project: ProjectModel, _: ProjectState) -> None:
        await self.ask("POST", f"/v1/projects/{project.id}/commit")

    async def _close(self, project: ProjectModel, state: ProjectState) -> None:
        after = None if state.temporary else replace(state, open=False)
        project.closed_before = True
        await self._end(project, state, after, "POST", self._end_path(project, "/close"))

    async def _delete_project(self, project: ProjectModel, state: ProjectState) -> None:
        await self._end(project, state, None, "DELETE", self._end_path(project, ""))

    def _end_path(self, project: ProjectModel, end: str) -> str:
        return f"/v1/projects/{project.id}{end}"

    async def _end(
        self,
        project: ProjectModel,
        before: ProjectState,
        after: ProjectState | None,
        method: str,
        path: str,
    ) -> None:
        project.states = [before, after]
        for node in project.nodes:
            state = node.known
            # Its console may be another's when the project is open again.
            stopped = state and replace(state, started=False)
            left = stopped and replace(stopped, console=None) if after else None
            node.begin(state, stopped, left, events=end_of(state))
        await self.ask(method, path)
        for node in project.nodes:
            node.finish()
            node.process = None
        project.settle(after)

    # Nodes -------------------------------------------------------------------

    def _path(self, project: ProjectModel, node: NodeModel, end: str = "") -> str:
        return f"/v1/projects/{project.id}/{self._emulator.type}/vms/{node.id}{end}"

    async def _ask_node(self, method: str, project: ProjectModel, node: NodeModel, end: str) -> Any:
        return await self.ask(method, self._path(project, node, end))

    async def _step_node(self, project: ProjectModel, node: NodeModel) -> None:
        state = node.known
        if state is None:
            await self._create(project, node)
            return
        steps: dict[Callable[[ProjectModel, NodeModel, NodeState], Awaitable[None]], int] = {
            self._update: 3,
            self._stop: 2 if state.started else 1,
            self._delete: 1,
        }
        if state.wire is None:
            steps[self._wire] = 6
        else:
            steps |= {self._start: 6, self._unwire: 1, self._reload: 1}
        step = self._rng.choices([*steps], weights=[*steps.values()])[0]
        await step(project, node, state)

    async def _create(self, project: ProjectModel, node: NodeModel) -> None:
        new = NodeState(f"PC-{self._rng.randrange(1000)}", None, self._some_text())
        node.begin(None, new, events=[["vm.created"]])
        values = {"name": new.name, "vm_id": node.id, self._emulator.text: new.text}
        path = f"/v1/projects/{project.id}/{self._emulator.type}/vms"
        made = await self.ask("POST", path, {**self._emulator.values, **values})
        node.finish()
        node.states = [replace(new, console=made["console"])]

    def _some_text(self) -> str:
        return f"echo {self._rng.randrange(10**6)}\n"

    async def _update(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        changes: dict[str, tuple[str, Any]] = {
            "name": ("name", f"PC-{self._rng.randrange(1000)}"),
            "console": ("console", self._rng.choice(self._consoles[node.id])),
            self._emulator.text: ("text", self._some_text()),
        }
        body, new = {}, state
        for key in self._rng.sample([*changes], self._rng.randint(1, 3)):
            own, value = changes[key]
            body[key], new = value, replace(new, **{own: value})
        node.begin(state, new)
        await self.ask("PUT", self._path(project, node), body)
        node.finish()

    async def _wire(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        project.allocating += 1
        path = f"/v1/projects/{project.id}/{self._emulator.allocation}"
        port = (await self.ask("POST", path))["udp_port"]
        project.allocating -= 1
        project.allocated.add(port)
        project.given[port] += 1
        node.begin(state, replace(state, wire=port))
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port}
        await self.ask("POST", self._path(project, node, f"/{self._emulator.place}"), nio)
        node.finish()

    async def _unwire(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        wire = state.wire or 0
        times = project.given[wire]
        node.begin(state, replace(state, wire=None))
        await self.ask("DELETE", self._path(project, node, f"/{self._emulator.place}"))
        node.finish()
        self._note_freed(project, wire, times)

    def _note_freed(self, project: ProjectModel, port: int, times: int) -> None:
        """Note that a port was freed, unless it was allocated again before the answer came.

        :param times: how often it had been allocated when it was to be freed.
        """
        if project.given[port] == times:
            project.allocated.discard(port)

    async def _start(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        events = [] if state.started else [["vm.started"]]
        node.begin(state, replace(state, started=True), events=events)
        await self._ask_node("POST", project, node, "/start")
        node.finish()
        if not state.started:
            await self._note_process(node)

    async def _reload(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        former = node.process and node.process.pid
        node.process = None
        events = [["vm.started"]]
        if state.started:
            events = [["vm.stopped"], ["vm.stopped", "vm.started"]]
        states = [replace(state, started=started) for started in (False, True)]
        node.begin(*states, events=events)
        await self._ask_node("POST", project, node, "/reload")
        node.finish()
        if former == await self._note_process(node):
            raise Violation(f"node {node.id} was reloaded and still has its former process")

    async def _stop(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        node.begin(state, replace(state, started=False), events=end_of(state))
        await self._ask_node("POST", project, node, "/stop")
        node.finish()
        node.process = None
        await self._expect_no_process(node)

    async def _delete(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        wire = state.wire or 0
        times = project.given[wire]
        node.begin(state, replace(state, started=False), None, events=end_of(state))
        await self._ask_node("DELETE", project, node, "")
        node.finish()
        node.process = None
        self._note_freed(project, wire, times)
        await self._expect_no_process(node)

    async def _note_process(self, node: NodeModel) -> int:
        state = node.known
        pid = await asyncio.to_thread(main_process, node.id)
        if pid is None or state is None or state.console is None:
            raise Violation(f"node {node.id} was started and has no process")
        node.process = Process(pid, state.console, state.wire)
        return pid

    async def _expect_no_process(self, node: NodeModel) -> None:
        pid = await asyncio.to_thread(main_process, node.id)
        if pid is not None:
            raise Violation(f"node {node.id} was stopped and still has process {pid}")

    async def events(self, project: ProjectModel) -> list[dict[str, Any]]:
        """All events in the log of a project, oldest first."""
        # The gap that is told for a number not yet reached names the number that comes next.
        (gap,) = await self._listen(project, 10**9, 1)
        return await self._listen(project, 0, gap["event"]["first"] - 1)

    async def _listen(self, project: ProjectModel, since: int, count: int) -> list[dict[str, Any]]:
        path = f"/v1/projects/{project.id}/notifications?since={since}"
        async with self._session.get(path) as answer:
            ping, *told = [json.loads(await answer.content.readline()) for _ in range(count + 1)]
        if ping != {"action": "ping"}:
            raise Violation(f"a stream of project {project.id} began with {ping}")
        return told


def end_of(state: NodeState | None) -> list[list[str]]:
    """The events of the end of a node in this state."""
    return [["vm.stopped"]] if state is not None and state.started else []
