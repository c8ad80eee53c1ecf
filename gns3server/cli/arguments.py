"""The options of the command line, and the help that it shows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any

from gns3server import __version__
from gns3server.settings.errors import nearest
from gns3server.settings.server import SECTION, SERVER_SETTINGS, Setting
from gns3server.settings.sources import ENVIRONMENT_PREFIX, config_files

COMMANDS = ("serve", "demo", "plugins", "doctor", "settings", "new-plugin")

DESCRIPTION = f"""\
gns3server {__version__}: builds, wires and runs network labs. Drive it over HTTP.

  gns3server               serve on http://127.0.0.1:8000 until Ctrl+C
  gns3server --port 8080   serve on another port
  gns3server demo          two virtual PCs ping each other, every step shown
  gns3server demo vlans    three in two VLANs of a switch; the server is killed
  gns3server plugins       what this server can run, and what is wrong with it
  gns3server doctor        what is wrong with its labs, files and machine
  gns3server settings      every setting, and where its value comes from
  gns3server new-plugin router --nature process
                           the files of a new plugin, with tests
  gns3server --daemon --pid /tmp/gns3server.pid --log /tmp/gns3server.log
"""

EPILOG = f"""\
where settings live:
  Most options are settings, which can also be given in a file or in the
  environment; the manual lists all settings. These files are read in this
  order, and later ones win:
{{files}}
  The last one is looked for in the directory that the server is started in.
  A file looks like this:
    [Server]
    port = 8080
    projects_path = ~/labs
  The environment ({ENVIRONMENT_PREFIX}SERVER_PORT=8080) wins over files, and an option
  wins over both. A running server reads its files again when they change.
  What each setting is, and where it was set: gns3server settings

exit codes:
  0  success; for a server, that a signal or a client ended it
  1  failure: the last line of the log or of the output says why
  2  an option or a setting cannot be used

what to do next:
  Start the server, then open http://127.0.0.1:8000/ in a browser, or ask it:
    curl http://127.0.0.1:8000/v1/version
  http://127.0.0.1:8000/docs describes the API and lets you try it out.
"""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command line; an option that is not given leaves its setting alone."""
    files = "\n".join(f"    {path}" for path in config_files({"HOME": "~"}))
    parser = argparse.ArgumentParser(
        prog="gns3server",
        usage=f"%(prog)s [{' | '.join(COMMANDS)}]\n                  [name] [options]",
        description=DESCRIPTION,
        epilog=EPILOG.format(files=files),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        nargs="?",
        type=_command,
        default="serve",
        help="serve (default); demo: two virtual PCs ping each other; plugins: what is installed; "
        "doctor: what is wrong; settings: every setting and where it comes from; new-plugin: the "
        "files of a new plugin",
    )
    parser.add_argument(
        "name",
        nargs="?",
        help="demo: vlans has a switch, and a server that is killed; new-plugin: the plugin's name",
    )
    parser.add_argument("-v", "--version", action="version", version=__version__)
    add_settings(parser, "settings that can be given here as well", SERVER_SETTINGS)
    group = parser.add_argument_group("how it runs")
    group.add_argument("--daemon", action="store_true", help="go into the background")
    group.add_argument("--pid", metavar="FILE", help="keep the process id in this file")
    group.add_argument(
        "--profile",
        metavar="NAME",
        help="what desktop clients call their own settings; it changes nothing here",
    )
    group.add_argument(
        "--nature",
        help="new-plugin: what its nodes are: process (default), always-on or service",
    )
    group.add_argument(
        "--clean", action="store_true", help="doctor: also stop orphans and remove leftovers"
    )
    return parser


def parse(
    argv: Sequence[str] | None, plugin_settings: Callable[[], Iterable[Setting]]
) -> dict[str, Any]:
    """What the command line says: the command, and settings by their names there.

    Ends the process with a message if a command or an option does not exist.

    :param argv: the arguments; those of the process by default.
    :param plugin_settings: tells the settings of plugins. Only called if an option may be one.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    strange = _unknown(parser, given)
    if strange or not {"-h", "--help"}.isdisjoint(given):
        for section, settings in groupby(plugin_settings(), lambda one: one.section):
            add_settings(parser, f"settings of the plugin {section}", settings)
        strange = _unknown(parser, given)
    if strange:
        near = nearest(strange[0], _options(parser))
        parser.error(
            f"unrecognized arguments: {' '.join(strange)}"
            + (f": did you mean {near}?" if near else "; --help lists all options")
        )
    if given_value := _switched(parser, given):
        name, _, value = given_value.partition("=")
        parser.error(f"{name} takes no value: leave out ={value}")
    # Options may stand between a command and its name.
    return vars(parser.parse_intermixed_args(given))


def add_settings(parser: argparse.ArgumentParser, title: str, settings: Iterable[Setting]) -> None:
    """Offer the options of these settings, under a separate title."""
    group = parser.add_argument_group(title)
    for setting in settings:
        flags = [flag for flag in setting.flags if flag not in _options(parser)]
        if not flags:
            continue
        own = setting.section == SECTION
        usual = (
            f" (default {setting.default})" if setting.kind != "bool" and setting.default else ""
        )
        options: dict[str, Any] = {"action": "store_true"}
        if setting.kind != "bool":
            options = {"metavar": "FILE" if setting.path else setting.name.upper()}
        group.add_argument(
            *flags,
            dest=setting.name if own else f"{setting.section}.{setting.name}",
            help=(setting.help + usual).replace("%", "%%"),
            **options,
        )


def _command(text: str) -> str:
    if text in COMMANDS:
        return text
    near = nearest(text, COMMANDS)
    raise argparse.ArgumentTypeError(
        f"there is no command {text!r}: "
        + (f"did you mean {near}?" if near else f"there are {', '.join(COMMANDS)}")
    )


def _options(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    return parser._option_string_actions  # noqa: SLF001  argparse has no other list of them


def _unknown(parser: argparse.ArgumentParser, given: Sequence[str]) -> list[str]:
    """The options that the parser does not know; it would take their values for commands."""
    names = [
        text.partition("=")[0] if text.startswith("--") else text[:2]
        for text in takewhile(lambda text: text != "--", given)
        # A number below 0 is a value, and so is a dash alone.
        if text.startswith("-") and text[1:2] not in "0123456789"
    ]
    return [name for name in names if name not in _options(parser)]


def _switched(parser: argparse.ArgumentParser, given: Sequence[str]) -> str:
    """The first option that takes no value and is given one, with what was given."""
    switches = {name for name, one in _options(parser).items() if one.nargs == 0}
    values = (text for text in given if "=" in text and text.partition("=")[0] in switches)
    return next(values, "")
