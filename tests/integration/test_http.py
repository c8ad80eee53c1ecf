"""What every answer has: status, headers, form."""

import json
import sys

import pytest
from api_calls import ID

from gns3server import __version__

PROJECT = "/v1/projects/{project_id}"
TOY = PROJECT + "/toy/vms/{vm_id}"
NIO = TOY + r"/adapters/{adapter_number:\d+}/ports/{port_number:\d+}/nio"


# Version ----------------------------------------------------------------------------


@pytest.mark.statement("VER-01", "VER-02", "VER-03")
async def test_versions_are_compared(client):
    answer = await client.get("/v1/version")
    assert (answer.status, answer.json) == (200, {"local": True, "version": __version__})
    for body in ({"version": __version__}, {"version": __version__, "local": False}):
        answer = await client.post("/v1/version", body)
        assert (answer.status, answer.json) == (200, {"version": __version__})
    answer = await client.post("/v1/version", {"version": "0.4.2"})
    assert (answer.status, answer.json) == (
        409,
        {
            "message": f"Client version 0.4.2 differs with server version {__version__}",
            "status": 409,
        },
    )


async def test_the_version_can_be_announced_otherwise(gns3_serving):
    async with gns3_serving(plugins=[], announced_version="1.4.0", local=False) as server:
        answer = await server.client.get("/v1/version")
        assert answer.json == {"local": False, "version": "1.4.0"}
        assert (await server.client.post("/v1/version", {"version": "1.4.0"})).status == 200
        assert answer.headers["Server"].endswith(f"GNS3/{__version__}")


# Routes -----------------------------------------------------------------------------


UNKNOWN = ["/v1", "/v1/", "/v1/version/", "/v1/nothing", "/v2/version", "//v1/version"]
UNKNOWN += [
    "/docs/",
    "/docs/x.js",
    "/upload/",
    "/v1/projects/x/y/z",
    "/v1/projects//toy/vms",
    "/v1/caf%C3%A9",
    "/%00%FF",
]


@pytest.mark.statement("HTTP-03", "HTTP-08")
async def test_an_unknown_path_is_404_in_json(client, subtests):
    for path in UNKNOWN:
        for method in ("GET", "POST", "PATCH"):
            with subtests.test(path=path, method=method):
                answer = await client.request(method, path)
                assert answer.status == 404
                assert answer.headers["Content-Type"] == "application/json"
                assert set(answer.json) == {"message", "status"}
                assert answer.json["status"] == 404


@pytest.mark.statement("HTTP-08")
async def test_a_wrong_method_is_405_and_says_which_are_right(client):
    for method, path, allowed in [
        ("POST", "/", "GET,HEAD"),
        ("DELETE", "/v1/version", "GET,HEAD,POST"),
        ("PATCH", "/v1/projects", "GET,HEAD,POST"),
        ("OPTIONS", "/v1/projects", "GET,HEAD,POST"),
        ("POST", "/v1/projects/x", "DELETE,GET,HEAD,PUT"),
        ("PUT", "/v1/projects/damaged", "GET,HEAD"),
        ("OPTIONS", "/v1/projects/damaged", "GET,HEAD"),
        ("GET", "/v1/projects/x/close", "POST"),
        ("GET", "/v1/projects/x/toy/vms/y/adapters/0/ports/0/nio", "DELETE,POST"),
    ]:
        answer = await client.request(method, path)
        assert answer.status == 405
        assert answer.headers["Allow"] == allowed
        assert answer.json["message"].endswith(f": it takes {allowed.replace(',', ', ')}.")
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json) == {"message", "status"}


async def test_head_is_get_without_the_body(raw, project, make_toy, subtests):
    toy = await make_toy()
    nobody = project[:-12] + "0" * 12
    for path in ("/", "/docs", "/v1/version", project, f"{project}/toy/vms", toy, nobody, "/v1/x"):
        with subtests.test(path=path):
            get, head = [await raw.request(method, path) for method in ("GET", "HEAD")]
            assert (head.status, head.body) == (get.status, b"")
            if "Content-Length" in head.headers:
                assert head.headers["Content-Length"] == str(len(get.body))
            for differing in ("Date", "X-Request-Id"):
                del get.headers[differing], head.headers[differing]
            if "Content-Length" not in head.headers:
                del get.headers["Content-Length"]
            assert head.headers == get.headers


async def test_what_has_no_end_has_no_head(raw, project):
    paths = ["/notifications", "/v1/notifications", "/v1/files/stream", f"{project}/notifications"]
    for path in [*paths, f"{project}/close"]:
        answer = await raw.request("HEAD", path)
        assert (answer.status, answer.body) == (405, b"")
        assert "HEAD" not in answer.headers["Allow"]


async def test_a_query_string_is_ignored(client):
    assert (await client.get("/v1/version?a=1&b")).status == 200


@pytest.mark.statement("HTTP-05")
async def test_every_answer_names_its_route(client, project, make_toy):
    toy = await make_toy()
    nobody = f"{project}/toy/vms/{ID}"
    for method, path, status, route in [
        ("GET", "/v1/version", 200, "/v1/version"),
        ("GET", "/v1/projects", 200, "/v1/projects"),
        ("GET", project, 200, PROJECT),
        ("GET", toy, 200, TOY),
        ("DELETE", f"{toy}/adapters/0/ports/1/nio", 204, NIO),
        ("GET", nobody, 404, TOY),
        ("GET", f"{project}x", 400, PROJECT),
        ("POST", f"{toy}/start", 204, TOY + "/start"),
    ]:
        answer = await client.request(method, path)
        assert (answer.status, answer.route) == (status, route)


async def test_adapters_and_ports_are_digits(client, make_toy):
    toy = await make_toy()
    for path in ("adapters/x/ports/0", "adapters/0/ports/-1", "adapters/0/ports/"):
        answer = await client.post(f"{toy}/{path}/nio")
        assert (answer.status, answer.route) == (404, "")


async def test_whatever_is_made_of_digits_is_a_number(client, make_toy, subtests):
    toy = await make_toy()
    few, many = ("0", "01", "0" * 5000 + "1", "\u0661"), ("2", "9" * 20, "9" * 5000)
    for digits, status in [(text, 204) for text in few] + [(text, 409) for text in many]:
        with subtests.test(digits=digits[:30]):
            answer = await client.delete(f"{toy}/adapters/{digits}/ports/0/nio")
            assert answer.status == status


# Form -------------------------------------------------------------------------------


@pytest.mark.statement("HTTP-12", "AUTH-01")
async def test_how_an_answer_looks(raw, project):
    for path, status in ((project, 200), ("/v1/nothing", 404), (f"{project}x", 400)):
        answer = await raw.request("GET", path)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert answer.status == status
        assert answer.headers["Server"] == f"Python/{version} GNS3/{__version__}"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        wanted = json.dumps(answer.json, indent=4, sort_keys=True, ensure_ascii=False)
        assert answer.body.decode() == f"{wanted}\n"


SOCKET = """
@hookimpl
def gns3_routes(config):
    from aiohttp import web
    async def talk(call):
        socket = web.WebSocketResponse()
        await socket.prepare(call.request)
        await socket.close()
        return socket
    summary = "A websocket that ends at once"
    return [Route(method="GET", path="/v1/talk", handler=talk, summary=summary, stream=True)]
"""


@pytest.mark.statement("HTTP-05", "HTTP-12")
async def test_websockets_have_the_headers_of_all_answers(gns3_serving, faulty_plugin, raw_client):
    origin = "http://web.example"
    upgrade = (
        "GET /v1/talk HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\nOrigin: {origin}\r\n\r\n"
    )
    async with gns3_serving(plugins=[faulty_plugin(SOCKET)], allowed_origins=origin) as server:
        reader, writer = await raw_client(server.running.port).connect()
        writer.write(upgrade.encode())
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        writer.close()
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert first == "HTTP/1.1 101 Switching Protocols"
    assert headers["X-Route"] == "/v1/talk"
    assert headers["Server"].endswith(f" GNS3/{__version__}")
    assert headers["Access-Control-Allow-Origin"] == origin
    assert "X-Request-Id" in headers


@pytest.mark.statement("HTTP-09")
async def test_204_has_neither_body_nor_type(raw, make_toy):
    toy = await make_toy()
    answer = await raw.request("POST", f"{toy}/stop")
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Type" not in answer.headers


@pytest.mark.statement("HTTP-04", "HTTP-11")
async def test_ids(client, project, make_toy):
    toy = await make_toy()
    unknown = ID
    for path in (
        "/v1/projects/{}",
        "/v1/projects/{}/notifications",
        "/v1/projects/{}/toy/vms",
        "/v1/projects/{}/toy/vms/" + toy.rpartition("/")[2],
        project + "/toy/vms/{}",
    ):
        assert (await client.get(path.format(unknown))).status == 404
        assert (await client.get(path.format(unknown.replace("-", "")))).status == 404
        for text in ("1", "no-id", "null", "%20", "%00", "%FF", "%C3%A9", "x" * 5000):
            answer = await client.get(path.format(text))
            assert answer.status == 400
            assert set(answer.json) == {"message", "path", "request", "status"}
            assert answer.json["path"] == answer.route
            assert answer.json["request"] == {}


@pytest.mark.statement("HTTP-04")
async def test_a_400_repeats_the_body_or_the_empty_object(client, raw, project, make_toy):
    toy = await make_toy()
    for method, path in (
        ("GET", "/v1/projects/no-id"),
        ("PUT", "/v1/projects/no-id"),
        ("POST", "/v1/projects/no-id/close"),
        ("POST", "/v1/projects/no-id/toy/vms"),
        ("GET", f"{project}/toy/vms/no-id"),
        ("POST", f"{project}/toy/vms/no-id/start"),
        ("PUT", f"{toy}x"),
        ("GET", "/v1/projects/no-id/notifications"),
        ("GET", f"{project}/notifications?since=x"),
    ):
        for body in (None, {"name": "x"}):
            answer = await client.request(method, path, body)
            assert (answer.status, answer.json["request"]) == (400, body or {}), (method, path)
    # Nobody is asked for a body that nothing is done with.
    answer = await raw.request(
        "PUT", "/v1/projects/no-id", "Expect: 100-continue", "Content-Length: 9"
    )
    assert (answer.status, answer.json["request"]) == (400, {})


async def test_ids_are_kept_and_looked_up_as_they_were_given(client):
    upper = "ABCDEF00-0405-0607-0809-0A0B0C0D0E0F"
    answer = await client.post("/v1/projects", {"project_id": upper})
    assert answer.json["project_id"] == upper
    assert (await client.get(f"/v1/projects/{upper}")).status == 200
    assert (await client.get(f"/v1/projects/{upper.lower()}")).status == 404


async def test_what_the_parser_refuses_is_answered_too(raw):
    answer = await raw.send(b"NONSENSE\r\n\r\n")
    assert answer.status == 400
    answer = await raw.request("GET", "/v1/version", "X: " + "x" * 20000)
    assert answer.status == 400
    assert b"Traceback" not in answer.body
