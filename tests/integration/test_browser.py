"""Consoles in a real browser: what pages may do, of this server and of others."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from api_calls import new_project
from console_page import ConsolePage
from web_browser import open_browser

from gns3server.testing import claimed_ports

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

OPEN = """
const [url] = arguments;
const socket = new WebSocket(url);
return new Promise(done => {
  socket.onopen = () => done("open");
  socket.onclose = ({code}) => done(code);
});
"""
"""Opens a websocket, and tells how that ended."""

SEND = """
const [url, data] = arguments;
return fetch(url, {method: "POST", mode: "no-cors", body: data}).then(({type}) => type);
"""
"""Sends what a browser lets any page send without asking first, and does not see the answer."""

LOST = 1006
"""How a page is told that a websocket was refused: it learns no more."""

TICKET = """
const [url] = arguments;
return fetch("/v1/tickets", {method: "POST"})
  .then(answer => answer.json())
  .then(({ticket}) => `${url}?ticket=${ticket}`);
"""
"""Gets a ticket, as the manual has it; tells the URL with it."""

PROJECTS = "/v1/projects"


@pytest.fixture
async def browser(tmp_path):
    async with open_browser({**os.environ, "HOME": str(tmp_path)}) as browser:
        yield browser


@pytest.fixture
def serving(gns3_serving, make_entry_point):
    """Makes servers with a shell that runs; tells the URL of its console too."""

    @asynccontextmanager
    async def serving(**settings):
        async with gns3_serving(
            plugins=[make_entry_point("shell", "toy_shell")], **settings
        ) as server:
            project = await new_project(server.client)
            made = await server.client.post(f"{project}/shell/vms", {"name": "S"})
            node = made.json["vm_id"]
            started = await server.client.post(f"{project}/shell/vms/{node}/start")
            assert started.status == 204, started
            yield server, f"{server.url}{project}/nodes/{node}/console"

    return serving


def websocket(url: str) -> str:
    return url.replace("http:", "ws:")


async def test_a_page_types_and_tells_the_size_of_its_window(browser, serving):
    async with serving() as (_, console):
        page = await ConsolePage.open(browser, console)
        await page.shows("welcome\\s+shell> $")
        await page.say(json.dumps({"columns": 133, "rows": 37}))
        await page.say("size\r")
        await page.shows("size\\s+133x37\\s+shell> $")


async def test_pages_from_elsewhere_get_nowhere_unless_the_settings_name_them(browser, serving):
    with claimed_ports() as ports:
        # The same machine by another name is another origin.
        own, named, same, evil = (
            f"http://{name}:{ports.first}"
            for name in ("127.0.0.1", "friend.example", "localhost", "evil.example")
        )
        async with serving(port=ports.first, allowed_origins=named) as (server, console):
            seen = {}
            for origin in (own, named, same, evil):
                await browser.go(f"{origin}/v1/version")
                opened = await browser.run(OPEN, websocket(console))
                await browser.run(SEND, f"{own}/v1/projects", json.dumps({"name": origin}))
                made = {project["name"] for project in (await server.client.get(PROJECTS)).json}
                seen[origin] = (opened, origin in made)
            let_in, refused = ("open", True), (LOST, False)
            assert seen == {own: let_in, named: let_in, same: refused, evil: refused}


async def test_a_page_of_a_server_with_a_password_uses_a_ticket(browser, serving):
    async with serving() as (server, console):
        live = server.running.server.live_settings
        asking = replace(live.current.server, auth=True, user="me", password="right")
        live.current = replace(live.current, server=asking)
        # Once as somebody who types the password, then as the page that the browser knows it for.
        for url in (server.url.replace("//", "//me:right@"), server.url):
            await browser.go(f"{url}/v1/version")
        url = websocket(await browser.run(TICKET, console))
        assert await browser.run(OPEN, url) == "open"
        # Once, although this browser sends the password along.
        assert await browser.run(OPEN, url) == LOST
