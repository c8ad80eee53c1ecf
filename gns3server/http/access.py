"""Who a caller is: HTTP Basic authentication, and tickets for those who cannot send it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import secrets
from dataclasses import dataclass

from aiohttp import web

from gns3server.errors import Conflict, Unauthorized
from gns3server.http.guesses import Guesses
from gns3server.settings.live import LiveSettings

TICKET = "ticket"
"""The name of a ticket's parameter in the query of a request."""

TICKET_SECONDS = 30
"""How long a ticket is good for."""

TICKET_BYTES = 32
"""Random bytes in a ticket."""

MOST_TICKETS = 1000
"""How many tickets may wait to be used."""

ASKED = (
    "This server asks for a user and a password: send those of its settings "
    "with HTTP Basic authentication."
)
USED_UP = (
    "This ticket is not, or no more, good for anything: each is for one websocket and "
    f"{TICKET_SECONDS} seconds. Get another with POST /v1/tickets."
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A text that lets its bearer in, once.

    :param credentials: those that it was issued for; it is void once the settings have others.
    :param ends: when it expires, by the event loop's clock.
    """

    text: str
    credentials: bytes
    ends: float


class Authenticator:
    """Checks the credentials of each request against the newest settings (contract 1.6).

    Without ``auth``, or with an empty user, everybody may call (AUTH-04).
    """

    def __init__(self, config: LiveSettings) -> None:
        self._config = config
        self.guesses = Guesses()
        self._tickets: list[Ticket] = []

    @property
    def asks(self) -> bool:
        """Whether a login is required."""
        return bool(self._wanted())

    def check(self, credentials: str | None) -> str:
        """Check the ``Authorization`` header of a request; returns the user's name.

        The name is empty when no login is required.

        :raises Unauthorized: the header does not fit the settings.
        """
        wanted = self._wanted()
        # Each is compared, so that it takes as long for a wrong password as for a right one.
        if wanted and not sum(_is_same(_plain(credentials), one) for one in _headers(wanted)):
            raise Unauthorized(ASKED)
        return self._user(wanted)

    def issue_ticket(self) -> str:
        """Issue a ticket that is good for the present credentials.

        :raises Conflict: too many tickets wait to be used.
        """
        self._forget_old()
        if len(self._tickets) >= MOST_TICKETS:
            raise Conflict(
                f"{MOST_TICKETS} tickets wait to be used, which is this server's limit: use them, "
                f"or try again in {TICKET_SECONDS} seconds."
            )
        ends = asyncio.get_running_loop().time() + TICKET_SECONDS
        ticket = Ticket(secrets.token_urlsafe(TICKET_BYTES), self._wanted(), ends)
        self._tickets.append(ticket)
        return ticket.text

    def redeem(self, text: str) -> str:
        """Let the bearer of a ticket pass, this once; returns the user's name.

        :raises Unauthorized: there is no such ticket, or it is used up or expired.
        """
        wanted = self._wanted()
        self._forget_old()
        # All are compared, so that the time taken reveals nothing about any.
        found = [ticket for ticket in self._tickets if _is_same(text, ticket.text)]
        self._tickets = [ticket for ticket in self._tickets if ticket not in found]
        if wanted and not any(_is_same(ticket.credentials, wanted) for ticket in found):
            raise Unauthorized(USED_UP)
        return self._user(wanted)

    def _wanted(self) -> bytes:
        """The credentials in the settings; empty when no login is required."""
        server = self._config.current.server
        if not (server.auth and server.user):
            return b""
        return f"{server.user}:{server.password}".encode(errors="surrogateescape")

    def _user(self, wanted: bytes) -> str:
        return self._config.current.server.user if wanted else ""

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        self._tickets = [ticket for ticket in self._tickets if ticket.ends > now]


def _plain(credentials: str | None) -> str:
    """An ``Authorization`` header with its scheme and blanks as we write them (RFC 9110, 11.4)."""
    scheme, blank, rest = (credentials or "").partition(" ")
    return scheme.lower() + blank + rest.lstrip(" ")


def _headers(wanted: bytes) -> list[str]:
    """The headers that hold these credentials: many clients send Latin-1 (RFC 7617, B.3)."""
    pairs = [wanted]
    with contextlib.suppress(UnicodeError):
        pairs.append(wanted.decode().encode("latin-1"))
    return [f"basic {base64.b64encode(pair).decode()}" for pair in pairs]


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="replace")


def _is_same(given: str | bytes, wanted: str | bytes) -> bool:
    """Whether two secrets are the same; takes equally long either way."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("authenticator", Authenticator)
"""The authenticator of an application."""
