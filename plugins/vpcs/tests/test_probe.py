"""Which binary is taken, what it is found able to do, and how often it is asked."""

from __future__ import annotations

import asyncio
import os

import pytest
from vpcs_fakes import BANNER

VERSIONS = {
    "0.5b1": False,
    "0.5b2": False,
    "0.6": False,
    "0.6.1": False,
    "0.6.2": False,
    "0.8 beta1": True,
    "0.8b": True,
    "0.8.1": True,
    "0.8.3": True,
}


@pytest.mark.statement("VPCS-34")
@pytest.mark.parametrize(("version", "knows_r"), VERSIONS.items(), ids=VERSIONS)
async def test_relays_are_switched_off_where_they_can_be(lab_with, make_fake, version, knows_r):
    fake = make_fake(version, knows_r=knows_r)
    async with lab_with(fake) as lab:
        pc = await lab.wired()
        await pc.do("start")
        (command,) = (call.split() for call in fake.calls if "-v" not in call.split())
        assert ("-R" in command) is knows_r
        assert await pc.status() == "started"


async def test_a_complaint_on_standard_output_counts_as_well(lab_with, make_fake):
    fake = make_fake("0.6")
    fake.become("0.6", knows_r=True, banner="vpcs: invalid option -- 'R'" + BANNER)
    async with lab_with(fake) as lab:
        spec = await (await lab.wired()).node.launch_spec()
        assert "-R" not in spec.argv


async def test_a_binary_is_asked_once_however_many_start(lab_with, make_fake):
    fake = make_fake("0.8.3", knows_r=True)
    async with lab_with(fake) as lab:
        pcs = [await lab.wired() for _ in range(5)]
        await asyncio.gather(*(pc.do("start") for pc in pcs))
        await asyncio.gather(*(pc.do("reload") for pc in pcs))
        assert fake.probes == 1


@pytest.mark.parametrize("changed", ["size", "time"])
async def test_a_binary_that_has_changed_is_asked_again(lab_with, make_fake, changed):
    fake = make_fake("0.6")
    async with lab_with(fake) as lab:
        pc = await lab.wired()
        assert "-R" not in (await pc.node.launch_spec()).argv
        if changed == "size":
            fake.become("0.8.1", knows_r=True)
            assert "-R" in (await pc.node.launch_spec()).argv
        else:
            status = fake.path.stat()
            os.utime(fake.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            await pc.node.launch_spec()
        assert fake.probes == 2


async def test_a_binary_that_failed_is_asked_again(lab_with, make_fake):
    fake = make_fake("0.4")
    async with lab_with(fake) as lab:
        pc = await lab.wired()
        assert (await pc.ask("start")).status == 409
        assert (await pc.ask("start")).status == 409
        assert fake.probes == 2


def nothing(fake):
    """There is no such file."""


def a_directory(fake):
    fake.path.mkdir()


def not_executable(fake):
    fake.become("0.8.3")
    fake.path.chmod(0o644)


def too_old(fake):
    fake.become("0.4")


def alpha(fake):
    fake.become("0.5a2")


def garbage(fake):
    fake.path.write_bytes(b"\xff\x00neither a program nor a script\x00")
    fake.path.chmod(0o755)


def silent(fake):
    fake.write("")


def another_program(fake):
    fake.write("print('Welcome to something else, version 9.9')")


def hangs(fake):
    fake.write("import signal; print('Welcome to', flush=True); signal.pause()")


def no_interpreter(fake):
    fake.path.write_text("#!/nowhere/at/all\n")
    fake.path.chmod(0o755)


TROUBLES = [
    nothing,
    a_directory,
    not_executable,
    too_old,
    alpha,
    garbage,
    silent,
    another_program,
    hangs,
    no_interpreter,
]


@pytest.mark.statement("VPCS-09", "VPCS-10", "HTTP-10")
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_without_a_usable_vpcs_everything_works_but_the_start(lab_with, make_fake, trouble):
    fake = make_fake.empty()
    trouble(fake)
    async with lab_with(fake) as lab:
        pc = await lab.wired(startup_script="set pcname %h")
        answer = await pc.ask("start")
        assert answer.status == 409
        message = answer.json["message"]
        assert str(fake) in message
        assert "sudo apt-get install vpcs" in message
        assert "vpcs_path" in message
        assert await pc.status() == "stopped"
        assert (await pc.update(name="other"))["startup_script"] == "set pcname other"
        fake.path.rmdir() if fake.path.is_dir() else None
        fake.become("0.8.3", knows_r=True)
        await pc.do("start", "stop")


async def test_a_binary_that_hangs_is_waited_for_once(lab_with, make_fake):
    fake = make_fake("0.8.3")
    fake.write(f"import signal; open({str(fake.calls_path)!r}, 'a').write('-v\\n'); signal.pause()")
    async with lab_with(fake) as lab:
        pcs = [await lab.wired() for _ in range(8)]
        answers = await asyncio.gather(*(pc.ask("start") for pc in pcs))
        assert {answer.status for answer in answers} == {409}
        assert fake.probes == 1


async def test_a_name_is_looked_up_in_path(lab_with, make_fake):
    fake = make_fake("0.8.3", knows_r=True)
    async with lab_with(fake.path.name, environ={"PATH": str(fake.path.parent)}) as lab:
        spec = await (await lab.wired()).node.launch_spec()
        assert spec.argv[0] == str(fake)


async def test_the_path_that_is_set_wins_over_path(lab_with, make_fake):
    fake, other = make_fake("0.8.3"), make_fake("0.8.3")
    async with lab_with(other, environ={"PATH": str(fake.path.parent)}) as lab:
        spec = await (await lab.wired()).node.launch_spec()
        assert spec.argv[0] == str(other)
