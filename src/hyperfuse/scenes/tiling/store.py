"""Finished tiles: in a folder next to the output, from which an interrupted job is resumed, or in memory."""

from __future__ import annotations

import glob
import io
import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.damage import checksum
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.runtime.locks import exclusive

_JOB, _MODEL = "job.json", "model.pt"
# The end of every file: a mark, the checksum of what is before it, and whether a tile holds gaps.
_TRAILER, _MAGIC = struct.Struct("<4sI?3x"), b"tile"


class Store(Protocol):
    """Where finished tiles are."""

    def done(self, name: str) -> bool:
        """Return whether a tile is finished."""

    def is_empty(self, name: str) -> bool:
        """Return whether a finished tile holds no data."""

    def has_gaps(self, name: str) -> bool:
        """Return whether any value of a finished tile is a gap."""

    def put(self, name: str, values: NDArray[np.float32] | None) -> None:
        """Store a tile (layers, rows, cols), NaN in gaps; None for one that holds no data."""

    def get(self, name: str) -> NDArray[np.float32]:
        """Return a tile."""


@dataclass(frozen=True)
class MemoryStore:
    """Tiles in memory."""

    _tiles: dict[str, NDArray[np.float32] | None] = field(default_factory=dict)

    def done(self, name: str) -> bool:
        """See :meth:`Store.done`."""
        return name in self._tiles

    def is_empty(self, name: str) -> bool:
        """See :meth:`Store.is_empty`."""
        return self._tiles[name] is None

    def has_gaps(self, name: str) -> bool:
        """See :meth:`Store.has_gaps`."""
        return bool(np.isnan(self.get(name)).any())

    def put(self, name: str, values: NDArray[np.float32] | None) -> None:
        """See :meth:`Store.put`."""
        self._tiles[name] = values

    def get(self, name: str) -> NDArray[np.float32]:
        """See :meth:`Store.get`."""
        values = self._tiles[name]
        assert values is not None  # asked for tiles with data
        return values


@dataclass(frozen=True)
class TileStore:
    """The folder ``.NAME.tiles``: ``job.json`` describes the job; one file per tile, none half written.

    Every file ends with its checksum, so that what a failing disk or another program damaged is found.

    Attributes:
        folder: its path.
    """

    folder: Path

    @classmethod
    def next_to(cls, out: str | Path) -> TileStore:
        """Return the store of the job that writes ``out``."""
        target = split_variable(out)[0].absolute()
        return cls(target.with_name(f".{target.name}.tiles"))

    def locked(self) -> AbstractContextManager[None]:
        """Return a context that no other process that writes the same output can enter meanwhile."""
        name = self.folder.name.removeprefix(".").removesuffix(".tiles")
        busy = f"{self.folder.with_name(name)}: another process is writing it; wait for it, or write elsewhere"
        return exclusive(self.folder.with_name(f"{self.folder.name}.lock"), busy)

    def start(self, job: Mapping[str, Any], *, resume: bool, overwrite: bool) -> list[str]:
        """Make the folder, or resume in the one of an interrupted job.

        Args:
            job: what decides the values of the tiles, JSON-able.
            resume: use the tiles in the folder, where they are of this job.
            overwrite: remove them where ``resume`` is not requested.

        Returns:
            Notes on what was damaged and is computed again.

        Raises:
            InputError: tiles exist and neither is requested, or they are of another job.
        """
        described = json.loads(json.dumps(job, default=str))
        # Left by processes that were killed: this one alone works here now.
        for stale in self.folder.parent.glob(f"{glob.escape(self.folder.name)}.[0-9]*"):
            shutil.rmtree(stale, ignore_errors=True)
        if self.folder.exists():
            if resume:
                self._refuse_other(described)
                return self._remove_damaged()
            if not overwrite:
                raise InputError(
                    f"{self.folder} holds tiles of an interrupted job; resume=True resumes it, overwrite=True removes"
                    " them"
                )
            shutil.rmtree(self.folder)
        fresh = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        try:
            fresh.mkdir()
            _write(fresh / _JOB, json.dumps(described, indent=1).encode())
            fresh.rename(self.folder)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise HyperfuseError(f"{self.folder}: cannot be written: {error.strerror}") from error
        return []

    def _refuse_other(self, described: Mapping[str, Any]) -> None:
        before = self._job()
        if before is None:
            raise InputError(
                f"{self.folder} cannot be resumed: its job.json is damaged; remove the tiles by overwrite=True without"
                " resume=True"
            )
        changed = sorted(key for key in {*described, *before} if described.get(key) != before.get(key))
        if changed:
            raise InputError(
                f"{self.folder} holds tiles of another job (other {', '.join(changed)}); repeat the call as it was, or"
                " remove them by overwrite=True without resume=True"
            )

    def _remove_damaged(self) -> list[str]:
        for scratch in self.folder.glob("*.part"):
            scratch.unlink(missing_ok=True)
        notes, model = [], self.folder / _MODEL
        damaged = [tile for tile in sorted(self.folder.glob("*.npy")) if not _is_whole(tile)]
        for tile in damaged:
            tile.unlink()
        if damaged:
            notes.append(f"of the interrupted job {len(damaged)} tiles were damaged and are fused again")
        if self.has_model() and not _is_whole(model):
            model.unlink()
            notes.append("what the interrupted job had learnt of the scene was damaged and is learnt again")
        return notes

    def _job(self) -> dict[str, Any] | None:
        try:
            if not _is_whole(self.folder / _JOB):
                return None
            found = json.loads((self.folder / _JOB).read_bytes()[: -_TRAILER.size])
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def described(self, key: str) -> Any | None:
        """Return what describes the interrupted job in this folder; None where there is none, or it is damaged."""
        return (self._job() or {}).get(key)

    def put_model(self, state: Mapping[str, Any]) -> None:
        """Store what was learnt of the scene, as tensors and plain values."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        try:
            _write(self.folder / _MODEL, buffer.getbuffer())
        except OSError as error:
            raise HyperfuseError(
                f"{self.folder}: cannot be written ({error.strerror}); free space, then resume"
            ) from error

    def has_model(self) -> bool:
        """Return whether :meth:`put_model` was called."""
        return (self.folder / _MODEL).is_file()

    def get_model(self, device: torch.device) -> dict[str, Any]:
        """Return what :meth:`put_model` stored, with tensors on a device.

        Raises:
            InputError: the file is damaged, or holds something other than tensors and plain values.
        """
        file = self.folder / _MODEL
        try:
            data = memoryview(file.read_bytes())[: -_TRAILER.size]
            found: dict[str, Any] = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise InputError(f"{self.folder} cannot be resumed: {file.name} is damaged; remove the folder") from error
        return found

    def done(self, name: str) -> bool:
        """See :meth:`Store.done`."""
        return (self.folder / f"{name}.npy").is_file() or self.is_empty(name)

    def is_empty(self, name: str) -> bool:
        """See :meth:`Store.is_empty`."""
        return (self.folder / f"{name}.empty").is_file()

    def has_gaps(self, name: str) -> bool:
        """See :meth:`Store.has_gaps`."""
        with (self.folder / f"{name}.npy").open("rb") as file:
            file.seek(-_TRAILER.size, os.SEEK_END)
            return bool(_TRAILER.unpack(file.read())[2])

    def put(self, name: str, values: NDArray[np.float32] | None) -> None:
        """See :meth:`Store.put`."""
        try:
            if values is None:
                (self.folder / f"{name}.empty").touch()
                return
            buffer = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                buffer, {"descr": "<f4", "fortran_order": False, "shape": values.shape}
            )
            data = np.ascontiguousarray(values, "<f4").data.cast("B")
            _write(self.folder / f"{name}.npy", buffer.getbuffer(), data, flag=bool(np.isnan(values).any()))
        except OSError as error:
            raise HyperfuseError(
                f"{self.folder}: a tile cannot be written: {error.strerror}; free space, then resume"
            ) from error

    def get(self, name: str) -> NDArray[np.float32]:
        """See :meth:`Store.get`."""
        values: NDArray[np.float32] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return values

    def holds_tiles(self) -> bool:
        """Return whether any finished tile holds data."""
        return any(self.folder.glob("*.npy"))

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, *parts: bytes | memoryview, flag: bool = False) -> None:
    """Write a file and its trailer; it is whole, or as it was before."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with scratch.open("wb") as file:
            file.writelines(parts)
            file.write(_TRAILER.pack(_MAGIC, value, flag))
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Return whether a file is as it was written."""
    try:
        size = path.stat().st_size - _TRAILER.size
        with path.open("rb") as file:
            file.seek(size)
            magic, value, _ = _TRAILER.unpack(file.read())
        return bool(magic == _MAGIC and value == checksum(path, size))
    except (OSError, ValueError, struct.error):
        return False
