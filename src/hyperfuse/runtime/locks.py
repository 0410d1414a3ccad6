"""Locks of files that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperfuse.errors import InputError


class LockedError(InputError):
    """Another process works on the same output."""


_BEYOND = 2**30


class FileLock:
    """The exclusive lock of a file, held until :meth:`release` or the end of the process.

    Args:
        path: of the file; made where there is none.

    Raises:
        BlockingIOError: another process, or another lock of this one, holds it.
        OSError: the file cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = FileLock(Path(folder) / "lock")
        ...     try:
        ...         FileLock(Path(folder) / "lock")
        ...     except BlockingIOError:
        ...         print("held")
        ...     lock.release()
        held
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._file)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def is_current(self) -> bool:
        """Whether its file is still the one at that path, and not one that was removed before it was locked."""
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))  # noqa: PTH116
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock; the file stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def exclusive(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a file that is made for it and removed afterwards; one that a dead process left is taken over.

    Without effect on file systems that have no locks.

    Raises:
        LockedError: another process holds it; its message is ``busy``.
    """
    lock = None
    try:
        while lock is None or not lock.is_current:
            lock = FileLock(path)
    except BlockingIOError as error:
        raise LockedError(busy) from error
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        yield
        return
    try:
        yield
    finally:
        # Some systems remove no file that is open, and others must not find an unlocked one in between.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
        if os.name == "nt":
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(file: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(file, _BEYOND, os.SEEK_SET)  # a locked byte cannot be written
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(str(error)) from error
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
