"""``gns3server demo vlans``, to its end and when it is interrupted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from gns3server.testing import TEST_VARIABLE, processes_of

REPLY = re.compile(r"icmp_seq=\d+ .*time=")
REQUEST = re.compile(r"10\.0\.0\.1 > 10\.0\.0\.2 +echo request")


@pytest.fixture
def demo(gns3_settings, tmp_path):
    """Runs the demo; everything that it has made is gone at its end."""

    @contextmanager
    def demo():
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        with subprocess.Popen(
            [sys.executable, "-m", "gns3server", "demo", "vlans"],
            env={**gns3_settings.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)},
            cwd=gns3_settings.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            yield running
        assert processes_of(gns3_settings.environ[TEST_VARIABLE]) == {}
        assert not [*Path(temporary).iterdir()]

    return demo


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("vpcs_program")
def test_pings_pass_in_a_vlan_before_and_after_the_server_is_killed(demo):
    with demo() as running:
        shown, _ = running.communicate()
        assert running.returncode == 0, shown
    before, after = re.split(r"\$ kill -9 \d+", shown)
    assert len(REPLY.findall(before)) == 6
    assert len(REPLY.findall(after)) == 6
    assert before.count("host (10.0.0.3) not reachable") == 2
    assert after.count("host (10.0.0.3) not reachable") == 2
    # As captured at the link of the second PC.
    assert len(REQUEST.findall(before)) == 3
    assert "10.0.0.1  who has 10.0.0.3" in before


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("vpcs_program")
@pytest.mark.parametrize("when", ["$ gns3server &", "$ kill -9 "])
def test_an_interrupted_demo_leaves_nothing_behind(demo, when):
    with demo() as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith(when):
                break
        running.send_signal(signal.SIGINT)
        assert "The demo was interrupted" in running.stdout.read()
    assert running.returncode == 130
