"""A node type that takes UDP tunnels and runs nothing of interest: NIOs need a node."""

from __future__ import annotations

import sys

from gns3server.plugin import (
    LaunchSpec,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeType,
    NodeUpdateSchema,
    Port,
    ProcessNode,
    hookimpl,
)

PROGRAM = """
import signal, socket, sys
wire = socket.socket(type=socket.SOCK_DGRAM)
wire.bind(("0.0.0.0", int(sys.argv[1])))
signal.pause()
"""


class ToyNode(ProcessNode):
    """Binds the local port of its tunnel."""

    async def launch_spec(self) -> LaunchSpec:
        """The port, and nothing else."""
        nio = self.nio()
        assert nio is not None
        lport = nio.values["lport"]
        return LaunchSpec(
            argv=(sys.executable, "-IS", "-c", PROGRAM, str(lport)),
            cwd=str(self.directory),
            ports=(Port("udp", lport),),
        )


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """A toy with two ports."""
    return [
        NodeType(
            name="toy",
            title="toy",
            node_class=ToyNode,
            create_schema=NodeCreateSchema,
            update_schema=NodeUpdateSchema,
            object_schema=NodeObjectSchema,
            nio_types=("nio_udp",),
            ports=2,
        )
    ]
