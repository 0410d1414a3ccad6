"""Scratch folders next to an output, and the move of what was made in them to its place.

A scratch folder belongs to the process that holds its lock. The moves are written down before the first of them, so
that those which a kill interrupts are finished by the next command that reads or writes in the same folder; scratch
folders of processes that ended otherwise are removed by it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyperfuse.runtime.interruption import interruptible, remove_at_the_end, uninterrupted
from hyperfuse.runtime.locks import FileLock

_SUFFIX = ".part"
# As tempfile makes them.
_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.part", re.DOTALL)
_LOCK = "lock"
_MOVES = "moves.json"
_NEW, _OLD = "new", "old"
# Errors of file systems that cannot sync a file or folder, as opposed to those that mean lost data.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
_LONGEST_NAME = 60
_MANY = 200


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a new folder ``.NAME.*.part`` in ``parent``, with an empty folder ``new``; it is removed at the end."""
    recover(parent)
    with uninterrupted():
        folder, lock = _locked(parent, name)

        def clear() -> None:
            if lock is not None:
                lock.release()
            # Moves that could neither be made nor undone are left to the next command.
            if not (folder / _MOVES).exists():
                _remove(folder)

        remove = remove_at_the_end(folder, clear)
        try:
            (folder / _NEW).mkdir()
            with interruptible():
                yield folder
        finally:
            remove()


def _remove(scratch: Path) -> None:
    """Remove a scratch folder, its lock last: without one it would be taken for that of another program."""
    with contextlib.suppress(OSError):
        for part in scratch.iterdir():
            if part.name != _LOCK:
                shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
        (scratch / _LOCK).unlink(missing_ok=True)
        scratch.rmdir()


def _locked(parent: Path, name: str) -> tuple[Path, FileLock | None]:
    """Make a scratch folder and lock it; None on a file system without locks, where those of a killed process stay."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name[:_LONGEST_NAME]}.", suffix=_SUFFIX, dir=parent))
        try:
            lock = FileLock(folder / _LOCK)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process has taken it for one that was left behind
        except OSError:
            return folder, None
        if (folder / _LOCK).exists():
            return folder, lock
        lock.release()


def recover(parent: Path) -> None:
    """Finish what a process that was killed was moving in a folder, and remove the scratch of dead ones."""
    with contextlib.suppress(OSError):
        found = [entry.name for entry in os.scandir(parent) if _NAME.fullmatch(entry.name)]
        for name in found:
            with contextlib.suppress(OSError):  # it may belong to another user, or be gone
                _recover(parent / name)


def _recover(scratch: Path) -> None:
    state, own = scratch.lstat(), getattr(os, "geteuid", lambda: state.st_uid)()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != own:
        return
    if not (scratch / _LOCK).is_file():
        scratch.rmdir()  # where it is empty: its process ended before it locked it
        return
    lock = FileLock(scratch / _LOCK)
    try:
        plan = _plan(scratch)
        if plan is not None:
            _move(scratch, *plan, undo=False)
        _remove(scratch)
    finally:
        lock.release()


def commit(scratch: Path, folder: Path, last: str = "", stale: Sequence[str] = ()) -> None:
    """Move what is in ``new`` of a scratch folder to ``folder``; all of it, or nothing where that fails.

    Files that are replaced keep their permissions.

    Args:
        scratch: see :func:`scratch_folder`.
        folder: on the same file system; made where there is none.
        last: the name that is moved last: where it is, all that belongs to it is.
        stale: names in ``folder`` that are removed.
    """
    if not folder.exists():
        _sync_all(scratch / _NEW)
        folder.parent.mkdir(parents=True, exist_ok=True)
        (scratch / _NEW).replace(folder)
        _sync(folder.parent)
        return
    names = sorted((item.name for item in (scratch / _NEW).iterdir()), key=lambda name: (name == last, name))
    stale = [name for name in stale if name not in names and os.path.lexists(folder / name)]
    for name in names:
        if (folder / name).exists():
            (scratch / _NEW / name).chmod(stat.S_IMODE((folder / name).stat().st_mode))
    _sync_all(scratch / _NEW)
    if not names:
        return
    if len(names) == 1 and not stale and not (folder / names[0]).is_dir():
        (scratch / _NEW / names[0]).replace(folder / names[0])
        _sync(folder)
        return
    plan = {"folder": os.path.relpath(folder, scratch.parent), "names": names, "stale": stale}
    with uninterrupted():  # moves that are written down are made
        (scratch / f"{_MOVES}.new").write_text(json.dumps(plan), "utf-8")
        _sync(scratch / f"{_MOVES}.new")
        (scratch / f"{_MOVES}.new").replace(scratch / _MOVES)
        _sync(scratch)
        _move(scratch, folder, names, stale, undo=True)
        (scratch / _MOVES).unlink()


def _move(scratch: Path, folder: Path, names: Sequence[str], stale: Sequence[str], *, undo: bool) -> None:
    """Make the moves of a plan that are not yet made; with ``undo`` those that were made are undone if one fails."""
    new, old = scratch / _NEW, scratch / _OLD
    old.mkdir(exist_ok=True)
    done: list[tuple[Path, Path]] = []
    try:
        for name in (*stale, *names):
            kept, path, comes = old / name, folder / name, name in names
            if comes and not os.path.lexists(new / name):
                continue  # moved before a kill
            if os.path.lexists(path):
                if not os.path.lexists(kept) and not (comes and _linked(path, kept)):
                    path.rename(kept)
                done.append((kept, path))
            if comes:
                (new / name).replace(path)
                done.append((path, new / name))
        _sync(folder)
    except BaseException:
        if undo:
            for now, before in reversed(done):
                now.replace(before)
            (scratch / _MOVES).unlink(missing_ok=True)
        raise


def _linked(path: Path, second: Path) -> bool:
    """Give a file a second name, so that it is kept and never absent while it is replaced; False where none can be."""
    try:
        os.link(path, second, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return False
    return True


def _plan(scratch: Path) -> tuple[Path, list[str], list[str]] | None:
    """Return folder, names and stale names of the moves that were started; None where there are no plain ones."""
    try:
        plan: Any = json.loads((scratch / _MOVES).read_text("utf-8"))
        names, stale, folder = list(plan["names"]), list(plan["stale"]), plan["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    plain = all(isinstance(name, str) and name and name == Path(name).name for name in (*names, *stale))
    inside = isinstance(folder, str) and ".." not in Path(folder).parts and not Path(folder).is_absolute()
    return (scratch.parent / folder, names, stale) if plain and inside else None


def _sync_all(path: Path) -> None:
    found = [Path(folder) / name for folder, _, files in os.walk(path) for name in (*files, "")]
    if len(found) > _MANY and hasattr(os, "sync"):  # chunks of a Zarr store, of which each would wait for the disk
        os.sync()
        return
    for file in found:
        _sync(file)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, as far as the system can."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in _NO_SYNC:  # a folder on Windows, a file that may not be read
            return
        raise
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(file)
