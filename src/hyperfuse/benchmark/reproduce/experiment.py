"""Where tables and figures get what they are made of: data, trained networks (each trained once), and scores."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from hyperfuse.benchmark.entries import Entry
from hyperfuse.benchmark.plan import BenchmarkJob, Pairs
from hyperfuse.benchmark.records import Record, read_record, write_record
from hyperfuse.benchmark.reproduce.data import Material, full_material, pines_material, quick_material
from hyperfuse.benchmark.reproduce.recipes import FULL_SIZES, QUICK_SIZES, Budget, full_config, quick_config
from hyperfuse.benchmark.reproduce.trained import (
    Trained,
    Wanted,
    is_trained,
    read_trained,
    run_folder,
    stated_options,
    train_into,
)
from hyperfuse.benchmark.worker import run_on_pair
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.metrics import aggregate, evaluate
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.processes import Child, serve
from hyperfuse.runtime.threads import usable_threads
from hyperfuse.scenes.simulate import Pair, simulate
from hyperfuse.training.configuration import TrainingConfig

# What chooses the weights in full; taken out of what is learnt from.
_CHOOSES = {"cave": ("watercolors",), "harvard": ("img1",)}
_OPTIONS = {"cave": "--data", "harvard": "--harvard"}
_MODULE = "hyperfuse.benchmark.reproduce.trainer"
_POLL_SECONDS = 0.1


@dataclass
class Lab:
    """What every table and figure of one call shares.

    Attributes:
        out: folder of all that is written; ``weights/`` in it keeps networks, ``jobs/`` scores.
        quick: small data and short training.
        cave: folder of CAVE, or None.
        harvard: folder of Harvard, or None.
        budget: of each network under ``quick``.
        device: where to compute.
        seed: of weights and patches.
        note: told a line at a time.
        progress: told the share done of the trainings.
    """

    out: Path
    quick: bool = False
    cave: Path | None = None
    harvard: Path | None = None
    budget: Budget = field(default_factory=Budget)
    device: str = "auto"
    seed: int = 0
    note: Callable[[str], None] = lambda text: None
    progress: Progress = silent
    _materials: dict[str, Material] = field(default_factory=dict)
    _pairs: dict[tuple[str, int, str], Pair] = field(default_factory=dict)

    def material(self, kind: str = "cave") -> Material:
        """Return the scenes for a data set of the paper; under ``quick`` another real scene may stand in.

        Raises:
            InputError: no folder is given where the data set itself is needed, or scenes that are not there.
        """
        if kind not in self._materials:
            folder = self._folder(kind)
            if folder is None and not self.quick:
                title = {"cave": "CAVE", "harvard": "Harvard"}[kind]
                raise InputError(f"this needs the {title} data: give {_OPTIONS[kind]} FOLDER (or --quick)")
            if folder is None:
                self._materials[kind] = pines_material()
            elif self.quick:
                self._materials[kind] = quick_material(kind, folder)
            else:
                self._materials[kind] = full_material(kind, folder, _CHOOSES[kind])
        return self._materials[kind]

    def sizes(self) -> Mapping[str, dict[str, Any]]:
        """Return the sizes of networks that there are, by name."""
        return QUICK_SIZES if self.quick else FULL_SIZES

    def prepare(self, wanted: Sequence[Wanted], workers: int | None = None) -> None:
        """Train the networks that are wanted and not there yet.

        Args:
            wanted: which; several may be one network.
            workers: processes at a time, each with its share of the threads. Unless given, under ``quick`` on a CPU
                as many as there are threads (small networks gain little from more than one), else 1.

        Raises:
            HyperfuseError: a training that failed.
        """
        missing: dict[Path, Wanted] = {}
        for one in wanted:
            folder = self._place(one)[0]
            if not is_trained(folder):
                missing.setdefault(folder, one)
        threads = usable_threads()
        on_cpu = self.device == "cpu" or not torch.cuda.is_available()
        many = min(len(missing), workers or (threads if self.quick and on_cpu else 1))
        if many <= 1:
            for done, (folder, one) in enumerate(missing.items(), 1):
                self._train(folder, one, f"{done} of {len(missing)}")
        else:
            self._train_apart(missing, many, max(1, threads // many))

    def trained(self, wanted: Wanted) -> Trained:
        """Return a trained network; one that was trained before, for another figure or in another call, is not again.

        Raises:
            HyperfuseError: a training that failed.
        """
        folder = self._place(wanted)[0]
        if not is_trained(folder):
            self._train(folder, wanted, "1 of 1")
        return read_trained(folder, wanted.name)

    def pair(self, kind: str = "cave", ratio: int = 4, scene: str | None = None) -> Pair:
        """Return the pair of a test scene, the first one unless named."""
        material = self.material(kind)
        scene = material.test[0] if scene is None else scene
        key = (kind, ratio, scene)
        if key not in self._pairs:
            cube = material.scenes.load(scene)
            self._pairs = {key: simulate(cube, ratio=ratio, preset="uestc", srf=material.srf)}  # the latest is kept
        return self._pairs[key]

    def tensors(self, kind: str = "cave", ratio: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
        """Return HSI and MSI of the first test scene as a batch of one."""
        pair = self.pair(kind, ratio)
        return torch.from_numpy(pair.hsi.data).float()[None], torch.from_numpy(pair.msi.data).float()[None]

    def fuse(self, entry: Entry, kind: str = "cave", ratio: int = 4) -> tuple[Cube, Record]:
        """Fuse the first test scene."""
        material = self.material(kind)
        return run_on_pair(self._job(entry, material, material.test[0], ratio), self.pair(kind, ratio))

    def score(self, entry: Entry, kind: str = "cave", ratio: int = 4) -> list[Record]:
        """Return the scores of a entry on every test scene; those of an earlier call are read back."""
        material = self.material(kind)
        records = []
        for scene in material.test:
            job = self._job(entry, material, scene, ratio)
            record = read_record(self.out, job)
            if record is None:
                _, record = run_on_pair(job, self.pair(kind, ratio, scene))
                write_record(self.out, record)
            records.append(record)
        return records

    def mean(self, entry: Entry, kind: str = "cave", ratio: int = 4) -> dict[str, float]:
        """Return mean scores over the test scenes, ``psnr_std`` where there are several, and ``seconds``."""
        records = self.score(entry, kind, ratio)
        total = aggregate([record.scores for record in records if record.scores])
        times = [record.seconds for record in records if record.seconds is not None]
        deviation = {"psnr_std": total["std"]["psnr_db"]} if len(records) > 1 else {}
        return {**total["mean"], **deviation, "seconds": sum(times) / max(len(times), 1)}

    def interpolated(self, kind: str = "cave", ratio: int = 4) -> float:
        """Return the mean PSNR over the test scenes of the interpolated HSI that networks add to."""
        psnr = []
        for scene in self.material(kind).test:
            pair = self.pair(kind, ratio, scene)
            hsi = torch.from_numpy(pair.hsi.data).float()[None]
            image = resample(hsi, (pair.reference.rows, pair.reference.cols))[0].numpy()
            psnr.append(float(evaluate(pair.reference, image, ratio)["psnr_db"]))
        return sum(psnr) / len(psnr)

    def _folder(self, kind: str) -> Path | None:
        return {"cave": self.cave, "harvard": self.harvard}[kind]

    def _place(self, wanted: Wanted) -> tuple[Path, TrainingConfig]:
        material = self.material(wanted.kind)
        # Without what is a default anyway, so that one network has one place whatever a table calls it.
        options = stated_options(wanted.network, {**self.sizes()[wanted.size], **dict(wanted.switches)})
        output = self.out / "weights"
        if self.quick:
            if wanted.network != "feinfn":
                raise InputError(f"--quick trains feinfn only, not {wanted.network}")
            config = quick_config(material, wanted.ratio, options, self.budget, output, self.device, self.seed)
        else:
            folder = self._folder(wanted.kind)
            assert folder is not None  # there is a material
            config = full_config(
                material, wanted.ratio, wanted.network, options, folder, output, self.device, self.seed
            )
        return run_folder(self.out, wanted, config, material), config

    def _train(self, folder: Path, wanted: Wanted, count: str) -> None:
        material = self.material(wanted.kind)
        self.note(f"training {count}: {wanted.name}, x{wanted.ratio}, {material.title}; {folder}")
        train_into(folder, self._place(wanted)[1], material, self.progress)

    def _train_apart(self, missing: Mapping[Path, Wanted], many: int, threads: int) -> None:
        waiting = list(missing.items())
        running: list[tuple[Path, Wanted, Child]] = []
        done = 0
        self.note(f"training {len(missing)} networks, {many} at a time with {threads} thread(s) each")
        try:
            while waiting or running:
                while waiting and len(running) < many:
                    folder, one = waiting.pop(0)
                    running.append((folder, one, Child(_MODULE, self._line(one), threads)))
                time.sleep(_POLL_SECONDS)
                for item in [item for item in running if item[2].ended]:
                    running.remove(item)
                    failure = item[2].failure()
                    if failure is not None:
                        raise HyperfuseError(f"training {item[1].name}: {failure}")
                    done += 1
                    self.note(f"trained {done} of {len(missing)}: {item[1].name}, x{item[1].ratio}; {item[0]}")
                    self.progress(done / len(missing), f"{done} of {len(missing)} networks")
        finally:
            for _, _, child in running:
                child.kill()

    def _line(self, wanted: Wanted) -> str:
        values = {
            "out": str(self.out),
            "quick": self.quick,
            "cave": None if self.cave is None else str(self.cave),
            "harvard": None if self.harvard is None else str(self.harvard),
            "budget": asdict(self.budget),
            "device": self.device,
            "seed": self.seed,
            "wanted": asdict(wanted),
        }
        return json.dumps(values)

    def _job(self, entry: Entry, material: Material, scene: str, ratio: int) -> BenchmarkJob:
        pairs = Pairs(material.name, Path(), "uestc", material.srf, self.seed, self.device)
        return BenchmarkJob(entry, scene, float(ratio), pairs, None, material.stamp)


def train_told(line: str) -> None:
    """Train the network that a line of :meth:`Lab.prepare` tells, in a process of its own."""
    values = json.loads(line)
    told = values.pop("wanted")
    wanted = Wanted(**{**told, "switches": tuple((name, value) for name, value in told["switches"])})
    paths = {name: None if values[name] is None else Path(values[name]) for name in ("cave", "harvard")}
    lab = Lab(**{**values, **paths, "out": Path(values["out"]), "budget": Budget(**values["budget"])})
    lab.trained(wanted)


def serve_training() -> None:
    """Be the process that trains one network."""
    serve(train_told)
