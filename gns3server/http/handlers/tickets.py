"""Tickets: they let browsers, which cannot send a password there, open websockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.http.access import AUTHENTICATOR, TICKET_SECONDS
from gns3server.http.routing import Call, Route
from gns3server.http.schemas import TicketSchema


async def issue(call: Call) -> Mapping[str, Any]:
    """Issue a ticket to the caller."""
    ticket = call.request.app[AUTHENTICATOR].issue_ticket()
    return {"ticket": ticket, "expires_in": TICKET_SECONDS}


ROUTES = (
    Route(
        method="POST",
        path="/v1/tickets",
        handler=issue,
        status=201,
        confidential=True,
        summary="Get a ticket, which lets a browser open one websocket: ?ticket=...",
        answer=TicketSchema,
        errors={409: "Too many tickets wait to be used"},
    ),
)
