"""The API document: valid, and of exactly the routes that exist."""

import re
import tomllib
from pathlib import Path

import pytest
from api_calls import ID
from openapi_spec_validator import OpenAPIV30SpecValidator

from gns3server.http.application import CORE_ROUTES
from gns3server.http.nio_shapes import SHAPES
from gns3server.http.openapi_paths import operation_id
from gns3server.http.routing import PARAMETER
from gns3server.http.schemas import UUID_PATTERN
from gns3server.testing import part_of


def in_document(path: str) -> str:
    """A route's path in the document's words: parameters without what they must match."""
    return PARAMETER.sub(r"{\1}", path)


def installed(server) -> set[tuple[str, str]]:
    """The routes that were added to the application, in the document's words."""
    routes = server.running.routes
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
    for path, method in sorted(described(document)):
        if (path.endswith("notifications") and "{" not in path) or path.endswith("/shutdown"):
            continue
        with subtests.test(path=path, method=method):
            real = path.replace("{project_id}", ID).replace("{vm_id}", ID)
            for name in ("link_id", "snapshot_id", "node_id"):
                real = real.replace(f"{{{name}}}", ID)
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
            names = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            assert [name for name in names if f"{{{name}}}" not in path] == []
            assert path.count("{") == len(names)
            if "{" in path:
                assert "404" in operation["responses"]


async def test_names_are_unique_and_objects_closed(document, server):
    ids = [operation_id(route) for route in server.running.routes]
    assert len(set(ids)) == len(ids)
    for name, schema in document["components"]["schemas"].items():
        # What has ids for keys says of what shape the values are.
        more = schema["additionalProperties"]
        assert more is False or more["additionalProperties"] is False, name


async def test_the_wire_of_a_nio_is_told_by_its_type(document):
    path = next(path for path in document["paths"] if path.endswith("/nio"))
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["propertyName"] == "type"
    assert set(body["discriminator"]["mapping"]) == {"nio_other", *SHAPES}


async def test_a_node_id_may_be_an_old_project_s_integer(document):
    choices = document["components"]["schemas"]["ToyCreate"]["properties"]["vm_id"]
    text = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
    assert choices == {"oneOf": [text, {"type": "integer"}]}
    shown = document["components"]["schemas"]["ToyObject"]["properties"]["vm_id"]
    assert (shown["type"], shown["format"]) == ("string", "uuid")


async def test_it_says_how_to_log_in(document):
    assert document["security"] == [{}, {"basic": []}]
    assert document["components"]["securitySchemes"] == {
        "basic": {"type": "http", "scheme": "basic"},
        "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
    }


async def test_it_is_the_one_that_was_reviewed(document, gns3_snapshot):
    gns3_snapshot(document)


async def test_ids_in_paths_have_the_form_of_ids(document, subtests):
    wanted = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
    for path, method in described(document):
        for parameter in document["paths"][path][method]["parameters"]:
            if parameter["name"].endswith("_id"):
                with subtests.test(path=path, method=method, name=parameter["name"]):
                    assert parameter["schema"] == wanted


async def test_an_answer_that_makes_an_object_leads_to_what_can_be_done_with_it(document):
    created = document["paths"]["/v1/projects"]["post"]["responses"]["201"]["links"]
    assert created["post_v1_projects_by_project_id_toy_vms"] == {
        "operationId": "post_v1_projects_by_project_id_toy_vms",
        "parameters": {"project_id": "$response.body#/project_id"},
    }
    assert not any("by_vm_id" in name for name in created)
    toys = "/v1/projects/{project_id}/toy/vms"
    created = document["paths"][toys]["post"]["responses"]["201"]["links"]
    known = {"project_id": "$request.path.project_id", "vm_id": "$response.body#/vm_id"}
    assert [link["parameters"] for link in created.values()] == [known] * len(created)
    operations = {
        operation["operationId"]
        for path, item in document["paths"].items()
        for operation in item.values()
        if path.startswith(f"{toys}/{{vm_id}}")
    }
    assert set(created) == operations


async def test_errors_are_described_where_they_can_be(document):
    def statuses(method, path):
        return set(document["paths"][path][method]["responses"])

    everywhere = {"400", "401", "403", "408", "413", "500"}
    assert statuses("get", "/v1/version") == {"200", *everywhere}
    node = {"404", "409", "503", *everywhere}
    assert statuses("get", "/v1/projects/{project_id}/toy/vms/{vm_id}") == {"200", *node}
    assert statuses("delete", "/v1/projects/{project_id}/toy/vms/{vm_id}") == {"204", "507", *node}
    for path, method in described(document):
        for status, answer in document["paths"][path][method]["responses"].items():
            shared = f"#/components/responses/Error{status}"
            assert answer.get("$ref", shared) == shared


async def test_an_error_with_two_reasons_is_described_with_both(document):
    refused = document["paths"]["/v1/config/reload"]["post"]["responses"]["403"]["description"]
    assert refused.startswith("The server is not local. Or: The request's Host or Origin")


def test_fuzzing_leaves_out_nothing_but_endless_streams():
    config = tomllib.loads((Path(__file__).parents[1] / "fuzz" / "schemathesis.toml").read_text())
    [left_out] = [one for one in config["operations"] if one.get("enabled") is False]
    expression = re.compile(left_out["include-path-regex"])
    found = {route.path for route in CORE_ROUTES if expression.search(in_document(route.path))}
    assert found == {route.path for route in CORE_ROUTES if route.endless}


async def test_a_login_is_told_by_a_header(document):
    assert "WWW-Authenticate" in document["components"]["responses"]["Error401"]["headers"]
    assert "Location" in document["paths"]["/upload"]["post"]["responses"]["302"]["headers"]


async def test_schemas_are_described_by_their_docstrings(document):
    schemas = document["components"]["schemas"]
    assert schemas["NioTap"]["description"] == "A TAP interface of the server's machine."
    assert [name for name, schema in schemas.items() if not schema["description"]] == []


NAMESAKES = """
class VersionSchema(Schema):
    \"\"\"Not the core's.\"\"\"

    mine = fields.Integer(required=True)


def twice(config):
    async def show(call):
        return {"mine": 1}

    path = "/v1/projects/{project_id}/mine/{number:[1-9]+}"
    return [
        Route(
            method="GET",
            path="/v1/mine",
            handler=show,
            summary="A namesake",
            answer=VersionSchema,
            tag="mine",
        ),
        Route(method="GET", path=path, handler=show, summary="A rule", tag="mine"),
    ]


gns3_routes = hookimpl(specname="gns3_routes")(twice)
"""


async def test_a_plugin_s_own_routes_and_schemas_are_described(gns3_serving, faulty_plugin):
    async with gns3_serving(plugins=[faulty_plugin(NAMESAKES)]) as server:
        document = (await server.client.get("/v1/openapi.json")).json
        assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []
        assert (await server.client.get("/v1/mine")).json == {"mine": 1}
        assert (await server.client.get("/v1/version")).status == 200
    part = part_of(document, "mine")
    assert {"/v1/mine", "/v1/projects/{project_id}/mine/{number}"} < set(part["paths"])
    name = part["paths"]["/v1/mine"]["get"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]["$ref"].rpartition("/")[2]
    assert name.endswith(".Version")
    assert part["components"]["schemas"][name]["description"] == "Not the core's."
    rule = part["paths"]["/v1/projects/{project_id}/mine/{number}"]["get"]["parameters"][1]
    assert rule["schema"] == {"type": "string", "pattern": "^(?:[1-9]+)$"}


async def test_it_is_the_same_each_time(client, document):
    assert (await client.get("/v1/openapi.json")).json == document
