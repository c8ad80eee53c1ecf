"""What a plugin declares about one kind of node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

from marshmallow import Schema

from gns3server.files.images import ImageKind
from gns3server.nodes.presentation import Presentation
from gns3server.running.machine import Machine

HOT_WIRING = "hot_wiring"
"""The capability of nodes that take up a changed wire while they run."""

RESET = "reset"
"""The capability of nodes that a reload resets in place."""

CAPABILITIES = frozenset({"suspend", HOT_WIRING, RESET})
"""What a node type may be able to do beyond start, stop and reload."""

LIFECYCLES = ("startable", "always_on")
"""Whether clients start and stop a node, or whether it is up while its project is open."""


ListPlatforms = Callable[[Machine], Awaitable[Sequence[str]]]
"""Lists what a machine can run in one special way, such as kinds of processors."""

ListPrograms = Callable[[Machine], Awaitable[Sequence[Mapping[str, str]]]]
"""Lists programs of a machine, each with its ``path`` and ``version``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A text file in a node's directory that the node's objects show.

    Both fields are null while there is no such file, and while it cannot be read: see
    :meth:`gns3server.plugin.Node.read_file`.

    :param name: the file's name.
    :param text: the field that has its content.
    :param path: the field that has its path in the directory, if any.
    """

    name: str
    text: str
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """One kind of node: all that the core needs to route, store, wire and run it.

    :param name: the path segment of its routes: small letters, digits, ``-`` and ``_``. No two
        plugins may have one of the same name.
    :param title: what people call it.
    :param node_class: the class of its nodes, derived from
        :class:`~gns3server.nodes.node.Node`.
    :param create_schema: body of the create route; extends
        :class:`~gns3server.plugin.NodeCreateSchema`.
    :param update_schema: body of the update route; extends
        :class:`~gns3server.plugin.NodeUpdateSchema`.
    :param object_schema: the node object in answers and events; extends
        :class:`~gns3server.plugin.NodeObjectSchema`.
    :param nio_types: names of the NIO types it takes; the plugins that offer
        them are looked up when a request names one.
    :param adapters: how many adapters it has; ``None`` when a node has one and
        the number in the request does not matter. Where that varies by node, see
        :attr:`gns3server.plugin.Node.adapters`.
    :param ports: how many ports an adapter has; see :attr:`gns3server.plugin.Node.ports`.
    :param numbers: when given, each node of a project gets a number of its own
        from this range, kept for its whole life and then reused first.
    :param udp_companions: distances from a node's UDP port at which its
        emulator binds further UDP ports.
    :param lifecycle: ``startable``, or ``always_on`` for nodes that are up as long as their
        project is open: they are started when they are created and when the project is opened,
        and clients never see them stopped.
    :param console: whether it has a console; without one ``console`` is null in its objects and
        unknown in requests.
    :param capabilities: what it can do besides start, stop and reload. ``suspend`` brings routes, a
        state and events. With ``hot_wiring``, a running node has taken up a changed wire when its
        ``wire_changed`` returns; without it, wires count from the next start on. With ``reset``, a
        reload has the node's ``reset`` called in place of a stop and a start, and leaves a stopped
        node alone.
    :param image_kinds: kinds of image files it uses.
    :param text_files: files that its objects show.
    :param examine: says what its nodes run on a machine, such as the path and version of a program,
        or raises the ``Conflict`` that their start would raise, with what would make them run.
        ``gns3server plugins``, the doctor and ``GET /v1/plugins`` ask it.
    :param programs: by the word that clients ask with, lists the programs of a machine that its
        nodes can use: ``path`` and ``version`` of each. APIs that have such lists ask it.
    :param accelerators: by the name of each accelerator, lists the platforms whose nodes a machine
        runs with it. APIs that tell their clients ask it.
    :param presentation: what clients that draw labs show of its nodes.
    :param copied_while_running: whether copies of its nodes' files are of use that were made while
        a node ran. Where they are not, as with disks, a snapshot asks for the node to be stopped.
    :param context: whatever the plugin's nodes share, such as its configuration.
    :param legacy_directory: pattern of its directory in projects from before 1.3.
    """

    name: str
    title: str
    node_class: type[Any]
    create_schema: type[Schema]
    update_schema: type[Schema]
    object_schema: type[Schema]
    nio_types: tuple[str, ...] = ()
    adapters: int | None = 1
    ports: int = 1
    numbers: range | None = None
    udp_companions: tuple[int, ...] = ()
    lifecycle: Literal["startable", "always_on"] = "startable"
    console: bool = True
    capabilities: frozenset[str] = frozenset()
    image_kinds: tuple[ImageKind, ...] = ()
    text_files: tuple[TextFile, ...] = ()
    legacy_directory: str = ""
    examine: Callable[[Machine], Awaitable[str]] | None = None
    programs: Mapping[str, ListPrograms] = field(default_factory=dict)
    accelerators: Mapping[str, ListPlatforms] = field(default_factory=dict)
    presentation: Presentation = field(default_factory=Presentation)
    copied_while_running: bool = True
    context: Any = None

    @property
    def always_on(self) -> bool:
        """Whether its nodes are up as long as their project is open."""
        return self.lifecycle == "always_on"

    @cached_property
    def _dumper(self) -> Schema:
        return self.object_schema()

    def dump(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """The wire object of a node, from its :meth:`~gns3server.nodes.node.Node.snapshot`."""
        return cast("dict[str, Any]", self._dumper.dump(snapshot))


class Numbers:
    """The numbers of one node type within one project.

    The lowest one that was never used comes first; one that was given back
    goes to the front (contract 5.6).
    """

    def __init__(self, numbers: range) -> None:
        self._free = list(numbers)

    def take(self, wanted: int | None = None) -> int | None:
        """Take the next number, or the wanted one; ``None`` if that is not available."""
        if wanted is None:
            return self._free.pop(0) if self._free else None
        if wanted not in self._free:
            return None
        self._free.remove(wanted)
        return wanted

    def give_back(self, number: int) -> None:
        """Make a number the next one to be taken."""
        self._free.insert(0, number)
