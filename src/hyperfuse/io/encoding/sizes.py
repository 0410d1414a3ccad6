"""What an array of a file takes in memory, estimated before it is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.isolation import expect_bytes
from hyperfuse.runtime.memory import free_bytes

# Deflate packs 1032 bytes into one at best, and files hold more than one array.
_MOST_PACKED = 2000
_SMALL = 2**30
# Names of the types that a cube may be stored in.
NUMBERS = ("bool", "float16", "float32", "float64", *(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)))


def check_size(what: str, shape: Sequence[int], dtype: Any, file_bytes: int | None = None) -> None:
    """Refuse an array that does not fit into memory, or that a file cannot hold.

    Args:
        what: name of the array.
        shape: of the part that is read.
        dtype: numpy's, of its stored numbers.
        file_bytes: size of the file, or None where others hold the values.

    Raises:
        HyperfuseError: more than the free memory.
        InputError: more than a file of its size can hold: it is damaged, or was never filled.
    """
    kind = np.dtype(dtype)
    count = math.prod(int(size) for size in shape)
    stored = count * kind.itemsize
    narrow = kind.itemsize <= (4 if kind.kind == "f" else 2)
    needed = stored + count * (4 if narrow else 8)
    size = " x ".join(str(int(one)) for one in shape)
    if file_bytes is not None and stored > max(_SMALL, _MOST_PACKED * file_bytes):
        raise InputError(
            f"{what} states {stored / 1e9:.1f} GB of values ({size} {kind.name}) in a file of "
            f"{file_bytes / 1e6:.3g} MB; it is damaged, or was never filled"
        )
    if needed > free_bytes():
        raise HyperfuseError(
            f"{what} ({size} {kind.name}) takes {needed / 1e9:.1f} GB of memory, of which {free_bytes() / 1e9:.1f} GB "
            "are free; read fewer bands (bands=...)"
        )
    expect_bytes(needed)
