"""Virtual PCs as objects: nothing here needs a process."""

from __future__ import annotations

import json
import os
import uuid
from io import BytesIO
from pathlib import Path

import pytest
from vpcs_lab import Server

SCRIPT = "set pcname %h\nip 10.0.0.1/24\n"


def make_huge(path):
    """A file of 1.5 GB that takes no room on the disk."""
    path.touch()
    os.truncate(path, 1536 * 1024 * 1024)


def make_link(path):
    """A link out of the project."""
    path.symlink_to("/etc/passwd")


OBSTACLES = [Path.mkdir, os.mkfifo, make_huge, make_link]
"""What may be where a script belongs, and is none."""


@pytest.mark.statement("VPCS-01", "VPCS-02", "VPCS-08")
async def test_a_new_pc(lab):
    vm_id = str(uuid.uuid4())
    answer = await lab.create(name="one", vm_id=vm_id)
    assert answer.status == 201
    path = f"{lab.project}/vpcs/vms/{vm_id}"
    created = answer.json
    assert created == {
        "name": "one",
        "vm_id": vm_id,
        "project_id": lab.project.rpartition("/")[2],
        "status": "stopped",
        "console": lab.server.settings.server.console_start_port_range,
        "vm_directory": created["vm_directory"],
        "startup_script": None,
        "startup_script_path": None,
    }
    assert created["vm_directory"].endswith(f"/project-files/vpcs/{vm_id}")
    assert (await lab.client.get(path)).json == created
    assert (await lab.client.get(f"{lab.project}/vpcs/vms")).json == [created]


@pytest.mark.statement("VPCS-03", "VPCS-04", "VPCS-15")
async def test_a_pc_with_a_script_and_a_console(lab):
    console = lab.server.settings.server.console_end_port_range
    created = (await lab.create(name="one", console=console, startup_script=SCRIPT)).json
    assert created["console"] == console
    assert created["startup_script"] == "set pcname one\nip 10.0.0.1/24\n"
    assert created["startup_script_path"] == "startup.vpc"


@pytest.mark.statement("VPCS-07", "VPCS-14", "VPCS-16")
async def test_a_pc_is_changed(lab):
    pc = await lab.pc(name="one")
    console = lab.server.settings.server.console_end_port_range
    changed = await pc.update(name="two", console=console, startup_script="echo %h")
    assert (changed["name"], changed["console"]) == ("two", console)
    assert changed["startup_script"] == "echo two"
    assert await pc.get() == changed
    assert (pc.node.directory / "startup.vpc").read_bytes() == b"echo two"


@pytest.mark.statement("VPCS-06", "VPCS-30")
async def test_a_pc_is_known_to_its_project_until_it_is_deleted(lab):
    pc, other = await lab.pc(), await Server.open(lab.server)
    through_other = f"{other.project}/vpcs/vms/{pc.id}"
    for method in ("GET", "DELETE"):
        assert (await lab.client.request(method, through_other)).status == 404
    assert (await lab.client.put(through_other, {"name": "x"})).status == 404
    assert (await lab.client.post(f"{through_other}/start")).status == 404
    directory = pc.node.directory
    directory.mkdir(parents=True, exist_ok=True)
    assert (await lab.client.delete(pc.path)).status == 204
    assert directory.exists()
    assert (await lab.client.get(pc.path)).status == 404
    assert (await lab.client.delete(pc.path)).status == 404


@pytest.mark.statement("VPCS-29", "PORT-13")
async def test_the_same_id_again(lab):
    pc = await lab.pc(name="one", startup_script="echo")
    known = await pc.get()
    again = await lab.create(name="two", vm_id=pc.id, startup_script="other")
    assert (again.status, again.json) == (201, known)
    other = await Server.open(lab.server)
    assert (await other.create(vm_id=pc.id)).status == 409
    assert len(lab.server.ports.tcp) == 1
    await lab.client.delete(pc.path)
    assert len(lab.server.ports.tcp) == 0
    assert (await other.create(vm_id=pc.id)).status == 201


@pytest.mark.statement("VPCS-32")
@pytest.mark.parametrize(
    "values",
    [
        {"console": 0},
        {"console": 70000},
        {"console": "2000"},
        {"console": True},
        {"console": 2000.5},
        {"name": ""},
        {"name": None},
        {"name": 5},
        {"startup_script": 5},
        {"vm_id": None},
        {"vm_id": "one"},
        {"status": "started"},
    ],
    ids=str,
)
async def test_values_that_do_not_fit(lab, values):
    answer = await lab.create(**values)
    assert answer.status == 400
    assert answer.json["request"] == {"name": "PC", **values}
    assert (await lab.client.get(f"{lab.project}/vpcs/vms")).json == []
    assert len(lab.server.ports.tcp) == 0


@pytest.mark.statement("VPCS-28", "PORT-12")
async def test_a_console_belongs_to_one_pc(lab):
    one, two = await lab.pc(), await lab.pc()
    answer = await lab.create(console=one.console)
    assert answer.status == 409
    assert f"TCP port {one.console} already in use" in answer.json["message"]
    answer = await lab.client.put(two.path, {"console": one.console, "name": "changed"})
    assert answer.status == 409
    assert ((await two.get())["console"], (await two.get())["name"]) == (two.console, "PC")
    free = lab.server.settings.server.console_end_port_range
    await one.update(console=free)
    assert (await lab.create(console=one.console)).status == 201
    assert (await lab.create(console=free)).status == 409
    assert len(lab.server.ports.tcp) == 3


class TestScripts:
    """What a script that is given, null, empty or absent means (D-10, D-11, D-27)."""

    @pytest.mark.parametrize("values", [{}, {"startup_script": None}], ids=["absent", "null"])
    async def test_none_at_creation_leaves_a_file_alone(self, lab, values):
        pc = await lab.pc(startup_script="echo kept")
        assert (await lab.client.delete(pc.path)).status == 204
        again = await lab.create(vm_id=pc.id, **values)
        assert again.json["startup_script"] == "echo kept"

    async def test_one_at_creation_replaces_the_file(self, lab):
        pc = await lab.pc(startup_script="echo old")
        await lab.client.delete(pc.path)
        assert (await lab.create(vm_id=pc.id, startup_script="")).json["startup_script"] == ""

    async def test_null_empties_the_file(self, lab):
        pc = await lab.pc(startup_script="echo old")
        changed = await pc.update(startup_script=None)
        assert (changed["startup_script"], changed["startup_script_path"]) == ("", "startup.vpc")

    async def test_null_makes_no_file(self, lab):
        pc = await lab.pc()
        changed = await pc.update(startup_script=None)
        assert (changed["startup_script"], changed["startup_script_path"]) == (None, None)

    async def test_an_empty_one_makes_a_file(self, lab):
        pc = await lab.pc()
        changed = await pc.update(startup_script="")
        assert (changed["startup_script"], changed["startup_script_path"]) == ("", "startup.vpc")

    async def test_absent_touches_nothing(self, lab):
        pc = await lab.pc(name="one")
        assert (await pc.update(name="two"))["startup_script_path"] is None
        await pc.update(startup_script="echo two")
        await pc.update(console=lab.server.settings.server.console_end_port_range)
        assert (await pc.get())["startup_script"] == "echo two"

    async def test_null_leaves_name_and_console_as_they_are(self, lab):
        pc = await lab.pc(name="one", startup_script="echo one")
        before = await pc.get()
        assert await pc.update(name=None, console=None) == before
        assert lab.server.ports.tcp.holders(pc.console)

    async def test_bytes_that_are_no_text_are_shown_replaced_and_kept(self, lab):
        pc = await lab.pc(name="one")
        pc.node.directory.mkdir(parents=True, exist_ok=True)
        file = pc.node.directory / "startup.vpc"
        file.write_bytes(b"echo \xff one")
        assert (await pc.get())["startup_script"] == "echo \ufffd one"
        await pc.update(name="two")
        assert file.read_bytes() == b"echo \xff two"

    @pytest.mark.parametrize("obstacle", OBSTACLES)
    async def test_one_that_cannot_be_read_is_said_where_it_matters(self, lab, obstacle):
        pc = await lab.wired(name="one")
        before = await pc.get()
        script = pc.node.directory / "startup.vpc"
        script.parent.mkdir(parents=True)
        obstacle(script)
        assert await pc.get() == before
        for answer in (await pc.ask("start"), await lab.client.put(pc.path, {"name": "two"})):
            assert answer.status == 409
            assert str(script) in answer.json["message"]
            assert "plain file" in answer.json["message"]
        assert (await lab.client.get(f"{lab.project}/vpcs/vms")).json == [before]
        assert (await lab.client.delete(pc.path)).status == 204

    @pytest.mark.parametrize("obstacle", OBSTACLES[1:])
    async def test_one_that_cannot_be_read_can_be_replaced(self, lab, obstacle):
        pc = await lab.pc(name="one")
        script = pc.node.directory / "startup.vpc"
        script.parent.mkdir(parents=True)
        obstacle(script)
        assert (await pc.get())["startup_script_path"] is None
        assert (await pc.update(startup_script="echo"))["startup_script"] == "echo"
        assert (await pc.get())["startup_script"] == "echo"
        assert not script.is_symlink()

    async def test_one_that_its_names_make_too_large_is_refused(self, lab):
        pc = await lab.pc(name="x" * 100, startup_script="echo")
        script = "%h" * 200_000
        answer = await lab.client.put(pc.path, {"startup_script": script})
        assert answer.status == 409
        assert "20000000 bytes" in answer.json["message"]
        assert (await pc.get())["startup_script"] == "echo"

    async def test_what_others_do_to_it_is_shown_at_once(self, lab):
        pc = await lab.pc(name="one", startup_script="echo 1")
        script = pc.node.directory / "startup.vpc"

        async def shown():
            values = await pc.get()
            return values["startup_script"], values["startup_script_path"]

        for text in ("echo 2", "echo 3"):
            assert await shown() == (script.read_text(), "startup.vpc")
            before = script.stat()
            script.write_text(text)
            os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert await shown() == (text, "startup.vpc")
        other = script.with_name("other")
        other.write_text("echo 4")
        other.replace(script)
        assert await shown() == ("echo 4", "startup.vpc")
        script.unlink()
        assert await shown() == (None, None)
        script.write_text("echo 5")
        assert await shown() == ("echo 5", "startup.vpc")

    @pytest.mark.statement("VPCS-18")
    @pytest.mark.parametrize(
        ("old", "new", "script", "expected"),
        [
            ("world", "hello", "name world", "name hello"),
            ("a", "b", "set pcname a\nsave a-1 data cat", "set pcname b\nsave a-1 data cat"),
            ("1", "2", "ip 10.0.0.1/24 1::1\necho 1", "ip 10.0.0.1/24 1::1\necho 2"),
            ("PC", "x", "PC PC1 PCPC my_PC (PC) PC. PC: -PC", "x PC1 PCPC my_PC (x) x. x: -x"),
            ("PC 1", "PC 2", "echo PC 1\necho PC 10", "echo PC 2\necho PC 10"),
            ("a.c", "x", "a.c abc", "x abc"),
            ("[", "]", "a [ b", "a ] b"),
            ("one", r"\1\g<0>", "one", r"\1\g<0>"),
            ("one", "two", "set pcname %h", "set pcname two"),
            ("one", "%h2", "one %h", "%h2 %h2"),
            ("%h2", "one", "%h2 %h", "one one"),
        ],
    )
    async def test_a_new_name_replaces_the_old_one_as_a_word(self, lab, old, new, script, expected):
        pc = await lab.pc(name=old)
        pc.node.directory.mkdir(parents=True, exist_ok=True)
        (pc.node.directory / "startup.vpc").write_text(script)
        assert (await pc.update(name=new))["startup_script"] == expected

    async def test_a_script_that_comes_with_a_new_name_is_taken_as_it_is(self, lab):
        pc = await lab.pc(name="old", startup_script="echo old")
        changed = await pc.update(name="new", startup_script="echo %h, once old")
        assert changed["startup_script"] == "echo new, once old"

    async def test_the_same_name_changes_no_script(self, lab):
        pc = await lab.pc(name="one")
        pc.node.directory.mkdir(parents=True, exist_ok=True)
        (pc.node.directory / "startup.vpc").write_text("echo %h")
        assert (await pc.update(name="one"))["startup_script"] == "echo %h"

    @pytest.mark.statement("VPCS-35", "PRJ-36")
    @pytest.mark.parametrize("script", [{}, {"startup_script": None}], ids=["absent", "null"])
    async def test_a_reopened_project_has_its_scripts(self, lab, script):
        pc = await lab.pc(name="one", startup_script="echo one")
        before = await pc.get()
        assert (await lab.client.post(f"{lab.project}/close")).status == 204
        body = {"project_id": lab.project.rpartition("/")[2]}
        assert (await lab.client.post("/v1/projects", body)).status == 201
        # Only the first such request after an opening can change anything.
        values = {"vm_id": pc.id, "console": pc.console, "name": "one", **script}
        assert (await lab.create(**values)).json == before


async def test_a_new_pc_is_told_with_its_script(lab):
    async with lab.client.listen(f"{lab.project}/notifications?since=0") as events:
        assert (await anext(events))["action"] == "ping"
        created = (await lab.create(startup_script="echo %h")).json
        assert created["startup_script"] == "echo PC"
        told = {"action": "vm.created", "event": created, "seq": 1}
        assert await anext(events) == told
    async with lab.client.listen(f"{lab.project}/notifications?since=0") as events:
        assert [await anext(events), await anext(events)] == [{"action": "ping"}, told]


async def test_a_script_may_have_a_mebibyte_and_events_leave_it_out(lab):
    pcs, most = f"{lab.project}/vpcs/vms", "echo\n" * (1024 * 1024 // 5)

    async def send(method, path, **values):
        # A stream, because aiohttp warns of bodies of this size that are not.
        return await lab.client.request(method, path, data=BytesIO(json.dumps(values).encode()))

    too_much = {"name": "PC", "startup_script": most + "x" * 2}
    for values in (too_much, {**too_much, "vm_id": str(uuid.uuid4())}):
        answer = await send("POST", pcs, **values)
        assert answer.status == 409
        assert "startup.vpc" in answer.json["message"]
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        made = [(await send("POST", pcs, name="PC", startup_script=most)).json for _ in range(5)]
        for pc in made:
            assert pc["startup_script"] == most
            told = await anext(events)
            assert told["event"] == {k: v for k, v in pc.items() if k != "startup_script"}
    assert (await lab.client.get(pcs)).json == made
    first = f"{pcs}/{made[0]['vm_id']}"
    assert (await send("PUT", first, startup_script=most + "x" * 2)).status == 409
    assert (await lab.client.get(first)).json == made[0]


@pytest.mark.statement("VPCS-23")
async def test_the_256th_pc_is_refused_and_leaves_nothing(lab):
    pc = [await lab.pc() for _ in range(255)][-1]
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        for vm_id in (None, str(uuid.uuid4())):
            values = {"vm_id": vm_id} if vm_id else {}
            answer = await lab.create(startup_script="echo", **values)
            assert answer.status == 409
            assert "255" in answer.json["message"]
        assert len((await lab.client.get(f"{lab.project}/vpcs/vms")).json) == 255
        assert len(lab.server.ports.tcp) == 255
        assert len(list(pc.node.directory.parent.glob("*/startup.vpc"))) == 0
        other = await Server.open(lab.server)
        await other.pc()
        assert (await lab.client.delete(pc.path)).status == 204
        assert (await lab.create(vm_id=vm_id)).status == 201
        assert (await anext(events))["event"]["vm_id"] == vm_id


async def test_a_directory_where_the_script_belongs_is_told_and_changes_nothing(lab):
    pc = await lab.pc(name="PC", startup_script="echo")
    script = Path((await pc.get())["vm_directory"]) / "startup.vpc"
    before = await pc.get()
    script.unlink()
    script.mkdir()
    answer = await lab.client.put(pc.path, {"name": "new", "startup_script": "echo new"})
    assert answer.status == 507
    assert str(script) in answer.json["message"]
    script.rmdir()
    script.write_text("echo")
    assert await pc.get() == before
