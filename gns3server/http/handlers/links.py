"""The links of a project."""

from __future__ import annotations

from functools import partial

from gns3server.errors import NotFound
from gns3server.http.handlers.projects import PROJECT
from gns3server.http.link_schemas import LinkCreateSchema, LinkObjectSchema
from gns3server.http.queueing import unknown_id
from gns3server.http.routing import Call, Route, Scope
from gns3server.links.link import LinkView

TAG = "links"
LINKS = f"{PROJECT}/links"
LINK = f"{LINKS}/{{link_id}}"


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
    body = call.body
    return await call.project.wires.create(
        body["ends"], link_id=body.get("id"), seed=body.get("seed")
    )


async def list_links(call: Call) -> list[LinkView]:
    """All links, in the order in which they were made, then all pairs of NIOs."""
    return list(call.project.wires)


async def show(call: Call) -> LinkView:
    """One link."""
    return call.project.wires.get(_link_id(call))


async def delete(call: Call) -> None:
    """Unplug both ends of a link, and forget it."""
    await call.project.wires.delete(_link_id(call))


_route = partial(Route, tag=TAG)
_on_link = partial(_route, path=LINK, scope=Scope.LINK)

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
            507: "The records cannot be written",
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
    _on_link(
        method="GET",
        handler=show,
        changes=False,
        summary="One link",
        answer=LinkObjectSchema,
    ),
    _on_link(
        method="DELETE",
        handler=delete,
        status=204,
        summary="Unplug both ends of a link, and delete it",
        errors={409: "One of its VMs refuses", 507: "The records cannot be written"},
    ),
)
