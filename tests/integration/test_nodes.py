"""Nodes through the API, with the toy emulator."""

import asyncio
import os
import socket
import uuid
from pathlib import Path

import pytest
from api_calls import ID, new_project

from gns3server.ports import can_bind

# Create, show, list ---------------------------------------------------------------------


@pytest.mark.statement("VPCS-01", "VPCS-08", "PORT-07")
async def test_a_new_node(client, project, server):
    first = server.settings.server.console_start_port_range
    answer = await client.post(f"{project}/toy/vms", {"name": "PC1", "vm_id": ID})
    project_id = project.rpartition("/")[2]
    path = Path((await client.get(project)).json["path"])
    assert (answer.status, answer.json) == (
        201,
        {
            "console": first,
            "mode": "good",
            "name": "PC1",
            "project_id": project_id,
            "status": "stopped",
            "vm_directory": str(path / "project-files" / "toy" / ID),
            "vm_id": ID,
        },
    )
    assert (await client.get(f"{project}/toy/vms/{ID}")).json == answer.json
    second = await client.post(f"{project}/toy/vms", {"name": "PC2"})
    assert (second.json["console"], len(second.json["vm_id"])) == (first + 1, 36)
    assert (await client.get(f"{project}/toy/vms")).json == [answer.json, second.json]


@pytest.mark.statement("MGR-01", "MGR-02", "PRJ-30")
async def test_nodes_are_counted_and_listed_under_ids_of_their_own(client, project, lab):
    vms = f"{project}/toy/vms"
    made = [(await client.post(vms, {"name": "PC"})).json["vm_id"] for _ in range(3)]
    assert [str(uuid.UUID(node_id)) for node_id in made] == made
    assert len(set(made)) == 3
    assert [vm["vm_id"] for vm in (await client.get(vms)).json] == made
    assert len(lab.projects.get(project.rpartition("/")[2]).members) == 3


@pytest.mark.statement("PRJ-24")
async def test_a_directory_is_made_when_it_is_first_needed(client, project, make_toy):
    toy = await make_toy()
    path, node_id = (await client.get(project)).json["path"], toy.rpartition("/")[2]
    directory = f"{path}/project-files/toy"
    assert (await client.get(toy)).json["vm_directory"] == f"{directory}/{node_id}"
    assert "project-files" not in os.listdir(path)
    assert (await client.post(f"{toy}/start")).status == 204
    assert os.listdir(directory) == [node_id]


@pytest.mark.statement("VPCS-29")
async def test_an_id_that_is_known_answers_the_same_node_unchanged(client, project, server):
    vms = f"{project}/toy/vms"
    made = await client.post(vms, {"name": "PC1", "vm_id": ID, "note": "a"})
    port = made.json["console"] + 7
    again = await client.post(vms, {"name": "other", "vm_id": ID, "console": port, "note": "b"})
    assert (again.status, again.json) == (201, made.json)
    assert len((await client.get(vms)).json) == 1
    assert len(server.ports.tcp) == 1


@pytest.mark.statement("VPCS-30")
async def test_a_node_belongs_to_one_project(client, project):
    made = (await client.post(f"{project}/toy/vms", {"name": "PC1", "vm_id": ID})).json
    other = await new_project(client)
    answer = await client.post(f"{other}/toy/vms", {"name": "PC1", "vm_id": ID})
    assert answer.status == 409
    assert made["project_id"] in answer.json["message"]
    nio = {"type": "nio_udp", "lport": 4242, "rhost": "127.0.0.1", "rport": 4343}
    for method, path, body in [
        ("GET", "", None),
        ("PUT", "", {"name": "stolen"}),
        ("DELETE", "", None),
        ("POST", "/start", None),
        ("POST", "/stop", None),
        ("POST", "/reload", None),
        ("POST", "/adapters/0/ports/0/nio", nio),
        ("DELETE", "/adapters/0/ports/0/nio", None),
    ]:
        answer = await client.request(method, f"{other}/toy/vms/{ID}{path}", body)
        assert answer.status == 404, (method, path)
    assert (await client.get(f"{project}/toy/vms/{ID}")).json == made
    assert (await client.get(f"{other}/toy/vms")).json == []


@pytest.mark.statement("VPCS-04", "VPCS-28", "PORT-15")
async def test_a_console_port_can_be_chosen_once(client, project, server):
    port = server.settings.server.console_end_port_range + 1
    vms = f"{project}/toy/vms"
    answer = await client.post(vms, {"name": "PC1", "console": port})
    assert (answer.status, answer.json["console"]) == (201, port)
    for place in (vms, f"{await new_project(client)}/toy/vms"):
        answer = await client.post(place, {"name": "PC2", "console": port})
        assert answer.status == 409
        assert f"TCP port {port} already in use on this host" in answer.json["message"]
        assert (await client.get(place)).json == (
            (await client.get(vms)).json if place == vms else []
        )
    assert len(server.ports.tcp) == 1


@pytest.mark.statement("PORT-08")
async def test_a_console_that_another_program_has_is_skipped(client, project, server):
    first = server.settings.server.console_start_port_range
    with socket.create_server(("127.0.0.1", first)):
        answer = await client.post(f"{project}/toy/vms", {"name": "PC1"})
    assert answer.json["console"] == first + 1


# Numbers --------------------------------------------------------------------------------


@pytest.mark.statement("VPCS-22", "VPCS-23")
async def test_numbers_run_out_and_nothing_is_lost_with_them(client, project, server):
    vms = f"{project}/toy/vms"
    made = [(await client.post(vms, {"name": "PC"})).json["vm_id"] for _ in range(25)]
    before = (await client.get(vms)).json
    for _ in range(3):
        answer = await client.post(vms, {"name": "one too many", "vm_id": ID})
        assert answer.status == 409
        assert "has 25 toy VMs" in answer.json["message"]
    assert (await client.get(vms)).json == before
    assert len(server.ports.tcp) == 25
    # Another project has numbers of its own; the id was not kept either.
    other = f"{await new_project(client)}/toy/vms"
    assert (await client.post(other, {"name": "PC", "vm_id": ID})).status == 201
    assert (await client.delete(f"{vms}/{made[3]}")).status == 204
    assert (await client.post(vms, {"name": "PC"})).status == 201
    assert (await client.post(vms, {"name": "PC"})).status == 409


async def test_a_creation_that_fails_gives_its_number_back(client, project, server, lab):
    vms = f"{project}/toy/vms"
    taken = (await client.post(vms, {"name": "PC"})).json["console"]
    for _ in range(30):
        assert (await client.post(vms, {"name": "PC", "console": taken})).status == 409
    for _ in range(24):
        assert (await client.post(vms, {"name": "PC"})).status == 201
    nodes = lab.projects.get(project.rpartition("/")[2]).members
    assert [node.number for node in nodes] == [*range(25)]


async def test_there_is_a_limit_of_nodes_however_they_come(serving):
    async with serving(max_nodes=3) as server:
        client = server.client
        vms = [f"{await new_project(client)}/toy/vms" for _ in range(2)]
        answers = await asyncio.gather(
            *(client.post(vms[n % 2], {"name": "PC"}) for n in range(10))
        )
        assert sorted(answer.status for answer in answers) == [201] * 3 + [409] * 7
        assert len(server.ports.tcp) == 3


async def test_ports_run_out_and_come_back(serving, gns3_settings):
    first = gns3_settings.server.console_start_port_range
    async with serving(console_end_port_range=first + 1) as server:
        client = server.client
        vms = f"{await new_project(client)}/toy/vms"
        made = [(await client.post(vms, {"name": "PC"})).json["vm_id"] for _ in range(2)]
        answer = await client.post(vms, {"name": "PC", "vm_id": ID})
        assert (answer.status, "TCP" in answer.json["message"]) == (409, True)
        await client.delete(f"{vms}/{made[0]}")
        answer = await client.post(vms, {"name": "PC", "vm_id": ID})
        assert (answer.status, answer.json["console"]) == (201, first)


# Update ---------------------------------------------------------------------------------


@pytest.mark.statement("VPCS-07")
async def test_what_an_update_names_is_changed_and_null_is_not(client, make_toy, server):
    toy = await make_toy(note="a")
    before = (await client.get(toy)).json
    port = before["console"] + 5
    nothing = {"name": None, "console": None, "note": None, "mode": None}
    for body, changed in [
        ({}, {}),
        (nothing, {}),
        ({"name": "new"}, {"name": "new"}),
        ({"console": port}, {"console": port}),
        ({"note": "b", "mode": "exit"}, {"note": "b", "mode": "exit"}),
        ({"console": port}, {}),
    ]:
        answer = await client.put(toy, body)
        before = {**before, **changed}
        assert (answer.status, answer.json) == (200, before)
        assert (await client.get(toy)).json == before
    assert len(server.ports.tcp) == 1


async def test_an_update_that_fails_changes_nothing(client, make_toy, server):
    taken = (await client.get(await make_toy())).json["console"]
    toy = await make_toy(note="a")
    before = (await client.get(toy)).json
    for body, wanted in [
        ({"name": "new", "note": "b", "console": taken}, 409),
        ({"name": "new", "console": 0}, 400),
        ({"name": "", "console": taken + 9}, 400),
        ({"vm_id": ID}, 400),
    ]:
        assert (await client.put(toy, body)).status == wanted
    assert (await client.get(toy)).json == before
    assert server.ports.tcp.holders(before["console"])
    assert len(server.ports.tcp) == 2


@pytest.mark.statement("PORT-12")
async def test_a_new_console_frees_the_old_one(client, project, make_toy):
    toy = await make_toy()
    old = (await client.get(toy)).json["console"]
    await client.put(toy, {"console": old + 5})
    vms = f"{project}/toy/vms"
    assert (await client.post(vms, {"name": "PC", "console": old + 5})).status == 409
    assert (await client.post(vms, {"name": "PC"})).json["console"] == old


async def test_the_port_of_a_running_process_stays_taken_whatever_its_console(
    client, project, make_toy
):
    toy = await make_toy()
    old = (await client.get(toy)).json["console"]
    await client.post(f"{toy}/start")
    assert (await client.put(toy, {"console": old + 5})).json["console"] == old + 5
    vms = f"{project}/toy/vms"
    for port in (old, old + 5):
        assert (await client.post(vms, {"name": "PC", "console": port})).status == 409
    assert (await client.put(toy, {"console": old})).status == 200
    assert (await client.put(toy, {"console": old + 5})).status == 200
    assert (await client.post(f"{toy}/reload")).status == 204
    assert can_bind("TCP", old)
    assert not can_bind("TCP", old + 5)
    assert (await client.post(vms, {"name": "PC"})).json["console"] == old


async def test_a_node_is_not_reached_through_another_type(
    gns3_serving, make_entry_point, faulty_plugin
):
    plugins = [make_entry_point("toy", "toy_emulator"), faulty_plugin()]
    async with gns3_serving(plugins=plugins) as server:
        client, project = server.client, await new_project(server.client)
        toy = (await client.post(f"{project}/toy/vms", {"name": "PC1"})).json
        wrong = f"{project}/mine/vms/{toy['vm_id']}"
        for method, path, body in (
            ("GET", wrong, None),
            ("PUT", wrong, {"name": "PC2"}),
            ("DELETE", wrong, None),
            ("POST", f"{wrong}/start", None),
            ("POST", f"{wrong}/stop", None),
        ):
            answer = await client.request(method, path, body)
            assert (method, answer.status) == (method, 404)
        assert (await client.get(f"{project}/mine/vms")).json == []
        body = {"name": "PC2", "vm_id": toy["vm_id"]}
        assert (await client.post(f"{project}/mine/vms", body)).status == 409
        assert (await client.get(f"{project}/toy/vms")).json == [toy]
