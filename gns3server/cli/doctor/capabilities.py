"""What this machine can do, found out by trying each thing once. Nothing is left behind.

The constants are from linux/sched.h, linux/if_tun.h and linux/kvm.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import resource
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.writable import check_writable, existing
from gns3server.files.reasons import DIRECTORY_REMEDY, STATE_REMEDY, remedy
from gns3server.files.uploads import RESERVE
from gns3server.links.panel.frames import RECEIVE_BUFFER, ask_for_buffer, buffer_state
from gns3server.running.identity import read_boot_id
from gns3server.running.sockets import netlink_sockets
from gns3server.settings.schema import Settings
from gns3server.storage.state_lock import check_lock

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
IFREQ = struct.Struct("16sH22x")
KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01

FILES_WANTED = 4096
"""How many open files a server with a thousand nodes needs."""

MEBIBYTE = 1024 * 1024

BUFFER_SETTING = f"net.core.rmem_max={RECEIVE_BUFFER}"


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that a machine may be able to do.

    :param attempt: tries it, and may return a detail; raises OSError when it cannot be done.
    :param missed: what does not work without it.
    :param needed: whether the server itself needs it.
    """

    name: str
    attempt: Callable[[], str]
    missed: str
    needed: bool = False

    def tried(self) -> Finding:
        """The result of the attempt."""
        try:
            detail = self.attempt()
        except OSError as error:
            why = error.strerror or str(error)
            return Finding(f"{self.name}: no ({why})", problem=self.needed, advice=self.missed)
        return Finding(f"{self.name}: yes{f', {detail}' if detail else ''}")


def machine() -> Section:
    """The kernel, its limits, and what it allows us to do."""
    entries = [
        Finding(f"Linux {platform.release()}, Python {platform.python_version()}"),
        _limit("open files", resource.RLIMIT_NOFILE, FILES_WANTED),
        _limit("processes of this user", resource.RLIMIT_NPROC),
    ]
    # In a separate thread: only that thread leaves this machine's network, and then ends.
    with ThreadPoolExecutor(max_workers=1) as thread:
        entries += thread.map(Capability.tried, CAPABILITIES)
    return Section("This machine", entries)


def directories(settings: Settings) -> Iterator[Finding]:
    """Whether the server's directories are ours, can be written to, and have room."""
    for name in ("projects_path", "images_path", "state_path"):
        path: Path = getattr(settings, name)
        if name == "state_path" and path.is_dir() and path.stat().st_uid != os.geteuid():
            yield Finding(
                f"the state_path belongs to user {path.stat().st_uid}, not to user {os.geteuid()}",
                problem=True,
                advice="Run the doctor as that user: else processes without a record are not seen.",
            )
        place = existing(path)
        try:
            free = shutil.disk_usage(place).free
            check_writable(path)
            if name == "state_path":
                check_lock(path)
        except OSError as error:
            otherwise = STATE_REMEDY if name == "state_path" else DIRECTORY_REMEDY
            advice = f"{remedy(error, place, otherwise)} Or change {name}."
            yield Finding(f"{name}: {path}; cannot be used: {error.strerror}", True, advice)
            continue
        later = "" if place == path else "; it is created when it is needed"
        full = free < RESERVE
        yield Finding(
            f"{name}: {path}, {free // MEBIBYTE} MiB free{later}",
            problem=full,
            advice="Free some disk space." if full else "",
        )


def _limit(what: str, number: int, wanted: int = 0) -> Finding:
    _, hard = resource.getrlimit(number)
    if hard == resource.RLIM_INFINITY:
        return Finding(f"{what}: unlimited")
    low = hard < wanted
    return Finding(
        f"{what}: at most {hard}",
        problem=low,
        advice=f"Raise the limit to {wanted} or more: a running node takes up to three."
        if low
        else "",
    )


def _pidfd() -> str:
    process = os.pidfd_open(os.getpid())
    try:
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOHANG)
    finally:
        os.close(process)
    return ""


def _boot_id() -> str:
    read_boot_id()
    return ""


def _sock_diag() -> str:
    list(netlink_sockets("tcp"))
    return ""


def _privileged_port() -> str:
    for port in range(1023, 1000, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return ""
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _raw_socket() -> str:
    # Protocol 0: the socket is bound to nothing and receives nothing.
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    return ""


def _receive_buffer() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        ask_for_buffer(probe)
        granted, _ = buffer_state(probe)
    if granted < RECEIVE_BUFFER:
        raise OSError(errno.ENOBUFS, f"{granted // 1024} of {RECEIVE_BUFFER // 1024} KiB")
    return f"{granted // 1024} KiB"


def _network_namespace() -> str:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ""


def _tap() -> str:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUNSETIFF, IFREQ.pack(b"", IFF_TAP | IFF_NO_PI))
    finally:
        os.close(device)
    return ""


def _kvm() -> str:
    device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    try:
        version = fcntl.ioctl(device, KVM_GET_API_VERSION, 0)
        os.close(fcntl.ioctl(device, KVM_CREATE_VM, 0))
    finally:
        os.close(device)
    return f"API version {version}"


ONLY_SOME = "Only emulators that use it need it."

CAPABILITIES = (
    Capability(
        "process file descriptors", _pidfd, "The server needs Linux 5.4 or later.", needed=True
    ),
    Capability(
        "knowing processes again", _boot_id, "No node can be started without it.", needed=True
    ),
    Capability("listing sockets", _sock_diag, "Without it, starts take more CPU time."),
    Capability("ports below 1024", _privileged_port, ONLY_SOME),
    Capability(
        "raw sockets", _raw_socket, "Without them, links can only be captured if they are relayed."
    ),
    Capability(
        "large receive buffers",
        _receive_buffer,
        f"Without them, relayed links lose frames in bursts: run sysctl {BUFFER_SETTING} as root.",
    ),
    Capability("network namespaces", _network_namespace, ONLY_SOME),
    # After the namespace: if that can be made, the device never exists outside it.
    Capability("TAP devices", _tap, ONLY_SOME),
    Capability("KVM", _kvm, ONLY_SOME),
)
"""In the order in which they are tried."""
