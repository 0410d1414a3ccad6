"""CNMF beside the CNMF of the package HyperEvalSR: the same pairs, the same number of endmembers, interleaved runs.

    pip install 'hyperfuse[peers]'
    python benchmarks/cnmf.py DIR/jasper_ridge.mat DIR/samson.mat --repeats 5 --markdown cnmf.md

Every scene (set to zero below zero, divided by its maximum, cropped to whole LR pixels) is reduced by four with a
Gaussian of modulation 0.3 at Nyquist; its MSI is six runs of bands averaged. Programs run turn after turn on two
threads (OMP_NUM_THREADS sets another number) and medians are printed, so they share the machine's moods. Exits with 1
if hyperfuse is worse in PSNR or SAM, or slower, on any scene.

Version 1.0.1 of HyperEvalSR stops with a TypeError in its Gaussian window, whatever the pair; the window is replaced by
a right one here. It estimates the spectral responses by itself, counts endmembers by itself (the same number is then
asked of hyperfuse) and rounds its result to 8 bits; the rounding, which costs it up to 4 dB, is taken away.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.methods import get_method
from hyperfuse.metrics import psnr, sam_degrees
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf
from recording import made_by
from scenes import read_remote

RATIO = 4
METHOD = get_method("cnmf")


def read_scene(path: Path) -> NDArray[np.float64]:
    """Return a scene as (bands, rows, cols) in [0, 1], cropped to whole LR pixels, without its empty bands."""
    cube = read_remote(path).data.astype(np.float64)
    rows, cols = (size // RATIO * RATIO for size in cube.shape[1:])
    return cube[:, :rows, :cols]


class Peer:
    """The CNMF of HyperEvalSR with its window mended and its 8-bit rounding taken away."""

    def __init__(self) -> None:
        from HyperEvalSR import algorithms  # imported late: it is no dependency of the package

        self._algorithms = algorithms
        self.endmembers = 0
        numpy = types.SimpleNamespace(**{name: getattr(np, name) for name in dir(np) if not name.startswith("__")})
        numpy.uint8 = np.asarray
        find = algorithms.vca

        def spy(spectra: Any, count: int) -> Any:
            self.endmembers = count
            return find(spectra, count)

        algorithms.np, algorithms.vca, algorithms.fspecial_gauss = numpy, spy, _window
        algorithms.print = lambda *_: None

    def __call__(self, hsi: NDArray[np.float64], msi: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fuse (bands, rows, cols); the copies that it overwrites are made by the caller."""
        np.random.seed(0)  # noqa: NPY002  (the peer draws from the global generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fused = self._algorithms.CNMF(msi.transpose(1, 2, 0), hsi.transpose(1, 2, 0))
        return np.asarray(fused).transpose(2, 0, 1) / 255.0


def _window(size: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    y, x = (np.arange(count) - (count - 1) / 2 for count in size)
    weights = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return weights / weights.sum()


@dataclass
class Result:
    """What one program did on one scene."""

    psnr: float = 0.0
    sam: float = 0.0
    seconds: list[float] = field(default_factory=list)

    def turn(self, run: Callable[[], NDArray[np.float64]], reference: NDArray[np.float64]) -> None:
        """Run once, timed, and score."""
        start = time.perf_counter()
        fused = run()
        self.seconds.append(time.perf_counter() - start)
        self.psnr, self.sam = float(psnr(reference, fused)), float(sam_degrees(reference, fused))

    @property
    def median(self) -> float:
        """Median of the turns, in seconds."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.psnr:.2f} / {self.sam:.3f} / {self.median:.2f} s"


def compare(reference: NDArray[np.float64], peer: Peer, repeats: int) -> tuple[str, bool]:
    """Return a line of the table and whether hyperfuse is as good and as fast."""
    sensor = create_sensor("mtf", RATIO, create_srf("boxes:6", len(reference)))
    truth = torch.from_numpy(reference)
    hsi, msi = sensor.degrade(truth), sensor.respond(truth)
    theirs, ours, default = Result(), Result(), Result()
    for _ in range(repeats):
        copies = hsi.numpy().copy(), msi.numpy().copy()
        theirs.turn(lambda copies=copies: peer(*copies), reference)
        ours.turn(lambda: _fuse(hsi, msi, sensor, endmembers=peer.endmembers), reference)
        default.turn(lambda: _fuse(hsi, msi, sensor), reference)
    bicubic = sensor.upsample(hsi, reference.shape[1:]).numpy()
    won = ours.psnr >= theirs.psnr and ours.sam <= theirs.sam and ours.median <= theirs.median
    line = (
        f"| {psnr(reference, bicubic):.2f} / {sam_degrees(reference, bicubic):.3f} | {peer.endmembers} | {theirs} |"
        f" {ours} | {default} | {theirs.median / ours.median:.1f} |"
    )
    return line, won


def _fuse(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, **values: Any) -> NDArray[np.float64]:
    fused = METHOD(hsi.float(), msi.float(), sensor, METHOD.configure(**values))
    return fused.double().numpy()


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("scenes", nargs="+", type=Path, metavar="SCENE.mat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    peer = Peer()
    lines = [
        "PSNR in dB / SAM in degrees / median seconds of one run; ratio 4, `mtf`, MSI `boxes:6`,"
        f" {os.environ['OMP_NUM_THREADS']} threads, {options.repeats} turns.",
        "",
        "| scene | bicubic | endmembers | HyperEvalSR 1.0.1 | `cnmf`, as many | `cnmf`, default | times faster |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    lost = []
    for path in options.scenes:
        line, won = compare(read_scene(path), peer, options.repeats)
        lines.append(f"| {path.stem} {line}")
        print(lines[-1], flush=True)
        lost += [] if won else [path.stem]
    verdict = f"Worse or slower on: {', '.join(lost)}." if lost else "As good and as fast or better on every scene."
    print(f"\n{verdict}")
    if options.markdown:
        scenes = " ".join(f"DATA/remote/{path.name}" for path in options.scenes)
        call = f"python benchmarks/cnmf.py {scenes} --repeats {options.repeats}"
        lines += ["", verdict, *made_by(call, os.environ["OMP_NUM_THREADS"])]
        options.markdown.write_text("\n".join(lines) + "\n", "utf-8")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
