"""Mistakes that authors make, planted one by one: each fails its own requirement, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import pytest
from suite_runs import failing

from gns3server.testing import (
    LabServer,
    NodeTypeConformance,
    PluginConformance,
    free_udp_port,
)


class ToySuite(NodeTypeConformance):
    """Of the toy: a process with a console and UDP tunnels."""

    node_type = "toy"
    update_body: ClassVar[Mapping[str, Any]] = {"note": "another"}


class TowerSuite(NodeTypeConformance):
    """Of the tower: a process that is given its wires while it runs."""

    node_type = "tower"

    def nio(self, server: LabServer) -> Mapping[str, Any]:
        """A cable of its own."""
        return {"type": "nio_cable", "lport": free_udp_port(server)}


class PluginSuite(PluginConformance):
    """Of the plugin that has every hook."""

    plugin = "mine"


TOY = ("toy", "toy_emulator.py", ToySuite)
TOWER = ("natures", "toy_natures.py", TowerSuite)
MINE = ("mine", "toy_plugin.py", PluginSuite)

SPEC = """
import dataclasses
good_spec = ToyNode.launch_spec
async def launch_spec(self):
    spec = await good_spec(self)
    {}
ToyNode.launch_spec = launch_spec
"""
"""Makes another launch spec of the toy's own."""

MISTAKES = {
    # Nodes.
    "a UDP port that is not named": (
        *TOY,
        SPEC.format("return dataclasses.replace(spec, ports=spec.ports[:1])"),
        {"a_launch_spec_names_every_port_that_is_bound"},
    ),
    "no ports named": (
        *TOY,
        SPEC.format("return dataclasses.replace(spec, ports=())"),
        {"a_launch_spec_says_when_the_program_is_ready"},
    ),
    "NIOs that are ignored": (
        *TOY,
        SPEC.format("return dataclasses.replace(spec, argv=spec.argv[:5], ports=spec.ports[:1])"),
        {"a_started_program_has_its_wires"},
    ),
    "a hot plug that does nothing": (
        *TOWER,
        """
async def rewire(self):
    pass
Tower.rewire = rewire
""",
        {"a_running_program_gets_a_new_wire"},
    ),
    "two seconds of blocking": (
        *TOY,
        SPEC.format("import time; time.sleep(2); return spec"),
        {"no_call_blocks_the_server"},
    ),
    "a deletion that blocks": (
        *TOY,
        """
import time
async def deleted(self):
    time.sleep(2)
ToyNode.deleted = deleted
""",
        {"no_call_blocks_the_server"},
    ),
    "a leave that ends what runs": (
        *TOY,
        """
async def leave(self):
    await self.stop()
ToyNode.leave = leave
""",
        {"a_running_node_outlives_its_server"},
    ),
    "a start that restarts a running node": (
        *TOY,
        """
async def start(self):
    if self.run is not None:
        await self.stop()
    await ProcessNode.start(self)
ToyNode.start = start
""",
        {"a_start_leaves_a_running_node_alone"},
    ),
    "a prepare that changes the node": (
        *TOY,
        """
async def prepare(self, values):
    self.properties["note"] = values.get("note") or ""
    return await ProcessNode.prepare(self, values)
ToyNode.prepare = prepare
""",
        {"checks_change_nothing"},
    ),
    "a prepare that writes a file": (
        *TOY,
        """
async def prepare(self, values):
    self.directory.mkdir(parents=True, exist_ok=True)
    (self.directory / "note").write_text(values.get("name", ""))
    return await ProcessNode.prepare(self, values)
ToyNode.prepare = prepare
""",
        {"checks_change_nothing"},
    ),
    "a console update that is ignored": (
        *TOY,
        SPEC.format(
            "self.first = getattr(self, 'first', spec); return dataclasses.replace("
            "spec, argv=(*spec.argv[:4], self.first.argv[4], *spec.argv[5:]), "
            "ports=(self.first.ports[0], *spec.ports[1:]))"
        ),
        {"a_program_uses_the_console_that_it_is_given"},
    ),
    "a directory that is wiped at the start": (
        *TOY,
        SPEC.format(
            "import shutil; shutil.rmtree(self.directory, ignore_errors=True); return spec"
        ),
        {"a_start_keeps_the_nodes_files"},
    ),
    "a stop signal that the program ignores": (
        *TOY,
        SPEC.format(
            "argv = (*spec.argv[:3], 'ignores-term', *spec.argv[4:]); "
            "return dataclasses.replace(spec, argv=argv)"
        ),
        {"a_program_ends_when_it_is_asked_to"},
    ),
    # Plugins.
    "a hook that fails at the start": (
        *MINE,
        "@hookimpl\ndef gns3_node_types():\n    1 / 0",
        {"it_is_in_service"},
    ),
    "an import from inside the server": (
        *MINE,
        "from gns3server.nodes.store import Store",
        {"it_imports_what_it_may"},
    ),
    "a schema that cannot be described": (
        *MINE,
        "NumberSchema._declared_fields['number'].metadata['example'] = object()",
        {"the_api_document_describes_it"},
    ),
    "a UDP port that may be anything": (
        *MINE,
        "NioMineSchema._declared_fields['lport'] = fields.Integer()",
        {"its_nio_types_refuse_nonsense"},
    ),
    "a handler that trusts its body": (
        *MINE,
        """
from marshmallow import INCLUDE
class AnySchema(Schema):
    class Meta:
        unknown = INCLUDE
async def count(call):
    return {"number": call.body["number"] + 1}
@hookimpl
def gns3_routes():
    return [Route(
        method="POST", path="/v1/mine", handler=count, summary="Count", body=AnySchema,
        answer=NumberSchema,
    )]
""",
        {"its_routes_refuse_nonsense"},
    ),
    "a hook on projects that fails": (
        *MINE,
        "@hookimpl\nasync def gns3_project_closed(project):\n    1 / 0",
        {"projects_come_and_go_beside_it"},
    ),
    "a task that is left at work": (
        *MINE,
        """
import asyncio
async def work():
    await asyncio.Event().wait()
@hookimpl
@asynccontextmanager
async def gns3_lifespan(server):
    global task
    task = asyncio.create_task(work())
    yield
""",
        {"it_leaves_nothing_at_work"},
    ),
    "a lifespan that blocks": (
        *MINE,
        """
import time
@hookimpl
@asynccontextmanager
async def gns3_lifespan(server):
    time.sleep(2)
    yield
""",
        {"no_hook_blocks_the_server"},
    ),
}
"""Mistakes: of which toy, what is put at the end of its module, and which requirement finds it."""

HARMLESS = {
    "a leave without the base's work": "async def leave(self): pass\nToyNode.leave = leave",
    "a deletion without the base's work": (
        "async def deleted(self): pass\nToyNode.deleted = deleted"
    ),
    "a stop without the base's work": "async def stop(self): pass\nToyNode.stop = stop",
}
"""What would be a mistake if the server did not do its own part all the same."""


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_fails_its_own_requirement(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, mistake
):
    name, source, suite, code, found_by = MISTAKES[mistake]
    serving = partial(gns3_serving, plugins=[faulty_plugin(code, name=name, source=source)])
    assert await failing(suite, serving, gns3_settings, tmp_path, found_by) == found_by


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_fails_no_other_requirement(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, mistake
):
    name, source, suite, code, found_by = MISTAKES[mistake]
    serving = partial(gns3_serving, plugins=[faulty_plugin(code, name=name, source=source)])
    assert await failing(suite, serving, gns3_settings, tmp_path) == found_by


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", HARMLESS)
async def test_the_server_does_its_own_part_whatever_is_overridden(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, case
):
    point = faulty_plugin(HARMLESS[case], name="toy", source="toy_emulator.py")
    serving = partial(gns3_serving, plugins=[point])
    assert await failing(ToySuite, serving, gns3_settings, tmp_path) == set()


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("toy", [TOY, TOWER, MINE], ids=["toy", "tower", "mine"])
async def test_what_has_no_mistake_meets_all_requirements(
    gns3_serving, gns3_settings, faulty_plugin, tmp_path, toy
):
    name, source, suite = toy
    serving = partial(gns3_serving, plugins=[faulty_plugin(name=name, source=source)])
    assert await failing(suite, serving, gns3_settings, tmp_path) == set()
