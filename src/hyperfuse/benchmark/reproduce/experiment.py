"""What the tables and figures of one call are made of: data, trained networks (each trained once), and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from hyperfuse.benchmark.entries import Entry
from hyperfuse.benchmark.plan import BenchmarkJob, Pairs
from hyperfuse.benchmark.records import Record, read_record, write_record
from hyperfuse.benchmark.reproduce.data import ExperimentData, full_data, pines_data, quick_data
from hyperfuse.benchmark.reproduce.networks import (
    RequiredNetwork,
    TrainedVariant,
    is_trained,
    read_trained,
    run_folder,
    stated_options,
    train_into,
)
from hyperfuse.benchmark.reproduce.recipes import FULL_SIZES, QUICK_SIZES, Budget, full_config, quick_config
from hyperfuse.benchmark.worker import run_on_pair
from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import get_dataset
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.metrics import aggregate, evaluate
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.progress import Progress, part, silent
from hyperfuse.runtime.processes import Child, run_children
from hyperfuse.runtime.tensors import tensor_of
from hyperfuse.runtime.threads import usable_threads
from hyperfuse.scenes.simulate import Pair, simulate
from hyperfuse.training.configuration import TrainingConfig

_TRAINER = "hyperfuse.benchmark.reproduce.experiment:train_line"
# A network, and the first fields of an experiment.
_LINE: TypeAdapter[Any] = TypeAdapter(
    tuple[RequiredNetwork, Path, bool, Path | None, Path | None, Budget, str, int],
)


@dataclass
class Experiment:
    """How the tables and figures of one call are made; scenes are those of a data set (``kind``) at a ratio.

    Attributes:
        out: folder of all files; networks are kept in its folder ``weights``, scores in ``jobs``.
        quick: small data and short training.
        cave: folder of CAVE, or None.
        harvard: folder of Harvard, or None.
        budget: for each network under ``quick``.
        device: where to compute.
        seed: of weights and patches.
        note: called with lines of text.
        progress: called with the fraction of the trainings that is done.
        weights: folder of networks for the tables of all methods, or None.
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
    weights: Path | None = None
    _data: dict[str, ExperimentData] = field(default_factory=dict)
    _pairs: dict[tuple[str, int, str], Pair] = field(default_factory=dict)

    def data(self, kind: str = "cave") -> ExperimentData:
        """Return the scenes for a data set of the paper; under ``quick`` another real scene may stand in.

        Raises:
            InputError: the folder of a data set is required but None, or scenes are missing.
        """
        if kind not in self._data:
            folder = {"cave": self.cave, "harvard": self.harvard}[kind]
            if folder is not None:
                self._data[kind] = (quick_data if self.quick else full_data)(kind, folder)
            elif self.quick:
                self._data[kind] = pines_data()
            else:
                title = get_dataset(kind).title
                raise InputError(f"this needs the {title} data: pass {kind}=FOLDER (or quick=True)")
        return self._data[kind]

    def sizes(self) -> Mapping[str, dict[str, Any]]:
        """Return the options of networks by the name of their size."""
        return QUICK_SIZES if self.quick else FULL_SIZES

    def trains(self, required: RequiredNetwork) -> bool:
        """Return whether a network is part of this experiment: quick ones have other sizes, and train feinfn only."""
        return required.size in self.sizes() and not (self.quick and required.network != "feinfn")

    def prepare(self, required: Sequence[RequiredNetwork], workers: int | None = None) -> None:
        """Train the required networks that are missing, of which several may be one.

        ``workers`` is the number of processes, each with its part of the threads; default: under ``quick`` on a CPU the
        number of threads (small networks gain little from more than one), else 1.

        Raises:
            HyperfuseError: a training that failed.
        """
        missing: dict[Path, RequiredNetwork] = {}
        for one in required:
            folder = self.run(one)[0]
            if not is_trained(folder):
                missing.setdefault(folder, one)
        threads = usable_threads()
        on_cpu = self.device == "cpu" or not torch.cuda.is_available()
        workers = min(len(missing), workers or (threads if self.quick and on_cpu else 1))
        if workers <= 1:
            for number, one in enumerate(missing.values(), 1):
                self._train(one, number, len(missing))
        else:
            self._train_in_processes(list(missing.values()), workers, max(1, threads // workers))

    def trained(self, required: RequiredNetwork) -> TrainedVariant:
        """Return a trained network; each is trained once, over all artefacts and calls.

        Raises:
            HyperfuseError: a training that failed.
        """
        folder = self.run(required)[0]
        if not is_trained(folder):
            self._train(required, 1, 1)
        return read_trained(folder, required.name)

    def trained_before(self, required: RequiredNetwork) -> TrainedVariant | None:
        """Return a network where another artefact trained it, else None."""
        if not self.trains(required) or not is_trained(folder := self.run(required)[0]):
            return None
        return read_trained(folder, required.name)

    def run(self, required: RequiredNetwork) -> tuple[Path, TrainingConfig]:
        """Return folder and configuration of the training of a network."""
        data = self.data(required.kind)
        # Without defaults, so that one network has one folder under any name.
        options = stated_options(required.network, {**self.sizes()[required.size], **required.switches})
        common = {"output": self.out / "weights", "seed": self.seed, "device": self.device}
        if self.quick:
            config = quick_config(data, required.ratio, options, self.budget, common)
        else:
            config = full_config(data, required.ratio, required.network, options, common)
        return run_folder(self.out, required, config, data), config

    def pair(self, kind: str = "cave", ratio: int = 4, scene: str | None = None) -> Pair:
        """Return the pair of a test scene; default: the first."""
        data = self.data(kind)
        key = kind, ratio, scene or data.test[0]
        if key not in self._pairs:
            cube = data.scenes.load(key[2])
            self._pairs = {key: simulate(cube, ratio=ratio, preset="uestc", srf=data.srf)}  # only the latest is kept
        return self._pairs[key]

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return HSI and MSI of the first test scene of CAVE at ratio 4, as a batch of one."""
        hsi, msi = (tensor_of(cube.data).float()[None] for cube in (self.pair().hsi, self.pair().msi))
        return hsi, msi

    def fuse(self, entry: Entry, kind: str = "cave", ratio: int = 4) -> tuple[Cube, Record]:
        """Fuse the first test scene."""
        return run_on_pair(self._job(entry, kind, ratio, self.data(kind).test[0]), self.pair(kind, ratio))

    def row(self, entry: Entry, kind: str = "cave", ratio: int = 4) -> dict[str, Any]:
        """Return mean scores over the test scenes and ``psnr_std`` of several, ``seconds``, and ``parameters``.

        Scores of an earlier call are reused.
        """
        records = []
        for scene in self.data(kind).test:
            job = self._job(entry, kind, ratio, scene)
            record = read_record(self.out, job)
            if record is None:
                _, record = run_on_pair(job, self.pair(kind, ratio, scene))
                write_record(self.out, record)
            records.append(record)
        total = aggregate([record.scores for record in records if record.scores])
        times = [record.seconds for record in records if record.seconds is not None]
        row = {**total["mean"], "seconds": sum(times) / max(len(times), 1), "parameters": entry.parameters}
        return row | {"psnr_std": total["std"]["psnr_db"]} if len(records) > 1 else row

    def interpolated(self) -> float:
        """Return the mean PSNR over the test scenes of CAVE of the interpolated HSI, ratio 4, that networks add to."""
        psnr = []
        for scene in self.data().test:
            pair = self.pair(scene=scene)
            hsi = tensor_of(pair.hsi.data).float()[None]
            image = resample(hsi, (pair.reference.rows, pair.reference.cols))[0].numpy()
            psnr.append(evaluate(pair.reference, image, 4)["psnr_db"])
        return float(np.mean(psnr))

    def _train(self, required: RequiredNetwork, number: int, count: int) -> None:
        data = self.data(required.kind)
        folder, config = self.run(required)
        self.note(f"training {number} of {count}: {required.name}, x{required.ratio}, {data.title}; {folder}")
        train_into(folder, config, data, part(self.progress, (number - 1) / count, number / count))

    def _train_in_processes(self, missing: Sequence[RequiredNetwork], workers: int, threads: int) -> None:
        done = 0

        def finish(one: RequiredNetwork, child: Child) -> None:
            nonlocal done
            failure = child.failure()
            if failure is not None:
                raise HyperfuseError(f"training {one.name}: {failure}")
            done += 1
            self.note(f"trained {done} of {len(missing)}: {one.name}, x{one.ratio}; {self.run(one)[0]}")
            self.progress(done / len(missing), f"{done} of {len(missing)} networks")

        self.note(f"training {len(missing)} networks, {workers} at a time with {threads} thread(s) each")
        run_children(missing, lambda one: Child(_TRAINER, self._line(one), threads), finish, workers=workers)

    def _line(self, required: RequiredNetwork) -> str:
        options = self.out, self.quick, self.cave, self.harvard, self.budget, self.device, self.seed
        return _LINE.dump_json((required, *options)).decode()

    def _job(self, entry: Entry, kind: str, ratio: int, scene: str) -> BenchmarkJob:
        data = self.data(kind)
        pairs = Pairs(data.name, Path(), "uestc", data.srf, self.seed, self.device)
        return BenchmarkJob(entry, scene, float(ratio), pairs, None, data.stamp)


def train_line(line: str) -> None:
    """Train the network of a line that :meth:`Experiment.prepare` sends to a process."""
    required, *options = _LINE.validate_json(line)
    Experiment(*options).trained(required)
