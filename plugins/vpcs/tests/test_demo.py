"""The demo, when nobody watches it to its end."""

from __future__ import annotations

import subprocess
import sys

from gns3server.testing import TEST_VARIABLE, processes_of


def test_a_demo_whose_output_is_closed_ends_quietly_with_its_nodes(gns3_settings):
    with subprocess.Popen(
        [sys.executable, "-m", "gns3server", "demo"],
        env={**gns3_settings.environ, "PYTHONUNBUFFERED": "1"},
        cwd=gns3_settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        # As ``head -1`` does.
        assert demo.stdout.readline().startswith(b"$ curl ")
        demo.stdout.close()
        assert demo.stderr.read() == b""
    # As shells say it of a program that SIGPIPE has ended.
    assert demo.returncode == 141
    assert processes_of(gns3_settings.environ[TEST_VARIABLE]) == {}
