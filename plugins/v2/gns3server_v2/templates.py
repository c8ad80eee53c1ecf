"""Templates: what clients make nodes from. Some are built in, others are users' own."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web
from marshmallow import INCLUDE, Schema, fields, post_load, validate

from gns3server.plugin import Call, Conflict, NodeType, NotFound, Route
from gns3server_v2.names import COMPUTE, NODE_TYPES, wire_type
from gns3server_v2.pictures import symbol_id
from gns3server_v2.shapes import Flag, Id, Words
from gns3server_v2.state import ServerState, state_of

STORED = "template/"
"""What the key of a user's template begins with, in the server's store."""

CATEGORIES = ("router", "switch", "guest", "firewall")

NAMESPACE = uuid.UUID("0f1b6c6e-5f5c-5b5e-9a8b-2d0a8f0d5c21")
"""What the ids of templates are made in that stand for other plugins' types."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A template that every server has.

    :param id: scripts know it by heart.
    :param names: the names of nodes that are made from it.
    :param settings: what it has besides.
    """

    id: str
    name: str
    type: str
    names: str
    symbol: str
    category: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def template(self) -> dict[str, Any]:
        """It in the words of the wire."""
        return {
            "template_id": self.id,
            "template_type": self.type,
            "name": self.name,
            "category": self.category,
            "symbol": symbol_id(self.symbol),
            "default_name_format": self.names,
            "builtin": True,
            "compute_id": None,
            **self.settings,
        }


BUILT_IN = (
    BuiltIn("39e257dc-8412-3174-b6b3-0ee3ed6a43e9", "Cloud", "cloud", "Cloud{0}", "cloud", "guest"),
    BuiltIn("df8f4ea9-33b7-3e96-86a2-c39bc9bb649c", "NAT", "nat", "NAT{0}", "nat", "guest"),
    BuiltIn(
        "19021f99-e36f-394d-b4a1-8aaa902ab9cc",
        "VPCS",
        "vpcs",
        "PC{0}",
        "vpcs_guest",
        "guest",
        {"properties": {"base_script_file": "vpcs_base_config.txt"}},
    ),
    BuiltIn(
        "1966b864-93e7-32d5-965f-001384eec461",
        "Ethernet switch",
        "ethernet_switch",
        "Switch{0}",
        "ethernet_switch",
        "switch",
        {"console_type": "none"},
    ),
    BuiltIn(
        "b4503ea9-d6b6-3695-9fe4-1db3b39290b0",
        "Ethernet hub",
        "ethernet_hub",
        "Hub{0}",
        "hub",
        "switch",
    ),
    BuiltIn(
        "dd0f6f3a-ba58-3249-81cb-a1dd88407a47",
        "Frame Relay switch",
        "frame_relay_switch",
        "FRSW{0}",
        "frame_relay_switch",
        "switch",
    ),
    BuiltIn(
        "aaa764e2-b383-300f-8a0e-3493bbfdb7d2",
        "ATM switch",
        "atm_switch",
        "ATMSW{0}",
        "atm_switch",
        "switch",
    ),
)

USUAL: Mapping[str, tuple[str, str, str]] = {
    "vpcs": ("guest", "vpcs_guest", "PC{0}"),
    "ethernet_switch": ("switch", "ethernet_switch", "Switch{0}"),
    "ethernet_hub": ("switch", "hub", "Hub{0}"),
    "cloud": ("guest", "cloud", "Cloud{0}"),
    "nat": ("guest", "nat", "NAT{0}"),
    "frame_relay_switch": ("switch", "frame_relay_switch", "FRSW{0}"),
    "atm_switch": ("switch", "atm_switch", "ATMSW{0}"),
    "docker": ("guest", "docker_guest", "{name}-{0}"),
    "qemu": ("guest", "qemu_guest", "{name}-{0}"),
    "dynamips": ("router", "router", "R{0}"),
    "iou": ("router", "router", "IOU{0}"),
}
"""Category, symbol and names of a user's template that does not say them, by its type."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "vpcs": {
        "base_script_file": "vpcs_base_config.txt",
        "console_type": "telnet",
        "console_auto_start": False,
    },
    "ethernet_switch": {"console_type": "none"},
    "qemu": {
        "usage": "",
        "qemu_path": "",
        "platform": "",
        "linked_clone": True,
        "ram": 256,
        "cpus": 1,
        "adapters": 1,
        "adapter_type": "e1000",
        "mac_address": "",
        "first_port_name": "",
        "port_name_format": "Ethernet{0}",
        "port_segment_size": 0,
        "console_type": "telnet",
        "console_auto_start": False,
        "boot_priority": "c",
        **{f"hd{disk}_disk_image": "" for disk in "abcd"},
        **{f"hd{disk}_disk_interface": "none" for disk in "abcd"},
        "cdrom_image": "",
        "initrd": "",
        "kernel_image": "",
        "bios_image": "",
        "kernel_command_line": "",
        "legacy_networking": False,
        "replicate_network_connection_state": True,
        "tpm": False,
        "uefi": False,
        "create_config_disk": False,
        "on_close": "power_off",
        "cpu_throttling": 0,
        "process_priority": "normal",
        "options": "",
        "custom_adapters": [],
    },
    "docker": {
        "usage": "",
        "adapters": 1,
        "start_command": "",
        "environment": "",
        "console_type": "telnet",
        "console_auto_start": False,
        "console_http_port": 80,
        "console_http_path": "/",
        "console_resolution": "1024x768",
        "extra_hosts": "",
        "extra_volumes": [],
        "mac_address": "",
        "custom_adapters": [],
    },
}
"""What the settings of a user's template are that it does not say, by its type."""

CORE_KEYS = frozenset(
    {
        "template_id",
        "template_type",
        "name",
        "category",
        "symbol",
        "default_name_format",
        "builtin",
        "compute_id",
    }
)
"""What every template has; the rest are the settings of its type."""


class TemplateUpdate(Schema):
    """What is to change about a template: settings of its type are at the top level."""

    class Meta:
        """Settings may have any name."""

        unknown = INCLUDE
        json_schema: ClassVar[Mapping[str, Any]] = {"additionalProperties": {}}

    template_id = Id(allow_none=True)
    template_type = fields.String(validate=validate.OneOf(NODE_TYPES))
    name = Words(least=1)
    category = fields.String(validate=validate.OneOf(CATEGORIES))
    symbol = Words(most=1024, allow_none=True)
    default_name_format = Words(least=1)
    compute_id = Words(allow_none=True)
    builtin = Flag()

    @post_load
    def check(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Leave out what a library has sent by mistake, and names that no symbol can have."""
        if not (values.get("symbol") or "").isprintable():
            del values["symbol"]
        return {key: value for key, value in values.items() if not key.startswith("__")}


class TemplateRequest(TemplateUpdate):
    """A new template."""

    template_type = fields.String(required=True, validate=validate.OneOf(NODE_TYPES))
    name = Words(required=True, least=1)


class TemplateAnswer(Schema):
    """A template, with the settings of its type at the top level."""

    class Meta:
        """Settings have any name."""

        json_schema: ClassVar[Mapping[str, Any]] = {
            "additionalProperties": {},
            "required": sorted(CORE_KEYS),
        }

    template_id = fields.String()
    template_type = fields.String()
    name = fields.String()
    category = fields.String()
    symbol = fields.String()
    default_name_format = fields.String()
    builtin = fields.Boolean()
    compute_id = fields.String(allow_none=True)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """All of it."""
        return list(obj) if many else dict(obj)


class Templates:
    """All templates of a server: those that are built in, and users' own, kept in its store."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._own: dict[str, dict[str, Any]] | None = None
        self._types: dict[str, str] = {}

    async def all(self) -> dict[str, dict[str, Any]]:
        """All templates by id."""
        own = await self._loaded()
        return {**self._built_in(), **own}

    async def get(self, template_id: str) -> dict[str, Any]:
        """A template.

        :raises NotFound: there is none of this id.
        """
        found = (await self.all()).get(template_id.lower())
        if found is None:
            raise NotFound(f"There is no template {template_id:.80}: check the id.")
        return found

    def kind(self, template: Mapping[str, Any]) -> NodeType:
        """The type of the nodes that are made from a template.

        :raises Conflict: no plugin of this server offers it.
        """
        types = self._state.server.registry.node_types
        name = self._types.get(template["template_id"], template["template_type"])
        kind = types.get(name)
        if kind is None:
            raise Conflict(
                f"Nodes of the type {name!r} cannot be made here: no plugin of this server offers "
                "it. Projects that hold some can be opened and kept."
            )
        return kind

    async def save(self, template: dict[str, Any], action: str) -> None:
        """Store a template of a user."""
        own, key = await self._loaded(), template["template_id"]
        await self._state.server.store.set(f"{STORED}{key}", template)
        own[key] = template
        self._state.tell(action, template)

    async def delete(self, template: Mapping[str, Any]) -> None:
        """Forget a template of a user.

        :raises Conflict: it is built in.
        """
        check_own(template)
        own, key = await self._loaded(), template["template_id"]
        await self._state.server.store.delete(f"{STORED}{key}")
        own.pop(key, None)
        self._state.tell("template.deleted", template)

    async def _loaded(self) -> dict[str, dict[str, Any]]:
        if self._own is None:
            kept = await self._state.server.store.items()
            found = {
                key.removeprefix(STORED): value
                for key, value in kept.items()
                if key.startswith(STORED)
            }
            # Another request may have read them meanwhile.
            self._own = self._own or found
        return self._own

    def _built_in(self) -> dict[str, dict[str, Any]]:
        found = {built_in.id: built_in.template() for built_in in BUILT_IN}
        for kind in self._state.server.registry.node_types.values():
            if kind.name in NODE_TYPES:
                continue
            shown = kind.presentation
            built_in = BuiltIn(
                str(uuid.uuid5(NAMESPACE, kind.name)),
                kind.title,
                wire_type(kind.name, kind),
                shown.name_format or f"{kind.title}-{{0}}",
                shown.symbol,
                shown.category,
            )
            self._types[built_in.id] = kind.name
            found[built_in.id] = built_in.template()
        return found


def check_own(template: Mapping[str, Any]) -> None:
    """Refuse to change a template that is built in.

    :raises Conflict: it is.
    """
    if template["builtin"]:
        raise Conflict(
            f"The template {template['name']!r} is built in and stays as it is: duplicate it, and "
            "change the copy."
        )


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A user's template with everything that it does not say."""
    kind = values["template_type"]
    category, symbol, names = USUAL.get(kind, ("guest", "computer", "{name}-{0}"))
    given = {key: value for key, value in values.items() if key != "symbol" or value}
    return {
        "category": category,
        "symbol": symbol_id(symbol),
        "default_name_format": names,
        "compute_id": COMPUTE,
        **SETTINGS.get(kind, {}),
        **given,
        "template_id": values.get("template_id") or str(uuid.uuid4()),
        "builtin": False,
    }


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """All templates."""
    return list((await state_of(call.server).templates.all()).values())


async def create(call: Call) -> Mapping[str, Any]:
    """Make a template."""
    templates, template = state_of(call.server).templates, complete(call.body)
    if template["template_id"] in await templates.all():
        raise Conflict(f"The template {template['template_id']} exists already: choose another id.")
    await templates.save(template, "template.created")
    return template


async def show(call: Call) -> web.StreamResponse:
    """Send a template, if the client does not have it already."""
    template = await state_of(call.server).templates.get(call.path["template_id"])
    content = json.dumps(template, indent=4, sort_keys=True).encode()
    tag = hashlib.sha256(content).hexdigest()
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if any(known.value in (tag, "*") for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, headers={**headers, "Content-Type": "application/json"})


async def update(call: Call) -> Mapping[str, Any]:
    """Change a template."""
    templates = state_of(call.server).templates
    old = await templates.get(call.path["template_id"])
    check_own(old)
    fixed = {key: old[key] for key in ("template_id", "builtin", "template_type")}
    new = {**old, **{key: value for key, value in call.body.items() if value is not None}, **fixed}
    await templates.save(new, "template.updated")
    return new


async def delete(call: Call) -> None:
    """Forget a template."""
    templates = state_of(call.server).templates
    await templates.delete(await templates.get(call.path["template_id"]))


async def duplicate(call: Call) -> Mapping[str, Any]:
    """Make a template like another one, which may be built in."""
    templates = state_of(call.server).templates
    old = await templates.get(call.path["template_id"])
    settings = {**SETTINGS.get(old["template_type"], {}), **old}
    new = complete({**settings, "name": f"{old['name']}-1", "template_id": None})
    new["compute_id"] = old["compute_id"] or COMPUTE
    await templates.save(new, "template.created")
    return new


FULL = {409: "It is built in, there are too many, or it is too long", 507: "It cannot be written"}
TEMPLATE = "/v2/templates/{template_id}"

ROUTES = (
    Route(
        method="GET",
        path="/v2/templates",
        handler=list_all,
        changes=False,
        tag="v2",
        summary="All templates",
        answer=TemplateAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path="/v2/templates",
        handler=create,
        status=201,
        tag="v2",
        summary="Make a template",
        body=TemplateRequest,
        answer=TemplateAnswer,
        errors=FULL,
    ),
    Route(
        method="GET",
        path=TEMPLATE,
        handler=show,
        changes=False,
        stream=True,
        tag="v2",
        summary="A template",
        answer=TemplateAnswer,
        errors={304: "The client has it"},
    ),
    Route(
        method="PUT",
        path=TEMPLATE,
        handler=update,
        tag="v2",
        summary="Change a template that is not built in",
        body=TemplateUpdate,
        answer=TemplateAnswer,
        errors=FULL,
    ),
    Route(
        method="DELETE",
        path=TEMPLATE,
        handler=delete,
        status=204,
        tag="v2",
        summary="Forget a template that is not built in",
        errors=FULL,
    ),
    Route(
        method="POST",
        path=f"{TEMPLATE}/duplicate",
        handler=duplicate,
        status=201,
        tag="v2",
        summary="Make a template like another one",
        answer=TemplateAnswer,
        errors=FULL,
    ),
)
