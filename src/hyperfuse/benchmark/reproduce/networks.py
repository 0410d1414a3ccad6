"""Networks that tables and figures need: which, where they are kept, and the result of training them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hyperfuse.benchmark.entries import Entry, network_entry
from hyperfuse.benchmark.reproduce.data import ExperimentData
from hyperfuse.benchmark.weights import describe_training
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.networks.registry import parse_options
from hyperfuse.progress import Progress
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.loop import train
from hyperfuse.training.run_folder import describe_run
from hyperfuse.training.run_log import read_log
from hyperfuse.version import __version__

_FINISHED = "finished.json"


@dataclass(frozen=True)
class RequiredNetwork:
    """A network that a table or figure needs.

    Attributes:
        name: in the table or figure.
        kind: data set, ``cave`` or ``harvard``.
        ratio: of the pairs.
        size: name of its size.
        network: name in the registry.
        switches: options of the network in addition to its size.
    """

    name: str
    kind: str = "cave"
    ratio: int = 4
    size: str = "base"
    network: str = "feinfn"
    switches: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedVariant:
    """A network with the folder of its training run, and its entry for scoring."""

    name: str
    folder: Path
    entry: Entry

    def network(self) -> FeINFN:
        """Return it with its best weights, in evaluation mode."""
        return cast(FeINFN, from_pretrained(self.folder / "best"))

    def curve(self) -> list[tuple[int, float]]:
        """Return (step, validation PSNR in dB) over its training."""
        key = "validation/psnr_db"
        return [(int(entry["step"]), float(entry[key])) for entry in read_log(self.folder) if key in entry]


def run_folder(out: Path, required: RequiredNetwork, config: TrainingConfig, data: ExperimentData) -> Path:
    """Return the folder of a network; its name holds a digest of all that the weights depend on."""
    values = config.model_dump(mode="json")
    for key in ("output", "resume", "device", "workers"):
        del values[key]
    for key in ("folder", "memory_gb"):
        del values["data"][key]
    text = json.dumps([values, data.stamp, data.quick, __version__], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    switched = stated_options(required.network, required.switches)
    what = "-".join([required.size, *map(str, switched.values())])
    return out / "weights" / f"{required.network}-{data.name}-x{required.ratio}-{what}-{digest}"


def stated_options(network: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a network without those that are its defaults.

    Example:
        >>> stated_options("feinfn", {"domains": "both", "activation": "relu"})
        {'activation': 'relu'}
    """
    return parse_options(network, dict(options)).model_dump(mode="json", exclude_defaults=True)


def is_trained(folder: Path) -> bool:
    """Return whether the training of a folder is complete."""
    return (folder / _FINISHED).is_file()


def train_into(folder: Path, config: TrainingConfig, data: ExperimentData, progress: Progress) -> None:
    """Train a network into its folder; in full, a training that was interrupted resumes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config.model_copy(update={"output": folder})
    start = time.monotonic()
    if data.quick:
        # A short training cannot unlearn what random weights add.
        network = config.network.model_copy(update={"zero_output": True})
        config = config.model_copy(update={"network": network, "resume": False})
    result = train(config, data.scenes, overwrite=data.quick, progress=progress)
    record = {"seconds": time.monotonic() - start, "steps": result.steps, "scores": result.best_scores}
    with replacing(folder / _FINISHED) as scratch:
        scratch.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def read_trained(folder: Path, name: str) -> TrainedVariant:
    """Return the network of a folder that :func:`train_into` completed.

    Raises:
        InputError: a damaged folder.
    """
    try:
        entry = replace(network_entry(folder / "best", name), origin=describe_training(describe_run(folder)))
        return TrainedVariant(name, folder, entry)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is damaged ({error}); remove it to train the network again") from error
