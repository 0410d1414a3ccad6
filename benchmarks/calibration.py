"""Whether expected errors are right: observed over expected error, in bins of the expected one.

    python benchmarks/calibration.py DATA

`feinfn` without its network (`steps=0`), with `uncertainty`, on the scenes of benchmarks/default.py, without noise and
with 30 dB of noise in both images; errors are taken against the clean reference. For every scene: the ratio of the root
mean squares of observed and expected error over all pixels and bands, in eight bins of equal size from the smallest
expected error to the largest, and the median over bands. 1 is right, 2 is too sure by half. Scenes of 512x512 pixels
are left out unless --all. The table goes to benchmarks/results/calibration.md.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import hyperfuse as hf
from default import TABLES, with_noise
from hyperfuse.methods import PairTensors
from recording import made_by

_BINS = 8
_LARGEST = 300 * 300


def ratios(pair: hf.Pair) -> tuple[float, list[float], float]:
    """Return observed over expected error: over all, in bins, and the median over bands."""
    usable = pair.hsi.usable_bands
    hsi = torch.from_numpy(np.nan_to_num(pair.hsi.data[usable])).float()
    msi = torch.from_numpy(np.nan_to_num(pair.msi.data)).float()
    method = hf.get_method("feinfn")
    tensors = PairTensors(hsi, msi, pair.sensor.replace(srf=None))
    outcome = method.fuse(tensors, method.configure(steps=0, uncertainty=True))
    expected = outcome.uncertainty.double().square()
    rows, columns = expected.shape[-2:]
    truth = torch.from_numpy(pair.reference.data[usable][:, :rows, :columns])
    observed = (outcome.image - truth).double().square()
    order = expected.flatten().argsort()
    bins = [
        float((observed.flatten()[part].mean() / expected.flatten()[part].mean()).sqrt())
        for part in order.tensor_split(_BINS)
    ]
    bands = (observed.mean((1, 2)) / expected.mean((1, 2))).sqrt()
    return float((observed.mean() / expected.mean()).sqrt()), bins, float(bands.median())


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--all", action="store_true", help="large scenes as well")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    lines = []
    for table in TABLES.values():
        for scene, pair in table.scenes(options.data):
            if pair.msi.rows * pair.msi.cols > _LARGEST and not options.all:
                continue
            for snr in (None, 30.0):
                whole, bins, bands = ratios(pair if snr is None else with_noise(pair, snr))
                cells = " ".join(f"{value:.2f}" for value in bins)
                noise = "none" if snr is None else f"{snr:g} dB"
                lines.append(f"| {scene} x{table.ratio} | {noise} | {whole:.2f} | {cells} | {bands:.2f} |")
                print(lines[-1], flush=True)
    text = ["# Observed over expected error", "", "1 is right, 2 is too sure by half.", ""]
    text += ["| scene | noise | all | bins, from the smallest expected error to the largest | median of bands |"]
    text += ["|" + " --- |" * 5, *lines]
    text += made_by(
        "python benchmarks/calibration.py DATA" + (" --all" if options.all else ""), os.environ["OMP_NUM_THREADS"]
    )
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "calibration.md").write_text("\n".join(text) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
