"""Checks a restarted server against the model, and the model against what can be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from crashloop.client import Client, Violation
from crashloop.durable import Remains
from crashloop.emulators import Emulator
from crashloop.model import Model, NodeModel, NodeState, Process, ProjectModel, ProjectState
from crashloop.processes import bound_ports, processes_of_nodes
from crashloop.second_client import canvas_of

Ports = range


class Checker:
    """Checks a server after each of its starts."""

    def __init__(self, model: Model, emulator: Emulator, consoles: Ports, udp: Ports) -> None:
        self._model = model
        self._emulator = emulator
        self._consoles = consoles
        self._udp = udp

    async def check(self, client: Client, left: dict[Path, Remains], dead: set[str]) -> None:
        """Settle what no answer has told, and find what contradicts the model.

        :param left: the records on the disk before the start, by directory.
        :param dead: nodes whose processes were ended while no server ran.
        :raises Violation: says what is wrong.
        """
        for node in self._model.nodes:
            if node.id in dead:
                node.process = None
                node.states = [state and replace(state, started=False) for state in node.states]
                node.events.append("vm.stopped")
        if damaged := await client.ask("GET", "/v1/projects/damaged"):
            raise Violation(f"there are damaged projects: {damaged}")
        listed = {shown["project_id"]: shown for shown in await client.ask("GET", "/v1/projects")}
        for project in self._model.projects:
            self._settle_project(project, listed.get(project.id))
            there = left.get(project.known.path, Remains()) if project.known else Remains()
            if project.is_open:
                self._settle_ports(project, there)
            else:
                await client.open(project)
            await self._check_nodes(client, project, there)
            if self._emulator.second_api:
                await self._check_canvas(client, project)
                await self._check_snapshots(client, project)
            await self._check_events(client, project)
            if project.closed_before:
                await client.take_stock(project)
        await self._check_processes()
        await self._check_ports(client)

    def _settle_project(self, project: ProjectModel, shown: dict[str, Any] | None) -> None:
        if shown is None:
            fitting = [state for state in project.states if state is None or not state.open]
        else:
            seen = ProjectState(shown["name"], Path(shown["path"]), shown["temporary"])
            fitting = [state for state in project.states if state == seen]
        if not fitting:
            raise Violation(f"project {project.id} is {shown}, and should be {project.states}")
        project.settle(fitting[0])

    def _settle_ports(self, project: ProjectModel, left: Remains) -> None:
        changing = {
            state.wire
            for node in project.nodes
            if len(node.states) > 1
            for state in node.states
            if state is not None
        }
        if lost := project.allocated - left.allocated - changing:
            raise Violation(f"UDP ports {lost} of project {project.id} are no longer allocated")
        new = left.allocated - project.allocated
        if len(new) > project.allocating:
            raise Violation(f"UDP ports {new} of project {project.id} were not freed")
        project.allocated, project.allocating = left.allocated, 0

    async def _check_nodes(self, client: Client, project: ProjectModel, left: Remains) -> None:
        path = f"/v1/projects/{project.id}/{self._emulator.type}/vms"
        seen = {node["vm_id"]: node for node in await client.ask("GET", path)}
        places = await self._places(client, project, seen)
        for node in project.nodes:
            shown = seen.pop(node.id, None)
            actual = None
            if shown is not None:
                state = self._state(shown, left.wires.get(node.id))
                actual = replace(state, place=places.get(node.id))
            fitting = [
                s for s in node.states if s is actual is None or (s and actual and s.fits(actual))
            ]
            if not fitting:
                raise Violation(f"node {node.id} is {actual}, and should be one of {node.states}")
            if actual is None or not actual.started:
                node.process = None
            # A place that nobody has chosen may change.
            former = fitting[0]
            node.states = [actual and replace(actual, place=former.place if former else None)]
        if seen:
            raise Violation(f"project {project.id} has nodes that nobody made: {seen}")

    async def _places(
        self, client: Client, project: ProjectModel, seen: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, int]:
        """Where nodes are drawn, by id; /v2 shows the same nodes as /v1."""
        if not self._emulator.second_api:
            return {}
        listed = await client.ask("GET", f"/v2/projects/{project.id}/nodes")
        same = ("name", "console", "status")
        one = {node_id: {key: node[key] for key in same} for node_id, node in seen.items()}
        other = {node["node_id"]: {key: node[key] for key in same} for node in listed}
        if one != other:
            raise Violation(f"project {project.id} has the nodes {one}, and by /v2 {other}")
        models = {node.id: node for node in project.nodes}
        for node in listed:
            chosen = {state and state.place for state in models[node["node_id"]].states}
            if node["x"] in chosen and node["locked"] is not (node["x"] % 2 == 1):
                raise Violation(f"half of a change of node {node['node_id']} is there: {node}")
        return {node["node_id"]: node["x"] for node in listed}

    async def _check_canvas(self, client: Client, project: ProjectModel) -> None:
        path = f"/v2/projects/{project.id}"
        shown, drawings = await client.ask("GET", path), await client.ask("GET", f"{path}/drawings")
        canvas = canvas_of(shown, drawings)
        if canvas not in project.canvases:
            raise Violation(f"{canvas} of project {project.id} should be of {project.canvases}")
        project.canvases = [canvas]

    async def _check_snapshots(self, client: Client, project: ProjectModel) -> None:
        """Each snapshot is there once, and nothing of others."""
        listed = await client.ask("GET", f"/v2/projects/{project.id}/snapshots")
        names = [each["name"] for each in listed]
        known = project.snapshots | project.coming
        if {*project.snapshots} - {*names} or {*names} - {*known} or len({*names}) < len(names):
            raise Violation(f"project {project.id} has the snapshots {names}, not {[*known]}")
        project.snapshots, project.coming = {name: known[name] for name in names}, {}
        state = project.known
        kept = state and state.path / ".gns3_snapshots"
        ids = {entry.name for entry in kept.iterdir()} if kept and kept.exists() else set()
        if ids != {each["snapshot_id"] for each in listed}:
            raise Violation(f"project {project.id} has files of the snapshots {ids}, not {listed}")

    async def _check_events(self, client: Client, project: ProjectModel) -> None:
        """The event log tells of each change once, in order, and of nothing else."""
        told = await client.events(project)
        if (numbers := [event["seq"] for event in told]) != [*range(1, len(told) + 1)]:
            raise Violation(f"the events of project {project.id} are numbered {numbers}")
        actions: dict[str, list[str]] = {node.id: [] for node in project.nodes}
        for event in told:
            if "vm_id" not in event["event"]:
                # Of the project.
                continue
            actions.setdefault(event["event"]["vm_id"], []).append(event["action"])
        for node in project.nodes:
            found = actions.pop(node.id)
            possible = [node.events + more for more in node.coming]
            runs = bool(node.known and node.known.started)
            if found not in possible or runs is not (found[-1:] == ["vm.started"]):
                raise Violation(
                    f"the log tells {found} of node {node.id}, which is {node.known}, and should "
                    f"tell one of {possible}"
                )
            node.events, node.coming = found, [[]]
        if actions:
            raise Violation(
                f"the log of project {project.id} tells of nodes that nobody made: {actions}"
            )

    def _state(self, shown: dict[str, Any], wire: int | None) -> NodeState:
        return NodeState(
            name=shown["name"],
            console=shown["console"],
            text=shown[self._emulator.text],
            wire=wire,
            started=shown["status"] == "started",
        )

    async def _check_processes(self) -> None:
        """Each started node has the process that it had, or exactly one; nothing else runs."""
        await asyncio.to_thread(self._compare_processes)

    def _compare_processes(self) -> None:
        ours: dict[str, dict[str, list[psutil.Process]]] = {n.id: {} for n in self._model.nodes}
        for node_id, run_id, process in processes_of_nodes():
            if node_id in ours:
                ours[node_id].setdefault(run_id, []).append(process)
        for node in self._model.nodes:
            state, runs = node.known, ours[node.id]
            if state is None or not state.started:
                if runs:
                    raise Violation(f"node {node.id} is {state} and has the processes {runs}")
                continue
            if len(runs) != 1:
                raise Violation(f"node {node.id} is started and has {len(runs)} runs: {runs}")
            ((main, *_),) = runs.values()
            self._compare_process(node, state, main)

    def _compare_process(self, node: NodeModel, state: NodeState, main: psutil.Process) -> None:
        if node.process is None:
            node.process = as_seen(main, state, self._consoles, self._udp)
        if main.pid != node.process.pid:
            raise Violation(f"node {node.id} has process {main.pid} instead of {node.process.pid}")
        wanted = {node.process.console, node.process.wire} - {None}
        if missing := wanted - bound_ports(main):
            raise Violation(f"process {main.pid} of node {node.id} has lost the ports {missing}")

    async def _check_ports(self, client: Client) -> None:
        """The lowest free ports are those of the model: none is leaked and none is lost."""
        path = f"/v1/projects/{(await client.ask('POST', '/v1/projects'))['project_id']}"
        values = {**self._emulator.values, "name": "probe"}
        node = await client.ask("POST", f"{path}/{self._emulator.type}/vms", values)
        udp = (await client.ask("POST", f"{path}/{self._emulator.allocation}"))["udp_port"]
        await client.ask("DELETE", path)
        taken, wired = self._taken()
        expected = next(port for port in self._consoles if port not in taken)
        if node["console"] != expected:
            raise Violation(f"the lowest free console is {node['console']}, not {expected}")
        near = {
            port + sign * c for port in wired for c in self._emulator.companions for sign in (1, -1)
        }
        expected = next(port for port in self._udp if port not in wired | near)
        if udp != expected:
            raise Violation(f"the lowest free UDP port is {udp}, not {expected}")

    def _taken(self) -> tuple[set[int], set[int]]:
        consoles, udp = set[int](), set[int]()
        for project in self._model.projects:
            udp |= project.allocated
        for node in self._model.nodes:
            state = node.known
            if state is not None:
                consoles.add(state.console or 0)
            if node.process is not None:
                consoles.add(node.process.console)
            udp |= {user.wire for user in (state, node.process) if user and user.wire is not None}
        return consoles, udp


def as_seen(main: psutil.Process, state: NodeState, consoles: Ports, udp: Ports) -> Process:
    """What can be known of a process that nobody has seen start.

    The ports it was started with are those it has bound: its node may have another console by
    now, and another wire.

    :param state: of its node.
    :param consoles: the ports that nodes have for consoles.
    :param udp: the ports that nodes have for wires.
    """
    bound = sorted(bound_ports(main))
    console = next((port for port in bound if port in consoles), state.console or 0)
    # The first: further ports of an emulator are higher.
    wire = next((port for port in bound if port in udp), None)
    return Process(main.pid, console, wire)
