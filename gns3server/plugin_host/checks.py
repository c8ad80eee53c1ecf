"""Checks of what a plugin offers, made before the server installs any of it.

Whatever could not work is found here, and not by the first request that needs it. Every
function raises :class:`Unfit`. Routes have a module of their own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError

from gns3server.files.images import ImageKind
from gns3server.files.safe_open import is_plain_name
from gns3server.http.parsing import flatten
from gns3server.http.schemas import NodeCreateSchema, NodeObjectSchema, NodeUpdateSchema
from gns3server.nodes.nio import NioType, takes
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import CAPABILITIES, LIFECYCLES, RESET, NodeType, TextFile
from gns3server.nodes.process_node import ProcessNode
from gns3server.plugin_host.spec_checks import argv_as_text
from gns3server.running.values import is_whole
from gns3server.settings.errors import SettingsError, nearest
from gns3server.settings.fields import load_section, section_settings
from gns3server.settings.schema import Settings

NAME = re.compile(r"[a-z][a-z0-9_-]*")
NAME_RULE = "begin with a small letter, then small letters, digits, - and _"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
LAST_PORT = 65535
MOST_NUMBERS = 65536
"""How many numbers a node type may deal out; each project keeps a list of them."""


class Unfit(Exception):
    """Something that a plugin offers cannot be used. The text says what, and what to change."""


# Plugins and their hooks ------------------------------------------------------------


def check_name(name: str) -> None:
    """Refuse a plugin whose name cannot be a segment of a path."""
    if NAME.fullmatch(name) is None:
        raise Unfit(
            f"the name {name!r} cannot be part of a path: name the entry point so that it "
            f"{NAME_RULE}"
        )


def check_hooks(
    module: object,
    marked: Callable[[str], str | None],
    known: Mapping[str, Callable[..., Any]],
    prefix: str,
) -> None:
    """Refuse a module with a function that would never be called, or not as it expects.

    :param marked: tells which hook a name of the module implements, if any.
    :param known: the existing hooks, as functions.
    :param prefix: what the name of every hook begins with.
    """
    for name in dir(module):
        value = getattr(module, name)
        hook = marked(name)
        if hook is not None:
            _check_hook(hook, value, known)
        elif name.startswith(prefix) and inspect.isroutine(value):
            raise Unfit(
                f"{name} is named as a hook but not marked with @hookimpl: mark it, or give it "
                "another name"
            )


def _check_hook(
    hook: str, function: Callable[..., Any], known: Mapping[str, Callable[..., Any]]
) -> None:
    if hook not in known:
        raise Unfit(f"there is no hook {hook!r}: {_nearest(hook, known)}")
    names = list(inspect.signature(known[hook]).parameters)
    for name, parameter in inspect.signature(function).parameters.items():
        # Parameters that pluggy leaves out of a call do no harm.
        needed = parameter.default is parameter.empty and parameter.kind not in VARIADIC
        if needed and name not in names:
            offered = f"it has {', '.join(names)}" if names else "it has none"
            raise Unfit(f"{hook} takes {name!r}, which is not an argument of that hook: {offered}")
    if is_coroutine_function(known[hook]):
        if not is_coroutine_function(function):
            raise Unfit(f"{hook} is awaited: write it with async def")
    elif is_coroutine_function(function) or inspect.isasyncgenfunction(function):
        raise Unfit(
            f"{hook} is written with async def, but nobody awaits it: write it with def, or with "
            "@asynccontextmanager if it is to return a context"
        )


def _nearest(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"


def is_coroutine_function(function: object) -> bool:
    """Whether a call of it is awaited: a coroutine function, even if it is wrapped, has
    arguments filled in, or is a callable object.
    """
    while isinstance(function, partial):
        function = function.func
    if not callable(function):
        return False
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        return True
    return inspect.iscoroutinefunction(type(function).__call__)


# Values ------------------------------------------------------------------------------


def check_schema(where: str, schema: object, base: type[Schema] = Schema) -> type[Schema]:
    """Refuse what is not a schema class, and a class that cannot be instantiated."""
    if not (isinstance(schema, type) and issubclass(schema, base)):
        belongs = "a schema class" if base is Schema else f"a subclass of {base.__name__}"
        raise Unfit(f"{where} has {schema!r} where {belongs} belongs")
    try:
        schema()
    except Exception as error:
        raise Unfit(f"{where}: no {schema.__name__} can be made: {error}") from error
    return schema


def check_text(where: str, name: str, value: object) -> None:
    """Refuse what is not text."""
    if not isinstance(value, str):
        raise Unfit(f"{where} has {value!r} as its {name}, which is not text")


def check_collection(where: str, name: str, value: object) -> None:
    """Refuse a text, and anything else that is not a collection, where one belongs."""
    if isinstance(value, (str, bytes)):
        raise Unfit(f"{where}: {name} is {value!r}, a text; write ({value!r},) if that is all")
    if not isinstance(value, (tuple, list, set, frozenset)):
        raise Unfit(f"{where}: {name} is {value!r} where a tuple belongs")


def check_new(what: str, names: Iterable[str], owners: Mapping[str, str]) -> None:
    """Refuse names that another plugin already has.

    :param owners: the plugin that has each name, by name.
    """
    for name in names:
        if name in owners:
            raise Unfit(
                f"the {what} {name!r} exists already: the plugin {owners[name]!r} has it. Choose "
                "another name, or uninstall one of the two"
            )


def check_config_schema(plugin: str, schema: object) -> type[Schema]:
    """Refuse a configuration that cannot be read, or with options that are not its own."""
    checked = check_schema("the configuration", schema)
    for setting in section_settings(plugin, checked):
        for flag in setting.flags:
            if re.fullmatch(rf"--{plugin}-[a-z0-9-]+", flag) is None:
                raise Unfit(
                    f"the setting {setting.name!r} has {flag!r} as its option: begin it with "
                    f"--{plugin}-, and go on with small letters, digits and -"
                )
    return checked


def read_section(section: str, schema: type[Schema], settings: Settings) -> dict[str, Any]:
    """A plugin's section of the settings as the plugin's schema reads it."""
    try:
        return load_section(schema, settings.section(section), settings.environ)
    except ValidationError as error:
        text = flatten(error.messages)
    except SettingsError as error:
        text = str(error)
    raise Unfit(f"[{section}] in the settings: {text}")


# Node types --------------------------------------------------------------------------


def check_node_types(kinds: Iterable[NodeType]) -> None:
    """Refuse node types that could not be used."""
    seen = set[str]()
    for kind in kinds:
        if not (isinstance(kind.name, str) and NAME.fullmatch(kind.name)):
            raise Unfit(
                f"the node type name {kind.name!r} cannot be part of a path: let it {NAME_RULE}"
            )
        if kind.name in seen:
            raise Unfit(f"the node type {kind.name!r} is offered twice")
        _check_node_type(f"the node type {kind.name!r}", kind)
        seen.add(kind.name)


def _check_node_type(where: str, kind: NodeType) -> None:
    check_text(where, "title", kind.title)
    check_text(where, "legacy_directory", kind.legacy_directory)
    check_schema(where, kind.create_schema, NodeCreateSchema)
    check_schema(where, kind.update_schema, NodeUpdateSchema)
    check_schema(where, kind.object_schema, NodeObjectSchema)
    _check_node_class(where, kind.node_class)
    _check_shape(where, kind)
    for name, items, belongs in (
        ("nio_types", kind.nio_types, str),
        ("image_kinds", kind.image_kinds, ImageKind),
        ("capabilities", kind.capabilities, str),
        ("text_files", kind.text_files, TextFile),
        ("udp_companions", kind.udp_companions, int),
    ):
        check_collection(where, name, items)
        for item in items:
            if not isinstance(item, belongs):
                raise Unfit(f"{where}: {item!r} in its {name} is not of type {belongs.__name__}")
    for capability in kind.capabilities:
        if capability not in CAPABILITIES:
            raise Unfit(
                f"{where} has the capability {capability!r}, which the server does not know: "
                f"{_nearest(capability, CAPABILITIES)}"
            )
    for file in kind.text_files:
        _check_text_file(where, kind, file)
    _check_nature(where, kind)
    for distance in kind.udp_companions:
        if not is_whole(distance, 1, LAST_PORT - 1):
            raise Unfit(
                f"{where}: {distance!r} in its udp_companions is not a distance between two ports: "
                f"1 to {LAST_PORT - 1}"
            )


def _check_text_file(where: str, kind: NodeType, file: TextFile) -> None:
    if not (isinstance(file.name, str) and is_plain_name(file.name)):
        raise Unfit(f"{where}: {file.name!r} in its text_files is not a plain file name")
    shown = kind.object_schema().fields
    for field in (file.text, file.path):
        if field is not None and field not in shown:
            raise Unfit(
                f"{where}: its text_files name the field {field!r}, which its object_schema does "
                f"not have: {_nearest(str(field), shown)}"
            )


def _check_nature(where: str, kind: NodeType) -> None:
    if kind.lifecycle not in LIFECYCLES:
        raise Unfit(
            f"{where} has the lifecycle {kind.lifecycle!r}: write one of {', '.join(LIFECYCLES)}"
        )
    if kind.always_on and "suspend" in kind.capabilities:
        raise Unfit(f"{where} is always on and cannot be suspended: leave one of the two out")
    if RESET in kind.capabilities and kind.node_class.reset is Node.reset:
        raise Unfit(f"{where} has the capability 'reset', but its class has no method reset")
    if RESET in kind.capabilities and kind.always_on:
        raise Unfit(f"{where} is always on and cannot be reset: leave one of the two out")
    if not isinstance(kind.console, bool):
        raise Unfit(f"{where} has {kind.console!r} as its console: write True or False")
    if not isinstance(kind.copied_while_running, bool):
        raise Unfit(
            f"{where} has {kind.copied_while_running!r} as its copied_while_running: write True or "
            "False"
        )
    _check_questions(where, kind)


def _check_questions(where: str, kind: NodeType) -> None:
    """Check what a type is asked about a machine."""
    if kind.examine is not None and not is_coroutine_function(kind.examine):
        raise Unfit(f"{where}: its examine is awaited: write it with async def")
    if kind.examine is not None and not takes(kind.examine, 1):
        raise Unfit(f"{where}: its examine cannot be called: let it take the machine")
    for what in ("programs", "accelerators"):
        listings = getattr(kind, what)
        if not isinstance(listings, Mapping):
            raise Unfit(f"{where} has {listings!r} as its {what}: write a mapping")
        for word, listing in listings.items():
            if not is_coroutine_function(listing) or not takes(listing, 1):
                raise Unfit(
                    f"{where}: what lists its {what} {word!r} is awaited: write it with async "
                    "def, and let it take the machine"
                )


def _check_node_class(where: str, node_class: object) -> None:
    if not (isinstance(node_class, type) and issubclass(node_class, Node)):
        raise Unfit(f"{where} has {node_class!r} where a subclass of Node belongs")
    name = node_class.__name__
    if inspect.isabstract(node_class):
        missing = ", ".join(sorted(getattr(node_class, "__abstractmethods__", ())))
        raise Unfit(f"{where}: its class {name} lacks {missing}: write it")
    if issubclass(node_class, ProcessNode):
        text = argv_as_text(node_class.launch_spec)
        if text is not None:
            raise Unfit(
                f"{where}: {name}.launch_spec has {text} as its argv, a single text: give its "
                "parts one by one, in a tuple"
            )
    for method in dir(node_class):
        classes = [kind for kind in node_class.__mro__ if method in vars(kind)]
        overridden = next((vars(kind)[method] for kind in classes if _is_core(kind)), None)
        # The server's own classes need no check.
        if not is_coroutine_function(overridden) or _is_core(classes[0]):
            continue
        if not is_coroutine_function(getattr(node_class, method)):
            raise Unfit(f"{where}: the server awaits {name}.{method}: write it with async def")


def _is_core(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def _check_shape(where: str, kind: NodeType) -> None:
    if kind.adapters is not None and not is_whole(kind.adapters, 1):
        raise Unfit(
            f"{where} has {kind.adapters!r} adapters: write a number, at least 1, or None if nodes "
            "have one adapter and its number does not matter"
        )
    if not is_whole(kind.ports, 1):
        raise Unfit(f"{where} has {kind.ports!r} ports per adapter: write a number, at least 1")
    if kind.numbers is None:
        return
    if not isinstance(kind.numbers, range):
        raise Unfit(f"{where} has {kind.numbers!r} as its numbers: write a range, or None")
    if not 1 <= len(kind.numbers) <= MOST_NUMBERS or min(kind.numbers) < 0:
        raise Unfit(
            f"{where} has {kind.numbers!r} as its numbers: write a range of 1 to {MOST_NUMBERS} "
            "numbers, none below 0"
        )


def check_image_kinds(kinds: Iterable[ImageKind], taken: Mapping[str, ImageKind]) -> None:
    """Refuse kinds of images that could not be told apart, or not kept in a directory."""
    known = dict(taken)
    for kind in kinds:
        for value in (kind.name, kind.directory):
            if not (isinstance(value, str) and FILE_NAME.fullmatch(value)):
                raise Unfit(
                    f"the image kind {kind.name!r} cannot be kept in {value!r}: up to 64 letters, "
                    "digits, - and _ are possible"
                )
        for other in known.values():
            same = kind.name == other.name or kind.directory == other.directory
            if same and kind != other:
                raise Unfit(
                    f"the image kind {kind.name!r} differs from the one that exists in "
                    f"{other.directory!r}: use that one, or another name and directory"
                )
        known[kind.name] = kind


# NIO types ---------------------------------------------------------------------------


def check_nio_types(kinds: Iterable[NioType]) -> None:
    """Refuse NIO types that could not be used."""
    seen = set[str]()
    for kind in kinds:
        if not (isinstance(kind.name, str) and NAME.fullmatch(kind.name)):
            raise Unfit(f"the NIO type name {kind.name!r} cannot be used: let it {NAME_RULE}")
        where = f"the NIO type {kind.name!r}"
        if kind.name in seen:
            raise Unfit(f"{where} is offered twice")
        fields = check_schema(where, kind.schema)().fields
        if "type" in fields:
            raise Unfit(f"{where}: leave the field 'type' out of its schema, the server adds it")
        for name in ("local_udp_port", "remote_host", "remote_udp_port"):
            named = getattr(kind, name)
            if named is not None and named not in fields:
                raise Unfit(
                    f"{where} has {named!r} as its {name}, but no field of that name: "
                    f"{_nearest(str(named), fields)}"
                )
        if kind.check is not None and not is_coroutine_function(kind.check):
            raise Unfit(f"{where}: its check is awaited: write it with async def")
        if kind.check is not None and not (takes(kind.check, 1) or takes(kind.check, 2)):
            raise Unfit(
                f"{where}: its check cannot be called: let it take the values and the machine"
            )
        seen.add(kind.name)
