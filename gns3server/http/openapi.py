"""The OpenAPI document, made from the very routes that are installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from gns3server import __version__
from gns3server.http.routing import HTML, JSON, OCTETS, PARAMETER, Lab, OneOf, Route, Scope
from gns3server.http.schemas import ErrorSchema, InvalidRequestSchema, NodeId

OPENAPI_VERSION = "3.0.3"
"""Client generators know this version best."""

EVERYWHERE = {
    401: "The server asks for a user and a password, and these were not sent",
    403: "The request's Host or Origin is not one that this server answers to",
    408: "The body did not arrive in time",
    413: "The body is over the limit",
    500: "The server failed; its log has the id that the message names",
}
"""Errors that any route may answer."""

BYTES = {"type": "string", "format": "binary"}
STREAMED: Mapping[str, Any] = {OCTETS: BYTES, HTML: {"type": "string"}}
"""Schemas of answers that handlers make themselves, by media type; of others nothing is said."""


def build(lab: Lab) -> dict[str, Any]:
    """The document of all routes of this server."""
    return Document(lab).build()


def component_name(schema: type[Schema] | Schema) -> str:
    """The name of a schema in the document: its class's without the ending."""
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Schema")


class Document:
    """Collects routes into one OpenAPI document."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._marshmallow = MarshmallowPlugin(schema_name_resolver=component_name)
        self._spec = APISpec(
            title="gns3server",
            version=__version__,
            openapi_version=OPENAPI_VERSION,
            plugins=[self._marshmallow],
            info={"description": "Builds, wires and runs network labs."},
            # Without the settings' user there is no login, and with it there is one way.
            security=[{}, {"basic": []}],
        )
        self._spec.components.security_scheme("basic", {"type": "http", "scheme": "basic"})
        self._converter = cast("Any", self._marshmallow.converter)
        self._converter.add_attribute_function(node_id)
        self._unions: dict[str, dict[str, Any]] = {}

    def build(self) -> dict[str, Any]:
        """Make the document."""
        for tag in dict.fromkeys(route.tag for route in self._lab.routes):
            self._spec.tag({"name": tag})
        for route in self._lab.routes:
            self._spec.path(
                path=PARAMETER.sub(r"{\1}", route.path),
                operations={route.method.lower(): self._operation(route)},
            )
        document: dict[str, Any] = self._spec.to_dict()
        for schema in document["components"]["schemas"].values():
            if schema.get("type") == "object":
                schema.setdefault("additionalProperties", False)
        return document

    def _operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": operation_id(route),
            "summary": route.summary,
            "tags": [route.tag],
            "parameters": [parameter(route, name) for name, _ in PARAMETER.findall(route.path)],
            "responses": self._responses(route),
        }
        if route.raw:
            shape = BYTES if route.body is None else self._schema(route.body)
            operation["requestBody"] = {"content": {route.body_type: {"schema": shape}}}
        elif route.body is not None:
            operation["requestBody"] = {
                "required": not is_optional(route.body),
                "content": {JSON: {"schema": self._schema(route.body)}},
            }
        return operation

    def _schema(self, shape: type[Schema] | OneOf) -> Any:
        return self._union(shape) if isinstance(shape, OneOf) else shape

    def _responses(self, route: Route) -> dict[str, Any]:
        responses = {str(route.status): self._success(route)}
        problems = {**EVERYWHERE, **route.errors}
        if "{" in route.path:
            problems.setdefault(404, "There is no such object, or not in that project")
        if route.scope is Scope.NODE or "vm_id" in route.path:
            problems.setdefault(409, "The object's state does not allow it")
        elif "project_id" in route.path:
            problems.setdefault(409, "The project is damaged")
        if route.plugin:
            problems.setdefault(503, "The plugin is out of service; the message says why")
        for status, meaning in sorted(problems.items()):
            responses[str(status)] = self._problem(meaning, ErrorSchema)
        responses["400"] = self._problem(
            "The request is not JSON, or not of the shape asked for", InvalidRequestSchema
        )
        return dict(sorted(responses.items()))

    def _success(self, route: Route) -> dict[str, Any]:
        description = HTTPStatus(route.status).phrase
        if route.stream and route.answer_type:
            schema = STREAMED.get(route.answer_type, {})
            return {"description": description, "content": {route.answer_type: {"schema": schema}}}
        if route.answer is None:
            return {"description": description}
        schema = self._schema(route.answer)
        if route.many:
            schema = {"type": "array", "items": schema}
        return {"description": description, "content": {JSON: {"schema": schema}}}

    def _problem(self, meaning: str, schema: type[Schema]) -> dict[str, Any]:
        return {"description": meaning, "content": {JSON: {"schema": schema}}}

    def _union(self, shape: OneOf) -> dict[str, Any]:
        """A schema for each choice, told apart by the field that tells."""
        choices = shape.choices(self._lab)
        key = ",".join(sorted(choices))
        if key not in self._unions:
            references = {}
            for value, schema in sorted(choices.items()):
                name = component_name(schema)
                self._spec.components.schema(name, self._choice(shape.field, value, schema))
                references[value] = f"#/components/schemas/{name}"
            self._unions[key] = {
                "oneOf": [{"$ref": reference} for reference in references.values()],
                "discriminator": {"propertyName": shape.field, "mapping": references},
            }
        return self._unions[key]

    def _choice(self, field: str, value: str, schema: type[Schema]) -> dict[str, Any]:
        component: dict[str, Any] = self._converter.schema2jsonschema(schema())
        component["properties"][field] = {"type": "string", "enum": [value]}
        component["required"] = sorted([*component.get("required", ()), field])
        component["additionalProperties"] = False
        return component


def node_id(_converter: Any, field: Any, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The property of a field that takes an id in either of its two forms."""
    if not isinstance(field, NodeId):
        return {}
    return {"oneOf": [{key: ret.pop(key) for key in ("type", "format")}, {"type": "integer"}]}


def is_optional(shape: type[Schema] | OneOf) -> bool:
    """Whether an absent body, which counts as ``{}``, would do."""
    return not isinstance(shape, OneOf) and not any(
        field.required for field in shape().fields.values()
    )


def operation_id(route: Route) -> str:
    """A name for the operation, unique because method and path are."""
    words = re.findall(r"\w+", PARAMETER.sub(r"by_\1", route.path))
    return "_".join([route.method.lower(), *words])


def parameter(route: Route, name: str) -> Mapping[str, Any]:
    """One parameter of a path."""
    kind = {"type": "integer", "minimum": 0} if name in route.integers else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": kind}
