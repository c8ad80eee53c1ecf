"""The wire shapes of hosts and routers."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from gns3server.plugin import NodeCreateSchema, NodeObjectSchema, NodeUpdateSchema
from gns3server_linux.holder.wanted import MOST_ADAPTERS

DAEMONS = (
    *("zebra", "mgmtd", "staticd", "ospfd", "ospf6d", "bgpd", "isisd", "ripd", "ripngd"),
    *("eigrpd", "babeld", "bfdd", "ldpd", "nhrpd", "pathd", "pbrd", "pimd", "pim6d", "vrrpd"),
)
"""Those of FRR that a router may run, in the order in which they are started."""

USUAL_DAEMONS = ("zebra", "staticd", "ospfd")

USUAL_ADAPTERS = {"linux": 1, "frr": 4}

SYSCTL = re.compile(r"net\.[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)+")
"""Those of a network namespace; no others are a node's own."""

MOST_SYSCTLS = 64


def adapters_field(**kwargs: Any) -> fields.Integer:
    """How many interfaces there are, ``eth0`` and so on."""
    return fields.Integer(strict=True, validate=validate.Range(min=1, max=MOST_ADAPTERS), **kwargs)


def sysctls_field(**kwargs: Any) -> fields.Dict:
    """Values of the kernel by name, such as ``net.ipv4.ip_forward``."""
    return fields.Dict(
        keys=fields.String(validate=validate.Regexp(rf"\A{SYSCTL.pattern}\Z")),
        values=fields.String(validate=validate.Length(min=1, max=256)),
        validate=validate.Length(max=MOST_SYSCTLS),
        metadata={"example": {"net.ipv4.ip_forward": "1"}},
        **kwargs,
    )


def memory_field(**kwargs: Any) -> fields.Integer:
    """How many MiB the node may have; 0 for no limit."""
    return fields.Integer(strict=True, validate=validate.Range(min=0, max=1024 * 1024), **kwargs)


def daemons_field(**kwargs: Any) -> fields.List[str]:
    """FRR's daemons by name; ``zebra`` always runs, whether it is named or not."""
    return fields.List(
        fields.String(validate=validate.OneOf(DAEMONS)),
        validate=validate.Length(max=len(DAEMONS)),
        metadata={"example": ["zebra", "staticd", "ospfd"]},
        **kwargs,
    )


def text_field(what: str, **kwargs: Any) -> fields.String:
    """The text of a file."""
    return fields.String(allow_none=True, metadata={"example": what}, **kwargs)


def without_nulls(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Leave null texts out: clients send them for a node whose files they do not know."""
    return {k: v for k, v in values.items() if k not in names or v is not None}


class LinuxCreateSchema(NodeCreateSchema):
    """A new host."""

    adapters = adapters_field(load_default=USUAL_ADAPTERS["linux"])
    sysctls = sysctls_field(load_default=dict)
    memory_limit = memory_field(load_default=0)
    startup_script = text_field("ip address add 10.0.0.1/24 dev eth0\n")

    @post_load
    def null_is_no_text(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        return without_nulls(values, "startup_script")


class LinuxUpdateSchema(NodeUpdateSchema):
    """What of a host can be changed. A script counts from the next start on."""

    adapters = adapters_field()
    sysctls = sysctls_field()
    memory_limit = memory_field()
    startup_script = text_field("ip address add 10.0.0.1/24 dev eth0\n")


class LinuxObjectSchema(NodeObjectSchema):
    """A host. ``startup_script`` is its file ``startup.sh``, if there is one."""

    adapters = fields.Integer(required=True)
    sysctls = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    memory_limit = fields.Integer(required=True)
    startup_script = fields.String(required=True, allow_none=True)


class FrrCreateSchema(NodeCreateSchema):
    """A new router. ``config`` is the text of its file ``frr.conf``."""

    adapters = adapters_field(load_default=USUAL_ADAPTERS["frr"])
    sysctls = sysctls_field(load_default=dict)
    memory_limit = memory_field(load_default=0)
    startup_script = text_field("ip address add 10.0.0.1/24 dev eth0\n")
    daemons = daemons_field(load_default=lambda: list(USUAL_DAEMONS))
    config = text_field("interface eth0\n ip address 10.0.0.1/24\n")

    @post_load
    def null_is_no_text(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        return without_nulls(values, "startup_script", "config")


class FrrUpdateSchema(NodeUpdateSchema):
    """What of a router can be changed."""

    adapters = adapters_field()
    sysctls = sysctls_field()
    memory_limit = memory_field()
    startup_script = text_field("ip address add 10.0.0.1/24 dev eth0\n")
    daemons = daemons_field()
    config = text_field("interface eth0\n ip address 10.0.0.1/24\n")


class FrrObjectSchema(LinuxObjectSchema):
    """A router. Its configuration, which changes as it runs, is at ``config`` below it."""

    daemons = fields.List(fields.String(), required=True)


class InterfaceCountersSchema(Schema):
    """What an interface has counted since the node has started.

    ``lost_frames`` are those that whoever comes next did not take.
    """

    adapter_number = fields.Integer(required=True)
    name = fields.String(required=True)
    wired = fields.Boolean(required=True)
    received_frames = fields.Integer(required=True)
    sent_frames = fields.Integer(required=True)
    lost_frames = fields.Integer(required=True)
