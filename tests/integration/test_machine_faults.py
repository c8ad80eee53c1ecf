from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gns3server.server_process import server_process
from gns3server.testing import processes_of

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture
def site(tmp_path):
    site = tmp_path / "site"
    folder = site / "toys-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[gns3server.plugins]\ntoy = toy_emulator\n")
    return {"PYTHONPATH": f"{site}:{TOYS}"}


async def make(client, **values: Any) -> str:
    answer = await client.post("/v1/projects", {"name": "lab"})
    assert answer.status == 201, answer.body
    return f"/v1/projects/{answer.json['project_id']}"


async def toy(client, project, **values):
    answer = await client.post(f"{project}/toy/vms", {"name": "toy", **values})
    assert answer.status == 201, answer.body
    return f"{project}/toy/vms/{answer.json['vm_id']}"


async def test_x_nofile(gns3_settings, site):
    async with server_process(gns3_settings, environ=site) as server:
        c = server.client
        p = await make(c)
        a, b = await toy(c, p), await toy(c, p)
        print((await c.post(f"{a}/start")).status)
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        await asyncio.gather(c.get(p), c.get(p), c.get(p))
        async with c.listen(f"{p}/notifications") as ev:
            print(await anext(ev))
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, hard))
            r, w = await asyncio.open_connection("127.0.0.1", server.port)
            for m, path, body in [
                ("POST", f"{b}/start", None),
                ("GET", p, None),
                ("POST", f"{p}/toy/vms", {"name": "n"}),
                ("GET", f"{p}/files", None),
                ("POST", "/v1/projects", {}),
                ("POST", f"{a}/stop", None),
                ("POST", f"{a}/start", None),
                ("GET", "/v1/interfaces", None),
                ("PUT", a, {"name": "n2"}),
                ("POST", f"{p}/commit", None),
                ("POST", f"{p}/close", None),
            ]:
                ans = await c.request(m, path, body)
                print(m, path[-20:], ans.status, ans.body[:300])
            await asyncio.sleep(3)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
            w.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            print(await r.readline())
            w.close()
            print((await c.post(f"{b}/start")).status)
    Path(f"/tmp/faultsx/log{server.pid}").write_text(server.log)


def ordinary(tmp):
    if os.geteuid():
        return ()
    return (
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "--inh-caps",
        "+dac_override",
        "--ambient-caps",
        "+dac_override",
    )


async def test_x_nproc(gns3_settings, tmp_path):
    tmp = tmp_path / "x"
    under = ordinary(tmp)
    folder = tmp / "toys-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[gns3server.plugins]\ntoy = toy_emulator\n")
    settings = replace(
        gns3_settings,
        server=replace(
            gns3_settings.server,
            projects_path=str(tmp / "projects"),
            images_path=str(tmp / "i"),
            state_path=str(tmp / "s"),
        ),
        environ={**gns3_settings.environ, "HOME": str(tmp)},
    )
    async with server_process(
        settings, environ={"PYTHONPATH": f"{tmp}:{TOYS}"}, under=under
    ) as server:
        c = server.client

        def lim(n):
            subprocess.run(
                [*under, "prlimit", "--pid", str(server.pid), f"--nproc={n}:"], check=True
            )

        p = await make(c)
        a, b = await toy(c, p), await toy(c, p)
        lim(1)
        ans = await c.post(f"{a}/start")
        print(ans.status, ans.body)
        for m, path, body in [
            ("POST", f"{b}/start", None),
            ("GET", p, None),
            ("POST", f"{p}/toy/vms", {"name": "n"}),
            ("GET", f"{p}/files", None),
            ("POST", "/v1/projects", {}),
            ("POST", f"{a}/stop", None),
            ("POST", f"{a}/start", None),
            ("GET", "/v1/interfaces", None),
            ("PUT", a, {"name": "n2"}),
            ("POST", f"{p}/commit", None),
            ("GET", "/docs", None),
        ]:
            ans = await c.request(m, path, body)
            print(m, path[-20:], ans.status, ans.body[:300])
        res = await asyncio.gather(
            *(c.request("GET", x) for x in ["/v1/interfaces", "/v1/openapi.json"] * 40)
        )
        print({r.status for r in res})
        lim(1000)
        print((await c.post(f"{b}/start")).status)
    Path(f"/tmp/faultsx/log{server.pid}").write_text(server.log)
