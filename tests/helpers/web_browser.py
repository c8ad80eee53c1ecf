"""A real browser: Chromium without a window, driven as W3C WebDriver describes.

That is one HTTP request for each thing to do. A client library would be no shorter here, would
block, and would bring a downloader of browsers along.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from short_paths import short_directory
from waiting import until

from gns3server.testing import marks, processes_of
from gns3server.testing.leftovers import nothing_left

LIMIT = 120
"""Seconds that a script may wait for what it is to see."""

NAMES = (
    "MAP *.example 127.0.0.1",
    "MAP * ~NOTFOUND",
    "EXCLUDE localhost",
    "EXCLUDE 127.0.0.1",
)
"""What names mean to it: it asks no name server, and reaches nothing but this machine. Sites below
``example`` are elsewhere as far as it knows."""

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    f"--host-resolver-rules={', '.join(NAMES)}",
)


class Browser:
    """A browser with one window.

    :param session: speaks to the driver.
    :param path: of the window, below the driver's address.
    """

    def __init__(self, session: aiohttp.ClientSession, path: str) -> None:
        self._session = session
        self._path = path

    async def go(self, url: str) -> None:
        """Open a page, and wait until it is there."""
        await _post(self._session, f"{self._path}/url", {"url": url})

    async def run(self, script: str, *args: Any) -> Any:
        """Run a script in the page.

        :param script: the body of a function. If it returns a promise, that is waited for.
        :param args: its ``arguments``, anything that JSON can say.
        :returns: what it returns.
        :raises AssertionError: it threw an error, or waited longer than :data:`LIMIT`.
        """
        body = {"script": script, "args": args}
        return await _post(self._session, f"{self._path}/execute/sync", body)


@asynccontextmanager
async def open_browser(environ: Mapping[str, str]) -> AsyncIterator[Browser]:
    """A browser for the time of a test, which has seen nothing yet and leaves nothing.

    :param environ: its environment. What it writes outside its profile is below ``HOME``.
    """
    programs = {"chromium": "chromium", "chromedriver": "chromium-driver"}
    for program, package in programs.items():
        if shutil.which(program) is None:
            pytest.fail(f"This test needs {program}: sudo apt-get install {package}")
    mark = uuid.uuid4().hex
    # Its sockets are in the temporary directory, at paths that must be short.
    with short_directory() as directory, nothing_left(mark):
        driver = await asyncio.create_subprocess_exec(
            *("chromedriver", "--port=0"),
            env={**environ, **marks(mark), "TMPDIR": str(directory)},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with _session(await _port(driver), directory / "profile") as browser:
                yield browser
        finally:
            driver.terminate()
            await driver.communicate()
            await until(partial(_ended, mark))


@asynccontextmanager
async def _session(port: str, profile: Path) -> AsyncIterator[Browser]:
    """Have a driver start a browser, and end it."""
    timeout = aiohttp.ClientTimeout(total=2 * LIMIT)
    options = {
        "binary": shutil.which("chromium"),
        "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
    }
    wanted = {"goog:chromeOptions": options, "timeouts": {"script": LIMIT * 1000}}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
        begun = await _post(session, "/session", {"capabilities": {"alwaysMatch": wanted}})
        path = f"/session/{begun['sessionId']}"
        try:
            yield Browser(session, path)
        finally:
            async with session.delete(path):
                pass


async def _ended(mark: str) -> bool:
    """Whether none of a browser's processes is left, some of which nobody here started."""
    return not processes_of(mark)


async def _port(driver: asyncio.subprocess.Process) -> str:
    """Wait until the driver says where it listens."""
    assert driver.stdout is not None
    said = ""
    async for line in driver.stdout:
        said += line.decode()
        if found := re.search(r"on port (\d+)\.", said):
            return found[1]
    pytest.fail(f"chromedriver does not come up:\n{said}")


async def _post(session: aiohttp.ClientSession, path: str, body: Mapping[str, Any]) -> Any:
    async with session.post(path, json=body) as answer:
        value = (await answer.json())["value"]
        assert answer.status == 200, value["message"]
        return value
