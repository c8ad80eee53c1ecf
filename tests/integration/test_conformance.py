"""The toys do what every node type must do, each after its nature."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from gns3server.testing import LabServer, NodeTypeConformance
from gns3server.testing.node_steps import free_udp_port


@pytest.fixture
def gns3_serving(gns3_serving, make_entry_point):
    """Serve with the toys and nothing else."""
    toys = {"toy": "toy_emulator", "natures": "toy_natures"}
    return partial(gns3_serving, plugins=[make_entry_point(*toy) for toy in toys.items()])


class TestToy(NodeTypeConformance):
    """A process with a console."""

    node_type = "toy"


class TestToyThatNeedsAWire(NodeTypeConformance):
    """The same, of a toy that refuses to start unwired."""

    node_type = "toy"
    create_body: ClassVar[Mapping[str, Any]] = MappingProxyType({"mode": "unwired"})
    needs_wire = True


class NatureConformance(NodeTypeConformance):
    """What all toys of the other natures have: their cable."""

    def nio(self, server: LabServer) -> Mapping[str, Any]:
        """A cable of its own."""
        return {"type": "nio_cable", "lport": free_udp_port(server)}


class TestTower(NatureConformance):
    """A process without a console, which can be suspended."""

    node_type = "tower"


class TestBox(NatureConformance):
    """A service: nothing runs on this machine. It can be suspended."""

    node_type = "box"


class TestBoxWithFixedWires(NatureConformance):
    """One that has refused the change of its wires ever since it was started."""

    node_type = "box"
    create_body: ClassVar[Mapping[str, Any]] = MappingProxyType({"note": "sealed"})


class TestBeacon(NatureConformance):
    """A process that is always on."""

    node_type = "beacon"


class TestSwitch(NatureConformance):
    """A service that is always on."""

    node_type = "ethernet_switch"


FAULTS = {
    "test_start_stop_and_reload": """
async def start(self):
    pass
ToyNode.start = start
""",
    "test_events_tell_the_life_of_a_node_in_order": """
good_start = ToyNode.start
async def start(self):
    await good_start(self)
    async with self.project.change() as change:
        change.tell(await self.event("started"))
ToyNode.start = start
""",
    "test_a_new_node_is_shown_and_listed": """
good_snapshot = ToyNode.snapshot
async def snapshot(self):
    return {**await good_snapshot(self), "console": 5}
ToyNode.snapshot = snapshot
""",
    "test_a_node_is_there_after_a_restart": """
import itertools
numbers = itertools.count()
good_snapshot = ToyNode.snapshot
async def snapshot(self):
    return {**await good_snapshot(self), "note": str(next(numbers))}
ToyNode.snapshot = snapshot
""",
}


@pytest.mark.parametrize("test", FAULTS)
async def test_a_faulty_node_type_does_not_pass(gns3_serving, faulty_plugin, test):
    point = faulty_plugin(FAULTS[test], name="toy", source="toy_emulator.py")
    serving = partial(gns3_serving, plugins=[point])
    suite = TestToy()
    if "restart" in test:
        with pytest.raises(AssertionError):
            await suite.test_a_node_is_there_after_a_restart(serving)
    else:
        async with serving() as server:
            with pytest.raises(AssertionError):
                await getattr(suite, test)(server)
