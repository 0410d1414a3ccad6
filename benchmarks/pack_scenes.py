"""Pack scenes into one small file, to take a training set to a machine that has the package's core dependencies only.

    python benchmarks/pack_scenes.py DATA/cave scenes.pack --step 1.75e-3

A scene is reduced to its principal components, these are quantised in equal steps, decorrelated by an integer wavelet
transform (LeGall 5/3, lossless) and compressed. Nothing but the rounding is lost: each component is wrong by at most
half a step, hence each spectrum by at most ``step / 2 * sqrt(bands)`` (Euclidean), and the root mean square error is
about ``step / sqrt(12)``. The file states what it is for each scene. Reading (:func:`read_packed`) needs numpy alone.
"""

from __future__ import annotations

import argparse
import bz2
import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int32]]
FORMAT = "hyperfuse-pack-1"
LEVELS = 5  # of the wavelet transform


def read_packed(file: Path, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Return the scenes of a packed file by name, each (bands, rows, cols) float32."""
    scenes = {}
    with zipfile.ZipFile(file) as archive:
        index = json.loads(archive.read("index.json"))
        if index.get("format") != FORMAT:
            raise SystemExit(f"{file}: not a file of packed scenes")
        for name in names or list(index["scenes"]):
            bands, rows, cols = index["scenes"][name]["shape"]
            basis, mean = (np.load(io.BytesIO(archive.read(f"{name}/{part}.npy"))) for part in ("basis", "mean"))
            scores = np.stack([_decode(archive.read(f"{name}/{k}"), (rows, cols)) for k in range(bands)])
            cube = basis @ (scores.reshape(bands, -1) * np.float32(index["step"])) + mean[:, None]
            scenes[name] = cube.reshape(bands, rows, cols).astype(np.float32)
    return scenes


def index_of(file: Path) -> dict[str, object]:
    """Return what a packed file states: step, and shape and errors of each scene."""
    with zipfile.ZipFile(file) as archive:
        stated: dict[str, object] = json.loads(archive.read("index.json"))
    return stated


def pack(scenes: Iterator[tuple[str, np.ndarray]], file: Path, step: float) -> None:
    """Write scenes, each (bands, rows, cols), in steps of ``step``."""
    index: dict[str, dict[str, object]] = {}
    partial = file.with_name(file.name + ".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, cube in scenes:
            bands, rows, cols = cube.shape
            pixels = cube.reshape(bands, -1).astype(np.float64)
            mean = pixels.mean(1)
            _, vectors = np.linalg.eigh(np.cov(pixels))
            basis, mean = vectors[:, ::-1].astype(np.float32), mean.astype(np.float32)
            scores = np.rint(basis.astype(np.float64).T @ (pixels - mean[:, None]) / step).astype(np.int32)
            for part, array in (("basis", basis), ("mean", mean)):
                stream = io.BytesIO()
                np.save(stream, array)
                archive.writestr(f"{name}/{part}.npy", stream.getvalue())
            for k, component in enumerate(scores.reshape(bands, rows, cols)):
                archive.writestr(f"{name}/{k}", _encode(component))
            error = basis @ (scores * np.float32(step)) + mean[:, None] - pixels
            index[name] = {
                "shape": [bands, rows, cols],
                "rms_error": float(np.sqrt((error**2).mean())),
                "largest_error": float(np.abs(error).max()),
            }
            print(f"{name}: error {index[name]['rms_error']:.2e} rms, {index[name]['largest_error']:.2e} at most")
        archive.writestr("index.json", json.dumps({"format": FORMAT, "step": step, "scenes": index}))
    partial.replace(file)
    print(f"{file}: {len(index)} scenes, {file.stat().st_size / 1e6:.1f} MB")


def _encode(component: Ints) -> bytes:
    bands, x = [], component
    for _ in range(LEVELS):
        low, high = _lift(x)
        (x, right), (below, corner) = (tuple(part.T for part in _lift(half.T)) for half in (low, high))
        bands += [right, below, corner]
    flat = np.concatenate([band.ravel() for band in (*bands, x)])
    # Small numbers of either sign as small numbers without one; low and high bytes apart.
    code = np.where(flat >= 0, 2 * flat, -2 * flat - 1).astype("<u4")
    return bz2.compress(np.ascontiguousarray(code.view(np.uint8).reshape(-1, 4).T).tobytes())


def _decode(packed: bytes, shape: tuple[int, int]) -> Ints:
    planes = np.frombuffer(bz2.decompress(packed), np.uint8).reshape(4, -1)
    code = np.ascontiguousarray(planes.T).view("<u4").ravel().astype(np.int64)
    flat = np.where(code & 1, -(code + 1) // 2, code // 2).astype(np.int32)
    sizes = [shape]
    for _ in range(LEVELS):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    parts, start = [], 0
    for (rows, cols), (low_rows, low_cols) in itertools.pairwise(sizes):
        for size in (
            (low_rows, cols - low_cols),
            (rows - low_rows, low_cols),
            (rows - low_rows, cols - low_cols),
        ):
            parts.append(flat[start : start + size[0] * size[1]].reshape(size))
            start += size[0] * size[1]
    x = flat[start:].reshape(sizes[-1])
    for level in reversed(range(LEVELS)):
        right, below, corner = parts[3 * level : 3 * level + 3]
        x = _unlift(_unlift(x.T, right.T).T, _unlift(below.T, corner.T).T)
    return x


def _lift(x: Ints) -> tuple[Ints, Ints]:
    """Split the rows of ``x`` into low and high frequencies by LeGall 5/3 lifting (Calderbank et al. 1998)."""
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
    return (low[:count] + np.concatenate([low[1:], low[-1:]])[:count]) >> 1


def _update(high: Ints, count: int) -> Ints:
    above, below = (np.concatenate(parts)[:count] for parts in ([high[:1], high], [high, high[-1:]]))
    return (above + below + 2) >> 2


def _cave(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the scenes of a folder of JPEG 2000 files that hold the upper 12 of 16 bits, in [0, 1]."""
    import rasterio  # here alone: reading a packed file must not need it

    for file in sorted(folder.glob("*.jp2")):
        with rasterio.open(file) as source:
            yield file.stem, (source.read().astype(np.float64) * 16 + 8) / 65535


def main() -> None:
    """Parse and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of NAME.jp2, bands as components")
    parser.add_argument("file", type=Path)
    parser.add_argument("--step", type=float, default=1.75e-3, help="of the quantiser, in units of [0, 1]")
    args = parser.parse_args()
    pack(_cave(args.folder), args.file, args.step)


if __name__ == "__main__":
    main()
