"""Notification streams as websockets: the same events, each a message, and a proper end."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from api_calls import PROJECT, new_project, new_toy, take
from faults import impatient
from raw_http import websocket_head

from gns3server.calls import on_behalf_of
from gns3server.events import Event

PING = {"action": "ping"}
GOING_AWAY, FELL_BEHIND = 1001, 1013

RIGHT = {"Authorization": aiohttp.encode_basic_auth("me", "right")}

Socket = aiohttp.ClientWebSocketResponse
Follow = Callable[[str], AbstractAsyncContextManager[Socket]]


@pytest.fixture
def follow(server) -> Follow:
    """Opens a notification stream as a websocket."""

    @asynccontextmanager
    async def follow(path: str) -> AsyncIterator[Socket]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.url + path) as socket,
        ):
            yield socket

    return follow


async def messages(socket: Socket) -> AsyncIterator[Any]:
    """What a websocket brings, parsed."""
    async for message in socket:
        yield json.loads(message.data)


async def rest(socket: Socket) -> list[Any]:
    """All that comes until the websocket has ended."""
    return [message async for message in messages(socket)]


def actions(events: list[Any]) -> list[str]:
    return [event["action"] for event in events]


# Events -----------------------------------------------------------------------------------


async def test_a_websocket_gets_what_the_stream_gets(client, project, make_toy, follow):
    path = f"{project}/notifications"
    async with (
        client.listen(path) as events,
        follow(path) as socket,
        follow("/v1/notifications") as everywhere,
        follow("/notifications") as old,
    ):
        assert (await client.post(f"{await make_toy()}/start")).status == 204
        told = await take(events, 3)
        assert actions(told) == ["ping", "vm.created", "vm.started"]
        for each in (socket, everywhere, old):
            assert await take(messages(each), 3) == told


async def test_a_message_is_a_line_without_its_end(raw, project, lab, follow):
    async with follow(f"{project}/notifications") as socket:
        assert await socket.receive_str() == '{"action": "ping"}'
        lab.bus.publish(Event("vm", "created", project.rpartition("/")[2], {"a": "\u00e4"}))
        assert await socket.receive_str() == '{"action": "vm.created", "event": {"a": "\u00e4"}}'


async def test_pings_break_the_silence(gns3_serving, monkeypatch):
    impatient(monkeypatch, ping=0.01)
    async with (
        gns3_serving(plugins=[]) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/v1/notifications") as socket,
    ):
        assert await take(messages(socket), 5) == [PING] * 5


async def test_events_from_a_number_on_come_however_many_there_are(client, project, lab, follow):
    count = 3000
    publish = lab.projects.get(project.rpartition("/")[2]).publish
    with on_behalf_of("toy"):
        await asyncio.gather(*(publish("toy.beat", {"n": n}) for n in range(count)))
    async with follow(f"{project}/notifications?since=0") as socket:
        numbers = [event.get("seq") for event in await take(messages(socket), count + 1)]
    assert numbers == [None, *range(1, count + 1)]


@pytest.mark.parametrize("query", ["since=x", "since=-1"])
async def test_what_is_wrong_with_a_request_is_said_before_it_is_a_websocket(
    client, project, raw, query
):
    path = f"{project}/notifications?{query}"
    answer = await raw.send(websocket_head(path))
    assert (answer.status, answer.json["status"]) == (400, 400)
    assert (await raw.send(websocket_head(f"{PROJECT}/notifications"))).status == 404


async def test_another_upgrade_gets_the_stream(raw, project):
    """With ``--http2``, curl offers HTTP/2 so, and goes on with the answer."""
    reader, writer = await raw.connect()
    writer.write(
        f"GET {project}/notifications HTTP/1.1\r\nHost: localhost\r\nHTTP2-Settings: AAM\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    assert b'{"action": "ping"}\n' in await reader.readuntil(b'ping"}\n')
    writer.close()


async def test_what_a_client_sends_means_nothing(client, project, make_toy, follow):
    async with follow(f"{project}/notifications") as socket:
        for _ in range(3):
            await socket.send_str("hello")
            await socket.send_bytes(b"\0")
        await make_toy()
        assert actions(await take(messages(socket), 2)) == ["ping", "vm.created"]


# Ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_it_ends_with_its_project(client, project, make_toy, follow, end):
    await client.post(f"{await make_toy()}/start")
    async with follow(f"{project}/notifications") as socket:
        if end == "close":
            assert (await client.post(f"{project}/close")).status == 204
        else:
            assert (await client.delete(project)).status == 204
        # The node's end is the last that is told.
        assert actions(await rest(socket)) == ["ping", "vm.stopped"]
        assert socket.close_code == GOING_AWAY


async def test_it_ends_with_the_server(serving):
    async with serving() as server:
        client = server.client
        project = await new_project(client)
        await client.post(f"{await new_toy(client, project)}/start")
        paths = [f"{project}/notifications", "/v1/notifications", "/notifications"]
        heard = [asyncio.ensure_future(hear(server.url, path)) for path in paths]
        while len(server.running.server.bus) < len(paths):
            await client.get("/v1/version")
    for events, code in await asyncio.gather(*heard):
        assert actions(events) == ["ping", "vm.stopped"]
        assert code == GOING_AWAY


async def hear(url: str, path: str) -> tuple[list[Any], int | None]:
    """All that a websocket brings, and how it was closed."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url + path) as socket:
        return await rest(socket), socket.close_code


async def heard_by(client, lab, project: str, count: int) -> None:
    """Wait until so many listen to a project."""
    while lab.bus.listeners(project.rpartition("/")[2]) != count:
        await client.get("/v1/version")


async def test_a_client_that_closes_it_is_forgotten_at_once(client, project, lab, follow):
    async with follow(f"{project}/notifications") as socket:
        await heard_by(client, lab, project, 1)
        await socket.close()
        await heard_by(client, lab, project, 0)
        while len(lab.bus):
            await client.get("/v1/version")


async def test_who_does_not_read_holds_up_nobody_and_is_told_why_it_ended(
    raw, client, project, lab
):
    project_id = project.rpartition("/")[2]
    reader, writer = await raw.connect()
    writer.write(websocket_head(f"{project}/notifications"))
    await reader.readuntil(b"\r\n\r\n")
    async with client.listen(f"{project}/notifications") as events:
        assert await anext(events) == PING
        number = 0
        while lab.bus.listeners(project_id) == 2:
            lab.bus.publish(Event("vm", "started", project_id, {"x": "x" * 4000, "n": number}))
            assert (await anext(events))["event"]["n"] == number
            number += 1
        assert (await client.get(project)).status == 200
    end = struct.pack("!H", FELL_BEHIND) + b"This client fell too far behind"
    content = b""
    while end not in content:
        piece = await reader.read(2**20)
        assert piece
        content += piece
    writer.close()


# Who --------------------------------------------------------------------------------------


async def test_a_ticket_opens_it_but_not_the_stream(gns3_serving):
    async with (
        gns3_serving(plugins=[], auth="true", user="me", password="right") as server,
        aiohttp.ClientSession(headers=RIGHT) as allowed,
        aiohttp.ClientSession() as page,
    ):
        url = f"{server.url}/v1/notifications"

        async def ticket() -> str:
            async with allowed.post(f"{server.url}/v1/tickets") as answer:
                return str((await answer.json())["ticket"])

        async with page.get(url, params={"ticket": await ticket()}) as answer:
            assert answer.status == 401
        async with page.ws_connect(f"{url}?ticket={await ticket()}") as socket:
            assert await socket.receive_json() == PING
        async with allowed.ws_connect(url) as socket:
            assert await socket.receive_json() == PING
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await page.ws_connect(url)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await allowed.ws_connect(url, origin="http://evil.example")
