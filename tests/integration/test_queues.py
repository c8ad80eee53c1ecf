"""Who waits for whom: one node at a time in order, nodes beside each other, and the end."""

import asyncio
from typing import Any

import pytest

from gns3server.places import paths
from gns3server.testing import processes_of


def later(work: Any) -> "asyncio.Task[Any]":
    """Begin now, look at the result later."""
    return asyncio.ensure_future(work)


def living(server) -> list[int]:
    """The processes that a server has started."""
    return list(processes_of(server.settings.environ["GNS3_TEST_ID"]))


# Order --------------------------------------------------------------------------------------


@pytest.mark.statement("LOCK-01")
async def test_requests_on_one_node_are_served_in_order_of_arrival(client, make_toy, gate, arrived):
    toy = await make_toy(mode=gate.mode)
    await arrived()
    requests = []
    for method, path, body in [
        ("POST", "/start", None),
        ("GET", "", None),
        ("PUT", "", {"name": "b"}),
        ("GET", "", None),
        ("POST", "/stop", None),
        ("GET", "", None),
        ("PUT", "", {"name": "c"}),
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "", None),
        ("POST", "/start", None),
    ]:
        requests.append(later(client.request(method, f"{toy}{path}", body)))
        await arrived()
    await gate.reached()
    assert not any(request.done() for request in requests)
    gate.open()
    answers = await asyncio.gather(*requests)
    assert [answer.status for answer in answers] == [
        *(204, 200, 200, 200, 204, 200, 200, 200, 204, 404, 404)
    ]
    shown = [answers[n].json for n in (1, 3, 5, 7)]
    assert [(node["name"], node["status"]) for node in shown] == [
        ("toy", "started"),
        ("b", "started"),
        ("b", "stopped"),
        ("c", "stopped"),
    ]


async def test_many_starts_and_stops_of_one_node_come_out_true(client, make_toy, server, project):
    toy = await make_toy()
    async with client.listen(f"{project}/notifications") as events:
        assert await anext(events) == {"action": "ping"}
        actions = ["start", "stop", "reload", "start", "stop"] * 3
        answers = await asyncio.gather(*(client.post(f"{toy}/{a}") for a in actions))
        assert {answer.status for answer in answers} == {204}
        await client.post(f"{toy}/stop")
        assert living(server) == []
        await client.delete(project)
        told = [event["action"] async for event in events]
    assert told == ["vm.started", "vm.stopped"] * (len(told) // 2)


@pytest.mark.statement("LOCK-02")
async def test_nodes_do_not_wait_for_each_other(client, make_toy, gate, project):
    toys = [await make_toy(mode=gate.mode) for _ in range(3)]
    quick = await make_toy()
    starts = [later(client.post(f"{toy}/start")) for toy in toys]
    await gate.reached(3)
    # All three are coming up at once, and nobody else notices.
    assert (await client.post(f"{quick}/start")).status == 204
    assert (await client.get(quick)).json["status"] == "started"
    assert (await client.put(project, {"name": "new"})).status == 200
    assert len((await client.get(f"{project}/toy/vms")).json) == 4
    assert (await client.post(f"{project}/toy/vms", {"name": "more"})).status == 201
    assert not any(start.done() for start in starts)
    gate.open()
    assert {answer.status for answer in await asyncio.gather(*starts)} == {204}


async def test_a_node_that_is_coming_up_is_listed_as_stopped(client, make_toy, gate, project):
    toy = await make_toy(mode=gate.mode)
    start = later(client.post(f"{toy}/start"))
    await gate.reached()
    assert (await client.get(f"{project}/toy/vms")).json[0]["status"] == "stopped"
    gate.open()
    await start
    assert (await client.get(f"{project}/toy/vms")).json[0]["status"] == "started"


async def test_only_so_many_come_up_at_once(gns3_serving, make_entry_point, gate, tmp_path):
    state = str(tmp_path / "other-state")
    toy = make_entry_point("toy", "toy_emulator")
    async with gns3_serving(plugins=[toy], max_starting=2, state_path=state) as server:
        client = server.client
        project = f"/v1/projects/{(await client.post('/v1/projects')).json['project_id']}"
        body = {"name": "toy", "mode": gate.mode}
        made = [(await client.post(f"{project}/toy/vms", body)).json["vm_id"] for _ in range(4)]
        starts = [later(client.post(f"{project}/toy/vms/{vm}/start")) for vm in made]
        await gate.reached(2)
        places = server.running.server.manager.machine.gate
        while places.waiting < 2:
            await client.get("/v1/version")
        gate.open()
        assert {answer.status for answer in await asyncio.gather(*starts)} == {204}


async def test_whoever_comes_next_finds_an_end_by_itself_settled(
    client, make_toy, arrived, hold_disk
):
    toy = await make_toy(mode="crash-on-connect")
    await arrived()
    await client.post(f"{toy}/start")
    await arrived()
    with hold_disk():
        update = later(client.put(toy, {"name": "new"}))
        await arrived()
        show = later(client.get(toy))
        await arrived()
        console = await asyncio.open_connection("127.0.0.1", await port_of(client, toy))
        # Nobody asked for this: it is the server that queues, behind the other two.
        await arrived()
        await arrived()
        console[1].close()
    assert (await update).json["status"] == "started"
    assert ((await show).json["status"], (await show).json["name"]) == ("stopped", "new")


async def port_of(client, toy: str):
    """The console of a node, asked for in a way that does not wait for the node."""
    nodes = (await client.get(toy.rpartition("/")[0])).json
    return next(node["console"] for node in nodes if toy.endswith(node["vm_id"]))


# Closing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["delete", "close", "shutdown"])
async def test_the_end_of_a_project_ends_its_starts(make_toy, gate, arrived, server, end):
    client = server.client
    toys = [await make_toy(mode=gate.mode), await make_toy(mode="never")]
    project = toys[0].partition("/toy/")[0]
    for _ in toys:
        await arrived()
    starts = [later(client.post(f"{toy}/start")) for toy in toys]
    for _ in starts:
        await arrived()
    await gate.reached()
    waiting = [later(client.get(toys[0])), later(client.post(f"{toys[1]}/start"))]
    for _ in waiting:
        await arrived()
    if end == "shutdown":
        await server.running.server.manager.shutdown(open_again=True)
    else:
        leave = client.delete(project) if end == "delete" else client.post(f"{project}/close")
        assert (await leave).status == 204
    for answer in await asyncio.gather(*starts):
        assert answer.status == 409
        assert "being closed or deleted" in answer.json["message"]
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [404, 404]
    assert (await client.get(project)).status == 404
    assert living(server) == []
    assert len(server.ports.tcp) == 0


async def test_those_who_come_while_a_project_ends_find_it_gone(
    client, make_toy, arrived, project, hold_disk
):
    toy = await make_toy()
    await arrived()
    with hold_disk():
        first = later(client.delete(project))
        await arrived()
        late = []
        for method, path, body in [
            ("GET", toy, None),
            ("POST", f"{toy}/start", None),
            ("DELETE", toy, None),
            ("POST", f"{project}/toy/vms", {"name": "PC"}),
            ("PUT", project, {"name": "new"}),
            ("POST", f"{project}/commit", None),
            ("POST", f"{project}/close", None),
            ("DELETE", project, None),
        ]:
            late.append(later(client.request(method, path, body)))
            await arrived()
    assert (await first).status == 204
    assert [answer.status for answer in await asyncio.gather(*late)] == [404] * 8


async def test_a_project_whose_end_fails_goes_on(client, make_toy, project, monkeypatch):
    toy = await make_toy()
    await client.post(f"{toy}/start")

    def refuse(*_):
        raise PermissionError("Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(paths, "set_aside", refuse)
        assert (await client.delete(project)).status == 500
    assert (await client.get(toy)).json["status"] == "stopped"
    assert (await client.post(f"{toy}/start")).status == 204
    assert (await client.delete(project)).status == 204


async def test_a_close_that_waits_for_one_that_fails_ends_starts_as_well(
    client, make_toy, project, gate, arrived, *, hold_disk, monkeypatch
):
    toy = await make_toy(mode=gate.mode)
    await arrived()
    set_aside, calls = paths.set_aside, []

    def refuse_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise PermissionError("Operation not permitted")
        return set_aside(*arguments)

    monkeypatch.setattr(paths, "set_aside", refuse_once)
    with hold_disk():
        requests = [later(client.put(project, {"name": "new"}))]
        await arrived()
        for method, path in (("DELETE", project), ("POST", f"{toy}/start"), ("DELETE", project)):
            requests.append(later(client.request(method, path)))
            await arrived()
    statuses = [answer.status for answer in await asyncio.gather(*requests)]
    assert statuses == [200, 500, 404, 204]


async def test_a_close_that_cannot_be_recorded_changes_nothing(client, lab, project, make_toy):
    kept, removed = await make_toy(), await make_toy()
    await client.post(f"{removed}/start")
    assert (await client.delete(removed)).status == 204
    port = (await client.post(f"{project}/ports/toy")).json["udp_port"]
    records = lab.manager._index._records
    await records._thread.read(records._database, "PRAGMA query_only = ON")
    assert (await client.post(f"{project}/close")).status == 507
    await records._thread.read(records._database, "PRAGMA query_only = OFF")
    assert (await client.get(kept)).status == 200
    stored = await lab.manager.get(project.rpartition("/")[2]).records.stored()
    assert stored.allocated_ports == [port]
    assert stored.removed_nodes == [("toy", removed.rpartition("/")[2])]
    # Once it is closed, both are forgotten (contract 4.3).
    assert (await client.post(f"{project}/close")).status == 204
    body = {"project_id": project.rpartition("/")[2]}
    assert (await client.post("/v1/projects", body)).status == 201
    stored = await lab.manager.get(body["project_id"]).records.stored()
    assert (stored.allocated_ports, stored.removed_nodes) == ([], [])


async def test_nothing_starts_in_a_project_that_a_stopping_server_could_not_end(
    client, make_toy, project, lab, monkeypatch
):
    toy = await make_toy()
    await client.put(project, {"temporary": True})

    def refuse(*_):
        raise PermissionError("Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(paths, "set_aside", refuse)
        await lab.manager.shutdown(open_again=True)
    assert (await client.post(f"{toy}/start")).status == 404


async def test_a_stopping_server_opens_no_more_projects(client, project, lab, hold_disk, arrived):
    with hold_disk():
        stopping = later(lab.manager.shutdown(open_again=True))
        await arrived()
        late = later(client.post("/v1/projects", {"name": "late"}))
        assert (await client.get("/v1/version")).status == 200
        assert not late.done()
    await stopping
    answer = await late
    assert answer.status == 409
    assert "stopping" in answer.json["message"]


async def test_projects_do_not_wait_for_each_other(client, make_toy, gate):
    toy = await make_toy(mode=gate.mode)
    start = later(client.post(f"{toy}/start"))
    await gate.reached()
    other = f"/v1/projects/{(await client.post('/v1/projects')).json['project_id']}"
    assert (await client.post(f"{other}/toy/vms", {"name": "PC"})).status == 201
    assert (await client.delete(other)).status == 204
    assert not start.done()
    gate.open()
    assert (await start).status == 204
