"""One call of the program: its events while it works, and its end when the user cancels. Needs no QGIS."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from .executable import clean_environment, hidden_window

_POLL_SECONDS = 0.05
# How long the program may take to end by itself; a library in C may keep it from that.
_GRACE_SECONDS = 0.6
# Letters of the name of an output in the names of its scratch.
_LONGEST_NAME = 60
_SHOWN_LINES = 5
_REMOVALS = 5


class Outcome(NamedTuple):
    """How a call ended.

    Attributes:
        code: exit code.
        output: stdout.
        error: the line that says why it failed; empty where it did not, or was cancelled.
        files: that it reported as written.
        cancelled: by the user.
    """

    code: int
    output: str
    error: str
    files: tuple
    cancelled: bool


def run(
    command: Sequence[str],
    report: Callable[[dict], None],
    cancelled: Callable[[], bool] = lambda: False,
    outputs: Sequence[str] = (),
) -> Outcome:
    """Run the program and wait for it.

    Args:
        command: path of the program and its words; no shell takes part.
        report: called in this thread with each event, {"event": "progress" | "note" | "warning", "message": ...};
            lines on stderr that are no event come as notes.
        cancelled: asked 20 times per second; the program is ended once it returns True.
        outputs: that it writes: what a cancelled program leaves next to them is removed, the tiles of a job that was
            to be resumed apart.

    Raises:
        OSError: the program cannot be started.
    """
    before = _scratch(outputs)
    temporary = tempfile.mkdtemp(prefix="hyperfuse-")
    try:
        process = subprocess.Popen(
            list(command),
            env=clean_environment(TMPDIR=temporary, TEMP=temporary, TMP=temporary),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
            **hidden_window(),
        )
        events = queue.SimpleQueue()
        output = []
        readers = [
            threading.Thread(target=_read_events, args=(process.stderr, events), daemon=True),
            threading.Thread(target=_read_all, args=(process.stdout, output), daemon=True),
        ]
        for reader in readers:
            reader.start()
        stopped = False
        errors, files, plain = [], (), []
        try:
            while True:
                if cancelled():
                    stopped = True
                    break
                try:
                    event = events.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if event is None:
                    break
                kind = event.get("event")
                if kind == "error":
                    errors.append(str(event.get("message", "")))
                elif kind == "result":
                    files = tuple(event.get("files", ()))
                else:
                    if kind == "plain":
                        plain = [*plain, event["message"]][-_SHOWN_LINES:]
                        event = {"event": "note", "message": event["message"]}
                    report(event)
        except BaseException:
            stopped = True
            raise
        finally:
            if stopped:
                _stop(process)
                _remove_scratch(outputs, before, tiles="--resume" not in command)
        if not stopped:
            process.wait()
            readers[1].join()
        for pipe in (process.stdout, process.stderr):
            # A process that inherited a pipe may hold it open, and its reader waits for that.
            if not any(reader.is_alive() for reader in readers):
                pipe.close()
        code = process.returncode
        error = "" if stopped or code == 0 else (errors or plain or [_how_it_ended(code)])[-1]
        return Outcome(code, b"".join(output).decode("utf-8", "replace"), error, files, stopped)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_all(pipe, output) -> None:
    output.append(pipe.read())


def _read_events(pipe, events) -> None:
    """Put each line of stderr into the queue as an event, and None at the end."""
    for line in pipe:
        text = line.decode("utf-8", "replace").rstrip()
        event = None
        if text.startswith("{"):
            with contextlib.suppress(ValueError):
                event = json.loads(text)
        if isinstance(event, dict) and "event" in event:
            events.put(event)
        elif text:
            events.put({"event": "plain", "message": text})
    events.put(None)


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"hyperfuse was ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return f"hyperfuse ended with exit code {code} and no message"


def _stop(process) -> None:
    """End the program, which ends its workers; kill it where it does not end in time."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                process.terminate()
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                return
            time.sleep(_POLL_SECONDS / 2)
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False, **hidden_window()
            )
        else:
            os.killpg(process.pid, signal.SIGKILL)  # its workers end when it does
    process.wait()


def _scratch(outputs: Sequence[str]) -> set[Path]:
    """Return what the program makes next to its outputs for the time of a call: scratch folders, tiles, locks."""
    found = set()
    for output in outputs:
        path = Path(output).absolute()
        names = (f".{path.name[:_LONGEST_NAME]}", ".hyperfuse.")
        with contextlib.suppress(OSError):
            found |= {entry for entry in path.parent.iterdir() if entry.name.startswith(names) and entry != path}
    return found


def _remove_scratch(outputs: Sequence[str], known: set[Path], *, tiles: bool) -> None:
    """Remove scratch that was made during the call, unless a live process holds it or an output is half moved.

    A worker that is about to end may still write to it: several tries.
    """
    for _ in range(_REMOVALS):
        left = [
            path
            for path in _scratch(outputs) - known
            if not (path / "moves.json").exists()
            and not _is_locked(path / "lock" if path.is_dir() else path)
            and (tiles or ".tiles" not in path.name)
        ]
        for path in left:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        if not any(path.exists() for path in left):
            return
        time.sleep(_POLL_SECONDS)


def _is_locked(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows removes no file that is open
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
