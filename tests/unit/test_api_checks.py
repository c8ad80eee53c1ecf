"""What holds answers to the API document, and the document to the reviewed one."""

from __future__ import annotations

from typing import Any

import pytest

from gns3server.http.client import Answer
from gns3server.testing.api_checks import ResponseCheck, check_snapshot, part_of


def described(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": "", "content": {"application/json": {"schema": schema}}}


DOCUMENT: dict[str, Any] = {
    "paths": {
        "/a/{n}": {
            "get": {
                "tags": ["a"],
                "responses": {"200": described("A"), "404": {"$ref": "#/components/responses/No"}},
            },
            "delete": {"tags": ["b"], "responses": {"204": {"description": ""}}},
        }
    },
    "components": {
        "responses": {"No": described("Error")},
        "schemas": {
            "A": {
                "type": "object",
                "properties": {"b": {"$ref": "#/components/schemas/B"}},
                "required": ["b"],
                "additionalProperties": False,
            },
            "B": {"type": "string", "nullable": True},
            "Error": {"type": "object", "required": ["message"], "additionalProperties": False},
        },
    },
}


def answer(status: int, body: bytes, method: str = "GET", kind: str = "application/json") -> Answer:
    headers = {"X-Route": r"/a/{n:\d+}", "Content-Type": kind}
    return Answer(method, "/a/1", status, headers, body)


@pytest.mark.parametrize(
    "good",
    [answer(200, b'{"b": "x"}'), answer(200, b'{"b": null}'), answer(204, b"", "DELETE")],
)
def test_an_answer_as_described_passes(good):
    ResponseCheck(DOCUMENT)(good)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (answer(200, b'{"b": "x", "c": 1}'), "does not fit its schema"),
        (answer(200, b"{}"), "does not fit its schema"),
        (answer(200, b'{"b": 1}'), "does not fit its schema"),
        (answer(404, b"{}"), "does not fit its schema"),
        (answer(201, b'{"b": "x"}'), "undocumented status"),
        (answer(204, b"{}", "DELETE"), "must be empty"),
        (answer(200, b'{"b": "x"}', kind="text/html"), "text/html"),
    ],
)
def test_any_other_answer_fails(bad, reason):
    with pytest.raises(AssertionError, match=reason):
        ResponseCheck(DOCUMENT)(bad)


def test_a_part_has_the_operations_of_its_tag_and_their_schemas():
    part = part_of(DOCUMENT, "a")
    assert set(part["paths"]["/a/{n}"]) == {"get"}
    assert set(part["components"]["schemas"]) == {"A", "B"}
    assert part_of(DOCUMENT, "c") == {"paths": {}, "components": {"schemas": {}}}


def test_a_snapshot_is_written_when_asked_for_and_compared_else(tmp_path):
    path = tmp_path / "openapi.json"
    check_snapshot(DOCUMENT, path, renew=True)
    check_snapshot(DOCUMENT, path)
    assert path.read_text().startswith('{\n  "components": {\n')


def test_a_difference_is_shown_with_how_to_renew_the_snapshot(tmp_path):
    path = tmp_path / "openapi.json"
    with pytest.raises(AssertionError, match="--gns3-renew"):
        check_snapshot({"a": 1}, path)
    check_snapshot({"a": 1}, path, renew=True)
    with pytest.raises(AssertionError, match=r'(?s)--gns3-renew.*-  "a": 1\n\+  "a": 2'):
        check_snapshot({"a": 2}, path)
