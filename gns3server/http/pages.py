"""The pages for people: plain, quick, and with nothing from other servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from gns3server.files.images import MAX_LISTED, ImageKind

HEADERS: Mapping[str, str] = {
    # In case something gets past the escaping: a page runs no script, fetches nothing,
    # sends forms to no other server and is shown in no other page.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

FRAME = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 1rem/1.5 sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
a { color: #0a58a6; }
label { display: block; margin: .8rem 0; }
code, li { overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid #ccc; color: #666; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #1b1b1b; }
  a { color: #7db8f0; }
}
</style>
</head>
<body>
<h1>$title</h1>
$content
<footer>gns3server $version</footer>
</body>
</html>
""")

HOME = Template("""\
<p>This server builds, wires and runs network labs. Programs drive it with JSON over HTTP.
These pages are for people:</p>
<ul>
<li><a href="/manual/">Read the manual</a>: a first lab, all settings, what to do when something
is wrong.</li>
<li><a href="/docs">Browse the API</a> and try it out, or fetch its
<a href="/v1/openapi.json">description</a> for programs.</li>
$images$more</ul>
<h2>Projects</h2>
$projects
<h2>Plugins</h2>
$plugins
<h2>Community</h2>
<p>The server is free software, and so is each plugin that comes with it. The manual says how to
write a plugin of your own, in one file.</p>
""")

IMAGES = """\
<li><a href="/upload">Upload images</a> for emulators to boot from.</li>
"""

NO_PROJECT = """\
<p>No project is open. The manual shows how to make one.</p>
"""

NO_PLUGIN = """\
<p>No plugin is installed, so there is nothing that this server could run. The manual says where
plugins come from.</p>
"""

NO_MANUAL = """\
<p>This server was installed without its manual, because Sphinx was not there when its package was
built. Install it again with <code>pip install .</code> in the folder of its source, which brings
Sphinx along, or read the manual in the folder <code>docs</code> there.</p>
"""

MAX_PROJECTS = 100
"""Projects that the first page shows at most."""

MAX_NODES = 500
"""Nodes that the first page shows at most, of all projects together."""

FORM = Template("""\
<form action="/upload" method="post" enctype="multipart/form-data">
<label>Kind of image: <select name="type">$options</select></label>
<label>File: <input type="file" name="file" required></label>
<button type="submit">Upload</button>
</form>
<p>It is better to upload large files with a program:
<code>curl -F type=$first -F file=@<i>FILE</i> $origin/upload</code></p>
""")

NO_KINDS = """\
<p>No plugin of this server uses images, so there is nothing to upload.
<a href="/v1/plugins">See the plugins</a>.</p>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownNode:
    """A node on the first page.

    :param type: what people call its type.
    :param status: its state, in the words of the wire.
    """

    name: str
    type: str
    status: str
    console: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProject:
    """A project on the first page."""

    id: str
    name: str
    nodes: Sequence[ShownNode]


def home(
    version: str,
    projects: Sequence[ShownProject],
    more: int,
    damaged: int,
    plugins: Sequence[Mapping[str, Any]],
    *,
    takes_images: bool,
    of_plugins: Mapping[str, str],
) -> str:
    """The first page (HTTP-13).

    :param more: how many projects are open besides these.
    :param damaged: how many projects cannot be opened.
    :param plugins: the report of each.
    :param of_plugins: pages of plugins: what they are called, by their paths.
    """
    more_pages = "".join(
        f'<li><a href="{escape(path)}">{escape(name)}</a></li>\n'
        for path, name in of_plugins.items()
    )
    content = HOME.substitute(
        images=IMAGES if takes_images else "",
        more=more_pages,
        projects=_projects(projects, more, damaged),
        plugins=_plugins(plugins),
    )
    return _page("GNS3 Server", content, version)


def _projects(projects: Sequence[ShownProject], more: int, damaged: int) -> str:
    left, items = MAX_NODES, list[str]()
    for project in projects:
        nodes = "".join(map(_node, project.nodes[:left]))
        unseen = len(project.nodes) - left
        if unseen > 0:
            nodes += f"<li>and {unseen} more</li>\n"
        left = max(0, left - len(project.nodes))
        running = sum(node.status != "stopped" for node in project.nodes)
        items.append(
            f'<li><a href="/v1/projects/{project.id}">{escape(project.name)}</a>: '
            f"{running} of {len(project.nodes)} nodes run"
            + (f"\n<ul>\n{nodes}</ul>\n</li>\n" if nodes else "</li>\n")
        )
    if more:
        items.append(f'<li>and <a href="/v1/projects">{more} more</a></li>\n')
    shown = f"<ul>\n{''.join(items)}</ul>\n" if items else NO_PROJECT
    if damaged:
        number = f'<a href="/v1/projects/damaged">{damaged}</a>'
        shown += f"<p>Projects that cannot be opened: {number}.</p>\n"
    return shown


def _node(node: ShownNode) -> str:
    console = "" if node.console is None else f", console on port {node.console}"
    return f"<li>{escape(node.name)}, {escape(node.type)}: {escape(node.status)}{console}</li>\n"


def _plugins(plugins: Sequence[Mapping[str, Any]]) -> str:
    if not plugins:
        return NO_PLUGIN
    items = []
    for plugin in plugins:
        name = " ".join(filter(None, (plugin["name"], plugin["version"])))
        kinds = ", ".join([*plugin["node_types"], *plugin["nio_types"]])
        wrong = ": ".join(filter(None, (plugin["status"], plugin["message"])))
        about = kinds if plugin["status"] == "ok" else wrong
        items.append(f"<li>{escape(name)}{': ' if about else ''}{escape(about)}</li>\n")
    return (
        f"<ul>\n{''.join(items)}</ul>\n"
        '<p>See <a href="/v1/plugins">all that is known of them</a>.</p>\n'
    )


def no_manual(version: str) -> str:
    """The page in the manual's place, where there is none."""
    return _page("GNS3 Server: no manual", NO_MANUAL, version)


def upload(version: str, origin: str, kinds: Sequence[ImageKind], paths: Sequence[str]) -> str:
    """The page with the form to upload an image, and the list of images (UPL-01).

    :param origin: how the client addresses this server, such as ``http://lab.example:8000``.
    :param paths: the paths of the images that are there.
    """
    options = [
        f'<option value="{escape(kind.name)}">{escape(kind.title)}</option>' for kind in kinds
    ]
    content = NO_KINDS
    if options:
        first = escape(kinds[0].name)
        content = FORM.substitute(options="".join(options), first=first, origin=escape(origin))
    if paths:
        items = "\n".join(f"<li>{escape(path)}</li>" for path in paths)
        content += f"<h2>Files on {escape(origin.partition('//')[2])}</h2>\n<ul>\n{items}\n</ul>\n"
    if len(paths) >= MAX_LISTED:
        content += f"<p>Only the first {MAX_LISTED} files are shown.</p>\n"
    return _page("GNS3 Server: images", content, version)


def _page(title: str, content: str, version: str) -> str:
    return FRAME.substitute(title=escape(title), content=content, version=escape(version))
