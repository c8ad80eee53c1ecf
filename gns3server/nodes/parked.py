"""A node whose type no plugin of this server offers: kept as it is until one does."""

from __future__ import annotations

from typing import NoReturn

from marshmallow import Schema

from gns3server.errors import Conflict
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.process_node import ProcessNode


class ParkedNode(ProcessNode):
    """Keeps its record, console, wires and directory; what still runs ends with its project."""

    async def launch_spec(self) -> NoReturn:
        """Always refuse.

        :raises Conflict: always; it names the type that is missing.
        """
        raise Conflict(
            f"{self.title} cannot be started: no plugin of this server offers its type "
            f"{self.type.name!r}. Install or repair the plugin, and start the server again."
        )


def parked_type(name: str) -> NodeType:
    """A node type whose name is all that is known."""
    return NodeType(
        name=name,
        title=name,
        node_class=ParkedNode,
        create_schema=Schema,
        update_schema=Schema,
        object_schema=Schema,
    )
