"""What is run: the launch spec, as plain data."""

from __future__ import annotations

import pytest
from gns3server_vpcs.node import KEYS
from vpcs_lab import PORT

from gns3server.plugin import Console, LaunchSpec, Port


@pytest.fixture
async def old(lab_with, make_fake):
    """A lab whose VPCS has a relay hub."""
    async with lab_with(make_fake("0.5b2")) as lab:
        yield lab


@pytest.fixture
async def new(lab_with, make_fake):
    """A lab whose VPCS can do without."""
    async with lab_with(make_fake("0.8.3", knows_r=True)) as lab:
        yield lab


@pytest.mark.statement("VPCS-34", "VPCS-20")
async def test_the_command_line_of_the_contract(old):
    pc = await old.pc()
    await pc.wire(10000, 10001)
    spec = await pc.node.launch_spec()
    program, *arguments = spec.argv
    assert " ".join(arguments) == "-m 0 -i 1 -s 10000 -c 10001 -t 127.0.0.1"
    assert program.startswith("/")


async def test_everything_else_of_the_spec(old):
    pc = await old.pc()
    await pc.wire(10000)
    spec = await pc.node.launch_spec()
    assert spec == LaunchSpec(
        argv=spec.argv,
        cwd=(await pc.get())["vm_directory"],
        ports=(Port("udp", 10000),),
        may_bind=(Port("udp", 10009),),
        timer_slack_ns=5_000_000,
        console=Console(port=pc.console, raw=True, input=KEYS),
    )


async def test_a_spec_can_be_sent_to_another_machine(old):
    pc = await old.wired(startup_script="show ip")
    spec = await pc.node.launch_spec()
    assert LaunchSpec.from_json(spec.to_json()) == spec


async def test_without_a_relay_there_is_no_relay_port(new):
    pc = await new.pc()
    await pc.wire(10000, 10001)
    spec = await pc.node.launch_spec()
    assert spec.may_bind == ()
    assert " ".join(spec.argv[1:]) == ("-m 0 -i 1 -R -s 10000 -c 10001 -t 127.0.0.1")


@pytest.mark.parametrize(("lport", "relay"), [(65526, 65535), (65527, None), (65535, None)])
async def test_a_relay_port_that_does_not_exist_is_not_named(old, lport, relay):
    pc = await old.pc()
    await pc.wire(lport)
    spec = await pc.node.launch_spec()
    assert spec.may_bind == (() if relay is None else (Port("udp", relay),))


@pytest.mark.statement("VPCS-17")
async def test_the_script_is_named_when_there_is_one(new):
    pc = await new.wired()
    assert "startup.vpc" not in (await pc.node.launch_spec()).argv
    pc.node.directory.mkdir(parents=True, exist_ok=True)
    script = pc.node.directory / "startup.vpc"
    script.write_text("show ip\n")
    assert (await pc.node.launch_spec()).argv[-1] == "startup.vpc"
    assert (await pc.get())["startup_script"] == "show ip\n"
    script.unlink()
    assert "startup.vpc" not in (await pc.node.launch_spec()).argv


async def test_an_empty_script_is_a_script(new):
    pc = await new.wired(startup_script="")
    assert (await pc.node.launch_spec()).argv[-1] == "startup.vpc"


async def test_a_host_is_given_by_its_address(new):
    pc = await new.pc()
    await pc.wire(10000, rhost="localhost")
    argv = (await pc.node.launch_spec()).argv
    assert argv[argv.index("-t") + 1] == "127.0.0.1"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "::1", "a..b", "x" * 300, "bad host"])
async def test_a_host_without_an_address_is_refused_with_the_nio(new, host):
    pc = await new.pc()
    nio = {"type": "nio_udp", "lport": 10000, "rhost": host, "rport": 10001}
    answer = await new.client.post(f"{pc.path}/{PORT}", nio)
    assert answer.status == 409
    assert repr(host) in answer.json["message"]
    assert pc.node.wiring.nios == {}
    assert not new.server.ports.udp.holders(10000)


@pytest.mark.statement("VPCS-20", "VPCS-21", "VPCS-22")
async def test_the_number_is_the_end_of_the_mac(new):
    pcs = [await new.wired() for _ in range(3)]

    async def numbers():
        specs = [await pc.node.launch_spec() for pc in pcs]
        return [spec.argv[spec.argv.index("-m") + 1] for spec in specs]

    assert await numbers() == ["0", "1", "2"]
    gone = pcs.pop(1)
    assert (await new.client.delete(gone.path)).status == 204
    pcs.append(await new.wired())
    assert await numbers() == ["0", "2", "1"]
    for pc in pcs:
        assert (await new.create(vm_id=pc.id)).status == 201
    assert await numbers() == ["0", "2", "1"]
    other = await type(new).open(new.server)
    pcs = [await other.wired()]
    assert await numbers() == ["0"]


@pytest.mark.statement("VPCS-25")
async def test_without_a_nio_it_is_not_started(new):
    pc = await new.pc()
    answer = await pc.ask("start")
    assert answer.status == 409
    assert answer.json["message"].startswith(
        "This VPCS instance must be connected in order to start"
    )
    assert await pc.status() == "stopped"
