"""Scores, processor time and memory of the published classical methods, next to the figures of their papers.

    python benchmarks/compared_classical.py DATA
    python benchmarks/compared_classical.py DATA --method lttr --scene paints

Four CAVE scenes at a ratio of 4. Every method runs on every scene in a process of its own, with one thread, so that
the peak memory is its own; the processor time does not depend on what else the machine does. Rows of the results file
for other methods and scenes stay as they are.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import hyperfuse as hf
from recording import RESULTS, made_by, read_tables, source
from scenes import read_cave

SCENES = ("paints", "sponges", "fake_and_real_sushi", "balloons_half")
# The first four are those whose papers the published rows are about.
METHODS = ("cstf", "lttr", "ltmr", "ir-tensr", "hysure", "fuse-sylvester")
RATIO = 4
_FILE = RESULTS / "compared-classical.md"
_TITLES = ("scene", "method", "PSNR (dB)", "SAM (degrees)", "ERGAS", "SSIM", "processor s", "peak MiB", "source")

PUBLISHED = """\
Published, PSNR / SAM / ERGAS (and SSIM where stated). Copies of these methods with other settings and degradations
differ by 8 dB on one set, so rows of different sources are not comparable:

| source | pairs | CSTF | LTTR | LTMR | IR-TenSR |
| --- | --- | --- | --- | --- | --- |
| LE-MAMBA, table 3 | CAVE x8, 11 images | 38.44 / 7.00 / 2.11 / 0.959 | 37.92 / 5.37 / 2.44 / 0.972 | 38.41 / 5.04 / 2.24 / 0.974 | 36.79 / 12.87 / 2.68 / 0.944 |
| LE-MAMBA, table 3 | Harvard x8, 10 images | 39.84 / 4.49 / 2.40 / 0.932 | 42.09 / 3.62 / 1.80 / 0.960 | 42.09 / 3.62 / 1.80 / 0.959 | 40.04 / 5.40 / 4.75 / 0.958 |
| LTTR's paper | CAVE x8, 32 images | - | 46.16 / 4.32 / 0.925 | - | - |
| LTMR's paper | CAVE x32 | 41.39 / 9.71 / 0.390 | - | 42.61 / 6.77 / 0.337 | - |
| LTMR's and LTTR's papers | Pavia x4 | 44.45 / 1.78 / 0.952 | 45.00 / 1.68 / 0.937 (128x128) | 45.82 / 1.49 / 0.805 | - |
| LTMR's paper, time for 512x512x31, MATLAB | - | 311 s | - | 620 s | - |
"""  # noqa: E501


def measure(data: Path, scene: str, method: str, picture: Path | None) -> dict[str, Any]:
    """Run and score one method on one scene; return the cells of its row."""
    torch.set_num_threads(1)
    pair = hf.simulate(read_cave(data, scene), ratio=RATIO, preset="uestc", srf="nikon-d700")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    fused = hf.fuse(pair.hsi, pair.msi, method=method, sensor=pair.sensor)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if picture is not None:
        hf.write(picture / f"{scene}-{method}.tif", fused, overwrite=True)
    scores = hf.evaluate(pair.reference, fused, RATIO)
    values = (
        scene,
        f"`{method}`",
        f"{scores['psnr_db']:.2f}",
        f"{scores['sam_degrees']:.3f}",
        f"{scores['ergas']:.3f}",
        f"{scores['ssim']:.4f}",
        f"{seconds:.0f}",
        f"{peak / 1024:.0f}",
        source().removeprefix("hyperfuse "),
    )
    return dict(zip(_TITLES, values, strict=True))


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the results file with these in place of, or next to, them."""
    kept = {(row["scene"], row["method"]): row for row in (read_tables(_FILE)[0] if _FILE.exists() else ())}
    kept |= {(row["scene"], row["method"]): row for row in rows}
    order = {f"`{name}`": number for number, name in enumerate(METHODS)}

    def position(row: dict[str, Any]) -> tuple[int, int]:
        return SCENES.index(row["scene"]), order.get(row["method"], len(order))

    return sorted(kept.values(), key=position)


def write(rows: Iterable[dict[str, Any]]) -> None:
    """Write the results file with these rows."""
    lines = [
        "# compared-classical",
        "",
        "Published classical methods on CAVE, ratio 4, preset `uestc`, Nikon D700; 8-bit scenes as (v + 0.5) / 256,",
        "the half as v / 65535. One thread; processor time from cubes in memory to a cube; peak memory above that",
        "of the inputs.",
        "",
        "| " + " | ".join(_TITLES) + " |",
        "|" + " --- |" * len(_TITLES),
        *("| " + " | ".join(row[title] for title in _TITLES) + " |" for row in merged(rows)),
        "",
        *PUBLISHED.splitlines(),
        *made_by("python benchmarks/compared_classical.py DATA", 1, "Each row states its own source."),
    ]
    _FILE.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--method", action="append", help="repeatable; default: all")
    parser.add_argument("--scene", action="append", choices=SCENES, help="repeatable; default: all")
    parser.add_argument("--images", type=Path, help="folder for the fused images; default: they are not kept")
    options = parser.parse_args()
    known = [method.name for method in hf.list_methods()]
    methods = options.method or [name for name in METHODS if name in known]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for scene in options.scene or SCENES:
            for method in methods:
                row = pool.apply(measure, (options.data, scene, method, options.images))
                print(" | ".join(row[title] for title in _TITLES), flush=True)
                write([row])
    return 0


if __name__ == "__main__":
    sys.exit(main())
