"""Packed scenes: a dataset in one small file, to take a training set to another machine.

A scene is reduced to its principal components; these are quantised in equal steps, decorrelated by an integer wavelet
transform (LeGall 5/3, lossless; Calderbank, Daubechies, Sweldens and Yeo, 1998) and compressed. Nothing but rounding is
lost: each component is wrong by at most half a step, hence each spectrum by at most ``step / 2 * sqrt(bands)``
(Euclidean), and the root mean square error is about ``step / sqrt(12)``. The file states both errors of each scene.
"""

from __future__ import annotations

import bz2
import io
import itertools
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.dataset import Dataset
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.progress import Progress, silent

_INDEX = "index.json"
_TRANSFORMS = 5  # of the wavelet transform, one after the other

Ints = NDArray[np.int32]


class PackedScene(BaseModel):
    """What a packed file states of a scene.

    Attributes:
        shape: (bands, rows, cols).
        step: of the quantiser, in units of the values.
        rms_error: root mean square difference from the scene that was packed.
        largest_error: largest absolute difference.
        wavelengths: centres in nm, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int, int]
    step: float
    rms_error: float
    largest_error: float
    wavelengths: tuple[float, ...] | None = None


class PackedIndex(BaseModel):
    """The index of a packed file: its scenes by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["hyperfuse-pack-2"] = "hyperfuse-pack-2"
    scenes: dict[str, PackedScene]


def write_packed(
    scenes: Iterable[tuple[str, Cube]],
    file: str | Path,
    *,
    error: float = 3e-4,
    count: int | None = None,
    progress: Progress = silent,
) -> PackedIndex:
    """Write scenes into one file, whole or not at all.

    Args:
        scenes: names and cubes without gaps, each read when its turn comes.
        file: to write; an existing one is replaced.
        error: root mean square error as a fraction of each scene's largest absolute value.
        count: number of scenes, for the progress.
        progress: called after each scene with the fraction done, where ``count`` is given.

    Raises:
        InputError: a scene with gaps or without any value but zero, no scene, or an error that is no small fraction.
    """
    if not 1e-6 <= error <= 0.1:
        raise InputError(f"the error is a fraction from 1e-6 to 0.1, got {error:g}", parameter="error")
    described: dict[str, PackedScene] = {}
    with replacing(Path(file)) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive:
        for name, cube in scenes:
            described[name] = _write_scene(archive, name, cube, error)
            progress(len(described) / count if count else 0.0, name)
        if not described:
            raise InputError("there is no scene to pack")
        index = PackedIndex(scenes=described)
        archive.writestr(_INDEX, index.model_dump_json())
    return index


def is_packed(path: Path) -> bool:
    """Return whether a path is a file of packed scenes."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _INDEX in archive.namelist()


def read_index(file: str | Path) -> PackedIndex:
    """Return what a packed file states of its scenes.

    Raises:
        InputError: no packed file, or a damaged one.
    """
    path = Path(file)
    return _index(path, path.stat().st_mtime_ns)


def read_packed(file: str | Path, name: str) -> Cube:
    """Return a scene of a packed file, float32.

    Raises:
        InputError: no packed file, a damaged one, or no such scene in it.
    """
    path = Path(file)
    scene = read_index(path).scenes.get(name)
    if scene is None:
        raise InputError(f"{path}: holds no scene {name!r}")
    bands, rows, cols = scene.shape
    with _damage(path), zipfile.ZipFile(path) as archive:
        basis, mean = (np.load(io.BytesIO(archive.read(f"{name}/{part}.npy"))) for part in ("basis", "mean"))
        scores = np.stack([_decode(archive.read(f"{name}/{k}"), (rows, cols)) for k in range(bands)])
        pixels = basis @ (scores.reshape(bands, -1) * np.float32(scene.step)) + mean[:, None]
        data = pixels.reshape(bands, rows, cols).astype(np.float32, copy=False)
    step = {"step": "read a packed scene", "file": path.name, "scene": name, "rms_error": scene.rms_error}
    return Cube(
        data=data,
        wavelengths=None if scene.wavelengths is None else np.array(scene.wavelengths),
        history=(step,),
    )


def of_packed(dataset: Dataset) -> Dataset:
    """Return a kind of dataset whose scenes are in a packed file in place of a folder."""
    return replace(
        dataset,
        layout=f"{dataset.layout}; or a file that `hyperfuse data pack` wrote",
        find=partial(_find, dataset),
        load=lambda path: read_packed(path.parent, path.name),
        shape=lambda path: read_index(path.parent).scenes[path.name].shape,
    )


def _find(dataset: Dataset, file: Path) -> dict[str, Path]:
    return {dataset.canonical(name): file / name for name in read_index(file).scenes}


@lru_cache(maxsize=4)
def _index(path: Path, changed: int) -> PackedIndex:
    with _damage(path), zipfile.ZipFile(path) as archive:
        return PackedIndex.model_validate_json(archive.read(_INDEX))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        stated = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:2])
        raise InputError(f"{path}: not a file of packed scenes of this version ({stated}); pack it again") from None
    except (OSError, EOFError, KeyError, ValueError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: the packed scenes cannot be read ({error}); copy or pack them again") from None


def _write_scene(archive: zipfile.ZipFile, name: str, cube: Cube, error: float) -> PackedScene:
    pixels = cube.data.reshape(cube.bands, -1).astype(np.float64)
    if cube.valid is not None:
        raise InputError(f"the scene {name} has gaps; a packed scene has a value everywhere")
    largest = float(np.abs(pixels).max(initial=0.0))
    if not largest:
        raise InputError(f"the scene {name} has no value but zero")
    step = error * largest * math.sqrt(12)
    mean = pixels.mean(axis=1)
    centred = pixels - mean[:, None]
    _, vectors = np.linalg.eigh(centred @ centred.T)
    basis, mean = vectors[:, ::-1].astype(np.float32), mean.astype(np.float32)
    scores = np.rint(basis.astype(np.float64).T @ (pixels - mean[:, None]) / step).astype(np.int32)
    for part, array in (("basis", basis), ("mean", mean)):
        stream = io.BytesIO()
        np.save(stream, array)
        archive.writestr(f"{name}/{part}.npy", stream.getvalue())
    for k, component in enumerate(scores.reshape(cube.data.shape)):
        archive.writestr(f"{name}/{k}", _encode(component))
    difference = basis @ (scores * np.float32(step)) + mean[:, None] - pixels
    return PackedScene(
        shape=(cube.bands, cube.rows, cube.cols),
        step=step,
        rms_error=float(np.sqrt((difference**2).mean())),
        largest_error=float(np.abs(difference).max()),
        wavelengths=None if cube.wavelengths is None else tuple(map(float, cube.wavelengths)),
    )


def _encode(component: Ints) -> bytes:
    parts, x = [], component
    for _ in range(_TRANSFORMS):
        low, high = _lift(x)
        (x, right), (below, corner) = (tuple(part.T for part in _lift(half.T)) for half in (low, high))
        parts += [right, below, corner]
    flat = np.concatenate([part.ravel() for part in (*parts, x)])
    # Small numbers of either sign as small numbers without one; low and high bytes apart.
    code = np.where(flat >= 0, 2 * flat, -2 * flat - 1).astype("<u4")
    return bz2.compress(np.ascontiguousarray(code.view(np.uint8).reshape(-1, 4).T).tobytes())


def _decode(packed: bytes, shape: tuple[int, int]) -> Ints:
    planes = np.frombuffer(bz2.decompress(packed), np.uint8).reshape(4, -1)
    code = np.ascontiguousarray(planes.T).view("<u4").ravel().astype(np.int64)
    flat = np.where(code & 1, -(code + 1) // 2, code // 2).astype(np.int32)
    sizes = [shape]
    for _ in range(_TRANSFORMS):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    parts, start = [], 0
    for (rows, cols), (low_rows, low_cols) in itertools.pairwise(sizes):
        high_rows, high_cols = rows - low_rows, cols - low_cols
        for size in ((low_rows, high_cols), (high_rows, low_cols), (high_rows, high_cols)):
            parts.append(flat[start : start + size[0] * size[1]].reshape(size))
            start += size[0] * size[1]
    x = flat[start:].reshape(sizes[-1])
    for k in reversed(range(_TRANSFORMS)):
        right, below, corner = parts[3 * k : 3 * k + 3]
        x = _unlift(_unlift(x.T, right.T).T, _unlift(below.T, corner.T).T)
    return x


def _lift(x: Ints) -> tuple[Ints, Ints]:
    """Split the rows of ``x`` into low and high frequencies."""
    low, high = x[0::2].copy(), x[1::2].copy()
    high -= _predicted(low, len(high))
    low += _update(high, len(low))
    return low, high


def _unlift(low: Ints, high: Ints) -> Ints:
    x = np.empty((len(low) + len(high), low.shape[1]), np.int32)
    even = low - _update(high, len(low))
    x[0::2], x[1::2] = even, high + _predicted(even, len(high))
    return x


def _predicted(low: Ints, count: int) -> Ints:
    following: Ints = np.concatenate([low[1:], low[-1:]])[:count]
    return (low[:count] + following) >> 1


def _update(high: Ints, count: int) -> Ints:
    if not len(high):
        return np.zeros((count, high.shape[1]), np.int32)
    above, below = (np.concatenate(parts)[:count] for parts in ([high[:1], high], [high, high[-1:]]))
    return (above + below + 2) >> 2
