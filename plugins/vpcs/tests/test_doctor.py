"""What ``gns3server doctor`` says of the program, and what a start says of it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def doctor(settings, *args):
    """The report of the doctor, and the part of it that is about plugins."""
    done = subprocess.run(
        [sys.executable, "-m", "gns3server", "doctor", *args],
        env={**settings.environ, "GNS3_SERVER_STATE_PATH": str(settings.state_path)},
        cwd=settings.home,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout.partition("\nPlugins\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("program", ["no-such-program", "/bin/true"])
async def test_it_says_what_a_start_would_say(gns3_process, gns3_settings, program):
    option = ("--vpcs-path", program)
    # Before there is a PC that needs it.
    unused = doctor(gns3_settings, *option)
    async with gns3_process(*option) as server:
        client = server.client
        project = (await client.post("/v1/projects", {"name": "lab"})).json["project_id"]
        vms = f"/v1/projects/{project}/vpcs/vms"
        vm = f"{vms}/{(await client.post(vms, {'name': 'PC'})).json['vm_id']}"
        nio = {"type": "nio_udp", "lport": 9, "rhost": "127.0.0.1", "rport": 9}
        port = (await client.post(f"/v1/projects/{project}/ports/udp", {})).json["udp_port"]
        nio["lport"] = port
        assert (await client.post(f"{vm}/adapters/0/ports/0/nio", nio)).status == 201
        answer = await client.post(f"{vm}/start", {})
    assert answer.status == 409
    start, reason = answer.json["message"].split(": ", 1)
    assert start == "VM 'PC' cannot be started"
    assert f"\n  !   vpcs: {reason}\n" in unused
    assert f"\n  !   vpcs: {reason}\n" in doctor(gns3_settings, *option)
    assert "ok, but nodes of the type vpcs cannot run here" in unused


def test_it_names_the_program_and_its_version(gns3_settings, vpcs_program):
    lines = doctor(gns3_settings).splitlines()
    (line,) = (line for line in lines if line.startswith("      vpcs: "))
    assert line.startswith(f"      vpcs: {vpcs_program}, version 0.")
