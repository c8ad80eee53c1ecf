"""Virtual machines that clients of ``/v2`` make from templates."""

from __future__ import annotations

import shutil

TEMPLATE = {
    "name": "Router",
    "template_type": "qemu",
    "compute_id": "local",
    "platform": "x86_64",
    "ram": 24,
    "cpus": 2,
    "adapters": 3,
    "hda_disk_image": "echo.img",
    "hdb_disk_image": "echo.img",
    "hdb_disk_interface": "virtio",
    "boot_priority": "cd",
    "process_priority": "normal",
    "on_close": "power_off",
}
"""What a desktop client sends of a new device."""


async def post(lab, path, body, status=201):
    answer = await lab.client.post(f"/v2{path}", body)
    assert answer.status == status, answer.body
    return answer.json


async def test_a_template_says_what_its_guests_have(lab):
    made = await post(lab, "/templates", TEMPLATE)
    project = lab.project.removeprefix("/v1")
    node = await post(lab, f"{project}/templates/{made['template_id']}", {"x": 0, "y": 0})
    assert (node["node_type"], node["console_type"]) == ("qemu", "telnet")
    assert len(node["ports"]) == 3
    properties = node["properties"]
    assert {key: properties[key] for key in ("ram", "cpus", "boot_priority")} == {
        "ram": 24,
        "cpus": 2,
        "boot_priority": "cd",
    }
    path = f"{project}/nodes/{node['node_id']}"
    await post(lab, f"{path}/start", {}, status=200)
    shown = await lab.client.get(f"{lab.project}/qemu/vms/{node['node_id']}/emulator")
    words = " ".join(shown.json["command_line"])
    for part in (
        "-m 24 -smp 2",
        "file=hda_disk.qcow2,format=qcow2,index=0,media=disk",
        "file=hdb_disk.qcow2,format=qcow2,index=1,media=disk,if=virtio",
        "-boot order=cd",
        "id=nic-2",
    ):
        assert part in words
    await post(lab, f"{path}/suspend", {}, status=200)
    assert (await lab.client.get(f"/v2{path}")).json["status"] == "suspended"
    await post(lab, f"{path}/stop", {}, status=200)


async def test_a_node_says_what_carries_out_its_instructions(lab):
    vm = await lab.vm()
    path = f"/v2{vm.path.removeprefix('/v1').replace('/qemu/vms/', '/nodes/')}"

    async def told():
        (listed,) = (await lab.client.get(f"{lab.project}/nodes")).json
        shown = (await lab.client.get(path)).json["properties"]
        assert shown["accelerator"] == listed["runs_with"]["accelerator"]
        return shown

    assert (await told())["accelerator"] is None
    async with lab.client.listen(f"{path.rpartition('/nodes/')[0]}/notifications") as events:
        for action, accelerator in (("start", "tcg"), ("stop", None)):
            await post(lab, f"{path.removeprefix('/v2')}/{action}", {}, status=200)
            while (event := await anext(events))["action"] != "node.updated":
                pass
            assert event["event"]["properties"]["accelerator"] == accelerator
            shown = await told()
            assert shown["accelerator"] == accelerator
            # A client sends back what it was shown, which must not stay.
            answer = await lab.client.put(path, {"properties": shown, "name": f"G-{action}"})
            assert answer.status == 200, answer.body
            while (await anext(events))["action"] != "node.updated":
                pass
    assert (await told())["accelerator"] is None


async def test_clients_are_told_where_kvm_works(gns3_serving, qemu_program):
    assert qemu_program
    async with gns3_serving(environ={"GNS3_QEMU_ENABLE_KVM": "yes"}) as server:
        answer = await server.client.get("/v2/computes/local/qemu/capabilities")
        plugins = (await server.client.get("/v1/plugins")).json
    (types,) = (plugin["types"] for plugin in plugins if plugin["name"] == "qemu")
    works = "; kvm: a guest has booted with it" in types[0]["text"]
    assert ("x86_64" in answer.json["kvm"]) == works


async def test_clients_can_choose_among_the_programs(lab, qemu_program):
    for word, program in (("binaries", qemu_program), ("img-binaries", shutil.which("qemu-img"))):
        listed = (await lab.client.get(f"/v2/computes/local/qemu/{word}")).json
        assert listed == (await lab.client.get(f"/v1/qemu/{word}")).json
        assert program in [each["path"] for each in listed]


async def test_the_console_of_a_template_is_the_one_that_the_guest_has(lab):
    made = await post(lab, "/templates", {**TEMPLATE, "console_type": "none"})
    project = lab.project.removeprefix("/v1")
    node = await post(lab, f"{project}/templates/{made['template_id']}", {"x": 0, "y": 0})
    own = f"{lab.project}/qemu/vms/{node['node_id']}"
    assert (await lab.client.get(own)).json["console_type"] == "none"
    changed = await lab.client.put(
        f"/v2{project}/nodes/{node['node_id']}", {"console_type": "telnet"}
    )
    assert changed.status == 200, changed.body
    assert (await lab.client.get(own)).json["console_type"] == "telnet"
