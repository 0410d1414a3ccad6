"""Writing of HDF5 files on a disk that may be full: HDF5 itself does not survive a write that fails."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _PatientFile(io.FileIO):
    """A file that records its first failure and ignores all that is written after it.

    When a write fails inside HDF5, its caches are left in a state that crashes the process when they are freed. So HDF5
    gets no error, and the failure is raised once it has closed the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        start, at = self.tell(), 0
        try:
            while self.failure is None and at < len(view):
                at += super().write(view[at:]) or 0
        except OSError as error:
            self.failure = error
            self.seek(start + len(view))
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return self.tell() if size is None else size


@contextmanager
def hdf5_output(path: Path, user_block: bytes = b"") -> Iterator[h5py.File]:
    """Open an HDF5 file to write; what cannot be written raises an ``OSError`` in the end.

    ``user_block`` goes in front of HDF5's own content, padded to a power of two of at least 512 bytes; it may be empty.
    """
    size = 0 if not user_block else max(512, 1 << (len(user_block) - 1).bit_length())
    stream = _PatientFile(path)
    try:
        with h5py.File(stream, "w", userblock_size=size) as file:
            yield file
        stream.seek(0)
        stream.write(user_block)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        # HDF5 may fail on content that was not written; the failure before it is the one to report.
        raise stream.failure or error from None
    finally:
        stream.close()
    if stream.failure is not None:
        raise stream.failure
