"""Crash loops with the toy emulator, a short and a long one.

``benchmarks/crash_loop.py`` is the same with virtual PCs.
"""

import secrets

import pytest
from crashloop.emulators import Emulator
from crashloop.loop import CrashLoop
from labbench.box import Box


@pytest.fixture
def box(tmp_path):
    with Box(str(tmp_path)) as box:
        yield box


@pytest.fixture
def toy(box, install_plugins) -> Emulator:
    """The toy, as a plugin that a server of its own finds."""
    site = box.directory("site")
    armed = site / "armed"
    return Emulator(
        type="toy",
        armed=armed,
        text="note",
        allocation="ports/toy",
        values={"mode": f"assassin:{armed}"},
        environ={"PYTHONPATH": install_plugins(site, toy="toy_emulator")},
    )


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(10, marks=[pytest.mark.heavy, pytest.mark.timeout(180)]),
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_killed_servers_keep_what_they_promised(box, toy, kills):
    loop = CrashLoop(box, toy, secrets.randbelow(10**6), kills)
    summary = await loop.run()
    print(summary)
    assert summary.kills >= kills
    assert summary.phases["with a change in flight"] >= summary.kills / 2
    assert summary.phases["between spawn and record"] >= summary.kills / 10
    assert summary.adopted > 0
