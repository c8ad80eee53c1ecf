"""Hosts that answer pings."""

import socket
import sys
from inspect import getsource

from gns3server import plugin


def reply(frame, mac, ip):
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == ip:  # ARP
        return frame[6:12] + mac + frame[12:20] + b"\0\2" + mac + ip + frame[22:32]
    if frame[12:14] == b"\x08\0" and frame[23:24] == b"\1" and frame[30:35] == ip + b"\x08":
        total = int.from_bytes(frame[36:38], "big") + 0x0800  # ICMP: type 8 becomes type 0
        check = (total % 0x10000 + total // 0x10000).to_bytes(2, "big")
        return frame[6:12] + mac + frame[12:26] + ip + frame[26:30] + b"\0\0" + check + frame[38:]
    return None


def main(address, lport, rhost, rport):
    ip = socket.inet_aton(address)
    with socket.socket(type=socket.SOCK_DGRAM) as wire:
        wire.bind(("", int(lport)))
        while True:
            if answer := reply(wire.recv(65535), b"\2\0" + ip, ip):
                wire.sendto(answer, (rhost, int(rport)))


PROGRAM = f"import socket, sys\n{getsource(reply)}{getsource(main)}main(*sys.argv[1:])"


class Host(plugin.ProcessNode):
    async def launch_spec(self):
        nio = self.nio()
        if nio is None:
            raise plugin.Conflict(f"Host {self.name!r} has no wire: plug one in.")
        wire = [str(nio.values[name]) for name in ("lport", "rhost", "rport")]
        return plugin.LaunchSpec(
            argv=(sys.executable, "-c", PROGRAM, f"10.0.0.{self.number}", *wire),
            cwd=str(self.directory),
            ports=(plugin.Port("udp", nio.values["lport"]),),
        )


@plugin.hookimpl
def gns3_node_types():
    return [
        plugin.NodeType(
            name="host",
            title="host",
            node_class=Host,
            create_schema=plugin.NodeCreateSchema,
            update_schema=plugin.NodeUpdateSchema,
            object_schema=plugin.NodeObjectSchema,
            nio_types=("nio_udp",),
            numbers=range(1, 255),
            console=False,
        )
    ]
