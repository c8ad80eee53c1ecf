"""What the log says at the start: where the server listens, what it has, what is dangerous."""

from __future__ import annotations

import ipaddress
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gns3server import __version__
from gns3server.cli.writable import check_writable
from gns3server.settings.schema import Settings, split_list
from gns3server.settings.server import SECTION
from gns3server.settings.unknown import Known, unknown_names

log = logging.getLogger(__name__)


def report_start(settings: Settings, url: str, plugins: Sequence[Mapping[str, Any]]) -> None:
    """Log what this server is, after all warnings. Blocks.

    :param url: where it listens.
    :param plugins: reports of all plugins that are installed.
    """
    log.info("gns3server %s listens on %s", __version__, url)
    for path in settings.files:
        log.info("settings were read from %s", path)
    log.info("projects are kept in %s", settings.projects_path)
    for plugin in plugins:
        what = plugin["message"] or ", ".join(plugin["node_types"] + plugin["nio_types"])
        log.info(
            "plugin %s %s: %s%s",
            plugin["name"],
            plugin["version"],
            plugin["status"],
            f" ({what})" if what else "",
        )
    if not plugins:
        log.warning("no plugin is installed: there is nothing to run")
    first, last = settings.server.console_start_port_range, settings.server.console_end_port_range
    log.info("consoles listen on %s, TCP ports %d to %d", settings.console_host, first, last)


def report_warnings(url: str, known: Callable[[], Known], settings: Settings) -> None:
    """Log what is wrong with settings or dangerous, at the start and after each reload.

    Blocks.

    :param known: tells the settings of all plugins.
    """
    for warning in (
        *settings.warnings,
        *unusable_directories(settings),
        *unknown_names(settings, known()),
        *security_warnings(settings, url),
    ):
        log.warning("%s", warning)


def unusable_directories(settings: Settings) -> Iterator[str]:
    """A sentence for each directory that clients will need and that cannot be used. Blocks."""
    for name, path in (
        ("project_directory", settings.projects_path)
        if settings.server.project_directory
        else ("projects_path", settings.projects_path),
        ("images_path", settings.images_path),
    ):
        try:
            check_writable(path)
        except OSError as error:
            yield (
                f"{name} is {path}, which cannot be used: {error.strerror}. Make it a directory "
                f"that this user may write to, or change {name}"
            )


def security_warnings(settings: Settings, url: str, user_id: int | None = None) -> Iterator[str]:
    """A sentence for each setting that may let in somebody unexpected.

    Blocks.

    :param user_id: of the user that the server runs as; the process's own by default.
    """
    yield from _of_callers(settings, url)
    yield from _of_web_pages(settings)
    yield from _of_files(settings)
    if (os.geteuid() if user_id is None else user_id) == 0:
        yield (
            "the server runs as root: access to it, or to a console, gives control of the whole "
            "machine; run it as an ordinary user"
        )
    if not is_loopback(settings.console_host):
        yield (
            f"consoles listen on {settings.console_host}: anybody who reaches that can use them, "
            "without a password; leave console_host on 127.0.0.1 unless the whole network is yours"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_callers(settings: Settings, url: str) -> Iterator[str]:
    server = settings.server
    far = not is_loopback(server.host)
    asks = bool(server.auth and server.user)
    if server.auth and not server.user:
        yield "auth is on, but user is empty: nobody is asked for a password; set user and password"
    if asks and not server.password:
        yield "auth is on, but password is empty: the user's name is enough to get in; set password"
    if far and not asks:
        yield (
            f"anybody who reaches {url} can run programs on this machine as this user: listen on "
            "127.0.0.1 unless the whole network is yours"
        )
    if far and asks and not server.ssl:
        yield (
            f"anybody who can listen on the way to {url} can read the password, and with it run "
            "programs on this machine: set ssl, or forward the port with SSH"
        )
    if far and server.local:
        yield (
            f"local is on, so anybody who may use {url} can read every file of this user, choose "
            "where projects are and end the server: leave --local to servers on 127.0.0.1"
        )


def _of_web_pages(settings: Settings) -> Iterator[str]:
    for origin in split_list(settings.server.allowed_origins):
        parts = urlsplit(origin)
        if origin == "null":
            yield (
                "allowed_origins holds null, which any web page can send: every site that a user "
                "visits can drive this server; name the origins"
            )
        elif parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield (
                f"allowed_origins holds {origin}: anybody on the way to that site can change "
                "its pages, which may drive this server; serve the site with HTTPS"
            )


def _of_files(settings: Settings) -> Iterator[str]:
    server = settings.server
    for path, said in settings.said.items():
        if said.get(SECTION, {}).get("password") and is_readable_by_others(path):
            yield f"other users can read the password in {path}: chmod 600 {path}"
    if server.ssl:
        path = settings.expand(server.certkey or server.certfile)
        if is_readable_by_others(path):
            yield f"other users can read the private key in {path}: chmod 600 {path}"


def is_readable_by_others(path: Path) -> bool:
    """Whether the mode of a file lets more than its owner read it."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
