"""The machine fails under running virtual PCs: their program goes, or they freeze."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from vpcs_console import open_console
from vpcs_fakes import Fake
from vpcs_kernel import alive, command_line


@pytest.fixture
def program(tmp_path, vpcs_program):
    """A copy of the real VPCS that may be replaced and removed."""
    path = tmp_path / "vpcs"
    shutil.copy2(vpcs_program, path)
    return path


async def works(pc, pid) -> bool:
    """Whether a PC runs as before, and its console answers."""
    assert pc.pid == pid
    assert await pc.status() == "started"
    async with open_console(pc.console) as console:
        return "NAME" in await console.run("show ip")


async def test_the_program_is_replaced_under_a_running_pc(lab_with, program):
    async with lab_with(program) as lab:
        pc, other = await lab.wired(), await lab.wired()
        await pc.do("start")
        pid = pc.pid
        new = Fake(program)
        new.become("0.8.3", knows_r=True)
        assert await works(pc, pid)
        assert new.probes == 0
        # What starts from now on is the new one, which was asked what it can do.
        await other.do("start")
        await pc.do("reload")
        assert new.probes == 1
        for each in (pc, other):
            assert "-R" in command_line(each.pid)
        assert not alive(pid)


@pytest.mark.parametrize("action", ["start", "reload"])
async def test_the_program_is_removed_under_a_running_pc(lab_with, program, action):
    away = program.with_name("away")
    async with lab_with(program) as lab:
        pc, other = await lab.wired(name="one"), await lab.wired(name="two")
        await pc.do("start")
        pid = pc.pid
        program.rename(away)
        assert await works(pc, pid)
        asked = pc if action == "reload" else other
        answer = await asked.ask(action)
        assert answer.status == 409
        for word in (str(program), "vpcs_path", "sudo apt-get install vpcs"):
            assert word in answer.json["message"]
        assert await asked.status() == "stopped"
        assert alive(pid) is (action == "start")
        assert len(lab.server.processes()) == (1 if action == "start" else 0)
        away.rename(program)
        await asked.do("start")


@pytest.mark.parametrize("action", ["stop", "delete"])
async def test_a_frozen_pc_can_be_ended(lab, vpcs_program, action):
    pc = await lab.wired()
    await pc.do("start")
    pid = pc.pid
    os.kill(pid, signal.SIGSTOP)
    # It has not ended, and nothing is asked of its console.
    assert await pc.status() == "started"
    if action == "delete":
        assert (await lab.client.delete(pc.path)).status == 204
    else:
        await pc.do(action, "start", "stop")
    assert not alive(pid)
    assert lab.server.processes() == {}
