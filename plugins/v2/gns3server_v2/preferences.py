"""What clients ask for that this server has nothing of: answers that keep them whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from marshmallow import INCLUDE, Schema, fields

from gns3server.plugin import Call, Conflict, Route
from gns3server_v2.shapes import Answer, Flag, Request, Words

KVM = "kvm"
"""What clients call the accelerator that they ask for."""

MACHINE: Mapping[str, Any] = {
    "enable": False,
    "engine": "vmware",
    "vmname": None,
    "headless": False,
    "when_exit": "stop",
    "ram": 2048,
    "vcpus": 1,
    "port": 80,
    "allocate_vcpus_ram": True,
}
"""The settings of a virtual machine that would run nodes: there is none, and it is switched off."""


class AnythingRequest(Schema):
    """Whatever a preference page sends."""

    class Meta:
        """Any keys."""

        unknown = INCLUDE
        json_schema: ClassVar[Mapping[str, Any]] = {"additionalProperties": {}}


class AnythingAnswer(Answer):
    """What a preference page shows."""

    class Meta:
        """Any keys."""

        json_schema: ClassVar[Mapping[str, Any]] = {"additionalProperties": {}}

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """All of it."""
        return list(obj) if many else dict(obj)


class LicenseShape(Request):
    """The licence of an emulator that this server does not run."""

    iourc_content = Words(load_default="")
    license_check = Flag(load_default=True)


class ComputeRequest(Request):
    """Another server."""

    host = Words(required=True)
    port = fields.Integer(required=True)
    protocol = Words(load_default="http")


async def nothing(_call: Call) -> list[Mapping[str, Any]]:
    """An empty list."""
    return []


async def list_programs(call: Call) -> Sequence[Mapping[str, str]]:
    """The programs that an emulator's nodes can use; none if no plugin lists them."""
    *_, emulator, word = call.route.path.split("/")
    kind = call.server.registry.node_types.get(emulator)
    listing = None if kind is None else kind.programs.get(word)
    return [] if listing is None else await listing(call.server.machine)


async def show_machine(_call: Call) -> Mapping[str, Any]:
    """The virtual machine for nodes, which is switched off."""
    return MACHINE


async def change_machine(call: Call) -> Mapping[str, Any]:
    """Take note of settings that change nothing; refuse to switch on what is not there."""
    if call.body.get("enable") is True:
        raise Conflict("This server runs all nodes itself, and has no virtual machine for them.")
    return MACHINE


async def show_license(_call: Call) -> Mapping[str, Any]:
    """No licence."""
    return {"iourc_content": "", "license_check": True}


async def change_license(call: Call) -> Mapping[str, Any]:
    """Take note of a licence that nothing here uses."""
    return {"iourc_content": "", "license_check": call.body["license_check"]}


async def debug(_call: Call) -> None:
    """Nothing is written: the server's log has it all."""


async def refuse_emulator(_call: Call) -> None:
    """Refuse what only an emulator can do that no plugin offers.

    :raises Conflict: always.
    """
    raise Conflict("No plugin of this server runs that emulator: its nodes can only be kept.")


async def show_capabilities(call: Call) -> Mapping[str, Any]:
    """The platforms whose nodes the machine runs with an accelerator, which clients call kvm."""
    kind = call.server.registry.node_types.get(call.route.path.split("/")[-2])
    listing = None if kind is None else kind.accelerators.get(KVM)
    return {KVM: [] if listing is None else await listing(call.server.machine)}


async def list_interfaces(call: Call) -> list[Mapping[str, Any]]:
    """The network interfaces of the machine, in the words of these clients."""
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "ip_address": each["ip_address"],
            "type": "ethernet",
            "special": False,
        }
        for each in await call.server.machine.list_interfaces()
    ]


async def refuse_compute(_call: Call) -> None:
    """Refuse another compute.

    :raises Conflict: always.
    """
    raise Conflict(
        "This server runs all nodes itself: no other compute can be added, changed or removed."
    )


def _stub(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    changes = method != "GET"
    return Route(
        method=method,
        path=f"/v2/{path}",
        handler=handler,
        changes=changes,
        tag="v2",
        summary=summary,
        **more,
    )


LISTS = (
    ("appliances", "Appliances: there are none"),
    ("gns3vm/engines", "Engines of virtual machines for nodes: there are none"),
    ("gns3vm/engines/{engine}/vms", "Virtual machines for nodes: there are none"),
    ("computes/{compute_id}/virtualbox/vms", "Virtual machines: there are none"),
    ("computes/{compute_id}/vmware/vms", "Virtual machines: there are none"),
)

PROGRAMS = (
    ("computes/{compute_id}/qemu/binaries", "Programs of an emulator"),
    ("computes/{compute_id}/qemu/img-binaries", "Programs for disks"),
)

REFUSED_PATHS = (
    ("computes/{compute_id}/qemu/img", "Refuse to make a disk"),
    ("computes/{compute_id}/auto_idlepc", "Refuse to look for an idle value"),
    ("projects/{project_id}/nodes/{node_id}/resize_disk", "Refuse to resize a disk"),
)
"""What clients do with emulators that no plugin of this server runs."""

REFUSED = {409: "This server runs all nodes itself"}
NO_EMULATOR = {409: "No plugin runs that emulator"}

ROUTES = (
    *(
        _stub("GET", path, list_programs, summary, answer=AnythingAnswer, many=True)
        for path, summary in PROGRAMS
    ),
    *(
        _stub("GET", path, nothing, summary, answer=AnythingAnswer, many=True)
        for path, summary in LISTS
    ),
    *(
        _stub("POST", path, refuse_emulator, summary, status=201, errors=NO_EMULATOR, any_ids=True)
        for path, summary in REFUSED_PATHS
    ),
    _stub(
        "PUT",
        "computes/{compute_id}/qemu/img",
        refuse_emulator,
        "Refuse to resize a disk",
        status=201,
        errors=NO_EMULATOR,
    ),
    *(
        _stub(
            "GET",
            f"projects/{{project_id}}/nodes/{{node_id}}/dynamips/{word}",
            refuse_emulator,
            "Refuse to look for idle values",
            errors=NO_EMULATOR,
            any_ids=True,
        )
        for word in ("auto_idlepc", "idlepc_proposals")
    ),
    _stub(
        "GET",
        "computes/{compute_id}/qemu/capabilities",
        show_capabilities,
        "The platforms whose nodes the machine runs with an accelerator",
        answer=AnythingAnswer,
    ),
    _stub(
        "GET",
        "computes/{compute_id}/network/interfaces",
        list_interfaces,
        "The network interfaces of the machine",
        answer=AnythingAnswer,
        many=True,
    ),
    _stub("GET", "gns3vm", show_machine, "A virtual machine for nodes", answer=AnythingAnswer),
    _stub(
        "PUT",
        "gns3vm",
        change_machine,
        "Settings of a virtual machine for nodes, which change nothing",
        status=201,
        body=AnythingRequest,
        answer=AnythingAnswer,
        errors=REFUSED,
    ),
    _stub("GET", "iou_license", show_license, "A licence that is not used", answer=LicenseShape),
    _stub(
        "PUT",
        "iou_license",
        change_license,
        "Keep no licence",
        status=201,
        body=LicenseShape,
        answer=LicenseShape,
    ),
    _stub("POST", "debug", debug, "Write nothing", status=201),
    _stub(
        "POST",
        "computes",
        refuse_compute,
        "Refuse another compute",
        status=201,
        body=ComputeRequest,
        errors=REFUSED,
    ),
    _stub(
        "PUT",
        "computes/{compute_id}",
        refuse_compute,
        "Refuse to change a compute",
        body=AnythingRequest,
        errors=REFUSED,
    ),
    _stub(
        "DELETE",
        "computes/{compute_id}",
        refuse_compute,
        "Refuse to remove a compute",
        status=204,
        errors=REFUSED,
    ),
)
