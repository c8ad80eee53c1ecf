"""Websockets let nobody in whom other requests do not, and nobody hold up the others."""

from __future__ import annotations

import asyncio
import base64
import hmac
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from faults import before, impatient
from raw_http import CLOSE_FRAME, websocket_head

from gns3server.http import access

ECHO = "/front/echo"


@pytest.fixture
def plugins():
    return {"toy": "toy_emulator", "front": "web_front_end"}


def basic(pair: str) -> str:
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"


RIGHT = basic("me:right")


@pytest.fixture
def set_password(lab):
    """Makes the server ask for this password of ``me``."""

    def set_password(password):
        settings = lab.live_settings.current
        server = replace(settings.server, auth=True, user="me", password=password)
        lab.live_settings.current = replace(settings, server=server)

    return set_password


@pytest.fixture
def password(set_password):
    set_password("right")


async def get_ticket(raw) -> str:
    answer = await raw.request("POST", "/v1/tickets", RIGHT)
    assert answer.status == 201
    assert set(answer.json) == {"ticket", "expires_in"}
    assert answer.json["expires_in"] == 30
    assert len(answer.json["ticket"]) >= 32
    return str(answer.json["ticket"])


async def ask(raw, query: str = "", *headers: str, path: str = ECHO, host: str = "localhost"):
    """The status of the answer to a request for a websocket; one that is granted is ended."""
    answer = await raw.talk(websocket_head(path + query, *headers, host=host) + CLOSE_FRAME)
    return int(answer.split()[1])


# Who ------------------------------------------------------------------------------------


async def test_a_websocket_is_for_those_who_have_the_password(raw, password):
    assert await ask(raw, "", RIGHT) == 101
    for headers in ([], [basic("me:wrong")], [RIGHT, RIGHT], ["Sec-WebSocket-Protocol: right"]):
        assert await ask(raw, "", *headers) == 401


async def test_a_refusal_is_an_answer_like_any_other(raw, password):
    answer = await raw.send(websocket_head(ECHO))
    assert (answer.status, answer.json["status"]) == (401, 401)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="GNS3 server"'
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Route"] == ECHO


async def test_pages_from_elsewhere_get_none(gns3_serving, make_entry_point, raw_client):
    point = make_entry_point("front", "web_front_end")
    async with gns3_serving(plugins=[point], allowed_origins="http://web.example") as server:
        raw = raw_client(server.running.port)
        host = f"localhost:{raw.port}"
        for origin, status in (
            (f"http://{host}", 101),
            ("http://web.example", 101),
            ("http://evil.example", 403),
            ("null", 403),
            (f"https://{host}", 403),
            (f"http://127.0.0.1:{raw.port}", 403),
            ("http://web.example.evil.example", 403),
        ):
            assert await ask(raw, "", f"Origin: {origin}", host=host) == status
        assert await ask(raw, host="evil.example") == 403


async def test_a_ticket_does_not_make_up_for_a_foreign_page(raw, password):
    ticket = await get_ticket(raw)
    assert await ask(raw, f"?ticket={ticket}", "Origin: http://evil.example") == 403
    assert await ask(raw, f"?ticket={ticket}", host="evil.example") == 403
    assert await ask(raw, f"?ticket={ticket}") == 101


# Tickets --------------------------------------------------------------------------------


async def test_a_ticket_opens_one_websocket_and_nothing_else(raw, password, lab):
    ticket = await get_ticket(raw)
    for method, path in (
        ("GET", "/v1/version"),
        ("POST", "/v1/projects"),
        ("POST", "/v1/tickets"),
        ("GET", "/v1/notifications"),
        ("GET", "/front/page/"),
    ):
        assert (await raw.request(method, f"{path}?ticket={ticket}")).status == 401
    assert await ask(raw, f"?ticket={ticket}") == 101
    assert await ask(raw, f"?ticket={ticket}") == 401
    assert lab.projects.projects == []


async def test_without_the_password_there_are_no_tickets(raw, password):
    for headers in ([], [basic("me:wrong")], [basic("you:right")]):
        assert (await raw.request("POST", "/v1/tickets", *headers)).status == 401


async def test_what_is_no_ticket_opens_nothing(raw, password):
    ticket = await get_ticket(raw)
    for text in ("", "x", ticket[:-1], ticket + "x", ticket.swapcase(), "%00", "%ff", "%C3%A4"):
        assert await ask(raw, f"?ticket={text}") == 401
    assert await ask(raw, f"?ticket={ticket[:-1]}&ticket={ticket}") == 401
    # Nor does the password beside a wrong ticket.
    assert await ask(raw, "?ticket=x", RIGHT) == 401
    assert await ask(raw, f"?ticket={ticket}") == 101


async def test_a_ticket_is_good_for_some_seconds_only(raw, password, monkeypatch):
    ticket = await get_ticket(raw)
    loop = asyncio.get_running_loop()
    later, now = loop.time() + access.TICKET_SECONDS, loop.time
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: max(later, now()))
        assert await ask(raw, f"?ticket={ticket}") == 401


async def test_a_ticket_goes_with_the_password_that_it_was_given_for(raw, set_password):
    set_password("right")
    ticket = await get_ticket(raw)
    set_password("another")
    assert await ask(raw, f"?ticket={ticket}") == 401


async def test_a_ticket_from_before_there_was_a_password_opens_nothing(raw, set_password):
    ticket = (await raw.request("POST", "/v1/tickets")).json["ticket"]
    set_password("right")
    assert await ask(raw, f"?ticket={ticket}") == 401


async def test_where_nobody_is_asked_a_ticket_does_no_harm(raw):
    ticket = (await raw.request("POST", "/v1/tickets")).json["ticket"]
    for text in (ticket, ticket, "x"):
        assert await ask(raw, f"?ticket={text}") == 101


async def test_tickets_are_bounded_and_old_ones_make_room(raw, password, monkeypatch):
    monkeypatch.setattr(access, "MOST_TICKETS", 2)
    tickets = [await get_ticket(raw) for _ in range(2)]
    assert len(set(tickets)) == 2
    answer = await raw.request("POST", "/v1/tickets", RIGHT)
    assert answer.status == 409
    assert await ask(raw, f"?ticket={tickets[0]}") == 101
    await get_ticket(raw)
    loop = asyncio.get_running_loop()
    later, now = loop.time() + access.TICKET_SECONDS, loop.time
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: max(later, now()))
        await get_ticket(raw)


async def test_tickets_are_compared_in_constant_time(raw, password):
    tickets = [await get_ticket(raw) for _ in range(3)]
    with before("compare_digest", None, of=hmac) as compared:
        assert await ask(raw, "?ticket=x") == 401
    assert compared == [(b"x", ticket.encode()) for ticket in tickets]


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
async def test_no_ticket_gets_into_the_log(raw, password, caplog, level):
    caplog.set_level(level)
    ticket = await get_ticket(raw)
    assert await ask(raw, f"?ticket={ticket}") == 101
    assert await ask(raw, f"?ticket={ticket}") == 401
    assert (await raw.request("GET", f"/v1/version?ticket={ticket}")).status == 401
    assert (await raw.request("GET", f"{ECHO}?ticket={ticket}", RIGHT)).status == 401
    assert "/v1/tickets" in caplog.text
    assert ticket not in caplog.text


async def test_no_ticket_gets_into_the_record(gns3_serving, make_entry_point, raw_client, tmp_path):
    record, point = tmp_path / "record", make_entry_point("front", "web_front_end")
    login = {"auth": True, "user": "me", "password": "right"}
    async with gns3_serving(
        plugins=[point], record=str(record), allowed_hosts="", **login
    ) as server:
        raw = raw_client(server.running.port)
        ticket = await get_ticket(raw)
        assert await ask(raw, f"?ticket={ticket}&other=1") == 101
    lines = record.read_text()
    assert ticket not in lines
    assert f"http://localhost{ECHO}?other=1" in lines


# Too slow, too much ---------------------------------------------------------------------


@asynccontextmanager
async def stalled(port: int, path: str):
    """A client of a websocket that reads nothing after the head."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    writer.write(websocket_head(path))
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.close()


async def test_who_does_not_read_is_cut_off_and_holds_up_nobody(
    raw, server, monkeypatch, until, capsys
):
    impatient(monkeypatch, grace=0.05)
    streams = server.running.streams
    async with (
        stalled(raw.port, "/front/flood"),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}{ECHO}") as other,
    ):

        async def gone():
            await other.send_str("there?")
            assert await other.receive_str() == "there?"
            return len(streams) == 1

        await until(gone)


async def test_who_reads_on_is_told_that_it_fell_behind(raw):
    async with stalled(raw.port, "/front/flood") as reader:
        content = b""
        # The server has given up long before this client has read what was on its way.
        while piece := await reader.read(1024):
            content = (content + piece)[-1000:]
            if b"fell too far behind" in content:
                break
        else:
            pytest.fail("the end was not told")


async def test_who_sends_what_nobody_takes_has_to_wait(raw, client):
    _, writer = await raw.connect()
    writer.write(websocket_head("/front/stay"))
    frame = bytes([0x82, 0xFE]) + (60_000).to_bytes(2, "big") + bytes(60_004)
    writer.write(frame * 1000)
    for _ in range(300):
        # The server, on this very loop, has had its turn as often.
        assert (await client.get("/v1/version")).status == 200
    assert writer.transport.get_write_buffer_size() > 40_000_000
    writer.transport.abort()
