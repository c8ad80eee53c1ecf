"""Whole projects: copied, exported and imported."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from aiohttp import web
from marshmallow import ValidationError

from gns3server.plugin import (
    Archive,
    Call,
    Conflict,
    InvalidRequest,
    LabError,
    Node,
    NodeType,
    NotFound,
    ProjectEntry,
    QueryParameter,
    Route,
    Server,
    SnapshotView,
    StagedProject,
    StorageFailed,
    raw_body,
)
from gns3server_v2.addresses import dropper, without_addresses
from gns3server_v2.building import kept_of_file, values_of
from gns3server_v2.file_shapes import reasons
from gns3server_v2.images import named_images
from gns3server_v2.link_filters import active
from gns3server_v2.loading import parsed
from gns3server_v2.making import ALSO_TAKEN, PLACED, fitting, free_name, sorted_properties
from gns3server_v2.names import is_id
from gns3server_v2.packing import Contents, packed
from gns3server_v2.projects import ProjectAnswer, check_name, describe, known
from gns3server_v2.saved import LARGEST, document, document_of_records, saved_document, write_file
from gns3server_v2.shapes import Flag, Request, Words
from gns3server_v2.state import DRAWING, KEY, ServerState, state_of
from gns3server_v2.unpacking import (
    CameSnapshot,
    find_images,
    find_snapshots,
    opened,
    project_file,
    read_entry,
    unpack,
)
from gns3server_v2.wording import FILE_NAME

log = logging.getLogger(__name__)

COMPRESSIONS = {
    "zip": zipfile.ZIP_DEFLATED,
    "none": zipfile.ZIP_STORED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
"""How the files of an archive are compressed, by the word of the query."""

LIMIT = 600.0


class DuplicateRequest(Request):
    """The copy of a project."""

    name = Words(required=True, least=1)
    path = Words(allow_none=True)
    reset_mac_addresses = Flag()


# Copies ------------------------------------------------------------------------------------


async def duplicate(call: Call) -> Mapping[str, Any]:
    """Make a copy of a project, which is then closed."""
    state, entry, body = state_of(call.server), known(call.server, call.project_id), call.body
    async with state.naming:
        await check_name(state, body["name"])
        if call.found_project is None:
            source = await saved_document(entry)
        else:
            await state.of(call.project)
            source = document(state, call.project)
        edit = None
        if body.get("reset_mac_addresses"):
            edit, source = dropper(call.server), without_addresses(source)
        arrived = await call.server.projects.duplicate(
            entry.id, name=body["name"], path=body.get("path") or None, edit=edit
        )
    ids = {entry.id: arrived.project_id, **arrived.ids}
    return await _arrived(state, arrived.project_id, {**source, "name": body["name"]}, ids)


async def _arrived(
    state: ServerState, project_id: str, source: Mapping[str, Any], ids: Mapping[str, str]
) -> Mapping[str, Any]:
    """Describe a project that has come, for the time that it is closed, and tell of it.

    :param source: what it was made of.
    :param ids: the new ids by the old ones.
    """
    entry = known(state.server, project_id)
    text = json.dumps(source, indent=4, sort_keys=True)
    for old, new in ids.items():
        text = text.replace(old, new)
    await write_file(entry.path / FILE_NAME, text)
    shown = await describe(state, entry)
    state.tell("project.created", shown)
    return shown


# Export ------------------------------------------------------------------------------------


async def export(call: Call) -> web.StreamResponse:
    """Send a project as an archive."""
    method = COMPRESSIONS.get(str(call.query["compression"]))
    if method is None:
        raise Conflict(f"There is no such compression: choose one of {', '.join(COMPRESSIONS)}.")
    entry = known(call.server, call.project_id)
    async with AsyncExitStack() as stack:
        archive = await stack.enter_async_context(call.server.projects.archive(entry.id))
        described = await _described(call, entry)
        if _asked(call, "reset_mac_addresses"):
            described = without_addresses(described)
        contents = Contents(archive, described)
        if _asked(call, "include_snapshots"):
            contents.snapshots = await _snapshots(call, entry, stack)
        if _asked(call, "include_images"):
            labs = [archive, *(kept.archive for _, kept in contents.snapshots)]
            contents.images = await _images(call, labs, stack)
        name = quote(f"{described['name'] or entry.id}.gns3project", safe="")
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/gns3project",
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            }
        )
        response.enable_chunked_encoding()
        with suppress(ConnectionError):
            await response.prepare(call.request)
            async for piece in packed(contents, method):
                if piece:
                    await response.write(piece)
    with suppress(ConnectionError):
        # Once a client has all of it, the copy that was read is gone.
        await response.write_eof()
    return response


def _asked(call: Call, name: str) -> bool:
    return str(call.query.get(name, "")).lower() in YES


async def _snapshots(
    call: Call, entry: ProjectEntry, stack: AsyncExitStack
) -> list[tuple[SnapshotView, Contents]]:
    """The snapshots of a project, the oldest first, to be read as long as the stack is open."""
    state, manager, found = state_of(call.server), call.server.projects, []
    for view in await manager.snapshots(entry.id):
        archive = await stack.enter_async_context(manager.archive(entry.id, view.id))
        described = document_of_records(state, archive.records)
        if _asked(call, "reset_mac_addresses"):
            described = without_addresses(described)
        found.append((view, Contents(archive, described)))
    return found


async def _images(
    call: Call, labs: list[Archive], stack: AsyncExitStack
) -> list[tuple[str, BinaryIO]]:
    """The images that nodes name, to be read as long as the stack is open.

    :raises Conflict: one cannot be read.
    """
    images = call.server.machine.images
    found: list[tuple[str, BinaryIO]] = []
    for kind, name in await named_images(call.server, labs):
        try:
            file = await asyncio.to_thread((images.directory(kind) / name).open, "rb")
        except OSError as error:
            raise Conflict(
                f"The image {name!r} cannot be read: {error.strerror}. Export the project without "
                "images, or mend that first."
            ) from error
        found.append((f"{kind.directory}/{name}", stack.enter_context(file)))
    return found


async def _described(call: Call, entry: ProjectEntry) -> dict[str, Any]:
    """What the project file in the archive of a project says.

    :raises Conflict: the project is closed, and has no such file.
    """
    state, project = state_of(call.server), call.server.projects.find(entry.id)
    if project is not None:
        await state.of(project)
        return document(state, project)
    described = await saved_document(entry)
    if "topology" not in described:
        raise Conflict(
            f"The project {entry.id} has no {FILE_NAME} that can be read: open the project, and "
            "export it then."
        )
    return {"name": "", **described}


# Import ------------------------------------------------------------------------------------


async def import_archive(call: Call) -> Mapping[str, Any]:
    """Make a project of an archive, which is then closed."""
    state, manager = state_of(call.server), call.server.projects
    project_id = call.project_id.lower()
    if not is_id(project_id):
        raise NotFound(f"{project_id:.80} is no id of a project.")
    path = str(call.query.get("path") or "") or None
    async with AsyncExitStack() as stack:
        staged = await stack.enter_async_context(
            manager.import_staged(project_id=project_id, path=path)
        )
        place = staged.directory / f".import-{uuid.uuid4().hex}"
        await _receive(call, place)
        source = await _off_loop(_read, place, staged.directory)
        snapshots = await _off_loop(find_snapshots, place, staged.directory)
        images = await _receive_images(call.server, place, stack)
        async with state.naming:
            names = {(await describe(state, each))["name"] for each in manager.list_all()}
            wanted = str(call.query.get("name") or "") or source["name"]
            name = free_name(names, wanted.replace("{", "(").replace("}", ")"))
            records = records_of(state, {**source, "name": name})
            try:
                for each in snapshots:
                    await _take_snapshot(state, staged, each, name)
                await _off_loop(place.unlink)
                arrived = await staged.commit(records)
            except InvalidRequest as error:
                raise Conflict(f"The archive is broken. {error.message}") from error
        await _put_in_place(arrived.project_id, images)
    ids = {source["project_id"]: project_id, **arrived.ids}
    told = {**source_of_file(source), "name": name}
    return await _arrived(state, project_id, told, ids)


async def _take_snapshot(
    state: ServerState, staged: StagedProject, came: CameSnapshot, project_name: str
) -> None:
    """Have a project come with a snapshot of its archive."""
    source = await _off_loop(_parsed, came)
    records = records_of(state, {**source, "name": project_name})
    directory = await staged.add_snapshot(came.name, came.created, records)
    await _off_loop(_unpack, came, directory)


async def _receive_images(
    server: Server, place: Path, stack: AsyncExitStack
) -> list[tuple[str, Callable[[], Awaitable[Path]]]]:
    """Receive the images of an archive that are not there yet: their names, and what places them.

    Images of kinds that no plugin uses are left out.

    :param stack: what is not placed as long as it is open is gone.
    :raises Conflict: one has a name that no image can have.
    """
    kept, received = server.machine.images, []
    kinds = {kind.directory: kind for kind in server.registry.image_kinds().values()}
    with opened(place) as archive:
        for entry, directory, name in find_images(archive):
            kind = kinds.get(directory)
            if kind is None:
                log.info("the archive's image %r is left out: no plugin uses it", entry.filename)
            elif name not in await kept.names(kind):
                adding = kept.adding(kind, name, read_entry(archive, entry), entry.file_size)
                try:
                    received.append((name, await stack.enter_async_context(adding)))
                except InvalidRequest as error:
                    raise Conflict(f"The archive is broken. {error.message}") from error
    return received


async def _put_in_place(
    project_id: str, images: list[tuple[str, Callable[[], Awaitable[Path]]]]
) -> None:
    """Put the images of a project in place that has come: that goes on without one that fails."""
    for name, put in images:
        try:
            await put()
        except LabError as error:
            log.warning("project %s: its image %r is not there: %s", project_id, name, error)


async def _receive(call: Call, place: Path) -> None:
    with await _off_loop(place.open, "xb") as file:
        async for piece in raw_body(call):
            await _off_loop(file.write, piece)


async def _off_loop(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that reads or writes files.

    :raises StorageFailed: it cannot be done.
    """
    try:
        return await asyncio.to_thread(function, *arguments)
    except OSError as error:
        raise StorageFailed(f"The archive was not imported: {error}.") from error


def _read(place: Path, directory: Path) -> Mapping[str, Any]:
    """Unpack an archive; what its project file says, checked."""
    with opened(place) as archive:
        source = parsed(project_file(archive, LARGEST))
        unpack(archive, directory)
    return source


def _parsed(came: CameSnapshot) -> Mapping[str, Any]:
    with opened(came.place, came.what) as archive:
        return parsed(project_file(archive, LARGEST))


def _unpack(came: CameSnapshot, directory: Path) -> None:
    """Unpack the files of a snapshot, whose archive is then removed."""
    with opened(came.place, came.what) as archive:
        unpack(archive, directory)
    came.place.unlink()


def source_of_file(source: Mapping[str, Any]) -> dict[str, Any]:
    """A checked file as it is written."""
    return json.loads(json.dumps(source))  # type: ignore[no-any-return]


def records_of(state: ServerState, source: Mapping[str, Any]) -> dict[str, Any]:
    """The records of a project that a checked file describes."""
    topology = source["topology"]
    drawings = {
        f"{DRAWING}{each['drawing_id']}": {
            key: value for key, value in each.items() if key != "drawing_id"
        }
        for each in topology["drawings"]
    }
    nodes = {each["node_id"]: _node_record(state, each) for each in topology["nodes"]}
    return {
        "id": source["project_id"],
        "name": source["name"],
        "values": {KEY: {KEY: values_of(source), **drawings}},
        "nodes": list(nodes.values()),
        "links": [
            _link_record(link)
            for link in topology["links"]
            if all(_is_there(state, nodes, end) for end in link["nodes"])
        ],
    }


def _is_there(state: ServerState, nodes: Mapping[str, Mapping[str, Any]], end: Any) -> bool:
    """Whether a node has the port at which a link of a file ends, as far as its type tells."""
    node, place = nodes[end["node_id"].lower()], (end["adapter_number"], end["port_number"])
    kind = state.server.registry.node_types.get(node["type"])
    if kind is None or _has_port(kind, node["properties"], place):
        return True
    log.warning("the archive of %r: a link at port %s/%s is left out", node["name"], *place)
    return False


def _has_port(kind: NodeType, properties: Mapping[str, Any], place: tuple[int, int]) -> bool:
    adapter, port = place
    mapping = properties.get("ports_mapping")
    if isinstance(mapping, list):
        return adapter == 0 and port in {each.get("port_number") for each in mapping}
    own = kind.node_class
    if own.adapters is not Node.adapters or own.ports is not Node.ports:
        # Only the node itself can tell.
        return True
    return adapter < (kind.adapters or 1) and port < kind.ports


def _known(values: Mapping[str, Any], kind: NodeType) -> dict[str, Any]:
    """Those of some values that a type has a field for."""
    return sorted_properties(values, kind.create_schema().fields)[0]


def _node_record(state: ServerState, node: Mapping[str, Any]) -> dict[str, Any]:
    kind = state.server.registry.node_types.get(node["node_type"])
    node = node if kind is None else fitting(node, kind)
    properties, kept = {}, kept_of_file(node)
    if kind is not None:
        also = {key: node[key] for key in ALSO_TAKEN if node.get(key) is not None}
        given = {**(node.get("properties") or {}), **_known(also, kind)}
        taken, rest = sorted_properties(given, kind.create_schema().fields)
        kept.pop("console", None)
        kept["properties"] = rest
        texts = {file.text for file in kind.text_files}
        try:
            loaded = kind.create_schema().load({"name": node["name"], **taken})
        except ValidationError as error:
            raise Conflict(f"Node {node['name']!r:.80} is unfit: {reasons(error)}") from error
        properties = {key: loaded[key] for key in loaded.keys() - {"id", "name", "console", *texts}}
    layout = {key: node[key] for key in PLACED if node.get(key) is not None}
    return {
        "id": node["node_id"],
        "type": node["node_type"],
        "name": node["name"],
        "console": node.get("console") if kind is not None and kind.console else None,
        "properties": properties,
        "layout": {"z": 1, **layout},
        "values": {KEY: {KEY: kept}},
    }


def _link_record(link: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        "labels": [end.get("label") for end in link["nodes"]],
        **{key: link[key] for key in ("filters", "link_style") if link[key]},
    }
    return {
        "id": link["link_id"],
        "ends": [
            {
                "node_id": end["node_id"].lower(),
                "adapter": end["adapter_number"],
                "port": end["port_number"],
            }
            for end in link["nodes"]
        ],
        "suspended": link["suspend"],
        "filters": active(link["filters"]),
        "values": {KEY: {KEY: kept}},
    }


PROJECT = "/v2/projects/{project_id}"
YES = ("yes", "true", "1")
"""What a parameter of the query says that is meant."""


ROUTES = (
    Route(
        method="POST",
        path=f"{PROJECT}/duplicate",
        handler=duplicate,
        limit=LIMIT,
        closed_too=True,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a copy of a project, with ids of its own; it is then closed",
        body=DuplicateRequest,
        answer=ProjectAnswer,
        errors={409: "The name is taken, or a node must be stopped first", 507: "No room is left"},
    ),
    Route(
        method="GET",
        path=f"{PROJECT}/export",
        handler=export,
        stream=True,
        closed_too=True,
        any_ids=True,
        answer_type="application/gns3project",
        changes=False,
        tag="v2",
        summary="A project as an archive that other servers read",
        query={
            "compression": QueryParameter(
                f"one of {', '.join(COMPRESSIONS)}", kind="text", default="zip"
            ),
            "include_images": QueryParameter(
                "yes: images too that nodes name", kind="text", default="no"
            ),
            "include_snapshots": QueryParameter(
                "yes: snapshots too, each as an archive of its own", kind="text", default="no"
            ),
            "reset_mac_addresses": QueryParameter(
                "yes: without the MAC addresses of nodes", kind="text", default="no"
            ),
            "keep_compute_ids": QueryParameter(
                "yes or no; this server is the only compute", kind="text", default="no"
            ),
        },
        errors={409: "A node must be stopped first", 507: "No room is left for a copy"},
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/import",
        handler=import_archive,
        raw=True,
        closed_too=True,
        unknown_too=True,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a project of an archive; its nodes get new ids, and it is then closed",
        query={
            "name": QueryParameter("another name for it", kind="text"),
            "path": QueryParameter("where it is to be; local servers only", kind="text"),
        },
        answer=ProjectAnswer,
        errors={
            403: "A path is given, and the server is not local",
            409: "The archive is broken, or the id is taken",
            413: "An image is too large",
            507: "No room is left",
        },
    ),
)
