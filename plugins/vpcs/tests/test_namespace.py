"""What the session's test does on machines where it cannot have a network of its own."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from vpcs_kernel import foreign
from vpcs_namespace import own_network


@pytest.fixture
def port(gns3_settings):
    """A port that no other test uses."""
    return gns3_settings.server.console_start_port_range


@pytest.fixture(params=["missing", "refused"])
def no_namespace(request, monkeypatch, tmp_path):
    """A machine whose ``unshare`` is missing or not permitted."""
    if request.param == "refused":
        (tmp_path / "unshare").write_text("#!/bin/sh\necho not permitted >&2; exit 1\n")
        (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_free_ports_do_without_a_namespace(no_namespace, port):
    with own_network([("tcp", port), ("udp", port)]) as enter:
        assert enter == ()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_taken_ports_and_no_namespace_are_a_failure_that_says_so(no_namespace, port, kind):
    with (
        foreign(kind, port),
        pytest.raises(AssertionError, match=rf"\('{kind}', {port}\).*no network namespace"),
        own_network([("tcp", port), ("udp", port)]),
    ):
        pytest.fail("it claims to have the ports")


def test_a_namespace_has_ports_of_its_own(port):
    if shutil.which("unshare") is None:
        pytest.fail("This test needs unshare: sudo apt-get install util-linux")
    program = f"import socket; socket.create_server(('127.0.0.1', {port})); print('bound')"
    with foreign("tcp", port), own_network([]) as enter:
        done = subprocess.run(
            [*enter, shutil.which("python3") or "python3", "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("bound" in done.stdout) is bool(enter)
