"""What becomes of nodes that outlive their server, and of those that do not."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from api_calls import ID, PROJECT, new_project, new_toy, status
from faults import read_only

from gns3server.ports import Use
from gns3server.testing import Client


@pytest.fixture
def keeping(serving):
    """Makes servers one after the other on the same directories, which leave nodes running."""
    return partial(serving, keep_nodes=True)


def toy_path(node: dict[str, Any]) -> str:
    return f"{PROJECT}/toy/vms/{node['vm_id']}"


async def make(client: Client, **values: Any) -> str:
    """Make a toy in the project, which is made if need be; returns its path."""
    return await new_toy(client, await new_project(client, project_id=ID), **values)


def end(pid: int) -> None:
    """Kill a node's process, which is a child of this one, and reap it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("temporary", [True, False])
async def test_a_node_that_ran_on_is_as_any_other(keeping, nodes, build, temporary):
    async with keeping() as server:
        made = await build(server.client, ID, temporary=temporary)
        toy = toy_path(made[0])
        project, shown = [(await server.client.get(path)).json for path in (PROJECT, toy)]
        listed = (await server.client.get(f"{PROJECT}/toy/vms")).json
    (pid,) = nodes()
    async with keeping(keep_nodes=False) as server:
        client = server.client
        assert (await client.get("/v1/projects")).json == [project]
        assert (await client.get(f"{PROJECT}/toy/vms")).json == listed
        assert (await client.get(toy)).json == shown
        assert [node["status"] for node in listed] == ["started", "stopped"]
        # Neither a start nor a client that opens its lab again changes anything.
        assert (await client.post(f"{toy}/start")).status == 204
        body = {"vm_id": shown["vm_id"], "name": "other"}
        answer = await client.post(f"{PROJECT}/toy/vms", body)
        assert (answer.status, answer.json) == (201, shown)
        assert nodes() == {pid}
        assert (await client.post(f"{toy}/reload")).status == 204
        assert len(nodes() - {pid}) == len(nodes()) == 1
        assert (await client.post(f"{toy}/stop")).status == 204
        assert nodes() == set()
        assert await status(client, toy) == "stopped"
        # Nor does its second life differ from its first.
        assert (await client.post(f"{PROJECT}/toy/vms", body)).json == shown | {"status": "stopped"}


@pytest.mark.parametrize("action", ["delete", "close", "delete project", "shutdown", "end"])
async def test_what_was_adopted_ends_in_every_way(keeping, nodes, build, action):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
    assert len(nodes()) == 1
    async with keeping(keep_nodes=action != "end") as server:
        client = server.client
        if action == "delete":
            assert (await client.delete(toy)).status == 204
        elif action == "close":
            assert (await client.post(f"{PROJECT}/close")).status == 204
        elif action == "delete project":
            assert (await client.delete(PROJECT)).status == 204
        elif action == "shutdown":
            assert (await client.post("/v1/server/shutdown")).status == 201
    assert nodes() == set()


@pytest.mark.statement("NOTIF-08")
async def test_the_end_of_an_adopted_node_is_told_at_once(keeping):
    async with keeping() as server:
        toy = await make(server.client, mode="quit-on-connect")
        await server.client.post(f"{toy}/start")
        console = (await server.client.get(toy)).json["console"]
    async with keeping(keep_nodes=False) as server, server.client.listen() as told:
        assert await anext(told) == {"action": "ping"}
        _, writer = await asyncio.open_connection("127.0.0.1", console)
        event = await anext(told)
        writer.close()
        assert (event["action"], event["event"]["status"]) == ("vm.stopped", "stopped")
        # An exit code cannot be had, so there was nothing to report in between.
        assert (await server.client.post(f"{toy}/start")).status == 204
        assert (await anext(told))["action"] == "vm.started"


async def test_an_adopted_node_that_loses_a_process_is_reported(keeping, nodes):
    async with keeping() as server:
        toy = await make(server.client, mode="forks")
        await server.client.post(f"{toy}/start")
    pids = nodes()
    assert len(pids) == 2
    async with keeping() as server, server.client.listen() as told:
        assert await anext(told) == {"action": "ping"}
        os.kill(max(pids), signal.SIGKILL)
        assert [(await anext(told))["action"] for _ in range(2)] == ["vm.stopped", "log.error"]
        assert nodes() == set()


async def test_what_died_meanwhile_is_stopped(keeping, nodes, build, caplog):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
    (pid,) = nodes()
    end(pid)
    for told in (1, 0):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            async with keeping() as server:
                assert await status(server.client, toy) == "stopped"
        assert caplog.text.count("it ended while no server ran") == told


async def test_a_death_that_no_server_saw_is_announced(keeping, nodes, build):
    async with keeping() as server:
        await build(server.client, ID)
    (pid,) = nodes()
    end(pid)
    async with keeping() as server:
        path = f"/v1/projects/{ID}/notifications?since=0"
        async with server.client.listen(path) as events:
            # The ping, both creations and the start; then what happened without a server.
            *_, last = [await anext(events) for _ in range(5)]
        assert (last["action"], last["event"]["name"]) == ("vm.stopped", "PC0")
        assert last["event"]["status"] == "stopped"


@pytest.mark.parametrize("what", ["start_time", "boot_id"])
async def test_a_process_that_has_got_the_pid_of_a_node_is_left_alone(
    keeping, nodes, build, gns3_settings, what
):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
    (pid,) = nodes()
    # As if the node had died: it would have had another run id and another of these, too.
    value = {"start_time": 1, "boot_id": "before"}[what]
    sql = f"UPDATE run SET id = 'x', processes = json_set(processes, '$[0].{what}', ?)"
    file = gns3_settings.projects_path / ID / "project.db"
    with closing(sqlite3.connect(file)) as records, records:
        assert records.execute(sql, (value,)).rowcount == 1
    async with keeping(keep_nodes=False) as server:
        assert await status(server.client, toy) == "stopped"
        assert (await server.client.delete(toy)).status == 204
    assert nodes() == {pid}
    end(pid)


async def test_ports_of_an_adopted_process_stay_its_own_until_it_is_gone(keeping, gns3_settings):
    first = gns3_settings.server.udp_start_port_range
    wires = [{"type": "nio_udp", "lport": first + n, "rhost": "::", "rport": 1} for n in (0, 100)]
    async with keeping() as server:
        client = server.client
        toy, other = await make(client), await make(client)
        console = (await client.get(toy)).json["console"]
        await client.post(f"{toy}/adapters/0/ports/0/nio", wires[0])
        assert (await client.post(f"{toy}/start")).status == 204
        assert (await client.put(toy, {"console": console + 50})).status == 200
        assert (await client.post(f"{toy}/adapters/0/ports/0/nio", wires[1])).status == 201
    async with keeping(keep_nodes=False) as server:
        client = server.client
        shown = (await client.get(toy)).json
        assert (shown["console"], shown["status"]) == (console + 50, "started")
        answer = await client.put(other, {"console": console})
        assert answer.status == 409
        assert "running process" in answer.json["message"]
        assert (await client.post(f"{PROJECT}/ports/toy")).json["udp_port"] == first + 1
        assert (await client.post(f"{toy}/reload")).status == 204
        assert (await client.put(other, {"console": console})).status == 200
        assert (await client.post(f"{PROJECT}/ports/toy")).json["udp_port"] == first


async def test_an_opening_that_fails_leaves_alone_what_it_had_adopted(
    keeping, nodes, build, gns3_settings
):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
    (pid,) = nodes()
    (gns3_settings.state_path / "server.db").unlink()
    async with keeping(keep_nodes=False) as server, server.client.listen() as told:
        assert await anext(told) == {"action": "ping"}
        client, databases = server.client, server.running.server.projects.databases
        async with read_only(databases, gns3_settings.state_path / "server.db"):
            assert (await client.post("/v1/projects", {"project_id": ID})).status == 507
            assert (nodes(), len(server.ports.tcp)) == ({pid}, 0)
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
        assert await status(client, toy) == "started"
        end(pid)
        assert (await anext(told))["action"] == "vm.stopped"
        # It is told once.
        assert (await client.post(f"{toy}/start")).status == 204
        assert (await anext(told))["action"] == "vm.started"


async def test_a_node_that_cannot_be_shown_ends_all_the_same(keeping, nodes, faulty_plugin, caplog):
    fault = (
        "async def snapshot(self, plain=ToyNode.snapshot):\n"
        "    values = await plain(self)\n"
        "    if self.state.value != 'starting' and self.directory.with_name('fault').exists():\n"
        "        raise ZeroDivisionError\n"
        "    return values\n"
        "ToyNode.snapshot = snapshot"
    )
    plugins = [faulty_plugin(fault, name="toy", source="toy_emulator.py")]
    async with keeping(plugins=plugins) as server:
        toys = [await make(server.client) for _ in range(2)]
        for toy in toys:
            assert (await server.client.post(f"{toy}/start")).status == 204
        directory = Path((await server.client.get(toys[0])).json["vm_directory"])
        directory.with_name("fault").touch()
        async with server.client.listen() as told:
            assert await anext(told) == {"action": "ping"}
            assert (await server.client.post(f"{toys[0]}/stop")).status == 204
            assert (await anext(told))["action"] == "log.error"
    (pid,) = nodes()
    end(pid)
    async with keeping(plugins=plugins) as server:
        assert (await server.client.get("/v1/projects/damaged")).json == []
        directory.with_name("fault").unlink()
        assert [await status(server.client, toy) for toy in toys] == ["stopped"] * 2


# A plugin that is missing --------------------------------------------------------------


@pytest.mark.parametrize("action", ["close", "delete"])
async def test_nodes_of_a_missing_plugin_run_on_and_end_with_their_project(
    keeping, nodes, build, action
):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
        console = (await server.client.get(toy)).json["console"]
    (pid,) = nodes()
    async with keeping(plugins=[]) as server:
        assert server.ports.tcp.holders(console)
    async with keeping() as server:
        assert await status(server.client, toy) == "started"
    async with keeping(plugins=[]) as server:
        assert nodes() == {pid}
        if action == "close":
            assert (await server.client.post(f"{PROJECT}/close")).status == 204
        else:
            assert (await server.client.delete(PROJECT)).status == 204
        assert nodes() == set()
        assert not server.ports.tcp.holders(console)


async def test_the_end_of_a_node_whose_plugin_is_missing_is_noted(
    keeping, nodes, build, until, caplog
):
    async with keeping() as server:
        toy = toy_path((await build(server.client, ID))[0])
        console = (await server.client.get(toy)).json["console"]
    (pid,) = nodes()
    async with keeping(plugins=[]) as server:

        def uses() -> set[Use]:
            return {holder.use for holder in server.ports.tcp.holders(console)}

        async def freed() -> bool:
            return Use.RUNNING not in uses()

        assert uses() == {Use.CONSOLE, Use.RUNNING}
        end(pid)
        await until(freed)
        # Its own console it keeps.
        assert uses() == {Use.CONSOLE}
    async with keeping() as server:
        assert await status(server.client, toy) == "stopped"
    assert "while no server ran" not in caplog.text
