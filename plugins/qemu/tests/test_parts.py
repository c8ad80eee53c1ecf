"""The parts that know no node: the command line, the monitor, programs, acceleration, memory."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gns3server_qemu import firmware, memory
from gns3server_qemu.acceleration import PLATFORMS, Accelerations, failure_of
from gns3server_qemu.command_line import Card, Drive, Guest, mac_address, usual_mac_address
from gns3server_qemu.context import QemuContext
from gns3server_qemu.monitor import Monitor, Refused
from gns3server_qemu.programs import Program, Programs, platform_of, version_in
from gns3server_qemu.wires import backend, option, plug, plug_of
from qemu_lab import Lab

from gns3server.plugin import Conflict, Nio, Unavailable


class Kept:
    """A store of one value."""

    value: Any = None

    async def get(self, key, default=None):
        assert key == "kvm"
        return default if self.value is None else self.value

    async def set(self, key, value):
        assert key == "kvm"
        self.value = value


BINARIES = {"path", "version"}


def guest(**values):
    """A guest of which only a few things are said."""
    usual = {
        "program": "/usr/bin/qemu-system-x86_64",
        "name": "G",
        "platform": "x86_64",
        "ram": 256,
        "accelerator": "tcg",
        "control": "/run/qmp",
        "serial": "/run/serial",
    }
    return Guest(**{**usual, **values})


# The command line ------------------------------------------------------------------------


@pytest.mark.statement("QEMU-15")
def test_the_usual_command_line_is_in_the_order_of_the_contract():
    base = usual_mac_address("11111111-2222-4333-8444-555555550e0f")
    made = guest(
        drives=[Drive(0, "flash.qcow2")],
        initrd="/i",
        kernel="/k",
        kernel_command_line="quiet",
        options="-rtc 'base=utc'",
        cards=[Card("e1000", mac_address(base, 0))],
    )
    words = made.argv()
    assert words[:5] == ("/usr/bin/qemu-system-x86_64", "-name", "G", "-m", "256")
    order = ["-accel", "-drive", "-initrd", "-kernel", "-append", "-serial", "-mon", "-rtc", "-net"]
    assert [word for word in words if word in order] == order
    assert words[words.index("-net") + 1] == "none"
    assert "e1000,mac=00:00:ab:0e:0f:00,netdev=hub-0,id=nic-0" in words
    assert words[-2:] == ("-nographic", "-S")
    assert words[words.index("-rtc") + 1] == "base=utc"


@pytest.mark.statement("QEMU-16")
def test_kvm_is_a_flag():
    assert "-enable-kvm" in guest(accelerator="kvm").argv()
    assert "-enable-kvm" not in guest().argv()


@pytest.mark.statement("QEMU-17")
async def test_no_window_is_opened_without_a_display(lab):
    vm = await lab.vm()
    await vm.do("start")
    assert "-nographic" in await vm.command_line()
    assert "-nographic" not in guest(windowless=False).argv()


def test_mac_addresses_are_counted_on_whatever_digit_they_end_in():
    """D-21: the last byte was read as decimal, and a letter in it was an error 500."""
    assert mac_address("00:00:ab:00:01:0a", 1) == "00:00:ab:00:01:0b"
    assert mac_address("00:00:AB:00:01:ff", 1) == "00:00:ab:00:02:00"
    assert mac_address("ff:ff:ff:ff:ff:ff", 1) == "00:00:00:00:00:00"


def test_a_comma_is_part_of_a_name():
    assert guest(name="a,b").argv()[2] == "a,,b"
    assert option({"type": "tap", "id": "x", "ifname": "a,b"}) == "tap,id=x,ifname=a,,b"


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ("none", "file=hda.qcow2,format=qcow2,node-name=disk-0,index=0,media=disk"),
        ("virtio", "file=hda.qcow2,format=qcow2,node-name=disk-0,index=0,media=disk,if=virtio"),
        ("sata", "ide-hd,drive=drive-0,bus=ahci.0"),
        ("scsi", "scsi-hd,drive=drive-0,bus=scsi.0"),
        ("nvme", "nvme,drive=drive-0,serial=disk0"),
    ],
)
def test_disks_are_attached_as_they_are_wanted(interface, expected):
    assert expected in guest(drives=[Drive(0, "hda.qcow2", interface)]).argv()


async def test_a_wire_is_the_same_for_older_versions(gns3_server):
    nio = Nio("nio_udp", {"lport": 10, "rhost": "127.0.0.1", "rport": 20})
    machine = gns3_server.running.server.machine
    assert option(await backend(3, nio, (7, 1), machine)) == (
        "socket,id=gns3-3,udp=127.0.0.1:20,localaddr=127.0.0.1:10"
    )
    assert option(await backend(3, nio, (7, 2), machine)) == (
        "dgram,id=gns3-3,local.type=inet,local.host=127.0.0.1,local.port=10,remote.type=inet,"
        "remote.host=127.0.0.1,remote.port=20"
    )


UDP_NIO = Nio("nio_udp", {"lport": 10, "rhost": "127.0.0.1", "rport": 20})
TAP_NIO = Nio("nio_tap", {"tap_device": "tap9"})
LOOPBACK = "ip link set lo up"
WITH_TAP = f"{LOOPBACK}\nip tuntap add tap9 mode tap"


def own_network(script):
    """What a program is run under that needs a network of its own, where any port is free."""
    for way in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        under = [*way, "sh", "-ec", f'{script}\nexec "$@"', "sh"]
        if subprocess.run([*under, "true"], check=False, capture_output=True).returncode == 0:
            return under
    pytest.skip(f"this user may not do this in a network of its own: {script}")


@pytest.mark.parametrize(
    ("nio", "version"),
    [(UDP_NIO, (7, 1)), (UDP_NIO, (7, 2)), (TAP_NIO, (7, 2)), (Nio("nio_nat", {}), (7, 2))],
    ids=["socket", "dgram", "tap", "user"],
)
async def test_a_real_qemu_takes_each_wire(gns3_server, qemu_program, nio, version):
    """On its command line, and while it runs."""
    under = own_network(WITH_TAP if nio is TAP_NIO else LOOPBACK)
    wire = await backend(0, nio, version, gns3_server.running.server.machine)
    made = guest(
        program=qemu_program, ram=16, serial="", cards=[Card("e1000", "02:00:00:00:00:01")]
    )
    words = list(replace(made, wires={0: wire}).argv())
    # What is told and answered goes through its standard streams.
    words[words.index("-chardev") + 1] = "stdio,id=qmp"
    asked = [
        {"execute": "qmp_capabilities"},
        {"execute": "netdev_del", "arguments": {"id": plug(0)}},
        {"execute": "netdev_del", "arguments": {"id": wire["id"]}},
        {"execute": "netdev_add", "arguments": wire},
        {"execute": "netdev_add", "arguments": plug_of(0)},
        {"execute": "quit"},
    ]
    program = await asyncio.create_subprocess_exec(
        *under,
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await program.communicate("\n".join(map(json.dumps, asked)).encode())
    answers = [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
    assert [answer for answer in answers if "return" in answer] == [{"return": {}}] * len(asked), (
        said
    )
    assert program.returncode == 0


# Firmware --------------------------------------------------------------------------------

OVMF = {
    "mapping": {
        "device": "flash",
        "executable": {"filename": "/code", "format": "raw"},
        "nvram-template": {"filename": "/vars", "format": "raw"},
    },
    "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
    "features": ["acpi-s3"],
}


def test_firmware_is_for_a_platform_and_for_no_other_kind_of_machine():
    assert firmware.files_of(OVMF, "x86_64") == ("/code", "/vars")
    assert firmware.files_of(OVMF, "aarch64") is None
    assert firmware.files_of({**OVMF, "features": ["requires-smm"]}, "x86_64") is None
    other = [{"architecture": "x86_64", "machines": ["pc-q35-*"]}]
    assert firmware.files_of({**OVMF, "targets": other}, "x86_64") is None
    assert firmware.files_of({}, "x86_64") is None
    text = f"{json.dumps(OVMF)}\n{json.dumps({})}\nno JSON"
    assert list(firmware.descriptions(text)) == [OVMF, {}]


# Programs --------------------------------------------------------------------------------


@pytest.mark.statement("QEMU-07")
async def test_emulators_are_listed_with_their_versions(gns3_serving, tmp_path, qemu_program):
    """D-21: one that does not run does not spoil the list."""
    for name in ("qemu-system-x86_64", "qemu-kvm", "qemu"):
        (tmp_path / name).symlink_to(qemu_program)
    for name in ("qemu-system-broken", "qemu-other", "emulator"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "qemu-system-plain").write_text("no program")
    path = f"{tmp_path}:relative:/usr/bin:/bin"
    async with gns3_serving(environ={"PATH": path}) as server:
        listed = (await server.client.get("/v1/qemu/binaries")).json
    own = [each for each in listed if each["path"].startswith(str(tmp_path))]
    assert [Path(each["path"]).name for each in own] == ["qemu", "qemu-kvm", "qemu-system-x86_64"]
    assert len({each["path"] for each in listed}) == len(listed)
    for each in listed:
        assert each.keys() == BINARIES
        assert re.match(r"\d+\.\d+", each["version"])


@pytest.mark.statement("QEMU-08")
async def test_tools_for_disks_are_listed_by_themselves(gns3_client, qemu_program):
    assert qemu_program
    listed = (await gns3_client.get("/v1/qemu/img-binaries")).json
    assert {Path(each["path"]).name for each in listed} == {"qemu-img"}


@pytest.mark.statement("QEMU-09")
def test_a_version_is_what_follows_the_word():
    assert version_in("QEMU emulator version 2.2.0, Copyright (c) 2003-2008") == "2.2.0"
    assert version_in("qemu-img version 7.2.22 (Debian 1:7.2)") == "7.2.22"
    assert version_in("a program of another kind") is None
    assert Program("q", "10.0.2").numbers == (10, 0) > (7, 2)


def test_what_a_program_emulates_is_in_its_name():
    names = {
        "qemu-system-x86_64": "x86_64",
        "qemu-system-armw.exe": "arm",
        "qemu": "i386",
        "qemu-kvm": "x86_64",
        "qemu-system-x86_64-microvm": None,
        "other": None,
    }
    assert {name: platform_of(f"/usr/bin/{name}") for name in names} == names


# The monitor -----------------------------------------------------------------------------


@pytest.mark.statement("QEMU-21")
async def test_a_command_is_answered_or_refused(lab):
    vm = await lab.vm()
    await vm.do("start")
    await vm.node._hang_up()  # noqa: SLF001
    path = str(vm.node.runtime_directory / "qmp")
    told: asyncio.Queue[str] = asyncio.Queue()
    monitor = await Monitor.connect(vm.node.machine, path, "VM 'G'", told.put_nowait)
    assert await monitor.execute("stop") == {}
    assert await told.get() == "STOP"
    assert (await monitor.execute("query-status"))["status"] == "paused"
    with pytest.raises(Refused, match="VM 'G' refuses nothing") as refused:
        await monitor.execute("nothing")
    assert not refused.value.gone
    with pytest.raises(Refused) as refused:
        await monitor.execute("netdev_del", {"id": "gns3-7"})
    assert refused.value.gone
    await monitor.close()
    assert not monitor.connected
    with pytest.raises(Unavailable):
        await monitor.execute("cont")


async def test_nobody_answers_at_a_socket_that_is_not_there(gns3_server, tmp_path):
    machine = gns3_server.running.server.machine
    with pytest.raises(Unavailable, match="does not answer at its control socket"):
        await Monitor.connect(machine, str(tmp_path / "none"), "VM 'G'", print)


# Acceleration ----------------------------------------------------------------------------


async def test_a_guest_tells_whether_it_boots(gns3_server, qemu_program):
    machine = gns3_server.running.server.machine
    program = await Programs().examine(qemu_program, machine)
    assert await failure_of(program, machine, "tcg") == ""
    assert "nonsense" in await failure_of(program, machine, "nonsense")
    assert not list(machine.runtime.glob("probe-*"))


async def test_kvm_is_for_those_who_can_have_it(gns3_server, qemu_program):
    machine, found = gns3_server.running.server.machine, Accelerations()
    program = await Programs().examine(qemu_program, machine)
    off = await found.best(program, "x86_64", machine, wanted=False)
    assert (off.name, off.reason) == ("tcg", "the setting enable_kvm is off")
    assert (await found.best(program, "arm", machine, wanted=True)).name == "tcg"
    first = await found.best(program, "x86_64", machine, wanted=True)
    assert (first.name == "kvm") == (first.reason == "a guest has booted with it")


async def test_the_outcome_is_remembered_until_the_machine_boots(gns3_server, qemu_program):
    machine = gns3_server.running.server.machine
    program, store = await Programs().examine(qemu_program, machine), Kept()
    first = Accelerations()
    first.remember_in(store)
    before = await first.best(program, "x86_64", machine, wanted=True)
    if before.reason == "the machine has no /dev/kvm":
        assert store.value is None
        return
    (kept,) = store.value
    store.value = [{**kept, "failure": "remembered"}]
    second = Accelerations()
    second.remember_in(store)
    assert "remembered" in (await second.best(program, "x86_64", machine, wanted=True)).reason
    store.value = [{**kept, "failure": "remembered", "boot": "before"}]
    third = Accelerations()
    third.remember_in(store)
    assert (await third.best(program, "x86_64", machine, wanted=True)) == before
    assert store.value == [kept]


async def test_platforms_are_listed_whose_guests_have_booted(gns3_server, qemu_program):
    machine, store = gns3_server.running.server.machine, Kept()
    assert qemu_program
    first = QemuContext({"enable_kvm": True})
    first.accelerations.remember_in(store)
    await first.list_accelerated(machine)
    assert len(store.value or PLATFORMS) == len(PLATFORMS)
    for failure in ("", "broken"):
        # What was found out before, as it would be on another machine.
        store.value = [{**kept, "failure": failure} for kept in store.value or ()]
        later = QemuContext({"enable_kvm": True})
        later.accelerations.remember_in(store)
        listed = await later.list_accelerated(machine)
        assert listed == (sorted(PLATFORMS) if store.value and not failure else [])
    assert await QemuContext({"enable_kvm": False}).list_accelerated(machine) == []


async def test_the_doctor_and_the_list_of_plugins_say_how_guests_run(gns3_client, qemu_program):
    plugins = (await gns3_client.get("/v1/plugins")).json
    (types,) = (plugin["types"] for plugin in plugins if plugin["name"] == "qemu")
    assert types[0]["runs"]
    assert types[0]["text"].startswith(f"{qemu_program}, version ")
    assert "tcg: the setting enable_kvm is off" in types[0]["text"]


# Memory ----------------------------------------------------------------------------------


async def test_a_guest_that_is_too_large_is_refused_before_its_start(lab):
    vm = await lab.vm(ram=16 * 1024 * 1024)
    answer = await vm.ask("start")
    assert answer.status == 409
    assert "it may take 16777536 MB of memory, the other guests 0 MB" in answer.json["message"]


async def test_what_other_guests_may_take_counts(gns3_serving, qemu_program):
    assert qemu_program
    async with gns3_serving() as server:
        lab = await Lab.open(server)
        first, second = [await lab.vm(name=name) for name in ("one", "other")]
        await first.do("start")
        machine, need = server.running.server.machine, memory.need_of(16)
        with pytest.raises(Conflict, match=f"the other guests {need} MB"):
            await memory.check("VM 'x'", 16, second.node._needed_by_others(), 10**9, machine)  # noqa: SLF001
        await first.do("stop")
        assert second.node._needed_by_others() == 0  # noqa: SLF001


async def test_memory_is_kept_for_the_machine(gns3_serving, qemu_program):
    assert qemu_program
    settings = {"qemu": {"memory_reserve": "1000000", "enable_kvm": "no"}}
    async with gns3_serving(sections=settings) as server:
        vm = await (await Lab.open(server)).vm()
        answer = await vm.ask("start")
        assert answer.status == 409
        assert "1000000 MB are kept for the machine" in answer.json["message"]
