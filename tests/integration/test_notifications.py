"""Notification streams: what comes, to whom, in which order, and when they end."""

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from api_calls import PROJECT, new_project, new_toy, take
from faults import impatient

from gns3server.events import Event

PING = {"action": "ping"}
EVERYWHERE = ("/v1/notifications", "/notifications")


async def rest(events: Any) -> list[Any]:
    """All events up to the end of the stream."""
    return [event async for event in events]


@pytest.fixture
async def other(client):
    """The path of another project."""
    return await new_project(client)


# Lines ------------------------------------------------------------------------------------


@pytest.mark.statement("NOTIF-01", "NOTIF-02", "NOTIF-05")
async def test_the_bytes_on_the_wire(raw, project, lab):
    reader, writer = await raw.connect()
    writer.write(f"GET {project}/notifications HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    assert head[0] == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    assert headers["Content-Type"] == "application/json"
    assert headers["Transfer-Encoding"] == "chunked"
    assert headers["X-Route"] == "/v1/projects/{project_id}/notifications"
    assert "GNS3/" in headers["Server"]
    assert not {"Content-Length", "Content-Encoding"} & set(headers)
    ping = b'{"action": "ping"}\n'
    assert await reader.readexactly(25) == b"13\r\n" + ping + b"\r\n"
    lab.bus.publish(Event("vm", "created", project.rpartition("/")[2], {"a": "b"}))
    event = b'{"action": "vm.created", "event": {"a": "b"}}\n'
    assert await reader.readexactly(len(event) + 6) == b"2e\r\n" + event + b"\r\n"
    lab.bus.close()
    assert await reader.readexactly(5) == b"0\r\n\r\n"
    writer.close()


@pytest.mark.statement("NOTIF-04")
async def test_pings_break_the_silence(gns3_serving, monkeypatch):
    impatient(monkeypatch, ping=0.01)
    async with gns3_serving(plugins=[]) as server, server.client.listen() as events:
        assert await take(events, 5) == [PING] * 5


# Events -----------------------------------------------------------------------------------


@pytest.mark.statement("NOTIF-06", "NOTIF-07", "NOTIF-13")
async def test_each_change_is_told_once_with_the_node_as_it_is_then(client, project, make_toy):
    async with client.listen(f"{project}/notifications") as events:
        assert await anext(events) == PING
        toy = await make_toy(name="PC1", note="a")
        created = (await client.get(toy)).json
        for action in ("start", "start", "stop", "stop", "reload"):
            assert (await client.post(f"{toy}/{action}")).status == 204
        await client.put(toy, {"name": "PC2"})
        assert (await client.delete(toy)).status == 204
        assert (await client.delete(project)).status == 204
        started = {**created, "status": "started"}
        assert await rest(events) == [
            {"action": "vm.created", "event": created},
            {"action": "vm.started", "event": started},
            {"action": "vm.stopped", "event": created},
            {"action": "vm.started", "event": started},
            {"action": "vm.stopped", "event": {**created, "name": "PC2"}},
        ]


@pytest.mark.statement("NOTIF-08", "NOTIF-09")
@pytest.mark.parametrize("mode", ["crash-on-connect", "quit-on-connect"])
async def test_an_end_by_itself_is_told(client, project, make_toy, mode):
    toy = await make_toy(mode=mode)
    shown = (await client.get(toy)).json
    async with client.listen(f"{project}/notifications") as events:
        assert (await client.post(f"{toy}/start")).status == 204
        assert [event["action"] for event in await take(events, 2)] == ["ping", "vm.started"]
        _, writer = await asyncio.open_connection("127.0.0.1", shown["console"])
        assert await anext(events) == {"action": "vm.stopped", "event": shown}
        writer.close()
        assert (await client.get(toy)).json["status"] == "stopped"
        assert (await client.delete(project)).status == 204
        left = await rest(events)
    if mode == "quit-on-connect":
        assert left == []
    else:
        (error,) = left
        assert error["action"] == "log.error"
        assert set(error["event"]) == {"message", "project_id", "vm_id"}
        assert error["event"]["project_id"] == shown["project_id"]
        assert error["event"]["vm_id"] == shown["vm_id"]
        assert "signal 11" in error["event"]["message"]
        assert "toy crash-on-connect comes up" in error["event"]["message"]


async def test_what_failed_is_not_told(client, project, make_toy):
    toy = await make_toy(mode="exit")
    async with client.listen(f"{project}/notifications") as events:
        assert (await client.post(f"{toy}/start")).status == 409
        assert (await client.post(f"{project}/toy/vms", {"name": ""})).status == 400
        console = (await client.get(toy)).json["console"]
        body = {"name": "PC", "console": console}
        assert (await client.post(f"{project}/toy/vms", body)).status == 409
        assert (await client.post(f"{toy}/stop")).status == 204
        await client.delete(project)
        assert await rest(events) == [PING]


# Who hears what -----------------------------------------------------------------------------


@pytest.mark.statement("NOTIF-11", "NOTIF-12")
async def test_projects_have_streams_of_their_own_and_all_share_two(client, project, other):
    async with (
        client.listen(f"{project}/notifications") as mine,
        client.listen(f"{project}/notifications") as also_mine,
        client.listen(f"{other}/notifications") as others,
        client.listen(EVERYWHERE[0]) as everywhere,
        client.listen(EVERYWHERE[1]) as also_everywhere,
    ):
        for path, name in ((project, "a"), (other, "b"), (project, "c")):
            assert (await client.post(f"{path}/toy/vms", {"name": name})).status == 201
        heard = []
        for events, count in (
            (mine, 2),
            (also_mine, 2),
            (others, 1),
            (everywhere, 3),
            (also_everywhere, 3),
        ):
            first, *lines = await take(events, count + 1)
            assert first == PING
            heard.append("".join(line["event"]["name"] for line in lines))
        assert heard == ["ac", "ac", "b", "abc", "abc"]


@pytest.mark.statement("NOTIF-03")
async def test_a_stream_of_no_project(client):
    assert (await client.get(f"{PROJECT}/notifications")).status == 404
    assert (await client.get("/v1/projects/x/notifications")).status == 400


async def test_there_is_a_limit_of_listeners(gns3_serving):
    async with gns3_serving(plugins=[], max_listeners=2) as server:
        client = server.client
        async with client.listen(), client.listen():
            answer = await client.get("/v1/notifications")
            assert answer.status == 409
            assert "2 listeners" in answer.json["message"]


# Ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_streams_end_with_their_project(client, project, other, make_toy, end):
    toy = await make_toy()
    await client.post(f"{toy}/start")
    async with (
        client.listen(f"{project}/notifications") as events,
        client.listen(f"{other}/notifications") as others,
        client.listen() as everywhere,
    ):
        if end == "close":
            assert (await client.post(f"{project}/close")).status == 204
        else:
            assert (await client.delete(project)).status == 204
        # The node's end is the last that is told.
        assert [event["action"] for event in await rest(events)] == ["ping", "vm.stopped"]
        assert (await client.post(f"{other}/toy/vms", {"name": "PC"})).status == 201
        actions = [event["action"] for event in await take(everywhere, 3)]
        assert actions == ["ping", "vm.stopped", "vm.created"]
        assert [event["action"] for event in await take(others, 2)] == ["ping", "vm.created"]


async def test_a_stream_takes_its_connection_with_it(raw, client, project):
    reader, writer = await raw.connect()
    writer.write(f"GET {project}/notifications HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    # Whoever used it again would be cut off later, as one who does not read.
    assert b"\r\nConnection: close\r\n" in head
    assert (await client.post(f"{project}/close")).status == 204
    assert (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()


async def test_all_streams_end_with_the_server(serving):
    async with serving() as server:
        client = server.client
        project = await new_project(client)
        await client.post(f"{await new_toy(client, project)}/start")
        paths = [f"{project}/notifications", *EVERYWHERE]
        heard = [asyncio.ensure_future(hear(server.url, path)) for path in paths]
        await heard_by(client, server.running.server, project, 1)
        while len(server.running.server.bus) < 3:
            await client.get("/v1/version")
    for lines in await asyncio.gather(*heard):
        assert lines[0] == b'{"action": "ping"}\n'
        assert b"vm.stopped" in lines[-1]


async def hear(url: str, path: str) -> list[bytes]:
    """All lines of a stream, whose proper end is insisted on."""
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        return [line async for line in response.content]


@pytest.mark.statement("PRJ-14")
async def test_a_close_is_skipped_for_two_listeners_but_not_for_one(client, lab, project, other):
    path = f"{project}/notifications"
    async with (
        client.listen(path) as first,
        client.listen(),
        client.listen(f"{other}/notifications"),
    ):
        async with client.listen(path):
            assert (await client.post(f"{project}/close")).status == 204
            assert (await client.get(project)).status == 200
        await heard_by(client, lab, project, 1)
        assert (await client.post(f"{project}/close")).status == 204
        assert (await client.get(project)).status == 404
        assert await rest(first) == [PING]


async def heard_by(client, lab, project: str, count: int) -> None:
    """Wait until so many listen to a project."""
    while lab.bus.listeners(project.rpartition("/")[2]) != count:
        await client.get("/v1/version")


async def test_a_delete_is_not_skipped(client, project):
    path = f"{project}/notifications"
    async with client.listen(path) as first, client.listen(path) as second:
        assert (await client.delete(project)).status == 204
        assert await rest(first) == await rest(second) == [PING]


# Slow and gone ------------------------------------------------------------------------------


async def stalled(raw, path: str) -> asyncio.StreamWriter:
    """A listener that never reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", raw.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return writer


async def test_who_does_not_read_holds_up_nobody_and_is_cut_off(
    raw, client, project, lab, monkeypatch
):
    impatient(monkeypatch, grace=0.05)
    project_id = project.rpartition("/")[2]
    writer = await stalled(raw, f"{project}/notifications")
    async with client.listen(f"{project}/notifications") as events:
        assert await anext(events) == PING
        for number in range(3000):
            event = {"filling": "x" * 4000, "number": number}
            lab.bus.publish(Event("vm", "started", project_id, event))
            assert (await anext(events))["event"]["number"] == number
        assert (await client.get(project)).status == 200
        # Fallen behind, ended, given its grace, cut off: it no longer counts.
        await heard_by(client, lab, project, 1)
        assert (await client.delete(project)).status == 204
        assert await rest(events) == []
    writer.close()


async def test_a_listener_that_goes_away_is_forgotten(raw, client, project, lab, caplog):
    project_id = project.rpartition("/")[2]
    writer = await stalled(raw, f"{project}/notifications")
    assert lab.bus.listeners(project_id) == 1
    writer.transport.abort()
    await heard_by(client, lab, project, 0)
    while len(lab.bus):
        lab.bus.publish(Event("vm", "started", project_id, {}))
        await client.get("/v1/version")
    # That is nothing to worry the reader of the log with.
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    # Labs belong to the server: the project is still there.
    assert (await client.get(project)).status == 200
