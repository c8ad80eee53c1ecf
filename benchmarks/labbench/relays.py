"""Frames through a link panel, beside the bare loopback interface between the same two programs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from gns3server.links.panel import pcap
from gns3server.running.helper_client import HelperClient
from labbench.box import Box, free_ports
from labbench.report import Aim, Figure
from labbench.servers import HERE

SIZE = 100
IDLE_LINKS = 50

DELAY_10 = {"delay": {"latency": 10}}
DELAY_1 = {"delay": {"latency": 1}}
RATE_10 = {"rate": {"kbit_per_s": 10_000, "queue_ms": 200}}
LOSS_5 = {"packet_loss": {"chance": 5}}

Result = Mapping[str, Any]


class Bench:
    """A panel, two programs, and what is between them.

    :param seconds: how long frames are sent.
    """

    def __init__(self, box: Box, client: HelperClient, process: psutil.Process, *, quick: bool):
        self.box = box
        self.client = client
        self.process = process
        self.seconds = 0.5 if quick else 2.0
        self.rounds = 3 if quick else 7
        self.home = box.directory("traffic")

    async def wire(self, **wanted: Any) -> tuple[int, int, int, int]:
        """Have a link in the panel; returns its ports, those of the programs outside."""
        first = free_ports(4)
        ports = first, first + 1, first + 2, first + 3
        ends = [
            {"local_port": ports[1], "remote_host": "127.0.0.1", "remote_port": ports[0]},
            {"local_port": ports[2], "remote_host": "127.0.0.1", "remote_port": ports[3]},
        ]
        await self.state({"id": "link", "ends": ends, "seed": 1, **wanted})
        return ports

    async def state(self, *links: Mapping[str, Any]) -> None:
        """Have these links and no others."""
        answer = await self.client.call("state", {"number": 1, "links": links})
        if answer["failed"]:
            raise RuntimeError(f"the panel refuses: {answer['failed']}")

    async def relayed(self, rate: float = 0, size: int = SIZE, **wanted: Any) -> Result:
        """Send frames through the panel; returns what has become of them."""
        first, near, far, second = await self.wire(**wanted)
        result = await self._sent((first, near), (second, far), rate, size)
        status = await self.client.call("status", {})
        return {**result, **status["links"]["link"]}

    async def bare(self, rate: float = 0, size: int = SIZE) -> Result:
        """Send frames from one program to the other."""
        first = free_ports(2)
        return await self._sent((first, first + 1), (first + 1, first), rate, size)

    async def round_trip(self, **wanted: Any) -> float:
        """Send frames to and fro through the panel; returns the median in seconds."""
        first, near, far, second = await self.wire(**wanted)
        return await self._pinged(
            (first, near), (second, far), 100 if "filters" in wanted else 1500
        )

    async def bare_round_trip(self) -> float:
        """Send frames to and fro between the programs; returns the median in seconds."""
        first = free_ports(2)
        return await self._pinged((first, first + 1), (first + 1, first), 1500)

    async def _sent(
        self, one: tuple[int, int], other: tuple[int, int], rate: float, size: int
    ) -> Result:
        with self._program("receive", *other) as receiver:
            await _line(receiver)
            sending = self._program("send", *one, self.seconds, size, rate)
            with sending as sender:
                sent = json.loads(await _line(sender))
            got = json.loads(await _line(receiver))
        return {"offered": sent["rate"], "sent": sent["sent"], **got}

    async def _pinged(self, one: tuple[int, int], other: tuple[int, int], count: int) -> float:
        with self._program("echo", *other) as echo:
            await _line(echo)
            with self._program("ping", *one, count) as ping:
                result = json.loads(await _line(ping))
            echo.kill()
        return float(result["seconds"])

    def _program(self, *arguments: object) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(HERE / "traffic.py"), *map(str, arguments)]
        return self.box.spawn(argv, self.home, stdout=subprocess.PIPE)


async def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return await asyncio.to_thread(process.stdout.readline)


@asynccontextmanager
async def _panel(box: Box, *, quick: bool) -> AsyncIterator[Bench]:
    home = box.directory("panel")
    path = home / "socket"
    argv = [sys.executable, "-m", "gns3server.links.panel", str(path)]
    with box.spawn(argv, home) as process:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.02)
        client = await HelperClient.connect(reader, writer, "links")
        client.listen(lambda *_: None, asyncio.Event())
        try:
            yield Bench(box, client, psutil.Process(process.pid), quick=quick)
        finally:
            client.close()
            process.terminate()


async def _pairs(rounds: int, *measures: Callable[[], Awaitable[float]]) -> tuple[list[float], ...]:
    """Let measures take turns, so that the machine's influence on them cancels out."""
    samples: tuple[list[float], ...] = tuple([] for _ in measures)
    for number in range(rounds):
        order = [*range(len(measures))]
        for index in order[number % len(order) :] + order[: number % len(order)]:
            samples[index].append(await measures[index]())
    return samples


def relays(box: Box, quick: bool) -> list[Figure]:
    """Time, rate and loss of a relayed link: plain, captured, delayed, limited, idle."""
    return asyncio.run(_relays(box, quick))


async def _relays(box: Box, quick: bool) -> list[Figure]:
    figures = []
    for part in (_latency, _rates, _losses, _captures, _delays, _limits, _chance, _idle):
        async with _panel(box, quick=quick) as bench:
            figures += await part(bench)
    return figures


def _figure(what: str, unit: str, ours: list[float], bare: list[float], aim: Aim) -> Figure:
    return Figure(benchmark="relays", what=what, unit=unit, ours=ours, bare=bare, aim=aim)


async def _latency(bench: Bench) -> list[Figure]:
    async def ours() -> float:
        return await bench.round_trip() * 1e6 / 2

    async def bare() -> float:
        return await bench.bare_round_trip() * 1e6 / 2

    samples = await _pairs(bench.rounds, ours, bare)
    return [_figure("relayed link, one way", "us", *samples, Aim("difference", 65))]


async def _rates(bench: Bench) -> list[Figure]:
    """Through the panel, and with a delay; each beside the loopback interface."""

    async def ours() -> float:
        return float((await bench.relayed())["rate"])

    async def bare() -> float:
        return float((await bench.bare())["rate"])

    async def delayed() -> float:
        return float((await bench.relayed(filters=DELAY_1))["rate"])

    us, them, later = await _pairs(bench.rounds, ours, bare, delayed)
    # 190,000 of the 230,000 that the loopback interface carried where the aim was set.
    return [
        _figure("relayed link, flooded", "1/s", us, them, Aim("ratio", 0.82, at_least=True)),
        _figure("1 ms of delay, flooded", "1/s", later, us, Aim("ratio", 0.9, at_least=True)),
    ]


def _lost(result: Result) -> float:
    return 100 * (1 - result["got"] / result["sent"])


async def _losses(bench: Bench) -> list[Figure]:
    """Loss, and how many frames were sent indeed: a busy machine may not send as many."""
    offered = []

    async def ours() -> float:
        result = await bench.relayed(90_000)
        offered.append(float(result["offered"]))
        return _lost(result)

    async def bare() -> float:
        return _lost(await bench.bare(90_000))

    samples = await _pairs(bench.rounds, ours, bare)
    return [
        Figure(benchmark="relays", what="sent of 90,000 1/s", unit="1/s", ours=offered),
        _figure("relayed link, lost of these", "%", *samples, Aim("difference", 0)),
    ]


async def _captures(bench: Bench) -> list[Figure]:
    """Flooded with a capture on; and frames that passed, but are not in the file."""
    path = bench.home / "capture"
    missing = []

    async def captured() -> float:
        path.unlink(missing_ok=True)
        capture = {"path": str(path), "max_bytes": 1 << 30}
        result = await bench.relayed(capture=capture)
        await bench.state()
        missing.append(float(result["ends"][0]["frames"] - _frames_in(path)))
        return float(result["rate"])

    async def plain() -> float:
        return float((await bench.relayed())["rate"])

    us, them = await _pairs(bench.rounds, captured, plain)
    none = [0.0] * len(missing)
    return [
        _figure("with a capture, flooded", "1/s", us, them, Aim("ratio", 0.9, at_least=True)),
        _figure("not in the file", "frames", missing, none, Aim("difference", 0)),
    ]


def _frames_in(path: Path) -> int:
    data = path.read_bytes()
    end, count = pcap.whole_records(data, len(data), pcap.HEADER.size)
    if end != len(data):
        raise RuntimeError("the capture has a torn end")
    return count


async def _delays(bench: Bench) -> list[Figure]:
    """10 ms each way: how long a frame takes to and fro, and what is lost of many."""

    async def ours() -> float:
        return await bench.round_trip(filters=DELAY_10) * 1000

    async def bare() -> float:
        return await bench.bare_round_trip() * 1000

    offered = []

    async def lost() -> float:
        result = await bench.relayed(50_000, filters=DELAY_10)
        offered.append(float(result["offered"]))
        return _lost(result)

    async def bare_lost() -> float:
        return _lost(await bench.bare(50_000))

    us, them, losses, bare_losses = await _pairs(bench.rounds, ours, bare, lost, bare_lost)
    return [
        _figure("10 ms each way, to and fro", "ms", us, them, Aim("difference", 21.5)),
        Figure(benchmark="relays", what="sent of 50,000 1/s", unit="1/s", ours=offered),
        _figure("10 ms, lost of these", "%", losses, bare_losses, Aim("difference", 0)),
    ]


async def _limits(bench: Bench) -> list[Figure]:
    """10 Mbit/s of 160."""
    off = []
    for _ in range(bench.rounds):
        result = await bench.relayed(20_000, 1000, filters=RATE_10)
        off.append(abs(result["kbit_per_s"] / 10_000 - 1) * 100)
    return [_figure("10 Mbit/s, off by", "%", off, [0.0] * len(off), Aim("difference", 1))]


async def _chance(bench: Bench) -> list[Figure]:
    """5 % of loss; and rounds in which other frames were lost than in the first."""
    off, others = [], []
    first = None
    for _ in range(bench.rounds):
        # Each link is a new one: the last round's is gone, and with it how far it had come.
        await bench.state()
        result = await bench.relayed(20_000, filters=LOSS_5)
        off.append(abs(_lost(result) - 5))
        first = first or result["first_numbers"]
        others.append(float(result["first_numbers"] != first))
    none = [0.0] * len(off)
    return [
        _figure("loss of 5 %, off by", "%", off, none, Aim("difference", 0.5)),
        _figure("other frames for the same seed", "rounds", others, none, Aim("difference", 0)),
    ]


async def _idle(bench: Bench) -> list[Figure]:
    """Processor time of many links that nobody uses."""
    ports = free_ports(IDLE_LINKS * 4)
    links = [
        {
            "id": str(number),
            "ends": [
                {
                    "local_port": ports + 4 * number + end,
                    "remote_port": ports + 4 * number + 2 + end,
                }
                for end in (0, 1)
            ],
        }
        for number in range(IDLE_LINKS)
    ]
    await bench.state(*links)
    used = []
    for _ in range(bench.rounds):
        before, begun = sum(bench.process.cpu_times()[:2]), time.monotonic()
        await asyncio.sleep(bench.seconds * 2)
        spent = sum(bench.process.cpu_times()[:2]) - before
        used.append(100 * spent / (time.monotonic() - begun))
    return [
        _figure(
            f"{IDLE_LINKS} idle links",
            "% of a core",
            used,
            [0.0] * len(used),
            Aim("difference", 0.2),
        )
    ]
