"""The loop's nodes: an emulator that can be told to kill the server that starts it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRAPPER = """#!/bin/sh
# Started by the server for a node: kills it, once, at the moment when it knows nothing of us yet.
case " $* " in
*" -m "*) rm "{armed}" 2>/dev/null && kill -9 $PPID ;;
esac
exec vpcs "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A node type.

    :param armed: while this file exists, the next program of a node removes it and kills the
        server.
    :param place: the adapter and port of its wire.
    :param text: a property that is stored with a file or on its own.
    :param allocation: the path, below a project's, that allocates a UDP port.
    :param companions: how far from a UDP port others are kept free.
    :param values: what a create request needs besides the name.
    :param environ: what the server needs in its environment.
    :param second_api: the server has /v2 as well, and knows this type by the same name there.
    """

    type: str
    armed: Path
    text: str
    allocation: str
    place: str = "adapters/0/ports/0/nio"
    companions: tuple[int, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    second_api: bool = False

    def arm(self) -> None:
        """Have the next node kill the server between the node's spawn and the record of it."""
        self.armed.touch()

    def disarm(self) -> bool:
        """Cancel that; return whether no node had killed the server."""
        try:
            self.armed.unlink()
        except FileNotFoundError:
            return False
        return True


def virtual_pcs(directory: Path) -> Emulator:
    """VPCS, as the plugin starts it, through a wrapper in ``directory``."""
    # Imported when used: only those who run this need the plugin.
    from gns3server_vpcs.wires import RELAY_DISTANCE

    armed, wrapper = directory / "armed", directory / "vpcs-wrapper"
    wrapper.write_text(WRAPPER.format(armed=armed))
    os.chmod(wrapper, 0o700)
    return Emulator(
        type="vpcs",
        armed=armed,
        text="startup_script",
        allocation="ports/udp",
        companions=(RELAY_DISTANCE,),
        environ={"GNS3_VPCS_VPCS_PATH": str(wrapper)},
        second_api=True,
    )
