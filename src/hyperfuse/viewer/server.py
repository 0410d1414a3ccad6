"""The server of the viewer: on this machine alone, in a thread that ends when it is closed."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.viewer.app import create_app
from hyperfuse.viewer.guard import Guard
from hyperfuse.viewer.replies import Replies
from hyperfuse.viewer.scene import Named, ViewedScene

_HOST = "127.0.0.1"
_THREADS = 2


class ViewServer:
    """Serves the page of some images until it is closed.

    Args:
        images: what is viewed.
        port: of the server; 0: any that is free.
        framed: whether a notebook on this machine may show the page inside its own.

    Raises:
        InputError: a file that cannot be read, or a port that is taken.

    Attributes:
        port: of the server.
        url: of the page, with the token.
        frame_url: of the page inside a notebook.
    """

    def __init__(self, images: Sequence[Named], *, port: int = 0, framed: bool = False) -> None:
        if not 0 <= port <= 65535:
            raise InputError(f"port={port} is not among 0 to 65535", "port")
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(32)
        self.url = f"http://{_HOST}:{self.port}/?token={token}"
        self.frame_url = f"http://{_HOST}:{self.port}/{token}/"
        try:
            self._scene = ViewedScene(images)
        except BaseException:
            self._socket.close()
            raise
        self._executor = ThreadPoolExecutor(_THREADS, "hyperfuse-view-replies")
        app = create_app(Replies(self._scene), self._executor)
        guard = Guard(app, token=token, port=self.port, framed=framed)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guard,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                ws="none",
                http="h11",
                loop="asyncio",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._run, name="hyperfuse-view", daemon=True)
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            self.close()
            raise HyperfuseError(f"the viewer did not start: {self._failure}")

    def wait(self) -> None:
        """Wait until it is closed, or a signal arrives."""
        # Not Thread.join: an exception that a signal raises in it makes Python take a running thread for one that has
        # ended, so that closing does not wait for it.
        while not self._ended.is_set():
            time.sleep(0.1)

    def close(self) -> None:
        """End the server and all its threads, and close the files."""
        self._server.should_exit = True
        self._scene.stop()
        self._thread.join()
        self._executor.shutdown(cancel_futures=True)
        self._scene.close()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # reported by the thread that started it
            self._failure = error
        finally:
            self._ended.set()


def _bound(port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.suppress(OSError):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((_HOST, port))
    except OSError as error:
        server.close()
        raise InputError(
            f"port={port} cannot be used ({error.strerror}); leave it out for any that is free", "port"
        ) from error
    return server
