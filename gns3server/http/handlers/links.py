"""The links of a project, and their captures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress
from functools import partial

from aiohttp import web

from gns3server.errors import NotFound
from gns3server.http.endless import limit_buffer, until_ending
from gns3server.http.handlers.projects import PROJECT
from gns3server.http.link_schemas import (
    CaptureStartSchema,
    FilterSchema,
    LinkChangeSchema,
    LinkCreateSchema,
    LinkObjectSchema,
)
from gns3server.http.queueing import unknown_id
from gns3server.http.routing import Call, Route, Scope
from gns3server.http.sending import piecewise
from gns3server.links.captures import SNAPSHOT_LENGTH
from gns3server.links.filters import FILTERS, Filter
from gns3server.links.link import LinkView

TAG = "links"
LINKS = f"{PROJECT}/links"
LINK = f"{LINKS}/{{link_id}}"
PCAP = "application/vnd.tcpdump.pcap"
"""The media type of a capture, as it is registered."""


def _link_id(call: Call) -> str:
    """The id that the path has, of a link that exists.

    :raises NotFound: there is no such link.
    :raises InvalidRequest: it is no id.
    """
    link_id: str = call.path["link_id"]
    try:
        return call.project.wires.get(link_id).id
    except NotFound as error:
        raise unknown_id("link", link_id, error) from None


async def create(call: Call) -> LinkView:
    """Make a link."""
    values = dict(call.body)
    return await call.project.wires.create(
        values.pop("ends"), link_id=values.pop("id", None), **values
    )


async def list_links(call: Call) -> list[LinkView]:
    """All links, in the order in which they were made, then all pairs of NIOs."""
    return list(call.project.wires)


async def list_filters(_call: Call) -> Sequence[Filter]:
    """All filters that links can have."""
    return FILTERS


async def show(call: Call) -> LinkView:
    """One link."""
    return call.project.wires.get(_link_id(call))


async def update(call: Call) -> LinkView:
    """Change a link: everything that is given, or nothing."""
    return await call.project.wires.update(_link_id(call), **call.body)


async def delete(call: Call) -> None:
    """Unplug both ends of a link, and forget it."""
    await call.project.wires.delete(_link_id(call))


async def start_capture(call: Call) -> LinkView:
    """Capture a link into a file."""
    wanted = {
        "file": None,
        "snapshot_length": SNAPSHOT_LENGTH,
        "max_bytes": None,
        "overwrite": False,
        **call.body,
    }
    return await call.project.wires.start_capture(_link_id(call), **wanted)


async def stop_capture(call: Call) -> None:
    """End the capture of a link."""
    await call.project.wires.stop_capture(_link_id(call))


async def follow_capture(call: Call) -> web.StreamResponse:
    """Send what is captured of a link, until the capture ends or the client goes away."""
    return await send_capture(call, _link_id(call))


async def send_capture(call: Call, link_id: str) -> web.StreamResponse:
    """Answer with what is captured of a link of the project that the call is about.

    For ``endless`` routes: the answer ends with the capture, or when the call is to end.

    :raises gns3server.errors.NotFound: there is no such link.
    :raises gns3server.errors.Conflict: it is not being captured, or too many follow it.
    """
    async with aclosing(call.project.wires.follow(link_id)) as data:
        # Refused here, if it is: a header comes at once.
        first = await anext(data)
        response = piecewise(call, PCAP)
        # What limits the stream's end would cut off another request on this connection.
        response.force_close()
        limit_buffer(call.request)
        # Most streams end because their client goes away.
        with suppress(ConnectionError):
            await response.prepare(call.request)
            await response.write(first)
            async for chunk in until_ending(call.ending, data):
                await response.write(chunk)
            await response.write_eof()
        return response


_route = partial(Route, tag=TAG)
_on_link = partial(_route, scope=Scope.LINK)
STORAGE = {507: "The records cannot be written"}

ROUTES = (
    _route(
        method="POST",
        path=LINKS,
        handler=create,
        scope=Scope.PROJECT,
        creates=True,
        status=201,
        summary="Make a link between two ports, all of it or nothing",
        body=LinkCreateSchema,
        answer=LinkObjectSchema,
        errors={
            409: "A port is taken, does not exist or takes no link, both ends are at one VM, or "
            "the id is taken",
            503: "The link panel does not work",
            **STORAGE,
        },
    ),
    _route(
        method="GET",
        path=LINKS,
        handler=list_links,
        changes=False,
        summary="All links of a project, and all pairs of NIOs that match",
        answer=LinkObjectSchema,
        many=True,
    ),
    _route(
        method="GET",
        path=f"{LINKS}/filters",
        handler=list_filters,
        changes=False,
        summary="The filters that a link can have, with their parameters",
        answer=FilterSchema,
        many=True,
    ),
    _on_link(
        method="GET",
        path=LINK,
        handler=show,
        changes=False,
        summary="One link",
        answer=LinkObjectSchema,
    ),
    _on_link(
        method="PUT",
        path=LINK,
        handler=update,
        summary="Filter or suspend a link, or change what is between its ends",
        body=LinkChangeSchema,
        answer=LinkObjectSchema,
        errors={
            409: "It has nothing in between that could do that",
            503: "The link panel does not work",
            **STORAGE,
        },
    ),
    _on_link(
        method="DELETE",
        path=LINK,
        handler=delete,
        status=204,
        summary="Unplug both ends of a link, and delete it",
        errors={409: "One of its VMs refuses", **STORAGE},
    ),
    _on_link(
        method="POST",
        path=f"{LINK}/capture",
        handler=start_capture,
        status=201,
        summary="Capture a link into a file of the project",
        body=CaptureStartSchema,
        answer=LinkObjectSchema,
        errors={
            409: "It is captured already, there is such a file, or it cannot be captured",
            500: "The directory for captures cannot be used",
            503: "The link panel does not work",
            **STORAGE,
        },
    ),
    _on_link(
        method="DELETE",
        path=f"{LINK}/capture",
        handler=stop_capture,
        status=204,
        summary="End the capture of a link; it is fine if none is on",
        errors=STORAGE,
    ),
    _route(
        method="GET",
        path=f"{LINK}/capture",
        handler=follow_capture,
        changes=False,
        stream=True,
        endless=True,
        answer_type=PCAP,
        summary="What is captured of a link while it is: the last seconds, then what comes",
        errors={409: "It is not being captured, or too many clients follow it"},
    ),
)
