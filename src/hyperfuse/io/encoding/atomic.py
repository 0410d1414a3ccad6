"""An output is whole or absent: written in a scratch folder next to its path, then renamed to it."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hyperfuse.errors import HyperfuseError, InputError

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


@contextmanager
def replacing(path: Path, *, stale: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a path of the same name in a scratch folder; what was written there is moved when the block succeeds.

    Other files that the writer puts next to the given path (headers, ``.aux.xml``) are moved with it; ``stale`` files,
    which belong to what is replaced, are removed. When the block fails or is interrupted, all stays as it was.

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
    scratch = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        (scratch / "new").mkdir()
        yield scratch / "new" / target.name
        _move_in_place(scratch, target, stale)
    except OSError as error:
        raise HyperfuseError(_reason(error, target.parent)) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _reason(error: OSError, folder: Path) -> str:
    # GDAL fails without an error number, so the free space is checked as well.
    if error.errno in _NO_SPACE or shutil.disk_usage(folder).free < _NEARLY_FULL:
        return "no space left on the disk; free some or write elsewhere"
    text = str(error.strerror or error).splitlines()[0]
    return f"cannot be written: {text}"


def _move_in_place(scratch: Path, target: Path, stale: Sequence[Path]) -> None:
    # The file that the user named comes last: where it exists, all that belongs to it does.
    written = sorted((scratch / "new").iterdir(), key=lambda item: item.name == target.name)
    moves = [(item, target.parent / item.name) for item in written]
    outdated = [item for item in (*stale, *(path for _, path in moves)) if item.exists()]
    if len(moves) == 1 and not target.is_dir() and outdated in ([], [target]):
        moves[0][0].replace(target)
        return
    old = scratch / "old"
    old.mkdir()
    done: list[tuple[Path, Path]] = []
    try:
        for path in dict.fromkeys(outdated):
            path.rename(old / path.name)
            done.append((old / path.name, path))
        for item, path in moves:
            item.rename(path)
            done.append((path, item))
    except BaseException:
        for now, before in reversed(done):
            now.rename(before)
        raise
