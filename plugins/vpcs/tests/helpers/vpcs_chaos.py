"""Clients that do at random, from a fixed seed, what clients may do."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from vpcs_lab import PORT

from gns3server.testing import Client

DOCUMENTED = frozenset({200, 201, 204, 404, 409})


class Place:
    """A project id and the ids of the PCs that clients make in it."""

    def __init__(self, numbers: random.Random, pcs: int) -> None:
        def make_id() -> str:
            return str(uuid.UUID(int=numbers.getrandbits(128)))

        self.id = make_id()
        self.path = f"/v1/projects/{self.id}"
        self.vms = [make_id() for _ in range(pcs)]


class Chaos:
    """Many clients at work on a few projects, all at the same time.

    :param history: what was asked and answered, in order of the answers.
    """

    def __init__(self, client: Client, seed: int, *, projects: int, pcs: int) -> None:
        self._client = client
        self._seed = seed
        numbers = random.Random(seed)
        self.places = [Place(numbers, pcs) for _ in range(projects)]
        self.history: list[str] = []

    async def run(self, clients: int, requests: int) -> None:
        """Let the clients loose until each has sent its requests."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(self._visit(number, requests))

    async def _visit(self, number: int, requests: int) -> None:
        numbers = random.Random(f"{self._seed}-{number}")
        actions, weights = zip(*ACTIONS.items(), strict=True)
        for _ in range(requests):
            place = numbers.choice(self.places)
            (action,) = numbers.choices(actions, weights)
            await action(self, number, place, numbers.choice(place.vms))

    async def _ask(self, who: int, method: str, path: str, value: Any = None) -> Any:
        answer = await self._client.request(method, path, value)
        self.history.append(f"client {who}: {method} {path} {value} -> {answer.status}")
        assert answer.status in DOCUMENTED, f"{self.history[-1]}\n{answer.body!r}"
        return answer

    async def open(self, who: int, place: Place, vm: str) -> None:
        """Make or reopen the project."""
        await self._ask(who, "POST", "/v1/projects", {"project_id": place.id, "name": "chaos"})

    async def create(self, who: int, place: Place, vm: str) -> None:
        """Make the PC and wire it."""
        await self.open(who, place, vm)
        values = {"name": f"by {who}", "vm_id": vm, "startup_script": "set pcname %h"}
        await self._ask(who, "POST", f"{place.path}/vpcs/vms", values)
        answer = await self._ask(who, "POST", f"{place.path}/ports/udp")
        if answer.status == 201:
            nio = {"lport": answer.json["udp_port"], "rport": 9, "rhost": "127.0.0.1"}
            path = f"{place.path}/vpcs/vms/{vm}/{PORT}"
            await self._ask(who, "POST", path, {"type": "nio_udp", **nio})

    async def start(self, who: int, place: Place, vm: str) -> None:
        """Start the PC."""
        await self._ask(who, "POST", f"{place.path}/vpcs/vms/{vm}/start")

    async def stop(self, who: int, place: Place, vm: str) -> None:
        """Stop the PC."""
        await self._ask(who, "POST", f"{place.path}/vpcs/vms/{vm}/stop")

    async def reload(self, who: int, place: Place, vm: str) -> None:
        """Reload the PC."""
        await self._ask(who, "POST", f"{place.path}/vpcs/vms/{vm}/reload")

    async def show(self, who: int, place: Place, vm: str) -> None:
        """Look at the PC."""
        await self._ask(who, "GET", f"{place.path}/vpcs/vms/{vm}")

    async def update(self, who: int, place: Place, vm: str) -> None:
        """Give the PC another name."""
        await self._ask(who, "PUT", f"{place.path}/vpcs/vms/{vm}", {"name": f"for {who}"})

    async def unplug(self, who: int, place: Place, vm: str) -> None:
        """Take the PC's NIO away."""
        await self._ask(who, "DELETE", f"{place.path}/vpcs/vms/{vm}/{PORT}")

    async def delete(self, who: int, place: Place, vm: str) -> None:
        """Delete the PC."""
        await self._ask(who, "DELETE", f"{place.path}/vpcs/vms/{vm}")

    async def close(self, who: int, place: Place, vm: str) -> None:
        """Close the project."""
        await self._ask(who, "POST", f"{place.path}/close")

    async def remove(self, who: int, place: Place, vm: str) -> None:
        """Delete the project."""
        await self._ask(who, "DELETE", place.path)


ACTIONS: dict[Callable[[Chaos, int, Place, str], Awaitable[None]], int] = {
    Chaos.create: 20,
    Chaos.start: 20,
    Chaos.stop: 8,
    Chaos.reload: 6,
    Chaos.show: 6,
    Chaos.update: 6,
    Chaos.unplug: 3,
    Chaos.delete: 5,
    Chaos.close: 1,
    Chaos.remove: 1,
}
"""What clients do, and how often."""
