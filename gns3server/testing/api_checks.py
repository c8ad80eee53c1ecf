"""Checks of a server against its API document, and of the document against the reviewed one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gns3server.http.client import Answer

SCHEMAS = "#/components/schemas/"
LINES_SHOWN = 60


class ResponseCheck:
    """Checks answers against the server's own API document.

    marshmallow does not validate what it dumps, so this is what holds the
    server to its document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @property
    def knows_routes(self) -> bool:
        """Whether the server has given its document, and did not refuse to."""
        return "paths" in self._document

    def __call__(self, answer: Answer) -> None:
        """Check one answer.

        :raises AssertionError: its status is not documented or its body does not fit.
        """
        from gns3server.http.routing import JSON, PARAMETER

        if not answer.route:
            assert answer.status >= 400, f"{answer} comes from no route"
            shape = self._error_shape(answer.path)
            if shape is None:
                assert set(answer.json) >= {"message", "status"}, answer
            else:
                self._check_value(answer, shape)
            return
        path = PARAMETER.sub(r"{\1}", answer.route)
        responses = self._document["paths"][path][answer.method.lower()]["responses"]
        assert str(answer.status) in responses, f"{answer} has an undocumented status"
        content = self._resolve(responses[str(answer.status)]).get("content")
        if content is None:
            assert answer.body == b"", f"{answer} must be empty"
            return
        media = answer.headers["Content-Type"]
        if JSON not in content:
            documented = media.partition(";")[0] in content or "*/*" in content
            assert documented, f"{answer} is of an undocumented type"
            return
        assert media == JSON or media in content, answer
        if media == JSON and "schema" in content[JSON]:
            self._check_value(answer, content[JSON]["schema"])

    def _error_shape(self, path: str) -> Any:
        """The schema of errors of URLs that no route has, if such errors have their own shape."""
        from gns3server.http.families import is_below
        from gns3server.http.openapi import ERROR_SHAPES

        shapes = self._document.get("info", {}).get(ERROR_SHAPES, {})
        found = [prefix for prefix in shapes if is_below(path.partition("?")[0], prefix)]
        return shapes[max(found, key=len)] if found else None

    def _check_value(self, answer: Answer, schema: Mapping[str, Any]) -> None:
        from openapi_schema_validator import OAS30ReadValidator

        schema = {"allOf": [schema], "components": self._document["components"]}
        errors = list(OAS30ReadValidator(schema).iter_errors(answer.json))
        assert not errors, f"{answer} does not fit its schema: {errors[0].message}"

    def _resolve(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """The response itself, where the document describes it once for many routes."""
        if "$ref" not in response:
            return response
        name = response["$ref"].removeprefix("#/components/responses/")
        found: Mapping[str, Any] = self._document["components"]["responses"][name]
        return found


def part_of(document: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """The part of an API document under a tag, with the schemas that it refers to."""
    paths = {
        path: found
        for path, item in document["paths"].items()
        if (found := {method: one for method, one in item.items() if tag in one["tags"]})
    }
    every, schemas = document["components"]["schemas"], dict[str, Any]()
    names = list(references(paths))
    while names:
        name = names.pop()
        if name not in schemas:
            schemas[name] = every[name]
            names += references(every[name])
    return {"components": {"schemas": schemas}, "paths": paths}


def references(value: Any) -> Iterator[str]:
    """The names of the schemas that a part of a document refers to."""
    if isinstance(value, str) and value.startswith(SCHEMAS):
        yield value.removeprefix(SCHEMAS)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


def check_snapshot(value: Any, path: Path, *, renew: bool = False) -> None:
    """Compare a document with the one in a file, or write it there.

    :raises AssertionError: they differ; shows where.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if renew:
        path.write_text(text, encoding="utf-8")
        return
    reviewed = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = unified_diff(reviewed.splitlines(), text.splitlines(), path.name, "now", lineterm="")
    difference = "\n".join(islice(lines, LINES_SHOWN))
    if difference:
        raise AssertionError(
            f"The API is not the one that was reviewed, {path}. Clients will notice. If this is "
            f"meant, run this test with --gns3-renew, and commit what it has written.\n{difference}"
        )
