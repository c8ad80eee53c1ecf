"""The toys do what every node type must do, each after its nature."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from suite_runs import failing

from gns3server.testing import LabServer, NodeTypeConformance, free_udp_port

TOYS = {"toy": "toy_emulator", "natures": "toy_natures"}


@pytest.fixture
def gns3_serving(gns3_serving, make_entry_point):
    """Serve with the toys and nothing else."""
    return partial(gns3_serving, plugins=[make_entry_point(*toy) for toy in TOYS.items()])


@pytest.fixture
def gns3_process(gns3_process, install_plugins, tmp_path):
    """The same, in processes of their own."""
    found_at = install_plugins(tmp_path / "site", **TOYS)
    return partial(gns3_process, environ={"PYTHONPATH": found_at}, strict_plugins=False)


class TestToy(NodeTypeConformance):
    """A process with a console."""

    node_type = "toy"


@pytest.mark.heavy
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


@pytest.mark.heavy
class TestTower(NatureConformance):
    """A process without a console, which can be suspended."""

    node_type = "tower"


class TestLathe(NatureConformance):
    """One that a reload resets in place, and whose objects do not show its state."""

    node_type = "lathe"


@pytest.mark.heavy
class TestBox(NatureConformance):
    """A service: nothing runs on this machine. It can be suspended."""

    node_type = "box"


@pytest.mark.heavy
class TestBoxWithFixedWires(NatureConformance):
    """One that has refused the change of its wires ever since it was started."""

    node_type = "box"
    create_body: ClassVar[Mapping[str, Any]] = MappingProxyType({"note": "sealed"})


class TestBeacon(NatureConformance):
    """A process that is always on."""

    node_type = "beacon"


@pytest.mark.heavy
class TestSwitch(NatureConformance):
    """A service that is always on."""

    node_type = "ethernet_switch"


TOY = ("toy", "toy_emulator.py", TestToy)
BOX = ("natures", "toy_natures.py", TestBox)
BEACON = ("natures", "toy_natures.py", TestBeacon)

SUSPENDS = {"a_node_is_suspended_and_goes_on", "a_running_node_outlives_its_server"}
STARTS = {
    *SUSPENDS,
    "a_closed_project_opens_with_its_nodes",
    "a_crash_is_told_and_leaves_nothing",
    "a_node_is_there_after_a_restart",
    "a_running_node_is_deleted_with_all_it_has",
    "a_start_keeps_the_nodes_files",
    "a_start_leaves_a_running_node_alone",
    "a_start_without_a_wire",
    "a_wire_is_changed_while_the_node_runs",
    "events_tell_the_life_of_a_node_in_order",
    "start_stop_and_reload",
    "two_nodes_come_up_beside_each_other",
}
"""The tests that start a node."""

RELOADS = {
    "a_launch_spec_names_every_port_that_is_bound",
    "a_launch_spec_says_when_the_program_is_ready",
    "a_program_ends_when_it_is_asked_to",
    "a_started_program_has_its_wires",
}
"""The tests that look at a program that was started with wires, or started again."""

LINKED = {
    "a_link_is_captured",
    "a_link_is_made_while_the_node_runs",
    "a_link_is_suspended_while_the_node_runs",
}
"""Those that start a node with links, if it takes any."""

FAULTS = {
    "a start that starts nothing": (
        *TOY,
        """
async def start(self):
    pass
ToyNode.start = start
""",
        {
            *STARTS,
            *RELOADS,
            *LINKED,
            "a_program_uses_the_console_that_it_is_given",
            "a_running_program_gets_a_new_wire",
        }
        - {"a_start_without_a_wire", "a_node_is_suspended_and_goes_on"},
    ),
    "a start that is told twice": (
        *TOY,
        """
good_start = ToyNode.start
async def start(self):
    await good_start(self)
    async with self.project.change() as change:
        change.tell(await self.event("started"))
ToyNode.start = start
""",
        {"events_tell_the_life_of_a_node_in_order"},
    ),
    "a console that is another": (
        *TOY,
        """
good_snapshot = ToyNode.snapshot
async def snapshot(self):
    return {**await good_snapshot(self), "console": 5}
ToyNode.snapshot = snapshot
""",
        {"a_new_node_is_shown_and_listed", "a_console_is_one_nodes_until_it_is_deleted"},
    ),
    "an update that is refused": (
        *TOY,
        """
async def prepare(self, values):
    if self.properties:
        raise Conflict("Not now.")
    return await ProcessNode.prepare(self, values)
ToyNode.prepare = prepare
""",
        {"an_update_changes_all_or_nothing", "a_program_uses_the_console_that_it_is_given"},
    ),
    "a process of its own": (
        *BOX,
        """
import os
async def start(self):
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    os.posix_spawn(sys.executable, argv, os.environ)
Box.start = start
""",
        STARTS | {"no_call_blocks_the_server"},
    ),
    "a start that fails": (
        *BOX,
        """
async def start(self):
    raise RuntimeError("toy fault")
Box.start = start
""",
        STARTS,
    ),
    "a creation that fails": (
        *BOX,
        """
async def created(self):
    raise RuntimeError("toy fault")
Box.created = created
""",
        {"events_tell_the_life_of_a_node_in_order"},
    ),
    "a deletion that fails": (
        *BOX,
        """
async def deleted(self):
    raise RuntimeError("toy fault")
Box.deleted = deleted
""",
        {"a_running_node_is_deleted_with_all_it_has"},
    ),
    "a stop that fails": (
        *BOX,
        """
async def stop(self):
    raise RuntimeError("toy fault")
Box.stop = stop
""",
        {
            *SUSPENDS,
            "a_running_node_is_deleted_with_all_it_has",
            "a_start_keeps_the_nodes_files",
            "events_tell_the_life_of_a_node_in_order",
            "start_stop_and_reload",
        },
    ),
    "a suspension that hangs": (
        *BOX,
        """
import asyncio
async def suspend(self):
    await asyncio.Event().wait()
Box.suspend = suspend
""",
        SUSPENDS,
    ),
    "a resumption that is refused": (
        *BOX,
        """
async def resume(self):
    raise Conflict("It is frozen for good.")
Box.resume = resume
""",
        SUSPENDS,
    ),
    "a node that is not found again": (
        *BOX,
        """
async def adopted(self):
    raise Conflict("It is gone.")
Box.adopted = adopted
""",
        {"a_running_node_outlives_its_server"},
    ),
    "wires that fail while it runs": (
        *BOX,
        """
async def wire_changed(self, adapter, port, nio):
    if self.state is NodeState.STARTED:
        raise RuntimeError("toy fault")
Box.wire_changed = wire_changed
""",
        {"a_wire_is_changed_while_the_node_runs"},
    ),
    "a port that takes no wire": (
        *BOX,
        """
async def wire_changing(self, adapter, port, nio):
    if port:
        raise Conflict("Not here.")
Box.wire_changing = wire_changing
""",
        {"nios_go_where_there_is_a_port"},
    ),
    "a port that takes no link": (
        *TOY,
        """
async def wire_changing(self, adapter, port, nio):
    if port:
        raise Conflict("Not here.")
ToyNode.wire_changing = wire_changing
""",
        {"links_end_where_there_is_a_port", "nios_go_where_there_is_a_port"},
    ),
    "links that fail while it runs": (
        *TOY,
        """
from gns3server.plugin import NodeState
async def wire_changed(self, adapter, port, nio):
    if self.state is NodeState.STARTED:
        raise RuntimeError("toy fault")
ToyNode.wire_changed = wire_changed
""",
        {
            "a_link_is_made_while_the_node_runs",
            "a_link_is_suspended_while_the_node_runs",
            "a_running_program_gets_a_new_wire",
            "a_started_program_has_its_wires",
            "a_wire_is_changed_while_the_node_runs",
        },
    ),
    "hot wiring that is only declared": (
        *TOY,
        """
import dataclasses
@hookimpl
def gns3_node_types(_plain=gns3_node_types):
    return [dataclasses.replace(_plain()[0], capabilities=frozenset({"hot_wiring"}))]
""",
        {"a_link_is_made_while_the_node_runs"},
    ),
    "what is always on and cannot start twice": (
        *BEACON,
        """
started = set()
good_spec = Tower.launch_spec
async def launch_spec(self):
    if self.id in started:
        raise Conflict("Once is enough.")
    started.add(self.id)
    return await good_spec(self)
Tower.launch_spec = launch_spec
""",
        {
            *RELOADS,
            "a_closed_project_opens_with_its_nodes",
            "a_crash_is_told_and_leaves_nothing",
            "a_node_is_there_after_a_restart",
            "start_stop_and_reload",
        },
    ),
}
"""Mistakes: of which plugin, what is put at the end of its module, and the tests that find it."""


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_mistake_fails_the_tests_of_what_it_breaks(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, fault
):
    name, source, suite, code, found_by = FAULTS[fault]
    point = faulty_plugin(code, name=name, source=source)
    serving = partial(gns3_serving, plugins=[point], plugin_seconds=5)
    # One of them; which others fail is found out where there is more time.
    tests = [min(found_by)]
    assert await failing(suite, serving, gns3_settings, tmp_path, tests) == {*tests}


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_mistake_fails_all_tests_of_what_it_breaks_and_no_other(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, fault
):
    name, source, suite, code, found_by = FAULTS[fault]
    point = faulty_plugin(code, name=name, source=source)
    serving = partial(gns3_serving, plugins=[point], plugin_seconds=5)
    assert await failing(suite, serving, gns3_settings, tmp_path) == found_by


async def test_what_the_plugin_says_and_other_nodes_do_is_not_heeded(gns3_serving, faulty_plugin):
    """A noisy plugin: events in its own words, complaints of the project and of no project."""
    noise = """
plain_start = Box.start
async def start(self):
    await plain_start(self)
    for node in self.project.members:
        await self.say("vm.started", vm_id=node.id)
    await self.project.report("00000000-0000-4000-8000-000000000000", "another node's trouble")
Box.start = start
"""
    point = faulty_plugin(noise, name="natures", source="toy_natures.py")
    async with gns3_serving(plugins=[point]) as server:
        await TestBox().test_events_tell_the_life_of_a_node_in_order(server)
        await TestBox().test_a_node_is_suspended_and_goes_on(server)
