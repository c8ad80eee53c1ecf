"""Names in a source that mean nothing to this server, with what may have been meant."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from gns3server.settings.errors import nearest
from gns3server.settings.schema import Settings
from gns3server.settings.server import SECTION, SERVER_SETTINGS
from gns3server.settings.sources import ENVIRONMENT_PREFIX, variable_prefix

LIKE = 0.8
"""How like a known name another must be to be taken for a slip, not for another program's."""

Known = Mapping[str, Collection[str] | None]
"""The known settings by section; ``None`` where they cannot be known."""


def unknown_names(settings: Settings, plugins: Known) -> Iterator[str]:
    """A sentence for each source that has unknown names.

    Sections and variables of programs that are not installed are not mistakes: other servers
    share these files.

    :param plugins: the settings of all plugins that are installed.
    """
    known = {SECTION: [one.name for one in SERVER_SETTINGS], **plugins}
    for path, said in settings.said.items():
        for section, values in said.items():
            if section not in known:
                near = nearest(section, known, LIKE)
                if near:
                    yield f"{path}: there is no section [{section}]: did you mean [{near}]?"
                continue
            names = known[section]
            strange = [] if names is None else [name for name in values if name not in names]
            if strange:
                listed = "; ".join(_named(name, names or ()) for name in strange)
                yield f"{path}: [{section}] has settings that do not exist and do nothing: {listed}"
    for variable in settings.environ:
        if variable.startswith(ENVIRONMENT_PREFIX):
            yield from _of_variable(variable, known)


def _of_variable(variable: str, known: Known) -> Iterator[str]:
    sections = [one for one in known if variable.startswith(variable_prefix(one))]
    near = None
    if sections:
        section = max(sections, key=len)
        names = known[section]
        prefix = variable_prefix(section)
        key = variable.removeprefix(prefix).lower()
        if names is None or key in names:
            return
        near = nearest(key, names)
        yield _variable(variable, prefix + near.upper() if near else None)
        return
    variables = {variable_prefix(one) + key.upper() for one in known for key in known[one] or ()}
    short = variable.removeprefix(ENVIRONMENT_PREFIX)
    near = nearest(variable, sorted(variables), LIKE)
    if short.lower() in (known[SECTION] or ()):
        near = variable_prefix(SECTION) + short
    if near:
        yield _variable(variable, near)


def _variable(name: str, near: str | None) -> str:
    return f"the environment variable {name} sets nothing" + (
        f": did you mean {near}?" if near else ": there is no such setting"
    )


def _named(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"{name} (did you mean {near}?)" if near else name
