"""What tiles cost in quality: real scenes fused whole and in tiles, and whether one can see where tiles meet.

    python benchmarks/tiles.py DATA
    python benchmarks/tiles.py DATA --method local-regression --tiles 16 --scene paints

DATA holds the folders that benchmarks/scenes.py names. Every scene is degraded, written to GeoTIFFs, fused whole and
from file to file in tiles. `seam`: the mean step of the error between the two columns (rows) on either side of a
border of tiles, over the mean of all such steps; 1 where a border is like any other place. Scores depend on the seed
and, through rounding, on the machine. The table goes to benchmarks/results/tiles.md.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hyperfuse as hf
from hyperfuse.metrics import evaluate
from hyperfuse.scenes.fuse import fuse_tiles
from recording import made_by
from scenes import read_cave, read_enmap, read_remote

METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "local-regression": ("local-regression", {}),
    "feinfn, linear part": ("feinfn", {"effort": "fast"}),
    "feinfn": ("feinfn", {}),
}


def cave(name: str) -> Callable[[Path], hf.Pair]:
    """Return a function that degrades a CAVE scene."""
    return lambda data: hf.simulate(read_cave(data, name), ratio=4, preset="uestc", srf="nikon-d700")


def remote(name: str, srf: str) -> Callable[[Path], hf.Pair]:
    """Return a function that degrades an airborne scene."""
    return lambda data: hf.simulate(read_remote(data / "remote" / f"{name}.mat"), ratio=4, preset="mtf", srf=srf)


def enmap(data: Path) -> hf.Pair:
    """Degrade the EnMAP block, without its empty bands."""
    cube = read_enmap(data)
    return hf.simulate(cube.select_bands(cube.usable_bands), ratio=4, preset="mtf", srf="sentinel-2a")


SCENES: dict[str, Callable[[Path], hf.Pair]] = {
    "paints": cave("paints"),
    "sponges": cave("sponges"),
    "balloons_half": cave("balloons_half"),
    "jasper_ridge": remote("jasper_ridge", "sentinel-2a"),
    "moffett": remote("moffett", "boxes:6"),
    "enmap_potsdam": enmap,
}


def seam(error: NDArray[np.float32], tile: int) -> float:
    """Return how much larger the steps of an error (bands, rows, cols) are where tiles meet than elsewhere."""
    at_borders, everywhere = [], []
    for axis in (1, 2):
        steps = np.abs(np.diff(error, axis=axis)).mean(axis=(0, 3 - axis))
        at_borders.extend(steps[tile - 1 :: tile])
        everywhere.extend(steps)
    return float(np.mean(at_borders) / np.mean(everywhere))


def measure(name: str, pair: hf.Pair, method: str, count: int) -> list[str]:
    """Return the row of a scene and a method."""
    rows, cols = pair.msi.rows, pair.msi.cols
    # Tiles are whole LR pixels, of about the same size.
    side = 4 * math.ceil(max(rows, cols) / math.isqrt(count) / 4)
    name_of_method, settings = METHODS[method]
    call: dict[str, Any] = {"sensor": pair.sensor, "method": name_of_method, "settings": settings}
    whole = hf.fuse(pair.hsi, pair.msi, **call)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for image, file in ((pair.hsi, "hsi.tif"), (pair.msi, "msi.tif")):
            hf.write(folder / file, image)
        files = (folder / "hsi.tif", folder / "msi.tif", folder / "out.tif")
        result = fuse_tiles(*files, **call, tile=side)
        tiled = hf.read(folder / "out.tif")
    scores = [evaluate(pair.reference, image, ratio=pair.sensor.mean_ratio) for image in (whole, tiled)]
    seams = [seam(image.data - pair.reference.data, side) for image in (whole, tiled)]
    psnr, sam = ([score[key] for score in scores] for key in ("psnr_db", "sam_degrees"))
    return [
        name,
        f"{rows} x {cols} x {pair.hsi.bands}",
        method,
        f"{result.windows[0]} of {side}",
        f"{psnr[0]:.2f} / {sam[0]:.3f}",
        f"{psnr[1]:.2f} / {sam[1]:.3f}",
        f"{psnr[1] - psnr[0]:+.2f}",
        f"{seams[0]:.2f}, {seams[1]:.2f}",
    ]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--method", action="append", choices=list(METHODS), help="repeatable; default: all")
    parser.add_argument("--scene", action="append", choices=list(SCENES), help="repeatable; all unless given")
    parser.add_argument("--tiles", type=int, default=4, help="about how many, a square number")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tiles.md")
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    head = ["scene", "size", "method", "tiles", "whole, dB / degrees", "tiles", "gained, dB", "seam: whole, tiles"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    print("\n".join(lines), flush=True)
    for name in asked.scene or SCENES:
        pair = SCENES[name](asked.data)
        for method in asked.method or METHODS:
            lines.append(f"| {' | '.join(measure(name, pair, method, asked.tiles))} |")
            print(lines[-1], flush=True)
    title = "# Real scenes fused whole and in tiles\n\nRatio 4; CAVE by preset `uestc`, the others by `mtf`.\n\n"
    lines += made_by("python benchmarks/tiles.py DATA", os.environ["OMP_NUM_THREADS"])
    asked.out.write_text(title + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
