"""Checkpoints of TensorFlow as plain tensors, without TensorFlow: NAME.index and NAME.data-00000-of-00001.

The index is a sorted table of LevelDB: blocks of entries whose keys share prefixes, an index block, and a footer with
its position. Its values are protocol buffers (``BundleEntryProto``) that state type, shape, offset and size of a
tensor; the data file holds the values one after the other, little-endian. Nothing in either is executed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.errors import InputError

SUFFIX = ".index"
_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5
_LARGEST_INDEX = 2**24
_FLOAT32 = 1
# Of BundleEntryProto: type, shape, shard, offset, size. A shape has dimensions, a dimension a size.
_TYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5
_DIMENSION, _EXTENT = 2, 1


class _Entry(NamedTuple):
    """Where a float32 tensor lies in the data file."""

    shape: tuple[int, ...]
    offset: int
    size: int


def read_tensorflow_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the float32 tensors of a checkpoint.

    Args:
        path: the file that ends in ``.index``; the data file lies next to it.

    Returns:
        Tensors by the names of their variables.

    Raises:
        InputError: a file that is missing, damaged, compressed, or in several parts.
    """
    path = Path(path)
    data = path.with_name(path.name.removesuffix(SUFFIX) + ".data-00000-of-00001")
    if not data.is_file():
        raise InputError(f"{path}: no {data.name} next to it, which holds the values")
    if path.stat().st_size > _LARGEST_INDEX:
        raise InputError(f"{path}: larger than {_LARGEST_INDEX} bytes, which no index of a network's weights is")
    try:
        entries = dict(_entries(path.read_bytes()))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not an index of a TensorFlow checkpoint ({error})") from None
    size = data.stat().st_size
    found: dict[str, torch.Tensor] = {}
    with data.open("rb") as file:
        for name, entry in entries.items():
            if entry.size != 4 * math.prod(entry.shape) or entry.offset + entry.size > size:
                raise InputError(f"{path}: {name!r} of shape {entry.shape} does not fit {data.name}")
            file.seek(entry.offset)
            values = np.frombuffer(file.read(entry.size), "<f4").astype(np.float32).reshape(entry.shape)
            found[name] = torch.from_numpy(values)
    if not found:
        raise InputError(f"{path}: contains no float32 tensors")
    return found


def _entries(table: bytes) -> Iterator[tuple[str, _Entry]]:
    """Return the float32 tensors that a table lists."""
    if len(table) < _FOOTER_BYTES or table[-8:] != _MAGIC:
        raise ValueError("its end is another")
    footer = table[-_FOOTER_BYTES:]
    at = 0
    for _ in range(2):  # position and size of a block that is not needed
        _, at = _varint(footer, at)
    for _, handle in _block(table, footer[at:]):
        for key, value in _block(table, handle):
            fields = _fields(value)
            # The entry of an empty name describes the whole.
            if not key or fields.get(_TYPE, [0])[0] != _FLOAT32:
                continue
            if fields.get(_SHARD, [0])[0]:
                raise ValueError("its values are in several files")
            dimensions = _fields(fields[_SHAPE][0]).get(_DIMENSION, []) if _SHAPE in fields else []
            shape = tuple(_number(_fields(one).get(_EXTENT, [0])[0]) for one in dimensions)
            offset, size = (_number(fields.get(field, [0])[0]) for field in (_OFFSET, _SIZE))
            yield key.decode("utf-8"), _Entry(shape, offset, size)


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return keys and values of the block at a position and of a size that are stated as two numbers."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    if offset + size + _TRAILER_BYTES > len(table):
        raise ValueError("a block is beyond its end")
    if table[offset + size]:
        raise ValueError("it is compressed")
    block = table[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block is damaged")
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        if at + added + length > end or shared > len(key):
            raise ValueError("a block is damaged")
        key = key[:shared] + block[at : at + added]
        yield key, block[at + added : at + added + length]
        at += added + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in groups of seven bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")


def _fields(message: int | bytes) -> dict[int, list[int | bytes]]:
    """Return the fields of a protocol buffer by number: whole numbers and bytes; fixed ones are left out."""
    if isinstance(message, int):
        raise ValueError("a field is of another type")
    found: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            found.setdefault(number, []).append(value)
        elif kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is cut off")
            found.setdefault(number, []).append(message[at : at + length])
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("a field is of another type")
    return found


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a field is of another type")
    return value
