"""What a known displacement of the HSI's pixels costs: `python benchmarks/displaced.py DATA [--scene paints]`.

The HSI of a CAVE scene is sampled at positions that a random field displaces; it is fused with that field, and without
any displacement. DATA is the folder that scenes.py describes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

import hyperfuse as hf
from scenes import read_cave

RATIO, LENGTH, SPACING = 4, 40.0, 10.0  # correlation length and control points in HSI pixels
AMPLITUDES = (0.3, 1.0, 2.0, 6.0)  # root mean square of either component, in HSI pixels
BORDER = 16  # MSI pixels


def random_field(shape: tuple[int, int], amplitude: float, seed: int) -> hf.Displacement:
    """Return a Gaussian random field over an HSI of ``shape``."""
    size = [int(np.ceil(length / SPACING)) + 5 for length in shape]
    noise = np.random.default_rng(seed).normal(size=(2, size[0] + 40, size[1] + 40))
    width = LENGTH / 2 / SPACING
    values = np.stack([ndimage.gaussian_filter(one, width, mode="wrap") for one in noise])[:, 20:-20, 20:-20]
    options = {"spacing": (SPACING, SPACING), "origin": (-2 * SPACING, -2 * SPACING)}
    seen = hf.Displacement(values, **options).at(np.arange(shape[0]), np.arange(shape[1]))
    values = (values - seen.mean((1, 2), keepdims=True)) / seen.std() * amplitude * RATIO
    return hf.Displacement(values, **options)


def psnr(truth: np.ndarray, fused: np.ndarray, border: int) -> float:
    """Return the mean PSNR over bands, without gaps and ``border`` pixels."""
    inner = (slice(None), *(slice(border, size - border) for size in truth.shape[1:]))
    error = np.nanmean((fused[inner] - truth[inner]) ** 2, axis=(1, 2))
    return float(np.mean(10 * np.log10(truth.max((1, 2)) ** 2 / error)))


def rows(cube: hf.Cube, method: str, settings: dict[str, str], seed: int) -> Sequence[str]:
    """Return a row of the table for every amplitude."""
    found, base = [], (0.0, 0.0, 1.0)
    for amplitude in (0.0, *AMPLITUDES):
        field = random_field((cube.rows // RATIO, cube.cols // RATIO), amplitude, seed) if amplitude else None
        pair = hf.simulate(cube, ratio=RATIO, srf="nikon-d700", displacement=field)
        start = time.process_time()
        fused = hf.fuse(pair.hsi, pair.msi, sensor=pair.sensor, method=method, settings=settings).data
        taken = time.process_time() - start
        whole, inner = psnr(pair.reference.data, fused, 0), psnr(pair.reference.data, fused, BORDER)
        if not amplitude:
            base = (whole, inner, taken)
        gaps = np.isnan(fused[0]).mean()
        name = " ".join([method, *settings.values()])
        found.append(
            f"| {name} | {amplitude:g} | {whole:.2f} | {whole - base[0]:+.2f} | {inner - base[1]:+.2f} | {gaps:.1%} |"
            f" {taken / base[2]:.2f} |"
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scene", default="paints")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    cube = read_cave(options.data, options.scene)
    print("| method | displacement, HSI pixels rms | PSNR, dB | loss | without a border of 16 pixels | gaps | time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for method, settings in (("local-regression", {}), ("feinfn", {"effort": "fast"}), ("feinfn", {})):
        print("\n".join(rows(cube, method, settings, options.seed)), flush=True)


if __name__ == "__main__":
    main()
