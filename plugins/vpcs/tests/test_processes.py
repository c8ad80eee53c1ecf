"""The process of a real virtual PC, from start to end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from vpcs_console import open_console
from vpcs_kernel import alive, command_line, holders, is_bound

pytestmark = pytest.mark.usefixtures("vpcs_program")


@pytest.fixture
async def events(lab):
    """What a listener to the lab's project is told, after the first ping and without others."""
    async with lab.client.listen(f"{lab.project}/notifications") as lines:
        assert await anext(lines) == {"action": "ping"}
        yield (line async for line in lines if line["action"] != "ping")


@pytest.mark.statement("VPCS-05", "VPCS-11", "VPCS-34")
async def test_start_answers_when_its_wire_and_its_console_are_bound(lab, vpcs_program):
    pc = await lab.wired(startup_script="set pcname x")
    await pc.do("start")
    lport = pc.node.nio().values["lport"]
    console, wire = holders("tcp", pc.console), holders("udp", lport)
    pid = pc.pid
    assert wire == {pid}
    # Nothing of it listens: the console server does that, for this machine alone.
    assert len(console) == 1
    assert pid not in console
    assert await pc.status() == "started"
    assert command_line(pid) == [
        *(vpcs_program, "-m", "0", "-i", "1"),
        *(["-R"] if "-R" in command_line(pid) else []),
        *("-s", str(lport), "-c", "9", "-t", "127.0.0.1", "startup.vpc"),
    ]
    assert os.readlink(f"/proc/{pid}/cwd") == (await pc.get())["vm_directory"]


@pytest.mark.statement("VPCS-12", "VPCS-26", "VPCS-27")
async def test_stop_answers_when_its_process_is_gone(lab, events):
    pc = await lab.wired()
    assert (await anext(events))["action"] == "vm.created"
    await pc.do("stop", "start", "start")
    pid, run = pc.pid, pc.node.run
    await pc.do("stop")
    # It was asked to end, and did so at once.
    assert run.exit.code in {0, -signal.SIGTERM}
    assert not alive(pid)
    assert not is_bound("tcp", pc.console)
    assert not is_bound("udp", pc.node.nio().values["lport"])
    assert await pc.status() == "stopped"
    await pc.do("stop")
    await pc.update(name="last")
    await pc.do("start")
    started, stopped, again = [await anext(events) for _ in range(3)]
    assert [line["action"] for line in (started, stopped, again)] == [
        *("vm.started", "vm.stopped", "vm.started")
    ]
    assert started["event"]["status"] == "started"
    assert stopped["event"]["status"] == "stopped"
    assert again["event"] == await pc.get()


@pytest.mark.statement("VPCS-31")
async def test_delete_ends_its_process(lab):
    pc = await lab.wired()
    await pc.do("start")
    pid, directory = pc.pid, pc.node.directory
    assert (await lab.client.delete(pc.path)).status == 204
    assert not alive(pid)
    assert len(lab.server.ports.tcp) == len(lab.server.ports.udp) == 0
    assert directory.exists()
    again = await lab.wired()
    await again.do("start")


@pytest.mark.statement("VPCS-19", "PRJ-31", "PORT-11")
@pytest.mark.parametrize("action", ["close", "delete"])
async def test_the_end_of_a_project_ends_its_pcs(lab, action):
    pcs = [await lab.wired() for _ in range(3)]
    for pc in pcs:
        await pc.do("start")
    pids = [pc.pid for pc in pcs]
    if action == "close":
        assert (await lab.client.post(f"{lab.project}/close")).status == 204
    else:
        assert (await lab.client.delete(lab.project)).status == 204
    assert not any(map(alive, pids))
    assert len(lab.server.ports.tcp) == len(lab.server.ports.udp) == 0
    assert (await lab.client.get(lab.project)).status == 404


@pytest.mark.statement("VPCS-13")
async def test_reload_runs_another_process(lab, events):
    pc = await lab.wired()
    await pc.do("start")
    before = pc.pid
    await pc.do("reload")
    assert pc.pid != before
    assert not alive(before)
    assert await pc.status() == "started"
    await pc.do("stop", "reload")
    assert await pc.status() == "started"
    told = [(await anext(events))["action"] for _ in range(6)]
    assert told == [
        *("vm.created", "vm.started", "vm.stopped", "vm.started", "vm.stopped", "vm.started")
    ]


@pytest.mark.statement("NOTIF-08")
async def test_a_crash_is_told(lab, events):
    pc = await lab.wired(name="victim")
    await pc.do("start")
    assert [(await anext(events))["action"] for _ in range(2)] == ["vm.created", "vm.started"]
    pid = pc.pid
    os.kill(pid, signal.SIGKILL)
    stopped, error = await anext(events), await anext(events)
    assert stopped["action"] == "vm.stopped"
    assert stopped["event"]["status"] == "stopped"
    assert error["action"] == "log.error"
    assert error["event"]["vm_id"] == pc.id
    assert "'victim'" in error["event"]["message"]
    # What it has shown last is part of the message.
    assert "VPCS>" in error["event"]["message"]
    assert not alive(pid)
    assert await pc.status() == "stopped"
    await pc.do("start")
    assert await anext(events) == {"action": "vm.started", "event": await pc.get()}


async def test_a_request_right_after_a_crash_sees_the_truth(lab):
    pc = await lab.wired()
    await pc.do("start")
    pid = pc.pid
    os.kill(pid, signal.SIGKILL)
    await pc.do("reload")
    assert pc.pid != pid


@pytest.mark.statement("VPCS-33")
async def test_quit_on_the_console_is_no_error(lab, events):
    pc = await lab.wired()
    await pc.do("start")
    assert [(await anext(events))["action"] for _ in range(2)] == ["vm.created", "vm.started"]
    pid = pc.pid
    async with open_console(pc.console) as console:
        await console.enter("quit")
        assert (await anext(events))["action"] == "vm.stopped"
    assert not alive(pid)
    assert await pc.status() == "stopped"
    await pc.update(name="next")
    await pc.do("start")
    assert (await anext(events))["action"] == "vm.started"


async def test_the_first_client_gets_the_banner(lab):
    pc = await lab.wired(startup_script="echo from the script")
    await pc.do("start")
    for _ in range(3):
        await pc.get()
    async with open_console(pc.console) as console:
        assert "Welcome to Virtual PC Simulator, version" in console.text
        assert "from the script" in console.text
        await console.enter("disconnect")
        assert "Good-bye" in await console.read_to_end()
    await pc.do("reload")
    async with open_console(pc.console) as console:
        assert "Welcome to Virtual PC Simulator, version" in console.text


@pytest.mark.statement("VPCS-15", "VPCS-20")
async def test_script_name_and_number_reach_the_pc(lab):
    pcs = [await lab.wired(name=f"pc{n}", startup_script="echo I am %h") for n in range(2)]
    for number, pc in enumerate(pcs):
        await pc.do("start")
        async with open_console(pc.console) as console:
            assert f"I am pc{number}" in console.text
            assert f"00:50:79:66:68:0{number}" in await console.run("show ip")


async def test_it_sleeps_with_slack(lab_with, make_fake, vpcs_program):
    wrapper = make_fake("0.5b2")
    wrapper.write(
        "import os, sys\n"
        "print('slack', open('/proc/self/timerslack_ns').read(), flush=True)\n"
        f"os.execv({vpcs_program!r}, [{vpcs_program!r}, *sys.argv[1:]])\n"
    )
    before = slack("self")
    async with lab_with(wrapper) as lab:
        pc = await lab.wired()
        await pc.do("start")
        async with open_console(pc.console) as console:
            assert console.text.startswith("slack 5000000")
        if os.geteuid() == 0:  # others may not look into another process
            assert slack(pc.pid) == "5000000"
    assert slack("self") == before != "5000000"


def slack(pid):
    return Path(f"/proc/{pid}/timerslack_ns").read_text().strip()


async def test_a_client_that_hangs_up_changes_nothing(lab, events):
    pc = await lab.wired()
    assert (await anext(events))["action"] == "vm.created"
    address = lab.server.url.removeprefix("http://")
    _, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"POST {pc.path}/start HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    await writer.drain()
    writer.close()
    assert (await anext(events))["action"] == "vm.started"
    assert await pc.status() == "started"
    assert pc.pid
