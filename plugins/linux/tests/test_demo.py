"""``gns3server demo ospf``, to its end."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gns3server.testing import TEST_VARIABLE, processes_of


@pytest.mark.heavy
@pytest.mark.timeout(280)
def test_a_route_moves_and_no_ping_is_lost(gns3_settings, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "gns3server", "demo", "ospf"],
        env={**gns3_settings.environ, "TMPDIR": str(temporary)},
        cwd=gns3_settings.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = re.split(r"\$ kill -9 \d+", done.stdout)
    assert before.count("Full/") == 6
    for hop in ("10.13.0.3", "10.12.0.2", "10.23.0.3"):
        assert re.search(rf"^ *\d +{hop} ", before, re.MULTILINE), before
    pings, _, _ = after.partition("Another server")
    assert len(re.findall(r"icmp_seq=\d+ .*time=", pings)) == 60
    assert processes_of(gns3_settings.environ[TEST_VARIABLE]) == {}
    assert not [*temporary.iterdir()]
