"""The toy emulator does what every node type must do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from gns3server.testing import NodeTypeConformance


@pytest.fixture
def gns3_serving(gns3_serving, make_entry_point):
    """Serve with the toy emulator and nothing else."""
    return partial(gns3_serving, plugins=[make_entry_point("toy", "toy_emulator")])


class TestToy(NodeTypeConformance):
    node_type = "toy"


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


class TestToyThatNeedsAWire(NodeTypeConformance):
    """The same, of a toy that refuses to start unwired."""

    node_type = "toy"
    create_body: ClassVar[Mapping[str, Any]] = MappingProxyType({"mode": "unwired"})
    needs_wire = True
