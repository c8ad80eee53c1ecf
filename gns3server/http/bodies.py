"""Parsing JSON bodies with webargs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from aiohttp import web
from marshmallow import Schema, ValidationError
from webargs.aiohttpparser import AIOHTTPParser

from gns3server.errors import InvalidRequest
from gns3server.http.encoding import decode
from gns3server.http.reading import PARSED, flatten, read_body


class BodyParser(AIOHTTPParser):
    """Parses every body as JSON, whatever its content type says, and answers 400.

    ``curl -d`` names a form type, and the sessions people copy depend on it
    (contract 1.2).
    """

    async def load_json(self, req: web.Request, schema: Schema) -> Any:
        """Read and decode the body, and keep it for the answer to a bad one.

        :raises InvalidRequest: it is no JSON, or no object.
        """
        value = decode(await read_body(req))
        req[PARSED] = value
        if not isinstance(value, dict):
            raise InvalidRequest("Invalid request: the body must be a JSON object: {...}.")
        return value

    def handle_error(
        self,
        error: ValidationError,
        req: web.Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Turn a validation error into the 400 of this API."""
        messages: Any = error.messages
        if isinstance(messages, dict):
            messages = messages.get("json", messages)
        raise InvalidRequest(f"Invalid request: {flatten(messages)}.", request=req.get(PARSED))


PARSER = BodyParser()
