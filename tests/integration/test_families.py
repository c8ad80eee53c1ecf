"""Plugins with paths of their own: errors of another shape, queries, media types, projects."""

from __future__ import annotations

import asyncio

import pytest
from api_calls import ID, later
from faults import impatient
from openapi_spec_validator import OpenAPIV30SpecValidator

from gns3server.testing import Client

SHAPE = {"problem", "code", "where", "sent"}


@pytest.fixture
def plugins():
    return {"toy": "toy_emulator", "family": "error_family"}


# Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "body", "status", "where"),
    [
        ("PUT /v9/name", {"nam": "x"}, 400, "PUT /v9/name"),
        ("GET /v9/search?count=x", None, 400, "GET /v9/search"),
        ("GET /v9/projects/x", None, 400, "GET /v9/projects/{project_id}"),
        ("GET /v9", None, 404, "GET /v9"),
        ("GET /v9/", None, 404, "GET /v9/"),
        ("GET /v9/nothing/here", None, 404, "GET /v9/nothing/here"),
        ("DELETE /v9/name", None, 405, "DELETE /v9/name"),
        ("POST /v9/refusals/conflict", None, 409, "POST /v9/refusals/{how}"),
        ("POST /v9/refusals/bug", None, 500, "POST /v9/refusals/{how}"),
    ],
)
async def test_every_error_of_a_family_has_its_shape(client, request_line, body, status, where):
    answer = await client.request(*request_line.split(), body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    expected = {"code": status, "where": where, "sent": body}
    assert answer.json == {**expected, "problem": answer.json["problem"]}
    assert len(answer.json["problem"]) > 10


async def test_so_have_those_of_the_edge(raw, lab):
    answer = await raw.request("GET", "/v9/search", "Origin: http://evil.example")
    assert (answer.status, set(answer.json)) == (403, SHAPE)
    answer = await raw.request("GET", "/v9/search", "Expect: cake")
    assert (answer.status, set(answer.json)) == (417, SHAPE)


async def test_so_has_a_refused_login(gns3_serving, make_entry_point, raw_client):
    point = make_entry_point("family", "error_family")
    login = {"auth": True, "user": "me", "password": "right"}
    running = gns3_serving(plugins=[point], **login)
    async with running as server:
        raw = raw_client(server.running.port)
        answer = await raw.request("GET", "/v9/search")
        assert (answer.status, set(answer.json)) == (401, SHAPE)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="GNS3 server"'
        answer = await raw.request("GET", "/v1/version")
        assert set(answer.json) == {"message", "status"}


async def test_errors_elsewhere_stay_as_they_are(client):
    for path in ("/v1/nothing", "/v90", "/v9x/name", "/nothing/v9/name"):
        answer = await client.get(path)
        assert (answer.status, set(answer.json)) == (404, {"message", "status"})


async def test_headers_are_those_of_the_error(raw):
    answer = await raw.request("DELETE", "/v9/name")
    assert (answer.status, answer.headers["Allow"]) == (405, "PUT")
    assert answer.headers["X-Request-Id"]


BAD_RENDERS = ["raise OSError('toy fault')", "raise SystemExit(3)", "return 5", "return {'x': {5}}"]


@pytest.mark.parametrize("fault", BAD_RENDERS)
async def test_a_shape_that_fails_leaves_the_usual_one(gns3_serving, faulty_plugin, fault):
    point = faulty_plugin(f"def render(error, request):\n    {fault}", source="error_family.py")
    async with gns3_serving(plugins=[point], strict_plugins=False) as server:
        async with Client(server.url) as client:
            for method, path, status in (("GET", "nothing", 404), ("POST", "search", 405)):
                answer = await client.request(method, f"/v9/{path}")
                assert (answer.status, set(answer.json)) == (status, {"message", "status"})
        (report,) = (await server.client.get("/v1/plugins")).json
        assert "the errors of /v9" in report["phase"]


async def test_a_plugin_out_of_service_answers_for_all_of_its_family(gns3_serving, faulty_plugin):
    fault = "@hookimpl\ndef gns3_lifespan(server):\n    raise OSError('toy fault')\n"
    point = faulty_plugin(fault, source="error_family.py")
    async with gns3_serving(plugins=[point], strict_plugins=False) as server:
        for path in ("/v9/name", "/v9/nothing/at/all", "/v9"):
            answer = await server.client.get(path)
            assert (answer.status, set(answer.json)) == (503, {"message", "status"})
            assert "toy fault" in answer.json["message"]
        assert (await server.client.get("/v9x")).status == 404


# Queries and media types ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("", {"word": "any"}),
        ("?word=a%20b%C3%A4&count=007&other=1", {"word": "a b\u00e4", "count": 7}),
        ("?word=&word=second", {"word": ""}),
        ("?count=5&count=x", {"word": "any", "count": 5}),
    ],
)
async def test_a_query_holds_texts_and_numbers(client, query, read):
    answer = await client.get(f"/v9/search{query}")
    assert (answer.status, answer.json) == (200, read)


@pytest.mark.parametrize("query", ["count=-1", "count=", "count=1.5", "count=%D9%A3", "word=a%00b"])
async def test_what_is_of_another_kind_is_refused(client, query):
    answer = await client.get(f"/v9/search?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["problem"]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ([], "image/svg+xml"),
        (["*/*"], "image/svg+xml"),
        (["image/png"], "image/png"),
        (["image/*;q=0.5, image/png"], "image/png"),
        (["text/html, image/png;q=0.2, image/svg+xml;q=0.1"], "image/png"),
        (["text/html", "IMAGE/PNG"], "image/png"),
        (["image/svg+xml;q=0, */*;q=0.1"], "image/png"),
        (["image/png;level=1;q=0.9, image/svg+xml; q=0.8"], "image/png"),
        (["nonsense"], "image/svg+xml"),
        (["text/html"], None),
        (["image/svg+xml;q=0, image/png;q=0.000"], None),
        (["text/html;q=x, image/png;q=2"], "image/svg+xml"),
    ],
)
async def test_a_client_gets_the_media_type_that_it_likes_best(raw, accept, given):
    answer = await raw.request("GET", "/v9/picture", *(f"Accept: {item}" for item in accept))
    assert answer.status == (406 if given is None else 200)
    kind = answer.headers["Content-Type"].partition(";")[0]
    assert kind == (given or "application/json")
    if given is None:
        assert "image/svg+xml, image/png" in answer.json["problem"]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (None, "image/svg+xml"),
        ("image/png", "image/png"),
        ("Image/PNG; x=y", "image/png"),
        ("text/html", None),
        ("", None),
    ],
)
async def test_a_body_of_another_media_type_is_refused(raw, header, taken):
    headers = [] if header is None else [f"Content-Type: {header}"]
    answer = await raw.request("POST", "/v9/picture", *headers, body=b"12345")
    assert answer.status == (415 if taken is None else 200)
    if taken is not None:
        assert answer.json == {"name": f"{taken} 5"}


# What a route works on ------------------------------------------------------------------


async def test_a_route_may_be_for_closed_projects_as_well(client, project):
    path = project.replace("/v1/", "/v9/")
    assert (await client.get(path)).json["open"] is True
    assert (await client.post(f"{project}/close")).status == 204
    assert (await client.get(path)).json == {"project_id": path.rpartition("/")[2], "open": False}
    answer = await client.get(f"/v9/projects/{ID}")
    assert (answer.status, answer.json["code"]) == (404, 404)
    assert ID in answer.json["problem"]
    assert (await client.get(f"{path}/nodes/{ID}")).status == 404


async def test_a_route_may_be_for_nodes_of_any_type(client, project, make_toy):
    toy = await make_toy()
    path = f"{project}/nodes/{toy.rpartition('/')[2]}".replace("/v1/", "/v9/")
    for method in ("GET", "POST"):
        assert (await client.request(method, path)).json == {"name": "toy"}
        assert (await client.request(method, f"{path[:-36]}{ID}")).status == 404
        assert (await client.request(method, f"{path[:-36]}x")).status == 400


async def test_one_queues_for_the_node_and_the_other_does_not(client, project, make_toy, gate):
    toy = await make_toy(mode=gate.mode)
    path = f"{project}/nodes/{toy.rpartition('/')[2]}".replace("/v1/", "/v9/")
    start = later(client.post(f"{toy}/start"))
    await gate.reached()
    queued = later(client.post(path))
    # That it is answered shows that it has not queued behind the start.
    assert (await client.get(path)).status == 200
    assert not queued.done()
    gate.open()
    assert (await start).status == 204
    assert (await queued).status == 200


# Endless streams of plugins -------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_a_stream_is_told_that_its_project_goes(raw, client, project, end):
    reader, writer = await raw.connect()
    path = f"{project}/count".replace("/v1/", "/v9/")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"begun ")
    answer = client.post(f"{project}/close") if end == "close" else client.delete(project)
    assert (await answer).status == 204
    await reader.readuntil(b"ended")
    writer.close()


async def test_a_stream_is_told_that_the_server_stops(gns3_serving, make_entry_point, raw_client):
    async with gns3_serving(plugins=[make_entry_point("family", "error_family")]) as server:
        made = await server.client.post("/v1/projects", {"name": "x"})
        raw = raw_client(server.running.port)
        reader, writer = await raw.connect()
        path = f"/v9/projects/{made.json['project_id']}/count"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"begun ")
    assert b"ended" in await reader.read()
    writer.close()


async def test_a_stream_that_does_not_end_is_cut_off(
    gns3_serving, faulty_plugin, raw_client, monkeypatch
):
    impatient(monkeypatch, grace=0.05)
    deaf = "async def wait(self): await asyncio.Event().wait()\nimport asyncio\n"
    deaf += "import gns3server.plugin\ncount_ = count\n"
    deaf += "async def count(call):\n    call.found_ending = type('E', (), {'wait': wait})()\n"
    deaf += "    return await count_(call)\n"
    point = faulty_plugin(deaf, source="error_family.py")
    async with gns3_serving(plugins=[point]) as server:
        made = await server.client.post("/v1/projects", {"name": "x"})
        project = f"projects/{made.json['project_id']}"
        raw = raw_client(server.running.port)
        reader, writer = await raw.connect()
        writer.write(f"GET /v9/{project}/count HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"begun \r\n")
        assert (await server.client.delete(f"/v1/{project}")).status == 204
        # Not even the end of the chunks.
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(30):
            while len(server.running.streams):
                await server.client.get("/v1/version")


# The API document -----------------------------------------------------------------------


async def test_the_api_document_says_all_of_that(client):
    document = (await client.get("/v1/openapi.json")).json
    assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []
    problem = {"$ref": "#/components/schemas/Problem"}
    assert document["info"]["x-error-shapes"] == {"/v9": problem}
    paths = document["paths"]
    for status in ("400", "401", "404", "409", "500", "503"):
        answer = paths["/v9/projects/{project_id}"]["get"]["responses"][status]
        assert answer["content"]["application/json"]["schema"] == problem
    word, count = paths["/v9/search"]["get"]["parameters"]
    assert word["schema"] == {"type": "string", "pattern": "^[^\\u0000]*$", "default": "any"}
    assert word["description"] == "What to look for"
    assert count["schema"] == {"type": "integer", "minimum": 0}
    picture = paths["/v9/picture"]
    assert set(picture["get"]["responses"]["200"]["content"]) == {"image/svg+xml", "image/png"}
    assert set(picture["post"]["requestBody"]["content"]) == {"image/svg+xml", "image/png"}
    assert "406" in picture["get"]["responses"]
    assert "415" in picture["post"]["responses"]
    node = paths["/v9/projects/{project_id}/nodes/{node_id}"]["post"]
    assert {p["schema"]["format"] for p in node["parameters"]} == {"uuid"}
    assert "409" in node["responses"]
