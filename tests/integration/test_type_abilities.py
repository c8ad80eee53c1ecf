"""Whether the nodes of each type can run here, and what would make them run."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from gns3server.nodes.examining import TypeExaminer
from gns3server.nodes.registry import Registry

ABILITIES = """
from dataclasses import replace
from gns3server.plugin import Conflict, LaunchSpec, ProcessNode

class Program(ProcessNode):
    async def launch_spec(self):
        return LaunchSpec(argv=("true",), cwd="/")

async def able(machine):
    return "/bin/true, version 1"

async def unable(machine):
    raise Conflict("/bin/true is missing: install it.")

async def broken(machine):
    raise RuntimeError("not to be told")

@hookimpl
def gns3_node_types():
    return [
        replace(MINE, name="able", examine=able),
        replace(MINE, name="unable", examine=unable),
        replace(MINE, name="broken", examine=broken),
        replace(MINE, name="program", node_class=Program),
        replace(MINE, name="box"),
    ]
"""

SHOWN: list[dict[str, Any]] = [
    {"name": "able", "runs": True, "text": "/bin/true, version 1"},
    {"name": "unable", "runs": False, "text": "/bin/true is missing: install it."},
    {
        "name": "broken",
        "runs": None,
        "text": "its plugin 'mine' has failed to say so: tell its authors",
    },
    {
        "name": "program",
        "runs": None,
        "text": "only a start tells whether they can run here: their plugin does not say",
    },
    {"name": "box", "runs": True, "text": "they need no program on this machine"},
]


async def test_clients_are_told_of_every_type(gns3_serving, faulty_plugin):
    async with gns3_serving(plugins=[faulty_plugin(ABILITIES)]) as server:
        # Also when many ask at once.
        for answer in await asyncio.gather(*(server.client.get("/v1/plugins") for _ in range(5))):
            (report,) = answer.json
            assert (report["status"], report["types"]) == ("ok", SHOWN)


@pytest.mark.parametrize("command", ["plugins", "doctor"])
async def test_users_are_told_of_every_type(run, install_plugins, tmp_path, faulty_plugin, command):
    module = faulty_plugin(ABILITIES).value
    found_at = install_plugins(tmp_path / "site", mine=module)
    process = await run(command, PYTHONPATH=f"{tmp_path}:{found_at}")
    said = (await process.communicate())[0].decode()
    assert ": ok, but nodes of the type unable cannot run here\n" in said, said
    for ability in SHOWN:
        assert f"{ability['name']}: {ability['text']}\n" in said
    if command == "doctor":
        assert "\n  !   unable: /bin/true is missing" in said
        assert process.returncode == 1
        assert said.count("  !   ") == 1


async def test_nobody_waits_long_for_a_plugin(make_entry_point, lab):
    started = asyncio.Event()

    async def hang(machine):
        started.set()
        while True:
            try:
                await started.wait()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "too late"

    registry = Registry()
    kind = make_entry_point("mine", "toy_plugin").load().MINE
    for name, values in (("slow", {"examine": hang}), ("box", {})):
        registry.node_types[name] = dataclasses.replace(kind, name=name, **values)
        registry.plugins[name] = "mine"
    found = await TypeExaminer(seconds=0.05).ask(registry, lab.machine)
    assert started.is_set()
    assert found["slow"].runs is None
    assert found["slow"].text == "its plugin 'mine' did not say so within 0.05 seconds"
    assert found["box"].runs is True
