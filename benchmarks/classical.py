"""Scores, and on request times, of every registered fusion method on the scenes of a data folder.

    python benchmarks/classical.py DATA
    python benchmarks/classical.py DATA --table enmap-x3 --repeats 5

DATA holds the folders that benchmarks/scenes.py names. Every table goes to benchmarks/results/NAME.md. Scores do not
depend on threads or load; times do, and are left out unless --repeats asks for them: then methods run turn after turn,
after a turn that warms up, and medians are written, beside how many times longer than `bicubic` that is. Exits with 1
if a method failed on a scene.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import hyperfuse as hf
from recording import made_by
from scenes import CAVE, REMOTE, read_cave, read_enmap, read_paris, read_remote

Scene = tuple[str, hf.Pair]
BASELINE = "bicubic"


@dataclass(frozen=True)
class Table:
    """A table: scenes that are degraded alike."""

    ratio: int
    conditions: str
    scenes: Callable[[Path], Iterator[Scene]]


@dataclass
class Result:
    """One method on one scene; ``failure`` says why there are no scores."""

    scene: str
    method: str
    scores: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    failure: str = ""


def cave_scenes(folder: Path, ratio: int) -> Iterator[Scene]:
    """Give the CAVE scenes as published networks are tested on them."""
    for name in CAVE:
        yield name, hf.simulate(read_cave(folder, name), ratio=ratio, preset="uestc", srf="nikon-d700")


def remote_scenes(folder: Path) -> Iterator[Scene]:
    """Give the airborne scenes with an MSI of six equal runs of bands."""
    for name in REMOTE:
        yield name, hf.simulate(read_remote(folder / "remote" / f"{name}.mat"), ratio=4, preset="mtf", srf="boxes:6")


def enmap_scenes(folder: Path) -> Iterator[Scene]:
    """Give the EnMAP image with the Sentinel-2A MSI that follows from it."""
    yield "enmap_potsdam", hf.simulate(read_enmap(folder), ratio=3, preset="mtf", srf="sentinel-2a")


def paris_scenes(folder: Path) -> Iterator[Scene]:
    """Give Hyperion, reduced, with the MSI that ALI really took: its responses are not told to the methods."""
    reference, msi = read_paris(folder)
    sensor = hf.create_sensor("mtf", 3)
    hsi = sensor.degrade(torch.from_numpy(reference.data)).numpy()
    yield "paris_hyperion_ali", hf.Pair(hf.Cube(data=hsi), msi, sensor, reference)


_CAVE = "Preset `uestc`, ratio {0}, Nikon D700; 8-bit scenes as (v + 0.5) / 256, halves as v / 65535."
TABLES = {
    "cave-x4": Table(4, _CAVE.format(4), lambda folder: cave_scenes(folder, 4)),
    "cave-x8": Table(8, _CAVE.format(8), lambda folder: cave_scenes(folder, 8)),
    "remote-x4": Table(
        4,
        "Preset `mtf`, ratio 4, MSI `boxes:6`; scenes set to zero below zero and divided by their maximum, without the "
        "bands that are all zero.",
        remote_scenes,
    ),
    "enmap-x3": Table(3, "EnMAP reflectance, preset `mtf`, ratio 3, MSI `sentinel-2a` (ten bands).", enmap_scenes),
    "paris-x3": Table(
        3,
        "Hyperion reduced by 3 with the preset `mtf`; the MSI is ALI's own image, of which no method is told the "
        "spectral responses; both set to zero below zero and divided by Hyperion's maximum.",
        paris_scenes,
    ),
}

_SCORES = (
    ("psnr_db", "PSNR (dB)", ".2f"),
    ("sam_degrees", "SAM (degrees)", ".3f"),
    ("ergas", "ERGAS", ".3f"),
    ("ssim", "SSIM", ".4f"),
)


def measure(name: str, pair: hf.Pair, methods: list[str], ratio: int, repeats: int) -> list[Result]:
    """Run and score every method on one scene; ``repeats`` of 0 takes no times."""
    results = [Result(name, method) for method in methods]
    for turn in range(repeats + 1):
        for result in results:
            if result.failure:
                continue
            start = time.perf_counter()
            try:
                fused = hf.fuse(pair.hsi, pair.msi, method=result.method, sensor=pair.sensor)
            except hf.HyperfuseError as error:
                result.failure = str(error)
                continue
            if turn:  # the first turn warms up, and is scored
                result.seconds.append(time.perf_counter() - start)
            else:
                result.scores = dict(hf.evaluate(pair.reference, fused, ratio))
    return results


def short_table(results: list[Result], methods: list[str]) -> Iterator[str]:
    """Give a line a scene: PSNR / SAM of each method."""
    yield "| scene | " + " | ".join(f"`{method}`" for method in methods) + " |"
    yield "|" + " --- |" * (len(methods) + 1)
    for scene in dict.fromkeys(result.scene for result in results):
        found = {result.method: result for result in results if result.scene == scene}
        yield f"| {scene} | " + " | ".join(_brief(found[method]) for method in methods) + " |"


def _brief(result: Result) -> str:
    if result.failure or not result.scores:
        return "-"
    return f"{result.scores['psnr_db']:.2f} / {result.scores['sam_degrees']:.2f}"


def full_table(results: list[Result]) -> Iterator[str]:
    """Give a line for every scene and method."""
    timed = any(result.seconds for result in results)
    titles = ["scene", "method", *(title for _, title, _ in _SCORES)] + ["seconds", "x `bicubic`"] * timed
    yield "| " + " | ".join(titles) + " |"
    yield "|" + " --- |" * len(titles)
    for result in results:
        cells = [result.scene, f"`{result.method}`"]
        if result.failure:
            cells += [result.failure.replace("|", "/"), *[""] * (len(titles) - 3)]
        else:
            cells += [format(result.scores[key], form) for key, _, form in _SCORES]
        if result.seconds:
            cells += _times(result, results)
        yield "| " + " | ".join(cells) + " |"


def _times(result: Result, results: list[Result]) -> list[str]:
    seconds = statistics.median(result.seconds)
    base = [other for other in results if (other.scene, other.method) == (result.scene, BASELINE) and other.seconds]
    times = f"{seconds / statistics.median(base[0].seconds):.1f}" if base else ""
    return [f"{seconds:.2f}", times]


def write_table(place: Path, name: str, results: list[Result], methods: list[str], options: argparse.Namespace) -> None:
    """Write one table with the conditions it holds under and the call that makes it."""
    table, repeats = TABLES[name], options.repeats
    call = f"python benchmarks/classical.py DATA --table {name}" + (f" --repeats {repeats}" if repeats else "")
    call += "".join(f" --method {method}" for method in options.method or ())
    taken = (
        f"Times: medians of {repeats} turns, from cubes in memory to a cube." if repeats else "Times were not taken."
    )
    lines = [f"# {name}", "", f"{table.conditions} PSNR in dB / SAM in degrees:", ""]
    lines += [*short_table(results, methods), "", *full_table(results)]
    lines += made_by(call, os.environ["OMP_NUM_THREADS"], taken)
    skipped = [method.name for method in hf.list_methods() if method.name not in methods]
    if skipped:
        lines += ["", f"Left out (not asked for, or in need of spectral responses): {', '.join(skipped)}."]
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.md").write_text("\n".join(lines) + "\n", "utf-8")


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="repeatable; all unless given")
    parser.add_argument("--method", action="append", help="repeatable; all unless given")
    parser.add_argument("--repeats", type=int, default=0, help="turns to take times from; 0, the default: none")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    failed = False
    try:
        seconds = [one for one in hf.list_methods() if one.cost == "seconds" and not one.capabilities.weights]
        chosen = [hf.get_method(name) for name in options.method] if options.method else seconds
        for name in options.table or TABLES:
            table = TABLES[name]
            # A table without responses is for the methods that need none.
            results: list[Result] = []
            methods: list[str] = []
            for scene, pair in table.scenes(options.data):
                known = pair.sensor.srf is not None
                methods = [method.name for method in chosen if known or not method.capabilities.needs_srf]
                results += measure(scene, pair, methods, table.ratio, options.repeats)
                print("\n".join(full_table(results[-len(methods) :])), flush=True)
            write_table(options.output, name, results, methods, options)
            failed |= any(result.failure for result in results)
    except hf.InputError as error:
        parser.error(str(error))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
