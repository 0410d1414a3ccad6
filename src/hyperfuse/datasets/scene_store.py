"""Scenes at hand for cutting patches: the latest in memory up to a bound, or all of them as mapped files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hyperfuse.datasets.scenes import Scenes
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.atomic import replacing


class SceneStore:
    """Gives the values of scenes, reading each as seldom as its bound allows.

    Args:
        scenes: where from.
        memory_bytes: how much the arrays kept may take together in this process; the one in use is always kept.
        scratch: a folder in which scenes are written as they are first read, and mapped from then on: all processes
            that hold a copy of the store share them. None: none is written. What was written goes with the store that
            was made first, not with its pickled copies.

    Raises:
        InputError: the scratch folder does not exist.
        HyperfuseError: nothing can be written there.
    """

    def __init__(self, scenes: Scenes, memory_bytes: int, scratch: Path | None = None) -> None:
        self.scenes = scenes
        self.memory_bytes = memory_bytes
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._files = None if scratch is None else _own_folder(scratch)
        if self._files is not None:
            weakref.finalize(self, _remove, self._files, os.getpid())

    def array(self, name: str) -> NDArray[np.float32]:
        """Return the values of a scene, float32 (bands, rows, cols), not to be written to.

        Raises:
            InputError: a damaged scene, or one with gaps, which a network cannot learn from.
            HyperfuseError: no space left in the scratch folder.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if self._files is not None:
            # Mapped, it takes no memory of its own: there is no need to let go of it.
            self._kept[name] = self._mapped(name, self._files)
            return self._kept[name]
        data = self._read(name)
        room = self.memory_bytes - data.nbytes
        while self._kept and sum(kept.nbytes for kept in self._kept.values()) > room:
            self._kept.popitem(last=False)
        self._kept[name] = data
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def _read(self, name: str) -> NDArray[np.float32]:
        cube = self.scenes.load(name)
        if cube.valid is not None:
            raise InputError(f"the scene {name} has gaps; patches to train on need a value everywhere")
        return cube.data.astype(np.float32, copy=False)

    def _mapped(self, name: str, folder: Path) -> NDArray[np.float32]:
        # By number: a scene may be called what no file can be.
        path = folder / f"{self.scenes.names.index(name)}.npy"
        if not path.exists():
            data = self._read(name)
            # Two workers may come here at once; the file is whole whichever is last.
            with replacing(path) as place, place.open("wb") as file:
                # numpy.save writes past Python's file and does not notice when the last of it finds no room.
                values = np.ascontiguousarray(data)
                npy_format.write_array_header_1_0(file, npy_format.header_data_from_array_1_0(values))
                file.write(values.data)
        mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return mapped


def _own_folder(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="hyperfuse-scenes-", dir=scratch))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise InputError(f"the scratch folder {scratch} does not exist") from error
        raise HyperfuseError(f"{scratch}: nothing can be written there: {error.strerror or error}") from error


def _remove(folder: Path, owner: int) -> None:
    # A forked worker that ends runs this too; the files are still its parent's.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
