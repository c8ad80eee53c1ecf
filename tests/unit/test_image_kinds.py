"""Kinds of images that plugins may and may not declare."""

from __future__ import annotations

import pytest

from gns3server.files.images import ImageKind
from gns3server.plugin_host.checks import Unfit, check_image_kinds

ROM = ImageKind(name="ROM", directory="ROM", title="program")


def kind(name="DISK", directory="disks", **values):
    return ImageKind(name=name, directory=directory, title="disk", **values)


def test_kinds_with_names_and_directories_of_their_own_are_taken():
    check_image_kinds([kind(), kind(), kind("A-1_b", "x")], {"ROM": ROM})
    # Node types may share a kind.
    check_image_kinds([ROM], {"ROM": ROM})


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ([kind(name="ROM")], "differs from the one that exists in 'ROM'"),
        ([kind(directory="ROM")], "differs from the one that exists in 'ROM'"),
        ([kind(), kind(executable=True)], "differs from the one that exists in"),
        ([kind(), kind(directory="others")], "differs from the one that exists in"),
        *(
            ([kind(**{field: value})], "cannot be kept in")
            for field in ("name", "directory")
            for value in ("", ".", "..", ".hidden", "a/b", "/tmp", "a b", "x" * 65, "\u00e9", "x\n")
        ),
    ],
)
def test_other_kinds_are_refused(kinds, reason):
    with pytest.raises(Unfit, match=reason):
        check_image_kinds(kinds, {"ROM": ROM})


async def test_a_plugin_with_a_kind_of_another_fails_alone(
    gns3_serving, make_entry_point, faulty_plugin
):
    clash = faulty_plugin(
        "import dataclasses\n"
        "from gns3server.plugin import ImageKind\n"
        "ROMS = ImageKind(name='ROM', directory='roms', title='rom')\n"
        "MINE = dataclasses.replace(MINE, image_kinds=(ROMS,))\n"
    )
    plugins = [clash, make_entry_point("shelf", "toy_images")]
    async with gns3_serving(plugins=plugins, strict_plugins=False) as server:
        answer = await server.client.get("/v1/plugins")
        assert {p["name"]: p["status"] for p in answer.json} == {"mine": "ok", "shelf": "failed"}
        assert server.running.server.machine.images.kinds()["ROM"].directory == "roms"
        assert (await server.client.get("/v1/shelf/vms")).status == 503
