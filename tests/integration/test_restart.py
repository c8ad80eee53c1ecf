"""What comes back after the server has ended."""

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gns3server.cli.daemon import AlreadyRunning
from gns3server.testing import processes_of

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PROJECT = f"/v1/projects/{ID}"


@pytest.fixture
def serve(gns3_serving, make_entry_point):
    """Makes servers one after the other on the same directories."""
    plugins = [make_entry_point("toy", "toy_emulator")]
    return lambda **options: gns3_serving(**{"plugins": plugins, **options})


async def test_open_projects_are_open_again(serve, build, check_wire):
    async with serve() as server:
        nodes = await build(server.client, ID)
        shown = (await server.client.get(PROJECT)).json
        assert (await server.client.post("/v1/projects", {"name": "closed"})).status == 201
        closed = (await server.client.get("/v1/projects")).json[1]["project_id"]
        assert (await server.client.post(f"/v1/projects/{closed}/close")).status == 204
    assert processes_of(server.settings.environ["GNS3_TEST_ID"]) == {}
    for _ in range(2):
        async with serve() as server:
            client = server.client
            assert (await client.get("/v1/projects")).json == [shown]
            assert (await client.get(f"{PROJECT}/toy/vms")).json == nodes
    async with serve() as server:
        client = server.client
        answer = await client.post("/v1/projects", {"project_id": closed})
        assert (answer.status, answer.json["name"]) == (201, "closed")
        toy = f"{PROJECT}/toy/vms/{nodes[0]['vm_id']}"
        assert (await client.post(f"{toy}/start")).status == 204
        assert (await client.post(f"{toy}/stop")).status == 204
        await check_wire(client, server, nodes[0])


async def test_a_client_can_go_on_as_if_nothing_had_happened(serve, build):
    async with serve() as server:
        node = (await build(server.client, ID))[0]
    async with serve() as server:
        body = {"vm_id": node["vm_id"], "name": node["name"], "console": node["console"]}
        answer = await server.client.post("/v1/projects", {"project_id": ID, "name": "lab"})
        assert answer.status == 201
        answer = await server.client.post(f"{PROJECT}/toy/vms", body)
        assert (answer.status, answer.json) == (201, node)


async def test_allocated_ports_and_choices_are_remembered(serve, tmp_path, build):
    async with serve() as server:
        client, first = server.client, server.settings.server.udp_start_port_range
        await build(client, ID, path=str(tmp_path / "lab"))
        assert (await client.post(f"{PROJECT}/ports/toy")).json["udp_port"] == first + 1
        await client.put(PROJECT, {"name": "new"})
    async with serve() as server:
        client = server.client
        shown = (await client.get(PROJECT)).json
        assert (shown["name"], shown["path"]) == ("new", str(tmp_path / "lab"))
        assert (await client.post(f"{PROJECT}/ports/toy")).json["udp_port"] == first + 2


async def test_what_was_deleted_does_not_come_back(serve, build):
    async with serve() as server:
        client = server.client
        nodes = await build(client, ID)
        await client.delete(f"{PROJECT}/toy/vms/{nodes[0]['vm_id']}")
        other = (await client.post("/v1/projects")).json["project_id"]
        await client.delete(f"/v1/projects/{other}")
    async with serve() as server:
        client = server.client
        assert [p["project_id"] for p in (await client.get("/v1/projects")).json] == [ID]
        assert (await client.get(f"{PROJECT}/toy/vms")).json == [nodes[1]]
        assert len(server.ports.udp) == 0


@pytest.mark.parametrize("path", [None, "elsewhere"])
async def test_temporary_projects_end_with_the_server(serve, path, tmp_path, build):
    place = {} if path is None else {"path": str(tmp_path / path / "lab")}
    async with serve() as server:
        await build(server.client, ID, temporary=True, **place)
        directory = Path((await server.client.get(PROJECT)).json["path"])
        assert [*directory.parent.glob("*")] == [directory]
    assert [*directory.parent.glob("*")] == []
    async with serve() as server:
        assert (await server.client.get("/v1/projects")).json == []


async def test_a_project_that_finds_no_ports_harms_no_other(serve, gns3_settings, build):
    other = ID.replace("0", "f")
    async with serve() as server:
        await build(server.client, ID)
        await server.client.post("/v1/projects", {"project_id": other, "name": "fine"})
    first = gns3_settings.server.console_start_port_range
    with socket.create_server(("127.0.0.1", first + 400)):
        # A range of one port, and that is taken by another program; the old consoles are kept.
        narrow = {"console_start_port_range": first + 400, "console_end_port_range": first + 400}
        async with serve(**narrow) as server:
            names = [p["name"] for p in (await server.client.get("/v1/projects")).json]
            assert names == ["lab", "fine"]
            answer = await server.client.post(f"{PROJECT}/toy/vms", {"name": "PC"})
            assert answer.status == 409


async def test_nodes_of_a_type_that_is_missing_stay_stored(serve, build):
    async with serve() as server:
        nodes = await build(server.client, ID)
    async with serve(plugins=[]) as server:
        assert (await server.client.get(PROJECT)).json["name"] == "lab"
    async with serve() as server:
        assert (await server.client.get(f"{PROJECT}/toy/vms")).json == nodes


async def test_a_console_port_that_another_program_has_now_does_not_keep_a_project_closed(
    serve, build
):
    async with serve() as server:
        nodes = await build(server.client, ID)
    with socket.create_server(("0.0.0.0", nodes[0]["console"])):
        async with serve() as server:
            answer = await server.client.get(f"{PROJECT}/toy/vms/{nodes[0]['vm_id']}")
            assert answer.status == 200


async def test_two_servers_do_not_share_a_state_directory(serve, tmp_path, build):
    async with serve() as first:
        await build(first.client, ID)
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} since"):
            async with serve():
                pytest.fail("a second server started")
        # Another state directory is fine, but not another's project.
        async with serve(state_path=str(tmp_path / "state2")) as second:
            path = (await first.client.get(PROJECT)).json["path"]
            answer = await second.client.post("/v1/projects", {"project_id": ID, "path": path})
            assert (answer.status, "locked" in answer.json["message"]) == (409, True)
        assert len((await first.client.get(f"{PROJECT}/toy/vms")).json) == 2


async def test_everything_acknowledged_is_in_the_file(serve, build):
    async with serve() as server:
        nodes = await build(server.client, ID)
        path = Path((await server.client.get(PROJECT)).json["path"])
    with closing(sqlite3.connect(path / "project.db")) as connection:
        stored = connection.execute("SELECT id, name, console FROM node ORDER BY rowid").fetchall()
        assert stored == [(node["vm_id"], node["name"], node["console"]) for node in nodes]
        # Nothing runs any more, and that is on record as well.
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)
