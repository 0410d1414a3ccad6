"""What coarser bands of the MSI are worth: an HSI with the finest bands alone, and with all, on scenes of a folder.

    python benchmarks/several.py DATA
    python benchmarks/several.py DATA --snr 40

Simulated from real scenes: bands of 10 m and of 20 m of Sentinel-2, or the panchromatic and the multispectral ones of
Landsat 8, each degraded by the modulation of its own pixels. PSNR / SAM of the fused HSI with the finest bands alone;
with the others interpolated (cubic) to their pixels, as readers of products do; with the others fused to them, as
`fuse HSI MSI1 MSI2 OUT` does; and with the others as if they had been measured with the finest pixels, which bounds
what can be gained. The table goes to benchmarks/results/several.md.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hyperfuse as hf
from hyperfuse.io.formats.stack import stack
from hyperfuse.methods import DEFAULT_METHOD
from recording import RESULTS, made_by
from scenes import read_enmap, read_remote


class Case(NamedTuple):
    """Pixels of HSI and of coarser bands per fine pixel, and the responses of the fine and of the coarser bands."""

    hsi: float
    coarse: float
    fine: str
    others: str


CASES = {
    "Sentinel-2, 30 m": Case(3, 2, "sentinel-2a:B2,B3,B4,B8", "sentinel-2a:B5,B6,B7,B8A,B11,B12"),
    "Sentinel-2, 60 m": Case(6, 2, "sentinel-2a:B2,B3,B4,B8", "sentinel-2a:B5,B6,B7,B8A,B11,B12"),
    "Landsat 8 PAN, 60 m": Case(4, 2, "landsat-8:PAN", "landsat-8:B2,B3,B4,B5,B6,B7"),
    "PAN of 1 to 4, x8": Case(8, 4, "landsat-8:PAN", "landsat-8:B2,B3,B4,B5"),
}
SCENES = ("jasper_ridge", "airborne_224", "samson", "enmap_potsdam")
# Modulation at the Nyquist frequency of the HSI and of the coarser bands.
_PSF = {"hsi": "mtf:0.25", "coarse": "mtf:0.3"}
_NEAR_INFRARED_NM = 1000.0


def read_scene(folder: Path, name: str, case: Case) -> hf.Cube:
    """Return a scene without empty bands, cut to whole pixels of all images."""
    scene = read_enmap(folder) if name == "enmap_potsdam" else read_remote(folder / "remote" / f"{name}.mat")
    whole = scene.usable_bands if scene.valid is None else scene.usable_bands & scene.valid.all(axis=(1, 2))
    side = math.lcm(int(case.hsi), int(case.coarse))
    rows, cols = scene.rows // side * side, scene.cols // side * side
    kept = scene.select_bands(whole).crop(0, 0, rows, cols)
    return hf.Cube(data=kept.data, wavelengths=kept.wavelengths, fwhm=kept.fwhm)


def images(scene: hf.Cube, case: Case, snr: float | None) -> tuple[hf.Pair, hf.Cube, hf.Cube]:
    """Return the HSI with the fine bands, the coarser bands as measured, and as if measured with fine pixels."""
    others = case.others
    if scene.wavelengths is not None and scene.wavelengths.max() < _NEAR_INFRARED_NM:
        others = others.replace(",B11,B12", "").replace(",B6,B7", "")
    noise = {"hsi_snr_db": snr, "msi_snr_db": snr}
    fine = hf.simulate(scene, ratio=case.hsi, srf=case.fine, psf=_PSF["hsi"], **noise)
    ideal = hf.simulate(scene, ratio=case.hsi, srf=others, psf=_PSF["hsi"], **noise, seed=1)
    clean = hf.simulate(scene, ratio=case.hsi, srf=others, psf=_PSF["hsi"]).msi
    coarse = hf.simulate(clean, ratio=case.coarse, srf="boxes:1", psf=_PSF["coarse"], hsi_snr_db=snr, seed=2).hsi
    return fine, coarse, ideal.msi


def scores(scene: hf.Cube, case: Case, method: str, snr: float | None) -> Iterator[tuple[str, dict[str, float]]]:
    """Give the scores of each way to use the coarser bands."""
    fine, coarse, ideal = images(scene, case, snr)
    bare = [hf.Cube(data=one.data, wavelengths=one.wavelengths) for one in (fine.msi, coarse, ideal)]
    blurred = hf.fuse(coarse, fine.msi, method="bicubic", psf=_PSF["coarse"])
    ways = {
        "finest alone": fine.msi,
        "interpolated": stack([bare[0], hf.Cube(data=blurred.data, wavelengths=coarse.wavelengths)], ["a", "b"]),
        "fused": [fine.msi, coarse],
        "measured fine": stack([bare[0], bare[2]], ["a", "b"]),
    }
    for way, msi in ways.items():
        fused = hf.fuse(fine.hsi, msi, method=method)
        yield way, hf.evaluate(hf.Cube(data=scene.data), hf.Cube(data=fused.data), ratio=case.hsi)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--snr", type=float, help="noise added to all images, in dB")
    parser.add_argument("--method", default=DEFAULT_METHOD)
    parser.add_argument("--scene", action="append", choices=SCENES)
    chosen = parser.parse_args()
    rows: list[dict[str, object]] = []
    ways: list[str] = []
    for name in chosen.scene or SCENES:
        for label, case in CASES.items():
            row: dict[str, object] = {"scene": name, "bands": label}
            for way, found in scores(read_scene(chosen.data, name, case), case, chosen.method, chosen.snr):
                row[way] = f"{found['psnr_db']:.2f} / {found['sam_degrees']:.2f}"
                ways = list(dict.fromkeys([*ways, way]))
            rows.append(row)
            print(row, flush=True)
    columns = ["scene", "bands", *ways]
    end = "" if chosen.snr is None else f"-{chosen.snr:g}db"
    call = f"python benchmarks/several.py DATA --method {chosen.method}"
    lines = [
        "# What coarser bands of the MSI are worth" + ("" if chosen.snr is None else f" at {chosen.snr:g} dB"),
        "",
        f"PSNR in dB / SAM in degrees of {chosen.method}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
        *("| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows),
        *made_by(call + ("" if chosen.snr is None else f" --snr {chosen.snr:g}"), os.environ["OMP_NUM_THREADS"]),
    ]
    (RESULTS / f"several{end}.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    main()
