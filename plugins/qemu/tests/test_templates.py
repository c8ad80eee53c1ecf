"""Virtual machines that clients of ``/v2`` make from templates."""

from __future__ import annotations

import io
import json
import shutil
import uuid
import zipfile

from gns3server_qemu.command_line import mac_address
from qemu_lab import Lab, Vm

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
        "file=hda_disk.qcow2,format=qcow2,node-name=disk-0,index=0,media=disk",
        "file=hdb_disk.qcow2,format=qcow2,node-name=disk-1,index=1,media=disk,if=virtio",
        "-boot order=cd",
        "id=nic-2",
    ):
        assert part in words
    await post(lab, f"{path}/suspend", {}, status=200)
    assert (await lab.client.get(f"/v2{path}")).json["status"] == "suspended"
    await post(lab, f"{path}/stop", {}, status=200)


async def updated(events, key, value):
    """The node of the next event that shows this; it may have been given a place before."""
    while True:
        event = await anext(events)
        if event["action"] == "node.updated" and event["event"][key] == value:
            return event["event"]


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
        for action, status, accelerator in (("start", "started", "tcg"), ("stop", "stopped", None)):
            await post(lab, f"{path.removeprefix('/v2')}/{action}", {}, status=200)
            node = await updated(events, "status", status)
            assert node["properties"]["accelerator"] == accelerator
            shown = await told()
            assert shown["accelerator"] == accelerator
            # A client sends back what it was shown, which must not stay.
            answer = await lab.client.put(path, {"properties": shown, "name": f"G-{action}"})
            assert answer.status == 200, answer.body
            await updated(events, "name", f"G-{action}")
    assert (await told())["accelerator"] is None


async def test_clients_are_told_where_kvm_works(gns3_serving, qemu_program):
    assert qemu_program
    async with gns3_serving(environ={"GNS3_QEMU_ENABLE_KVM": "yes"}) as server:
        answer = await server.client.get("/v2/computes/local/qemu/capabilities")
        plugins = (await server.client.get("/v1/plugins")).json
    (types,) = (plugin["types"] for plugin in plugins if plugin["name"] == "qemu")
    works = "; kvm: a guest has booted with it" in types[0]["text"]
    assert ("x86_64" in answer.json["kvm"]) == works


async def test_each_card_may_be_special(lab):
    special = [
        {"adapter_number": 1, "adapter_type": "virtio-net-pci", "mac_address": ""},
        {"adapter_number": 2, "mac_address": "02:00:00:00:00:aa", "port_name": "WAN"},
        {"adapter_number": 9, "adapter_type": "rtl8139"},
    ]
    made = await post(lab, "/templates", {**TEMPLATE, "custom_adapters": special})
    project = lab.project.removeprefix("/v1")
    node = await post(lab, f"{project}/templates/{made['template_id']}", {"x": 0, "y": 0})
    assert [each["adapter_number"] for each in node["custom_adapters"]] == [1, 2, 9]
    assert [port["name"] for port in node["ports"]] == ["Ethernet0", "Ethernet1", "WAN"]
    path = f"{project}/nodes/{node['node_id']}"
    await post(lab, f"{path}/start", {}, status=200)
    vm = Vm(lab, node["node_id"], node["console"])
    cards = [word for word in await vm.command_line() if ",netdev=hub-" in word]
    base = (await vm.get())["mac_address"]
    assert [card.split(",")[:2] for card in cards] == [
        ["e1000", f"mac={base}"],
        ["virtio-net-pci", f"mac={mac_address(base, 1)}"],
        ["e1000", "mac=02:00:00:00:00:aa"],
    ]
    changed = await lab.client.put(f"/v2{path}", {"custom_adapters": []})
    assert (changed.status, changed.json["custom_adapters"]) == (200, [])
    assert changed.json["ports"][2]["name"] == "Ethernet2"
    bad = [{"adapter_number": 1, "adapter_type": "e1000,bus=x"}]
    answer = await lab.client.put(f"/v2{path}", {"custom_adapters": bad})
    assert answer.status == 400


async def test_settings_that_change_nothing_are_named(lab, caplog):
    odd = {"linked_clone": False, "create_config_disk": True}
    made = await post(lab, "/templates", {**TEMPLATE, **odd})
    project = lab.project.removeprefix("/v1")
    node = await post(lab, f"{project}/templates/{made['template_id']}", {"x": 0, "y": 0})
    path = f"{project}/nodes/{node['node_id']}"
    shown = (await post(lab, f"{path}/start", {}, status=200))["properties"]
    assert {key: shown[key] for key in odd} == odd
    assert shown["ignored"] == ["linked_clone", "create_config_disk"]
    assert "what it says of linked_clone, create_config_disk changes nothing" in caplog.text


FROM_ELSEWHERE = {
    "name": "lab",
    "project_id": "5d1b9a1e-58e3-4a1c-9a52-1c3f2f7f7a01",
    "revision": 9,
    "type": "topology",
    "version": "2.2.50",
    "topology": {
        "computes": [],
        "drawings": [],
        "links": [],
        "nodes": [
            {
                "node_id": "0c1d3a47-7a40-4f3c-8a6a-6a4f0d5f0e0f",
                "node_type": "qemu",
                "name": "R",
                "compute_id": "local",
                "console": 5007,
                "console_type": "none",
                "custom_adapters": [{"adapter_number": 0, "adapter_type": "rtl8139"}],
                "properties": {"hda_disk_image": "echo.img", "ram": 16, "qemu_path": ""},
                "x": 0,
                "y": 0,
                "z": 1,
                "symbol": ":/symbols/qemu_guest.svg",
            }
        ],
    },
}
"""The least that a file of another server says of a virtual machine."""


async def imported(lab, described):
    """The path of a project that is made of an archive, and opened."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("project.gns3", json.dumps(described))
    project = f"/projects/{uuid.uuid4()}"
    path = f"/v2{project}/import?name=taken"
    answer = await lab.client.request("POST", path, data=content.getvalue())
    assert answer.status == 201, answer.body
    await post(lab, f"{project}/open", {})
    return project


async def test_a_console_that_is_not_known_here_is_the_usual_one(lab):
    described = json.loads(json.dumps(FROM_ELSEWHERE))
    described["topology"]["nodes"][0]["console_type"] = "spice"
    project = await imported(lab, described)
    (node,) = (await lab.client.get(f"/v2{project}/nodes")).json
    assert node["console_type"] == "telnet"


async def test_a_machine_of_another_server_is_taken_over(lab):
    project = await imported(lab, FROM_ELSEWHERE)
    (node,) = (await lab.client.get(f"/v2{project}/nodes")).json
    assert node["console_type"] == "none"
    started = await post(lab, f"{project}/nodes/{node['node_id']}/start", {}, status=200)
    assert started["status"] == "started"
    vm = Vm(Lab(lab.server, f"/v1{project}"), node["node_id"], node["console"])
    shown = await vm.get()
    assert (shown["platform"], shown["ram"], shown["console_type"]) == ("x86_64", 16, "none")
    (card,) = [word for word in await vm.command_line() if ",netdev=hub-" in word]
    assert card.startswith("rtl8139,")
    assert (await vm.update(name="other")).status == 200
    await vm.do("stop")
    exported = await lab.client.get(f"/v2{project}/export")
    with zipfile.ZipFile(io.BytesIO(exported.body)) as archive:
        described = json.loads(archive.read("project.gns3"))
    (saved,) = described["topology"]["nodes"]
    assert not {"console_type", "custom_adapters"} & saved["properties"].keys()
    assert saved["custom_adapters"] == [{"adapter_number": 0, "adapter_type": "rtl8139"}]


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
