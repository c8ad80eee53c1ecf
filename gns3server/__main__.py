"""The command line: read the settings, then serve."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gns3server.cli.arguments import parse
from gns3server.cli.daemon import ServerStart, go_into_background, pid_file
from gns3server.cli.first_process import fork_if_first
from gns3server.cli.streams import open_closed_streams, printing, queue_output, write_text
from gns3server.log.lines import OneLine
from gns3server.log.output import is_file
from gns3server.log.rotation import LogFile, LogHandler
from gns3server.settings.errors import SettingsError
from gns3server.settings.live import LiveSettings
from gns3server.settings.paths import absolute
from gns3server.settings.schema import Settings, load
from gns3server.settings.server import Setting
from gns3server.storage.state_lock import AlreadyRunning

if TYPE_CHECKING:
    from gns3server.plugin_host.modules import PluginModules

log = logging.getLogger("gns3server")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
WORKERS = 8
"""How many threads there are for everything that blocks: above all, files."""

FORMAT = "%(asctime)s %(levelname)s %(message)s"

WITHOUT_RECORDS = (
    "No project is lost with this file: each is complete in its own directory, in project.db. To "
    "do without the file, move it away, start the server and open each project by its id and path"
)
"""What to say when the list of projects cannot be read."""


def set_up_logging(settings: Settings) -> None:
    """Send the log to where the settings say.

    :raises OSError: the log cannot be written there; the text says what to do.
    """
    server, out = settings.server, sys.stdout
    handler: logging.Handler
    if server.log:
        try:
            file = LogFile(settings.expand(server.log), server.log_size)
        except OSError as error:
            raise OSError(
                f"the log cannot be written: {error}. Choose another file for --log"
            ) from error
        handler = LogHandler(file.write, waits=file.waits)
    elif server.quiet:
        handler = logging.NullHandler()
    else:
        handler = LogHandler(
            lambda line: write_text(out, f"{line}\n"), waits=not is_file(out.fileno())
        )
    level = logging.DEBUG if server.debug else logging.INFO
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


async def serve(
    config: LiveSettings, modules: PluginModules, must_end: Callable[[], None], start: ServerStart
) -> None:
    """Serve until a signal or a shutdown request ends it.

    :param modules: is told which modules belong to which plugin.
    :param must_end: is called once the end has begun; also by the signal handlers.
    :param start: is told that the server listens.
    """
    # Imported late: it would slow down the other commands and --help.
    from gns3server.app import serving
    from gns3server.cli.notify import READY, STOPPING, notify
    from gns3server.cli.startup_report import report_start, report_warnings
    from gns3server.cli.watchdog import Watchdog
    from gns3server.cli.workers import Workers
    from gns3server.http.stalls import request_of, way_out

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        log.info("%s received: the server is stopping", number.name)
        stop.set()

    # Whoever started it may have blocked them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for number in SIGNALS:
        # As nohup and the jobs of scripts want it.
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, end, number)
        # The loop still receives the signal; this handler is for when the loop is stuck.
        signal.signal(number, lambda *_: must_end())
    loop.set_default_executor(Workers(WORKERS, modules, loop))
    with Watchdog(modules, request_of, way_out).watching():
        async with serving(config, stop=stop, modules=modules) as server:
            gc.freeze()
            gc.enable()
            plugins = server.plugins.reports()
            warn = partial(report_warnings, server.url, server.plugins.setting_names)
            await asyncio.to_thread(warn, config.current)
            await asyncio.to_thread(report_start, config.current, server.url, plugins)
            config.after_reload = warn
            notify(config.current.environ, READY)
            start.succeeded()
            await stop.wait()
            must_end()
            notify(config.current.environ, STOPPING)
            keeps = config.current.server.keep_nodes
            log.info("stopping; nodes go on running" if keeps else "stopping all nodes")
    log.info("stopped")


def raise_descriptor_limit() -> None:
    """Allow as many open files as we may: each running node takes two or three of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def speak_utf8() -> None:
    """Start again in UTF-8 if the locale has another encoding (RUN-08).

    Projects, nodes and files may have any name, which must not depend on the
    language of the user who starts the server. Python decides on its encoding
    only once. Characters that the output still cannot show
    (``PYTHONIOENCODING``) are escaped there.
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
        open_closed_streams()
        speak_utf8()
    try:
        with printing():
            flags = parse(argv, plugin_settings)
        command, daemon, pid, cleaning = (
            flags.pop(name, None) for name in ("command", "daemon", "pid", "clean")
        )
        name, nature = flags.pop("name", ""), flags.pop("nature", "")
        # Desktop clients give it to the servers that they start.
        flags.pop("profile", None)
        if name and command not in ("demo", "new-plugin"):
            raise SettingsError(f"{name!r} goes with demo or new-plugin")
        if nature and command != "new-plugin":
            raise SettingsError("--nature goes with new-plugin")
        if cleaning and command != "doctor":
            raise SettingsError("--clean goes with doctor")
        if (daemon or pid) and command != "serve":
            raise SettingsError(f"{'--daemon' if daemon else '--pid'} goes with serve")
        config = LiveSettings(partial(load, os.environ, flags))
        pid_path = absolute(pid) if pid else None
        if command == "serve":
            return run(config, pid_path, daemon=bool(daemon))
        with printing():
            if command == "new-plugin":
                from gns3server.cli.new_plugin import new_plugin

                return new_plugin(name, nature, Path.cwd())
            return report(command, config.current, name=name, cleaning=bool(cleaning))
    except SettingsError as error:
        print(f"gns3server: {error}", file=sys.stderr)
        return 2


def report(command: str, settings: Settings, *, name: str, cleaning: bool) -> int:
    """Run one of the commands that print something and end; returns the exit code.

    :raises SettingsError: an option means nothing to it.
    """
    if command == "plugins":
        from gns3server.cli.doctor.plugins import show_plugins

        return show_plugins(settings)
    if command == "doctor":
        from gns3server.cli.doctor.examination import run_doctor

        return run_doctor(settings, cleaning=cleaning)
    if command == "settings":
        from gns3server.cli.show_settings import show_settings

        return show_settings(settings)
    from gns3server.cli.demo import run_demo

    return run_demo(settings, name)


def plugin_settings() -> list[Setting]:
    """The settings of all plugins that can tell them."""
    from gns3server.cli.show_settings import ask_plugins

    try:
        settings = load(os.environ)
    except SettingsError:
        # The help is shown all the same; every other command says what is wrong.
        settings = Settings(environ=os.environ)
    host = ask_plugins(settings)
    return [setting for plugin in host.plugins for setting in plugin.settings()]


def run(config: LiveSettings, pid: Path | None, *, daemon: bool) -> int:
    """Serve, or say in one line why the server cannot."""
    # Objects made while the server starts live as long as it does: looking for garbage among
    # them would take a tenth of the start.
    gc.disable()
    from gns3server.cli.event_loop import EventLoop
    from gns3server.plugin_host.host import PluginFailed
    from gns3server.plugin_host.modules import PluginModules
    from gns3server.storage.file_check import DatabaseError, DatabaseLocked

    raise_descriptor_limit()
    # What the nodes write is for this user alone as well.
    os.umask(0o077)
    start = ServerStart()
    try:
        fork_if_first()
        if daemon:
            start = go_into_background()
        queue_output()
        set_up_logging(config.current)
        modules = PluginModules()
        with EventLoop(modules) as loop, pid_file(pid):
            loop.run(serve(config, modules, loop.must_end, start))
    except DatabaseLocked as error:
        why = f"{error} Or choose another directory: --state-path DIRECTORY"
    except DatabaseError as error:
        why = f"{error} {WITHOUT_RECORDS}"
    except (OSError, PluginFailed, SettingsError, AlreadyRunning) as error:
        why = str(error)
    else:
        return 0
    log.critical("the server cannot run: %s", why)
    start.failed(f"the server cannot run: {why}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
