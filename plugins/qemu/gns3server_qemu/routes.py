"""Routes beside those that every node type has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gns3server.plugin import Call, Route, Scope, Server, image_routes
from gns3server_qemu.context import KIND, QemuContext
from gns3server_qemu.schemas import EmulatorSchema, ProgramSchema


def context_of(server: Server) -> QemuContext:
    """What all guests of a server share."""
    context: QemuContext = server.registry.node_types["qemu"].context
    return context


async def list_emulators(call: Call) -> Sequence[Mapping[str, str]]:
    """The emulators of this machine."""
    return await context_of(call.server).list_emulators(call.server.machine)


async def list_disk_tools(call: Call) -> Sequence[Mapping[str, str]]:
    """The programs of this machine that make disks."""
    return await context_of(call.server).list_disk_tools(call.server.machine)


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
            handler=list_emulators,
            summary="The emulators of this machine, with their versions",
        ),
        programs(
            path="/v1/qemu/img-binaries",
            handler=list_disk_tools,
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
