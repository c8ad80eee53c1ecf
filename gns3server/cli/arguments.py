"""The options of the command line, and the help that it shows."""

from __future__ import annotations

import argparse

from gns3server import __version__
from gns3server.settings.schema import ENVIRONMENT_PREFIX, config_files

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
