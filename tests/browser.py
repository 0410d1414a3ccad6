"""A real browser for tests: Debian's chromium, driven by Playwright."""

import shutil
from urllib.parse import urlsplit

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium (make test-browser installs it on Debian)")


def origin(url):
    """Return scheme, host and port of an address; of a file the whole, as each is an origin of its own."""
    parts = urlsplit(url)
    return url.partition("#")[0] if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}"


class Tab:
    """A page of its own in a browser; what it requests and writes to the console is kept.

    Attributes:
        page: of Playwright.
        said: what the console holds: warnings and errors, and exceptions that nothing caught.
        requested: the addresses.
        homes: the origins that may be asked: that of what was opened last.
    """

    def __init__(self, browser, **options):
        self._context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        self.page = self._context.new_page()
        self.said, self.requested, self.homes = [], [], set()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self._context.on("request", lambda request: self.requested.append(request.url))

    def open(self, url):
        """Go to an address, of which no request may leave the origin."""
        self.homes = {origin(url)}
        self.page.goto(url)

    @property
    def outside(self):
        """The requests that left the origins that may be asked."""
        inside = ("data:", "blob:")
        return [url for url in self.requested if not url.startswith(inside) and origin(url) not in self.homes]

    def close(self):
        """Close the page."""
        self._context.close()
