"""Routes beside those that every node type has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gns3server.plugin import Call, Route, Scope, Server, image_routes
from gns3server_qemu.context import KIND, QemuContext
from gns3server_qemu.programs import DISK_TOOLS, EMULATORS
from gns3server_qemu.schemas import EmulatorSchema, ProgramSchema


def context_of(server: Server) -> QemuContext:
    """What all guests of a server share."""
    context: QemuContext = server.registry.node_types["qemu"].context
    return context


async def list_programs(names: re.Pattern[str], call: Call) -> Sequence[Mapping[str, str]]:
    """QEMU's programs of this machine."""
    found = await context_of(call.server).programs.list_all(call.server.machine, names)
    return [{"path": each.path, "version": each.version} for each in found]


async def show_emulator(call: Call) -> Any:
    """What runs for a guest."""
    return await call.node.emulator()  # type: ignore[attr-defined]


def routes() -> list[Route]:
    """All of them."""
    programs = partial(
        Route, method="GET", changes=False, tag="qemu", answer=ProgramSchema, many=True
    )
    return [
        *image_routes(KIND, "/v1/qemu/vms", tag="qemu"),
        programs(
            path="/v1/qemu/binaries",
            handler=partial(list_programs, EMULATORS),
            summary="The emulators of this machine, with their versions",
        ),
        programs(
            path="/v1/qemu/img-binaries",
            handler=partial(list_programs, DISK_TOOLS),
            summary="The programs of this machine that make disks, with their versions",
        ),
        Route(
            method="GET",
            path="/v1/projects/{project_id}/qemu/vms/{vm_id}/emulator",
            handler=show_emulator,
            scope=Scope.NODE,
            node_type="qemu",
            changes=False,
            tag="qemu",
            summary="What runs for a virtual machine",
            answer=EmulatorSchema,
        ),
    ]
