"""The warnings at the start: each for what is dangerous, none for what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gns3server.cli.startup_report import is_loopback, security_warnings
from gns3server.settings.schema import Settings, load
from gns3server.settings.server import ServerSettings

URL = "http://192.0.2.1:8000"
LOGIN = {"auth": True, "user": "me", "password": "secret"}
FAR = {"host": "192.0.2.1"}
HTTPS = {"ssl": True, "certfile": "/nowhere.pem"}


def warnings(server: ServerSettings | Settings, user_id: int = 1000) -> str:
    """All of them, one a line."""
    settings = Settings(server) if isinstance(server, ServerSettings) else server
    return "\n".join(security_warnings(settings, URL, user_id))


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        ({"console_host": "192.0.2.1"}, ["consoles listen on 192.0.2.1: anybody who reaches"]),
        ({"console_host": "::1"}, []),
        ({"allow_remote_console": True}, ["consoles listen on 0.0.0.0"]),
        (FAR, ["anybody who reaches http://192.0.2.1:8000 can run programs"]),
        ({"host": ""}, ["anybody who reaches"]),
        ({"host": "lab.example"}, ["anybody who reaches"]),
        ({**FAR, **HTTPS}, ["anybody who reaches"]),
        ({**FAR, **LOGIN}, ["can read the password"]),
        ({**FAR, **LOGIN, "user": ""}, ["user is empty", "anybody who reaches"]),
        ({**LOGIN, "user": ""}, ["user is empty"]),
        ({**LOGIN, "password": ""}, ["password is empty"]),
        ({**FAR, **LOGIN, **HTTPS, "local": True}, ["leave --local to servers on 127.0.0.1"]),
        ({"allowed_origins": "https://a.example, null"}, ["allowed_origins holds null"]),
        ({"allowed_origins": "http://a.example:80"}, ["holds http://a.example:80"]),
    ],
)
def test_what_is_dangerous_is_said(server, wanted):
    found = warnings(ServerSettings(**server)).splitlines()
    assert len(found) == len(wanted), found
    for line, text in zip(found, wanted, strict=True):
        assert text in line
    assert "secret" not in "".join(found)


@pytest.mark.parametrize(
    "server",
    [
        {},
        LOGIN,
        {"local": True, "debug": True},
        {"host": "::1", "local": True},
        {"host": "localhost"},
        {**FAR, **LOGIN, **HTTPS},
        {"allowed_origins": "https://a.example, http://localhost:3000, http://[::1]:1"},
    ],
)
def test_what_is_not_dangerous_is_not(server):
    assert warnings(ServerSettings(**server)) == ""


def test_a_server_of_roots_says_so():
    assert "runs as root" in warnings(ServerSettings(), user_id=0)
    settings = Settings()
    assert ("runs as root" in "".join(security_warnings(settings, URL))) == (os.geteuid() == 0)


@pytest.fixture
def make_file(tmp_path):
    """Makes a file of a mode."""

    def make(name: str, text: str, mode: int) -> Path:
        path: Path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return make


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ("[Server]\npassword = secret", 0o644, True),
        ("[SERVER]\nPassword = secret", 0o640, True),
        ("[Server]\npassword = secret", 0o600, False),
        ("[Server]\npassword =", 0o644, False),
        ("[Other]\npassword = secret", 0o644, False),
        ("", 0o644, False),
    ],
)
def test_a_password_that_others_can_read(make_file, text, mode, warned):
    path = make_file("gns3_server.conf", text, mode)
    found = warnings(load({}, {}, (path,)))
    assert (f"can read the password in {path}: chmod 600 {path}" in found) == warned
    assert "secret" not in found


def test_a_private_key_that_others_can_read(make_file):
    certificate, key = make_file("a.pem", "", 0o644), make_file("a.key", "", 0o644)
    both = ServerSettings(ssl=True, certfile=str(certificate), certkey=str(key))
    assert f"private key in {key}" in warnings(both)
    assert f"private key in {certificate}" in warnings(
        ServerSettings(ssl=True, certfile=str(certificate))
    )
    key.chmod(0o600)
    assert warnings(both) == ""


def test_files_that_have_gone_meanwhile_are_no_danger(tmp_path):
    gone = tmp_path / "gone"
    assert warnings(Settings(ServerSettings(ssl=True, certfile=str(gone)), said={gone: {}})) == ""


def test_addresses_of_this_machine_alone():
    for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example"):
        assert not is_loopback(host)
