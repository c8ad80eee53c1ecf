"""What comes back when a closed project is opened again."""

import asyncio
import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from api_calls import ID, PROJECT, later, new_project, new_toy

from gns3server.ports import Holder, Use

# After a close ----------------------------------------------------------------------------


@pytest.mark.statement("PRJ-36")
async def test_a_reopened_project_has_its_nodes_wires_and_consoles(
    client, server, build, check_wire
):
    nodes = await build(client, ID)
    assert (await client.post(f"{PROJECT}/close")).status == 204
    assert (len(server.ports.tcp), len(server.ports.udp)) == (0, 0)
    answer = await client.post("/v1/projects", {"project_id": ID})
    assert (answer.status, answer.json["name"]) == (201, "lab")
    assert (await client.get(f"{PROJECT}/toy/vms")).json == nodes
    await check_wire(client, server, nodes[0])


async def test_a_project_is_not_opened_while_its_file_is_being_closed(
    client, lab, build, hold_disk
):
    nodes = await build(client, ID)
    async with client.listen(f"{PROJECT}/notifications") as events:
        assert (await client.post(f"{PROJECT}/toy/vms/{nodes[0]['vm_id']}/stop")).status == 204
        with ExitStack() as slow:
            with hold_disk() as begun:
                await asyncio.to_thread(begun.wait)
                before = lab.projects.databases.submitted
                closed = later(client.post(f"{PROJECT}/close"))
                while lab.projects.databases.submitted == before:
                    await client.get("/v1/version")
                # Once more, behind what is recorded of the close and before the file is closed.
                slow.enter_context(hold_disk())
            assert [event["action"] async for event in events] == ["ping", "vm.stopped"]
            # It counts as open until nothing of it is.
            assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
        assert (await closed).status == 204
    assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
    assert (await client.get(f"{PROJECT}/toy/vms")).json == nodes


async def test_of_two_projects_that_name_a_port_always_the_same_has_it_after_a_restart(
    serving,
):
    """The first one was closed while the second took its port. Its records take longer to read."""
    async with serving() as server:
        client, port = server.client, server.settings.server.udp_end_port_range
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": 9}
        first = await new_project(client)
        nodes = [await new_toy(client, first, name=f"toy {number}") for number in range(25)]
        await client.post(f"{nodes[0]}/adapters/0/ports/0/nio", nio)
        await client.post(f"{first}/close")
        second = await new_project(client)
        other = await new_toy(client, second)
        answer = await client.post(f"{other}/adapters/0/ports/0/nio", nio)
        assert answer.status == 201
        await new_project(client, project_id=first.rpartition("/")[2])
    holders = set()
    for _ in range(4):
        async with serving() as server:
            holders |= {holder.project_id for holder in server.ports.udp.holders(port)}
    assert len(holders) == 1


async def test_a_console_that_was_lost_meanwhile_is_replaced(client, build):
    nodes = await build(client, ID)
    await client.post(f"{PROJECT}/close")
    other = (await client.post("/v1/projects")).json["project_id"]
    body = {"name": "thief", "console": nodes[0]["console"]}
    assert (await client.post(f"/v1/projects/{other}/toy/vms", body)).status == 201
    await client.post("/v1/projects", {"project_id": ID})
    first, second = (await client.get(f"{PROJECT}/toy/vms")).json
    assert second == nodes[1]
    assert first == {**nodes[0], "console": first["console"]}
    assert first["console"] not in (nodes[0]["console"], nodes[1]["console"])
    # It keeps the new one, even when the old one is free again.
    await client.delete(f"/v1/projects/{other}")
    await client.post(f"{PROJECT}/close")
    await client.post("/v1/projects", {"project_id": ID})
    assert (await client.get(f"{PROJECT}/toy/vms")).json == [first, second]


async def test_the_first_request_that_names_a_restored_node_updates_it(client, build):
    nodes = await build(client, ID)
    await client.post(f"{PROJECT}/close")
    await client.post("/v1/projects", {"project_id": ID})
    vms = f"{PROJECT}/toy/vms"
    port = nodes[0]["console"] + 7
    body = {"vm_id": nodes[0]["vm_id"], "name": "new", "console": port}
    wanted = {**nodes[0], "name": "new", "console": port}
    assert (await client.post(vms, body)).json == wanted
    assert (await client.post(vms, {**body, "name": "newer"})).json == wanted
    # A node that runs already is left as it is.
    toy = f"{vms}/{nodes[1]['vm_id']}"
    assert (await client.post(f"{toy}/start")).status == 204
    answer = await client.post(vms, {"vm_id": nodes[1]["vm_id"], "name": "new"})
    assert (answer.json["name"], answer.json["status"]) == ("PC1", "started")


async def test_two_nios_of_one_node_on_one_port_come_back_both(client, server, build):
    node = (await build(client, ID))[1]
    toy, port = f"{PROJECT}/toy/vms/{node['vm_id']}", node["console"] + 50
    nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port}
    for place in ("0/ports/0", "1/ports/0"):
        assert (await client.post(f"{toy}/adapters/{place}/nio", nio)).status == 201
    await client.post(f"{PROJECT}/close")
    await client.post("/v1/projects", {"project_id": ID})
    for place, reserved in (("0/ports/0", 1), ("1/ports/0", 0)):
        await client.delete(f"{toy}/adapters/{place}/nio")
        assert len(server.ports.udp.holders(port)) == reserved


async def test_an_opening_that_fails_leaves_nothing_behind(client, server, lab, build):
    nodes = await build(client, ID)
    await client.post(f"{PROJECT}/close")
    # All ports are somebody's: the project's consoles and any that could replace them.
    tcp, thief = server.ports.tcp, Holder("thief", Use.CONSOLE)
    for port in range(tcp.first, tcp.last + 1):
        tcp.hold(port, thief)
    for _ in range(2):
        answer = await client.post("/v1/projects", {"project_id": ID, "name": "new"})
        assert answer.status == 409
        assert (await client.get(PROJECT)).status == 404
    assert len(server.ports.udp) == 0
    tcp.release_where("thief")
    assert len(tcp) == 0
    answer = await client.post("/v1/projects", {"project_id": ID})
    assert (answer.status, answer.json["name"]) == (201, "lab")
    assert (await client.get(f"{PROJECT}/toy/vms")).json == nodes


async def test_numbers_are_kept(client, lab, build):
    await build(client, ID)
    for number in range(2, 5):
        await client.post(f"{PROJECT}/toy/vms", {"name": f"PC{number}"})
    vms = (await client.get(f"{PROJECT}/toy/vms")).json
    await client.delete(f"{PROJECT}/toy/vms/{vms[1]['vm_id']}")
    await client.post(f"{PROJECT}/close")
    await client.post("/v1/projects", {"project_id": ID})
    assert [node.number for node in lab.projects.get(ID).members] == [0, 2, 3, 4]
    await client.post(f"{PROJECT}/toy/vms", {"name": "PC"})
    assert [node.number for node in lab.projects.get(ID).members] == [0, 2, 3, 4, 1]


async def test_a_new_name_in_the_request_renames(client, build):
    await build(client, ID)
    await client.post(f"{PROJECT}/close")
    answer = await client.post("/v1/projects", {"project_id": ID, "name": "new"})
    assert answer.json["name"] == "new"
    await client.post(f"{PROJECT}/close")
    answer = await client.post("/v1/projects", {"project_id": ID})
    assert answer.json["name"] == "new"


async def test_a_file_that_cannot_be_put_in_place_keeps_a_project_closed(client, build):
    node = (await build(client, ID))[0]
    path = Path((await client.get(PROJECT)).json["path"])
    await client.post(f"{PROJECT}/close")
    with closing(sqlite3.connect(path / "project.db")) as records, records:
        row = (node["vm_id"], "note", b"committed")
        records.execute("INSERT INTO staged_file VALUES (?, ?, ?)", row)
    file = Path(node["vm_directory"]) / "note"
    file.mkdir(parents=True)
    answer = await client.post("/v1/projects", {"project_id": ID})
    assert answer.status == 507
    assert f"it is a directory: '{file}'" in answer.json["message"]
    file.rmdir()
    assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
    assert file.read_bytes() == b"committed"


async def test_a_permanent_project_is_not_made_temporary_by_opening_it(client, build):
    await build(client, ID)
    await client.post(f"{PROJECT}/close")
    answer = await client.post("/v1/projects", {"project_id": ID, "temporary": True})
    assert (answer.status, answer.json["temporary"]) == (201, False)
    await client.post(f"{PROJECT}/close")
    assert (Path(answer.json["path"]) / "project.db").exists()


@pytest.mark.statement("PRJ-37")
async def test_files_of_nodes_stay(client, build):
    node = (await build(client, ID))[0]
    (Path(node["vm_directory"]) / "disk").write_text("data")
    await client.delete(f"{PROJECT}/toy/vms/{node['vm_id']}")
    await client.post(f"{PROJECT}/close")
    await client.post("/v1/projects", {"project_id": ID})
    assert (Path(node["vm_directory"]) / "disk").read_text() == "data"


async def test_a_copied_directory_becomes_a_project_of_its_own(client, tmp_path, build):
    await build(client, ID, path=str(tmp_path / "lab"))
    await client.post(f"{PROJECT}/close")
    shutil.copytree(tmp_path / "lab", tmp_path / "copy")
    answer = await client.post("/v1/projects", {"path": str(tmp_path / "copy"), "name": "copy"})
    assert (answer.status, answer.json["name"]) == (201, "copy")
    assert answer.json["project_id"] != ID
    copy = f"/v1/projects/{answer.json['project_id']}"
    assert (await client.get(f"{copy}/toy/vms")).json == []
    assert (tmp_path / "copy" / f"project.db.{ID}").exists()
    # The original is as it was.
    await client.post("/v1/projects", {"project_id": ID})
    assert len((await client.get(f"{PROJECT}/toy/vms")).json) == 2
