"""Errors about a file: in one line that names the file, whatever a library raises."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperfuse.errors import HyperfuseError, InputError

_BLOCK = 2**24


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Put the name of a file before the message of errors about it that are raised in the block, once."""
    try:
        yield
    except HyperfuseError as error:
        text = f"{path}: {error}"
        if type(error) not in (InputError, HyperfuseError) or str(error).startswith(f"{path}: "):
            raise
        renamed = InputError(text, error.parameter) if isinstance(error, InputError) else HyperfuseError(text)
        raise renamed from error.__cause__


@contextmanager
def damage_reported(what: str, *, reason: bool = False) -> Iterator[None]:
    """Turn any exception of a file library into an ``InputError``; only calls of such a library belong into the block.

    The parsers of h5py, numpy, scipy and zarr raise many exceptions in a damaged file: ``KeyError``, ``TypeError``,
    ``RuntimeError``, ``tokenize.TokenError``, ``zlib.error`` and more. ``reason``: add what the library said.
    """
    try:
        yield
    except (HyperfuseError, MemoryError):
        raise
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{what} ({said})" if reason else what) from error


def checksum(path: Path, size: int | None = None) -> int:
    """Return the checksum of a file, or of its first bytes."""
    value, left = 0, path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            value, left = zlib.crc32(block, value), left - len(block)
    return value
