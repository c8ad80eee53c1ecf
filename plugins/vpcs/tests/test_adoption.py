"""Real virtual PCs outlive their server, ping each other meanwhile, and are its successor's."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from console_page import ConsolePage
from vpcs_console import open_console
from vpcs_kernel import alive, holders, is_bound
from vpcs_lab import Pc, Server
from web_browser import open_browser

from gns3server.testing import claimed_ports

pytestmark = pytest.mark.usefixtures("vpcs_program")


@pytest.fixture
def labs(gns3_process):
    """Opens a lab, a temporary project, on servers that come one after the other."""
    project = ""

    @asynccontextmanager
    async def open_lab(*args, **how):
        nonlocal project
        async with gns3_process(*args, **how) as server:
            if not project:
                answer = await server.client.post("/v1/projects", {"temporary": True})
                project = f"/v1/projects/{answer.json['project_id']}"
            yield Server(server, project)

    return open_lab


def taken_over(lab: Server, pcs: tuple[Pc, ...]) -> tuple[Pc, ...]:
    """The same PCs as clients of the next server see them."""
    return tuple(Pc(lab, {"vm_id": pc.id, "console": pc.console}) for pc in pcs)


async def kill(pid: int) -> None:
    """Kill a process that is not ours to reap, and wait until it is dead."""
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    await asyncio.to_thread(select.select, [process], [], [])
    os.close(process)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["killed", "upgraded"])
async def test_pings_go_on_while_the_server_is_another(labs, how):
    async with labs(*(["--keep-nodes"] if how == "upgraded" else [])) as lab:
        pcs = await lab.pair()
        for pc in pcs:
            await pc.do("start")
        shown = [await pc.get() for pc in pcs]
        pids = [pc.pid for pc in pcs]
        async with open_console(pcs[0].console) as here, open_console(pcs[1].console) as there:
            await here.run("ip 10.0.0.1/24")
            await there.run("ip 10.0.0.2/24")
            assert await here.pings("10.0.0.2")
            await (lab.server.kill() if how == "killed" else lab.server.end())
            # The consoles stay connected, and nobody serves the API now.
            assert await here.pings("10.0.0.2")
            async with labs() as successor:
                assert await there.pings("10.0.0.1")
                pcs = taken_over(successor, pcs)
                assert [await pc.get() for pc in pcs] == shown
                assert {one["status"] for one in shown} == {"started"}
                assert [pc.pid for pc in pcs] == pids
    # The second server ended in order, and its nodes with it.
    assert not any(map(alive, pids))


ALL = [*range(1, 21)]
"""The numbers of twenty replies."""


def numbers(shown: str) -> list[int]:
    """Which replies to a ping are shown."""
    return [int(number) for number in re.findall(r"icmp_seq=(\d+) .*time=", shown)]


class Program:
    """A program that shows a console by its websocket, and connects again when that is lost."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._shown = ""

    async def shows(self, pattern: str) -> str:
        """Wait until something is shown; returns all that is."""
        while not re.search(pattern, self._shown):
            if self._socket is None:
                self._socket = await self._session.ws_connect(self._url)
                self._shown = ""
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self._shown += message.data.decode()
            else:
                self._socket = None
        return self._shown


@asynccontextmanager
async def program(url: str, environ: Mapping[str, str]) -> AsyncIterator[Program]:
    async with aiohttp.ClientSession() as session:
        yield Program(session, url)


@asynccontextmanager
async def page(url: str, environ: Mapping[str, str]) -> AsyncIterator[ConsolePage]:
    async with open_browser(environ) as browser:
        yield await ConsolePage.open(browser, url)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("watch", [program, pytest.param(page, marks=pytest.mark.long)])
async def test_no_reply_is_missing_anywhere_while_the_server_is_killed_and_started(labs, watch):
    with claimed_ports() as ports:
        async with labs(port=ports.first) as lab:
            one, other = await lab.pair()
            for pc in (one, other):
                await pc.do("start")
            url = f"{lab.client.url}{lab.project}/nodes/{one.id}/console"
            async with (
                open_console(other.console) as there,
                open_console(one.console) as here,
                open_console(one.console) as beside,
                watch(url, lab.server.settings.environ) as screen,
            ):
                await asyncio.gather(there.run("ip 10.0.0.2/24"), here.run("ip 10.0.0.1/24"))
                await beside.prompt()
                await here.enter("ping 10.0.0.2 -c 20")
                await screen.shows("icmp_seq=3 ")
                await lab.server.kill()
                async with labs(port=ports.first):
                    assert numbers(await here.prompt()) == numbers(await beside.prompt()) == ALL
                    assert numbers(await screen.shows(r"icmp_seq=20 [\s\S]*VPCS> $")) == ALL


@pytest.mark.timeout(180)
async def test_consoles_go_on_after_a_server_that_ignored_signals(labs):
    """As one that nohup has started, and a shell that is not interactive."""
    under = ("sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh")
    async with labs(under=under) as lab:
        pc = await lab.wired()
        await pc.do("start")
        async with open_console(pc.console) as console:
            await console.run("show ip")
            await lab.server.kill()
            async with labs(under=under) as successor:
                assert "NAME" in await console.run("show ip")
                (adopted,) = taken_over(successor, (pc,))
                # It has no more ignored signals than it would have after any other start.
                status = await asyncio.to_thread(Path(f"/proc/{adopted.pid}/status").read_text)
                (mask,) = re.findall(r"SigIgn:\s*(\w+)", status)
                ignored = int(mask, 16)
                assert not ignored & sum(1 << (number - 1) for number in (1, 2, 3))


async def test_adopted_pcs_are_reloaded_stopped_and_deleted(labs):
    async with labs() as lab:
        pcs = tuple([await lab.wired(name=f"PC{n}") for n in range(3)])
        for pc in pcs:
            await pc.do("start")
        pids = [pc.pid for pc in pcs]
        await lab.server.kill()
    assert all(map(alive, pids))
    async with labs() as lab:
        reloaded, stopped, deleted = pcs = taken_over(lab, pcs)
        await reloaded.do("start", "reload")
        assert reloaded.pid != pids[0]
        await stopped.do("stop")
        assert (await lab.client.delete(deleted.path)).status == 204
        assert not any(map(alive, pids))
        assert [is_bound("tcp", pc.console) for pc in pcs] == [True, False, False]
        assert [await pc.status() for pc in pcs[:2]] == ["started", "stopped"]


@pytest.mark.statement("NOTIF-08", "VPCS-33")
async def test_the_end_of_an_adopted_pc_is_told(labs):
    async with labs() as lab:
        pcs = (await lab.wired(name="quits"), await lab.wired(name="crashes"))
        for pc in pcs:
            await pc.do("start")
        await lab.server.kill()
    async with labs() as lab, lab.client.listen(f"{lab.project}/notifications") as told:
        assert await anext(told) == {"action": "ping"}
        quits, crashes = taken_over(lab, pcs)
        async with open_console(quits.console) as console:
            await console.enter("quit")
            event = await anext(told)
        assert (event["action"], event["event"]) == ("vm.stopped", await quits.get())
        os.kill(crashes.pid, signal.SIGKILL)
        # How it has ended cannot be known: it was not this server's child.
        event = await anext(told)
        assert (event["action"], event["event"]["vm_id"]) == ("vm.stopped", crashes.id)
        assert not holders("tcp", crashes.console)


async def test_a_pc_that_dies_while_no_server_runs_is_stopped(labs):
    async with labs() as lab:
        pcs = (await lab.wired(),)
        await pcs[0].do("start")
        pid = pcs[0].pid
        await lab.server.kill()
    await kill(pid)
    async with labs() as lab:
        assert "it ended while no server ran" in lab.server.log
        (pc,) = taken_over(lab, pcs)
        assert await pc.status() == "stopped"
        await pc.do("start")
