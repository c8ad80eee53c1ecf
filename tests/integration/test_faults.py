"""Faults of ours, of drivers and of disks: told to the client in short, to the log in full."""

import asyncio
import errno
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from api_calls import new_project, new_toy
from faults import break_syncs, failing, full_disk
from file_trees import copy_by_another_process

pytestmark = pytest.mark.heavy

BROKEN = {
    "ZeroDivisionError": "raise ZeroDivisionError('secret')",
    # Not to be taken for a client that has gone away.
    "ConnectionRefusedError": "raise ConnectionRefusedError('secret')",
    "TimeoutError": "raise TimeoutError('secret')",
}


@pytest.fixture
def serving_broken(faulty_plugin, gns3_serving):
    """Makes servers whose toys have a fault: ``serving_broken("prepare", "raise ValueError")``."""

    def make(method: str, body: str):
        fault = f"async def broken(self, *_):\n    {body}\n\nToyNode.{method} = broken"
        return gns3_serving(plugins=[faulty_plugin(fault, name="toy", source="toy_emulator.py")])

    return make


async def make_vm(client) -> str:
    return await new_toy(client, await new_project(client))


def check_fault(answer, caplog, kind: str) -> None:
    """The client reads where to look; the log has all of it."""
    assert answer.status == 500
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"message", "status"}
    message = answer.json["message"]
    assert "The plugin 'toy'" in message
    assert "tell the plugin's authors" in message
    for word in ("secret", "Traceback", "File", kind):
        assert word not in message
    number = re.search(r"[0-9a-f]{6}-\d+", message)
    assert number is not None
    (record,) = [r for r in caplog.records if r.message.startswith(f"{number[0]} ")]
    assert record.levelname == "ERROR"
    assert kind in record.exc_text
    assert "Traceback" in record.exc_text


# Bugs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ZeroDivisionError", "ConnectionRefusedError", "TimeoutError"])
async def test_a_driver_that_fails_in_a_start(serving_broken, caplog, kind):
    async with serving_broken("launch_spec", BROKEN[kind]) as server:
        client = server.client
        vm = await make_vm(client)
        ports = len(server.ports.tcp)
        check_fault(await client.post(f"{vm}/start"), caplog, kind)
        assert (await client.get(vm)).json["status"] == "stopped"
        assert len(server.ports.tcp) == ports
        # The lock is free: everything else goes on.
        assert (await client.put(vm, {"name": "new"})).status == 200
        assert (await client.delete(vm)).status == 204


async def test_a_driver_that_fails_in_a_creation(serving_broken, caplog):
    async with serving_broken("prepare", BROKEN["ZeroDivisionError"]) as server:
        client = server.client
        vms = f"{await new_project(client)}/toy/vms"
        answers = [await client.post(vms, {"name": "PC"}) for _ in range(30)]
        for answer in answers:
            check_fault(answer, caplog, "ZeroDivisionError")
        assert (await client.get(vms)).json == []
        assert len(server.ports.tcp) == 0


async def test_a_driver_that_fails_in_a_stop_does_not_keep_the_project(serving_broken, caplog):
    async with serving_broken("stop", BROKEN["ZeroDivisionError"]) as server:
        client = server.client
        vm = await make_vm(client)
        assert (await client.post(f"{vm}/start")).status == 204
        answer = await client.post(f"{vm}/stop")
        check_fault(answer, caplog, "ZeroDivisionError")
        assert "The plugin 'toy', in stop of VM 'toy', has failed." in answer.json["message"]
        # It is stopped all the same, and nothing of it runs.
        assert (await client.get(vm)).json["status"] == "stopped"
        assert server.processes() == {}
        project = vm.partition("/toy/")[0]
        assert (await client.delete(project)).status == 204
        assert (await client.get(project)).status == 404


NOTES_IN_FILES = """
async def prepare(self, values, plain=ToyNode.prepare):
    return Change(properties=(await plain(self, values)).properties, files={"note": b"b"})
from gns3server.plugin import Change
ToyNode.prepare = prepare
"""


async def test_a_change_is_made_although_a_file_of_it_is_not_in_place(
    gns3_serving, faulty_plugin, caplog
):
    plugins = [faulty_plugin(NOTES_IN_FILES, name="toy", source="toy_emulator.py")]
    async with gns3_serving(plugins=plugins) as server:
        client = server.client
        toy = await make_vm(client)
        shown = (await client.get(toy)).json
        new = {"name": "new", "console": shown["console"] + 5, "note": "b"}
        with failing("replace", "note", errno.EPERM):
            answer = await client.put(toy, new)
        assert answer.status == 500
        assert "is on record, but its files are not in place yet" in answer.json["message"]
        assert not any(record.exc_info for record in caplog.records)
        changed = (await client.get(toy)).json
        assert (changed["name"], changed["console"]) == ("new", new["console"])
        assert server.ports.tcp.holders(new["console"])
        assert not server.ports.tcp.holders(shown["console"])
    async with gns3_serving(plugins=plugins) as server:
        assert (await server.client.get(toy)).json == changed
        note = Path(changed["vm_directory"], "note")
        assert await asyncio.to_thread(note.read_text) == "b"


# Disks ------------------------------------------------------------------------------------


async def test_what_cannot_be_stored_is_not_done(
    client, project, make_toy, server, read_only_records
):
    toy = await make_toy(note="a")
    shown = (await client.get(toy)).json
    first = server.settings.server.udp_start_port_range
    nio = {"type": "nio_udp", "lport": first, "rhost": "127.0.0.1", "rport": 1}
    assert (await client.post(f"{toy}/adapters/0/ports/0/nio", nio)).status == 201
    ports = (len(server.ports.tcp), len(server.ports.udp))
    async with client.listen(f"{project}/notifications") as events:
        async with read_only_records(project):
            for method, path, body in [
                ("POST", f"{project}/toy/vms", {"name": "PC"}),
                ("PUT", toy, {"name": "new", "console": shown["console"] + 5}),
                ("PUT", project, {"name": "new"}),
                ("POST", f"{toy}/start", None),
                ("POST", f"{toy}/reload", None),
                ("POST", f"{toy}/adapters/0/ports/0/nio", {**nio, "lport": first + 1}),
                ("DELETE", f"{toy}/adapters/0/ports/0/nio", None),
                ("POST", f"{project}/ports/toy", None),
                ("DELETE", toy, None),
            ]:
                answer = await client.request(method, path, body)
                assert answer.status == 507, (method, path)
                assert set(answer.json) == {"message", "status"}
                assert "nothing was changed" in answer.json["message"]
            assert (await client.get(f"{project}/toy/vms")).json == [shown]
            assert (await client.get(project)).json["name"] == "test"
            assert (len(server.ports.tcp), len(server.ports.udp)) == ports
            assert server.processes() == {}
        assert (await client.post(f"{toy}/start")).status == 204
        assert [(await anext(events))["action"] for _ in range(2)] == ["ping", "vm.started"]


async def as_they_are(server) -> dict[str, Any]:
    """All that a server says of its projects, their nodes, and the files that these have."""
    projects = (await server.client.get("/v1/projects")).json
    nodes = {
        path: (await server.client.get(path)).json
        for path in (f"/v1/projects/{each['project_id']}/toy/vms" for each in projects)
    }
    return {"projects": projects, "nodes": nodes}


@pytest.mark.parametrize(
    "request_and_status",
    [
        (("POST", "{project}/toy/vms", {"name": "PC"}), 507),
        (("PUT", "{toy}", {"name": "new"}), 507),
        (("PUT", "{project}", {"name": "new"}), 507),
        (("PUT", "{project}", {"temporary": True}), 507),
        (("DELETE", "{toy}", None), 507),
        (("DELETE", "{project}", None), 507),
        (("DELETE", "{temporary}", None), 507),
        (("POST", "{temporary}/close", None), 507),
        (("POST", "/v1/projects", {"name": "another"}), 409),
    ],
)
async def test_what_was_refused_when_a_sync_failed_is_not_there_after_a_kill(
    gns3_serving, make_entry_point, tmp_path, request_and_status
):
    (method, path, body), status = request_and_status
    plugins, killed = [make_entry_point("toy", "toy_emulator")], tmp_path.with_name("killed")
    async with gns3_serving(plugins=plugins) as server:
        client = server.client
        project, temporary = [
            await new_project(client, temporary=temporary) for temporary in (False, True)
        ]
        toy = await new_toy(client, project, note="a")
        await new_toy(client, temporary, note="a")
        before = await as_they_are(server)
        await break_syncs(server.running.server.projects.databases)
        names = {"project": project, "temporary": temporary, "toy": toy}
        answer = await client.request(method, path.format(**names), body)
        assert answer.status == status
        assert await as_they_are(server) == before
        # What a kill would leave.
        await asyncio.to_thread(copy_by_another_process, tmp_path, killed)
    await asyncio.to_thread(shutil.rmtree, tmp_path)
    await asyncio.to_thread(killed.rename, tmp_path)
    async with gns3_serving(plugins=plugins) as server:
        assert await as_they_are(server) == before


async def test_a_deletion_that_cannot_be_undone_says_where_the_files_are(
    gns3_serving, make_entry_point, tmp_path
):
    plugins, foreign = [make_entry_point("toy", "toy_emulator")], tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    async with gns3_serving(plugins=plugins, keep_nodes=True) as server:
        client = server.client
        project = await new_project(client, path=str(foreign), temporary=True)
        toy = await new_toy(client, project, note="a")
        before = (await client.get(toy)).json
        # The mark has gone aside when the records cannot follow, and cannot come back.
        with failing("rename", "project.db"), failing("rename", ".gns3_temporary", only=2):
            answer = await client.delete(project)
        assert answer.status == 500
        assert "is still there" in answer.json["message"]
        assert ".gns3_deleted-" in answer.json["message"]
        assert "Traceback" not in answer.json["message"]
    async with gns3_serving(plugins=plugins) as server:
        assert (await server.client.get(toy)).json == before
        assert (await server.client.delete(project)).status == 204
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]


async def test_a_node_can_be_stopped_without_a_disk(client, make_toy, server):
    toy = await make_toy()
    await client.post(f"{toy}/start")
    with full_disk():
        assert (await client.put(toy, {"name": "new"})).status == 507
        assert (await client.post(f"{toy}/stop")).status == 204
        assert (await client.get(toy)).json["status"] == "stopped"
        assert server.processes() == {}
    assert (await client.post(f"{toy}/start")).status == 204


async def test_a_creation_that_cannot_be_recorded_leaves_nothing(client, server, read_only_records):
    async with read_only_records():
        answers = await asyncio.gather(*(client.post("/v1/projects", {}) for _ in range(3)))
        assert [answer.status for answer in answers] == [507] * 3
        assert list(server.settings.projects_path.iterdir()) == []
        assert (await client.get("/v1/projects")).json == []
    assert (await client.post("/v1/projects", {})).status == 201


async def test_a_removal_that_cannot_be_recorded_brings_the_files_back(
    client, project, tmp_path, read_only_records
):
    path = Path((await client.get(project)).json["path"])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    other = await new_project(client, path=str(foreign))
    before = [sorted(p.name for p in place.iterdir()) for place in (path, foreign)]
    async with read_only_records():
        for url in (project, other):
            assert (await client.delete(url)).status == 507
            assert (await client.get(url)).status == 200
        assert [sorted(p.name for p in place.iterdir()) for place in (path, foreign)] == before
    for url in (project, other):
        assert (await client.delete(url)).status == 204
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]
