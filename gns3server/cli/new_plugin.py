"""``gns3server new-plugin NAME``: the files of a new plugin, which can be installed and tested."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from string import Template

from gns3server.plugin_host.checks import NAME, NAME_RULE
from gns3server.plugin_host.host import GROUP
from gns3server.settings.errors import SettingsError

NATURES = ("process", "always-on", "service")
"""What the nodes of a new plugin may be."""

LONGEST = 40
"""How many characters a name may have."""

NEEDS = {
    "process": ("gns3server>=0.1,<1", "gns3server-udp>=0.1,<1"),
    "always-on": ("gns3server>=0.1,<1", "gns3server-udp>=0.1,<1"),
    "service": ("gns3server>=0.1,<1",),
}
"""What each nature requires to be installed."""


def new_plugin(name: str, nature: str, folder: Path) -> int:
    """Write a new plugin into a folder of its own, and say what to do with it.

    :param name: the plugin's name, which is its node type's as well.
    :param nature: one of :data:`NATURES`; the first one by default.
    :param folder: where the plugin's folder is made.
    :returns: the exit code.
    :raises SettingsError: the name or the nature cannot be used.
    """
    nature = nature or NATURES[0]
    if nature not in NATURES:
        raise SettingsError(f"there is no nature {nature!r}: there are {', '.join(NATURES)}")
    target = folder / f"gns3server-{_checked(name)}"
    try:
        target.mkdir()
        for path, text in distribution(name, nature).items():
            (target / path).parent.mkdir(exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
            print(f"{target.name}/{path}")
    except FileExistsError:
        raise SettingsError(f"{target} exists already: choose another name or folder") from None
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}") from error
    print(f"Next: pip install -e ./{target.name}, and read {target.name}/README.rst")
    return 0


def distribution(name: str, nature: str) -> dict[str, str]:
    """The files of a new plugin: the text of each, by its path in the plugin's folder."""
    module = f"gns3server_{name.replace('-', '_')}"
    values = {
        "name": name,
        "module": module,
        "title": name.replace("-", " ").replace("_", " ").capitalize(),
        "underline": "=" * len(f"gns3server-{name}"),
        "dependencies": ", ".join(f'"{each}"' for each in NEEDS[nature]),
    }
    made_of = {
        "pyproject.toml": "pyproject.toml.in",
        "README.rst": "README.rst.in",
        f"{module}.py": f"{nature}.py.in",
        f"tests/test_{module.removeprefix('gns3server_')}.py": "tests.py.in",
    }
    skeleton = files("gns3server.cli") / "skeleton"
    return {
        path: Template((skeleton / source).read_text(encoding="utf-8")).substitute(values)
        for path, source in made_of.items()
    }


def _checked(name: str) -> str:
    """The name, if a plugin can have it.

    :raises SettingsError: it cannot.
    """
    if not name:
        raise SettingsError("new-plugin needs a name: gns3server new-plugin NAME")
    if len(name) > LONGEST:
        raise SettingsError(f"the name {name!r:.80} is too long: let it have {LONGEST} characters")
    if NAME.fullmatch(name) is None:
        raise SettingsError(f"the name {name!r} cannot be part of a path: let it {NAME_RULE}")
    if name in {point.name for point in entry_points(group=GROUP)}:
        raise SettingsError(f"a plugin {name!r} is installed already: choose another name")
    return name
