"""The ports of a node as clients draw and name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gns3server.plugin import NodeType, NodeView, Presentation

ETHERNET = {"Ethernet": "DLT_EN10MB"}
"""How frames of an Ethernet port are captured, as libpcap calls it."""

MOST_PORTS = 4096
"""Ports that are shown of one node."""

PLAIN = Presentation()


def ports_of(
    view: NodeView,
    kind: NodeType | None,
    kept: Mapping[str, Any],
    used: Iterable[tuple[int, int]] = (),
) -> list[dict[str, Any]]:
    """The ports of a node.

    :param kind: its type; ``None`` if no plugin offers it.
    :param kept: what clients have said of the node.
    :param used: the ports, by adapter and port, at which links end.
    """
    if kind is None:
        return foreign_ports(kept, used)
    mapping = view.properties.get("ports_mapping")
    if isinstance(mapping, list):
        return _mapped(mapping, kind.presentation)
    places = [(a, p) for a in range(view.adapters or 1) for p in range(view.ports)]
    return _named(places, kind.presentation, kept)


def foreign_ports(
    kept: Mapping[str, Any], used: Iterable[tuple[int, int]] = ()
) -> list[dict[str, Any]]:
    """The ports of a node whose type is not known here, as far as its properties tell."""
    properties = kept.get("properties", {})
    mapping = properties.get("ports_mapping")
    if isinstance(mapping, list):
        return _mapped(mapping, PLAIN)
    adapters = properties.get("adapters")
    count = adapters if isinstance(adapters, int) else 1
    guessed = {(adapter, 0) for adapter in range(min(max(count, 1), MOST_PORTS))}
    return _named(sorted({*used, *guessed}), PLAIN, kept)


def _named(
    places: list[tuple[int, int]], shown: Presentation, kept: Mapping[str, Any]
) -> list[dict[str, Any]]:
    flat = len({adapter for adapter, _ in places}) < 2
    single = len({port for _, port in places}) < 2
    segment = kept.get("port_segment_size") or 0
    pattern = kept.get("port_name_format") or shown.port_name
    own = _own_names(kept)
    ports: list[dict[str, Any]] = []
    for index, (adapter, port) in enumerate(places[:MOST_PORTS]):
        number: int | str = port if flat else adapter if single else f"{adapter}/{port}"
        words = {"0": number, "1": adapter, "port0": index, "port1": index + 1}
        if segment and isinstance(number, int):
            words |= {"0": number % segment, "1": number // segment}
        name, short = (
            _filled(pattern, words),
            _filled(shown.short_port_name, {**words, "0": number}),
        )
        if not ports and kept.get("first_port_name"):
            name = short = kept["first_port_name"]
        if adapter in own:
            name = short = own[adapter]
        ports.append(_port(name, short, adapter, port))
    return ports


def _own_names(kept: Mapping[str, Any]) -> dict[int, str]:
    """The names of ports that clients have given them one by one, by adapter."""
    return {
        each["adapter_number"]: each["port_name"]
        for each in kept.get("custom_adapters") or ()
        if isinstance(each, Mapping)
        and isinstance(each.get("adapter_number"), int)
        and isinstance(each.get("port_name"), str)
        and each["port_name"]
    }


def _filled(pattern: str, words: Mapping[str, object]) -> str:
    """A pattern with words in place of their names in braces."""
    for name, word in words.items():
        pattern = pattern.replace(f"{{{name}}}", str(word))
    return pattern


def _mapped(mapping: list[Any], shown: Presentation) -> list[dict[str, Any]]:
    """The ports of a node that has a list of them."""
    ports = []
    for entry in mapping[:MOST_PORTS]:
        if isinstance(entry, Mapping) and isinstance(entry.get("port_number"), int):
            number = entry["port_number"]
            short = shown.short_port_name.replace("{0}", str(number)).replace("{1}", "0")
            ports.append(_port(str(entry.get("name") or short), short, 0, number))
    return ports


def _port(name: str, short: str, adapter: int, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "short_name": short,
        "adapter_number": adapter,
        "port_number": port,
        "link_type": "ethernet",
        "data_link_types": ETHERNET,
    }
