"""Websockets of plugins: messages, both ends, projects that go, and what is no websocket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType
from api_calls import new_project
from faults import impatient
from openapi_spec_validator import OpenAPIV30SpecValidator
from raw_http import CLOSE_FRAME, text_frame, websocket_head

from gns3server.http import upgrades, websockets


@pytest.fixture
def plugins():
    return {"toy": "toy_emulator", "front": "web_front_end"}


@pytest.fixture
def connect(server):
    """Opens a websocket of the front end."""

    @asynccontextmanager
    async def connect(path, **options):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/front/{path}", **options) as socket,
        ):
            yield socket

    return connect


async def end_of(socket):
    """What was received last, and how it was closed."""
    return [message.data async for message in socket], socket.close_code


# Messages -------------------------------------------------------------------------------


async def test_text_and_bytes_come_and_go_in_order(connect):
    async with connect("echo") as socket:
        for number in range(100):
            await socket.send_str(f"text {number} \u00e4")
            await socket.send_bytes(b"bytes \xff %d" % number)
        for number in range(100):
            assert await socket.receive_str() == f"text {number} \u00e4"
            assert await socket.receive_bytes() == b"bytes \xff %d" % number


async def test_a_large_message_passes_and_a_larger_one_ends_it(connect):
    size = websockets.MESSAGE_BYTES
    async with connect("echo", max_msg_size=0) as socket:
        await socket.send_bytes(b"x" * size)
        assert await socket.receive_bytes() == b"x" * size
        await socket.send_bytes(b"x" * (size + 1))
        assert await end_of(socket) == ([], 1009)


async def test_pings_are_answered_whatever_the_handler_does(connect):
    for path in ("echo", "stay"):
        async with connect(path, autoping=False) as socket:
            if path == "stay":
                assert await socket.receive_str() == "here"
            await socket.ping(b"there?")
            message = await socket.receive()
            assert (message.type, message.data) == (WSMsgType.PONG, b"there?")


async def test_a_client_is_asked_whether_it_is_there_and_cut_off_if_it_is_not(connect, monkeypatch):
    monkeypatch.setattr(upgrades, "HEARTBEAT", 0.1)
    async with connect("stay", autoping=False) as socket:
        assert await socket.receive_str() == "here"
        assert (await socket.receive()).type is WSMsgType.PING
        # It gets no answer.
        async with asyncio.timeout(30):
            while (await socket.receive()).type is WSMsgType.PING:
                pass


# Ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("done", 1000, ""),
        ("bye", 3000, "bye yourself"),
        ("conflict", 4409, "That cannot be done now."),
        ("bug", 1011, "The server failed; it is noted in its log as "),
    ],
)
async def test_how_a_handler_ends_is_told(raw, connect, word, code, reason):
    async with connect("echo") as socket:
        await socket.send_str("before")
        await socket.send_str(word)
        assert await end_of(socket) == (["before"], code)
    # The library keeps the reason from us.
    reader, writer = await raw.connect()
    writer.write(handshake("echo") + text_frame(b"before") + text_frame(word.encode()))
    await reader.readuntil(b"\x81\x06before")
    kind, size = await reader.readexactly(2)
    close = await reader.readexactly(size)
    writer.close()
    assert kind == CLOSE_FRAME[0]
    assert int.from_bytes(close[:2], "big") == code
    assert close[2:].decode().startswith(reason)


def handshake(path: str) -> bytes:
    return websocket_head(f"/front/{path}")


async def test_a_bug_is_in_the_log_with_the_name_of_the_request(connect, caplog):
    async with connect("echo") as socket:
        await socket.send_str("bug")
        assert await end_of(socket) == ([], 1011)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "toy fault" in str(record.exc_info[1])


async def test_a_handler_whose_client_has_gone_is_ended(connect, server, until, capsys):
    async with connect("stay") as socket:
        assert await socket.receive_str() == "here"

    async def ended():
        return "the handler has ended" in capsys.readouterr().out

    await until(ended)


async def test_a_client_that_breaks_off_while_nobody_takes_its_messages_is_forgotten(
    raw, until, capsys
):
    reader, writer = await raw.connect()
    writer.write(handshake("stay") + text_frame(b"unread") * 10)
    await reader.readuntil(b"here")
    writer.transport.abort()

    async def ended():
        return "the handler has ended" in capsys.readouterr().out

    await until(ended)


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_it_ends_with_its_project_after_the_last_event(client, connect, project, end):
    other = await new_project(client)
    paths = [f"{path.removeprefix('/v1/')}/events" for path in (project, other)]
    async with connect(paths[0]) as socket, connect(paths[1]) as others, connect("echo") as free:
        await free.send_str("there?")
        assert await free.receive_str() == "there?"
        toy = await client.post(f"{project}/toy/vms", {"name": "toy"})
        node = f"{project}/toy/vms/{toy.json['vm_id']}"
        assert (await client.post(f"{node}/start")).status == 204
        answer = client.post(f"{project}/close") if end == "close" else client.delete(project)
        assert (await answer).status == 204
        actions = [(await socket.receive_json())["action"] for _ in range(3)]
        assert actions == ["vm.created", "vm.started", "vm.stopped"]
        _, code = await end_of(socket)
        assert code in (1000, 1001)
        await free.send_str("still there")
        assert await free.receive_str() == "still there"
        assert not others.closed


async def test_all_end_with_the_server(serving_front):
    async with serving_front() as (server, session):
        sockets = [
            await session.ws_connect(f"{server.url}/front/{path}", autoclose=False)
            for path in ("echo", "stay")
        ]
        assert await sockets[1].receive_str() == "here"
    # Nobody has read on or answered meanwhile.
    for socket in sockets:
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        assert message.extra.startswith("The server stops")


async def test_a_handler_that_does_not_end_does_not_hold_the_server(serving_front, monkeypatch):
    monkeypatch.setattr(upgrades, "PATIENCE", 0.1)
    impatient(monkeypatch, shutdown=0.2)
    environ = {}
    async with serving_front() as (server, session):
        environ = server.running.server.settings.environ
        socket = await session.ws_connect(f"{server.url}/front/deaf")
        assert await socket.receive_str() == "here"
    environ["TOY_RELEASED"] = "1"
    await end_of(socket)


@pytest.fixture
def serving_front(gns3_serving, make_entry_point):
    """Serves the front end, with a client that outlives the server."""

    @asynccontextmanager
    async def serving():
        async with aiohttp.ClientSession() as session:
            point = make_entry_point("front", "web_front_end")
            async with gns3_serving(plugins=[point]) as server:
                yield server, session

    return serving


# Where ----------------------------------------------------------------------------------


async def test_a_node_of_any_type_is_found_and_not_held(client, connect, project, make_toy):
    toy = await make_toy(name="first")
    path = f"{project.removeprefix('/v1/')}/nodes/{toy.rpartition('/')[2]}"
    async with connect(path) as socket:
        await socket.send_str("name?")
        assert await socket.receive_str() == "first"
        # Who held it would be waited for here.
        assert (await client.put(toy, {"name": "second"})).status == 200
        await socket.send_str("name?")
        assert await socket.receive_str() == "second"


async def test_what_is_not_there_is_refused_before_there_is_a_websocket(raw, project):
    unknown = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    name = project.removeprefix("/v1/")
    for path, status in (
        (f"{name}/nodes/{unknown}", 404),
        (f"{name}/nodes/x", 400),
        (f"projects/{unknown}/events", 404),
        ("nothing", 404),
    ):
        answer = await raw.send(handshake(path))
        assert (answer.status, answer.json["status"]) == (status, status)


async def test_headers_are_those_of_every_answer(raw):
    answer = await raw.talk(handshake("echo") + CLOSE_FRAME)
    head = answer.partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 101 ")
    assert "X-Route: /front/echo" in head
    assert "X-Request-Id: " in head
    assert "Server: Python/" in head


@pytest.mark.parametrize(
    "left_out", ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"]
)
async def test_what_asks_for_no_websocket_is_426(raw, left_out):
    lines = handshake("echo").decode().split("\r\n")
    request = "\r\n".join(line for line in lines if not line.startswith(left_out))
    answer = await raw.send(request.encode())
    assert (answer.status, answer.json["status"]) == (426, 426)
    assert answer.headers["Upgrade"] == "websocket"
    assert "RFC 6455" in answer.json["message"]


async def test_there_is_neither_head_nor_post(raw):
    for method in ("HEAD", "POST", "OPTIONS"):
        answer = await raw.request(method, "/front/echo")
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET"


async def test_the_api_document_says_what_they_are(client):
    document = (await client.get("/v1/openapi.json")).json
    assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []
    operation = document["paths"]["/front/echo"]["get"]
    assert "101" in operation["responses"]
    assert "426" in operation["responses"]
    assert operation["security"] == [{}, {"basic": []}, {"ticket": []}]
    node = document["paths"]["/front/projects/{project_id}/nodes/{node_id}"]["get"]
    assert {p["schema"]["format"] for p in node["parameters"]} == {"uuid"}


async def test_they_count_as_listeners(gns3_serving, make_entry_point, until):
    point = make_entry_point("front", "web_front_end")
    async with (
        gns3_serving(plugins=[point], max_listeners=2) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/front/echo") as socket,
        server.client.listen(),
    ):
        answer = await server.client.get("/v1/notifications")
        assert answer.status == 409
        assert "max_listeners" in answer.json["message"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{server.url}/front/echo")
        assert refused.value.status == 409
        await socket.close()

        async def has_room():
            try:
                again = await session.ws_connect(f"{server.url}/front/echo")
            except aiohttp.WSServerHandshakeError:
                return False
            return await again.close()

        await until(has_room)


# Beside a stream ------------------------------------------------------------------------


async def test_a_stream_of_a_plugin_can_also_be_a_websocket(client, project, connect):
    path = f"projects/{project.rpartition('/')[2]}/drops"
    async with (
        aiohttp.ClientSession(client.url) as session,
        session.get(f"/front/{path}") as answer,
    ):
        assert await answer.content.readline() == b"drop\n"
    async with connect(path) as socket:
        assert await socket.receive_str() == "drop"
        assert (await client.delete(project)).status == 204
        received, code = await end_of(socket)
    assert (received[-1], code) == ("last drop", 1001)
