"""Hosts and routers in namespaces: frames between two, beside a bare veth; thirty at once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Any

import psutil

from gns3server.testing import ConsoleClient
from labbench.api import Lab, ask, new_lab
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import HERE, Server, ours

RATES = (*range(20_000, 100_000, 20_000), *range(100_000, 301_000, 25_000))
SECONDS = 1.0
ROUTERS = 30
ROUTE_SECONDS = 60.0
SETTLE_SECONDS = 2.0
IDLE_SECONDS = 5.0

CONFIG = """\
interface lo
 ip address 10.255.0.{number}/32
interface eth0
 ip address 10.0.{pair}.{end}/24
 ip ospf network point-to-point
router ospf
 network 10.0.0.0/8 area 0
"""


def frames(box: Box, quick: bool) -> list[Figure]:
    """From inside one host to inside another: the highest rate without loss."""
    with ours(box) as server:
        samples = asyncio.run(_frames(box, server, 1 if quick else 3))
    return [
        Figure(
            benchmark="hosts",
            what="frames between two hosts without loss",
            unit="1/s",
            ours=samples["ours"],
            bare=samples["bare"],
            aim=Aim("ratio", 0.2, at_least=True),
        ),
        Figure(
            benchmark="hosts",
            what="processor time of a frame, both hosts",
            unit="us",
            ours=samples["cost"],
        ),
    ]


async def _frames(box: Box, server: Server, rounds: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {"ours": [], "bare": [], "cost": []}
    async with new_lab(server) as lab:
        nodes = [await _add(lab, "linux", name=f"H{number}") for number in (1, 2)]
        await _link(lab, nodes)
        for node in nodes:
            await ask(lab.session, "POST", f"{_path(lab, 'linux', node)}/start")
        shell = next(each for each in box.processes() if each.cmdline()[1:2] == ["--norc"])
        holders = [each for each in box.processes() if _is_holder(each)]
        enter = ["nsenter", "--target", str(shell.pid), "--net"]
        if psutil.Process().uids().effective != 0:
            enter[3:3] = ["--user", "--preserve-credentials"]
        for _ in range(rounds):
            best, cost = 0, 0.0
            for rate in RATES:
                count = int(rate * SECONDS)
                before, began = await _counted(lab, nodes), _cpu(holders)
                await _send([*enter, sys.executable], "eth0", count, rate)
                await asyncio.sleep(0.1)
                if await _counted(lab, nodes) - before < count:
                    break
                best, cost = rate, (_cpu(holders) - began) * 1e6 / count
            samples["ours"].append(best)
            samples["cost"].append(cost)
            samples["bare"].append(await _bare())
    return samples


async def _bare() -> float:
    """What the same sender gets through a veth pair."""
    count = RATES[-1]
    enter = ["unshare", "--net", sys.executable]
    if psutil.Process().uids().effective != 0:
        enter[1:1] = ["--map-root-user"]
    seconds, received = await _send(enter, "bare", count, 1e9)
    return received / seconds


async def _send(enter: list[str], *arguments: object) -> list[float]:
    command = [*enter, "-m", "labbench.packets", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(HERE.parent), "PATH": PATH}
    )
    said, _ = await process.communicate()
    return [float(word) for word in said.split()]


PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


async def _counted(lab: Lab, nodes: list[dict[str, Any]]) -> int:
    """How many frames have reached either host."""
    total = 0
    for node in nodes:
        path = f"{_path(lab, 'linux', node)}/counters"
        async with lab.session.get(path) as answer:
            total += (await answer.json())[0]["received_frames"]
    return total


def routers(box: Box, quick: bool) -> list[Figure]:
    """Routers with OSPF, linked in pairs: started all at once, what each takes, and what it costs
    while idle. Each must have learnt a route from its neighbour.
    """
    with ours(box) as server:
        samples = asyncio.run(_routers(box, server, 6 if quick else ROUTERS))
    return [
        Figure(benchmark="routers", what=what, unit=unit, ours=[value])
        for what, unit, value in samples
    ]


async def _routers(box: Box, server: Server, count: int) -> list[tuple[str, str, float]]:
    async with new_lab(server) as lab:
        nodes = [await _add(lab, "frr", name=f"R{n}", config=_config(n)) for n in range(count)]
        for pair in zip(nodes[::2], nodes[1::2], strict=True):
            await _link(lab, pair)
        begun = time.perf_counter()
        await _start(lab, nodes[0])
        alone = time.perf_counter() - begun
        begun = time.perf_counter()
        await asyncio.gather(*(_start(lab, node) for node in nodes[1:]))
        together = time.perf_counter() - begun
        async with asyncio.timeout(ROUTE_SECONDS):
            for number, node in enumerate(nodes):
                # Shown by the console, whose vtysh ends with that.
                await _learn(node, f"O>* 10.255.0.{number ^ 1}/32")
        await asyncio.sleep(SETTLE_SECONDS)
        running = [
            each
            for each in box.processes()
            if _is_holder(each) or each.name() in ("zebra", "staticd", "ospfd", "vtysh")
        ]
        memory = sum(each.memory_full_info().pss for each in running) / count / 1e6
        before = _cpu(running)
        await asyncio.sleep(IDLE_SECONDS)
        idle = (_cpu(running) - before) / IDLE_SECONDS / count * 100
    return [
        ("one router, start to prompt", "s", alone),
        (f"{count - 1} routers at once, to the last prompt", "s", together),
        ("memory of each (its share of what they share)", "MB", memory),
        ("an idle router, of one core", "%", idle),
    ]


async def _add(lab: Lab, kind: str, **values: Any) -> dict[str, Any]:
    return await ask(lab.session, "POST", f"{lab.path}/{kind}/vms", values)


async def _link(lab: Lab, nodes: Iterable[dict[str, Any]]) -> None:
    """Link the first interfaces of two nodes."""
    ends = [{"vm_id": node["vm_id"], "adapter_number": 0, "port_number": 0} for node in nodes]
    await ask(lab.session, "POST", f"{lab.path}/links", {"ends": ends})


def _config(number: int) -> str:
    return CONFIG.format(number=number, pair=number // 2, end=number % 2 + 1)


async def _start(lab: Lab, node: dict[str, Any]) -> None:
    """Start a router, and wait for vtysh on its console."""
    await ask(lab.session, "POST", f"{_path(lab, 'frr', node)}/start")
    reader, writer = await asyncio.open_connection("127.0.0.1", node["console"])
    writer.write(b"\r")
    await reader.readuntil(b"# ")
    writer.close()


async def _learn(node: dict[str, Any], route: str) -> None:
    """Wait until a router has a route, and let its vtysh end."""
    prompt = f"{node['name']}# "
    async with ConsoleClient.open(node["console"], prompt, press_enter=True) as console:
        while route not in await console.run("show ip route ospf"):
            continue
        await console.enter("exit")
        await console.shows("Press RETURN")


def _path(lab: Lab, kind: str, node: dict[str, Any]) -> str:
    return f"{lab.path}/{kind}/vms/{node['vm_id']}"


def _is_holder(process: psutil.Process) -> bool:
    """Whether a process is one of the two that hold a node."""
    return any("gns3server_linux.holder" in word for word in process.cmdline())


def _cpu(processes: list[psutil.Process]) -> float:
    """Processor time that processes have used."""
    times = [each.cpu_times() for each in processes]
    return float(sum(each.user + each.system for each in times))
