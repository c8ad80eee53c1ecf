"""Fixtures of the tests of virtual machines."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from qemu_guests import echo
from qemu_lab import Lab


@pytest.fixture(scope="session")
def qemu_program():
    """The path of the real QEMU; the test fails where there is none."""
    found = shutil.which("qemu-system-x86_64")
    if found is None:
        pytest.fail("This test needs QEMU: sudo apt-get install qemu-system-x86 qemu-utils")
    return found


@pytest.fixture(autouse=True)
def echo_image(gns3_settings):
    """An image of the test's server, ``echo.img``: a guest that repeats what is typed."""
    images = Path(gns3_settings.server.images_path) / "QEMU"
    images.mkdir(parents=True)
    path = images / "echo.img"
    path.write_bytes(echo())
    return path


@pytest.fixture
def gns3_settings(gns3_settings):
    """Without KVM: on a machine where it hangs, each test would find that out."""
    return replace(gns3_settings, environ={**gns3_settings.environ, "GNS3_QEMU_ENABLE_KVM": "no"})


@pytest.fixture
async def lab(gns3_server, qemu_program):
    """A project on a server."""
    assert qemu_program
    return await Lab.open(gns3_server)
