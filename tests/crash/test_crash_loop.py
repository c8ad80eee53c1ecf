"""A short crash loop; the long one is ``benchmarks/crash_loop.py``."""

import secrets

import pytest
from crashloop.emulators import Emulator
from crashloop.loop import CrashLoop
from labbench.box import Box

KILLS = 10


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


@pytest.mark.heavy
@pytest.mark.timeout(180)
async def test_killed_servers_keep_what_they_promised(box, toy):
    loop = CrashLoop(box, toy, secrets.randbelow(10**6), KILLS)
    summary = await loop.run()
    print(summary)
    assert summary.kills >= KILLS
    assert summary.phases["with a change in flight"] >= summary.kills / 2
    assert summary.phases["between spawn and record"] >= summary.kills / 10
    assert summary.adopted > 0
