"""Crash loops with the toy emulator, a short and a long one.

``benchmarks/crash_loop.py`` is the same with virtual PCs.
"""

import secrets
import socket
from contextlib import closing

import psutil
import pytest
from crashloop.checks import as_seen
from crashloop.client import Violation
from crashloop.emulators import Emulator
from crashloop.loop import CrashLoop
from crashloop.model import NodeState
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
        companions=(9,),
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


async def test_a_violation_leaves_no_server_running(box, toy):
    class Doubtful(CrashLoop):
        async def check(self, *_):
            raise Violation("made up")

    with pytest.raises(Violation, match="made up") as raised:
        await Doubtful(box, toy, secrets.randbelow(10**6), 1).run()
    # What the last server has told so far: perhaps not yet where it listens.
    assert " INFO " in str(raised.value).rpartition("log ends:")[2]
    left = [process.cmdline() for process in box.processes()]
    assert not [words for words in left if "gns3server" in " ".join(words)]


def test_a_process_has_the_wire_that_it_was_started_with():
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as console,
        socket.socket(type=socket.SOCK_DGRAM) as wire,
    ):
        wire.bind(("127.0.0.1", 0))
        old, new = wire.getsockname()[1], wire.getsockname()[1] + 1
        number = console.getsockname()[1]
        rewired = NodeState("PC", number + 1, "", wire=new, started=True)
        seen = as_seen(psutil.Process(), rewired, range(number, number + 2), range(old, new + 1))
    assert (seen.console, seen.wire) == (number, old)
