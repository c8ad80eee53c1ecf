"""The same client with a second API: half of its requests go through /v2, whose objects have more.

What is kept there alone is checked as well: places of nodes, drawings, values of projects, and
snapshots, which may be restored.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from crashloop.client import Client, end_of
from crashloop.model import Canvas, NodeModel, NodeState, ProjectModel, ProjectState, Snapshot

MOST_SNAPSHOTS = 4


def placed(place: int) -> dict[str, Any]:
    """What a node is given along with a place: in two records, which one request changes."""
    return {"x": place, "locked": place % 2 == 1}


def in_order(drawings: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Drawings in the order of their ids."""
    return tuple(sorted(drawings.items()))


class SecondClient(Client):
    """Drives the server through both APIs."""

    def _second(self) -> bool:
        return self._rng.random() < 0.5

    async def _ask_node(self, method: str, project: ProjectModel, node: NodeModel, end: str) -> Any:
        if self._second():
            path = f"/v2/projects/{project.id}/nodes/{node.id}{end}"
            return await self.ask(method, path)
        return await super()._ask_node(method, project, node, end)

    # Projects ----------------------------------------------------------------

    async def open(self, project: ProjectModel) -> None:
        before = project.known
        if before is None or not self._second():
            await super().open(project)
            return
        new = replace(before, open=True)
        project.states = [before, new]
        await self.ask("POST", f"/v2/projects/{project.id}/open")
        project.settle(new)

    def _end_path(self, project: ProjectModel, end: str) -> str:
        version = "v2" if self._second() else "v1"
        return f"/{version}/projects/{project.id}{end}"

    def _project_steps(
        self,
    ) -> dict[Callable[[ProjectModel, ProjectState], Awaitable[None]], int]:
        return {
            **super()._project_steps(),
            self._draw: 4,
            self._start_all: 2,
            self._stop_all: 1,
            self._take_snapshot: 2,
            self._restore: 2,
            self._delete_snapshot: 1,
            self._export: 1,
        }

    async def _draw(self, project: ProjectModel, _: ProjectState) -> None:
        """Change a drawing, or how large the project is shown."""
        canvas, path = project.canvas, f"/v2/projects/{project.id}"
        drawings, value = dict(canvas.drawings), self._rng.randint(1, 500)
        chosen = self._rng.choice([*drawings, None, None])
        body: dict[str, Any]
        method, body, expected = "PUT", {"x": value}, f"{path}/drawings/{chosen}"
        if chosen is None and self._rng.random() < 0.5:
            canvas, body, expected = replace(canvas, zoom=value), {"zoom": value}, path
        elif chosen is None:
            chosen = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
            drawings[chosen] = value
            method, expected = "POST", f"{path}/drawings"
            body = {"drawing_id": chosen, "svg": "<svg/>", "x": value}
        elif self._rng.random() < 0.3:
            method, body = "DELETE", {}
            del drawings[chosen]
        else:
            drawings[chosen] = value
        project.canvases = [project.canvas, replace(canvas, drawings=in_order(drawings))]
        await self.ask(method, expected, body)
        project.canvases = project.canvases[-1:]

    async def _start_all(self, project: ProjectModel, _: ProjectState) -> None:
        starting = [
            node
            for node in project.nodes
            if node.known is not None and node.known.wire is not None and not node.known.started
        ]
        for node in starting:
            node.begin(node.known, replace(_there(node), started=True), events=[["vm.started"]])
        await self.ask("POST", f"/v2/projects/{project.id}/nodes/start")
        for node in starting:
            node.finish()
            await self._note_process(node)

    async def _stop_all(self, project: ProjectModel, _: ProjectState) -> None:
        running = [node for node in project.nodes if node.known and node.known.started]
        for node in running:
            node.begin(node.known, replace(_there(node), started=False), events=end_of(node.known))
        await self.ask("POST", f"/v2/projects/{project.id}/nodes/stop")
        for node in running:
            node.finish()
            node.process = None
            await self._expect_no_process(node)

    # Snapshots ---------------------------------------------------------------

    async def _take_snapshot(self, project: ProjectModel, _: ProjectState) -> None:
        if len(project.snapshots) >= MOST_SNAPSHOTS:
            return
        for node in project.nodes:
            state = node.known
            if state is not None and state.wire is not None:
                # Its port may be another project's when the snapshot is restored.
                await self._unwire(project, node, state)
        name = f"snapshot {self._rng.getrandbits(40)}"
        states = {node.id: node.known for node in project.nodes}
        project.coming = {name: Snapshot(states, project.canvas)}
        await self.ask("POST", f"/v2/projects/{project.id}/snapshots", {"name": name})
        project.snapshots |= project.coming
        project.coming = {}

    async def _delete_snapshot(self, project: ProjectModel, _: ProjectState) -> None:
        if not project.snapshots:
            return
        name = self._rng.choice(sorted(project.snapshots))
        path = await self._path_of(project, name)
        project.coming = {name: project.snapshots.pop(name)}
        await self.ask("DELETE", path)
        project.coming = {}

    async def _restore(self, project: ProjectModel, _: ProjectState) -> None:
        """Bring a project back to a snapshot; consoles may be another's by now."""
        if not project.snapshots:
            return
        name = self._rng.choice(sorted(project.snapshots))
        path, snapshot = await self._path_of(project, name), project.snapshots[name]
        project.closed_before = True
        project.canvases = [project.canvas, snapshot.canvas]
        for node in project.nodes:
            state, kept = node.known, snapshot.nodes[node.id]
            after = kept and replace(kept, started=False, console=None)
            told = end_of(state)
            created = [["vm.created"]] if state is None and after is not None else []
            stopped = state and replace(state, started=False)
            node.begin(state, stopped, after, events=[*told, *created])
        await self.ask("POST", f"{path}/restore")
        project.canvases = project.canvases[-1:]
        for node in project.nodes:
            node.finish()
            node.process = None
            await self._expect_no_process(node)
        await self.take_stock(project)

    async def _path_of(self, project: ProjectModel, name: str) -> str:
        path = f"/v2/projects/{project.id}/snapshots"
        ids = {each["name"]: each["snapshot_id"] for each in await self.ask("GET", path)}
        return f"{path}/{ids[name]}"

    async def _export(self, project: ProjectModel, _: ProjectState) -> None:
        await self.ask("GET", f"/v2/projects/{project.id}/export", parsed=False)

    # Nodes -------------------------------------------------------------------

    def _some_node_name(self) -> str:
        # No two nodes of a project have the same name there.
        return f"PC-{self._rng.getrandbits(40)}"

    async def _create(self, project: ProjectModel, node: NodeModel) -> None:
        if not self._second():
            await super()._create(project, node)
            return
        place = self._rng.randint(1, 500)
        new = NodeState(self._some_node_name(), None, self._some_text(), place=place)
        node.begin(None, new, events=[["vm.created"]])
        made = await self.ask(
            "POST",
            f"/v2/projects/{project.id}/nodes",
            {
                "name": new.name,
                "node_id": node.id,
                "node_type": self._emulator.type,
                "compute_id": "local",
                "properties": {self._emulator.text: new.text},
                **placed(place),
            },
        )
        node.finish()
        node.states = [replace(new, console=made["console"])]

    async def _update(self, project: ProjectModel, node: NodeModel, state: NodeState) -> None:
        if not self._second():
            await super()._update(project, node, state)
            return
        console, place = self._rng.choice(self._consoles[node.id]), self._rng.randint(1, 500)
        name, text = self._some_node_name(), self._some_text()
        changes: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
            "name": ({"name": name}, {"name": name}),
            "console": ({"console": console}, {"console": console}),
            "text": ({"properties": {self._emulator.text: text}}, {"text": text}),
            "place": (placed(place), {"place": place}),
        }
        body: dict[str, Any] = {}
        new = state
        for key in self._rng.sample([*changes], self._rng.randint(1, 4)):
            sent, changed = changes[key]
            body |= sent
            new = replace(new, **changed)
        node.begin(state, new)
        await self.ask("PUT", f"/v2/projects/{project.id}/nodes/{node.id}", body)
        node.finish()


def _there(node: NodeModel) -> NodeState:
    """The state of a node that exists."""
    assert node.known is not None
    return node.known


def canvas_of(project: Mapping[str, Any], drawings: list[Mapping[str, Any]]) -> Canvas:
    """What answers show of a project."""
    return Canvas(project["zoom"], in_order({each["drawing_id"]: each["x"] for each in drawings}))
