"""What stands before every request: this machine alone, a token, and headers that keep the page to itself."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors "
# Programs on this machine that show notebooks.
_NOTEBOOKS = "http://localhost:* http://127.0.0.1:* https://localhost:* vscode-webview:"


class Guard:
    """An ASGI application in front of another one.

    A request is let through with the token: in the query of the page itself, which replies with a cookie; in that
    cookie; or as the first part of its path, for pages inside a notebook, to which browsers send no such cookie.

    Args:
        app: what is guarded.
        token: the secret.
        port: of the server.
        framed: whether a page of a notebook on this machine may show the page inside it.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int, framed: bool = False) -> None:
        self._app, self._token = app, token
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._cookie = f"hyperfuse-{port}"
        self._headers = {
            "Content-Security-Policy": _POLICY + (_NOTEBOOKS if framed else "'none'"),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reply to a request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        cookie: str | None = None
        path: str = scope["path"]
        first = path[1:].partition("/")[0]
        if headers.get("host", "") not in self._hosts:
            app: ASGIApp = PlainTextResponse("This server is for programs on its own machine.", 400)
        elif path.startswith(f"/{first}/") and self._is_token(first):
            app = self._app
            scope = {**scope, "path": path[1 + len(first) :], "raw_path": None}
        elif self._is_token(_cookies(headers).get(self._cookie, "")):
            app = self._app
        elif path == "/" and self._is_token(_tokens(scope)):
            app = self._app
            cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        else:
            app = PlainTextResponse("Open the address that hyperfuse printed: it holds a token.", 403)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    added[name] = value
                if cookie is not None:
                    added["Set-Cookie"] = cookie
            await send(message)

        await app(scope, receive, send_guarded)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode())


def _tokens(scope: Scope) -> str:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return str(query.get("token", [""])[0])


def _cookies(headers: Headers) -> Mapping[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
