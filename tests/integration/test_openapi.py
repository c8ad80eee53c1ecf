"""The API document: valid, and of exactly the routes that exist."""

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from gns3server.http.application import CORE_ROUTES
from gns3server.http.nio_shapes import SHAPES
from gns3server.http.openapi import operation_id
from gns3server.http.routing import PARAMETER


def in_document(path: str) -> str:
    """A route's path in the document's words: parameters without what they must match."""
    return PARAMETER.sub(r"{\1}", path)


def installed(server) -> set[tuple[str, str]]:
    """The routes that were added to the application, in the document's words."""
    routes = server.running.lab.routes
    return {(in_document(route.path), route.method.lower()) for route in routes}


def described(document) -> set[tuple[str, str]]:
    return {(path, method) for path, item in document["paths"].items() for method in item}


@pytest.fixture
async def document(client):
    answer = await client.get("/v1/openapi.json")
    assert answer.status == 200
    return answer.json


async def test_it_is_valid(document):
    assert document["openapi"].startswith("3.0.")
    assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []


async def test_it_has_exactly_the_routes_that_are_installed(document, server):
    assert described(document) == installed(server)
    toys = {path for path, _ in described(document) if "/toy/" in path}
    assert len(toys) == 6


async def test_without_plugins_only_the_core_is_there(gns3_serving):
    async with gns3_serving(plugins=[]) as server:
        document = (await server.client.get("/v1/openapi.json")).json
        assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []
        assert (
            described(document)
            == {(in_document(route.path), route.method.lower()) for route in CORE_ROUTES}
            == installed(server)
        )


async def test_every_described_route_answers(client, document, subtests):
    nobody = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    for path, method in sorted(described(document)):
        if (path.endswith("notifications") and "{" not in path) or path.endswith("/shutdown"):
            continue
        with subtests.test(path=path, method=method):
            real = path.replace("{project_id}", nobody).replace("{vm_id}", nobody)
            real = real.replace("{path}", "some/file")
            for name in ("adapter_number", "port_number"):
                real = real.replace(f"{{{name}}}", "0")
            answer = await client.request(method.upper(), real)
            assert in_document(answer.route) == path


async def test_each_operation_is_documented_in_full(document, subtests):
    for path, method in described(document):
        operation = document["paths"][path][method]
        with subtests.test(path=path, method=method):
            assert operation["summary"]
            assert operation["tags"]
            assert {"400", "401", "403", "413", "500"} <= set(operation["responses"])
            names = [parameter["name"] for parameter in operation["parameters"]]
            assert [name for name in names if f"{{{name}}}" not in path] == []
            assert path.count("{") == len(names)
            if "{" in path:
                assert "404" in operation["responses"]


async def test_names_are_unique_and_objects_closed(document, server):
    ids = [operation_id(route) for route in server.running.lab.routes]
    assert len(set(ids)) == len(ids)
    for name, schema in document["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


async def test_the_wire_of_a_nio_is_told_by_its_type(document):
    path = next(path for path in document["paths"] if path.endswith("/nio"))
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["propertyName"] == "type"
    assert set(body["discriminator"]["mapping"]) == {"nio_other", *SHAPES}


async def test_a_node_id_may_be_an_old_project_s_integer(document):
    choices = document["components"]["schemas"]["ToyCreate"]["properties"]["vm_id"]
    assert choices == {"oneOf": [{"type": "string", "format": "uuid"}, {"type": "integer"}]}
    shown = document["components"]["schemas"]["ToyObject"]["properties"]["vm_id"]
    assert (shown["type"], shown["format"]) == ("string", "uuid")


async def test_it_says_how_to_log_in(document):
    assert document["security"] == [{}, {"basic": []}]
    assert document["components"]["securitySchemes"] == {
        "basic": {"type": "http", "scheme": "basic"}
    }


async def test_it_is_the_same_each_time(client, document):
    assert (await client.get("/v1/openapi.json")).json == document
