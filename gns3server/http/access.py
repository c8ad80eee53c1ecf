"""Who a caller is: HTTP Basic authentication, when the settings ask for it."""

from __future__ import annotations

import base64
import hmac

from gns3server.errors import Unauthorized
from gns3server.settings.live import LiveSettings


class Authenticator:
    """Checks the credentials of each request against the newest settings (contract 1.6).

    Without ``auth``, or with an empty user, everybody may call (AUTH-04).
    """

    def __init__(self, config: LiveSettings) -> None:
        self._config = config

    def check(self, credentials: str | None) -> str:
        """Let a request with this ``Authorization`` header pass; returns the user's name.

        It is empty when nobody is asked.

        :raises Unauthorized: it is not the one of the settings.
        """
        server = self._config.current.server
        if not (server.auth and server.user):
            return ""
        pair = f"{server.user}:{server.password}".encode()
        wanted = b"Basic " + base64.b64encode(pair)
        # Takes as long for a wrong password as for a right one.
        if not hmac.compare_digest((credentials or "").encode(errors="replace"), wanted):
            raise Unauthorized(
                "This server asks for a user and a password: send those of its settings "
                "with HTTP Basic authentication."
            )
        return server.user
