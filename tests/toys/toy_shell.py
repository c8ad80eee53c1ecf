"""A node type whose console the server serves: from a terminal, or a socket of its own."""

from __future__ import annotations

import sys

from marshmallow import fields

from gns3server.plugin import (
    Console,
    LaunchSpec,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeType,
    NodeUpdateSchema,
    Port,
    ProcessNode,
    TerminalInput,
    hookimpl,
)

PROGRAM = r"""
import os, signal, socket, sys, tty
mode, place = sys.argv[1], sys.argv[2]
if mode == "ignores-hangup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
if mode == "exit":
    sys.exit("the shell exits at once")
if mode == "unix":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
elif mode == "tcp":
    listener = socket.create_server(("127.0.0.1", int(place)))
if mode in ("unix", "tcp"):
    connection, _ = listener.accept()
    source = sink = connection.fileno()
else:
    source, sink = 0, 1
    if mode == "never":
        print("the shell hangs", flush=True)
        signal.pause()
    tty.setraw(source)
os.write(sink, b"welcome\r\nshell> ")
line = b""
while True:
    try:
        key = os.read(source, 1)
    except OSError:
        key = b""
    if not key:
        if mode == "ignores-hangup":
            signal.pause()
        if mode not in ("unix", "tcp"):
            break
        connection, _ = listener.accept()
        source = sink = connection.fileno()
        os.write(sink, b"shell> ")
        continue
    if key == b"\x03":
        os.write(sink, b"^C\r\nshell> ")
        line = b""
    elif key != b"\r":
        os.write(sink, key)
        line += key
    else:
        words = line.decode().split()
        line = b""
        os.write(sink, b"\r\n")
        if words[:1] == ["exit"]:
            sys.exit(int(words[1]))
        if words[:1] == ["size"]:
            size = os.get_terminal_size(source)
            os.write(sink, f"{size.columns}x{size.lines}\r\n".encode())
        elif words[:1] == ["flood"]:
            for number in range(int(words[1])):
                os.write(sink, f"line {number} of a flood\r\n".encode())
        elif words:
            os.write(sink, f"unknown: {' '.join(words)}\r\n".encode())
        os.write(sink, b"shell> ")
"""
"""Modes: ``good``, ``unix`` and ``tcp`` for a socket in place of the terminal, ``exit`` at once
with an error, ``never`` raw, and ``ignores-hangup``."""


class ShellCreateSchema(NodeCreateSchema):
    """A new shell."""

    mode = fields.String(load_default="good")


class ShellUpdateSchema(NodeUpdateSchema):
    """What of a shell can be changed."""

    mode = fields.String()


class ShellObjectSchema(NodeObjectSchema):
    """A shell."""

    mode = fields.String(required=True)


class ShellNode(ProcessNode):
    """Runs :data:`PROGRAM`."""

    async def launch_spec(self) -> LaunchSpec:
        """A console of the kind that the mode says."""
        mode = self.properties["mode"]
        path = str(self.runtime_directory / "console")
        port = self.console + 7
        sources = {
            "unix": {"source": "unix", "path": path},
            "tcp": {"source": "tcp", "source_port": port},
        }
        own = sources.get(mode, {"raw": True, "input": TerminalInput(by_line=True)})
        return LaunchSpec(
            argv=(sys.executable, "-c", PROGRAM, mode, str(port) if mode == "tcp" else path),
            cwd=str(self.directory),
            ports=(Port("tcp", port),) if mode == "tcp" else (),
            sockets=(path,) if mode == "unix" else (),
            console=Console(port=self.console, **own),
            ready_limit=1 if mode == "never" else 30,
            stop_limit=0.5,
        )


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """One type."""
    return [
        NodeType(
            name="shell",
            title="shell",
            node_class=ShellNode,
            create_schema=ShellCreateSchema,
            update_schema=ShellUpdateSchema,
            object_schema=ShellObjectSchema,
        )
    ]
