"""Making nodes of their records."""

from __future__ import annotations

import logging

from gns3server.nodes.node import Node
from gns3server.nodes.parked import ParkedNode, parked_type
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.registry import Registry
from gns3server.storage.rows import NodeRow

log = logging.getLogger(__name__)


def make_node(project: ProjectBase, registry: Registry, record: NodeRow) -> Node:
    """A node as it is on record, not yet one of its project's; parked if no plugin has its type."""
    node_type = registry.node_types.get(record.type)
    if node_type is None:
        log.warning(
            "project %s: VM %s (%s) is parked, no plugin offers its type %s",
            project.id,
            record.name,
            record.id,
            record.type,
        )
        node: Node = ParkedNode(project, parked_type(record.type), record)
    else:
        node = node_type.node_class(project, node_type, record)
    node.restored = True
    if not isinstance(node, ProcessNode):
        node.state = node.recorded
    return node
