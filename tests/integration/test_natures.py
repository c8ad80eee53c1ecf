"""Nodes of every nature: without a process, without a console, always on, suspended, parked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gns3server.errors import Conflict
from gns3server.nodes import lifecycle
from gns3server.nodes.states import NodeState

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PROJECT = f"/v1/projects/{ID}"


@pytest.fixture
def plugins():
    return {"natures": "toy_natures"}


@pytest.fixture
def serve(gns3_process, install_plugins, tmp_path):
    """Starts servers that can be killed, one after the other on the same directories."""

    def serve(*args: str, **plugins: str) -> Any:
        found_at = install_plugins(tmp_path / "site", **(plugins or {"natures": "toy_natures"}))
        return gns3_process(*args, environ={"PYTHONPATH": found_at}, strict_plugins=False)

    return serve


@pytest.fixture
def serve_here(gns3_serving, make_entry_point):
    """Starts servers in this process, one after the other on the same directories."""

    def serve(**options: Any) -> Any:
        return gns3_serving(
            **{"plugins": [make_entry_point("natures", "toy_natures")], "keep_nodes": True}
            | options
        )

    return serve


async def open_project(client) -> None:
    assert (await client.post("/v1/projects", {"project_id": ID, "name": "lab"})).status == 201


async def make(client, kind: str, project: str = PROJECT, **values: Any) -> str:
    answer = await client.post(f"{project}/{kind}/vms", {"name": kind, **values})
    assert answer.status == 201, answer
    return f"{project}/{kind}/vms/{answer.json['vm_id']}"


async def do(client, node: str, *actions: str, status: int = 204) -> None:
    for action in actions:
        answer = await client.post(f"{node}/{action}")
        assert answer.status == status, (action, answer)


async def state(client, node: str) -> str:
    return str((await client.get(node)).json["status"])


async def told(events, count: int) -> list[str]:
    """What so many events are about, pings left out."""
    actions: list[str] = []
    while len(actions) < count:
        event = await anext(events)
        if event["action"] != "ping":
            actions.append(event["action"].removeprefix("natures."))
    return actions


# Without a process ------------------------------------------------------------------------


async def test_the_core_keeps_the_state_of_what_is_no_process_here(client, project):
    box = await make(client, "box", project)
    async with client.listen(f"{project}/notifications") as events:
        await do(client, box, "start", "start")
        assert await state(client, box) == "started"
        assert await told(events, 2) == ["start", "vm.started"]
        await do(client, box, "stop", "stop")
        assert await state(client, box) == "stopped"
        assert await told(events, 2) == ["stop", "vm.stopped"]
        await do(client, box, "reload", "reload")
        reloaded = ["start", "vm.started", "stop", "vm.stopped", "start", "vm.started"]
        assert await told(events, 6) == reloaded
        assert (await client.delete(box)).status == 204
        assert await told(events, 3) == ["stop", "vm.stopped", "deleted"]
    assert (await client.get(box)).status == 404


async def test_a_reload_resets_what_can_be_reset_in_place(client, project):
    lathe = await make(client, "lathe", project)
    async with client.listen(f"{project}/notifications") as events:
        await do(client, lathe, "reload", "start", "reload", "suspend", "reload")
        assert await told(events, 4) == ["vm.started", "reset", "vm.suspended", "reset"]
        await client.put(lathe, {"note": "stuck"})
        answer = await client.post(f"{lathe}/reload")
        assert answer.status == 409
        assert "is stuck: pull it out" in answer.json["message"]


async def test_what_is_not_ready_is_not_started(client, project):
    lathe = await make(client, "lathe", project, note="unoiled")
    async with client.listen(f"{project}/notifications") as events:
        answer = await client.post(f"{lathe}/start")
        assert (answer.status, "is not oiled: oil it" in answer.json["message"]) == (409, True)
        await client.put(lathe, {"note": "broken"})
        answer = await client.post(f"{lathe}/start")
        assert answer.status == 409
        assert answer.json["message"] == "VM 'lathe' did not start: its program has ended."
        await client.put(lathe, {"note": ""})
        await do(client, lathe, "start")
        assert await told(events, 3) == ["updated", "updated", "vm.started"]


async def test_a_start_that_is_refused_leaves_the_node_stopped(client, project):
    box = await make(client, "box", project, note="no power")
    answer = await client.post(f"{box}/start")
    assert answer.status == 409
    assert "has no power: plug it in" in answer.json["message"]
    assert await state(client, box) == "stopped"
    await client.put(box, {"note": ""})
    await do(client, box, "start")


async def test_what_was_started_is_started_again_after_a_crash(serve):
    async with serve() as server:
        await open_project(server.client)
        boxes = [await make(server.client, "box", name=name) for name in ("a", "b", "lost")]
        for box in (boxes[0], boxes[2]):
            await do(server.client, box, "start")
        await server.client.put(boxes[2], {"note": "lost"})
        await server.kill()
    async with serve() as server:
        client = server.client
        # Requests come after what the plugin has to do first.
        assert [await state(client, box) for box in boxes] == ["started", "stopped", "stopped"]
        async with client.listen(f"{PROJECT}/notifications?since=0") as events:
            actions = await told(events, 15)
        assert sorted(actions[:11]) == sorted(
            [*["vm.created", "created"] * 3, *["start", "vm.started"] * 2, "updated"]
        )
        # The plugin has not found one of them.
        assert sorted(actions[11:]) == ["adopted", "adopted", "stop", "vm.stopped"]
        # It was stopped for good: the next server does not ask again.
        await do(client, boxes[0], "stop")
    async with serve() as server:
        assert [await state(server.client, box) for box in boxes] == ["stopped"] * 3


async def test_a_close_stops_it_and_it_stays_stopped(serve_here):
    async with serve_here() as server:
        await open_project(server.client)
        box = await make(server.client, "box")
        await do(server.client, box, "start")
        assert (await server.client.post(f"{PROJECT}/close")).status == 204
        await open_project(server.client)
        assert await state(server.client, box) == "stopped"
        await do(server.client, box, "start")
    async with serve_here() as server:
        # The server before was to keep its nodes.
        assert await state(server.client, box) == "started"


# Creation ---------------------------------------------------------------------------------

ASSASSIN = """
import os, signal
from toy_natures import *
from toy_natures import Talker
plain = Talker.created
async def created(self):
    await plain(self)
    if self.name == "victim" and not os.path.exists({mark!r}):
        open({mark!r}, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
Talker.created = created
"""


async def test_a_creation_that_a_crash_has_cut_short_is_told_again(serve, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "assassin.py").write_text(ASSASSIN.format(mark=str(tmp_path / "mark")))
    async with serve(natures="assassin") as server:
        await open_project(server.client)
        await make(server.client, "box", name="first")
        with pytest.raises(aiohttp.ClientError):
            await server.client.post(f"{PROJECT}/box/vms", {"name": "victim"})
        await server.ended()
    for _ in "once", "and not again":
        async with serve(natures="assassin") as server:
            client = server.client
            (victim,) = [
                node
                for node in (await client.get(f"{PROJECT}/box/vms")).json
                if node["name"] == "victim"
            ]
            # A request on it comes after what is done first.
            await client.get(f"{PROJECT}/box/vms/{victim['vm_id']}")
            async with client.listen(f"{PROJECT}/notifications?since=0") as events:
                actions = await told(events, 5)
            assert actions == ["vm.created", "created"] * 2 + ["created"]


# Consoles, adapters and ports ---------------------------------------------------------------


async def test_a_type_without_a_console_has_none_anywhere(server, client, project):
    box = await make(client, "box", project)
    assert (await client.get(box)).json["console"] is None
    assert len(server.ports.tcp) == 0
    answer = await client.post(f"{project}/box/vms", {"name": "box", "console": 4000})
    assert answer.status == 400
    assert (await client.put(box, {"console": 4000})).status == 400
    document = (await client.get("/v1/openapi.json")).json
    shown = document["components"]["schemas"]["Object"]["properties"]
    assert "null" in str(shown["console"])


async def test_a_node_says_itself_how_many_ports_it_has(server, client, project):
    lport = server.settings.server.udp_start_port_range
    node = await make(client, "box", project, sockets=2)
    nio = {"type": "nio_cable", "lport": lport}
    assert (await client.post(f"{node}/adapters/0/ports/1/nio", nio)).status == 201
    answer = await client.post(f"{node}/adapters/0/ports/2/nio", nio)
    assert answer.status == 409
    assert "ports are numbered 0 to 1" in answer.json["message"]
    # What is plugged in where there is no port any more can still be taken out.
    await client.put(node, {"sockets": 1})
    assert (await client.delete(f"{node}/adapters/0/ports/1/nio")).status == 204
    assert (await client.delete(f"{node}/adapters/0/ports/1/nio")).status == 409
    assert len(server.ports.udp) == 0


async def test_a_node_is_asked_before_a_wire_changes_and_told_after(server, client, project):
    lport = server.settings.server.udp_start_port_range
    node, nio = await make(client, "box", project), {"type": "nio_cable", "lport": lport}
    port = f"{node}/adapters/0/ports/3/nio"
    async with client.listen(f"{project}/notifications") as events:
        assert (await client.post(port, nio)).status == 201
        assert await told(events, 2) == ["wire_changing", "wire_changed"]
        await client.put(node, {"note": "fixed"})
        assert await told(events, 1) == ["updated"]
        for method, body in (("POST", {**nio, "lport": lport + 1}), ("DELETE", None)):
            answer = await client.request(method, port, body)
            assert (answer.status, "are fixed" in answer.json["message"]) == (409, True)
        assert await told(events, 2) == ["wire_changing"] * 2
        await client.put(node, {"note": ""})
        assert await told(events, 1) == ["updated"]
        assert server.ports.udp.holders(lport)
        assert not server.ports.udp.holders(lport + 1)
        assert (await client.delete(port)).status == 204
        assert await told(events, 2) == ["wire_changing", "wire_changed"]
    assert len(server.ports.udp) == 0


async def test_a_node_applies_an_update_once_it_is_stored_and_says_if_it_cannot(client, project):
    node = await make(client, "box", project)
    async with client.listen(f"{project}/notifications") as events:
        assert (await client.put(node, {"note": "fit"})).status == 200
        assert await told(events, 1) == ["updated"]
        answer = await client.put(node, {"note": "stuck"})
        assert (answer.status, "from its next start" in answer.json["message"]) == (409, True)
        assert await told(events, 1) == ["updated"]
    assert (await client.get(node)).json["note"] == "stuck"


# Sockets ------------------------------------------------------------------------------------


def runtime_of(server, node: str) -> Path:
    project, vm = node.split("/")[3], node.rpartition("/")[2]
    path: Path = server.running.server.projects.get(project).members.find(vm).runtime_directory
    return path


async def test_a_process_is_ready_when_its_socket_listens(server, client, project):
    tower = await make(client, "tower", project)
    await do(client, tower, "start")
    directory = runtime_of(server, tower)
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(directory / "monitor"))
    assert directory.stat().st_mode & 0o077 == 0
    assert len(str(directory)) < 70
    assert len(server.processes()) == 1
    async with client.listen(f"{project}/notifications") as events:
        await do(client, tower, "stop")
        assert await told(events, 2) == ["shut_down", "vm.stopped"]
    assert server.processes() == {}
    assert not directory.exists()
    node = server.running.server.projects.get(project.rpartition("/")[2]).members.find(
        tower.rpartition("/")[2]
    )
    assert node.run is None
    assert node.settings["number"] == 1
    assert node.machine is node.project.machine


async def test_a_socket_that_never_listens_is_named(server, client, project):
    tower = await make(client, "tower", project, note="deaf")
    answer = await client.post(f"{tower}/start")
    assert answer.status == 409
    assert f"{runtime_of(server, tower)}/monitor not bound" in answer.json["message"]
    assert server.processes() == {}
    assert not runtime_of(server, tower).exists()


async def test_a_socket_of_another_program_does_not_count(server, client, project):
    tower = await make(client, "tower", project, note="idle")
    directory = runtime_of(server, tower)
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(directory / "monitor"))
        foreign.listen()
        answer = await client.post(f"{tower}/start")
    assert answer.status == 409
    assert f"{directory}/monitor is in use by another process" in answer.json["message"]
    assert await state(client, tower) == "stopped"


async def test_a_node_with_a_socket_outlives_its_server(serve_here):
    async with serve_here() as server:
        await open_project(server.client)
        tower = await make(server.client, "tower")
        await do(server.client, tower, "start", "suspend")
        pids = set(server.processes())
    async with serve_here(keep_nodes=False) as server:
        client, directory = server.client, runtime_of(server, tower)
        assert set(server.processes()) == pids
        assert await state(client, tower) == "suspended"
        await do(client, tower, "resume")
        async with client.listen() as events:
            _, writer = await asyncio.open_unix_connection(directory / "monitor")
            writer.write(b"quit")
            assert await told(events, 1) == ["vm.stopped"]
            writer.close()
        assert not directory.exists()


# Suspended ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["box", "tower"])
async def test_a_node_is_suspended_and_goes_on(client, project, kind):
    node = await make(client, kind, project)
    await do(client, node, "suspend")
    assert await state(client, node) == "stopped"
    await do(client, node, "resume", status=409)
    await do(client, node, "start")
    async with client.listen(f"{project}/notifications") as events:
        await do(client, node, "suspend", "suspend")
        assert await state(client, node) == "suspended"
        words = ["suspend"] * (kind == "box")
        assert await told(events, 1 + len(words)) == [*words, "vm.suspended"]
        await do(client, node, "resume", "resume")
        assert await state(client, node) == "started"
        words = ["resume"] * (kind == "box")
        assert await told(events, 1 + len(words)) == [*words, "vm.resumed"]
        await do(client, node, "suspend", "start")
        assert await state(client, node) == "started"
        own = ("suspend", "resume") if kind == "tower" else ()
        words = ["suspend", "vm.suspended", "resume", "vm.started"]
        expected = [word for word in words if word not in own]
        assert await told(events, len(expected)) == expected
        await do(client, node, "suspend", "stop")
        assert await state(client, node) == "stopped"


async def test_a_type_that_cannot_suspend_has_no_such_routes(client, project):
    switch = await make(client, "ethernet_switch", project)
    for action in ("suspend", "resume"):
        assert (await client.post(f"{switch}/{action}")).status == 404


# Always on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ethernet_switch", "beacon"])
async def test_what_is_always_on_is_never_seen_stopped(client, project, kind):
    async with client.listen(f"{project}/notifications") as events:
        node = await make(client, kind, project)
        assert await told(events, 2) == ["vm.created", "created"]
        for action in ("start", "stop", "start"):
            await do(client, node, action)
            assert await state(client, node) == "started"
        assert (await client.delete(node)).status == 204
        words = ["shut_down"] * (kind == "beacon")
        assert await told(events, 1 + len(words)) == [*words, "deleted"]


@pytest.mark.parametrize("named", [False, True])
async def test_what_is_deleted_as_soon_as_it_is_told_of_leaves_nothing(
    server, client, project, named
):
    body = {"name": "beacon", **({"vm_id": ID} if named else {})}
    async with client.listen(f"{project}/notifications") as events:
        making = asyncio.create_task(client.post(f"{project}/beacon/vms", body))
        while (event := await anext(events))["action"] != "vm.created":
            pass
        # It is not up yet.
        beacon = f"{project}/beacon/vms/{event['event']['vm_id']}"
        assert (await client.delete(beacon)).status == 204
    assert server.processes() == {}
    assert (await making).status == 201
    assert (await client.get(f"{project}/beacon/vms")).json == []


async def test_what_is_always_on_runs_from_its_creation_to_the_close(server, client, project):
    beacon = await make(client, "beacon", project)
    (pid,) = server.processes()
    await do(client, beacon, "stop")
    assert set(server.processes()) == {pid}
    await do(client, beacon, "reload")
    (second,) = server.processes()
    assert second != pid
    assert (await client.post(f"{project}/close")).status == 204
    assert server.processes() == {}
    body = {"project_id": project.rpartition("/")[2]}
    assert (await client.post("/v1/projects", body)).status == 201
    # A request on it comes after its start.
    assert await state(client, beacon) == "started"
    assert len(server.processes()) == 1


async def test_what_is_always_on_is_there_again_when_a_server_listens(serve, nodes):
    async with serve() as server:
        await open_project(server.client)
        beacon = await make(server.client, "beacon")
        (pid,) = nodes()
        await server.kill()
    os.kill(pid, signal.SIGKILL)
    async with serve() as server:
        assert await state(server.client, beacon) == "started"
        assert len(nodes() - {pid}) == 1
        # It is not started twice where it has gone on.
        (second,) = nodes()
        await server.kill()
    async with serve() as server:
        assert await state(server.client, beacon) == "started"
        assert nodes() == {second}


async def test_what_is_always_on_and_cannot_be_is_reported_and_tried_again(server, client, project):
    async with client.listen(f"{project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        beacon = await make(client, "beacon", project, note="deaf")
        assert await told(events, 2) == ["vm.created", "created"]
        error = await anext(events)
        assert error["action"] == "log.error"
        assert "is not up: VM 'beacon' did not start" in error["event"]["message"]
    assert server.processes() == {}
    await client.put(beacon, {"note": ""})
    await do(client, beacon, "start")
    assert len(server.processes()) == 1


# Parked -----------------------------------------------------------------------------------


async def test_a_node_whose_plugin_is_missing_keeps_all_that_it_has(
    serve_here, gns3_settings, make_entry_point
):
    async with serve_here() as server:
        client = server.client
        await open_project(client)
        tower = await make(client, "tower")
        nio = {"type": "nio_cable", "lport": gns3_settings.server.udp_start_port_range}
        assert (await client.post(f"{tower}/adapters/0/ports/1/nio", nio)).status == 201
        await do(client, tower, "start")
        shown, pids = (await client.get(tower)).json, set(server.processes())
    async with serve_here(plugins=[make_entry_point("toy", "toy_emulator")]) as server:
        project = server.running.server.projects.get(ID)
        (parked,) = project.members
        assert parked.type.name == "tower"
        assert parked.state is NodeState.STARTED
        assert set(server.processes()) == pids
        assert (await server.client.get(tower)).status == 404
        body = {"name": "x", "vm_id": parked.id}
        answer = await server.client.post(f"{PROJECT}/toy/vms", body)
        assert answer.status == 409
        assert "by a VM of the type tower" in answer.json["message"]
    async with serve_here() as server:
        assert (await server.client.get(tower)).json == shown
        assert set(server.processes()) == pids
        assert server.ports.udp.holders(nio["lport"])
        await do(server.client, tower, "stop")
    async with serve_here(plugins=[]) as server:
        project = server.running.server.projects.get(ID)
        (parked,) = project.members
        with pytest.raises(Conflict, match="no plugin of this server offers its type 'tower'"):
            await lifecycle.start(parked)
