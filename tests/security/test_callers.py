"""Nobody gets in, or anything into a header, by saying a thing twice or in a strange way."""

from __future__ import annotations

import base64
import gzip
import hmac
import uuid
from dataclasses import replace

import pytest
from faults import before

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
