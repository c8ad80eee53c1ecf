"""Nobody gets in, or anything into a header, by saying a thing twice or in a strange way."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import resource
import socket
import uuid
from contextlib import suppress
from dataclasses import replace

import pytest
from faults import before
from raw_http import RawClient, read_answer

from gns3server.http import accepting, guesses
from gns3server.http.unpacking import Unpacker

HOSTS = [
    "localhost:80@evil.example",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost:evil.example",
    "localhost:80:80",
    "localhost:-1",
    "localhost:80 evil.example",
    "localhost/evil.example",
    "localhost#evil.example",
    "localhost?evil.example",
    "localhost, evil.example",
    "localhost,localhost",
    "[localhost",
    "[::1]evil.example",
    "[::1]@evil.example",
    "[::1].evil.example",
    "::1",
    "127.0.0.1:80@evil.example",
    "127.0.0.1.",
    "0x7f.1",
    "2130706433",
    "http://localhost",
    "localhost\\.evil.example",
    "\u0131localhost",
]


@pytest.mark.heavy
@pytest.mark.parametrize("host", HOSTS, ids=ascii)
async def test_a_host_that_only_looks_like_ours_is_refused(raw, host):
    answer = await raw.request("GET", "/v1/version", host=host)
    assert answer.status in (400, 403)
    assert set(answer.json) == {"message", "status"}


async def test_of_two_hosts_or_origins_none_counts(raw, lab):
    own = f"http://localhost:{raw.port}"
    for first, second in ((own, "http://evil.example"), ("http://evil.example", own), (own, own)):
        headers = (f"Origin: {first}", f"Origin: {second}")
        answer = await raw.request(
            "POST", "/v1/projects", *headers, host=f"localhost:{raw.port}", body=b"{}"
        )
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    for second in ("localhost", "evil.example"):
        answer = await raw.request("POST", "/v1/projects", f"Host: {second}", body=b"{}")
        assert answer.status == 400
    assert lab.projects.projects == []


def basic(pair: str) -> str:
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.fixture
def password(lab):
    """Makes the server ask for this password of ``me``."""
    settings = lab.live_settings.current
    server = replace(settings.server, auth=True, user="me", password="right")
    lab.live_settings.current = replace(settings, server=server)


async def test_of_two_passwords_none_counts(raw, password):
    right, wrong = basic("me:right"), basic("me:wrong")
    for pair in ((right, wrong), (wrong, right), (right, right)):
        assert (await raw.request("GET", "/v1/version", *pair)).status == 401
    assert (await raw.request("GET", "/v1/version", right)).status == 200


async def test_passwords_are_compared_in_constant_time(raw, password):
    wanted = basic("me:right").partition(": ")[2].replace("B", "b", 1).encode()
    texts = (basic("me:right"), basic("me:righ"), basic("you:right"), "Authorization: x", "X: 1")
    with before("compare_digest", None, of=hmac) as compared:
        for header in texts:
            await raw.request("GET", "/v1/version", header)
    given = [text.partition(": ")[2].replace("B", "b", 1).encode() for text in texts[:-1]]
    # Each with the password in UTF-8 and in Latin-1, whether the first is right or not.
    assert compared == [(text, wanted) for text in [*given, b""] for _ in range(2)]


async def test_no_body_is_read_of_somebody_without_the_password(raw, password):
    reader, writer = await raw.connect()
    head = "POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
    writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_nothing_is_told_without_the_password(gns3_serving, faulty_plugin, make_entry_point):
    broken = faulty_plugin("raise RuntimeError('a secret of the author')")
    settings = {"auth": True, "user": "me", "password": "right", "strict_plugins": False}
    plugins = [broken, make_entry_point("toy", "toy_emulator")]
    async with gns3_serving(plugins=plugins, **settings) as server:
        raw = RawClient(server.running.port)
        project = f"/v1/projects/{uuid.uuid4()}"
        told = set()
        for method, path, status in (
            ("GET", "/v1/nothing", 404),
            ("GET", f"{project}/mine/vms", 503),
            ("GET", f"{project}/toy/vms", 404),
            ("PATCH", "/v1/version", 405),
            ("OPTIONS", "/v1/version", 405),
            ("GET", "/v1/projects/x", 400),
        ):
            refused = await raw.request(method, path)
            assert refused.status == 401
            told.add(refused.body)
            assert (await raw.request(method, path, basic("me:right"))).status == status
        assert len(told) == 1


async def test_a_right_password_does_not_wait_for_wrong_ones(raw, password, monkeypatch):
    # None of them is answered while this test lasts.
    monkeypatch.setattr(guesses, "SPACING", 3600.0)
    monkeypatch.setattr(guesses, "LONGEST_WAIT", 3600.0)
    monkeypatch.setattr(guesses, "FREE", 3600.0)
    wrong = f"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n{basic('me:wrong')}\r\n\r\n"
    waiting = [await raw.connect() for _ in range(20)]
    for _, writer in waiting:
        writer.write(wrong.encode())
    assert (await raw.request("GET", "/v1/version", basic("me:right"))).status == 200
    # Who shows nothing does not guess.
    assert (await raw.request("GET", "/v1/version")).status == 401
    for reader, writer in waiting:
        assert not reader.at_eof()
        writer.transport.abort()


async def test_wrong_passwords_are_answered_one_after_the_other():
    time, slept = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    limiter = guesses.Guesses(sleep, lambda: time)
    for _ in range(3):
        await limiter.before("192.0.2.1")
        await limiter.wrong("192.0.2.1")
    assert slept == [0.1, 0.2, 0.3]
    # Others do not wait for them, whoever has an IPv6 network is one, and time passes.
    await limiter.wrong("192.0.2.2")
    await limiter.wrong("2001:db8::1%eth0")
    await limiter.wrong("2001:db8::2")
    time = 5.0
    await limiter.wrong("192.0.2.1")
    assert slept[3:] == [0.1, 0.1, 0.2, 0.1]
    # Of a flood each has to wait before it is looked at, and no longer than that.
    for _ in range(200):
        await limiter.wrong("192.0.2.1")
    assert slept[-1] == guesses.LONGEST_WAIT
    await limiter.before("192.0.2.1")
    assert slept[-1] == guesses.FREE
    before = len(slept)
    await limiter.before("192.0.2.3")
    assert len(slept) == before
    for number in range(2 * guesses.MOST_ADDRESSES):
        await limiter.wrong(f"2001:db8:{number:x}::1")
    assert len(limiter) == guesses.MOST_ADDRESSES


async def test_who_has_shown_the_password_does_not_wait_in_a_flood(raw, password, monkeypatch):
    reader, writer = await raw.connect()
    request = f"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n{basic('me:right')}\r\n\r\n".encode()
    writer.write(request)
    assert (await read_answer(reader)).status == 200

    async def flooded(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(guesses.Guesses, "before", flooded)
    writer.write(request)
    assert (await read_answer(reader)).status == 200
    writer.close()


async def test_strangers_have_places_of_their_own(raw, password, monkeypatch, server):
    few = 5
    known = await raw.connect()
    known[1].write(
        f"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n{basic('me:right')}\r\n\r\n".encode()
    )
    assert (await read_answer(known[0])).status == 200
    strangers = [await raw.connect() for _ in range(accepting.MOST_UNAUTHENTICATED + few)]
    # The oldest are cut off, and nobody else.
    for reader, _ in strangers[:few]:
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert (await raw.request("GET", "/v1/version", basic("me:right"))).status == 200
    known[1].write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await read_answer(known[0])).status == 401
    for _, writer in (known, *strangers):
        writer.transport.abort()


async def test_strangers_who_come_all_at_once_take_no_place_for_good(gns3_serving, monkeypatch):
    monkeypatch.setattr(accepting, "MOST_UNAUTHENTICATED", 3)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    async with gns3_serving(auth=True, user="me", password="right") as server:
        port, crowd = server.running.port, list[socket.socket]()
        # Nothing is accepted before all of them wait for it.
        for _ in range(60):
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.connect_ex(("127.0.0.1", port))
            crowd.append(stranger)
        answer = await RawClient(port).request("GET", "/v1/version", basic("me:right"))
        assert answer.status == 200
        for stranger in crowd:
            stranger.close()


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_refused_login_ends_its_connection(raw, lab, password, method):
    head = f"{method} /v1/projects HTTP/1.1\r\nHost: localhost\r\n"
    whole = f"{head}Content-Length: 2\r\n\r\n{{}}"
    login = f"{head}{basic('me:right')}\r\nContent-Length: 2\r\n\r\n{{}}"
    answers = await raw.talk((whole + login).encode())
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answers
    assert lab.projects.projects == []


@pytest.fixture
def unpacked(monkeypatch):
    """How large the pieces are that have been unpacked of bodies."""
    sizes, unpack = [], Unpacker.step

    def watched(*arguments):
        content, left = unpack(*arguments)
        sizes.append(len(content))
        return content, left

    monkeypatch.setattr(Unpacker, "step", watched)
    return sizes


BOMB = gzip.compress(bytes(50_000_000))
BOMB_HEAD = (
    "POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
    f"Content-Length: {len(BOMB)}\r\n\r\n"
).encode()


async def test_no_body_is_unpacked_of_somebody_without_the_password(raw, password, unpacked):
    reader, writer = await raw.connect()
    writer.write(BOMB_HEAD)
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.write(BOMB)
    # It is taken in all the same, or the answer might not be read.
    await reader.read()
    assert unpacked == []
    writer.close()


async def test_nothing_is_unpacked_of_what_comes_with_the_head(raw, password, unpacked):
    assert (await raw.talk(BOMB_HEAD + BOMB)).startswith(b"HTTP/1.1 401 ")
    assert unpacked == []


async def test_nothing_is_unpacked_of_what_is_refused(raw, unpacked):
    """There is no such path, no such project, and nobody may call from there."""
    path = BOMB_HEAD.replace(b"/v1/projects ", b"/v1/nothing ")
    project = BOMB_HEAD.replace(b"/v1/projects ", f"/v1/projects/{uuid.uuid4()}/toy/vms ".encode())
    origin = BOMB_HEAD.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n")
    for head, status in ((path, 404), (project, 404), (origin, 403)):
        assert (await raw.send(head + BOMB)).status == status
    assert unpacked == []


# What reaches a header of an answer -------------------------------------------------

INJECTED = ["%0d%0aX-Evil:%201", "%0D%0A%0D%0Aevil", "%0aX-Evil:1", "%E5%98%8A%E5%98%8DX-Evil:1"]


@pytest.mark.parametrize("text", INJECTED)
async def test_no_line_of_a_client_becomes_a_header(raw, project, text):
    targets = [
        f"/{text}",
        f"/v1/version?{text}",
        f"/v1/version/{text}",
        f"/v1/projects/{text}",
        f"{project}/files/{text}",
        f"{project}/toy/vms/{text}",
        f"/upload?{text}",
    ]
    for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
        for target in targets:
            answer = await raw.request(method, target)
            names = {name.lower() for name in answer.headers}
            assert "x-evil" not in names
            assert names <= {
                *(
                    "allow",
                    "x-request-id",
                    "cache-control",
                    "connection",
                    "content-length",
                    "content-security-policy",
                ),
                *("content-type", "date", "referrer-policy", "server", "transfer-encoding"),
                *("x-content-type-options", "x-frame-options", "x-route"),
            }
            assert "evil" not in " ".join(answer.headers.values()).lower()


async def test_no_value_of_a_body_becomes_a_header(raw, client, project):
    evil = "x\\r\\nX-Evil: 1\\r\\n\\r\\n"
    for method, path, key in (
        ("POST", "/v1/projects", "name"),
        ("PUT", project, "name"),
        ("POST", f"{project}/toy/vms", "name"),
        ("POST", "/v1/version", "version"),
        ("GET", "/v1/files/stream", "location"),
    ):
        body = f'{{"{key}": "{evil}"}}'.encode()
        answer = await raw.request(method, path, body=body)
        assert not [name for name in answer.headers if "evil" in name.lower()]
        assert answer.json is not None


@pytest.mark.parametrize("name", ["x\r\nX-Evil: 1", "x\nX-Evil: 1"])
async def test_no_name_of_an_upload_becomes_a_header(gns3_serving, make_entry_point, name):
    async with gns3_serving(plugins=[make_entry_point("shelf", "toy_images")]) as server:
        encoded = "".join(f"%{byte:02x}" for byte in name.encode())
        answer = await server.client.request("POST", f"/v1/shelf/vms/{encoded}", data=b"x")
        assert answer.status == 400
        assert "X-Evil" not in answer.headers
