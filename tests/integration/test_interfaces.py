"""The network interfaces of the machine."""

from __future__ import annotations

import socket

import pytest
from faults import interfaces

from gns3server.running.network import is_interface_up


@pytest.mark.statement("NET-01", "NET-02")
async def test_interfaces_are_listed_with_their_first_address(client):
    answer = await client.get("/v1/interfaces")
    assert answer.status == 200
    assert {"id": "lo", "name": "lo", "ip_address": "127.0.0.1"} in answer.json
    assert [i["name"] for i in answer.json] == [name for _, name in socket.if_nameindex()]
    for interface in answer.json:
        assert interface["id"] == interface["name"]
        assert interface["ip_address"] == "" or socket.inet_aton(interface["ip_address"])


@pytest.mark.statement("NET-03")
async def test_lo_is_up_and_an_unknown_interface_is_not():
    assert await is_interface_up("lo")
    for name in ("no-such-interface", "", "lo0" * 100, "l\0o"):
        assert not await is_interface_up(name)


async def test_an_interface_is_up_when_it_is_switched_on_even_if_nothing_is_plugged_in(
    monkeypatch,
):
    interfaces(monkeypatch, idle="up,broadcast,multicast", off="broadcast,multicast")
    assert await is_interface_up("idle")
    assert not await is_interface_up("off")
