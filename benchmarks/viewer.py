"""How fast `hyperfuse view` shows large files, and how much memory it takes.

    python benchmarks/viewer.py FOLDER [NAME...]

Files are made in FOLDER where they are missing (4 GB in all). Of each: seconds from the start of the command to its
address, to a whole picture of the image in three bands on a screen of 1280 x 800 pixels (or to the first part of one,
while a pyramid is built), seconds for a spectrum, megabytes that the process held at most. The cache of pyramids is
empty at first, and full in the second row of a file. On a busy machine the seconds of the processor, which are printed
after each, say more.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import rasterio

BANDS, BLOCK = 100, 512
SCREEN = (1280, 800)
# Rows and columns, order of the values, fraction of the blocks that hold data.
FILES = {
    "512": (512, "band", 1.0),
    "4096-band": (4096, "band", 1.0),
    "4096-pixel": (4096, "pixel", 1.0),
    "20000-sparse-band": (20_000, "band", 0.02),
    "20000-sparse-pixel": (20_000, "pixel", 0.02),
}


def make(path: Path, size: int, interleave: str, fraction: float) -> None:
    """Write a file of 16-bit integers in deflated tiles of 512 x 512 pixels, without overviews."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:BLOCK, :BLOCK] / BLOCK
    profile = {
        "driver": "GTiff", "dtype": "int16", "count": BANDS, "height": size, "width": size, "tiled": True,
        "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": interleave, "compress": "deflate", "zlevel": 1,
        "nodata": -32768, "sparse_ok": True, "bigtiff": "yes", "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5000000), "num_threads": 2,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for band in range(BANDS):
            target.update_tags(band + 1, wavelength=str(400 + 20 * band), wavelength_units="nm")
        for row in range(0, size, BLOCK):
            for col in range(0, size, BLOCK):
                if rng.random() >= fraction and (row, col) != (0, 0):
                    continue
                rows, cols = min(BLOCK, size - row), min(BLOCK, size - col)
                phase, noise = rng.random(2), rng.integers(0, 16, (rows, cols))
                base = 2000 + 1000 * np.sin(6 * (y + phase[0])) * np.cos(5 * (x + phase[1])) + row / 10 + col / 20
                spectrum = 1 + 0.3 * np.sin(np.arange(BANDS) / 12)
                values = spectrum[:, None, None] * base[None, :rows, :cols] + noise
                target.write(values.astype(np.int16), window=rasterio.windows.Window(col, row, cols, rows))


class Viewer:
    """A process of the command, asked as its page asks."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.start = time.perf_counter()
        environment = {**os.environ, "HYPERFUSE_CACHE": str(cache)}
        words = [sys.executable, "-m", "hyperfuse", "view", str(path), "--no-browser", "--quiet"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        self.url = self.process.stdout.readline().strip()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), urllib.request.ProxyHandler({}))
        self.opener.open(self.url).read()
        self.started = self.seconds()

    def seconds(self) -> float:
        """Return the seconds since the command was started."""
        return time.perf_counter() - self.start

    def get(self, name: str, **query: object) -> tuple[int, bytes]:
        """Return status and content of a reply."""
        base = self.url.partition("?")[0]
        with self.opener.open(f"{base}api/{name}?{urllib.parse.urlencode(query)}") as reply:
            return reply.status, reply.read()

    def json(self, name: str, **query: object) -> dict:
        """Return a reply."""
        return json.loads(self.get(name, **query)[1])

    def processor(self) -> float:
        """Return the seconds of processor time that the process has taken."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def peak_mb(self) -> float:
        """Return what the process held at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

    def close(self) -> float:
        """End the process as Ctrl-C does; return the seconds that it took."""
        begun = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait() == 0
        return time.perf_counter() - begun


def picture(viewer: Viewer, size: int) -> bool:
    """Ask for the tiles of the whole image; return whether all is known."""
    zoom = min(math.floor(math.log2(side / size)) for side in SCREEN)
    look = {"image": 0, "bands": "12,8,3"}
    limits = viewer.json("limits", **look)["limits"]
    tiles = range(-(-int(size * 2.0**zoom) // 256))
    whole = True
    for row in tiles:
        for col in tiles:
            text = ",".join(str(value) for pair in limits for value in pair)
            whole = viewer.get("tile", **look, zoom=zoom, col=col, row=row, limits=text)[0] == 200 and whole
    return whole


def measure(path: Path, size: int, cache: Path) -> dict[str, float]:
    """Return what is measured of one start of the viewer."""
    viewer = Viewer(path, cache)
    found = {"address": viewer.started, "address, processor": viewer.processor()}

    def timed(name: str, call: Callable[[], object]) -> object:
        begun, taken = time.perf_counter(), viewer.processor()
        value = call()
        found[name], found[f"{name}, processor"] = time.perf_counter() - begun, viewer.processor() - taken
        return value

    whole = bool(timed("first picture", lambda: picture(viewer, size)))
    for name, where in (("spectrum", 0.01), ("another", 0.015)):
        timed(name, lambda at=size * where: viewer.json("spectra", at=f"{at},{at}"))
    while not whole:
        time.sleep(0.5)
        if viewer.json("progress")["fraction"] >= 1:
            whole = picture(viewer, size)
    found["whole picture"], found["in all, processor"] = viewer.seconds() - viewer.started, viewer.processor()
    found["peak MB"] = viewer.peak_mb()
    found["end"] = viewer.close()
    return found


def main() -> None:
    """Measure the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(FILES)}; default: all")
    chosen = parser.parse_args()
    # Shells start what runs in the background with Ctrl-C ignored, which the viewer would then do as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or FILES:
        size, interleave, fraction = FILES[name]
        path = chosen.folder / f"{name}.tif"
        if not path.exists():
            scratch = path.with_suffix(".making.tif")
            make(scratch, size, interleave, fraction)
            scratch.rename(path)
        cache = Path(tempfile.mkdtemp(prefix="hyperfuse-view-", dir=chosen.folder))
        try:
            for turn in ("cold", "again"):
                found = measure(path, size, cache)
                print(name, turn, ", ".join(f"{key} {value:.2f}" for key, value in found.items()), flush=True)
        finally:
            shutil.rmtree(cache)


if __name__ == "__main__":
    main()
