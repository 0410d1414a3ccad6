"""The application of the server: the files of the page, and replies to its requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hyperfuse.errors import HyperfuseError
from hyperfuse.text import single_line
from hyperfuse.viewer.queries import QueryError
from hyperfuse.viewer.replies import Query, Replies, TilePicture

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Queries longer than this are none of the page's.
_LONGEST = 20_000


def create_app(replies: Replies, executor: Executor) -> Starlette:
    """Return the application.

    Args:
        replies: to the requests of the page.
        executor: in which they are computed.
    """
    routes = [_page(path, content, kind) for path, content, kind in page_files()]
    for name, reply in {
        "scene": replies.describe,
        "progress": replies.progress,
        "limits": replies.limits,
        "tile": replies.tile,
        "spectra": replies.spectra,
        "region": replies.region,
    }.items():
        routes.append(Route(f"/api/{name}", _computed(reply, executor), methods=["GET"]))
    return Starlette(routes=routes)


def page_files() -> list[tuple[str, bytes, str]]:
    """Return the files of the page: path, content and type."""
    found = []

    def walk(folder: Traversable, path: str) -> None:
        for one in folder.iterdir():
            if one.is_dir():
                walk(one, f"{path}{one.name}/")
            elif (kind := _TYPES.get(one.name.rpartition(".")[2])) is not None:
                found.append((f"{path}{one.name}", one.read_bytes(), kind))

    walk(files("hyperfuse.viewer") / "page", "/")
    return found


def _page(path: str, content: bytes, kind: str) -> Route:
    async def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route("/" if path == "/index.html" else path, send, methods=["GET"])


def _computed(reply: Callable[[Query], Any], executor: Executor) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        if len(request.url.query) > _LONGEST:
            return _failed("the query is too long", 400)
        query = dict(request.query_params)

        def compute() -> Any:
            # What nobody waits for any more, after fast zooming, is not computed.
            return None if gone.is_set() else reply(query)

        gone = asyncio.Event()
        work = asyncio.get_running_loop().run_in_executor(executor, compute)
        watch = asyncio.ensure_future(_until_gone(request, gone))
        try:
            found = await work
        except QueryError as error:
            return _failed(str(error), 400)
        except (HyperfuseError, OSError, MemoryError) as error:
            return _failed(single_line(error) or type(error).__name__, 422)
        finally:
            watch.cancel()
        if isinstance(found, TilePicture):
            # 202: the rest follows when the pyramid is built.
            return Response(found.content, 200 if found.whole else 202, media_type="image/png")
        return JSONResponse(found)

    return send


async def _until_gone(request: Request, gone: asyncio.Event) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.05)
    gone.set()


def _failed(message: str, status: int) -> Response:
    return Response(json.dumps({"error": message}), status, media_type="application/json")
