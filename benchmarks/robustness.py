"""The default method against its own linear part and `local-regression`, under everything that data may be like.

    python benchmarks/robustness.py DATA
    python benchmarks/robustness.py DATA --scene moffett --case "noise 20 dB"

DATA holds the folders that benchmarks/scenes.py names; of CAVE scenes a part of 128 x 128 pixels serves. Every case
changes the pair of a scene: its noise, ratio, bands, size, unit, or some of its pixels. PSNR is the mean over bands,
with the reference's range as peak, without pixels near those that were changed. What was measured at the present
commit of the source is not measured again, so an interrupted call continues. The table goes to
benchmarks/results/robustness.md, its numbers to robustness.json.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

import hyperfuse as hf
from large import World
from recording import made_by, source
from scenes import read_cave, read_enmap, read_remote

RATIO = 4
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    # Features that ship were trained on some of these scenes.
    "default": ("feinfn", {"features": None}),
    "linear part": ("feinfn", {"effort": "fast"}),
    "local-regression": ("local-regression", {}),
}
ALLOWED_DB = 0.05  # by which the default may fall below another
ROUNDING_DB = 80.0  # above, rounding is compared: counted as this
_BORDER = 3  # LR pixels that are cut off
_SEED = 7


@dataclass(frozen=True)
class Scene:
    """A reference, and how it is degraded."""

    reference: hf.Cube
    preset: str
    srf: str

    def pair(self, ratio: float = RATIO, srf: str | None = None) -> hf.Pair:
        """Degrade it."""
        preset = self.preset if ratio == int(ratio) else "mtf"
        return hf.simulate(self.reference, ratio=ratio, preset=preset, srf=srf or self.srf)


@dataclass(frozen=True)
class Case:
    """A pair, and the pixels (rows, cols) of its reference that count; None for all."""

    pair: hf.Pair
    counts: NDArray[np.bool_] | None = None


def cave(name: str, row: int, col: int) -> Callable[[Path], Scene]:
    """Return a function that reads a part of a CAVE scene."""

    def read(data: Path) -> Scene:
        cube = read_cave(data, name)
        part = cube.data[:, row : row + 128, col : col + 128]
        return Scene(hf.Cube(data=part, wavelengths=cube.wavelengths), "uestc", "nikon-d700")

    return read


def remote(name: str, srf: str) -> Callable[[Path], Scene]:
    """Return a function that reads an airborne scene."""
    return lambda data: Scene(read_remote(data / "remote" / f"{name}.mat"), "mtf", srf)


def enmap(data: Path) -> Scene:
    """Read the EnMAP block without its empty bands."""
    cube = read_enmap(data)
    return Scene(cube.select_bands(cube.usable_bands), "mtf", "sentinel-2a")


def synthetic(_: Path) -> Scene:
    """Make textures of six materials: an MSI explains them all."""
    return Scene(hf.Cube(data=World(120, 10).truth(0, 0, 256, 256)), "mtf", "boxes:10")


SCENES: dict[str, Callable[[Path], Scene]] = {
    "paints": cave("paints", 192, 192),
    "fake_and_real_sushi": cave("fake_and_real_sushi", 192, 192),
    "jasper_ridge": remote("jasper_ridge", "sentinel-2a"),
    "samson": remote("samson", "boxes:6"),
    "moffett": remote("moffett", "boxes:6"),
    "airborne_224": remote("airborne_224", "sentinel-2a"),
    "abu-beach-4": remote("abu-beach-4", "boxes:6"),
    "enmap_potsdam": enmap,
    "synthetic": synthetic,
}


def noisy(snr_db: float) -> Callable[[Scene], Case]:
    """Return a function that adds white noise to every band of both images."""

    def case(scene: Scene) -> Case:
        rng, pair = np.random.default_rng(_SEED), scene.pair()

        def add(cube: hf.Cube) -> hf.Cube:
            deviation = np.sqrt((cube.data**2).mean(axis=(1, 2), keepdims=True) / 10 ** (snr_db / 10))
            return cube.replace(data=(cube.data + rng.normal(size=cube.data.shape) * deviation).astype(np.float32))

        return Case(hf.Pair(add(pair.hsi), add(pair.msi), pair.sensor, pair.reference))

    return case


def at_ratio(ratio: float) -> Callable[[Scene], Case]:
    """Return a function that degrades by another ratio."""
    return lambda scene: Case(scene.pair(ratio))


def bands(count: int) -> Callable[[Scene], Case]:
    """Return a function that gives the MSI so many bands; one is panchromatic."""
    return lambda scene: Case(scene.pair(srf=f"boxes:{count}"))


def small(side: int) -> Callable[[Scene], Case]:
    """Return a function that cuts the scene to few LR pixels before it is degraded."""

    def case(scene: Scene) -> Case:
        data = scene.reference.data[:, : side * RATIO, : side * RATIO]
        return Case(replace(scene, reference=scene.reference.replace(data=np.ascontiguousarray(data))).pair())

    return case


def cut(scene: Scene) -> Case:
    """Cut the border off a pair: its HSI then holds light from beyond the image, as that of every measured pair."""
    pair = scene.pair()

    def inner(cube: hf.Cube, border: int) -> hf.Cube:
        data = cube.data[:, border:-border, border:-border]
        return hf.Cube(data=np.ascontiguousarray(data), wavelengths=cube.wavelengths)

    images = inner(pair.hsi, _BORDER), inner(pair.msi, _BORDER * RATIO)
    return Case(hf.Pair(*images, pair.sensor, inner(pair.reference, _BORDER * RATIO)))


def in_unit(gain: float, offset: float) -> Callable[[Scene], Case]:
    """Return a function that gives all values another unit."""

    def case(scene: Scene) -> Case:
        reference = scene.reference.replace(data=gain * scene.reference.data + offset)
        return Case(replace(scene, reference=reference).pair())

    return case


def changed(of_hsi: bool, change: Callable[[NDArray[np.float32]], NDArray[np.bool_]]) -> Callable[[Scene], Case]:
    """Return a function that changes pixels of an image (bands, rows, cols) in place, of which it returns a mask."""

    def case(scene: Scene) -> Case:
        pair = scene.pair()
        cube = pair.hsi if of_hsi else pair.msi
        data = cube.data.copy()
        mask = change(data)
        rows, cols = pair.reference.shape[1:]
        if of_hsi:
            mask = mask.repeat(RATIO, 0).repeat(RATIO, 1)
        # Where pixels are scattered, only they are left out; a region reaches as far as the PSF.
        if mask.mean() > 0.01 or of_hsi:
            mask = binary_dilation(mask, iterations=2 * RATIO)
        image = cube.replace(data=data, valid=np.isfinite(data))
        hsi, msi = (image, pair.msi) if of_hsi else (pair.hsi, image)
        return Case(hf.Pair(hsi, msi, pair.sensor, pair.reference), ~mask[:rows, :cols])

    return case


def outliers(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Replace 1 % of the pixels by values of any size up to the double of the highest."""
    rng = np.random.default_rng(_SEED)
    mask = rng.random(data.shape[1:]) < 0.01
    data[:, mask] = 2 * data.max() * rng.random((len(data), mask.sum()))
    return np.asarray(mask)


def gap(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Empty a block."""
    mask = block(data.shape[1:])
    data[:, mask] = np.nan
    return mask


def cloud(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Brighten a block to the highest value, with a soft border."""
    rows, cols = data.shape[1:]
    mask = block((rows, cols))
    y, x = np.mgrid[:rows, :cols]
    centre = [np.mean(np.nonzero(mask)[axis]) for axis in (0, 1)]
    cover = np.exp(-(((y - centre[0]) / (rows / 10)) ** 2 + ((x - centre[1]) / (cols / 10)) ** 2))
    data[:] = (1 - cover) * data + cover * data.max()
    return np.asarray(cover > 0.003)


def saturated(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Cut the highest 2 % of every band off."""
    top = np.quantile(data, 0.98, axis=(1, 2), keepdims=True)
    mask = (data > top).any(axis=0)
    np.minimum(data, top, out=data)
    return np.asarray(mask)


def block(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a block of a fifth of the rows and columns."""
    mask = np.zeros(shape, bool)
    mask[shape[0] // 4 : shape[0] // 4 + shape[0] // 5, shape[1] // 4 : shape[1] // 4 + shape[1] // 5] = True
    return mask


CASES: Mapping[str, Callable[[Scene], Case]] = {
    "as it is": lambda scene: Case(scene.pair()),
    **{f"noise {snr} dB": noisy(snr) for snr in (40, 30, 20)},
    **{f"ratio {ratio}": at_ratio(ratio) for ratio in (1.5, 2, 3, 6, 8, 12)},
    **{f"MSI of {count}": bands(count) for count in (1, 2, 3, 6, 13)},
    **{f"HSI of {side} x {side}": small(side) for side in (20, 10, 7)},
    "cut from a larger pair": cut,
    "values times 10,000": in_unit(1e4, 0.0),
    "values less 0.2": in_unit(1.0, -0.2),
    "1 % outliers in the MSI": changed(False, outliers),
    "1 % outliers in the HSI": changed(True, outliers),
    "gap in the MSI": changed(False, gap),
    "gap in the HSI": changed(True, gap),
    "cloud in the MSI": changed(False, cloud),
    "cloud in the HSI": changed(True, cloud),
    "saturated MSI": changed(False, saturated),
}


def psnr(reference: hf.Cube, fused: hf.Cube, counts: NDArray[np.bool_] | None) -> float:
    """Return the mean over bands, with the highest value of the reference as peak."""
    truth = reference.data[:, : fused.rows, : fused.cols].astype(float)
    squared = (fused.data - truth) ** 2
    squared = squared.reshape(len(squared), -1) if counts is None else squared[:, counts[: fused.rows, : fused.cols]]
    error = np.maximum(np.nanmean(squared, axis=1), 1e-30)
    return float(np.mean(10 * np.log10((truth.max() - min(truth.min(), 0.0)) ** 2 / error)))


def measure(case: Case) -> dict[str, float]:
    """Return the PSNR of every method."""
    found = {}
    for title, (method, settings) in METHODS.items():
        fused = hf.fuse(case.pair.hsi, case.pair.msi, method=method, sensor=case.pair.sensor, settings=settings)
        found[title] = round(psnr(case.pair.reference, fused, case.counts), 4)
    return found


def rows(known: Mapping[str, dict[str, Any]], cases: list[str]) -> list[str]:
    """Return a row for every case: how far the default is above the others, and where it is least."""
    lines = []
    for case in cases:
        cells = [case, str(sum(case in row for row in known.values()))]
        for other in list(METHODS)[1:]:
            gained = {
                scene: min(row[case]["default"], ROUNDING_DB) - min(row[case][other], ROUNDING_DB)
                for scene, row in known.items()
                if case in row
            }
            least = min(gained, key=lambda scene: gained[scene])
            cells += [f"{np.mean(list(gained.values())):+.2f}", f"{gained[least]:+.2f} ({least})"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--scene", action="append", choices=list(SCENES), help="repeatable; default: all")
    parser.add_argument("--case", action="append", choices=list(CASES), help="repeatable; default: all")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    stored, present = asked.output / "robustness.json", source()
    known: dict[str, dict[str, Any]] = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    for name in asked.scene or SCENES:
        scene, row = SCENES[name](asked.data), known.setdefault(name, {})
        for case in asked.case or CASES:
            if row.get(case, {}).get("source") == present and "changes" not in present:
                continue
            row[case] = {**measure(CASES[case](scene)), "source": present}
            stored.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
            default, *others = (min(row[case][method], ROUNDING_DB) for method in METHODS)
            below = default - max(others)
            print(name, case, row[case], "BELOW" if below < -ALLOWED_DB else "", flush=True)
    head = [
        "case",
        "scenes",
        "gained over the linear part, mean (dB)",
        "least",
        "over `local-regression`, mean (dB)",
        "least",
    ]
    measured = [case for case in CASES if any(case in row for row in known.values())]
    scenes = ", ".join(name for name, row in known.items() if row)
    lines = ["# The default method under everything that data may be like", "", f"Scenes: {scenes}.", ""]
    lines[2] += (
        f" PSNR above {ROUNDING_DB:g} dB counts as {ROUNDING_DB:g}; numbers of every scene are in robustness.json."
    )
    lines += [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *rows(known, measured)]
    for one in sorted({values["source"] for row in known.values() for values in row.values()} - {present}):
        earlier = [case for case in measured if any(row.get(case, {}).get("source") == one for row in known.values())]
        lines += ["", f"Measured at {one}: {', '.join(earlier)}."]
    lines += made_by("python benchmarks/robustness.py DATA", os.environ["OMP_NUM_THREADS"])
    (asked.output / "robustness.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
