"""What goes wrong with programs, images, disks and QEMU itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from qemu_lab import Lab, Vm, screen_at

from gns3server.testing import LabServer

FAKE_TOOL = """#!/bin/sh
case $1 in
create) echo half-made > "{new}"; echo "qemu-img: {new}: No space left on device" >&2; exit 1 ;;
esac
exec {real} "$@"
"""


def write_program(path: Path, text: str) -> None:
    """Write a script that can be run."""
    path.write_text(text)
    path.chmod(0o755)


def about(path: Path) -> dict[str, object]:
    """What ``qemu-img`` says of a disk."""
    command = ["qemu-img", "info", "-U", "--output=json", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def remove_state(path: Path) -> None:
    """Remove what was saved of a guest from one of its disks."""
    command = ["qemu-img", "snapshot", "-d", "gns3", str(path)]
    subprocess.run(command, check=True, timeout=30)


async def refused(vm: Vm, *texts: str, status: int = 409) -> str:
    """Start a guest, which must be refused; tells the message."""
    answer = await vm.ask("start")
    assert answer.status == status, answer.body
    for text in texts:
        assert text in answer.json["message"]
    assert await vm.status() == "stopped"
    assert isinstance(vm.lab.server, LabServer)
    assert not vm.lab.server.processes()
    message: str = answer.json["message"]
    return message


# Disks -----------------------------------------------------------------------------------


@pytest.mark.statement("QEMU-13")
async def test_a_guest_without_an_image_has_an_empty_disk(lab):
    vm = await lab.vm(hda_disk_image="")
    await vm.do("start")
    disk = vm.node.directory / "flash.qcow2"
    assert about(disk)["virtual-size"] == 256 * 1024 * 1024
    await vm.do("stop")
    before = disk.stat().st_ino
    await vm.do("start")
    assert disk.stat().st_ino == before


async def test_a_disk_is_a_layer_over_its_image(lab, echo_image):
    vm = await lab.vm(hdb_disk_image="echo.img")
    await vm.do("start")
    for disk in ("hda", "hdb"):
        found = about(vm.node.directory / f"{disk}_disk.qcow2")
        assert (found["format"], found["full-backing-filename"]) == ("qcow2", str(echo_image))
    assert not (vm.node.directory / "flash.qcow2").exists()


async def test_missing_and_wrong_images_are_named(lab, echo_image):
    vm = await lab.vm(hda_disk_image="gone.img")
    await refused(vm, "hda_disk_image", str(echo_image.with_name("gone.img")), "Upload it")
    echo_image.with_name("directory").mkdir()
    await vm.update(hda_disk_image="directory")
    await refused(vm, f"the image {echo_image.with_name('directory')} is of no use")
    await vm.update(hda_disk_image="echo.img", initrd="nothing")
    await refused(vm, "its initrd", "nothing cannot be read")
    await vm.update(initrd="")
    await vm.do("start")


async def test_an_image_that_has_moved_is_known_by_its_checksum(lab, echo_image, tmp_path):
    vm = await lab.vm()
    await vm.do("start", "stop")
    moved = tmp_path / "moved.img"
    shutil.copy(echo_image, moved)
    await vm.update(hda_disk_image=str(moved))
    await vm.do("start", "stop")
    assert about(vm.node.directory / "hda_disk.qcow2")["full-backing-filename"] == str(moved)
    other = tmp_path / "other.img"
    other.write_bytes(b"another".ljust(512, b"\0"))
    await vm.update(hda_disk_image=str(other))
    await refused(vm, f"was made on the image {moved}", f"{other} is not the same")


async def test_a_full_disk_leaves_no_half_of_a_disk(lab, tmp_path, qemu_program):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "qemu-system-x86_64").symlink_to(qemu_program)
    tool, real = programs / "qemu-img", shutil.which("qemu-img")
    write_program(tool, FAKE_TOOL.format(new="hda_disk.qcow2.new", real=real))
    vm = await lab.vm(qemu_path=str(programs / "qemu-system-x86_64"))
    await refused(vm, "there is no room for its file hda_disk.qcow2", status=507)
    assert [path.name for path in vm.node.directory.iterdir()] == []
    tool.unlink()
    await vm.do("start")


@pytest.fixture
def small_disk(tmp_path):
    """A directory, and what makes it a disk of 2 MB for a server that runs under it."""
    where = tmp_path / "disk"
    where.mkdir()
    script = f'mount -t tmpfs -o size=2048k tmpfs {where}\nexec "$@"'
    for way in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        try_out = [*way, "sh", "-ec", script, "sh", "true"]
        if subprocess.run(try_out, check=False, capture_output=True).returncode == 0:
            return where, [*way, "sh", "-ec", script, "sh"]
    pytest.skip("neither this user nor its user namespaces may mount anything here")


def fill(path):
    """Write to a file until there is no room left for another block."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


async def test_a_disk_of_the_machine_runs_full(gns3_process, small_disk, qemu_program):
    assert qemu_program
    where, under = small_disk
    async with gns3_process(under=under) as server:
        lab = await Lab.open(server, path=str(where / "lab"))
        vm = await lab.vm()
        ballast = Path(f"/proc/{server.pid}/root{where}/ballast")
        fill(ballast)
        answer = await vm.ask("start")
        assert answer.status == 507, answer.body
        assert "there is no room for its file hda_disk.qcow2" in answer.json["message"]
        assert await vm.status() == "stopped"
        directory = ballast.parent / "lab" / "project-files" / "qemu" / vm.id
        assert not [*directory.glob("*qcow2*")]
        os.remove(ballast)
        await vm.do("start", "stop")
        assert (directory / "hda_disk.qcow2").exists()


WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Makes root one who may not read what others have kept to themselves."""


@pytest.mark.parametrize("name", ["hda_disk_image", "cdrom_image"])
async def test_an_image_that_may_not_be_read_is_named(gns3_process, echo_image, qemu_program, name):
    assert qemu_program
    closed = echo_image.with_name("closed.img")
    closed.write_bytes(echo_image.read_bytes())
    closed.chmod(0)
    under = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    async with gns3_process(under=under) as server:
        lab = await Lab.open(server)
        vm = await lab.vm(**{name: "closed.img"})
        answer = await vm.ask("start")
        assert answer.status == 409
        for part in (str(closed), "Permission denied"):
            assert part in answer.json["message"]
        assert await vm.status() == "stopped"
        closed.chmod(0o600)
        await vm.do("start", "stop")


async def test_a_tool_for_disks_has_to_be_there(gns3_serving, tmp_path, qemu_program):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "nice", "printenv", "mv", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "qemu-system-x86_64").symlink_to(qemu_program)
    async with gns3_serving(environ={"PATH": str(programs)}) as server:
        vm = await (await Lab.open(server)).vm()
        await refused(vm, f"there is no {programs}/qemu-img", "apt-get install qemu-utils")


# Firmware and TPM ------------------------------------------------------------------------


async def test_a_guest_begins_with_uefi(lab):
    vm = await lab.vm(uefi=True, ram=128)
    await vm.do("start")
    async with screen_at(vm.console) as screen:
        await screen.until("BdsDxe")
    variables = vm.node.directory / "uefi_vars.fd"
    before = variables.stat().st_ino
    await vm.do("stop", "start", "stop")
    assert variables.stat().st_ino == before


async def test_a_guest_has_a_tpm_that_ends_with_it(lab):
    vm = await lab.vm(tpm=True, cpu_throttling=100)
    await vm.do("start")
    # QEMU, its TPM and what limits both.
    assert len(lab.server.processes()) == 3
    await vm.do("suspend", "resume", "reload", "stop")
    assert not lab.server.processes()
    assert [*(vm.node.directory / "tpm").iterdir()]
    await vm.update(cpu_throttling=0)
    await vm.do("start")
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        (pid,) = [pid for pid in lab.server.processes() if pid != vm.node.run.pid]
        os.kill(pid, signal.SIGKILL)
        while (event := await anext(events))["action"] != "log.error":
            pass
    assert "one of its processes" in event["event"]["message"]
    assert not lab.server.processes()


async def test_what_a_machine_lacks_is_named(gns3_serving, tmp_path, qemu_program):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "nice", "printenv", "mv", "cp", "rm", "qemu-img"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "qemu-system-x86_64").symlink_to(qemu_program)
    async with gns3_serving(environ={"PATH": str(programs)}) as server:
        vm = await (await Lab.open(server)).vm(tpm=True)
        await refused(vm, "its tpm needs the program swtpm", "apt-get install swtpm")
        # Without cat no firmware is found.
        await vm.update(tpm=False, uefi=True)
        await refused(vm, "it needs UEFI firmware for x86_64", "apt-get install ovmf")
        await vm.update(uefi=False)
        await vm.do("start")


# Programs --------------------------------------------------------------------------------


async def test_a_program_that_is_no_qemu_is_not_run_as_one(lab, tmp_path):
    other = tmp_path / "qemu-system-x86_64"
    write_program(other, "#!/bin/sh\necho something else\n")
    vm = await lab.vm(qemu_path=str(other))
    await refused(vm, f"{other} did not say which version of QEMU it is")


async def test_a_start_that_qemu_refuses_says_why(lab):
    vm = await lab.vm(adapter_type="ne9000")
    await refused(vm, "did not start", "ne9000")
    await vm.update(adapter_type="e1000", options="-device nothing")
    await refused(vm, "nothing")


@pytest.mark.statement("QEMU-18")
async def test_options_with_a_lone_quote_are_refused(lab):
    vm = await lab.vm(options="'unbalanced")
    await refused(vm, "its options cannot be split into words", "check the quotes")


# QEMU, once it runs ----------------------------------------------------------------------


async def test_a_control_socket_that_is_gone_does_not_keep_a_guest_from_its_stop(lab):
    vm = await lab.vm()
    await vm.do("start")
    await vm.node._hang_up()  # noqa: SLF001
    (vm.node.runtime_directory / "qmp").unlink()
    answer = await vm.ask("suspend")
    assert answer.status == 503
    assert "does not answer at its control socket" in answer.json["message"]
    assert await vm.status() == "started"
    await vm.do("stop")
    assert not lab.server.processes()


async def test_a_qemu_that_hangs_is_stopped_all_the_same(lab):
    vm = await lab.vm()
    await vm.do("start")
    os.kill(vm.pid, signal.SIGSTOP)
    await vm.do("stop")
    assert not lab.server.processes()


async def test_a_guest_that_heeds_no_power_button_is_switched_off(gns3_serving, qemu_program):
    assert qemu_program
    async with gns3_serving(sections={"qemu": {"shutdown_seconds": "1"}}) as server:
        vm = await (await Lab.open(server)).vm(acpi_shutdown=True)
        await vm.do("start", "suspend", "stop")
        assert not server.processes()
        assert vm.node.run is None


async def test_a_guest_has_the_usual_time_for_its_shutdown_unless_it_is_deleted(lab):
    vm = await lab.vm(acpi_shutdown=True)
    assert vm.node.seconds_for("shut_down") > 30
    await vm.update(acpi_shutdown=False)
    assert vm.node.seconds_for("shut_down") == 0
    await vm.update(acpi_shutdown=True)
    await vm.do("start")
    node = vm.node
    assert (await lab.client.delete(vm.path)).status == 204
    assert node.seconds_for("shut_down") == 0
    assert not lab.server.processes()


# What is saved ---------------------------------------------------------------------------


async def saved_guest(lab):
    """A guest that was stopped in the middle of something: it has shown what was typed."""
    vm = await lab.vm(on_close="save_vm_state", hdb_disk_image="echo.img")
    await vm.do("start")
    async with screen_at(vm.console) as screen:
        await screen.until("ready")
    await vm.do("stop")
    assert not lab.server.processes()
    return vm


async def boots(vm):
    """Start a guest; tells whether it begins anew, or goes on."""
    await vm.do("start")
    async with screen_at(vm.console) as screen:
        # What boots says a lot before it takes a key; what goes on says nothing by itself.
        await screen.type("x")
        await screen.until("x")
        return "ready" in screen.text or "BIOS" in screen.text


async def test_a_guest_goes_on_where_it_was_saved(lab):
    vm = await saved_guest(lab)
    assert not await boots(vm)
    await vm.do("suspend", "stop")
    assert not await boots(vm)
    # What was saved is used once.
    os.kill(vm.pid, signal.SIGKILL)
    while await vm.status() != "stopped":
        pass
    await vm.update(on_close="power_off")
    assert await boots(vm)


async def test_a_guest_that_was_changed_begins_anew(lab):
    vm = await saved_guest(lab)
    await vm.update(ram=24)
    assert await boots(vm)
    assert not about(vm.node.directory / "hda_disk.qcow2").get("snapshots")
    await vm.do("stop")
    assert about(vm.node.directory / "hda_disk.qcow2")["snapshots"]


async def test_a_state_that_is_gone_is_said_once(lab):
    vm = await saved_guest(lab)
    for disk in ("hda", "hdb"):
        remove_state(vm.node.directory / f"{disk}_disk.qcow2")
    await refused(vm, "it cannot go on where it was saved", "Start it once more")
    assert await boots(vm)


async def test_a_guest_that_cannot_be_saved_is_switched_off(lab):
    vm = await lab.vm(on_close="save_vm_state")
    await vm.do("start")
    os.kill(vm.pid, signal.SIGSTOP)
    await vm.node._hang_up()  # noqa: SLF001
    await vm.do("stop")
    assert not lab.server.processes()
    assert await boots(vm)
