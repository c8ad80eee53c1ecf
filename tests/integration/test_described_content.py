"""How the API document describes bodies and answers that are not JSON."""

from __future__ import annotations

import pytest
from openapi_spec_validator import validate

BYTES = {"type": "string", "format": "binary"}


@pytest.fixture
async def document(gns3_serving, make_entry_point):
    """The document of a server with images."""
    async with gns3_serving(plugins=[make_entry_point("shelf", "toy_images")]) as server:
        yield (await server.client.get("/v1/openapi.json")).json


def test_the_document_is_valid(document):
    validate(document)


def test_files_are_described_as_bytes(document):
    for path in ("/v1/projects/{project_id}/files/{path}", "/v1/files/stream"):
        answer = document["paths"][path]["get"]["responses"]["200"]
        assert answer["content"] == {"application/octet-stream": {"schema": BYTES}}


def test_the_rest_of_a_path_is_described_as_one_parameter(document):
    operation = document["paths"]["/v1/projects/{project_id}/files/{path}"]["get"]
    assert [p["name"] for p in operation["parameters"]] == ["project_id", "path"]
    assert operation["parameters"][1]["schema"] == {"type": "string", "minLength": 1}


def test_a_raw_body_is_described_as_bytes(document):
    body = document["paths"]["/v1/shelf/vms/{filename}"]["post"]["requestBody"]
    assert body["content"] == {"application/octet-stream": {"schema": BYTES}}


def test_the_pages_are_described_as_html(document):
    for path in ("/", "/upload"):
        answer = document["paths"][path]["get"]["responses"]["200"]
        assert answer["content"] == {"text/html": {"schema": {"type": "string"}}}


def test_the_form_is_described_with_its_fields(document):
    operation = document["paths"]["/upload"]["post"]
    content = operation["requestBody"]["content"]
    name = content["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    form = document["components"]["schemas"][name]
    assert form["properties"] == {"type": {"type": "string"}, "file": BYTES}
    assert sorted(form["required"]) == ["file", "type"]
    assert "content" not in operation["responses"]["302"]
    assert "200" not in operation["responses"]
