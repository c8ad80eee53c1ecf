"""What every node type must do, as tests that a plugin runs on itself.

The whole test module of a plugin may be::

    from gns3server.testing import NodeTypeConformance, PluginConformance

    class TestPlugin(PluginConformance):
        plugin = "mine"

    class TestMine(NodeTypeConformance):
        node_type = "mine"

Each test is one requirement: its name is the requirement's, and its first line says what is
required. What that means for a type is read from its declaration: whether it has a console, is a
process, is always on, can be suspended. Each base class is a chapter of the manual.
"""

from __future__ import annotations

from gns3server.testing.console_conformance import ConsoleConformance
from gns3server.testing.life_conformance import LifeConformance
from gns3server.testing.link_conformance import LinkConformance
from gns3server.testing.program_conformance import ProgramConformance
from gns3server.testing.record_conformance import RecordConformance
from gns3server.testing.wire_conformance import WireConformance


class NodeTypeConformance(
    RecordConformance,
    LifeConformance,
    WireConformance,
    LinkConformance,
    ProgramConformance,
    ConsoleConformance,
):
    """Subclass this as ``TestSomething`` and name your node type.

    The tests take the fixtures ``gns3_server``, ``gns3_serving`` and ``gns3_process``; redefine
    them in your module to run the tests with other settings.
    """
