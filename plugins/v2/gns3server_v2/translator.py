"""Events in the words of the /v2 wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gns3server.plugin import Event, LayoutView, LinkView, LogEntry, NodeView, NotFound, Project
from gns3server_v2.link_wording import link_object
from gns3server_v2.state import LinkTold, NodeTold, ServerState, Told
from gns3server_v2.wording import NodeWording

NODE_ACTIONS = {
    "created": "node.created",
    "updated": "node.updated",
    "started": "node.updated",
    "stopped": "node.updated",
    "suspended": "node.updated",
    "resumed": "node.updated",
    "layout": "node.updated",
    "deleted": "node.deleted",
}


def message(action: str, event: Mapping[str, Any]) -> str:
    """One message of a stream."""
    return json.dumps({"action": action, "event": event}, ensure_ascii=False)


def complaint(event: Event) -> str | None:
    """The message for something that went wrong, if it is that."""
    if isinstance(event.object, LogEntry):
        return message("log.error", {"message": event.object.message})
    return None


def translate_for_all(event: Event) -> str | None:
    """The message for those who listen to all projects; ``None`` for what only projects tell."""
    if isinstance(event.object, Told) and event.object.everywhere:
        return message(event.change, event.object.event)
    return complaint(event)


class ProjectTranslator:
    """Makes the messages for those who listen to one project.

    It is called when an event is published, so that it tells of a moment and not of a later one.

    :param host: the name by which these clients reach the server.
    """

    def __init__(self, state: ServerState, host: str) -> None:
        self._state = state
        self._wording = NodeWording(state, host)
        self._created = ""

    def __call__(self, event: Event) -> str | None:
        """The message of an event; ``None`` if these clients have no word for it."""
        told = event.object
        if isinstance(told, Told):
            return None if told.everywhere else message(event.change, told.event)
        project = self._state.server.projects.find(event.project_id)
        return complaint(event) if project is None else self._of_project(project, event)

    def _of_project(self, project: Project, event: Event) -> str | None:
        match event.object:
            case NodeTold(node_id):
                return self._changed(project, node_id, event.change)
            case LinkTold(link_id):
                return self._link_changed(project, link_id, event.change)
            case LinkView() as view:
                return self._link(event.change, view)
            case NodeView() | LayoutView():
                return self._node(project, event)
            case _:
                return complaint(event)

    def _node(self, project: Project, event: Event) -> str | None:
        action, told = NODE_ACTIONS.get(event.change), event.object
        created, self._created = self._created, ""
        if action is None:
            return None
        if event.change == "deleted":
            gone = {"node_id": told.id, "name": told.name, "project_id": told.project_id}
            return message(action, {**gone, "status": "stopped", "console": told.console})
        if isinstance(told, LayoutView):
            # The place of a new node has been told with it.
            return None if told.id == created else self._changed(project, told.id)
        if event.change == "created":
            self._created = told.id
        return message(action, self._wording.node(project, told))

    def _link(self, word: str, view: LinkView) -> str:
        kept = self._state.peek(view.project_id).links.get(view.id, {})
        return message(f"link.{word}", link_object(view, kept))

    def _link_changed(self, project: Project, link_id: str, action: str) -> str | None:
        try:
            return self._link(action.removeprefix("link."), project.links.get(link_id))
        except NotFound:
            return None

    def _changed(self, project: Project, node_id: str, action: str = "node.updated") -> str | None:
        try:
            view = project.nodes.get(node_id)
        except NotFound:
            return None
        return message(action, self._wording.node(project, view))
