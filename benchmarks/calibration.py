"""Whether expected errors are right: fractions of errors within 1 and 1.96 of them, where they matter.

    python benchmarks/calibration.py DATA
    python benchmarks/calibration.py DATA --before OLD.json

The default method with `uncertainty` on scenes that nothing of it was chosen on, at ratio 4 (Paris: 3): without noise,
with 30 and 20 dB of white noise in both images, and with an MSI that is saturated: its values are cut off at the 97th
percentile of each band. Errors are those against the reference. Fractions are taken in every tenth of brightness (mean
square of the reference over bands), in every tenth of edge strength (squared gradient of its mean over bands), and in
every fifth of the bands; 68.3 and 95.0 % are right for Gaussian errors, 62 to 74 % and 93 to 97 % are the aim. Of CAVE
scenes the centre of 256 x 256 pixels is used. What was chosen by measurement (one constant, the lists of maps) was
chosen on: paints, sponges, beads, superballs, pompoms, fake_and_real_food, Jasper Ridge, Samson, Moffett, airborne_224
and Indian Pines.

The table goes to benchmarks/results/calibration.md, its numbers to calibration.json; `--before` adds those of another
version of the package, measured by this script, and they stay.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import hyperfuse as hf
from default import enmap_scenes, paris_scenes, with_noise
from hyperfuse.methods import PairTensors
from recording import made_by
from scenes import read_cave_jp2, read_remote

_CAVE = ("egyptian_statue", "oil_painting", "thread_spools")
_REMOTE = ("abu-airport-2", "abu-urban-5", "abu-beach-4")
_SIDE = 256
_SATURATED = 0.97
_AIMS = ((1.0, 62.0, 74.0), (1.96, 93.0, 97.0))
_SATURATED_MSI = "saturated"
_NOISY = {"none": None, "30 dB": 30.0, "20 dB": 20.0}
Cells = dict[str, list[list[float]]]  # by kind: fractions within 1 and 1.96 of every stratum


def scenes(folder: Path) -> Iterator[tuple[str, hf.Pair]]:
    """Give the scenes."""
    yield from enmap_scenes(folder)
    yield from paris_scenes(folder)
    for name in _REMOTE:
        cube = read_remote(folder / "remote" / f"{name}.mat")
        yield name, hf.simulate(cube, ratio=4, preset="mtf", srf="boxes:6")
    for name in _CAVE:
        cube = read_cave_jp2(folder, name)
        start = (cube.rows - _SIDE) // 2
        part = cube.replace(data=cube.data[:, start : start + _SIDE, start : start + _SIDE])
        yield name, hf.simulate(part, ratio=4, preset="uestc", srf="nikon-d700")


def saturate(pair: hf.Pair) -> hf.Pair:
    """Cut the MSI off at a percentile of each band."""
    top = np.nanquantile(pair.msi.data, _SATURATED, axis=(1, 2), keepdims=True)
    msi = pair.msi.replace(data=np.minimum(pair.msi.data, top).astype(np.float32))
    return hf.Pair(pair.hsi, msi, pair.sensor, pair.reference)


def measure(pair: hf.Pair) -> Cells:
    """Return the fractions of errors within the expected ones."""
    usable = pair.hsi.usable_bands
    hsi = torch.from_numpy(np.nan_to_num(pair.hsi.data[usable])).float()
    msi = torch.from_numpy(np.nan_to_num(pair.msi.data)).float()
    method = hf.get_method("feinfn")
    # Features that ship were trained on some of these scenes.
    settings = method.configure(uncertainty=True, features=None)
    outcome = method.fuse(PairTensors(hsi, msi, pair.sensor.replace(srf=None)), settings)
    rows, columns = outcome.image.shape[-2:]
    truth = torch.from_numpy(np.nan_to_num(pair.reference.data[usable][:, :rows, :columns])).float()
    ratio = ((outcome.image - truth).abs() / outcome.uncertainty).flatten(1)
    along_y, along_x = torch.gradient(truth.mean(0))
    strata = {
        "brightness": truth.square().mean(0).flatten().argsort().tensor_split(10),
        "edges": (along_y.square() + along_x.square()).flatten().argsort().tensor_split(10),
        "saturated": ((msi == msi.amax((1, 2), keepdim=True)).any(0).flatten().nonzero()[:, 0],),
    }

    def fractions(values: torch.Tensor) -> list[float]:
        return [round(100 * float((values < limit).float().mean()), 2) for limit, *_ in _AIMS]

    cells = {kind: [fractions(ratio[:, pixels]) for pixels in parts] for kind, parts in strata.items()}
    cells["bands"] = [fractions(one) for one in ratio.tensor_split(5)]
    return {"all": [fractions(ratio)], **cells}


def met(cells: Cells) -> int:
    """Return how many of the 50 fractions lie within the aims."""
    pairs = [pair for kind in ("brightness", "edges", "bands") for pair in cells[kind]]
    return sum(low <= value <= high for pair in pairs for value, (_, low, high) in zip(pair, _AIMS, strict=True))


def ranges(cells: Cells, kind: str) -> str:
    """Return the least and the greatest fraction within 1 and 1.96."""
    return ", ".join(f"{min(values):.0f}-{max(values):.0f}" for values in zip(*cells[kind], strict=True))


def rows_of_scenes(found: dict[str, Cells]) -> list[str]:
    """Return a row per scene."""
    lines = ["| scene | noise | all | tenths of brightness | tenths of edge strength | fifths of bands | met of 50 |"]
    lines += ["|" + " --- |" * 7]
    for name, cells in found.items():
        if name.endswith(_SATURATED_MSI):
            continue
        parts = " | ".join(ranges(cells, kind) for kind in ("brightness", "edges", "bands"))
        scene, noise = name.split(", ")
        lines.append(
            f"| {scene} | {noise} | {cells['all'][0][0]:.1f}, {cells['all'][0][1]:.1f} | {parts} | {met(cells)} |"
        )
    return lines


def rows_of_strata(results: dict[str, dict[str, Cells]]) -> list[str]:
    """Return, for every stratum and every noise, the mean over scenes of each version."""
    titles = [f"{noise}, {version}" for noise in _NOISY for version in results]
    lines = [f"| stratum | {' | '.join(titles)} |", "|" + " --- |" * (1 + len(titles))]
    for kind, count in (("brightness", 10), ("edges", 10), ("bands", 5)):
        for index in range(count):
            cells = []
            for noise in _NOISY:
                for found in results.values():
                    some = [one[kind][index] for name, one in found.items() if name.endswith(f", {noise}")]
                    cells.append(", ".join(f"{value:.1f}" for value in np.mean(some, axis=0)))
            lines.append(f"| {kind} {index + 1} of {count} | {' | '.join(cells)} |")
    return lines


def rows_of_saturated(results: dict[str, dict[str, Cells]]) -> list[str]:
    """Return, for every scene with a saturated MSI, the fractions at saturated pixels and at all."""
    titles = [f"{where}, {version}" for version in results for where in ("saturated pixels", "all")]
    lines = [f"| scene | {' | '.join(titles)} |", "|" + " --- |" * (1 + len(titles))]
    for name in next(iter(results.values())):
        if name.endswith(_SATURATED_MSI):
            values = [found[name][kind][0] for found in results.values() for kind in ("saturated", "all")]
            lines.append(f"| {name} | {' | '.join(f'{one:.1f}, {two:.1f}' for one, two in values)} |")
    return lines


def page(results: dict[str, dict[str, Cells]]) -> list[str]:
    """Return the lines of the results of some versions."""
    text = ["# Fractions of errors within the expected error, and within 1.96 of it, in per cent", ""]
    text += ["68.3 and 95.0 are right; 62 to 74 and 93 to 97 are the aim, in every stratum."]
    for version, measured in results.items():
        text += ["", f"## Scenes, {version}: least and greatest over strata", "", *rows_of_scenes(measured)]
    text += ["", "## Strata: mean over scenes", "", *rows_of_strata(results)]
    text += ["", "## MSI saturated above its 97th percentile", "", *rows_of_saturated(results)]
    text += made_by("python benchmarks/calibration.py DATA", os.environ["OMP_NUM_THREADS"])
    return text


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--before", type=Path, metavar="JSON", help="of another version")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    found: dict[str, Cells] = {}
    for scene, pair in scenes(options.data):
        for variant in (*_NOISY, _SATURATED_MSI):
            snr = _NOISY.get(variant)
            changed = saturate(pair) if variant == _SATURATED_MSI else pair if snr is None else with_noise(pair, snr)
            found[f"{scene}, {variant}"] = cells = measure(changed)
            print(f"{scene}, {variant}", cells["all"][0], met(cells), cells["saturated"][0], flush=True)
    stored = options.output / "calibration.json"
    results = {"now": found}
    if options.before is not None:
        results["before"] = json.loads(options.before.read_text("utf-8"))["now"]
    elif stored.exists():
        results |= {name: one for name, one in json.loads(stored.read_text("utf-8")).items() if name == "before"}
    text = page(results)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "calibration.md").write_text("\n".join(text) + "\n", "utf-8")
    stored.write_text(json.dumps(results) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
