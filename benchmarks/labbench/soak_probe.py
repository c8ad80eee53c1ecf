"""A plugin for the server under test: shows what only the server itself can count."""

from __future__ import annotations

import asyncio
import gc
import threading

from marshmallow import Schema, fields

from gns3server.plugin import Call, Route, hookimpl

PATH = "/v1/soak"


class CountsSchema(Schema):
    """How many of each there are now."""

    tasks = fields.Integer(required=True)
    threads = fields.Integer(required=True)
    objects = fields.Integer(required=True)


async def count(_call: Call) -> dict[str, int]:
    """Count after a garbage collection, so that garbage does not look like a leak."""
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
    }


@hookimpl
def gns3_routes() -> list[Route]:
    """The route of the counts."""
    return [
        Route(
            method="GET",
            path=PATH,
            handler=count,
            changes=False,
            summary="Count what is there",
            answer=CountsSchema,
        )
    ]
