"""HTTP as it goes over the wire: bodies where none is usual, old clients, strange requests."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from raw_http import read_answer

from gns3server.http import connections
from gns3server.http.routing import PARAMETER

VERSION = b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n"
LAST = b"Connection: close\r\n\r\n"


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/\d\.\d (\d+) ", answers)]


# Bodies -----------------------------------------------------------------------------

JSON_BODY = b'{"any": 1}'
BODIES: list[tuple[tuple[str, ...], bytes, int]] = [
    ((), b"", 204),
    (("Content-Length: 0",), b"", 204),
    ((f"Content-Length: {len(JSON_BODY)}",), JSON_BODY, 204),
    ((f"Content-Length: 000{len(JSON_BODY)}",), JSON_BODY, 204),
    (("Transfer-Encoding: chunked",), b"a\r\n" + JSON_BODY + b"\r\n0\r\n\r\n", 204),
    (("Transfer-Encoding: Chunked",), b"0\r\n\r\n", 204),
    (("Transfer-Encoding: chunked",), b'4;a=b;c="d"\r\n{"a"\r\n3\r\n:1}\r\n0;z\r\n\r\n', 204),
    (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n", 204),
    (("Content-Length: 1",), b"{", 400),
    (("Transfer-Encoding: chunked",), b"1\r\n{\r\n0\r\n\r\n", 400),
    (("Transfer-Encoding: chunked",), b"g\r\n{\r\n0\r\n\r\n", 400),
    (("Transfer-Encoding: chunked",), b"-2\r\n{}\r\n0\r\n\r\n", 400),
    (("Transfer-Encoding: chunked",), b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400),
    (("Transfer-Encoding: chunked",), b"2\r\n{}0\r\n\r\n", 400),
]


@pytest.mark.statement("HTTP-07")
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_body_may_come_with_any_method_and_in_any_coding(raw, make_toy, method, subtests):
    for headers, body, status in BODIES:
        with subtests.test(headers=headers, body=body):
            toy = await make_toy()
            path = f"{toy}/stop" if method == "POST" else toy
            lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
            answer = await raw.send("\r\n".join([*lines, "", ""]).encode() + body)
            assert answer.status == (200 if (method, status) == ("GET", 204) else status)
            if status == 400:
                assert answer.headers["Content-Type"] == "application/json"
                assert {"message", "status"} <= set(answer.json)


CONTRADICTIONS = [
    ("Content-Length: 2", "Transfer-Encoding: chunked"),
    ("Content-Length: 2", "Content-Length: 3"),
    ("Content-Length: 2", "Content-Length: 2"),
    ("Content-Length: -2",),
    ("Content-Length: +2",),
    ("Content-Length: 0x2",),
    ("Content-Length: 2, 2",),
    ("Content-Length: " + "9" * 40,),
    ("Transfer-Encoding: gzip",),
    ("Transfer-Encoding: identity",),
    ("Transfer-Encoding: chunked, chunked",),
    ("Transfer-Encoding : chunked",),
]


@pytest.mark.parametrize("headers", CONTRADICTIONS)
async def test_where_a_body_ends_must_be_beyond_doubt(raw, lab, headers):
    # Were it not, what follows could pass for a request of its own.
    lines = ["POST /v1/projects HTTP/1.1", "Host: localhost", *headers, "", ""]
    smuggled = b"{}POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    answers = await raw.talk("\r\n".join(lines).encode() + smuggled)
    assert statuses(answers) == [400]
    assert lab.projects.projects == []


NO_REQUESTS = [
    b"GET  /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\nGET  /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/version  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET  /v1/version HTTP/1.0\r\n\r\n",
    *(
        b"CONNECT %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n{}%s%s\r\n"
        % (target, length, VERSION, LAST)
        for target in (b"localhost:80", b"/v1/version", b"/v1/projects")
        for length in (b"", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n")
    ),
]


@pytest.mark.parametrize("data", NO_REQUESTS)
async def test_what_proxies_would_read_otherwise_is_refused(raw, data):
    """Two blanks in the first line, and a CONNECT with or without a length, whatever follows."""
    assert statuses(await raw.talk(data)) == [400]
    reader, writer = await raw.connect()
    # The same if the server reads the first blank before the second.
    writer.write(data[:4])
    await asyncio.sleep(0)
    writer.write(data[4:])
    assert statuses(await reader.read()) == [400]
    writer.close()


async def test_two_blanks_elsewhere_are_nothing_special(raw):
    reader, writer = await raw.connect()
    for _ in range(2):
        writer.write(b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nX:  y\r\n")
        writer.write(b"Content-Length: 6\r\n\r\n{  }\r\n")
        assert (await read_answer(reader)).status == 201
    writer.close()


# Connections ------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_the_other(raw):
    reader, writer = await raw.connect()
    for _ in range(3):
        writer.write(VERSION + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        assert size is not None
        await reader.readexactly(int(size[1]))
    writer.close()


async def test_requests_in_one_go_are_answered_in_their_order(raw):
    first = b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    unknown = b"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    data = (first + unknown) * 50 + VERSION + LAST
    assert statuses(await raw.talk(data)) == [201, 404] * 50 + [200]


async def test_what_follows_the_last_request_is_not_heard(raw, lab):
    more = b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    # All in one go, it makes nonsense of the whole.
    assert statuses(await raw.talk(VERSION + LAST + more)) == [400]
    assert lab.projects.projects == []


async def test_a_connection_without_requests_ends_at_last(raw, monkeypatch):
    monkeypatch.setattr(connections, "IDLE_LIMIT", 0.05)
    assert statuses(await raw.talk(VERSION + b"\r\n")) == [200]


async def test_a_request_that_takes_long_is_no_late_head(raw, make_toy, gate, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_LIMIT", 0.1)
    toy = await make_toy(mode=gate.mode)
    start = asyncio.ensure_future(raw.request("POST", f"{toy}/start"))
    await gate.reached()
    # All of its time has passed for a connection that was opened after that.
    assert await raw.talk(b"") == b""
    gate.open()
    assert (await start).status == 204


async def test_a_head_counts_that_came_while_the_server_was_held_up(raw, monkeypatch):
    reader, writer = await raw.connect()
    # That of a later connection is answered, so this one has been accepted.
    assert (await raw.request("GET", "/v1/version")).status == 200
    writer.write(VERSION + LAST)
    loop = asyncio.get_running_loop()
    later = loop.time() + connections.HEAD_LIMIT
    with monkeypatch.context() as held_up:
        held_up.setattr(loop, "time", lambda: later)
        assert statuses(await reader.read()) == [200]
    writer.close()


@pytest.mark.parametrize("turns", range(8))
async def test_no_head_is_both_too_late_and_carried_out(raw, caplog, monkeypatch, turns):
    caplog.set_level("DEBUG")
    reader, writer = await raw.connect()
    writer.write(b"GET /v1/plugins HTTP/1.1\r\nConnection: close\r\n")
    assert (await raw.request("GET", "/v1/version")).status == 200
    loop = asyncio.get_running_loop()
    later = loop.time() + connections.HEAD_LIMIT
    with monkeypatch.context() as held_up:
        held_up.setattr(loop, "time", lambda: later)
        for _ in range(turns):
            await asyncio.sleep(0)
        writer.write(b"Host: localhost\r\n\r\n")
        try:
            told = statuses(await reader.read())
        except ConnectionError:
            told = [408]
    writer.close()
    assert (await raw.request("GET", "/v1/version")).status == 200
    assert told == ([200] if "GET /v1/plugins -> 200" in caplog.text else [408])


# HTTP/1.0 ---------------------------------------------------------------------------


async def test_http_1_0_is_answered_and_hung_up(raw):
    for head in (b"", b"Host: localhost\r\n", b"Expect: 100-continue\r\n", b"Expect: tea\r\n"):
        answers = await raw.talk(b"GET /v1/version HTTP/1.0\r\n" + head + b"\r\n")
        assert statuses(answers) == [200]
        assert answers.startswith(b"HTTP/1.0 ")


async def test_http_1_0_can_keep_a_connection(raw):
    keep = b"GET /v1/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = await raw.talk(keep * 2 + b"GET /v1/version HTTP/1.0\r\n\r\n")
    assert statuses(answers) == [200, 200, 200]
    assert answers.lower().count(b"connection: keep-alive") == 2


async def test_http_1_0_gets_files_without_chunks(raw, client, project):
    path = Path((await client.get(project)).json["path"])
    content = bytes(range(256)) * 4000
    (path / "file").write_bytes(content)
    for more in (b"", b"Connection: keep-alive\r\n"):
        answer = await raw.send(f"GET {project}/files/file HTTP/1.0\r\n".encode() + more + b"\r\n")
        assert (answer.status, answer.body) == (200, content)
        assert "Transfer-Encoding" not in answer.headers
        assert ("keep-alive" in answer.headers.get("Connection", "")) is bool(more)


@pytest.mark.statement("NOTIF-01")
@pytest.mark.parametrize("more", ["", "Connection: keep-alive\r\n"])
async def test_http_1_0_gets_streams_without_chunks(raw, lab, project, tmp_path, more):
    (tmp_path / "log").write_bytes(b"ping")
    body = json.dumps({"location": str(tmp_path / "log")})
    sized = f"{more}Content-Length: {len(body)}\r\n\r\n{body}"
    for path, rest in (
        ("/v1/notifications", more + "\r\n"),
        (f"{project}/notifications", more + "\r\n"),
        ("/v1/files/stream", sized),
    ):
        reader, writer = await raw.connect()
        writer.write(f"GET {path} HTTP/1.0\r\n{rest}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert statuses(head) == [200]
        assert b"Transfer-Encoding" not in head
        assert b"keep-alive" not in head
        if path == "/v1/files/stream":
            assert await reader.readexactly(4) == b"ping"
        else:
            assert await reader.readline() == b'{"action": "ping"}\n'
            lab.bus.end_project(project.rpartition("/")[2])
            if path != "/v1/notifications":
                assert await reader.read() == b""
        writer.close()


# Expect -----------------------------------------------------------------------------

WAITING = "POST /v1/projects HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\nExpect: {}\r\n{}\r\n"


@pytest.mark.parametrize("expected", ["100-continue", "100-Continue"])
async def test_the_body_is_asked_for_when_the_client_waits_for_that(raw, expected):
    reader, writer = await raw.connect()
    writer.write(WAITING.format("localhost", expected, "Connection: close\r\n").encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert statuses(await reader.read()) == [201]
    writer.close()


@pytest.mark.parametrize(
    ("host", "more", "status"),
    [("evil.example", "", 403), ("localhost", "Origin: http://evil.example\r\n", 403)],
)
async def test_no_body_is_asked_of_a_client_that_may_not_call(raw, host, more, status):
    reader, writer = await raw.connect()
    writer.write(WAITING.format(host, "100-continue", more).encode())
    assert statuses(await reader.readuntil(b"\r\n\r\n")) == [status]
    writer.close()


async def test_what_else_is_expected_is_417(raw, lab):
    for expected in ("tea", "100-continue, tea", "101-continue"):
        answer = await raw.request("POST", "/v1/projects", f"Expect: {expected}", body=b"{}")
        assert (answer.status, set(answer.json)) == (417, {"message", "status"})
        assert repr(expected) in answer.json["message"]
    assert (await raw.request("PATCH", "/v1/version", "Expect: tea")).json["status"] == 417
    assert lab.projects.projects == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/nothing", 404), ("PATCH", "/v1/projects/x", 405), ("OPTIONS", "*", 404)],
)
async def test_where_no_route_is_the_library_answers_expectations(
    raw, caplog, method, path, status
):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    waits, asks = f"{head}Expect: 100-continue\r\n", f"{head}Expect: tea\r\n"
    assert statuses(await raw.talk(f"{waits}\r\n".encode())) == [100, status]
    elsewhere = f"{waits}Origin: http://evil.example\r\n\r\n"
    assert statuses(await raw.talk(elsewhere.encode())) == [100, 403]
    assert statuses(await raw.talk(f"{asks}\r\n".encode())) == [417]
    assert [record for record in caplog.records if record.exc_info] == []


# HEAD and OPTIONS -------------------------------------------------------------------


@pytest.fixture
async def targets(server, client, project, make_toy):
    """Every path that can be read, but for the manual's, by whether its answer ends."""
    toy, other = [(await make_toy()).rpartition("/")[2] for _ in range(2)]
    (Path((await client.get(project)).json["path"]) / "file").write_bytes(b"content")
    ends = [{"vm_id": node, "adapter_number": 0, "port_number": 0} for node in (toy, other)]
    link = (await client.post(f"{project}/links", {"ends": ends})).json
    values = {
        "project_id": project.rpartition("/")[2],
        "vm_id": toy,
        "node_id": toy,
        "link_id": link["link_id"],
        "path": "file",
    }
    return {
        PARAMETER.sub(lambda found: values[found[1]], route.path): route.is_endless
        for route in server.running.routes
        if route.method == "GET" and not route.path.startswith("/manual")
    }


async def test_head_is_what_get_is_but_for_the_body_on_every_route(raw, targets, subtests):
    assert len(targets) > 15
    for path in (path for path, endless in targets.items() if not endless):
        with subtests.test(path=path):
            get, head = [await raw.request(method, path) for method in ("GET", "HEAD")]
            assert (head.status, head.body) == (get.status, b"")
            assert get.status == 200
            for headers in (get.headers, head.headers):
                del headers["Date"], headers["X-Request-Id"]
            # How a body is sent need not be said where there is none (RFC 9112, 6.1).
            get.headers.pop("Transfer-Encoding", None)
            assert head.headers == get.headers


async def test_head_leaves_the_connection_in_order(raw, targets):
    paths = [path for path, endless in targets.items() if not endless]
    heads = "".join(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    answers = await raw.talk(heads.encode() + VERSION + LAST)
    assert statuses(answers) == [200] * (len(paths) + 1)
    assert answers.count(b"\r\n\r\nHTTP/1.1 ") == len(paths)


async def test_streams_have_no_head_and_nothing_has_options(raw, targets):
    for path, endless in targets.items():
        answer = await raw.request("OPTIONS", path)
        assert answer.status == 405
        methods = answer.headers["Allow"].split(",")
        assert "GET" in methods
        assert ("HEAD" in methods) is not endless
        if endless:
            assert (await raw.request("HEAD", path)).status == 405


# Requests that are none of ours -----------------------------------------------------


async def test_a_target_may_name_the_server(raw):
    for start in ("http://localhost", f"http://127.0.0.1:{raw.port}", "HTTP://LOCALHOST"):
        answer = await raw.request("GET", f"{start}/v1/version", host=f"127.0.0.1:{raw.port}")
        assert (answer.status, answer.headers["X-Route"]) == (200, "/v1/version")


@pytest.mark.parametrize("target", ["http://evil.example/v1/version", "//evil.example/v1/version"])
async def test_a_target_that_names_another_server_is_refused(raw, target):
    assert (await raw.request("GET", target)).status in (403, 404)
    absolute = f"GET {target} HTTP/1.0\r\n\r\n".encode()
    assert statuses(await raw.talk(absolute))[0] in (403, 404)


STRANGE = [
    b"get /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"BREW /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/version HTTP/1.2\r\nHost: localhost\r\n\r\n",
    b"GET /v1/version HTTP/3.0\r\nHost: localhost\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n: no name\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
    b"GET /v1/version HTTP/1.1\nHost: localhost\n\n",
    b"GET /v1/version HTTP/1.1\rHost: localhost\r\r",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 1000,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\r\n" * 10 + b"nonsense\r\n\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 200 + b"\r\n",
]


@pytest.mark.parametrize("data", STRANGE, ids=lambda data: ascii(data[:40]))
async def test_what_is_no_http_is_told_so_and_is_no_error_of_ours(raw, client, caplog, data):
    head, _, body = (await raw.talk(data)).partition(b"\r\n\r\n")
    assert statuses(head) == [400]
    assert b"Content-Type: application/json" in head
    answer = json.loads(body)
    assert answer["status"] == 400
    assert answer["message"].startswith("This cannot be read as an HTTP/1.0 or HTTP/1.1 request: ")
    assert not re.search(r"\n|b'|bytearray|status line", answer["message"])
    assert [record for record in caplog.records if record.exc_info] == []
    assert (await client.get("/v1/version")).status == 200


async def test_what_is_too_long_is_refused_with_the_bound(raw):
    fits = "/" + "x" * (connections.ADDRESS_LIMIT - 1)
    answer = await raw.request("GET", fits, "X: " + "x" * (connections.HEADER_LIMIT - 10))
    assert answer.status == 404
    assert len(answer.json["message"]) < 300
    for path, header, wanted in (
        (fits + "x", "X: x", "The address of the request is longer than 16384 bytes: shorten it."),
        ("/", "X: " + "x" * 8191, "A header of the request is longer than 8190 bytes: shorten it."),
    ):
        answer = await raw.request("GET", path, header)
        assert (answer.status, answer.json) == (400, {"message": wanted, "status": 400})


async def test_an_upgrade_that_we_do_not_know_is_ignored(raw):
    for upgrade in ("websocket", "h2c"):
        answer = await raw.request("GET", "/v1/version", f"Upgrade: {upgrade}")
        assert answer.status == 200


async def test_a_client_that_hangs_up_in_a_request_is_forgotten(raw, client, lab):
    whole = b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    for size in range(0, len(whole), 7):
        _, writer = await raw.connect()
        writer.write(whole[:size])
        writer.close()
        await writer.wait_closed()
    assert (await client.get("/v1/version")).status == 200
    assert lab.projects.projects == []
