"""A plugin with two kinds of images: programs and disks."""

from __future__ import annotations

from gns3server.plugin import (
    ImageKind,
    Node,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeType,
    NodeUpdateSchema,
    Route,
    hookimpl,
    image_routes,
)

ROM = ImageKind(name="ROM", directory="ROM", title="<toy> program", executable=True)
DISK = ImageKind(name="DISK", directory="disks", title="toy disk")


class ShelfCreateSchema(NodeCreateSchema):
    """A new shelf."""


class ShelfUpdateSchema(NodeUpdateSchema):
    """What can be changed."""


class ShelfObjectSchema(NodeObjectSchema):
    """A shelf."""


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """A node that uses both kinds."""
    return [
        NodeType(
            name="shelf",
            title="shelf",
            node_class=Node,
            create_schema=ShelfCreateSchema,
            update_schema=ShelfUpdateSchema,
            object_schema=ShelfObjectSchema,
            image_kinds=(ROM, DISK),
        )
    ]


@hookimpl
def gns3_routes() -> list[Route]:
    """The standard routes of one kind."""
    return list(image_routes(ROM, "/v1/shelf/vms", tag="shelf"))
