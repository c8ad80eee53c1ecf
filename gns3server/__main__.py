"""The command line: settings, then serve."""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gns3server import __version__
from gns3server.cli.daemon import AlreadyRunning, go_into_background, pid_file
from gns3server.log.lines import OneLine
from gns3server.log.rotation import LogFile, LogStream
from gns3server.running.threads import thread_pool
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import (
    ENVIRONMENT_PREFIX,
    Settings,
    SettingsError,
    config_files,
    load,
)

log = logging.getLogger("gns3server")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
WORKERS = 8
"""Threads for all that blocks: files above all."""

FORMAT = "%(asctime)s %(levelname)s %(message)s"

Group = argparse._ArgumentGroup  # noqa: SLF001  argparse has no public name for it


DESCRIPTION = f"""\
gns3server {__version__}: builds, wires and runs network labs. Drive it over HTTP.

  gns3server               serve on http://127.0.0.1:8000 until Ctrl+C
  gns3server --port 8080   serve on another port
  gns3server demo          two virtual PCs ping each other, every step shown
  gns3server plugins       what this server can run, and what is wrong with it
  gns3server doctor        what is wrong with its labs, files and machine
  gns3server --daemon --pid /tmp/gns3server.pid --log /tmp/gns3server.log
"""

EPILOG = f"""\
where settings live:
  Most options are settings, which can also stand in a file or in the
  environment; the manual lists all settings. These files are read in this
  order, and what is read later wins:
{{files}}
  The last one is looked for in the directory the server is started in.
  A file looks like this:
    [Server]
    port = 8080
    projects_path = ~/labs
  The environment, as {ENVIRONMENT_PREFIX}SERVER_PORT=8080, wins over files, and an option
  over both. A running server reads its files again when they change.

exit codes:
  0  it has done what it should; a server was ended by a signal or a client
  1  it could not: the last line of the log or of the output says why
  2  an option or a setting cannot be used

what to do next:
  Start the server, then open http://127.0.0.1:8000/ in a browser, or ask it:
    curl http://127.0.0.1:8000/v1/version
  http://127.0.0.1:8000/docs describes the API and lets you try it out.
"""

WITHOUT_RECORDS = (
    "No project is lost with this file: each is whole in its own directory, in project.db. To do "
    "without, move it away, start the server and open each project again by its id and path"
)
"""What to say when the list of projects cannot be read."""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command line; what is not given leaves the settings alone."""
    files = "\n".join(f"    {path}" for path in config_files({"HOME": "~"}))
    parser = argparse.ArgumentParser(
        prog="gns3server",
        usage="%(prog)s [serve | demo | plugins | doctor] [options]",
        description=DESCRIPTION,
        epilog=EPILOG.format(files=files),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "demo", "plugins", "doctor"],
        default="serve",
        help="serve (default); demo: two virtual PCs ping each other; plugins: what is installed; "
        "doctor: what is not in order",
    )
    parser.add_argument("-v", "--version", action="version", version=__version__)
    _add_access(parser.add_argument_group("who may reach it, and what for"))
    _add_log(parser.add_argument_group("what it tells"))
    _add_process(parser.add_argument_group("how it runs"))
    return parser


def _add_access(group: Group) -> None:
    group.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    group.add_argument("--port", type=int, help="TCP port to listen on (default 8000)")
    group.add_argument(
        "-L",
        "--local",
        action="store_true",
        help="this server's only user is on this machine: its clients may choose project paths, "
        "reload the settings and end the server",
    )
    group.add_argument(
        "-A",
        "--allow",
        dest="allow_remote_console",
        action="store_true",
        help="let consoles be reached from other machines, where the emulator leaves the choice",
    )
    group.add_argument("--ssl", action="store_true", help="serve HTTPS")
    group.add_argument("--certfile", metavar="FILE", help="certificate chain for --ssl (PEM)")
    group.add_argument("--certkey", metavar="FILE", help="private key for --ssl (PEM)")


def _add_log(group: Group) -> None:
    group.add_argument("-q", "--quiet", action="store_true", help="no log on standard output")
    group.add_argument(
        "-d", "--debug", action="store_true", help="log everything, requests and answers included"
    )
    group.add_argument("--log", metavar="FILE", help="log to a file instead of standard output")
    group.add_argument("--record", metavar="FILE", help="append each request as a curl line")


def _add_process(group: Group) -> None:
    group.add_argument("--daemon", action="store_true", help="go into the background")
    group.add_argument("--keep-nodes", action="store_true", help="signals leave nodes running")
    group.add_argument("--pid", metavar="FILE", help="keep the process id in this file")
    group.add_argument(
        "--strict-plugins",
        action="store_true",
        help="do not start when a plugin cannot be used",
    )
    group.add_argument(
        "--clean", action="store_true", help="doctor: also stop orphans and remove leftovers"
    )


def set_up_logging(settings: Settings) -> None:
    """Send the log where the settings say.

    :raises OSError: it cannot be written there; the text says what to do.
    """
    server = settings.server
    handler: logging.Handler
    if server.log:
        try:
            handler = LogFile(settings.expand(server.log), server.log_size)
        except OSError as error:
            raise OSError(
                f"the log cannot be written: {error}. Choose another file for --log"
            ) from error
    elif server.quiet:
        handler = logging.NullHandler()
    else:
        handler = LogStream(sys.stdout)
    level = logging.DEBUG if server.debug else logging.INFO
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


async def serve(config: LiveSettings) -> None:
    """Serve until a signal or a shutdown request ends it."""
    # Imported late: the other commands and --help must not pay for it.
    from gns3server.app import serving
    from gns3server.cli.startup_report import report_start

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(thread_pool("worker", WORKERS))
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with serving(config, stop=stop) as server:
        gc.freeze()
        gc.enable()
        await asyncio.to_thread(report_start, config.current, server.url, server.plugins.reports())
        await stop.wait()
        keeps = config.current.server.keep_nodes
        log.info("stopping, nodes go on running" if keeps else "stopping all nodes")
    log.info("stopped")


def raise_descriptor_limit() -> None:
    """Allow as many open files as we may: each running node takes two or three of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def speak_utf8() -> None:
    """Begin again in UTF-8 if the locale has another encoding (RUN-08).

    Projects, nodes and files may have any name, which must not depend on the
    language of whoever starts the server. Python decides on this only once.
    What the output still cannot show (``PYTHONIOENCODING``) is escaped there.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    :param argv: its arguments; those of the process by default.
    """
    if argv is None:
        speak_utf8()
    parser = make_parser()
    flags = vars(parser.parse_args(argv))
    command, daemon, pid, cleaning = (
        flags.pop(name, None) for name in ("command", "daemon", "pid", "clean")
    )
    if cleaning and command != "doctor":
        parser.error("--clean goes with doctor")
    try:
        config = LiveSettings(lambda: load(os.environ, flags))
    except SettingsError as error:
        print(f"gns3server: {error}", file=sys.stderr)
        return 2
    if command == "plugins":
        from gns3server.cli.doctor.plugins import show_plugins

        return show_plugins(config.current)
    if command == "doctor":
        from gns3server.cli.doctor.examination import run_doctor

        return run_doctor(config.current, cleaning=bool(cleaning))
    if command == "demo":
        from gns3server.cli.demo import run_demo

        return run_demo(config.current)
    return run(config, Path(pid).absolute() if pid else None, daemon=bool(daemon))


def run(config: LiveSettings, pid: Path | None, *, daemon: bool) -> int:
    """Serve, and say in one line why that was not possible."""
    # What is made while the server starts lives as long as it does: looking for garbage in it
    # would be a tenth of the start.
    gc.disable()
    from gns3server.plugin_host.host import PluginFailed
    from gns3server.storage.file_check import DatabaseError, DatabaseLocked

    raise_descriptor_limit()
    if daemon:
        os.umask(0o077)
    try:
        # While there is somebody to read that it is not possible.
        set_up_logging(config.current)
        if daemon:
            go_into_background()
        with pid_file(pid):
            asyncio.run(serve(config))
    except DatabaseLocked as error:
        log.critical("the server cannot run: %s Or choose another state_path", error)
    except DatabaseError as error:
        log.critical("the server cannot run: %s %s", error, WITHOUT_RECORDS)
    except (OSError, PluginFailed, SettingsError, AlreadyRunning) as error:
        log.critical("the server cannot run: %s", error)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
