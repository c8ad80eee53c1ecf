"""Sphinx configuration of the manual."""

from __future__ import annotations

import runpy
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from gns3server import __version__, plugin

HERE = Path(__file__).parent
TABLES = runpy.run_path(str(HERE / "tables.py"))["TABLES"]

project = "gns3server"
author = "The gns3server developers"
copyright = "2026, The gns3server developers"
version = release = __version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "examples"]
html_theme = "alabaster"
html_theme_options = {"description": "Network labs over HTTP", "fixed_sidebar": True}
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True

nitpicky = True
# Names of other projects: the manual is built without asking the network for theirs.
OTHERS = "_asyncio|aiohttp|argparse|asyncio|collections|contextlib|marshmallow|pathlib|web"
nitpick_ignore_regex = [
    ("py:.*", rf"({OTHERS})\..*"),
    ("py:class", "(Observe|Owner|Records|RunPlace|SeparateThreads|T|Turns)"),
    ("py:class", "(Copying|Path|ProjectNodes|ProjectPlace|Restoration|StoredProject)"),
    ("py:class", "(AbstractAsyncContextManager|Schema|EntryPoint|Translate)"),
    # The insides of the server, which the reference for plugins leaves out.
    ("py:.*", r"gns3server\.(app|calls|events|locks|ports|running|settings|storage)\..*"),
    ("py:.*", r"gns3server\.(consoles\.service|supervision)\..*"),
    ("py:.*", r"gns3server\.(nodes\.(examining|limits|registry|states)|projects\.manager)\..*"),
]


# What PyPI shows has to do without Sphinx. This runs before Sphinx adds its own roles.
for readme in [HERE.parent / "README.rst", *HERE.parent.glob("plugins/*/README.rst")]:
    publish_doctree(
        readme.read_text(encoding="utf-8"),
        source_path=str(readme),
        settings_overrides={"halt_level": 2, "file_insertion_enabled": False},
    )


class LabTable(SphinxDirective):
    """``.. lab-table:: settings``: one of the tables that are made from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table's nodes."""
        return self.parse_text_to_nodes(TABLES[self.arguments[0]]())


PUBLIC = {
    f"{thing.__module__}.{thing.__qualname__}": f"gns3server.plugin.{name}"
    for name, thing in ((name, getattr(plugin, name)) for name in plugin.__all__)
    if hasattr(thing, "__qualname__") and not thing.__module__.endswith(".errors")
}
"""Where plugin authors find what is defined elsewhere."""


def resolve_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.Node | None:
    """Link names of the server's rooms to the page that shows them as parts of the plugin API."""
    target = node.get("reftarget", "")
    for inside, public in PUBLIC.items():
        if target == inside or target.startswith(f"{inside}."):
            name = public + target.removeprefix(inside)
            domain = env.domains.python_domain
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], name, node, contnode
            )
    return None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("lab-table", LabTable)
    app.connect("missing-reference", resolve_public)
