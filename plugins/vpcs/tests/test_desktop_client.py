"""What the desktop client of 2015 does with a server, from its start to its end (contract 8).

The server is the installed program, in a process of its own. The client leaves user and
password in the user's configuration file, and sends a JSON body with every request.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from vpcs_console import open_console

from gns3server.testing import TEST_VARIABLE, marks, processes_of

RELEASE = "1.3.7"
"""A released client refuses a server of any other version."""

CONFIGURATION = """\
[Server]
auth = True
user = admin
password = made-up:by %the client
announced_version = {release}
report_errors = True
state_path = {state_path}
projects_path = {projects_path}
images_path = {images_path}
console_start_port_range = {console_start_port_range}
console_end_port_range = {console_end_port_range}
udp_start_port_range = {udp_start_port_range}
udp_end_port_range = {udp_end_port_range}

[VPCS]
vpcs_path = {vpcs_path}

[Dynamips]
allocate_aux_console_ports = False
"""
LOGIN = {"Authorization": aiohttp.encode_basic_auth("admin", "made-up:by %the client")}
NAMES = ("PC1", "PC2")
UP_LIMIT = 30.0
POLL = 0.05


class DesktopClient:
    """Starts a server and speaks with it, as that program does."""

    def __init__(self, home: Path, port: int, environ: Mapping[str, str]) -> None:
        self.home = home
        self.port = port
        self.log = home / "server log.txt"
        self.environ = environ
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=LOGIN)

    @asynccontextmanager
    async def server(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Have a server run, which is expected to have ended at the end."""
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("gns3server"),
            *("--host=127.0.0.1", f"--port={self.port}", "--local", "--allow", "--debug"),
            f"--log={self.log}",
            cwd=self.home,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await self._until_up(process)
            yield process
        finally:
            await self._session.close()
            if process.returncode is None:
                process.terminate()
            await process.communicate()

    async def _until_up(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(UP_LIMIT):
            while process.returncode is None:
                try:
                    await self.ask("GET", "/v1/version")
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(POLL)
                else:
                    return
        pytest.fail(f"the server has ended with code {process.returncode}")

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send a request with a JSON body, which is ``{}`` where there is nothing to say.

        An answer of any other type than JSON counts as empty.
        """
        async with self._session.request(method, path, json=body or {}) as answer:
            content = await answer.read()
            assert answer.status == status, content
            if answer.headers.get("Content-Type") == "application/json":
                return json.loads(content)
            assert content == b""
            return None

    async def ask_as(self, login: Mapping[str, str]) -> int:
        """The status of a request with other credentials."""
        async with aiohttp.ClientSession(headers=login) as session:
            url = f"http://127.0.0.1:{self.port}/v1/version"
            async with session.get(url) as answer:
                return answer.status

    async def download(self, path: str) -> bytes:
        """The bytes of a file."""
        async with self._session.get(path, json={}) as answer:
            assert (answer.status, answer.content_type) == (200, "application/octet-stream")
            return await answer.read()

    @asynccontextmanager
    async def listening(self, project: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Read the notifications of a project, the first of which is a ping at once."""
        timeout = aiohttp.ClientTimeout(total=None)
        path = f"{project}/notifications"
        async with self._session.get(path, json={}, timeout=timeout) as stream:
            assert stream.headers["Content-Type"] == "application/json"
            assert "Content-Length" not in stream.headers
            assert "Content-Encoding" not in stream.headers
            assert await stream.content.readline() == b'{"action": "ping"}\n'
            yield (json.loads(line) async for line in stream.content)


@pytest.fixture
async def client(gns3_settings, vpcs_program, tmp_path):
    """A client whose user has never run a server; no process may be left behind."""
    settings = gns3_settings.server
    file = tmp_path / ".config" / "GNS3" / "gns3_server.conf"
    file.parent.mkdir(parents=True)
    values = {**vars(settings), "release": RELEASE, "vpcs_path": vpcs_program}
    # The last port of those that are this test's own is the one to listen on.
    port = values["console_end_port_range"]
    values["console_end_port_range"] = port - 1
    file.write_text(CONFIGURATION.format(**values))
    file.chmod(0o600)
    kept = {
        name: value
        for name, value in gns3_settings.environ.items()
        if name == TEST_VARIABLE or not name.startswith(("GNS3_", "XDG_"))
    }
    kept |= marks(kept[TEST_VARIABLE])
    return DesktopClient(tmp_path, port, kept)


async def link(client: DesktopClient, project: str, vms: list[Any]) -> None:
    """Draw a link between two PCs."""
    ports = [
        (await client.ask("POST", f"{project}/ports/udp", status=201))["udp_port"] for _ in vms
    ]
    for vm, lport, rport in zip(vms, ports, reversed(ports), strict=True):
        nio = {"type": "nio_udp", "lport": lport, "rport": rport, "rhost": "127.0.0.1"}
        path = f"{project}/vpcs/vms/{vm['vm_id']}/adapters/0/ports/0/nio"
        assert await client.ask("POST", path, nio, 201) == nio


async def start(client: DesktopClient, project: str, vms: list[Any]) -> None:
    """Start all of a project, and look whether it is up."""
    for vm in vms:
        path = f"{project}/vpcs/vms/{vm['vm_id']}"
        await client.ask("POST", f"{path}/start", {}, 204)
        assert await client.ask("GET", path) == {**vm, "status": "started"}


async def ping(vms: list[Any]) -> None:
    """Open the consoles of two PCs, and let one ping the other."""
    async with open_console(vms[0]["console"]) as first, open_console(vms[1]["console"]) as second:
        assert ("this is PC1" in first.text, "this is PC2" in second.text) == (True, True)
        await asyncio.gather(first.run("ip 10.0.0.1"), second.run("ip 10.0.0.2"))
        assert await second.pings("10.0.0.1")


async def names_of(events: AsyncIterator[Any]) -> list[tuple[str, str]]:
    """What was told of PCs, and of which, up to the end of the stream: it knows no links."""
    return [
        (event["action"], event["event"]["name"])
        async for event in events
        if event["action"].startswith("vm.")
    ]


@pytest.mark.timeout(120)
@pytest.mark.statement("SRV-02", "VPCS-35", "PRJ-36")
async def test_a_session_of_the_desktop_client(client: DesktopClient, tmp_path: Path) -> None:
    async with client.server() as process:
        # It must be the kind of server, and of the version, that the client expects.
        version = await client.ask("GET", "/v1/version", {"x": 1})
        assert version == {"version": RELEASE, "local": True}
        assert await client.ask("POST", "/v1/version", {"version": RELEASE, "local": True}) == {
            "version": RELEASE
        }
        wrong = {"Authorization": aiohttp.encode_basic_auth("admin", "guessed")}
        assert [await client.ask_as(login) for login in ({}, wrong, LOGIN)] == [401, 401, 200]

        # A new topology is temporary until it is saved somewhere.
        folder = tmp_path / "my labs" / "\u00fcbung"
        made = await client.ask("POST", "/v1/projects", {"name": "new", "temporary": True}, 201)
        project = f"/v1/projects/{made['project_id']}"
        async with client.listening(project) as events:
            for name in NAMES:
                body = {"name": name, "startup_script": "echo this is %h\n"}
                await client.ask("POST", f"{project}/vpcs/vms", body, 201)
            saved = {"name": "\u00fcbung", "path": str(folder), "temporary": False}
            assert await client.ask("PUT", project, saved) == {**made, **saved}
            await client.ask("POST", f"{project}/commit", {}, 204)
            vms = await client.ask("GET", f"{project}/vpcs/vms")
            assert all(Path(vm["vm_directory"]).is_relative_to(folder) for vm in vms)
            await link(client, project, vms)
            await start(client, project, vms)
            await ping(vms)

            files = {entry["path"] for entry in await client.ask("GET", f"{project}/files")}
            script = f"project-files/vpcs/{vms[0]['vm_id']}/startup.vpc"
            assert script in files
            assert await client.download(f"{project}/files/{script}") == b"echo this is PC1\n"

            await client.ask("POST", f"{project}/vpcs/vms/{vms[0]['vm_id']}/stop", {}, 204)
            await client.ask("POST", f"{project}/close", {}, 204)
            told = await names_of(events)
        actions = ("vm.created", "vm.started", "vm.stopped")
        assert told == [(action, name) for action in actions for name in NAMES]
        await client.ask("GET", project, status=404)

        # Opened again, everything is what and where it was.
        again = {"name": "\u00fcbung", "project_id": made["project_id"], "path": str(folder)}
        assert await client.ask("POST", "/v1/projects", again, 201) == {**made, **saved}
        async with client.listening(project) as events:
            for vm in vms:
                known = {key: vm[key] for key in ("name", "vm_id", "console")}
                assert await client.ask("POST", f"{project}/vpcs/vms", known, 201) == vm
            await link(client, project, vms)
            await start(client, project, vms)

            # The window is closed: the client ends the server that it has started.
            assert await client.ask("POST", "/v1/server/shutdown", {}, 201) is None
            assert sorted(await names_of(events))[-2:] == [("vm.stopped", name) for name in NAMES]
        printed, _ = await process.communicate()
        assert (process.returncode, printed) == (0, b"")

    assert (folder / script).is_file()
    log = client.log.read_text(encoding="utf-8")
    assert " admin POST /v1/server/shutdown -> 201 " in log
    assert " -m 0 -i 1 " in log
    assert "ERROR" not in log
    assert "made-up" not in log
    assert processes_of(client.environ[TEST_VARIABLE]) == {}
