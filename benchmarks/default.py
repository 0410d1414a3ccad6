"""The default method, fitted to each pair, beside every classical one, on the scenes of a data folder.

    python benchmarks/default.py DATA
    python benchmarks/default.py DATA --table cave-x4 --snr 30 --set steps=0

DATA holds the folders that benchmarks/scenes.py names. For every scene: PSNR, SAM, ERGAS and SSIM of `feinfn` with its
settings as they are, SAM without the darkest pixels (reference norm below 1 % of the largest), seconds, and of the
classical methods the highest PSNR and the lowest SAM. With --snr, white noise of that signal-to-noise ratio in dB is
added to each band of both images. Scores depend on the seed and, through rounding, on the machine; seconds on its load.
Every table goes to benchmarks/results/default-NAME.md.
"""
# ruff: noqa: E402  (the number of threads must be told before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hyperfuse as hf
from hyperfuse.datasets import load_indian_pines
from scenes import read_cave, read_enmap, read_paris, read_remote

Scene = tuple[str, hf.Pair]
METHOD = "feinfn"
_DARK = 0.01
# Wavelengths known or nominal: Sentinel-2A; else six runs of bands.
_REMOTE = {
    "jasper_ridge": "sentinel-2a",
    "samson": "boxes:6",
    "moffett": "boxes:6",
    "airborne_224": "sentinel-2a",
    "abu-beach-4": "boxes:6",
}


@dataclass(frozen=True)
class Table:
    """Scenes that are degraded alike."""

    conditions: str
    ratio: int
    scenes: Callable[[Path], Iterator[Scene]]


def cave(preset: str, ratio: int, names: tuple[str, ...]) -> Callable[[Path], Iterator[Scene]]:
    """Return a function that gives CAVE scenes with an RGB camera."""

    def scenes(folder: Path) -> Iterator[Scene]:
        for name in names:
            yield name, hf.simulate(read_cave(folder, name), ratio=ratio, preset=preset, srf="nikon-d700")

    return scenes


def remote_scenes(folder: Path) -> Iterator[Scene]:
    """Give airborne scenes and Indian Pines."""
    for name, srf in _REMOTE.items():
        yield name, hf.simulate(read_remote(folder / "remote" / f"{name}.mat"), ratio=4, preset="mtf", srf=srf)
    pines = load_indian_pines()
    data = np.clip(pines.data, 0, None)
    yield "indian_pines", hf.simulate(pines.replace(data=data / data.max()), ratio=4, preset="mtf", srf="sentinel-2a")


def enmap_scenes(folder: Path) -> Iterator[Scene]:
    """Give the EnMAP block."""
    yield "enmap_potsdam", hf.simulate(read_enmap(folder), ratio=4, preset="mtf", srf="sentinel-2a")


def paris_scenes(folder: Path) -> Iterator[Scene]:
    """Give Hyperion, reduced, with ALI's own image; no method is told its responses."""
    reference, msi = read_paris(folder)
    sensor = hf.create_sensor("mtf", 3)
    hsi = sensor.degrade(torch.from_numpy(reference.data)).numpy()
    yield "paris_hyperion_ali", hf.Pair(hf.Cube(data=hsi), msi, sensor, reference)


_FOUR = ("paints", "sponges", "fake_and_real_sushi", "balloons_half")
TABLES = {
    "cave-x4": Table("CAVE, preset `uestc`, ratio 4, Nikon D700.", 4, cave("uestc", 4, _FOUR)),
    "cave-x8": Table("CAVE, preset `uestc`, ratio 8, Nikon D700.", 8, cave("uestc", 8, _FOUR)),
    "dhif-x4": Table("CAVE, preset `dhif`, ratio 4, Nikon D700.", 4, cave("dhif", 4, _FOUR[:2])),
    "remote-x4": Table(
        "Preset `mtf`, ratio 4; MSI Sentinel-2A where wavelengths are known or nominal, else `boxes:6`.",
        4,
        remote_scenes,
    ),
    "enmap-x4": Table("EnMAP reflectance, preset `mtf`, ratio 4, Sentinel-2A.", 4, enmap_scenes),
    "paris-x3": Table("Hyperion reduced by 3 (`mtf`), ALI's own image, responses not told.", 3, paris_scenes),
}


def with_noise(pair: hf.Pair, snr_db: float, seed: int = 7) -> hf.Pair:
    """Add white noise to every band of both images."""
    rng = np.random.default_rng(seed)

    def noisy(cube: hf.Cube) -> hf.Cube:
        power = np.nanmean(np.where(np.isnan(cube.data), np.nan, cube.data) ** 2, axis=(1, 2), keepdims=True)
        deviation = np.sqrt(np.nan_to_num(power) / 10 ** (snr_db / 10))
        return cube.replace(data=(cube.data + rng.normal(size=cube.data.shape) * deviation).astype(np.float32))

    return hf.Pair(noisy(pair.hsi), noisy(pair.msi), pair.sensor, pair.reference)


def sam_without_dark(reference: hf.Cube, fused: hf.Cube) -> float:
    """Return the mean spectral angle where the reference is not dark, in degrees."""
    usable = reference.usable_bands
    top = fused.rows, fused.cols
    x = reference.data[usable][:, : top[0], : top[1]].reshape(usable.sum(), -1).astype(float)
    y = np.clip(fused.data[usable].reshape(usable.sum(), -1).astype(float), 0, 1 if x.max() <= 1 else None)
    norm = np.linalg.norm(x, axis=0)
    bright = (norm > _DARK * np.nanmax(norm)) & (np.linalg.norm(y, axis=0) > 0)
    cosine = (x * y).sum(0)[bright] / (norm * np.linalg.norm(y, axis=0))[bright]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def measure(name: str, pair: hf.Pair, ratio: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Run the default method and every classical one on a scene."""
    start = time.perf_counter()
    fused = hf.fuse(pair.hsi, pair.msi, method=METHOD, sensor=pair.sensor, settings=settings)
    seconds = time.perf_counter() - start
    row = {"scene": name, **hf.evaluate(pair.reference, fused, ratio), "seconds": seconds}
    row["sam_bright"] = sam_without_dark(pair.reference, fused)
    row["run"] = fused.history[-1].get("run", {})
    best_psnr, best_sam = (float("-inf"), ""), (float("inf"), "")
    for method in hf.list_methods():
        if method.cost != "seconds" or (method.capabilities.needs_srf and pair.sensor.srf is None):
            continue
        other = hf.evaluate(pair.reference, hf.fuse(pair.hsi, pair.msi, method=method.name, sensor=pair.sensor), ratio)
        best_psnr = max(best_psnr, (other["psnr_db"], method.name))
        best_sam = min(best_sam, (other["sam_degrees"], method.name))
    return {**row, "best_psnr": best_psnr, "best_sam": best_sam}


_HEAD = (
    "| scene | PSNR (dB) | SAM (degrees) | ERGAS | SSIM | SAM, not dark | steps, seconds | best classical PSNR "
    "| best classical SAM |",
    "|" + " --- |" * 9,
)


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    return (
        f"| {row['scene']} | {row['psnr_db']:.2f} | {row['sam_degrees']:.3f} | {row['ergas']:.3f} | {row['ssim']:.4f} "
        f"| {row['sam_bright']:.3f} | {row['run'].get('steps', 0)} ({row['run'].get('end', 'none')}), "
        f"{row['seconds']:.0f} s | {row['best_psnr'][0]:.2f} ({row['best_psnr'][1]}) "
        f"| {row['best_sam'][0]:.3f} ({row['best_sam'][1]}) |"
    )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="repeatable; all unless given")
    parser.add_argument("--snr", type=float, help="dB; no noise unless given")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of feinfn")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    settings = {name: json.loads(value) for name, value in (word.split("=") for word in options.set)}
    for name in options.table or TABLES:
        table, rows = TABLES[name], []
        for scene, pair in table.scenes(options.data):
            shown = pair if options.snr is None else with_noise(pair, options.snr)
            rows.append(measure(scene, shown, table.ratio, settings))
            print(name, line(rows[-1]), flush=True)
        means = " / ".join(
            format(np.mean([row[key] for row in rows]), form)
            for key, form in (("psnr_db", ".2f"), ("sam_degrees", ".3f"), ("ergas", ".3f"), ("ssim", ".4f"))
        )
        call = f"python benchmarks/default.py DATA --table {name}" + "".join(f" --set {word}" for word in options.set)
        noise = "" if options.snr is None else f" Noise of {options.snr:g} dB in each band of both images."
        call += "" if options.snr is None else f" --snr {options.snr:g}"
        lines = [f"# {METHOD}, the default: {name}", "", f"{table.conditions}{noise}", "", *_HEAD, *map(line, rows), ""]
        lines += [f"Mean: {means}.", "", f"hyperfuse {hf.__version__}, torch {torch.__version__}, "]
        lines[-1] += f"{os.environ['OMP_NUM_THREADS']} threads. Made by"
        suffix = "" if options.snr is None else f"-{options.snr:g}db"
        options.output.mkdir(parents=True, exist_ok=True)
        file = options.output / f"default-{name}{suffix}.md"
        file.write_text("\n".join([*lines, "", f"    {call}"]) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
