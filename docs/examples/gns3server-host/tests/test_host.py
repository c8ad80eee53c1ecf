"""Tests of the plugin, with a real server and real hosts."""

import asyncio
import socket

from gns3server.testing import NodeTypeConformance, PluginConformance, free_udp_port

ARP = bytes.fromhex("ffffffffffff 020000000009 0806 0001 0800 0604 0001 020000000009 0a000009")
PING = bytes.fromhex("02000a000001 020000000009 0800 4500001c 00000000 40010000 0a000009 0a000001")
ECHO = bytes.fromhex("0800 f7fd 0001 0001")


class TestPlugin(PluginConformance):
    plugin = "host"


class TestHost(NodeTypeConformance):
    node_type = "host"
    needs_wire = True


async def test_it_answers_pings(gns3_server, gns3_client, gns3_project):
    host = (await gns3_client.post(f"{gns3_project}/host/vms", {"name": "H"})).json["vm_id"]
    host = f"{gns3_project}/host/vms/{host}"
    with socket.socket(type=socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(10)
        lport, rport = free_udp_port(gns3_server), wire.getsockname()[1]
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": rport}
        assert (await gns3_client.post(f"{host}/adapters/0/ports/0/nio", nio)).status == 201
        assert (await gns3_client.post(f"{host}/start")).status == 204

        wire.sendto(ARP + bytes(6) + bytes([10, 0, 0, 1]), ("127.0.0.1", lport))
        answer = await asyncio.to_thread(wire.recv, 65535)
        assert answer[20:32] == bytes.fromhex("0002 02000a000001 0a000001")

        wire.sendto(PING + ECHO, ("127.0.0.1", lport))
        answer = await asyncio.to_thread(wire.recv, 65535)
        assert answer[26:] == bytes.fromhex("0a000001 0a000009 0000 fffd 0001 0001")
