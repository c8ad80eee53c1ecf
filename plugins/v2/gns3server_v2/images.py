"""Image files of emulators, through the images that the server keeps for its node types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marshmallow import fields

from gns3server.plugin import Archive, Call, Conflict, ImageKind, Route, Server, raw_body
from gns3server_v2.computes import check_compute
from gns3server_v2.shapes import Answer


class ImageAnswer(Answer):
    """An image file."""

    filename = fields.String(required=True)
    path = fields.String(required=True)
    filesize = fields.Integer(required=True)
    md5sum = fields.String(required=True, allow_none=True)


class EndpointAnswer(Answer):
    """Where files can be sent to without a detour."""

    endpoint = fields.String(required=True)


def kinds(call: Call) -> list[ImageKind]:
    """The kinds of images that the nodes of the emulator in the path use."""
    kind = call.server.registry.node_types.get(call.path["emulator"])
    return [] if kind is None else list(kind.image_kinds)


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The images of an emulator."""
    check_compute(call)
    images, found = call.server.machine.images, []
    for kind in kinds(call):
        for name in await images.names(kind):
            path = images.directory(kind) / name
            found.append(await _image(call, path))
    return found


async def _image(call: Call, path: Path) -> Mapping[str, Any]:
    try:
        size = (await call.server.machine.stamp_file(str(path))).size
    except OSError:
        size = 0
    md5 = await call.server.machine.images.md5(path)
    return {"filename": path.name, "path": path.name, "filesize": size, "md5sum": md5}


async def store(call: Call) -> Mapping[str, Any]:
    """Keep an image that is sent."""
    check_compute(call)
    own = kinds(call)
    if not own:
        raise Conflict(
            f"No plugin of this server uses images for {call.path['emulator']:.80}: install one."
        )
    size = call.request.content_length
    await call.server.machine.images.store(own[0], call.path["name"], raw_body(call), size)
    return {}


async def endpoint(call: Call) -> Mapping[str, Any]:
    """Tell the address to send a file of an emulator to: the same as ever."""
    check_compute(call)
    base = call.request.url.origin()
    path = f"/v2/computes/{call.path['compute_id']}/{call.path['emulator']}/{call.path['path']}"
    return {"endpoint": str(base.with_path(path))}


async def named_images(server: Server, labs: Iterable[Archive]) -> list[tuple[ImageKind, str]]:
    """The images that nodes name in their properties, of those that the server keeps.

    A type does not say which of its properties name images: whatever is the name or the path of one
    of its kinds does.

    :param labs: projects, or what snapshots have kept of them.
    """
    images, there = server.machine.images, dict[str, set[str]]()
    found: dict[tuple[str, str], ImageKind] = {}
    for node in (node for lab in labs for node in lab.records["nodes"]):
        node_type = server.registry.node_types.get(node["type"])
        for kind in () if node_type is None else node_type.image_kinds:
            if kind.directory not in there:
                there[kind.directory] = {*await images.names(kind)}
            for text in _texts(node["properties"]):
                directory, _, name = text.rpartition("/")
                if name in there[kind.directory] and directory in (
                    "",
                    str(images.directory(kind)),
                ):
                    found[kind.directory, name] = kind
    return [(kind, name) for (_, name), kind in sorted(found.items(), key=lambda each: each[0])]


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


class NothingAnswer(Answer):
    """Nothing more is to be said."""


PATH = "/v2/computes/{compute_id}/{emulator}/images"

ROUTES = (
    Route(
        method="GET",
        path="/v2/computes/endpoint/{compute_id}/{emulator}/{path:.+}",
        handler=endpoint,
        changes=False,
        tag="v2",
        summary="Where files of an emulator can be sent to",
        answer=EndpointAnswer,
    ),
    Route(
        method="GET",
        path=PATH,
        handler=list_all,
        changes=False,
        tag="v2",
        summary="The images of an emulator",
        answer=ImageAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=f"{PATH}/{{name:.+}}",
        handler=store,
        raw=True,
        tag="v2",
        summary="Keep an image of an emulator",
        answer=NothingAnswer,
        errors={409: "No plugin uses such images", 413: "It is too large", 507: "No room is left"},
    ),
)
