"""The pages for people, and the form to upload images."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import BodyPartReader, web

from gns3server.errors import Forbidden, InvalidRequest, quoted
from gns3server.files.images import ImageKind, plain_name
from gns3server.files.uploads import Incoming
from gns3server.http import pages
from gns3server.http.bodies import form_parts, part_content
from gns3server.http.handlers.images import UPLOAD_ERRORS
from gns3server.http.routing import HTML, ROUTE_TABLE, Call, Route
from gns3server.http.schemas import UploadFormSchema
from gns3server.nodes.states import WIRE_STATUS
from gns3server.projects.project import Project

TAG = "pages"
TYPE_BYTES = 1000
"""Bytes after which the name of a kind of image is read no further."""


@dataclass(slots=True)
class Form:
    """What has been read of an upload form so far.

    :param file: the plain name of the file, and the file itself, not yet in its final place.
    :param seen: names of the fields that were read.
    """

    kind: ImageKind | None = None
    file: tuple[str, Incoming] | None = None
    seen: frozenset[str] = frozenset()


async def home(call: Call) -> web.StreamResponse:
    """The first page: what there is, and where to go on."""
    server = call.server
    projects = list(server.projects.projects)
    page = pages.home(
        server.settings.server.announced_version,
        [_shown(project) for project in projects[: pages.MAX_PROJECTS]],
        len(projects[pages.MAX_PROJECTS :]),
        len(list(server.projects.damaged)),
        server.plugins(),
        takes_images=bool(server.machine.images.kinds()),
        of_plugins={
            route.path: route.page for route in call.request.app[ROUTE_TABLE] if route.page
        },
    )
    return _answer(page)


def _shown(project: Project) -> pages.ShownProject:
    nodes = [
        pages.ShownNode(
            name=node.name,
            type=node.type.title,
            status=WIRE_STATUS[node.state],
            console=node.console,
        )
        for node in project.members
    ]
    return pages.ShownProject(id=project.id, name=project.name or project.id, nodes=nodes)


async def show_uploads(call: Call) -> web.StreamResponse:
    """The upload form and the images that are there."""
    images, version = call.server.machine.images, call.server.settings.server.announced_version
    paths = await images.paths()
    kinds = list(images.kinds().values())
    origin = f"{call.request.scheme}://{call.request.host}"
    return _answer(pages.upload(version, origin, kinds, paths))


def _answer(page: str) -> web.StreamResponse:
    return web.Response(text=page, content_type=HTML, charset="utf-8", headers=pages.HEADERS)


async def upload(call: Call) -> web.StreamResponse:
    """Store the file of the form, if one was chosen, and redirect to the page (UPL-02)."""
    form = Form()
    async with AsyncExitStack() as stack:
        async for part in form_parts(call.request):
            await _take(call, form, part, stack)
        missing = {"type", "file"} - form.seen
        if missing:
            raise InvalidRequest(
                f"The form has no field {' and no field '.join(sorted(missing))}: send both 'type' "
                "and 'file'."
            )
        if form.kind is not None and form.file is not None:
            name, incoming = form.file
            await call.server.machine.images.place(incoming, form.kind, name)
    return web.Response(status=302, headers={"Location": "/upload"})


async def _take(call: Call, form: Form, part: BodyPartReader, stack: AsyncExitStack) -> None:
    """Read one field of the form."""
    field = part.name or ""
    if field in form.seen or field not in ("type", "file"):
        raise InvalidRequest(
            f"The field {quoted(field)} does not belong here: the form has one field 'type' and "
            "one field 'file'."
        )
    form.seen |= {field}
    if field == "type":
        form.kind = await _find_kind(call, part)
    elif part.filename:
        name, images = plain_name(part.filename), call.server.machine.images
        # If the type comes after the file, its directory is not known yet.
        directory = images.directory(form.kind) if form.kind else images.path
        incoming = images.receiving(directory, name, part_content(part))
        form.file = name, await stack.enter_async_context(incoming)
    else:
        # A browser sends an empty field without a file name if no file was chosen.
        async for _ in part_content(part):
            raise InvalidRequest("The field 'file' has content but no file name: send a file.")


async def _find_kind(call: Call, part: BodyPartReader) -> ImageKind:
    """The kind of image that the field names.

    :raises Forbidden: there is no such kind.
    """
    text = bytearray()
    async for piece in part_content(part):
        text += piece
        if len(text) > TYPE_BYTES:
            break
    name, kinds = text.decode(errors="replace"), call.server.machine.images.kinds()
    if name not in kinds:
        known = ", ".join(kinds) or "none, because no plugin uses any"
        raise Forbidden(f"This server has no kind of image called {quoted(name)}; it has: {known}.")
    return kinds[name]


ROUTES = (
    Route(
        method="GET",
        path="/",
        handler=home,
        changes=False,
        stream=True,
        answer_type=HTML,
        tag=TAG,
        summary="The first page",
    ),
    Route(
        method="GET",
        path="/upload",
        handler=show_uploads,
        changes=False,
        stream=True,
        answer_type=HTML,
        tag=TAG,
        summary="The page to upload images with",
    ),
    Route(
        method="POST",
        path="/upload",
        handler=upload,
        status=302,
        stream=True,
        answer_type="",
        raw=True,
        body_type="multipart/form-data",
        body=UploadFormSchema,
        tag=TAG,
        summary="Upload an image; without a file nothing is stored",
        errors={403: "There is no such kind of image", **UPLOAD_ERRORS},
    ),
)
