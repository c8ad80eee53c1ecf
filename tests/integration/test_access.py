"""Who may call: user and password, and HTTPS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from gns3server import app
from gns3server.http import accepting
from gns3server.settings.errors import SettingsError
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings
from gns3server.settings.server import ServerSettings

TLS = Path(__file__).parent / "tls"
PAIR = "me:pass:w\u00f6rd"


def basic(pair: str) -> str:
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.fixture
def ask(lab):
    """Makes the server ask for a user and a password from now on."""

    def ask(user="me"):
        settings = lab.live_settings.current
        server = replace(settings.server, auth=True, user=user, password="pass:w\u00f6rd")
        lab.live_settings.current = replace(settings, server=server)

    return ask


WRONG = [
    *(basic(pair) for pair in ("me:pass:word", "me:", "me", "you:pass:w\u00f6rd", ":", "")),
    basic(PAIR + " "),
    basic(PAIR).replace("Basic", "Bearer"),
    basic(PAIR).removesuffix("="),
    "Authorization: Basic",
    "Authorization: Basic \u00e4",
    "Authorization:",
    "X-Nothing: 1",
]


async def test_nobody_gets_in_without_the_password(raw, project, ask, subtests):
    ask()
    paths = ("/", "/docs", "/upload", "/v1/version", "/notifications", "/v1/openapi.json")
    routes = {**{path: path for path in paths}, project: "/v1/projects/{project_id}"}
    for path, route in routes.items():
        for header in WRONG:
            with subtests.test(path=path, header=header):
                answer = await raw.request("GET", path, header)
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="GNS3 server"'
                assert answer.headers["X-Route"] == route
                assert set(answer.json) == {"message", "status"}
                assert "w\u00f6rd" not in answer.body.decode()


async def test_credentials_may_come_in_latin_1_and_the_scheme_in_any_case(raw, ask):
    """200 for all: UTF-8 and Latin-1 (RFC 7617), the scheme in any case (RFC 9110, 11.1)."""
    ask()
    for encoding in ("utf-8", "latin-1"):
        pair = base64.b64encode(PAIR.encode(encoding)).decode()
        for scheme in ("Basic", "basic", "BASIC", "Basic  "):
            answer = await raw.request("GET", "/v1/version", f"Authorization: {scheme} {pair}")
            assert answer.status == 200


async def test_a_password_that_latin_1_has_not_cannot_be_left_out(raw, ask):
    ask("\u0434\u043e\u043c")
    for pair in (":", "???:", ":pass:w\u00f6rd"):
        assert (await raw.request("GET", "/v1/version", basic(pair))).status == 401
    pair = "\u0434\u043e\u043c:pass:w\u00f6rd"
    assert (await raw.request("GET", "/v1/version", basic(pair))).status == 200


async def test_what_is_refused_changes_nothing(raw, project, ask, lab):
    ask()
    assert (await raw.request("DELETE", project)).status == 401
    assert (await raw.request("POST", "/v1/projects", body=b"{}")).status == 401
    assert len(lab.projects.projects) == 1


@pytest.mark.statement("AUTH-03")
async def test_the_right_password_opens_everything(raw, project, ask):
    ask()
    for path in ("/", "/docs", "/v1/version", project):
        assert (await raw.request("GET", path, basic(PAIR))).status == 200


@pytest.mark.statement("AUTH-04")
async def test_without_a_user_nobody_is_asked(raw, ask):
    ask(user="")
    assert (await raw.request("GET", "/v1/version")).status == 200


async def test_no_password_gets_into_the_log(raw, ask, caplog):
    caplog.set_level("DEBUG")
    ask()
    for header in (basic(PAIR), WRONG[0]):
        await raw.request("GET", "/v1/version", header)
    assert "401" in caplog.text
    for secret in ("w\u00f6rd", "pass:word", header.split()[-1], basic(PAIR).split()[-1]):
        assert secret not in caplog.text


# HTTPS ------------------------------------------------------------------------------


async def test_https(gns3_settings):
    server = replace(
        gns3_settings.server,
        ssl=True,
        certfile=str(TLS / "test.pem"),
        certkey=str(TLS / "test.key"),
    )
    settings = replace(gns3_settings, server=server)
    trust = ssl.create_default_context(cafile=str(TLS / "test.pem"))
    async with (
        app.serving(LiveSettings(lambda **_: settings), found=[]) as running,
        aiohttp.ClientSession() as session,
    ):
        assert running.url.startswith("https://127.0.0.1:")
        origin = {"Origin": running.url}
        url = f"{running.url}/v1/version"
        async with session.get(url, ssl=trust, headers=origin) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(url.replace("https", "http"))


@pytest.fixture
def encrypted(gns3_settings):
    """Settings of a server with HTTPS, and with a password."""
    return replace(
        gns3_settings,
        server=replace(
            gns3_settings.server,
            ssl=True,
            certfile=str(TLS / "test.pem"),
            certkey=str(TLS / "test.key"),
            auth=True,
            user="me",
            password="right",
        ),
    )


async def ask_encrypted(running) -> int:
    """Ask a server for something, on a new connection."""
    trust = ssl.create_default_context(cafile=str(TLS / "test.pem"))
    name, _, value = basic("me:right").partition(": ")
    async with aiohttp.ClientSession(headers={name: value}) as session:
        answer = await session.get(f"{running.url}/v1/version", ssl=trust)
        return answer.status


async def test_who_does_not_agree_upon_tls_is_cut_off(encrypted, monkeypatch):
    monkeypatch.setattr(accepting, "HANDSHAKE_LIMIT", 0.1)
    async with app.serving(LiveSettings(lambda **_: encrypted), found=[]) as running:
        idle = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        idle[1][1].write(b"nonsense")
        idle[2][1].write(b"\x16\x03")
        for reader, writer in idle:
            with suppress(ConnectionError):
                await reader.read()
            writer.close()


async def test_who_does_not_agree_upon_tls_takes_nobodys_place(encrypted, monkeypatch):
    monkeypatch.setattr(accepting, "MOST_UNAUTHENTICATED", 3)
    async with app.serving(LiveSettings(lambda **_: encrypted), found=[]) as running:
        idle = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(8)]
        assert await ask_encrypted(running) == 200
        # The first ones are cut off, long before their time is up.
        for reader, _ in idle[:5]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
        for _, writer in idle:
            writer.transport.abort()


async def test_a_server_with_tls_ends_although_somebody_does_not_agree(encrypted):
    async with app.serving(LiveSettings(lambda **_: encrypted), found=[]) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert await ask_encrypted(running) == 200
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("certificate", "key"),
    [("", ""), ("nothing.pem", ""), ("test.pem", ""), ("test.pem", "locked.key"), ("test.key", "")],
)
def test_what_is_no_certificate_is_said(certificate, key):
    certificate, key = (str(TLS / name) if name else "" for name in (certificate, key))
    server = ServerSettings(ssl=True, certfile=certificate, certkey=key)
    with pytest.raises(SettingsError, match="certfile"):
        app.make_tls(Settings(server=server))


def test_a_certificate_may_be_in_the_home_directory():
    server = ServerSettings(ssl=True, certfile="~/test.pem", certkey="~/test.key")
    assert app.make_tls(Settings(server=server, environ={"HOME": str(TLS)})) is not None
    assert app.make_tls(Settings(server=ServerSettings(certfile="nothing"))) is None
