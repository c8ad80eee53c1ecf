"""The OpenAPI document, made from the very routes that are installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from http import HTTPStatus
from typing import Any, cast

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from gns3server import __version__
from gns3server.http.access import TICKET
from gns3server.http.encoding import encode
from gns3server.http.families import ErrorShape, is_below
from gns3server.http.openapi_answers import (
    ANY_OBJECT,
    BYTES,
    SHARED,
    STREAMED,
    answer,
    describe_error,
    problem,
    problems_of,
)
from gns3server.http.openapi_examples import Examples, with_example
from gns3server.http.openapi_paths import links, operation_id, parameter
from gns3server.http.openapi_schemas import Names, describe, node_id
from gns3server.http.routing import JSON, OneOf, QueryParameter, Route
from gns3server.http.schemas import NO_NUL
from gns3server.server import Server

log = logging.getLogger(__name__)

OPENAPI_VERSION = "3.0.3"
"""Client generators support this version best."""

ABOUT = """\
Builds, wires and runs network labs.

Bodies of requests are read as JSON whatever their content type says, and one that is absent counts
as `{}`. A path that is not here answers 404, a method that a path does not have 405, both in the
shape of every error. HEAD is there wherever GET is, except on streams that do not end. Each answer
names its request in the header `X-Request-Id`, as the server's log does.

The examples are about one lab, and work as they are in this order: create the project, create a
node in it, plug a NIO in, start the node; then all others. What stops or removes something comes
last.
"""

SECURITY: Sequence[Mapping[str, Any]] = ({}, {"basic": []})
"""Without a user in the settings there is no login; with one, there is one way."""

ERROR_SHAPES = "x-error-shapes"
"""Where ``info`` has the schemas of errors below prefixes whose errors have another shape."""


def build(
    server: Server, routes: Sequence[Route], shapes: Sequence[ErrorShape] = ()
) -> dict[str, Any]:
    """The document of all routes of this server.

    A plugin with an offer that cannot be described is left out, and reported.

    :param shapes: of errors that do not have the usual one.
    """
    try:
        return _describe(server, routes, shapes, server.undescribed)
    except Exception as error:
        log.debug("not all of the API can be described: %s", error)
    names = [report["name"] for report in server.plugins()]
    for number, name in enumerate(names):
        if name not in server.undescribed:
            # Together only with those before it that can be described: it must be this one.
            without = server.undescribed | set(names[number + 1 :])
            try:
                _describe(server, routes, shapes, without)
                Document(server, routes, shapes, without).check_nio_types()
            except Exception as error:
                server.undescribed.add(name)
                server.plugin_mistake(name, "openapi", error)
    return _describe(server, routes, shapes, server.undescribed)


def _describe(
    server: Server, routes: Sequence[Route], shapes: Sequence[ErrorShape], without: Set[str]
) -> dict[str, Any]:
    document = Document(server, routes, shapes, without).build()
    # So that anything that JSON cannot hold is found here.
    encode(document)
    return document


class Document:
    """Collects routes into one OpenAPI document.

    :param shapes: of errors that do not have the usual one.
    :param without: the plugins that are left out.
    """

    def __init__(
        self,
        server: Server,
        routes: Sequence[Route],
        shapes: Sequence[ErrorShape],
        without: Set[str],
    ) -> None:
        self._server = server
        self._routes = [route for route in routes if route.plugin not in without]
        # Of two for the same path, the narrower one counts.
        known = (shape for shape in shapes if shape.plugin not in without)
        self._shapes = sorted(known, key=lambda shape: len(shape.prefix), reverse=True)
        left_out = [report for report in server.plugins() if report["name"] in without]
        self._hidden = {name for report in left_out for name in report["nio_types"]}
        hidden_nodes = {name for report in left_out for name in report["node_types"]}
        self._examples = Examples(server, hidden_nodes)
        self._names = Names()
        self._marshmallow = MarshmallowPlugin(schema_name_resolver=self._names.of)
        self._spec = APISpec(
            title="gns3server",
            version=__version__,
            openapi_version=OPENAPI_VERSION,
            plugins=[self._marshmallow],
            info={"description": ABOUT},
            security=SECURITY,
        )
        self._spec.components.security_scheme("basic", {"type": "http", "scheme": "basic"})
        by_query = {"type": "apiKey", "in": "query", "name": TICKET}
        self._spec.components.security_scheme(TICKET, by_query)
        self._converter = cast("Any", self._marshmallow.converter)
        self._converter.add_attribute_function(node_id)
        self._choices: dict[str, dict[str, Any]] = {}
        for status, meaning in SHARED.items():
            self._spec.components.response(f"Error{status}", describe_error(status, meaning))

    def build(self) -> dict[str, Any]:
        """Make the document."""
        for tag in dict.fromkeys(route.tag for route in self._routes):
            self._spec.tag({"name": tag})
        for route in self._routes:
            self._spec.path(
                path=route.plain_path,
                operations={route.method.lower(): self._operation(route)},
            )
        errors = {
            shape.prefix: self._converter.resolve_nested_schema(shape.schema)
            if shape.schema is not None
            else ANY_OBJECT
            for shape in self._shapes
        }
        document: dict[str, Any] = self._spec.to_dict()
        if errors:
            document["info"][ERROR_SHAPES] = errors
        for name, schema in document["components"]["schemas"].items():
            if schema.get("type") == "object":
                schema.setdefault("additionalProperties", False)
            schema.update(describe(self._names.kind(name)))
        return document

    def check_nio_types(self) -> None:
        """Describe the NIO types that plugins offer; other plugins' routes may take them.

        :raises Exception: one cannot be described.
        """
        for name, kind in self._server.registry.nio_types.items():
            if name not in self._hidden:
                encode(self._converter.schema2jsonschema(kind.schema()))

    def _operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": operation_id(route),
            "summary": route.summary,
            "tags": [route.tag],
            "parameters": [
                *(self._parameter(route, name, rule) for name, rule in route.parameters),
                *(query_parameter(name, p) for name, p in route.parameters_of_query.items()),
            ],
            "responses": self._responses(route),
        }
        if route.websocket or route.upgrade is not None:
            operation["security"] = [*SECURITY, {TICKET: []}]
        if route.raw or route.body is not None:
            operation["requestBody"] = self._request_body(route)
        return operation

    def _parameter(self, route: Route, name: str, rule: str) -> dict[str, Any]:
        example = self._examples.parameter(route, name, rule)
        return with_example(parameter(route, name, rule), example)

    def _request_body(self, route: Route) -> dict[str, Any]:
        taken = (route.body_types or (route.body_type,)) if route.raw else (JSON,)
        schema = BYTES if route.body is None else self._schema(route.body)
        described = with_example({"schema": schema}, self._examples.body(route))
        body: dict[str, Any] = {"content": dict.fromkeys(taken, described)}
        if route.body is not None:
            body["required"] = not is_optional(route.body)
        return body

    def _schema(self, shape: type[Schema] | OneOf) -> Any:
        return self._union(shape) if isinstance(shape, OneOf) else shape

    def _responses(self, route: Route) -> dict[str, Any]:
        shape = self._shape_of(route.path)
        responses = {n: problem(n, text, shape) for n, text in problems_of(route).items()}
        if route.websocket or route.upgrade is not None:
            responses[101] = answer(101, "The connection is a websocket from now on")
        if not route.websocket:
            responses[route.status] = self._success(route)
            if 206 in route.errors:
                content = responses[route.status]["content"]
                responses[206] = {**answer(206, route.errors[206]), "content": content}
        return {str(status): responses[status] for status in sorted(responses)}

    def _shape_of(self, path: str) -> ErrorShape | None:
        """The shape that errors below a path have, if it is not the usual one."""
        return next((shape for shape in self._shapes if is_below(path, shape.prefix)), None)

    def _success(self, route: Route) -> dict[str, Any]:
        meaning, given = HTTPStatus(route.status).phrase, route.answer_types or (route.answer_type,)
        if route.answer is not None:
            schema = self._schema(route.answer)
            if route.many:
                schema = {"type": "array", "items": schema}
            content = dict.fromkeys(given, schema)
        elif route.stream:
            content = {name: STREAMED.get(name) for name in given if name}
        else:
            content = {}
        success = answer(route.status, meaning, content)
        found = links(route, self._routes) if content else None
        return {**success, "links": found} if found else success

    def _union(self, shape: OneOf) -> dict[str, Any]:
        """A schema for each choice, told apart by the shape's field."""
        references = {
            value: self._choice(shape.field, value, schema)
            for value, schema in sorted(shape.choices(self._server).items())
            if value not in self._hidden
        }
        return {
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {"propertyName": shape.field, "mapping": references},
        }

    def _choice(self, field: str, value: str, schema: type[Schema]) -> str:
        """Where the schema of a choice is: that of its class, and the shape's field."""
        name = self._names.of(schema, field, value)
        if name not in self._choices:
            component: dict[str, Any] = self._converter.schema2jsonschema(schema())
            component["properties"][field] = {"type": "string", "enum": [value]}
            component["required"] = sorted([*component.get("required", ()), field])
            self._choices[name] = component
            self._spec.components.schema(name, component)
        return f"#/components/schemas/{name}"


def is_optional(shape: type[Schema] | OneOf) -> bool:
    """Whether an absent body, which counts as ``{}``, would do."""
    return not isinstance(shape, OneOf) and not any(
        field.required for field in shape().fields.values()
    )


def query_parameter(name: str, parameter: QueryParameter) -> Mapping[str, Any]:
    """One value of a query."""
    schema: dict[str, Any] = {"type": "string", "pattern": NO_NUL}
    if parameter.kind == "number":
        schema = {"type": "integer", "minimum": 0}
    if parameter.choices:
        schema = {"type": "string", "enum": list(parameter.choices)}
    if parameter.default is not None:
        schema["default"] = parameter.default
    described = {"name": name, "in": "query", "description": parameter.description}
    return {**described, "schema": schema}
