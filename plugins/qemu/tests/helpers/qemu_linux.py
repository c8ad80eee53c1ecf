"""A Linux guest: the kernel of a Debian package, and a user space of one program."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)
"""What its network card needs, in the order of their loading."""

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
ip link set lo up
export PS1='guest> '
setsid cttyhack sh
poweroff -f
"""

DIRECTORY, CONSOLE, PROGRAM, FILE = 0o040755, 0o020600, 0o100755, 0o100644


def run(*argv: str, cwd: Path) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def fetch_kernel(folder: Path) -> Path:
    """Unpack the newest cloud kernel of this Debian below a folder, installing nothing."""
    needs = run("apt-cache", "depends", "linux-image-cloud-amd64", cwd=folder)
    found = re.search(r"Depends: (linux-image-\S+)", needs)
    assert found is not None, needs
    run("apt-get", "download", found[1], cwd=folder)
    (package,) = folder.glob("linux-image-*.deb")
    run("dpkg", "-x", str(package), "kernel", cwd=folder)
    return folder / "kernel"


def guest_files(folder: Path) -> tuple[bytes, bytes]:
    """A kernel, and an initramfs that shows a shell on the console."""
    kernel = fetch_kernel(folder)
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    busybox = shutil.which("busybox")
    assert busybox is not None, "This test needs busybox: sudo apt-get install busybox-static"
    entries: list[tuple[str, int, bytes]] = [
        *((name, DIRECTORY, b"") for name in ("bin", "dev", "proc", "sys", "modules")),
        ("dev/console", CONSOLE, b""),
        ("bin/busybox", PROGRAM, Path(busybox).read_bytes()),
        ("init", PROGRAM, INIT.format(modules=" ".join(MODULES)).encode()),
    ]
    for module in MODULES:
        (path,) = kernel.rglob(f"{module}.ko*")
        text = path.read_bytes() if path.suffix == ".ko" else unpacked(path)
        entries.append((f"modules/{module}.ko", FILE, text))
    return image.read_bytes(), gzip.compress(b"".join(archive(entries)), 6)


def unpacked(path: Path) -> bytes:
    """A module that is compressed, as those of later Debians are."""
    done = subprocess.run(["xz", "-dc", str(path)], capture_output=True, check=True, timeout=60)
    return done.stdout


def archive(entries: Sequence[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """A cpio archive, in the form that the kernel takes ("newc")."""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        device = (5, 1) if mode == CONSOLE else (0, 0)
        path = name.encode() + b"\0"
        numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % value for value in numbers) + path
        yield head + b"\0" * (-len(head) % 4)
        yield content + b"\0" * (-len(content) % 4)
