"""Who may call: a web page must not drive a server on the machine of its reader."""

import socket

import pytest

MACHINE = socket.gethostname()

HOSTS = [
    ("localhost", 200),
    ("localhost:{port}", 200),
    ("LocalHost", 200),
    ("127.0.0.1:{port}", 200),
    ("192.168.1.7:9999", 200),
    ("[::1]:{port}", 200),
    ("[::1]", 200),
    (MACHINE, 200),
    ("lab.example", 200),
    ("LAB.example:80", 200),
    ("evil.example", 403),
    ("evil.example:{port}", 403),
    ("localhost.evil.example", 403),
    ("127.0.0.1.evil.example", 403),
    ("lab.example.evil.example", 403),
    ("127.0.0.1@evil.example", 403),
    ("[evil.example]", 403),
    ("", 403),
    ("1", 403),
]

ORIGINS = [
    (None, 200),
    ("http://localhost:{port}", 200),
    ("HTTP://LOCALHOST:{port}", 200),
    ("http://web.example", 200),
    ("http://localhost", 403),
    ("http://localhost:1", 403),
    ("https://localhost:{port}", 403),
    ("http://127.0.0.1:{port}", 403),
    ("http://localhost:{port}.evil.example", 403),
    ("http://evil.example", 403),
    ("http://web.example.evil.example", 403),
    ("http://web.example:80", 403),
    ("null", 403),
    ("", 403),
    ("file://", 403),
]


@pytest.fixture
async def server(gns3_serving):
    """A server that knows one more name and one more origin."""
    async with gns3_serving(
        plugins=[], allowed_hosts="Lab.example, other", allowed_origins="http://web.example"
    ) as server:
        yield server


async def test_a_request_must_name_this_server(raw, subtests):
    for host, status in HOSTS:
        with subtests.test(host=host):
            answer = await raw.request("GET", "/v1/version", host=host.format(port=raw.port))
            check(answer, status)


async def test_a_page_from_elsewhere_is_refused(raw, subtests):
    for origin, status in ORIGINS:
        with subtests.test(origin=origin):
            headers = [] if origin is None else [f"Origin: {origin.format(port=raw.port)}"]
            answer = await raw.request("GET", "/v1/version", *headers, host=f"localhost:{raw.port}")
            check(answer, status, origin)


def check(answer, status: int, origin: str | None = None) -> None:
    """Only the pages of an origin that the settings name may read the answer."""
    assert answer.status == status
    shown = {name: v for name, v in answer.headers.items() if name.startswith("Access-Control")}
    if origin == "http://web.example":
        assert shown == {"Access-Control-Allow-Origin": origin}
        assert answer.headers["Vary"] == "Origin"
    else:
        assert shown == {}
        assert "Vary" not in answer.headers
    if status == 403:
        assert set(answer.json) == {"message", "status"}
        assert "allowed_" in answer.json["message"]


async def test_both_must_be_right(raw):
    headers = ["Origin: http://evil.example"]
    answer = await raw.request("GET", "/v1/version", *headers, host="evil.example")
    assert answer.status == 403


async def test_a_refused_request_changes_nothing(raw, client):
    for headers, host in ((["Origin: http://evil.example"], "localhost"), ([], "evil.example")):
        answer = await raw.request("POST", "/v1/projects", *headers, host=host, body=b"{}")
        assert answer.status == 403
        assert (await raw.request("GET", "/v1/nothing", *headers, host=host)).status == 403
        assert (await raw.request("OPTIONS", "/v1/projects", *headers, host=host)).status == 403
    assert (await client.get("/v1/projects")).json == []


NAMED = "Origin: http://web.example"
ASKS = "Access-Control-Request-Method: PUT"


async def test_a_page_that_the_settings_name_may_read_every_answer(raw):
    for path in ("/v1/version", "/v1/nothing", "/v1/projects/x"):
        answer = await raw.request("GET", path, NAMED)
        assert answer.headers["Access-Control-Allow-Origin"] == "http://web.example"


async def test_a_page_that_the_settings_name_is_told_what_it_may_send(raw):
    for path in ("/v1/projects/x", "/v1/notifications"):
        answer = await raw.request("OPTIONS", path, NAMED, ASKS)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "http://web.example"
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]


async def test_nobody_else_is_told(raw):
    for headers, status in (([ASKS], 405), ([NAMED], 405), ([ASKS, "Origin: http://x.y"], 403)):
        answer = await raw.request("OPTIONS", "/v1/projects", *headers)
        assert answer.status == status
        assert "Access-Control-Allow-Methods" not in answer.headers


async def test_an_origin_without_a_host_is_none_of_this_server(raw):
    for origin in ("", "http://", "null"):
        head = f"GET /v1/version HTTP/1.0\r\nOrigin: {origin}\r\n\r\n"
        assert (await raw.send(head.encode())).status == 403


async def test_programs_without_host_and_origin_are_no_browsers(raw):
    answer = await raw.send(b"GET /v1/version HTTP/1.0\r\n\r\n")
    assert answer.status == 200


async def test_streams_are_guarded_as_well(raw):
    for path in ("/v1/notifications", "/notifications"):
        answer = await raw.request("GET", path, "Origin: http://evil.example")
        assert answer.status == 403


async def test_an_allowed_origin_beside_another_is_told_nothing(raw):
    for method in ("GET", "OPTIONS"):
        answer = await raw.request(method, "/v1/version", NAMED, "Origin: http://x.y", ASKS)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
