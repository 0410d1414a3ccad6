"""Calls of a function in a child process, which may crash or never return: readers of files from any source.

Some libraries in C crash on a damaged file, or loop where no signal reaches them. A child process is started for the
first call and kept for the next ones, so that a call costs milliseconds; one that failed in any way is not used again.
It ends by itself after some idle seconds, and when this process does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.processes import die_with_parent, start_python
from hyperfuse.runtime.threads import usable_threads

# What a call may take, and what it may take longer for what it reads: a slow network drive, unpacked by one core.
_SECONDS = 60.0
_BYTES_PER_SECOND = 5e6
_IDLE_SECONDS = 20.0
_OF_MAIN = "of-main-thread"
# Value, warnings, exception, and whether the child can be used again.
_Outcome = tuple[Any, list[tuple[str, type[Warning]]], BaseException | None, bool]
_HEAD = struct.Struct("<cQ")

_idle: list[_Child] = []
_lock = threading.Lock()
_expect: Callable[[float], None] | None = None


def call(function: str, *arguments: Any) -> Any:
    """Return what a function ("module:name") returns for arguments that can be pickled, called in a child process.

    Warnings of the call are given here, exceptions raised here.

    Raises:
        InputError: the child crashed, or took longer than a minute and what it announced by :func:`expect_bytes`.
    """
    if is_child():
        return _resolve(function)(*arguments)
    request = pickle.dumps((str(Path.cwd()), function, arguments), protocol=5)
    child = _take()
    fresh = child is None
    child = child or _Child()
    try:
        outcome = child.ask(request, _SECONDS)
        if outcome is None and not fresh:
            # It may have ended for want of work just when it was called.
            child.kill()
            child = _Child()
            outcome = child.ask(request, _SECONDS)
        if outcome is None:
            raise InputError(f"cannot be read: the reader {child.ending()}; the file is damaged")
        value, said, error, sound = outcome
        if sound:
            _give_back(child)
    finally:
        if child not in _idle:
            child.kill()
    for message, category in said:
        warnings.warn(message, category, stacklevel=2)
    if error is not None:
        raise error
    return value


def is_child() -> bool:
    """Return whether this process is such a child."""
    return _expect is not None


def expect_bytes(count: float) -> None:
    """Announce how much a call is about to read, which extends the time it may take."""
    if _expect is not None:
        _expect(count)


def _take() -> _Child | None:
    with _lock:
        while _idle:
            child = _idle.pop()
            if child.usable:
                return child
            child.kill()
    return None


def _give_back(child: _Child) -> None:
    with _lock:
        if not _idle:
            _idle.append(child)


class _Child:
    def __init__(self) -> None:
        self._owner = os.getpid()
        # A thread may end before this process, and the child works for others then.
        words = ["-m", __name__, *([_OF_MAIN] if threading.current_thread() is threading.main_thread() else [])]
        self._process = start_python(words, usable_threads(), subprocess.DEVNULL, stdout=subprocess.PIPE)

    @property
    def usable(self) -> bool:
        """Whether it waits for a call of this process: a fork of it would share its pipes."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, request: bytes, seconds: float) -> _Outcome | None:
        """Return the value, warnings and exception of a call, or None where the child ended without a reply."""
        replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._converse, args=(request, replies.put), daemon=True).start()
        deadline = time.monotonic() + seconds
        while True:
            try:
                kind, content = replies.get(timeout=max(min(deadline - time.monotonic(), 1.0), 0.0))
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"cannot be read: its reader did not end within {seconds:.0f} s; the file is damaged"
                    ) from None
                continue
            if kind == "expected":
                seconds += content / _BYTES_PER_SECOND
                deadline += content / _BYTES_PER_SECOND
            elif kind == "transfer":
                deadline = time.monotonic() + seconds
            else:
                outcome: _Outcome | None = content
                return outcome

    def _converse(self, request: bytes, put: Callable[[tuple[str, Any]], None]) -> None:
        assert self._process.stdin is not None  # they are pipes
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, b"C", request)
            buffers: list[bytearray] = []
            while True:
                kind, content = _receive(self._process.stdout)
                if kind == b"N":
                    put(("expected", struct.unpack("<d", content)[0]))
                elif kind == b"B":
                    buffers.append(content)
                    put(("transfer", None))
                else:
                    # The child runs this package with the rights of this process: what it pickles is as good as ours.
                    put(("outcome", pickle.loads(content, buffers=buffers)))
                    return
        except (OSError, EOFError, struct.error):
            put(("outcome", None))
        except BaseException as error:  # memory, or a value that cannot be built again
            put(("outcome", (None, [], error, False)))

    def ending(self) -> str:
        """Return how it ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1.0)
            if code < 0:
                with contextlib.suppress(ValueError):
                    return f"was ended by {signal.Signals(-code).name}"
            return f"ended with the code {code}"
        return "closed its output"

    def kill(self) -> None:
        """End it."""
        if self._owner == os.getpid():
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


@atexit.register
def _end_all() -> None:
    with _lock:
        while _idle:
            _idle.pop().kill()


def _resolve(function: str) -> Callable[..., Any]:
    import pkgutil

    found: Callable[..., Any] = pkgutil.resolve_name(function)
    return found


def _send(stream: IO[bytes], kind: bytes, *contents: Any) -> None:
    for content in contents:
        view = memoryview(content).cast("B")
        stream.write(_HEAD.pack(kind, view.nbytes))
        stream.write(view)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[bytes, bytearray]:
    kind, size = _HEAD.unpack(_exactly(stream, _HEAD.size))
    return kind, _exactly(stream, size)


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    view, at = memoryview(content), 0
    while at < size:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        at += count
    return content


def _serve() -> None:
    """Serve calls until the process at the other end of stdin is gone, or does not call for a while."""
    global _expect
    if _OF_MAIN in sys.argv:
        die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("r+b") as nowhere:  # what a library prints is no reply
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
    _expect = lambda count: _send(target, b"N", struct.pack("<d", count))  # noqa: E731
    while True:
        timer = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()
        try:
            _, request = _receive(source)
        except EOFError:
            os._exit(0)
        timer.cancel()
        _limit()
        value, error = None, None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                folder, function, arguments = pickle.loads(request)
                os.chdir(folder)
                value = _resolve(function)(*arguments)
            except BaseException as raised:
                error = raised
        said = [(str(one.message), one.category) for one in caught]
        # An error that a library did not raise says nothing against the state it is in.
        sound = error is None or (isinstance(error, InputError) and error.__cause__ is None)
        _send_outcome(target, (value, said, error, sound))


def _send_outcome(target: IO[bytes], outcome: _Outcome) -> None:
    _, said, error, _ = outcome
    buffers: list[pickle.PickleBuffer] = []
    try:
        content = pickle.dumps(outcome, protocol=5, buffer_callback=buffers.append)
        if error is not None:
            pickle.loads(content)
    except Exception:
        buffers, shown = [], HyperfuseError(f"unexpected {type(error).__name__}: {error}")
        content = pickle.dumps((None, said, shown, False), protocol=5)
    _send(target, b"B", *(buffer.raw() for buffer in buffers))
    _send(target, b"R", content)


def _limit() -> None:
    """End this process where it takes all memory, or computes for long after the one it works for is gone."""
    try:
        import resource

        import psutil

        from hyperfuse.runtime.memory import free_bytes
    except ImportError:  # on Windows
        return
    taken = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(taken.ru_utime + taken.ru_stime) + 3600
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))
    room = int(psutil.Process().memory_info().vms + free_bytes())
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard))


if __name__ == "__main__":
    # The module that replies is the imported one, whose functions the readers know.
    from hyperfuse.runtime.isolation import _serve as serve

    serve()
