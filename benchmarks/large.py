"""Peak memory and wall time of scenes larger than memory, fused in tiles.

Two jobs, made on the fly on disk by a function of the coordinates, so that any window has its reference:

- ``dense``: an MSI of SIZE x SIZE x 10 with an HSI of 200 bands at a ratio of 4;
- ``sparse``: SIZE x SIZE, of which 1 % holds data, in GeoTIFFs that leave empty blocks out.

    python benchmarks/large.py dense --size 4000 --workers 1 2 --folder /scratch
    python benchmarks/large.py all --folder /scratch --record benchmarks/results/large.md

Memory is that of the process and its children together, sampled every half second: their proportional set size (PSS),
in which a page that several share counts once. ``--whole`` fuses the scene in one piece as well, where memory allows,
and with ``feinfn`` by its linear part alone. ``all`` does the jobs of benchmarks/results/large.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window

from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from recording import made_by

RATIO, MATERIALS = 4, 6
BLOCK = 256  # HR pixels, in which data come and go
HALO = 4  # LR pixels around a window for the PSF
FILLED = 10  # one block of FILLED x FILLED holds data: 1 %


class World:
    """A scene as a function of the coordinates: textures of six materials, their spectra, and noise."""

    def __init__(self, bands: int, msi_bands: int) -> None:
        rng = np.random.default_rng(0)
        knots = rng.random((MATERIALS, 8))
        place = np.linspace(0, 7, bands)
        self.spectra = np.stack([np.interp(place, np.arange(8), row) for row in knots]).T * 0.5
        edges = np.linspace(0, bands, msi_bands + 1).astype(int)
        self.response = np.stack([self.spectra[a:b].mean(0) for a, b in itertools.pairwise(edges)])
        self.waves = rng.uniform(-1, 1, (MATERIALS, 12, 2)) * np.geomspace(0.01, 1.2, 12)[:, None]
        self.phases = rng.uniform(0, 2 * np.pi, (MATERIALS, 12))

    def abundances(self, row: int, col: int, rows: int, cols: int) -> NDArray[np.float32]:
        """Return the share of each material in a window of HR pixels, (materials, rows, cols)."""
        y, x = np.arange(row, row + rows, dtype=np.float64), np.arange(col, col + cols, dtype=np.float64)
        level = np.zeros((MATERIALS, rows, cols), np.float32)
        for k in range(MATERIALS):
            for (wy, wx), phase in zip(self.waves[k], self.phases[k], strict=True):
                # cos(a + b) of separable parts: two outer products instead of a cosine a pixel.
                a, b = wy * y + phase, wx * x
                level[k] += np.outer(np.cos(a), np.cos(b)) - np.outer(np.sin(a), np.sin(b))
        shares = np.exp(1.5 * level / math.sqrt(6))
        return np.asarray(shares / shares.sum(0), np.float32)

    def truth(self, row: int, col: int, rows: int, cols: int) -> NDArray[np.float32]:
        """Return the reference in a window, (bands, rows, cols)."""
        whole = np.einsum("bk,krc->brc", self.spectra, self.abundances(row, col, rows, cols))
        return np.asarray(whole, np.float32)


def windows(size: int, sparse: bool) -> Iterator[tuple[int, int, int, int]]:
    """Return the windows of HR pixels that hold data."""
    for row in range(0, size, BLOCK):
        for col in range(0, size, BLOCK):
            if not sparse or (row // BLOCK % FILLED == 3 and col // BLOCK % FILLED == 5):
                yield row, col, min(BLOCK, size - row), min(BLOCK, size - col)


def make(folder: Path, world: World, size: int, sensor: Sensor, sparse: bool) -> tuple[Path, Path]:
    """Write HSI and MSI, window by window."""
    rng = np.random.default_rng(1)
    common = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32633", "tiled": True, "sparse_ok": True,
              "bigtiff": "YES", "nodata": -1.0 if sparse else None}  # fmt: skip
    low, high = folder / "hsi.tif", folder / "msi.tif"
    small = size // RATIO
    with (
        rasterio.Env(GDAL_CACHEMAX=128),
        rasterio.open(low, "w", count=len(world.spectra), height=small, width=small, blockxsize=64, blockysize=64,
                      transform=Affine(40, 0, 5e5, 0, -40, 4e6), **common) as hsi,
        rasterio.open(high, "w", count=len(world.response), height=size, width=size, blockxsize=BLOCK,
                      blockysize=BLOCK, transform=Affine(10, 0, 5e5, 0, -10, 4e6), **common) as msi,
    ):  # fmt: skip
        for row, col, rows, cols in windows(size, sparse):
            halo = HALO * RATIO
            wide = world.abundances(row - halo, col - halo, rows + 2 * halo, cols + 2 * halo)
            inner = wide[:, halo : halo + rows, halo : halo + cols]
            image = np.einsum("mk,krc->mrc", world.response, inner)
            image += rng.normal(0, 0.001, image.shape)
            msi.write(image.astype(np.float32), window=Window(col, row, cols, rows))
            coarse = sensor.degrade(torch.from_numpy(wide)).numpy()[:, HALO:-HALO, HALO:-HALO]
            spectra = np.einsum("bk,krc->brc", world.spectra, coarse)
            spectra += rng.normal(0, 0.001, spectra.shape)
            place = Window(col // RATIO, row // RATIO, cols // RATIO, rows // RATIO)
            hsi.write(spectra.astype(np.float32), window=place)
    return low, high


class Watch:
    """Peak memory and CPU time of a process and all its descendants, as seen each time it looks."""

    def __init__(self, root: int) -> None:
        self.root, self.peak = root, 0
        self._spent: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        """CPU time of all processes that have been seen."""
        return sum(self._spent.values())

    def look(self) -> None:
        """Add up what the processes hold, shared pages once, and what they have computed."""
        parents: dict[int, int] = {}
        spent: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                parents[int(entry.name)] = int(fields[1])
                spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in parents:
            at = pid
            while at not in (self.root, 0, 1) and at in parents:
                at = parents[at]
            if at == self.root:
                self._spent[pid] = spent[pid]
                try:
                    lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
                except OSError:
                    continue
                total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        self.peak = max(self.peak, total)


def job(
    queue: multiprocessing.Queue[tuple[int, int, int]], files: tuple[Path, Path], out: Path, options: dict[str, object]
) -> None:
    """Fuse, in a process of its own that has held no other data."""
    torch.set_num_threads(int(options.pop("threads")))  # type: ignore[call-overload]
    result = fuse_tiles(*files, out, **options)  # type: ignore[arg-type]
    whole = max(result.image.rows, result.image.cols)
    queue.put((*result.windows, result.image.history[-1].get("tiles", {"tile": whole})["tile"]))


def measure(
    files: tuple[Path, Path], out: Path, options: dict[str, object]
) -> tuple[float, float, float, tuple[int, int, int]]:
    """Return wall and CPU time in s, peak memory in GB, and how many tiles there are, hold data, and their side."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=job, args=(queue, files, out, options))
    start = time.monotonic()
    process.start()
    watch = Watch(process.pid or 0)
    while process.is_alive():
        watch.look()
        time.sleep(0.5)  # adding up pages takes a while itself
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"the job ended with {process.exitcode}")
    return time.monotonic() - start, watch.seconds, watch.peak / 1e9, queue.get()


def score(out: Path, world: World, size: int, sparse: bool) -> float:
    """Return the PSNR in dB (peak 1) over sixteen windows."""
    chosen = list(windows(size, sparse))
    total, count = 0.0, 0
    with rasterio.open(out) as image:
        for row, col, rows, cols in chosen[:: max(1, len(chosen) // 16)]:
            error = image.read(window=Window(col, row, cols, rows)) - world.truth(row, col, rows, cols)
            total, count = total + float(np.square(error, dtype=np.float64).sum()), count + error.size
    return -10 * math.log10(total / count)


# Kind, size, workers, method, and whether the scene is fused whole too.
ALL = (
    ("sparse", 20000, [1, 2], "local-regression", False),
    ("dense", 4000, [1, 2], "local-regression", False),
)


def main() -> None:
    """Run one of the jobs, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("dense", "sparse", "all"))
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--bands", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--method", default="local-regression")
    parser.add_argument("--tile", type=int)
    parser.add_argument("--memory", type=float, default=2.0, help="GB for all processes together")
    parser.add_argument("--whole", action="store_true", help="fuse in one piece as well")
    parser.add_argument("--record", type=Path, help="file to write the tables to")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    asked = parser.parse_args()
    if asked.record is not None:
        asked.record.unlink(missing_ok=True)
    tell(["# Scenes larger than memory", ""], asked.record)
    if asked.kind != "all":
        fuse_scene(asked)
    for kind, size, workers, method, whole in ALL if asked.kind == "all" else ():
        job = {"kind": kind, "size": size, "workers": workers, "method": method, "whole": whole}
        fuse_scene(argparse.Namespace(**{**vars(asked), **job}))
    call = f"python benchmarks/large.py {asked.kind}"
    if asked.kind != "all":
        given = {"bands": asked.bands, "threads": asked.threads, "method": asked.method, "memory": asked.memory}
        call += f" --size {asked.size} --workers {' '.join(map(str, asked.workers))}"
        call += "".join(f" --{name} {value}" for name, value in given.items() if value != parser.get_default(name))
        call += " --whole" if asked.whole else ""
    tell(made_by(call, asked.threads)[1:], asked.record)


def fuse_scene(asked: argparse.Namespace) -> None:
    """Make a scene, fuse it, and report."""
    if asked.size % RATIO:
        raise SystemExit(f"--size is a multiple of {RATIO}")
    sensor, world, sparse = mtf(RATIO), World(asked.bands, 10), asked.kind == "sparse"
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch)
        files = make(folder, world, asked.size, sensor, sparse)
        size = sum(file.stat().st_blocks * 512 for file in files) / 1e9
        title = (
            f"{asked.kind}, {asked.size} x {asked.size} x 10 with {asked.bands} bands, {asked.method}: {size:.2f} GB in"
        )
        head = "| workers | wall, s | CPU, s | peak memory, GB | tiles | of them fused | tile | out, GB | PSNR, dB |"
        tell([title, "", head, "| --- " * 9 + "|"], asked.record)
        for workers in asked.workers:
            out = folder / f"out-{workers}.tif"
            options = {"sensor": sensor, "method": asked.method, "workers": workers, "tile": asked.tile}
            # Neither sparse blocks nor noise gain by compression, which would hide the time of the tiles.
            options |= {"compress": "none", "memory_gb": asked.memory, "threads": asked.threads * workers}
            seconds, computed, peak, (tiles, fused, side) = measure(files, out, options)
            written = out.stat().st_blocks * 512 / 1e9
            quality = score(out, world, asked.size, sparse)
            row = [
                workers,
                f"{seconds:.0f}",
                f"{computed:.0f}",
                f"{peak:.2f}",
                tiles,
                fused,
                side,
                f"{written:.2f}",
                f"{quality:.2f}",
            ]
            tell([f"| {' | '.join(map(str, row))} |"], asked.record)
            out.unlink()
        if asked.whole:
            efforts = {"": {}, ", the linear part alone": {"effort": "fast"}} if asked.method == "feinfn" else {"": {}}
            for title, settings in efforts.items():
                whole = fuse(read(files[0]), read(files[1]), sensor=sensor, method=asked.method, settings=settings)
                write(folder / "whole.tif", whole, overwrite=True)
                quality = score(folder / "whole.tif", world, asked.size, sparse)
                tell(["", f"Fused whole{title}: {quality:.2f} dB."], asked.record)
    tell([""], asked.record)


def tell(lines: list[str], record: Path | None) -> None:
    """Print lines, and append them to the record."""
    print("\n".join(lines), flush=True)
    if record is not None:
        with record.open("a") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
