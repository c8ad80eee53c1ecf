"""What the documentation of a Python library for /v2 shows, step by step. Run in an environment
that has that library: ``library_steps.py URL``. It prints each step that it has done.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

SVG = '<svg width="100" height="60"><rect width="100" height="60" fill="#ffffff"/></svg>'
POLL_SECONDS = 0.1


class Steps:
    """Does what it is told, and counts it."""

    def __init__(self) -> None:
        self.done = 0

    def do(self, what: str, call: Callable[[], Any], expect: Callable[[Any], Any]) -> Any:
        """Call something; what it returns must be as expected."""
        found = call()
        if not expect(found):
            raise SystemExit(f"{what}: {found!r} is not as expected")
        self.done += 1
        print(f"{self.done:3} {what}")
        return found


def anything(_: object) -> bool:
    """Whatever is returned is as expected."""
    return True


def of_server(steps: Steps, server: Any) -> None:
    """The calls of the connector."""
    steps.do("version", server.get_version, lambda found: found["version"].startswith("2.2"))
    steps.do("templates", server.get_templates, lambda found: len(found) >= 7)
    steps.do("template", partial(server.get_template, name="VPCS"), lambda t: t["builtin"])
    steps.do("template summary", partial(server.templates_summary, is_print=False), bool)
    steps.do(
        "create template",
        partial(server.create_template, name="mine", template_type="vpcs", compute_id="local"),
        anything,
    )
    steps.do("get it", partial(server.get_template, name="mine"), lambda t: not t["builtin"])
    steps.do(
        "update template",
        partial(server.update_template, name="mine", default_name_format="M{0}"),
        lambda t: t["default_name_format"] == "M{0}",
    )
    steps.do("delete template", partial(server.delete_template, name="mine"), anything)
    steps.do("it is gone", partial(server.get_template, name="mine"), lambda t: t is None)
    steps.do("computes", server.get_computes, lambda found: len(found) == 1)
    steps.do("compute", server.get_compute, lambda found: found["compute_id"] == "local")
    steps.do("images", partial(server.get_compute_images, "qemu"), lambda found: found == [])
    steps.do("ports", server.get_compute_ports, lambda found: found["console_port_range"])
    steps.do("create project", partial(server.create_project, name="by hand"), bool)
    project = steps.do("projects", server.get_projects, lambda found: len(found) == 1)[0]
    steps.do("project", partial(server.get_project, name="by hand"), bool)
    steps.do("projects summary", partial(server.projects_summary, is_print=False), bool)
    steps.do("nodes", partial(server.get_nodes, project["project_id"]), lambda n: n == [])
    steps.do("links", partial(server.get_links, project["project_id"]), lambda n: n == [])
    steps.do("delete", partial(server.delete_project, project["project_id"]), anything)


def of_project(steps: Steps, library: Any, server: Any) -> Any:
    """The calls of a project."""
    lab = library.Project(name="lab", connector=server)
    steps.do("create", lab.create, lambda _: lab.status == "opened")
    steps.do("get", lab.get, lambda _: lab.name == "lab")
    steps.do("update", partial(lab.update, auto_open=True), lambda _: lab.auto_open)
    steps.do("update back", partial(lab.update, auto_open=False), lambda _: not lab.auto_open)
    for name, x in (("PC-A", 0), ("PC-B", 150)):
        steps.do(
            f"create node {name}",
            partial(lab.create_node, name=name, template="VPCS", x=x, y=0),
            anything,
        )
    steps.do("nodes", lab.get_nodes, lambda _: {n.name for n in lab.nodes} == {"PC-A", "PC-B"})
    steps.do("stats", lab.get_stats, lambda _: lab.stats["nodes"] == 2)
    steps.do(
        "create link", partial(lab.create_link, "PC-A", "Ethernet0", "PC-B", "Ethernet0"), anything
    )
    steps.do("links", lab.get_links, lambda _: len(lab.links) == 1)
    steps.do("links summary", partial(lab.links_summary, is_print=False), lambda s: len(s) == 1)
    steps.do("nodes summary", partial(lab.nodes_summary, is_print=False), lambda s: len(s) == 2)
    steps.do("inventory", lab.nodes_inventory, lambda found: set(found) == {"PC-A", "PC-B"})
    steps.do("write file", partial(lab.write_file, "README.txt", "about it"), anything)
    steps.do("get file", partial(lab.get_file, "README.txt"), lambda text: text == "about it")
    for action in ("start", "suspend", "reload", "stop"):
        wanted = {"stopped" if action == "stop" else "started"}
        work = partial(getattr(lab, f"{action}_nodes"), poll_wait_time=POLL_SECONDS)
        steps.do(f"{action} nodes", work, anything)
        steps.do("as told", lab.get_nodes, lambda _: {node.status for node in lab.nodes} == wanted)  # noqa: B023
    if hasattr(lab, "arrange_nodes_circular"):
        steps.do("arrange", lab.arrange_nodes_circular, lambda _: lab.nodes[0].x is not None)
    return lab


def of_node(steps: Steps, library: Any, server: Any, lab: Any) -> None:
    """The calls of a node."""
    node = steps.do("get node", partial(lab.get_node, name="PC-A"), bool)
    steps.do("get", node.get, lambda _: node.node_type == "vpcs")
    steps.do("links of it", node.get_links, lambda _: len(node.links) == 1)
    steps.do("start", node.start, lambda _: node.status == "started")
    steps.do("reload", node.reload, lambda _: node.status == "started")
    steps.do("suspend", node.suspend, lambda _: node.status == "started")
    steps.do("stop", node.stop, lambda _: node.status == "stopped")
    steps.do("update", partial(node.update, name="PC-C"), lambda _: node.name == "PC-C")
    steps.do("write file", partial(node.write_file, "startup.vpc", "ip 10.0.0.1\n"), anything)
    steps.do("get file", partial(node.get_file, "startup.vpc"), lambda t: "10.0.0.1" in t)
    steps.do("slash in front", partial(node.write_file, "/etc/hosts", "x"), anything)
    steps.do("read it", partial(node.get_file, "/etc/hosts"), lambda text: text == "x")
    other = library.Node(
        project_id=lab.project_id, template="VPCS", name="PC-D", x=10, y=10, connector=server
    )
    steps.do("create another", other.create, lambda _: other.name == "PC-D")
    steps.do("delete it", other.delete, anything)


def of_links(steps: Steps, library: Any, server: Any, lab: Any) -> None:
    """The calls of a link."""
    lab.get_links()
    link = steps.do("get link", partial(lab.get_link, lab.links[0].link_id), bool)
    steps.do("get", link.get, lambda _: link.link_type == "ethernet")
    if hasattr(link, "update"):
        steps.do("suspend", partial(link.update, suspend=True), lambda _: link.suspend)
        steps.do("go on", partial(link.update, suspend=False), lambda _: not link.suspend)
    steps.do("delete", link.delete, anything)
    ends = [{"node_id": node.node_id, "adapter_number": 0, "port_number": 0} for node in lab.nodes]
    made = library.Link(project_id=lab.project_id, connector=server, nodes=ends)
    steps.do("create", made.create, lambda _: made.link_id is not None)
    lab.get_links()
    names = [node.name for node in lab.nodes]
    if hasattr(lab, "delete_link"):
        steps.do(
            "delete by names",
            partial(lab.delete_link, names[0], "Ethernet0", names[1], "Ethernet0"),
            anything,
        )


def of_drawings(steps: Steps, lab: Any) -> None:
    """The calls of drawings, in versions that have them."""
    if not hasattr(lab, "create_drawing"):
        return
    steps.do("no drawings", lab.get_drawings, lambda _: lab.drawings == [])
    steps.do("create drawing", partial(lab.create_drawing, SVG), anything)
    steps.do("drawings", lab.get_drawings, lambda _: len(lab.drawings) == 1)
    found = lab.drawings[0]["drawing_id"]
    steps.do("drawing", partial(lab.get_drawing, drawing_id=found), bool)
    steps.do("move it", partial(lab.update_drawing, found, x=70), anything)
    steps.do("delete drawing", partial(lab.delete_drawing, drawing_id=found), anything)


def of_snapshots(steps: Steps, lab: Any) -> None:
    """The calls of snapshots."""
    steps.do("no snapshots", lab.get_snapshots, lambda _: lab.snapshots == [])
    steps.do("create snapshot", partial(lab.create_snapshot, "first"), anything)
    steps.do("snapshots", lab.get_snapshots, lambda _: len(lab.snapshots) == 1)
    steps.do("snapshot", partial(lab.get_snapshot, name="first"), bool)
    steps.do("restore", partial(lab.restore_snapshot, name="first"), anything)
    steps.do("delete snapshot", partial(lab.delete_snapshot, name="first"), anything)


def main() -> None:
    """All of it."""
    library = importlib.import_module("gns3fy")
    server, steps = library.Gns3Connector(url=sys.argv[1]), Steps()
    of_server(steps, server)
    lab = of_project(steps, library, server)
    of_node(steps, library, server, lab)
    of_links(steps, library, server, lab)
    of_drawings(steps, lab)
    if "--no-snapshots" not in sys.argv:
        of_snapshots(steps, lab)
    steps.do("close", lab.close, lambda _: lab.status == "closed")
    steps.do("open", lab.open, lambda _: lab.status == "opened")
    steps.do("delete", lab.delete, anything)
    print(f"{steps.done} steps")


if __name__ == "__main__":
    main()
