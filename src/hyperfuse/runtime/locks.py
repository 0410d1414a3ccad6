"""Locks of files that end with the process that holds them, however it ends."""

from __future__ import annotations

import os
from pathlib import Path


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
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._file)
        except BaseException:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Release the lock; the file stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _lock(file: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(str(error)) from error
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
