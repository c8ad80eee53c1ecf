"""The life of a node: start, stop, reload, delete."""

import asyncio
import os
import socket

import pytest
from api_calls import status


@pytest.mark.statement("VPCS-05", "VPCS-11", "VPCS-26")
async def test_a_node_starts_once_and_stops_once(client, make_toy, server):
    toy = await make_toy()
    for _ in range(2):
        assert (await client.post(f"{toy}/start")).status == 204
        assert len(server.processes()) == 1
    assert await status(client, toy) == "started"
    for _ in range(2):
        assert (await client.post(f"{toy}/stop")).status == 204
        assert server.processes() == {}
    assert await status(client, toy) == "stopped"


@pytest.mark.statement("VPCS-27")
async def test_a_node_that_never_ran_can_be_stopped(client, make_toy):
    assert (await client.post(f"{await make_toy()}/stop")).status == 204


async def test_a_node_that_ignores_the_signal_is_stopped_too(client, make_toy, server):
    toy = await make_toy(mode="ignores-term")
    await client.post(f"{toy}/start")
    assert (await client.post(f"{toy}/stop")).status == 204
    assert server.processes() == {}


@pytest.mark.statement("VPCS-13")
async def test_reload_takes_another_process(client, make_toy, server):
    toy = await make_toy()
    assert (await client.post(f"{toy}/reload")).status == 204
    (first,) = server.processes()
    assert (await client.post(f"{toy}/reload")).status == 204
    (second,) = server.processes()
    assert first != second
    assert await status(client, toy) == "started"


@pytest.mark.statement("HTTP-10")
async def test_a_start_that_fails_says_why_and_leaves_it_stopped(client, make_toy, server):
    toy = await make_toy(mode="exit")
    ports = len(server.ports.tcp)
    for action in ("start", "reload"):
        answer = await client.post(f"{toy}/{action}")
        assert answer.status == 409
        assert "the toy exits at once" in answer.json["message"]
        assert await status(client, toy) == "stopped"
    assert len(server.ports.tcp) == ports
    # What was wrong can be put right.
    await client.put(toy, {"mode": "good"})
    assert (await client.post(f"{toy}/start")).status == 204


async def test_a_start_that_fails_holds_no_port_of_its_own(client, make_toy, server):
    toy = await make_toy(mode="exit")
    first = server.settings.server.udp_start_port_range
    nio = {"type": "nio_udp", "lport": first, "rhost": "127.0.0.1", "rport": 1}
    assert (await client.post(f"{toy}/adapters/0/ports/0/nio", nio)).status == 201
    assert (await client.post(f"{toy}/start")).status == 409
    console = (await client.get(toy)).json["console"]
    assert (await client.put(toy, {"console": console + 5})).status == 200
    assert (await client.delete(f"{toy}/adapters/0/ports/0/nio")).status == 204
    assert not server.ports.tcp.holders(console)
    assert len(server.ports.udp) == 0


async def test_a_start_that_the_driver_refuses_is_409_with_its_words(client, make_toy):
    toy = await make_toy(mode="unwired")
    answer = await client.post(f"{toy}/start")
    assert answer.status == 409
    assert answer.json["message"] == "VM 'toy' must be connected in order to start."
    assert await status(client, toy) == "stopped"


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
async def test_a_console_taken_by_another_program_is_named(client, make_toy, server, address):
    toy = await make_toy()
    port = (await client.get(toy)).json["console"]
    with socket.create_server((address, port)):
        answer = await client.post(f"{toy}/start")
        assert answer.status == 409
        assert str(port) in answer.json["message"]
        assert await status(client, toy) == "stopped"
        assert server.processes() == {}
    assert (await client.post(f"{toy}/start")).status == 204


@pytest.mark.statement("VPCS-06", "VPCS-31", "PORT-13")
async def test_a_deleted_node_is_gone_but_its_directory_stays(client, make_toy, project, server):
    toy = await make_toy()
    made = (await client.get(toy)).json
    await client.post(f"{toy}/start")
    assert (await client.delete(toy)).status == 204
    assert server.processes() == {}
    for method in ("GET", "DELETE", "PUT"):
        assert (await client.request(method, toy, {} if method == "PUT" else None)).status == 404
    assert (await client.get(f"{project}/toy/vms")).json == []
    assert os.listdir(made["vm_directory"])
    assert len(server.ports.tcp) == 0
    again = {"name": "again", "vm_id": made["vm_id"]}
    assert (await client.post(f"{project}/toy/vms", again)).json["console"] == made["console"]


@pytest.mark.statement("LOCK-03")
async def test_what_fails_does_not_block_what_follows(client, make_toy):
    toy = await make_toy(mode="exit")
    answers = await asyncio.gather(*(client.post(f"{toy}/start") for _ in range(5)))
    assert {answer.status for answer in answers} == {409}
    assert await status(client, toy) == "stopped"


async def test_nodes_of_a_type_nobody_offers_have_no_routes(client, project):
    for path in ("vpcs/vms", "qemu/vms"):
        assert (await client.get(f"{project}/{path}")).status == 404
