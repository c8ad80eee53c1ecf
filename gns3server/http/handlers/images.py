"""The standard routes for a kind of image; plugins choose their paths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from gns3server.files.images import ImageKind
from gns3server.http.bodies import raw_body
from gns3server.http.routing import Call, Route
from gns3server.http.schemas import ImageSchema

UPLOAD_ERRORS = {
    409: "The image cannot be written",
    413: "The image is larger than this server lets images be",
    507: "There is not enough room on the disk",
}


async def list_images(kind: ImageKind, call: Call) -> list[Mapping[str, str]]:
    """Every image of a kind."""
    return [{"filename": name} for name in await call.server.machine.images.names(kind)]


async def upload(kind: ImageKind, call: Call) -> None:
    """Store the body as an image."""
    content, size = raw_body(call), call.request.content_length
    await call.server.machine.images.store(kind, call.path["filename"], content, size)


def image_routes(kind: ImageKind, path: str, *, tag: str) -> tuple[Route, Route]:
    """Routes that list the images of a kind and take new ones.

    :param kind: one of the ``image_kinds`` of the plugin's node types.
    :param path: such as ``/v1/myemulator/vms``: GET lists, POST to a name below it uploads.
    :param tag: group in the API document, most often the plugin's name.
    """
    return (
        Route(
            method="GET",
            path=path,
            handler=partial(list_images, kind),
            changes=False,
            tag=tag,
            summary=f"The images of the kind {kind.title}",
            answer=ImageSchema,
            many=True,
        ),
        Route(
            method="POST",
            path=path + "/{filename}",
            handler=partial(upload, kind),
            status=204,
            raw=True,
            tag=tag,
            summary=f"Upload an image of the kind {kind.title}: the body is the file",
            errors=UPLOAD_ERRORS,
        ),
    )
