"""Finished tiles: in a folder next to the output, from which an interrupted job is resumed, or in memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.formats.registry import split_variable

_JOB, _MODEL = "job.json", "model.pt"


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

    Attributes:
        folder: its path.
    """

    folder: Path

    @classmethod
    def next_to(cls, out: str | Path) -> TileStore:
        """Return the store of the job that writes ``out``."""
        target = split_variable(out)[0].absolute()
        return cls(target.with_name(f".{target.name}.tiles"))

    def start(self, job: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or resume in the one of an interrupted job.

        Args:
            job: what decides the values of the tiles, JSON-able.
            resume: use the tiles in the folder, where they are of this job.
            overwrite: remove them where ``resume`` is not requested.

        Raises:
            InputError: tiles exist and neither is requested, or they are of another job.
        """
        described = json.loads(json.dumps(job, default=str))
        if self.folder.exists():
            if resume:
                self._refuse_other(described)
                return
            if not overwrite:
                raise InputError(
                    f"{self.folder} holds tiles of an interrupted job; resume=True resumes it, overwrite=True removes"
                    " them"
                )
            shutil.rmtree(self.folder)
        fresh = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        try:
            fresh.mkdir()
            (fresh / _JOB).write_text(json.dumps(described, indent=1), "utf-8")
            fresh.rename(self.folder)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise HyperfuseError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def _refuse_other(self, described: Mapping[str, Any]) -> None:
        try:
            before = json.loads((self.folder / _JOB).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder} cannot be resumed: its job.json is damaged; remove the folder") from error
        changed = sorted(key for key in {*described, *before} if described.get(key) != before.get(key))
        if changed:
            raise InputError(
                f"{self.folder} holds tiles of another job (other {', '.join(changed)}); repeat the call as it was, or"
                " remove them by overwrite=True without resume=True"
            )

    def described(self, key: str) -> Any | None:
        """Return what describes the interrupted job in this folder; None where there is none."""
        try:
            return json.loads((self.folder / _JOB).read_text("utf-8")).get(key)
        except (OSError, ValueError, AttributeError):
            return None

    def put_model(self, state: Mapping[str, Any]) -> None:
        """Store what was learnt of the scene, as tensors and plain values."""
        scratch = self.folder / f"{_MODEL}.{os.getpid()}.part"
        try:
            torch.save(dict(state), scratch)
            scratch.replace(self.folder / _MODEL)
        except (OSError, RuntimeError) as error:
            scratch.unlink(missing_ok=True)
            raise HyperfuseError(f"{self.folder}: cannot be written ({error}); free space, then resume") from error

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
            found: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
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
        return (self.folder / f"{name}.gaps").is_file()

    def put(self, name: str, values: NDArray[np.float32] | None) -> None:
        """See :meth:`Store.put`."""
        scratch = self.folder / f"{name}.{os.getpid()}.part"
        try:
            if values is None:
                (self.folder / f"{name}.empty").touch()
                return
            with scratch.open("wb") as file:
                np.save(file, np.ascontiguousarray(values, np.float32))
            if np.isnan(values).any():
                (self.folder / f"{name}.gaps").touch()
            scratch.replace(self.folder / f"{name}.npy")
        except OSError as error:
            scratch.unlink(missing_ok=True)
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


def identity(path: str) -> list[Any]:
    """Return what distinguishes a file from another, or from an earlier version: its path, size and time."""
    file = split_variable(path)[0]
    try:
        parts = sorted(file.rglob("*")) if file.is_dir() else [file]
        stats = [part.stat() for part in parts if part.is_file()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return [str(file.absolute()), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]
