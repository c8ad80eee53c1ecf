"""Clients that hang up: what they asked for is carried out, once, or not at all."""

import socket
import struct

import pytest
from api_calls import later
from faults import cancel_handlers


@pytest.fixture
async def hanging_up(raw):
    """Sends a request, and hangs up rudely when awaited a second time."""

    async def begin(method: str, path: str, body: bytes = b""):
        _, writer = await raw.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

        async def hang_up() -> None:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        return hang_up

    return begin


@pytest.fixture(params=[False, True], ids=["ignored", "cancelled"])
def cancelling(request, monkeypatch):
    """Whether aiohttp cancels the handlers of those who hang up; used before ``server`` starts."""
    cancel_handlers(monkeypatch, cancel=request.param)


@pytest.mark.usefixtures("cancelling")
async def test_a_start_whose_client_hangs_up_is_carried_out_once(
    client, make_toy, gate, hanging_up, server
):
    toy = await make_toy(mode=gate.mode)
    project = toy.partition("/toy/")[0]
    async with client.listen(f"{project}/notifications") as events:
        hang_up = await hanging_up("POST", f"{toy}/start")
        await gate.reached()
        await hang_up()
        assert (await client.get("/v1/version")).status == 200
        gate.open()
        assert (await client.get(toy)).json["status"] == "started"
        assert len(server.processes()) == 1
        assert (await client.delete(project)).status == 204
        told = [event["action"] async for event in events]
    assert told == ["ping", "vm.started", "vm.stopped"]


@pytest.mark.usefixtures("cancelling")
async def test_a_creation_whose_client_hangs_up_is_carried_out_once(
    client, project, hanging_up, arrived, hold_disk
):
    async with client.listen(f"{project}/notifications") as events:
        with hold_disk():
            hang_up = await hanging_up("POST", f"{project}/toy/vms", b'{"name": "PC1"}')
            await arrived()
            await hang_up()
            assert (await client.get("/v1/version")).status == 200
        assert [(await anext(events))["action"] for _ in range(2)] == ["ping", "vm.created"]
        (node,) = (await client.get(f"{project}/toy/vms")).json
        assert node["name"] == "PC1"


async def test_a_client_that_hangs_up_in_its_body_changes_nothing(raw, client, project, caplog):
    for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        _, writer = await raw.connect()
        start = f"POST {project}/toy/vms HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
        writer.write(start.encode())
        await writer.drain()
        await client.get("/v1/version")
        writer.close()
        await writer.wait_closed()
        await client.get("/v1/version")
    assert (await client.get(f"{project}/toy/vms")).json == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("cancelling")
async def test_one_who_waits_and_hangs_up_does_not_hold_up_the_next(
    client, make_toy, gate, hanging_up, arrived
):
    toy = await make_toy(mode=gate.mode)
    await arrived()
    start = later(client.post(f"{toy}/start"))
    await arrived()
    await gate.reached()
    for method, path in (("GET", toy), ("POST", f"{toy}/stop")):
        hang_up = await hanging_up(method, path)
        await arrived()
        await hang_up()
    last = later(client.get(toy))
    await arrived()
    gate.open()
    assert (await start).status == 204
    # The stop was asked for, so it is done.
    assert (await last).json["status"] == "stopped"
