"""The two pages for people: plain, quick, and with nothing from other servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

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

HOME = """\
<p>This server builds, wires and runs network labs. Programs drive it with JSON over HTTP.
These pages are for people:</p>
<ul>
<li><a href="/docs">Browse the API</a>, or fetch its <a href="/v1/openapi.json">description</a>
for programs.</li>
<li><a href="/upload">Upload images</a> for emulators to boot from.</li>
<li><a href="/v1/plugins">See the plugins</a>: what this server can run, and what is wrong with
any plugin that it could not use.</li>
</ul>
<h2>Community</h2>
<p>The server is free software, and so is each plugin that comes with it. The manual says how to
write a plugin of your own, in one file.</p>
"""

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


def home(version: str) -> str:
    """The first page (HTTP-13)."""
    return _page("GNS3 Server", HOME, version)


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
