"""The command line: settings, then serve."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gns3server import __version__
from gns3server.config import Config
from gns3server.daemon import AlreadyRunning, go_into_background, pid_file
from gns3server.log_lines import OneLine
from gns3server.settings import Settings, SettingsError, load

log = logging.getLogger("gns3server")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
FORMAT = "%(asctime)s %(levelname)s %(message)s"


def make_parser() -> argparse.ArgumentParser:
    """The options of the command line; what is not given leaves the settings alone."""
    parser = argparse.ArgumentParser(
        prog="gns3server",
        description="Builds, wires and runs network labs; drive it over HTTP.",
        epilog="Every setting can also stand in gns3_server.conf or in the environment, as "
        "GNS3_SERVER_PORT=8001.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "demo", "plugins"],
        default="serve",
        help="serve (default); demo: two virtual PCs ping each other; plugins: what is installed",
    )
    parser.add_argument("-v", "--version", action="version", version=__version__)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="TCP port to listen on (default 8000)")
    parser.add_argument(
        "-L",
        "--local",
        action="store_true",
        help="this server's only user is on this machine: project paths may be chosen",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no log on standard output")
    parser.add_argument("-d", "--debug", action="store_true", help="log everything")
    parser.add_argument("--log", metavar="FILE", help="log to a file instead of standard output")
    parser.add_argument("--record", metavar="FILE", help="append each request as a curl line")
    parser.add_argument("--ssl", action="store_true", help="serve HTTPS")
    parser.add_argument("--certfile", metavar="FILE", help="certificate chain for --ssl (PEM)")
    parser.add_argument("--certkey", metavar="FILE", help="private key for --ssl (PEM)")
    parser.add_argument("--daemon", action="store_true", help="go into the background")
    parser.add_argument("--pid", metavar="FILE", help="keep the process id in this file")
    parser.add_argument(
        "-A",
        "--allow",
        dest="allow_remote_console",
        action="store_true",
        help="let consoles be reached from other machines, where the emulator leaves the choice",
    )
    parser.add_argument(
        "--strict-plugins",
        action="store_true",
        help="do not start when a plugin cannot be used",
    )
    return parser


def set_up_logging(settings: Settings) -> None:
    """Send the log where the settings say."""
    server = settings.server
    handler: logging.Handler
    if server.log:
        handler = logging.FileHandler(settings.expand(server.log), encoding="utf-8")
    elif server.quiet:
        handler = logging.NullHandler()
    else:
        handler = logging.StreamHandler(sys.stdout)
    level = logging.DEBUG if server.debug else logging.INFO
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


async def serve(config: Config) -> None:
    """Serve until a signal or a shutdown request ends it."""
    # Imported late: the other commands and --help must not pay for it.
    from gns3server.app import serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with serving(config, stop=stop) as server:
        gc.freeze()
        gc.enable()
        greet(config.current, server.url, server.plugins.reports())
        await stop.wait()
        log.info("stopping all nodes")
    log.info("stopped")


def raise_descriptor_limit() -> None:
    """Allow as many open files as we may: each running node takes two or three of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def greet(settings: Settings, url: str, plugins: list[Any]) -> None:
    """Say what this server is, where it listens, what it has, and what is dangerous."""
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
    warn_of_callers(settings, url)
    log.warning(
        "consoles of emulators may listen on every address of this machine, without a password; "
        "see the security chapter of the manual"
    )


def warn_of_callers(settings: Settings, url: str) -> None:
    """Say who may call that perhaps should not."""
    server = settings.server
    far = server.host not in ("127.0.0.1", "::1", "localhost")
    if server.auth and not server.user:
        log.warning("auth is on, but user is empty: nobody is asked for a password")
    asks = server.auth and server.user
    if far and not asks:
        log.warning(
            "anybody who reaches %s can run programs on this machine as this user: "
            "listen on 127.0.0.1 unless the whole network is yours",
            url,
        )
    if far and asks and not server.ssl:
        log.warning(
            "whoever listens on the way to %s can read the password, which lets them run programs "
            "on this machine: set ssl, or forward the port with SSH",
            url,
        )


def show_plugins(settings: Settings) -> int:
    """Print every installed plugin, and the traceback of each that failed."""
    from gns3server.http.application import CORE_ROUTES
    from gns3server.nodes.registry import Registry
    from gns3server.plugin_host import PluginHost

    host = PluginHost(settings)
    host.load()
    host.gather(Registry(), CORE_ROUTES)
    for plugin in host.plugins:
        report = plugin.report()
        print(
            f"{plugin.name} {plugin.version or '-'} ({plugin.distribution or '-'}): "
            f"{report['status']}"
        )
        for title in ("node_types", "nio_types", "routes"):
            for item in report[title]:
                print(f"    {title.removesuffix('s').replace('_', ' ')}: {item}")
        if plugin.trace:
            print(f"    failed in {plugin.phase}:\n{plugin.trace}")
    return 0 if all(plugin.phase is None for plugin in host.plugins) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    flags = vars(make_parser().parse_args(argv))
    command, daemon, pid = (flags.pop(name, None) for name in ("command", "daemon", "pid"))
    try:
        config = Config(lambda: load(os.environ, flags))
    except SettingsError as error:
        print(f"gns3server: {error}", file=sys.stderr)
        return 2
    if command == "plugins":
        logging.basicConfig(handlers=[logging.NullHandler()])
        return show_plugins(config.current)
    if command == "demo":
        from gns3server.demo import run_demo

        return run_demo(config.current)
    if daemon:
        go_into_background()
    return run(config, Path(pid).absolute() if pid else None)


def run(config: Config, pid: Path | None) -> int:
    """Serve, and say in one line why that was not possible."""
    # What is made while the server starts lives as long as it does: looking for garbage in it
    # would be a tenth of the start.
    gc.disable()
    from gns3server.plugin_host import PluginFailed
    from gns3server.projects.database import DatabaseError

    raise_descriptor_limit()
    try:
        set_up_logging(config.current)
        with pid_file(pid):
            asyncio.run(serve(config))
    except DatabaseError as error:
        log.critical(
            "%s; is another gns3server running? Choose another state_path for a second one", error
        )
    except (OSError, PluginFailed, SettingsError, AlreadyRunning) as error:
        log.critical("the server cannot run: %s", error)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
