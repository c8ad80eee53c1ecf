"""What demos are made of: requests and commands, each shown as a user would type it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gns3server.consoles.client import ConsoleClient

if TYPE_CHECKING:
    from gns3server.http.client import Answer, Client

PROMPT = "VPCS> "
REPLY = re.compile(r"icmp_seq=\d+ .*time=")
ANSWER_SECONDS = 20.0


class DemoFailed(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Session:
    """Sends requests, and shows each as the curl command that a user would type."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def post(self, path: str, value: Any) -> Any:
        """POST and show; returns the answer's value, ``None`` if it is empty."""
        url, body = shlex.quote(self._client.url + path), shlex.quote(json.dumps(value))
        print(f"\n$ curl -X POST {url} -d {body}")
        return _shown(await self._client.post(path, value))

    async def put(self, path: str, value: Any) -> Any:
        """PUT and show; returns the answer's value."""
        url, body = shlex.quote(self._client.url + path), shlex.quote(json.dumps(value))
        print(f"\n$ curl -X PUT {url} -d {body}")
        return _shown(await self._client.put(path, value))

    async def get(self, path: str) -> Any:
        """GET and show; returns the answer's value."""
        print(f"\n$ curl {shlex.quote(self._client.url + path)}")
        return _shown(await self._client.get(path))

    async def delete(self, path: str) -> None:
        """DELETE and show."""
        print(f"\n$ curl -X DELETE {shlex.quote(self._client.url + path)}")
        _shown(await self._client.delete(path))

    async def download(self, path: str) -> bytes:
        """GET a capture, and show how it would be read; returns what is in it."""
        print(f"\n$ curl -s {shlex.quote(self._client.url + path)} | tshark -r -")
        answer = await self._client.get(path)
        if answer.status >= 400:
            raise DemoFailed(answer.json["message"])
        return answer.body

    async def show_version(self) -> None:
        """GET the version and show it."""
        print(f"$ curl {self._client.url}/v1/version")
        print((await self._client.get("/v1/version")).body.decode(), end="")


def _shown(answer: Answer) -> Any:
    """Show an answer; returns its value, ``None`` if it is empty.

    :raises DemoFailed: it is an error, or a node of the project did not start.
    """
    if answer.body:
        print(answer.body.decode(), end="")
    if answer.status >= 400:
        raise DemoFailed(answer.json["message"])
    value = answer.json if answer.body else None
    if isinstance(value, dict) and value.get("failed"):
        raise DemoFailed(value["failed"][0]["message"])
    return value


def check_plugins(usable: Collection[str], needed: Collection[str]) -> None:
    """Check that all plugins are there that a demo needs.

    :raises DemoFailed: names those that are missing.
    """
    missing = sorted(set(needed) - set(usable))
    if missing:
        folders = " ".join(f"./plugins/{name}" for name in missing)
        raise DemoFailed(f"the plugins {', '.join(missing)} are needed: pip install {folders}")


def say(text: str) -> None:
    """Say what comes next."""
    print(f"\n# {text}")


async def run_command(console: ConsoleClient, line: str) -> list[str]:
    """Type a line on a console, and show it with what it prints."""
    shown = (await console.run(line)).removesuffix(PROMPT).replace("\r", "\n")
    lines = [text for text in shown.splitlines() if text.strip()]
    print(f"\n$ telnet 127.0.0.1 {console.port}\n{PROMPT}{line}")
    print("\n".join(lines))
    return lines
