"""Who may call: requests from web pages of other sites are refused.

A browser lets any page send requests to a server on the same machine. It names
the page in ``Origin``, and a page whose own name was made to resolve to this
machine names itself in ``Host``; both give the page away.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from gns3server.errors import Forbidden

CACHE_SIZE = 256

HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:@/?#\s]+))(?::[0-9]*)?")
"""A host and perhaps a port (RFC 3986, 3.2): an IPv6 address in brackets, or a name."""


class Gatekeeper:
    """Checks ``Host`` and ``Origin`` of every request.

    :param host_names: names, in lower case, allowed in ``Host`` besides IP literals.
    :param origins: web origins that may call, as ``http://lab.example``.
    """

    def __init__(self, host_names: frozenset[str], origins: frozenset[str]) -> None:
        self.admit(host_names, origins)

    def admit(self, host_names: frozenset[str], origins: frozenset[str]) -> None:
        """Accept these names and origins from now on, and no others."""
        self._host_names = host_names
        self._origins = origins
        self._known_hosts: set[str] = set()

    def check(self, scheme: str, host: str | None, origin: str | None) -> None:
        """Check one request.

        :raises Forbidden: it addresses the server by an unknown name or comes from another site.
        """
        if host is not None:
            self.check_host(host)
        if origin is None or origin in self._origins:
            return
        if not host or origin.lower() != f"{scheme}://{host}".lower():
            raise Forbidden(
                f"Requests from the web site {origin!r} are refused: a page elsewhere must not "
                "drive this server. Add the origin to allowed_origins in the settings to allow it."
            )

    def is_preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a browser is asking, for a page of an allowed origin, what it may send."""
        return (
            method == "OPTIONS"
            and "Access-Control-Request-Method" in headers
            and headers.get("Origin") in self._origins
        )

    def allowed_origin(self, origin: str | None) -> str | None:
        """The origin, if the settings name it: its pages may read answers."""
        return origin if origin in self._origins else None

    def check_host(self, host: str) -> None:
        """Check the name, perhaps with a port, by which a request addresses the server.

        :raises Forbidden: the server does not go by it.
        """
        if host in self._known_hosts:
            return
        name = host_name(host)
        if name not in self._host_names and not is_address(name):
            # Anything that is not a name is not repeated: it may hold a password, as in a URL.
            which = f"the name {name!r}" if name else "what the header Host says"
            raise Forbidden(
                f"This server does not go by {which}: use its IP address or localhost, "
                "or add the name to allowed_hosts in the settings."
            )
        if len(self._known_hosts) < CACHE_SIZE:
            self._known_hosts.add(host)


def host_name(host: str) -> str:
    """The name in a ``Host`` header, without port and brackets, in lower case.

    Empty if the header is not of that form.
    """
    match = HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def is_address(name: str) -> bool:
    """Whether ``name`` is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
