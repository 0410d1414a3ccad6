"""Methods of hyperfuse in HyperBench 0.1, scored by its own runner on Indian Pines.

    make peers
    python benchmarks/peer_hyperbench.py [--method gsa] [--bands 4] [--markdown hyperbench.md]

Every method that takes seconds, for 3, 4, 8 and 16 MSI bands (IKONOS, WorldView-2 and -3 as HyperBench states them):
informed and blind, with the border divided out and as it comes. The scene is cut to 144 x 144 pixels, because some
methods take whole ratios only. PSF, noise, normalisation and metrics are HyperBench's defaults.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from hyperfuse.datasets.indian_pines import load_indian_pines
from hyperfuse.integrations.hyperbench import Pipeline
from hyperfuse.methods import list_methods
from recording import made_by

PEER = Path(__file__).parents[1] / ".peers" / "hyperbench"
BANDS = (3, 4, 8, 16)
_SECONDS = "Seconds: processor time of a case, with its scores, as a mean over those of the method."
# Blind or not, and whether the border is divided out, in the order of the columns.
VARIANTS = ((False, True), (False, False), (True, True), (True, False))


def make_cases_once() -> None:
    """Let the runner keep the pairs that it makes: they take longer than most methods, and are the same for all."""
    from hyperbench.benchmark import runner

    make, made = runner._build_synthetic_case, {}

    def kept(case: Any, scene: Any) -> Any:
        key = repr(case)
        if key not in made:
            made[key] = make(case, scene)
        return made[key]

    runner._build_synthetic_case = kept


def scores(folder: Path, pipeline: Pipeline, bands: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of HyperBench, one for each number of MSI bands."""
    from hyperbench.adapters import PipelineAdapter
    from hyperbench.benchmark import BenchmarkConfig, DegradationSpec, run_benchmark

    config = BenchmarkConfig(
        scene_path=folder / "indian_pines.mat",
        degradation_specs=[DegradationSpec(4, count, spatial_snr_db=35.0, spectral_snr_db=40.0) for count in bands],
        metrics=["psnr", "sam"],
        save_csv=False,
    )
    adapter = PipelineAdapter(pipeline, pipeline.name, add_batch_dim=False)
    rows: list[dict[str, Any]] = run_benchmark(adapter, config, log_level=logging.ERROR).rows
    failed = [row for row in rows if row["status"] != "success"]
    if failed:
        sys.exit(f"{pipeline.name}: {failed[0]['error']}")
    return rows


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--method", action="append", help="only this one; repeat for more")
    parser.add_argument("--bands", type=int, action="append", choices=BANDS, help="only this number; repeat for more")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    if not PEER.is_dir():
        sys.exit("HyperBench is missing: make peers")
    sys.path.insert(0, str(PEER))
    make_cases_once()
    torch.set_num_threads(1)
    bands = options.bands or list(BANDS)
    known = [one.name for one in list_methods() if one.cost == "seconds"]
    lines = [
        "HyperBench 0.1 on Indian Pines (144 x 144, 200 bands, ratio 4, its default PSF and noise: Gaussian of sigma"
        " 3.4 cut at 7 pixels, 35 and 40 dB), by its own runner: PSNR in dB / SAM in degrees. `divided`: the border,"
        " which its zeros darken, divided out, as the adapter does; `as it is`: not.",
        "",
        "| method | MSI bands | informed, divided | informed, as it is | blind, divided | blind, as it is | s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = np.moveaxis(load_indian_pines().data[:, :144, :144], 0, 2)
        scipy.io.savemat(folder / "indian_pines.mat", {"indian_pines": scene})
        for method in options.method or known:
            started = time.process_time()
            found = [
                scores(folder, Pipeline(method, blind=blind, divide_border=divide), bands) for blind, divide in VARIANTS
            ]
            seconds = (time.process_time() - started) / (len(bands) * len(VARIANTS))
            for index, count in enumerate(bands):
                cells = [f"{rows[index]['PSNR']:.2f} / {rows[index]['SAM']:.2f}" for rows in found]
                lines.append(f"| `{method}` | {count} | {' | '.join(cells)} | {seconds:.1f} |")
                print(lines[-1], flush=True)
            if options.markdown:  # at once: a call that is interrupted leaves what it has measured
                call = " ".join(
                    ["python benchmarks/peer_hyperbench.py", *(f"--method {one}" for one in options.method or [])]
                )
                options.markdown.write_text("\n".join([*lines, "", _SECONDS, *made_by(call, 1)]) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
