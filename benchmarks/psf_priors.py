"""What the PSF that is published of a sensor is worth: an EnMAP image seen with PRISMA's modulation at Nyquist.

    python benchmarks/psf_priors.py DATA

DATA is described in benchmarks/scenes.py. The table goes to benchmarks/results/psf-priors.md.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
from pathlib import Path

import numpy as np
import torch

import hyperfuse as hf
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import gaussian_from_mtf
from hyperfuse.sensor.published import psf_prior
from recording import RESULTS, made_by
from scenes import read_enmap

RATIO, SNR_DB = 3.0, 40.0
PRISMA = {"sensor": "PRISMA"}
HEAD = f"""# What the published PSF of a sensor is worth

EnMAP over Potsdam, ratio {RATIO:g}, Sentinel-2A, HSI with noise of {SNR_DB:g} dB, blurred by Gaussians of three
modulations at Nyquist within what is published of PRISMA. `local-regression`, the position known. PSNR in dB.

| modulation | true PSF | `mtf:0.3`, assumed of any sensor | prior of PRISMA, assumed | estimated with the prior |
| --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    image = read_enmap(parser.parse_args().data)
    image = image.select_bands(np.flatnonzero(image.usable_bands)).crop(0, 0, 63, 96).replace(transform=None, crs=None)
    assumed = psf_prior(PRISMA).modulation
    lines = []
    for modulation in (0.05, assumed, 0.10):
        sensor = Sensor(
            ratio=(RATIO, RATIO),
            psf=gaussian_from_mtf(modulation, (RATIO, RATIO)),
            srf=hf.create_srf("sentinel-2a", image),
        )
        truth = torch.from_numpy(image.data.astype(np.float64))
        seen = sensor.degrade(truth)
        noise = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0), dtype=seen.dtype)
        seen = seen + 10 ** (-SNR_DB / 20) * seen.std() * noise
        hsi = image.replace(data=seen.float().numpy(), attributes=PRISMA)
        msi = hf.Cube(data=sensor.respond(truth).float().numpy())
        scores = []
        for psf in (f"mtf:{modulation}", "mtf:0.3", f"mtf:{assumed}", None):
            fused = hf.fuse(hsi, msi, method="local-regression", psf=psf, align=False)
            scores.append(f"{hf.metrics.psnr(image.data, fused.data):.2f}")
        lines.append(f"| {modulation:.3f} | {' | '.join(scores)} |")
    made = made_by("python benchmarks/psf_priors.py DATA", 1)
    (RESULTS / "psf-priors.md").write_text(HEAD + "\n".join([*lines, *made]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
