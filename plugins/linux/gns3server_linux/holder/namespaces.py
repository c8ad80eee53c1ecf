"""Makes the namespaces of a node, with its interfaces.

The process that calls :func:`build` becomes the *builder*'s parent, and stays where it is. The
builder goes into new namespaces, and makes process 1 of the node there, which has a network
namespace of its own besides: the builder's has nothing but the outer ends of the interfaces. The
builder then hands the sockets of these ends out, and ends.

An ordinary user needs a user namespace for that, in which they are root. FRR's users and groups
are all number 0 there: no other number means anything.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable

from gns3server_linux.holder import kernel, text
from gns3server_linux.holder.interface import outer_name, packet_socket

MTU = 9216
"""Of the outer ends: whatever MTU is set inside up to that works."""

OWN = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID
"""What every node has of its own besides networks."""


class CannotBuild(Exception):
    """The machine does not let us; the text says what and why."""


def build(
    addresses: tuple[str, ...], ip: str, inside: Callable[[], None]
) -> tuple[int, list[socket.socket]]:
    """Make a node that waits to be begun; returns its process 1, a child of this process, and the
    sockets of its interfaces.

    :param addresses: the MAC addresses of its interfaces.
    :param ip: the path of the program ``ip``.
    :param inside: what process 1 does; it begins before there are interfaces.
    :raises CannotBuild: the machine does not let us; nothing is left.
    """
    # The node's process 1 becomes our child when the builder ends.
    kernel.take_in_orphans()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        builder = os.fork()
        if builder == 0:
            _end_with(lambda: _build(addresses, ip, inside, theirs))
        theirs.close()
        said, descriptors, _, _ = socket.recv_fds(ours, 4096, len(addresses))
        os.waitpid(builder, 0)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    word, _, rest = said.decode(errors="replace").partition(" ")
    if word != "built":
        raise CannotBuild(rest or "the builder of its namespaces was killed")
    return int(rest), sockets


def _end_with(work: Callable[[], None]) -> None:
    """Do what a new process is there for, and end it."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _build(
    addresses: tuple[str, ...], ip: str, inside: Callable[[], None], result: socket.socket
) -> None:
    try:
        _leave()
        is_there, begun = os.pipe()
        pid = os.fork()
        if pid == 0:
            result.close()
            os.close(is_there)
            _end_with(lambda: _begin(begun, inside))
        os.close(begun)
        if not os.read(is_there, 1):
            raise CannotBuild("a network namespace cannot be made")
        try:
            _make_interfaces(addresses, ip)
            sockets = [packet_socket(number) for number in range(len(addresses))]
        except BaseException:
            os.kill(pid, 9)
            raise
        socket.send_fds(result, [f"built {pid}".encode()], [each.fileno() for each in sockets])
    except (OSError, CannotBuild) as error:
        result.send(f"failed {kernel.reason(error)}".encode())


def _begin(begun: int, inside: Callable[[], None]) -> None:
    kernel.unshare(kernel.CLONE_NEWNET)
    os.write(begun, b"1")
    os.close(begun)
    inside()


def _leave() -> None:
    """Go into new namespaces."""
    user, group = os.geteuid(), os.getegid()
    flags = OWN | kernel.CLONE_NEWNET
    kernel.unshare(flags if user == 0 else flags | kernel.CLONE_NEWUSER)
    if user != 0:
        text.write("/proc/self/setgroups", "deny")
        text.write("/proc/self/uid_map", f"0 {user} 1")
        text.write("/proc/self/gid_map", f"0 {group} 1")
    # Nothing but the node's own frames may come out of the outer ends.
    with contextlib.suppress(FileNotFoundError):
        text.write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")


def _make_interfaces(addresses: tuple[str, ...], ip: str) -> None:
    """Make the pairs: outer ends here, inner ends in process 1, as it is called here."""
    commands = "".join(
        f"link add {outer_name(number)} mtu {MTU} type veth "
        f"peer name eth{number} mtu 1500 address {address} netns 1\n"
        for number, address in enumerate(addresses)
    )
    # Files in memory: the program may print as much as it likes before it reads.
    given, said = os.memfd_create("commands"), os.memfd_create("said")
    os.write(given, commands.encode())
    os.lseek(given, 0, os.SEEK_SET)
    descriptors = [(os.POSIX_SPAWN_DUP2, each, at) for at, each in enumerate((given, said, said))]
    pid = os.posix_spawn(ip, [ip, "-batch", "-"], os.environ, file_actions=descriptors)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        why = os.pread(said, 4096, 0).decode(errors="replace").strip()
        raise CannotBuild(f"veth interfaces cannot be made: {why}")
