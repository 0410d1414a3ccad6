"""An output is whole or absent: written in a scratch folder next to its path, then renamed to it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.scratch import commit, scratch_folder

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NEARLY_FULL = 2**20


def check_target(path: Path, *, overwrite: bool, companions: Sequence[Path] = (), folder: bool = False) -> None:
    """Refuse a path of a file or ``folder`` that cannot or must not be written, before any work is done for it.

    ``companions`` are other files that are written with it.
    """
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist")
    if path.is_dir() and not folder:
        raise InputError("is a folder; name a file to write")
    if path.is_file() and folder:
        raise InputError("is a file where a folder is to be written; give another name")
    for existing in (path, *companions):
        if existing.exists() and not overwrite:
            named = "" if existing == path else f"its companion {existing.name} "
            raise InputError(f"{named}exists already; use overwrite=True to replace it")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be written to ({error.strerror})") from error


@contextmanager
def replacing(path: Path, *, stale: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a path of the same name in a scratch folder; what was written there is moved when the block succeeds.

    Other files that the writer puts next to the given path (headers, ``.aux.xml``) are moved with it; ``stale`` files,
    which belong to what is replaced, are removed. When the block fails or is interrupted, all stays as it was; after a
    kill the next command that reads or writes in this folder makes it whole, see :mod:`hyperfuse.io.encoding.scratch`.

    Raises:
        HyperfuseError: no space left, no permission, or another failure of the file system.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as scratch:
        ...         _ = scratch.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        with scratch_folder(target.parent, target.name) as scratch:
            try:
                yield scratch / "new" / target.name
                commit(scratch, target.parent, target.name, [file.name for file in stale])
            except HyperfuseError as error:
                raise without_scratch(error, scratch, target.parent) from error.__cause__
            except OSError as error:
                raise without_scratch(HyperfuseError(_reason(error, target.parent)), scratch, target.parent) from error
    except OSError as error:
        raise HyperfuseError(_reason(error, target.parent)) from error


def without_scratch(error: HyperfuseError, scratch: Path, folder: Path) -> HyperfuseError:
    """Return an error whose message names no scratch folder."""
    if str(scratch) not in str(error) or type(error) not in (InputError, HyperfuseError):
        return error
    shown = "" if str(folder) == "." else f"{folder}{os.sep}"
    text = str(error).replace(f"{scratch / 'new'}{os.sep}", shown).replace(str(scratch), str(folder))
    return InputError(text, error.parameter) if isinstance(error, InputError) else HyperfuseError(text)


def _reason(error: OSError, folder: Path) -> str:
    # GDAL fails without an error number, so the free space is checked as well.
    if error.errno in _NO_SPACE or shutil.disk_usage(folder).free < _NEARLY_FULL:
        return "no space left on the disk; free some or write elsewhere"
    text = (str(error.strerror or error).splitlines() or [type(error).__name__])[0]
    return f"cannot be written: {text}"
