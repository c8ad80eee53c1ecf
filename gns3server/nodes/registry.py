"""The node types and NIO types that the plugins of this server offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.errors import Conflict
from gns3server.files.images import ImageKind
from gns3server.nodes.nio import NioType
from gns3server.nodes.node_type import NodeType


class Registry:
    """Node types and NIO types by name. Only the plugin host fills it."""

    def __init__(self) -> None:
        self.node_types: dict[str, NodeType] = {}
        self.nio_types: dict[str, NioType] = {}
        self.plugins: dict[str, str] = {}
        """Which plugin offers each of these."""
        self.settings: dict[str, Mapping[str, Any]] = {}
        """By node type: its plugin's settings section, always the newest."""

    def nio_type(self, name: str) -> NioType:
        """A NIO type by its wire name.

        :raises Conflict: no plugin of this server offers it.
        """
        try:
            return self.nio_types[name]
        except KeyError:
            known = ", ".join(sorted(self.nio_types)) or "none"
            raise Conflict(
                f"NIO of type {name} is not supported: no plugin of this server offers it. "
                f"The server has: {known}."
            ) from None

    def image_kinds(self) -> dict[str, ImageKind]:
        """The kinds of images that any node type uses, by name."""
        return {
            image.name: image for kind in self.node_types.values() for image in kind.image_kinds
        }

    def udp_companions(self) -> set[int]:
        """The distances at which any node type binds further UDP ports."""
        return {distance for kind in self.node_types.values() for distance in kind.udp_companions}
