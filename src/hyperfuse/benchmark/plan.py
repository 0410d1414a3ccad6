"""What a benchmark computes: every entry on every scene at every ratio, each a job with its conditions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hyperfuse.benchmark.entries import Entry, Missing
from hyperfuse.datasets import open_dataset
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.metrics import evaluate
from hyperfuse.runtime.devices import find_device
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.version import __version__


@dataclass(frozen=True)
class Pairs:
    """How scenes are read and made into pairs; the same for all jobs of a benchmark.

    Attributes:
        kind: of dataset: ``cave``, ``harvard``, ``folder``.
        folder: of the scenes.
        preset: of the degradation.
        srf: responses of the MSI, as :func:`~hyperfuse.create_srf` reads them.
        drop_uncovered: leave out MSI bands that a scene does not cover.
        seed: of methods that draw random numbers.
        device: where to compute.
        scale: kind ``folder``: value = scale * stored + offset.
        offset: see ``scale``.
    """

    kind: str
    folder: Path
    preset: str = "uestc"
    srf: str = "nikon-d700"
    seed: int = 0
    device: str = "auto"
    scale: float | None = None
    offset: float | None = None
    drop_uncovered: bool = False


@dataclass(frozen=True)
class BenchmarkJob:
    """One entry on one scene at one ratio.

    Attributes:
        entry: method or network.
        scene: name of the scene.
        ratio: HR pixels per LR pixel.
        pairs: how the pair is made.
        shape: (bands, rows, cols) of the scene, or None where it cannot be read.
        stamp: of the scene's files; it changes with their sizes and times.
    """

    entry: Entry
    scene: str
    ratio: float
    pairs: Pairs
    shape: tuple[int, int, int] | None
    stamp: str

    @property
    def file(self) -> str:
        """Name of the file of its record."""
        plain = [re.sub(r"[^A-Za-z0-9.-]+", "_", part) for part in (self.scene, self.entry.name)]
        # Two names may become one without the characters that file systems refuse; the digest keeps them apart.
        digest = hashlib.sha256(f"{self.scene}\n{self.entry.name}".encode()).hexdigest()[:6]
        return f"x{self.ratio:g}-{plain[0][:60]}-{plain[1][:60]}-{digest}.json"

    def conditions(self) -> dict[str, Any]:
        """Return what the scores depend on: a record with other conditions belongs to another job."""
        pairs = dict(vars(self.pairs))
        del pairs["folder"]  # a copy of the same files is the same scene
        if pairs["device"] == "auto":  # results of a GPU are not those of a CPU
            pairs["device"] = str(find_device("auto"))
        return {
            "version": __version__,
            "convention": scoring_convention(),
            "entry": self.entry.conditions(),
            "scene": self.scene,
            "stamp": self.stamp,
            "ratio": self.ratio,
            **pairs,
        }


@dataclass(frozen=True)
class BenchmarkPlan:
    """All jobs of a benchmark.

    Attributes:
        pairs: how pairs are made.
        split: name of the selection of scenes, or None for all.
        scenes: their names, in order.
        entries: in the order of the tables.
        ratios: in the order of the tables.
        jobs: scene by scene, so that those of one scene run together.
        missing: networks that cannot take part, which the tables name.
    """

    pairs: Pairs
    split: str | None
    scenes: tuple[str, ...]
    entries: tuple[Entry, ...]
    ratios: tuple[float, ...]
    jobs: tuple[BenchmarkJob, ...]
    missing: tuple[Missing, ...] = ()


def make_plan(
    entries: Sequence[Entry],
    ratios: Sequence[float],
    pairs: Pairs,
    split: str | Path | None = None,
    missing: Sequence[Missing] = (),
) -> BenchmarkPlan:
    """Return the plan of a benchmark; scenes are listed and not yet read.

    Args:
        entries: at least one, with distinct names.
        ratios: at least one, each once.
        pairs: how scenes are read and degraded.
        split: name of a split of the package, the path of a text file, or None for all scenes of the folder.
        missing: networks that cannot take part.

    Raises:
        InputError: nothing to compare, a name or ratio twice, an unknown preset, or scenes that are missing.
    """
    if not entries:
        raise InputError("there is nothing to compare: name methods or folders of weights")
    for ratio in ratios:
        for name, count in Counter(entry.name for entry in entries if entry.takes_part(ratio)).items():
            if count > 1:
                raise InputError(f"two of the methods and networks are called {name!r}; name weights as NAME=FOLDER")
    if not ratios or len(set(ratios)) < len(ratios):
        raise InputError("name at least one ratio, each once")
    for ratio in ratios:
        create_sensor(pairs.preset, ratio)  # refuses an unknown preset, or a ratio that it is not defined for
    scenes = open_dataset(pairs.kind, pairs.folder, split, scale=pairs.scale, offset=pairs.offset)
    jobs = []
    for scene in scenes.names:
        try:
            shape = scenes.shape(scene)
        except HyperfuseError:
            shape = None  # its jobs fail with the reason
        stamp = stamp_of(scenes.path(scene))
        jobs += [
            BenchmarkJob(entry, scene, float(ratio), pairs, shape, stamp)
            for ratio in ratios
            for entry in entries
            if entry.takes_part(ratio)
        ]
    chosen = None if split is None else str(split)
    every = tuple(map(float, ratios))
    return BenchmarkPlan(pairs, chosen, scenes.names, tuple(entries), every, tuple(jobs), tuple(missing))


@cache
def scoring_convention() -> str:
    """Return the convention that :func:`hyperfuse.evaluate` reports with its scores."""
    tiny = np.array([[[0.0, 1.0]]])
    return str(evaluate(tiny, tiny, 1)["convention"])


def same_scene(first: str, second: str) -> bool:
    """Return whether two names are one scene, whole, at half size or a part of it.

    Example:
        >>> same_scene("balloons_half", "balloons[0:256,0:256]"), same_scene("paints", "sponges")
        (True, False)
    """
    plain = [name.split("[")[0].removesuffix("_half") for name in (first, second)]
    return plain[0] == plain[1]


def stamp_of(scene: Path) -> str:
    """Return a digest of the names, sizes and times of the files of a scene."""
    files = sorted(part for part in scene.rglob("*") if part.is_file()) if scene.is_dir() else [scene]
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.relative_to(scene.parent)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
