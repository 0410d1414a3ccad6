"""What each part of the default method is worth, on the scenes of a data folder.

    python benchmarks/ablation.py DATA
    python benchmarks/ablation.py DATA --snr 30

PSNR / SAM after consistency is enforced: local regression alone; the same on the denoised MSI and the signal's
components, with models over similar pixels where those are used; plus the PSF of each band; plus models of the
residual; plus detail injection; plus FeINFN in its spatial form, with both branches, and a spatial one twice as wide,
each fitted with as many steps. The table goes to benchmarks/results/ablation.md.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hyperfuse as hf
from default import TABLES, with_noise
from hyperfuse.methods import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearModel
from hyperfuse.methods.local_linear.consistency import enforce_consistency
from hyperfuse.progress import silent
from recording import made_by

SCENES = {
    "cave-x4": ("paints", "balloons_half"),
    "cave-x8": ("balloons_half",),
    "remote-x4": ("jasper_ridge", "samson", "abu-beach-4"),
    "enmap-x4": ("enmap_potsdam",),
    "paris-x3": ("paris_hyperion_ali",),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "FeINFN, spatial": {},
    "FeINFN, both branches": {"domains": "both"},
    "FeINFN, width 64": {"width": 64},
}


def variants(pair: hf.Pair, steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give the image that each set of parts makes."""
    usable = pair.hsi.usable_bands
    hsi = torch.from_numpy(np.nan_to_num(pair.hsi.data[usable])).float()
    msi = torch.from_numpy(np.nan_to_num(pair.msi.data)).float()
    sensor = pair.sensor.replace(srf=None)
    yield "local regression", hf.get_method("local-regression")(hsi, msi, sensor).numpy()
    model, linear = LinearModel.fit([PairTensors(hsi, msi, sensor)], silent)
    assert linear is not None
    raw = linear.fitted.apply()
    plain = replace(linear, model=replace(model, injection=None))
    parts = {
        "+ noise, similar pixels": raw,
        "+ PSF per band": model.band_psf.correct(raw),
        "+ residual": plain.without(torch.zeros(hsi.shape[-2:], dtype=torch.bool)),
        "+ detail injection": linear.image,
    }
    for name, image in parts.items():
        yield name, enforce_consistency(image, hsi, sensor).numpy()
    method = hf.get_method("feinfn")
    for name, settings in NETWORKS.items() if steps else ():
        yield f"+ {name}", method(hsi, msi, sensor, method.configure(steps=steps, features=None, **settings)).numpy()


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--snr", type=float, help="dB; no noise unless given")
    parser.add_argument("--steps", type=int, default=300, help="of each network; 0 leaves them out")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rows: dict[str, dict[str, str]] = {}
    for table, names in SCENES.items():
        for scene, told in TABLES[table].scenes(options.data):
            if scene not in names:
                continue
            pair = told if options.snr is None else with_noise(told, options.snr)
            reference = hf.Cube(data=pair.reference.data[pair.hsi.usable_bands])
            for variant, image in variants(pair, options.steps):
                scores = hf.evaluate(reference, hf.Cube(data=image), TABLES[table].ratio)
                cell = f"{scores['psnr_db']:.2f} / {scores['sam_degrees']:.3f}"
                rows.setdefault(variant, {})[f"{scene} {table[-2:]}"] = cell
                print(scene, table, variant, cell, flush=True)
    columns = list(next(iter(rows.values())))
    call = f"python benchmarks/ablation.py DATA --steps {options.steps}"
    call += "" if options.snr is None else f" --snr {options.snr:g}"
    lines = [
        "# What each part of the default method is worth" + ("" if options.snr is None else f" at {options.snr:g} dB"),
        "",
        f"PSNR in dB / SAM in degrees; networks fitted for {options.steps} steps.",
        "",
        "| parts | " + " | ".join(columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
        *(f"| {name} | " + " | ".join(cells[column] for column in columns) + " |" for name, cells in rows.items()),
        *made_by(call, os.environ["OMP_NUM_THREADS"]),
    ]
    name = "ablation.md" if options.snr is None else f"ablation-{options.snr:g}db.md"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / name).write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
