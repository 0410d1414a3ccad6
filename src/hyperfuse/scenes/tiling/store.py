"""What a tiled job has done so far: a folder beside its output, in which every finished tile is whole."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.formats.registry import split_variable

_JOB, _LEARNED = "job.json", "learned.pt"


@dataclass(frozen=True)
class TileStore:
    """The folder ``.NAME.tiles``: ``job.json`` tells whose tiles these are; a file a tile, none half written.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @classmethod
    def beside(cls, out: str | Path) -> TileStore:
        """Return the store of the job that writes ``out``."""
        target = split_variable(out)[0].absolute()
        return cls(target.with_name(f".{target.name}.tiles"))

    def start(self, job: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or go on with the one that an interrupted job has left.

        Args:
            job: what decides the values of the tiles, JSON-able.
            resume: go on where the folder is this job's.
            overwrite: start anew where ``resume`` is not asked for.

        Raises:
            InputError: tiles are there and neither is asked for, or they are another job's.
        """
        told = json.loads(json.dumps(job, default=str))
        if self.folder.exists():
            if resume:
                self._refuse_other(told)
                return
            if not overwrite:
                raise InputError(
                    f"{self.folder} holds tiles of an interrupted job; --resume goes on with it, --overwrite anew"
                )
            shutil.rmtree(self.folder)
        fresh = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        try:
            fresh.mkdir()
            (fresh / _JOB).write_text(json.dumps(told, indent=1), "utf-8")
            fresh.rename(self.folder)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise HyperfuseError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def _refuse_other(self, told: Mapping[str, Any]) -> None:
        try:
            before = json.loads((self.folder / _JOB).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder} cannot be resumed: its job.json is damaged; remove the folder") from error
        changed = sorted(key for key in {*told, *before} if told.get(key) != before.get(key))
        if changed:
            raise InputError(
                f"{self.folder} holds tiles of another job (other {', '.join(changed)}); call it as before, or with"
                " --overwrite and without --resume to start anew"
            )

    def told(self, key: str) -> Any | None:
        """Return what the interrupted job that is kept here was told; None where there is none."""
        try:
            return json.loads((self.folder / _JOB).read_text("utf-8")).get(key)
        except (OSError, ValueError, AttributeError):
            return None

    def keep_learned(self, learned: Mapping[str, Any]) -> None:
        """Keep what was learnt of the scene as a whole."""
        scratch = self.folder / f"{_LEARNED}.{os.getpid()}.part"
        try:
            torch.save(dict(learned), scratch)
            scratch.replace(self.folder / _LEARNED)
        except (OSError, RuntimeError) as error:
            scratch.unlink(missing_ok=True)
            raise HyperfuseError(f"{self.folder}: cannot be written ({error}); make room, then --resume") from error

    def learned(self) -> dict[str, Any] | None:
        """Return what was kept; None where nothing was.

        Raises:
            InputError: the file is damaged, or holds something else.
        """
        file = self.folder / _LEARNED
        if not file.is_file():
            return None
        try:
            found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise InputError(f"{self.folder} cannot be resumed: {file.name} is damaged; remove the folder") from error
        return found

    def done(self, name: str) -> bool:
        """Return whether a tile is finished."""
        return (self.folder / f"{name}.npy").is_file() or self.is_empty(name)

    def is_empty(self, name: str) -> bool:
        """Return whether a tile was found to hold no data."""
        return (self.folder / f"{name}.empty").is_file()

    def has_gaps(self, name: str) -> bool:
        """Return whether any value of a finished tile is a gap."""
        return (self.folder / f"{name}.gaps").is_file()

    def put(self, name: str, values: NDArray[np.float32] | None) -> None:
        """Keep a tile (bands, rows, cols), NaN in gaps; None for one that holds no data."""
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
                f"{self.folder}: a tile cannot be written: {error.strerror}; make room, then --resume"
            ) from error

    def get(self, name: str) -> NDArray[np.float32]:
        """Return a tile, read from disk where it is looked at."""
        values: NDArray[np.float32] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return values

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


def identity(path: str) -> list[Any]:
    """Return what tells a file from another, or from itself after a change: its place, size and time."""
    file = split_variable(path)[0]
    try:
        parts = sorted(file.rglob("*")) if file.is_dir() else [file]
        stats = [part.stat() for part in parts if part.is_file()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return [str(file.absolute()), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]
