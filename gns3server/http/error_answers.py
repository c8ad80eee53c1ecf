"""Errors as answers: in the shape of all, or in the one that a plugin has for its own paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from gns3server.errors import (
    QUOTED_CHARACTERS,
    InvalidRequest,
    LabError,
    Unauthorized,
    Unavailable,
)
from gns3server.http.encoding import MOST_REPEATED, encode
from gns3server.http.families import ErrorShape, FailedRequest, is_below
from gns3server.http.parsing import LENGTH, PARSED, not_repeated, repeated
from gns3server.http.request_log import FACTS
from gns3server.http.routing import JSON, FailedPlugin

LONGEST_ANSWER = 4 * MOST_REPEATED
"""Bytes of an error's answer."""


class RouterError(LabError):
    """What aiohttp refuses: there is no such path, or not with that method."""

    def __init__(self, error: web.HTTPException, path: str, method: str) -> None:
        allowed, path = error.headers.get("Allow", ""), path[:QUOTED_CHARACTERS]
        listed = allowed.replace(",", ", ")
        message = {
            404: f"There is no {path} here: see /v1/openapi.json for what there is.",
            405: f"{method} is not possible on {path}: it takes {listed}.",
        }.get(error.status, error.reason)
        super().__init__(message, log=error.reason)
        self.status = error.status
        if allowed:
            self.headers = {"Allow": allowed}


class ErrorAnswers:
    """Makes answers of errors.

    :param failed_plugins: live; the shapes of these are not used.
    :param mistake: notes a plugin's mistake: the plugin's name, where it was, and the error.
    """

    def __init__(
        self,
        shapes: Sequence[ErrorShape],
        failed_plugins: Mapping[str, FailedPlugin],
        mistake: Callable[[str, str, Exception], None],
    ) -> None:
        # Of two for the same path, the narrower one counts.
        self._shapes = sorted(shapes, key=lambda shape: len(shape.prefix), reverse=True)
        self._failed = failed_plugins
        self._mistake = mistake

    def respond(self, request: web.Request, error: LabError) -> web.Response:
        """The answer that reports an error."""
        body = self._shaped(request, error) or encoded_body(request, error)
        response = web.Response(body=body, status=error.status, headers={"Content-Type": JSON})
        response.headers.update(error.headers)
        if isinstance(error, Unauthorized) or request.method == "CONNECT":
            # From a caller that may not call no body is accepted: what comes now is not even read.
            # Nor is what follows a CONNECT, which need not be HTTP.
            request.protocol.close()
            response.force_close()
        return response

    def _shaped(self, request: web.Request, error: LabError) -> bytes | None:
        """The body in a plugin's shape, if the path has one."""
        for shape in self._shapes:
            if is_below(request.path, shape.prefix) and shape.plugin not in self._failed:
                return self._render(shape, request, error)
        return None

    def _render(self, shape: ErrorShape, request: web.Request, error: LabError) -> bytes | None:
        facts = request[FACTS]
        failed = FailedRequest(
            id=facts.id,
            method=request.method,
            path=request.path,
            route=facts.route.path if facts.route else "",
            body=repeated(request),
        )
        try:
            body = shape.render(error, failed)
            if not isinstance(body, Mapping):
                raise TypeError(f"it returned {body!r}, which is not a mapping")
            return encode(dict(body))
        except Exception as mistake:
            self._mistake(shape.plugin, f"the errors of {shape.prefix}", mistake)
            return None


def usual_body(request: web.Request, error: LabError) -> dict[str, Any]:
    """The shape of every error for which no plugin has another (HTTP-03, HTTP-04)."""
    route = request[FACTS].route
    body: dict[str, Any] = {"message": error.message, "status": error.status}
    if isinstance(error, InvalidRequest):
        body["path"] = route.path if route else request.path
        # A body that is absent counts as the empty object.
        sent = repeated(request) if PARSED in request else {}
        body["request"] = sent if error.request is None else error.request
    return body


def encoded_body(request: web.Request, error: LabError) -> bytes:
    """The JSON of :func:`usual_body`, which does not become much longer than what it repeats."""
    values = usual_body(request, error)
    body = encode(values)
    if len(body) <= LONGEST_ANSWER:
        return body
    # Blanks of nested values, or characters that JSON escapes.
    return encode({**values, "request": not_repeated(request.get(LENGTH, 0))})


def out_of_service(plugin: FailedPlugin) -> Unavailable:
    """The error for requests that are meant for a failed plugin."""
    return Unavailable(
        f"The plugin {plugin.name!r} could not be used: {plugin.reason.rstrip('.')}. Repair it "
        "and start the server again; /v1/plugins tells more."
    )
