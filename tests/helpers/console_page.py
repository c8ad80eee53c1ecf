"""A page in a browser that shows a console, by the script that the manual has for it."""

from __future__ import annotations

from pathlib import Path

from rst_blocks import blocks
from web_browser import Browser

MANUAL = Path(__file__).parents[2] / "docs" / "consoles.rst"

OPEN = """
document.body.innerHTML = "<pre></pre>";
window.say = openConsole(arguments[0], document.querySelector("pre"));
"""

LOOK = """
const wanted = new RegExp(arguments[0]), screen = document.querySelector("pre");
return new Promise(found => {
  const look = () => wanted.test(screen.textContent) && found(screen.textContent);
  new MutationObserver(look).observe(screen, {childList: true});
  look();
});
"""


def script() -> str:
    """The manual's script: a function ``openConsole``."""
    (text,) = (block.text for block in blocks(MANUAL) if "function openConsole" in block.text)
    return text


class ConsolePage:
    """What a page shows of a console.

    :param browser: has the page open.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @classmethod
    async def open(cls, browser: Browser, url: str) -> ConsolePage:
        """Have a page of the server show one of its consoles.

        :param url: of the websocket, with ``http:``.
        """
        # Any page will do, as long as it does not forbid scripts to connect.
        origin, slash, path = url.partition("/v1/")
        await browser.go(f"{origin}/v1/version")
        await browser.run(script() + OPEN, f"ws{origin.removeprefix('http')}{slash}{path}")
        return cls(browser)

    async def shows(self, pattern: str) -> str:
        """Wait until the screen has what a pattern describes, which Python and the page read alike.

        :returns: all that is on it.
        """
        return str(await self._browser.run(LOOK, pattern))

    async def say(self, message: str) -> None:
        """Send a message of text: keys, or the size of the window."""
        await self._browser.run("say(arguments[0])", message)
