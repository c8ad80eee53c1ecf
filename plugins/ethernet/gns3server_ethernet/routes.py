"""Routes beside those that every node type has."""

from __future__ import annotations

from functools import partial
from typing import Any

from gns3server.plugin import Call, Route, Scope
from gns3server_ethernet.schemas import MacAddressSchema, PortCountersSchema

NOT_UP = {409: "It is not up", 503: "Its program does not answer"}


async def show_addresses(call: Call) -> Any:
    """The addresses that a switch knows."""
    return await ask(call, "addresses")


async def flush_addresses(call: Call) -> None:
    """Have a switch forget all addresses."""
    await ask(call, "flush")


async def show_counters(call: Call) -> Any:
    """What the ports have counted."""
    return await ask(call, "counters")


async def ask(call: Call, what: str) -> Any:
    """Ask the program of the node that a request is about."""
    return await call.node.ask(what)  # type: ignore[attr-defined]


def routes() -> list[Route]:
    """All of them."""
    return [
        *of_type("ethernet_switch", "Ethernet switch"),
        *of_type("ethernet_hub", "Ethernet hub"),
    ]


def of_type(name: str, title: str) -> list[Route]:
    """The routes of one node type."""
    node = f"/v1/projects/{{project_id}}/{name}/vms/{{vm_id}}"
    route = partial(Route, scope=Scope.NODE, node_type=name, tag=name, errors=NOT_UP)
    found = [
        route(
            method="GET",
            path=f"{node}/counters",
            handler=show_counters,
            changes=False,
            summary=f"What the ports of an {title} have counted",
            answer=PortCountersSchema,
            many=True,
        )
    ]
    if name == "ethernet_switch":
        found += [
            route(
                method="GET",
                path=f"{node}/mac_table",
                handler=show_addresses,
                changes=False,
                summary=f"The addresses that an {title} knows",
                answer=MacAddressSchema,
                many=True,
            ),
            route(
                method="POST",
                path=f"{node}/mac_table/flush",
                handler=flush_addresses,
                status=204,
                summary=f"Have an {title} forget all addresses",
            ),
        ]
    return found
