"""A short crash loop; the long one is ``benchmarks/crash_loop.py``."""

import secrets
from pathlib import Path

import pytest
from crashloop.emulators import Emulator
from crashloop.loop import CrashLoop
from labbench.box import Box

TOYS = Path(__file__).parents[1] / "toys"
KILLS = 10


@pytest.fixture
def box(tmp_path):
    with Box(str(tmp_path)) as box:
        yield box


@pytest.fixture
def toy(box) -> Emulator:
    """The toy, as a plugin that a server of its own finds."""
    site = box.directory("site")
    info = site / "toys-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gns3server.plugins]\ntoy = toy_emulator\n")
    armed = site / "armed"
    return Emulator(
        type="toy",
        armed=armed,
        text="note",
        allocation="ports/toy",
        values={"mode": f"assassin:{armed}"},
        environ={"PYTHONPATH": f"{TOYS}:{site}"},
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
