"""Which sockets are bound to which ports, from the kernel's socket tables. Blocks.

The kernel is asked over netlink (sock_diag(7), inet_diag of linux/inet_diag.h), because reading
/proc/net/tcp walks the whole table of connections: 4 ms of CPU each time on a machine with 24 GB.
If it has no netlink, or does not let us use it, /proc/net/{tcp,tcp6,udp,udp6} is read (proc(5)).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from gns3server.running.procfs import read_bytes
from gns3server.running.spec import Port

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR = 2
NLMSG_DONE = 3
TCP_LISTEN = 10
SO_ACCEPTCON = 0x10000  # linux/net.h: the socket listens
ANSWER_LIMIT = 5.0  # seconds; the kernel answers at once or not at all

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states
_PORT = struct.Struct(">H")
_INODE = struct.Struct("=I")
_PORT_AT, _INODE_AT = 4, 68  # in inet_diag_msg
_UNAVAILABLE = {
    errno.ENOENT,
    errno.EPROTONOSUPPORT,
    errno.EAFNOSUPPORT,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EPERM,
    errno.EACCES,
}


class BoundSocket(NamedTuple):
    """A socket.

    :param number: of the local port that it is bound to.
    :param inode: the number by which a process's descriptor names it.
    """

    number: int
    inode: int


def bound_sockets(ports: Collection[Port]) -> dict[Port, set[int]]:
    """Return the inodes of the sockets bound to ports; free ports are left out.

    TCP sockets count only when they listen: connections share their server's port.

    :param ports: to look for.
    :raises OSError: the kernel does not list its sockets.
    """
    found: dict[Port, set[int]] = {}
    for kind in {port.kind for port in ports}:
        wanted = {port.number: port for port in ports if port.kind == kind}
        try:
            bound = list(netlink_sockets(kind))
        except OSError as error:
            if error.errno not in _UNAVAILABLE:
                raise
            bound = list(table_sockets(kind))
        for number, inode in bound:
            if number in wanted:
                found.setdefault(wanted[number], set()).add(inode)
    return found


def netlink_sockets(kind: str) -> Iterator[BoundSocket]:
    """Ask the kernel for all bound sockets of a kind (sock_diag(7)).

    :param kind: "tcp", for sockets that listen, or "udp".
    :raises OSError: the kernel does not list them.
    """
    protocol = socket.IPPROTO_TCP if kind == "tcp" else socket.IPPROTO_UDP
    states = 1 << TCP_LISTEN if kind == "tcp" else 0xFFFFFFFF
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as link:
        link.settimeout(ANSWER_LIMIT)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, protocol, 0, states)
            length = _HEADER.size + len(request)
            header = _HEADER.pack(length, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 0, 0)
            link.send(header + request)
            for message in _messages(link):
                (number,) = _PORT.unpack_from(message, _PORT_AT)
                (inode,) = _INODE.unpack_from(message, _INODE_AT)
                yield BoundSocket(number, inode)


def table_sockets(kind: str) -> Iterator[BoundSocket]:
    """Read all bound sockets of a kind from /proc (proc(5)).

    :param kind: as in :func:`netlink_sockets`.
    :raises OSError: they cannot be read.
    """
    for table in (kind, f"{kind}6"):
        try:
            lines = read_bytes(f"/proc/net/{table}").splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6 has no tcp6 and no udp6.
            continue
        for line in lines:
            fields = line.split(None, 10)
            if kind == "udp" or int(fields[3], 16) == TCP_LISTEN:
                yield BoundSocket(int(fields[1].rpartition(b":")[2], 16), int(fields[9]))


def listening_unix_sockets(pid: int) -> dict[str, set[int]]:
    """Return the inodes of the unix sockets that listen in a process's network namespace, by path.

    None when the process is gone. May raise OSError.
    """
    found: dict[str, set[int]] = {}
    try:
        lines = read_bytes(f"/proc/{pid}/net/unix").splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError):
        return found
    for line in lines:
        # Num RefCount Protocol Flags Type St Inode Path (unix(7), net/unix/af_unix.c)
        fields = line.split(None, 7)
        if len(fields) == 8 and int(fields[3], 16) & SO_ACCEPTCON:
            found.setdefault(os.fsdecode(fields[7]), set()).add(int(fields[6]))
    return found


def _messages(link: socket.socket) -> Iterator[memoryview]:
    """Return the payloads of a dump, up to its end."""
    while True:
        data = memoryview(link.recv(65536))
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            payload = data[_HEADER.size : length]
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                number = -struct.unpack_from("=i", payload)[0]
                raise OSError(number, "the kernel does not list its sockets")
            yield payload
            data = data[(length + 3) & ~3 :]
