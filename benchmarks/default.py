"""The default method, its linear part alone, and the best of the classical methods, on the scenes of a data folder.

    python benchmarks/default.py DATA --features FOLDER
    python benchmarks/default.py DATA --features FOLDER --table cave-x4 --snr 30 --set effort='"best"'

DATA holds the folders that benchmarks/scenes.py names. For every scene, PSNR, SAM, ERGAS and SSIM of `feinfn` with its
settings as they are, and of its linear part alone (`--effort fast`), which is what the rest corrects; SAM without the
darkest pixels (reference norm below 1 % of the maximum), seconds, and of the classical methods the highest PSNR and the
lowest SAM. With --snr, white noise of that signal-to-noise ratio in dB is added to each band of both images. Scores
depend on the seed and, through rounding, on the machine; seconds on its load.

The features that ship were trained on 20 scenes of CAVE: each of these is fused with those of FOLDER that were trained
without it, fold-N.safetensors as `python benchmarks/feature_training.py CAVE FOLDER` writes them.

Every table goes to benchmarks/results/default-NAME.md, with its numbers in default-NAME.json: what was measured at the
present commit of the source is not measured again, so an interrupted call continues. `--part linear` (repeatable)
measures that part alone; the table then states the source of each part.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hyperfuse as hf
from hyperfuse.benchmark.plan import same_scene
from hyperfuse.datasets import load_indian_pines
from hyperfuse.methods.feinfn.pretrained import scenes_of
from recording import made_by, source
from scenes import read_cave, read_cave_jp2, read_enmap, read_paris, read_remote

Scene = tuple[str, hf.Pair]
METHOD = "feinfn"
_DARK = 0.01
# Wavelengths known or nominal: Sentinel-2A; else six runs of bands.
_REMOTE = {
    "jasper_ridge": "sentinel-2a",
    "samson": "boxes:6",
    "moffett": "boxes:6",
    "airborne_224": "sentinel-2a",
    "abu-beach-4": "boxes:6",
}


@dataclass(frozen=True)
class Table:
    """Scenes that are degraded alike."""

    conditions: str
    ratio: int
    scenes: Callable[[Path], Iterator[Scene]]


def cave(preset: str, ratio: int, names: tuple[str, ...] = ()) -> Callable[[Path], Iterator[Scene]]:
    """Return a function that gives CAVE scenes with an RGB camera; without names, all that are JPEG 2000 files."""

    def scenes(folder: Path) -> Iterator[Scene]:
        read = read_cave if names else read_cave_jp2
        for name in names or sorted(file.stem for file in (folder / "cave").glob("*.jp2")):
            yield name, hf.simulate(read(folder, name), ratio=ratio, preset=preset, srf="nikon-d700")

    return scenes


def remote_scenes(folder: Path) -> Iterator[Scene]:
    """Give airborne scenes and Indian Pines."""
    for name, srf in _REMOTE.items():
        yield name, hf.simulate(read_remote(folder / "remote" / f"{name}.mat"), ratio=4, preset="mtf", srf=srf)
    pines = load_indian_pines()
    data = np.clip(pines.data, 0, None)
    yield "indian_pines", hf.simulate(pines.replace(data=data / data.max()), ratio=4, preset="mtf", srf="sentinel-2a")


def enmap_scenes(folder: Path) -> Iterator[Scene]:
    """Give the EnMAP block."""
    yield "enmap_potsdam", hf.simulate(read_enmap(folder), ratio=4, preset="mtf", srf="sentinel-2a")


def paris_scenes(folder: Path) -> Iterator[Scene]:
    """Give Hyperion, reduced, with ALI's own image; its responses are not specified."""
    reference, msi = read_paris(folder)
    sensor = hf.create_sensor("mtf", 3)
    hsi = sensor.degrade(torch.tensor(reference.data)).numpy()
    yield "paris_hyperion_ali", hf.Pair(hf.Cube(data=hsi), msi, sensor, reference)


_FOUR = ("paints", "sponges", "fake_and_real_sushi", "balloons_half")
TABLES = {
    "cave-x4": Table("CAVE, preset `uestc`, ratio 4, Nikon D700.", 4, cave("uestc", 4, _FOUR)),
    "cave-x8": Table("CAVE, preset `uestc`, ratio 8, Nikon D700.", 8, cave("uestc", 8, _FOUR)),
    "cave20-x4": Table("20 scenes of CAVE, preset `uestc`, ratio 4, Nikon D700.", 4, cave("uestc", 4)),
    "cave20-x8": Table("20 scenes of CAVE, preset `uestc`, ratio 8, Nikon D700.", 8, cave("uestc", 8)),
    "dhif-x4": Table("CAVE, preset `dhif`, ratio 4, Nikon D700.", 4, cave("dhif", 4, _FOUR[:2])),
    "remote-x4": Table(
        "Preset `mtf`, ratio 4; MSI Sentinel-2A where wavelengths are known or nominal, else `boxes:6`.",
        4,
        remote_scenes,
    ),
    "enmap-x4": Table("EnMAP reflectance, preset `mtf`, ratio 4, Sentinel-2A.", 4, enmap_scenes),
    "paris-x3": Table("Hyperion reduced by 3 (`mtf`), ALI's own image, responses not specified.", 3, paris_scenes),
}


def with_noise(pair: hf.Pair, snr_db: float, seed: int = 7) -> hf.Pair:
    """Add white noise to every band of both images."""
    rng = np.random.default_rng(seed)

    def noisy(cube: hf.Cube) -> hf.Cube:
        power = np.nanmean(np.where(np.isnan(cube.data), np.nan, cube.data) ** 2, axis=(1, 2), keepdims=True)
        deviation = np.sqrt(np.nan_to_num(power) / 10 ** (snr_db / 10))
        return cube.replace(data=(cube.data + rng.normal(size=cube.data.shape) * deviation).astype(np.float32))

    return hf.Pair(noisy(pair.hsi), noisy(pair.msi), pair.sensor, pair.reference)


def sam_without_dark(reference: hf.Cube, fused: hf.Cube) -> float:
    """Return the mean spectral angle where the reference is not dark, in degrees."""
    usable = reference.usable_bands
    top = fused.rows, fused.cols
    x = reference.data[usable][:, : top[0], : top[1]].reshape(usable.sum(), -1).astype(float)
    y = np.clip(fused.data[usable].reshape(usable.sum(), -1).astype(float), 0, 1 if x.max() <= 1 else None)
    norm = np.linalg.norm(x, axis=0)
    bright = (norm > _DARK * np.nanmax(norm)) & (np.linalg.norm(y, axis=0) > 0)
    cosine = (x * y).sum(0)[bright] / (norm * np.linalg.norm(y, axis=0))[bright]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def score(pair: hf.Pair, ratio: int, method: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the scores of a method, its seconds, and the record of its fit."""
    start = time.perf_counter()
    fused = hf.fuse(pair.hsi, pair.msi, method=method, sensor=pair.sensor, settings=settings)
    seconds = time.perf_counter() - start
    scores = hf.evaluate(pair.reference, fused, ratio)
    found = {key: scores[key] for key in ("psnr_db", "sam_degrees", "ergas", "ssim")}
    found |= {"sam_bright": sam_without_dark(pair.reference, fused), "seconds": seconds}
    run = fused.history[-1].get("run", {})
    found |= {"steps": run.get("steps", 0), "regression_gain_db": run.get("regression_gain_db", 0.0)}
    return {**found, "trained_features": run.get("trained_features", False)}


def best_classical(pair: hf.Pair, ratio: int, _: dict[str, Any]) -> dict[str, Any]:
    """Return the highest PSNR and the lowest SAM of the classical methods, and whose they are."""
    known = pair.sensor.srf is not None
    methods = [
        one
        for one in hf.list_methods()
        if one.cost == "seconds" and not one.capabilities.weights and (known or not one.capabilities.needs_srf)
    ]
    scores = {one.name: score(pair, ratio, one.name) for one in methods}
    psnr = max(scores, key=lambda name: scores[name]["psnr_db"])
    sam = min(scores, key=lambda name: scores[name]["sam_degrees"])
    return {"psnr": [scores[psnr]["psnr_db"], psnr], "sam": [scores[sam]["sam_degrees"], sam]}


PARTS: dict[str, Callable[[hf.Pair, int, dict[str, Any]], dict[str, Any]]] = {
    "linear": lambda pair, ratio, settings: score(pair, ratio, METHOD, {**settings, "effort": "fast", "steps": 0}),
    "classical": best_classical,
    "default": lambda pair, ratio, settings: score(pair, ratio, METHOD, settings),
}
_HEAD = (
    "| scene | PSNR (dB) | SAM (degrees) | ERGAS | SSIM | linear part alone | SAM, not dark "
    "| held-out gain of the regression (dB), network steps | seconds | seconds, linear part "
    "| best classical PSNR | best classical SAM |",
    "|" + " --- |" * 12,
)
_SCORES = (("psnr_db", ".2f"), ("sam_degrees", ".3f"), ("ergas", ".3f"), ("ssim", ".4f"))
_ABSENT = "-"


def line(scene: str, row: dict[str, Any]) -> str:
    """Return a row of the table."""
    default, linear, classical = (row.get(part) for part in ("default", "linear", "classical"))
    cells = [scene]
    cells += [_ABSENT] * 4 if default is None else [format(default[key], form) for key, form in _SCORES]
    cells += [_ABSENT if linear is None else " / ".join(format(linear[key], form) for key, form in _SCORES)]
    cells += (
        [_ABSENT] * 2
        if default is None
        else [f"{default['sam_bright']:.3f}", f"{default['regression_gain_db']:.2f}, {default['steps']}"]
    )
    # Seconds are compared where the same call measured both, under one load of the machine.
    together = linear is not None and default is not None and linear["source"] == default["source"]
    for part in (default, linear if together else None):
        cells += [_ABSENT if part is None else f"{part['seconds']:.0f} s"]
    for key, form in (("psnr", ".2f"), ("sam", ".3f")):
        cells += [_ABSENT if classical is None else f"{classical[key][0]:{form}} ({classical[key][1]})"]
    return f"| {' | '.join(cells)} |"


def means(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the means over the scenes, of the default and of its linear part."""
    lines = []
    for part, title in (("default", "Mean"), ("linear", "Mean of the linear part alone")):
        measured = [row[part] for row in rows.values() if part in row]
        if len(measured) == len(rows):
            values = (format(np.mean([one[key] for one in measured]), form) for key, form in _SCORES)
            lines += ["", f"{title}: {' / '.join(values)}."]
    return lines


def sources(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each source of a part, where there are several."""
    found: dict[tuple[str, str], list[str]] = {}
    for scene, row in rows.items():
        for part, values in row.items():
            found.setdefault((part, values["source"]), []).append(scene)
    if len({which for _, which in found}) < 2:
        return []
    return ["", *(f"- {part}, {which}: {', '.join(scenes)}" for (part, which), scenes in sorted(found.items()))]


def features_without(scene: str, options: argparse.Namespace) -> Path | None:
    """Return features that were trained without a scene; None where those that ship were."""
    if not any(same_scene(scene, other) for other in hf.get_method(METHOD).configure().learnt_from):
        return None
    if options.features is None:
        raise SystemExit(f"the features that ship were trained on {scene}: --features FOLDER, or --set features=null")
    for file in sorted(options.features.glob("fold-*.safetensors")):
        if not any(same_scene(scene, other) for other in scenes_of(file)):
            return file
    raise SystemExit(f"{options.features}: no fold-N.safetensors was trained without {scene}")


def table_of(name: str, options: argparse.Namespace) -> tuple[Path, list[str]]:
    """Measure what is missing of a table; return its file and its lines."""
    table, present = TABLES[name], source()
    asked = {name: json.loads(value) for name, value in (word.split("=") for word in options.set)}
    suffix = "" if options.snr is None else f"-{options.snr:g}db"
    file = options.output / f"default-{name}{suffix}.md"
    stored = file.with_suffix(".json")
    rows: dict[str, dict[str, Any]] = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    for scene, clean in table.scenes(options.data):
        pair = clean if options.snr is None else with_noise(clean, options.snr)
        row = rows.setdefault(scene, {})
        settings, used = asked, asked
        if "features" not in asked and (features := features_without(scene, options)) is not None:
            settings, used = {**asked, "features": features.name}, {**asked, "features": str(features)}
        for part in options.part or PARTS:
            known = row.get(part, {})
            if known.get("source") == present and known.get("settings") == settings and "changes" not in present:
                continue
            row[part] = {**PARTS[part](pair, table.ratio, used), "source": present, "settings": settings}
            stored.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        print(name, line(scene, row), flush=True)
    stored.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    stored_settings = [row.get("default", {}).get("settings", {}) for row in rows.values()]
    folds = " --features FOLDER" if any(one.get("features") for one in stored_settings) else ""
    words = "".join(f" --set {word}" for word in options.set)
    call = f"python benchmarks/default.py DATA{folds} --table {name}{words}"
    call += "" if options.snr is None else f" --snr {options.snr:g}"
    noise = "" if options.snr is None else f" Noise of {options.snr:g} dB in each band of both images."
    if folds:
        noise += " Each scene that the shipped features were trained on: with features trained without it."
    what = "PSNR in dB / SAM in degrees / ERGAS / SSIM."
    lines = [f"# {METHOD}, the default: {name}", "", f"{table.conditions}{noise} {what}", "", *_HEAD]
    lines += [line(scene, row) for scene, row in rows.items()]
    lines += [*means(rows), *sources(rows), *made_by(call, os.environ["OMP_NUM_THREADS"])]
    return file, lines


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--features", type=Path, metavar="FOLDER", help="of feature_training.py")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="repeatable; default: all")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; default: all")
    parser.add_argument("--snr", type=float, help="dB; default: no noise")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of feinfn")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.table or TABLES:
        file, lines = table_of(name, options)
        file.write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
