"""Virtual machines as clients make, change and see them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import uuid
from pathlib import Path

import pytest
from qemu_guests import echo, switching_off
from qemu_lab import GUEST, screen_at

CONTRACT = (
    "project_id",
    "vm_id",
    "vm_directory",
    "name",
    "qemu_path",
    "platform",
    "console",
    "console_type",
    "hda_disk_image",
    "hdb_disk_image",
    "hdc_disk_image",
    "hdd_disk_image",
    "hda_disk_image_md5sum",
    "hdb_disk_image_md5sum",
    "hdc_disk_image_md5sum",
    "hdd_disk_image_md5sum",
    "ram",
    "adapters",
    "adapter_type",
    "mac_address",
    "initrd",
    "kernel_image",
    "initrd_md5sum",
    "kernel_image_md5sum",
    "kernel_command_line",
    "legacy_networking",
    "acpi_shutdown",
    "cpu_throttling",
    "process_priority",
    "options",
)
"""The thirty fields of chapter 2.7."""


# Made ------------------------------------------------------------------------------------


@pytest.mark.statement("QEMU-01")
async def test_a_program_is_named_by_its_path(lab, qemu_program):
    made = (await lab.create(qemu_path=qemu_program)).json
    assert sorted(made) == sorted(CONTRACT)
    assert (made["qemu_path"], made["platform"]) == (qemu_program, "x86_64")
    assert {name: made[name] for name in ("ram", "adapters", "adapter_type", "console_type")} == {
        "ram": 256,
        "adapters": 1,
        "adapter_type": "e1000",
        "console_type": "telnet",
    }
    assert (made["process_priority"], made["cpu_throttling"]) == ("low", 0)
    assert made["hda_disk_image"] == made["initrd"] == made["options"] == ""
    assert made["hda_disk_image_md5sum"] is None


@pytest.mark.statement("QEMU-02")
async def test_a_platform_stands_for_the_program_of_its_name(lab, qemu_program):
    answer = await lab.create(qemu_path=None, platform="x86_64")
    assert (answer.status, answer.json["qemu_path"]) == (201, qemu_program)


@pytest.mark.statement("QEMU-03")
async def test_values_are_as_given(lab, echo_image):
    made = (await lab.create(platform="x86_64", ram=1024, hda_disk_image=str(echo_image))).json
    assert (made["ram"], made["hda_disk_image"]) == (1024, "echo.img")
    assert made["hda_disk_image_md5sum"] == hashlib.md5(echo()).hexdigest()


@pytest.mark.statement("QEMU-04")
async def test_it_has_a_directory_in_its_project(lab):
    vm = await lab.vm()
    project = (await lab.client.get(lab.project)).json["path"]
    assert (await vm.get())["vm_directory"] == f"{project}/project-files/qemu/{vm.id}"


@pytest.mark.statement("QEMU-11")
async def test_a_bare_name_is_looked_up(lab, qemu_program):
    made = (await lab.create(qemu_path="qemu-system-x86_64")).json
    assert made["qemu_path"] == qemu_program


@pytest.mark.statement("QEMU-10")
async def test_a_program_has_to_be_there(lab, tmp_path, qemu_program):
    plain = tmp_path / "qemu-system-x86_64"
    plain.write_text("no program")
    for path in (str(tmp_path / "gone"), str(plain)):
        answer = await lab.create(qemu_path=path)
        assert answer.status == 409
        assert path in answer.json["message"]
    assert (await lab.create(qemu_path=None)).status == 409
    assert (await lab.create()).status == 409
    # The platform is what counts if the path leads nowhere.
    assert (await lab.create(qemu_path=str(plain), platform="x86_64")).status == 201
    far = tmp_path / "mémoire"
    far.mkdir()
    (far / "qemu-system-x86_64").symlink_to(qemu_program)
    made = (await lab.create(qemu_path=str(far / "qemu-system-x86_64"))).json
    assert (made["qemu_path"], made["platform"]) == (f"{far}/qemu-system-x86_64", "x86_64")


async def test_a_program_of_another_name_needs_a_platform(lab, tmp_path, qemu_program):
    own = tmp_path / "my-machine"
    own.symlink_to(qemu_program)
    answer = await lab.create(qemu_path=str(own))
    assert answer.status == 409
    assert "give the platform as well" in answer.json["message"]
    made = (await lab.create(qemu_path=str(own), platform="x86_64")).json
    assert (made["qemu_path"], made["platform"]) == (str(own), "x86_64")


async def test_a_refused_creation_holds_no_port(lab):
    before = len(lab.server.ports.tcp)
    assert (await lab.create(qemu_path="/nowhere/qemu")).status == 409
    assert len(lab.server.ports.tcp) == before


@pytest.mark.parametrize(
    "values",
    [
        {"adapters": 33},
        {"adapters": True},
        {"ram": 0},
        {"platform": "pdp11"},
        {"process_priority": "urgent"},
        {"cpu_throttling": 801},
        {"mac_address": "00:11:22"},
        {"adapter_type": "e1000,mac=00:00:00:00:00:01"},
        {"console_type": "spice"},
        {"boot": "c"},
        {"name": ""},
        {"hda_disk_image": "a\0b"},
    ],
)
async def test_bad_values_are_refused(lab, values):
    answer = await lab.create(**{"platform": "x86_64", **values})
    assert answer.status == 400
    assert (await lab.client.get(f"{lab.project}/qemu/vms")).json == []


async def test_null_means_the_usual_and_no_value_poisons(lab):
    """D-21: a null, or the text of one, was stored, and the VM could not be shown any more."""
    unset = {
        "platform": "x86_64",
        "ram": None,
        "adapters": None,
        "process_priority": "null",
        "initrd": "",
        "mac_address": "",
    }
    made = (await lab.create(**unset)).json
    assert (made["ram"], made["adapters"], made["process_priority"]) == (256, 1, "low")
    path = f"{lab.project}/qemu/vms/{made['vm_id']}"
    changed = (await lab.client.put(path, {"initrd": "x", "platform": "null", "ram": 64})).json
    assert (changed["initrd"], changed["platform"], changed["ram"]) == ("x", "x86_64", 64)
    changed = (await lab.client.put(path, {"initrd": "", "ram": None, "adapters": None})).json
    assert (changed["initrd"], changed["ram"], changed["adapters"]) == ("", 64, 1)
    assert (await lab.client.get(path)).json == changed


async def test_the_usual_mac_address_comes_from_the_id_and_comes_back(lab):
    vm_id = f"{str(uuid.uuid4())[:-4]}0e0f"
    vm = await lab.vm(vm_id=vm_id)
    assert (await vm.get())["mac_address"] == "00:00:ab:0e:0f:00"
    await vm.update(mac_address="02:00:00:00:00:fe")
    assert (await vm.get())["mac_address"] == "02:00:00:00:00:fe"
    assert (await vm.update(mac_address=None)).json["mac_address"] == "00:00:ab:0e:0f:00"


# Changed ---------------------------------------------------------------------------------


@pytest.mark.statement("QEMU-06")
async def test_an_update_shows_the_new_values(lab):
    vm = await lab.vm()
    console = vm.console + 50
    values = {"name": "new", "console": console, "ram": 512, "hdb_disk_image": "/tmp/hdb"}
    answer = await vm.update(**values)
    assert answer.status == 200
    assert {name: answer.json[name] for name in values} == values


@pytest.mark.statement("QEMU-12")
async def test_program_and_platform_go_together(lab, qemu_program):
    vm = await lab.vm()
    changed = (await vm.update(platform="i386")).json
    assert changed["qemu_path"] == shutil.which("qemu-system-i386")
    changed = (await vm.update(qemu_path=qemu_program)).json
    assert (changed["qemu_path"], changed["platform"]) == (qemu_program, "x86_64")
    answer = await vm.update(platform="sparc")
    assert answer.status == 409
    assert "qemu-system-sparc" in answer.json["message"]
    assert await vm.get() == changed


@pytest.mark.statement("QEMU-19")
@pytest.mark.parametrize("disk", ["hda", "hdb", "hdc", "hdd"])
async def test_images_are_named_within_their_directory(lab, disk, gns3_settings):
    field, images = f"{disk}_disk_image", Path(gns3_settings.server.images_path)
    vm = await lab.vm()
    for given, shown in (
        ("linux.img", "linux.img"),
        (f"{images}/QEMU/linux.img", "linux.img"),
        (f"{images}/other/linux.img", f"{images}/other/linux.img"),
        ("", ""),
    ):
        assert (await vm.update(**{field: given})).json[field] == shown


@pytest.mark.statement("QEMU-22")
async def test_options_are_kept(lab):
    vm = await lab.vm()
    assert (await vm.update(options="  -rtc base=utc ")).json["options"] == "-rtc base=utc"
    assert (await vm.get())["options"] == "-rtc base=utc"


async def test_wired_adapters_do_not_go_away(lab):
    vm = await lab.vm(adapters=3)
    assert (await vm.plug(2, type="nio_nat")).status == 201
    answer = await vm.update(adapters=2, ram=64)
    assert answer.status == 409
    assert "adapters 2 would go away" in answer.json["message"]
    assert ((await vm.get())["adapters"], (await vm.get())["ram"]) == (3, 16)
    assert (await vm.unplug(2)).status == 204
    assert (await vm.update(adapters=2)).json["adapters"] == 2


async def test_some_values_stay_while_it_runs(lab):
    vm = await lab.vm()
    await vm.do("start")
    for values in ({"console_type": "vnc"}, {"adapters": 4}):
        answer = await vm.update(**values)
        assert answer.status == 409
        assert "Stop it first" in answer.json["message"]
    assert (await vm.update(console_type="telnet", adapters=1, ram=32)).status == 200


@pytest.mark.statement("NIO-11")
async def test_a_tunnel_is_plugged_into_a_second_adapter(lab):
    vm = await lab.vm()
    nio = {"type": "nio_udp", "lport": await lab.udp_port(), "rhost": "127.0.0.1", "rport": 9}
    assert (await vm.plug(1, **nio)).status == 409
    await vm.update(adapters=2)
    answer = await vm.plug(1, **nio)
    assert (answer.status, answer.json) == (201, nio)
    assert (await vm.unplug(1)).status == 204
    assert (await vm.plug(0, type="nio_generic_ethernet", ethernet_device="lo")).status == 409


# Run -------------------------------------------------------------------------------------


@pytest.mark.statement("QEMU-05")
async def test_every_action_is_answered_alike(lab):
    vm = await lab.vm()
    await vm.do("start", "reload", "suspend", "resume", "stop", "reload", "stop")
    assert await vm.status() == "stopped"
    assert (await lab.client.delete(vm.path)).status == 204


@pytest.mark.statement("QEMU-05")
async def test_a_stopped_guest_is_not_suspended_and_a_suspended_one_starts_again(lab):
    vm = await lab.vm()
    await vm.do("suspend")
    assert await vm.status() == "stopped"
    answer = await vm.ask("resume")
    assert answer.status == 409
    assert "start it instead" in answer.json["message"]
    await vm.do("start", "suspend")
    pid = vm.pid
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        await vm.do("start")
        while (told := await anext(events))["action"] == "ping":
            pass
    assert told == {"action": "vm.started", "event": await vm.get()}
    assert (await vm.status(), vm.pid) == ("started", pid)
    async with screen_at(vm.console) as screen:
        await screen.type("x")
        await screen.until("x")


@pytest.mark.statement("QEMU-20")
async def test_its_state_follows_its_process(lab):
    vm = await lab.vm()
    shown = await vm.get("emulator")
    assert shown == {"status": "stopped", **dict.fromkeys(shown.keys() - {"status"})}
    await vm.do("start")
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        os.kill(vm.pid, signal.SIGKILL)
        while (await anext(events))["action"] != "vm.stopped":
            pass
    assert await vm.status() == "stopped"
    assert (await vm.get("emulator"))["command_line"] is None
    await vm.do("start")
    assert await vm.status() == "started"


@pytest.mark.statement("NOTIF-09")
async def test_a_guest_that_ends_by_itself_is_stopped_and_no_error(lab, echo_image):
    echo_image.with_name("off.img").write_bytes(switching_off())
    vm = await lab.vm(hda_disk_image="off.img")
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        await vm.do("start")
        told = []
        while "vm.stopped" not in told:
            told.append((await anext(events))["action"])
        assert await vm.status() == "stopped"
        await vm.update(hda_disk_image="", hdb_disk_image="echo.img")
        await vm.do("start")
        while told[-1] != "vm.started":
            told.append((await anext(events))["action"])
    changes = [action for action in told if action != "ping"]
    assert changes == ["vm.started", "vm.stopped", "vm.started"]


@pytest.mark.statement("QEMU-14")
@pytest.mark.parametrize(("priority", "niceness"), [("low", 5), ("very low", 19), ("normal", 0)])
async def test_all_its_threads_have_its_priority(lab, priority, niceness):
    """D-21: it was never applied."""
    vm = await lab.vm(process_priority=priority)
    await vm.do("start")
    own = os.getpriority(os.PRIO_PROCESS, 0)
    threads = [*map(int, os.listdir(f"/proc/{vm.pid}/task"))]
    assert len(threads) > 1
    expected = min(own + niceness, 19)
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {expected}


async def test_its_share_of_the_processor_is_limited(lab):
    vm = await lab.vm(cpu_throttling=50, process_priority="normal")
    await vm.do("start")
    program, *words = (await vm.command_line())[:6]
    assert (Path(program).name, words) == ("cpulimit", ["-q", "-f", "-l", "50", "--"])
    assert len(lab.server.processes()) == 2
    await vm.do("suspend", "resume", "stop")
    assert not lab.server.processes()


async def test_two_guests_of_one_image_have_disks_of_their_own(lab, echo_image):
    before = echo_image.read_bytes()
    for name in ("one", "other"):
        await (await lab.vm(name=name)).do("start")
    assert echo_image.read_bytes() == before


async def test_the_list_of_nodes_tells_what_the_object_does_not(lab):
    vm = await lab.vm(**GUEST)
    await vm.do("start", "suspend")
    (listed,) = (await lab.client.get(f"{lab.project}/nodes")).json
    assert (listed["status"], listed["type"]) == ("suspended", "qemu")
