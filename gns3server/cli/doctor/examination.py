"""The whole examination, in the order of the report."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial

from gns3server import __version__
from gns3server.app import make_tls
from gns3server.cli.doctor.capabilities import directories, machine
from gns3server.cli.doctor.cleaning import clean
from gns3server.cli.doctor.leftovers import leftovers
from gns3server.cli.doctor.orphans import orphans
from gns3server.cli.doctor.plugins import load_plugins, plugins
from gns3server.cli.doctor.programs import ask_abilities
from gns3server.cli.doctor.projects import projects
from gns3server.cli.doctor.report import Finding, Section, problems, render
from gns3server.cli.doctor.reserved import reserved_ports
from gns3server.cli.doctor.survey import Survey, take_survey
from gns3server.http.accepting import why_unbound
from gns3server.running.identity import read_boot_id
from gns3server.settings.errors import SettingsError
from gns3server.settings.schema import Settings
from gns3server.storage.state_lock import AlreadyRunning, lock_state

NOTHING = Section("Cleaned", ())


def run_doctor(settings: Settings, *, cleaning: bool) -> int:
    """Print what was found; return 0 if all is in order, 1 if something is not.

    :param cleaning: clean up first; no server may be running then.
    """
    sections = []
    try:
        if cleaning:
            sections.append(clean_alone(settings))
        sections += examine(settings)
    except AlreadyRunning as error:
        print(f"gns3server doctor: nothing was cleaned: {error}")
        return 1
    except OSError as error:
        print(f"gns3server doctor: this machine cannot be examined: {error}")
        return 1
    for line in render(sections):
        print(line)
    count = problems(sections)
    print(_summary(count))
    return 1 if count else 0


def examine(settings: Settings) -> list[Section]:
    """Look at everything, and change nothing.

    :raises OSError: the kernel does not list its processes.
    """
    host, registry = load_plugins(settings)
    found = take_survey(settings)
    return [
        _server(found),
        plugins(host, ask_abilities(settings, registry)),
        projects(found, registry),
        _examined("Reserved ports", partial(reserved_ports, found, registry)),
        _examined("Processes without an owner", partial(orphans, found)),
        leftovers(found),
        machine(),
    ]


def _examined(title: str, examine: Callable[[], Section]) -> Section:
    """A section, or why there is none: all others are shown nevertheless."""
    try:
        return examine()
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Section(title, [Finding(f"cannot be examined: {what}", problem=True)])


def clean_alone(settings: Settings) -> Section:
    """Clean up, holding the lock that a server would hold.

    :raises AlreadyRunning: a server holds it.
    :raises OSError: it cannot be taken, or the processes cannot be examined.
    """
    if not settings.state_path.is_dir():
        return NOTHING
    lock = lock_state(settings.state_path)
    try:
        found = take_survey(settings)
        if found.server is not None:
            raise AlreadyRunning(f"{found.server_text} has the records open")
        # Raises an error that says what hides it.
        read_boot_id()
        # Without the list of projects, ours could not be told from another server's.
        return clean(found) if found.has_records and found.trouble is None else NOTHING
    finally:
        os.close(lock)


def _summary(count: int) -> str:
    if not count:
        return "All is in order."
    return f"Not in order: {count}, marked with an exclamation mark above."


def _server(survey: Survey) -> Section:
    settings = survey.settings
    entries = [Finding(f"gns3server {__version__}")]
    entries += [Finding(f"settings were read from {path}") for path in settings.files]
    entries += directories(settings)
    if survey.trouble is not None:
        advice = (
            f"{survey.trouble.remedy} Each project is complete in its own directory; the manual "
            "says how to do without this file."
        )
        entries.append(Finding(survey.trouble.reason, problem=True, advice=advice))
    if survey.server is not None:
        entries.append(
            Finding(
                f"a server is running: {survey.server_text}",
                advice="Nothing is changed; the server's files are read from copies.",
            )
        )
        return Section("Server", entries)
    if survey.has_records:
        entries.append(Finding("no server is running"))
    else:
        entries.append(Finding("no server has used this state_path yet"))
    entries.append(_address(settings.server.host, settings.server.port))
    try:
        make_tls(settings)
    except SettingsError as error:
        entries.append(Finding(str(error), problem=True))
    return Section("Server", entries)


def _address(host: str, port: int) -> Finding:
    """Whether a server could listen where the settings say."""
    text = f"address: {host}, port {port}"
    try:
        for family, kind, number, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, number) as probe:
                # As for the server's own sockets.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        return Finding(f"{text}; a server cannot listen there: {why_unbound(error)}", problem=True)
    return Finding(f"{text}; free")
