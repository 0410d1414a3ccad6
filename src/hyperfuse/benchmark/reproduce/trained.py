"""Networks that tables and figures are made with: what is wanted, and what came of training it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hyperfuse.benchmark.entries import Entry, network_entry
from hyperfuse.benchmark.reproduce.data import Material
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.networks.registry import parse_options
from hyperfuse.progress import Progress
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.loop import train
from hyperfuse.training.run_log import read_log
from hyperfuse.version import __version__

_FINISHED = "finished.json"


@dataclass(frozen=True)
class Wanted:
    """A network that a table or figure needs.

    Attributes:
        name: what it calls it.
        kind: data set, ``cave`` or ``harvard``.
        ratio: of the pairs.
        size: name of its size.
        network: as registered.
        switches: options of the network beside its size.
    """

    name: str
    kind: str = "cave"
    ratio: int = 4
    size: str = "base"
    network: str = "feinfn"
    switches: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        name: what the table or figure calls it.
        folder: of its run.
        entry: for scoring.
        seconds: that its training took.
        steps: of its training.
    """

    name: str
    folder: Path
    entry: Entry
    seconds: float
    steps: int

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return self.entry.parameters or 0

    def network(self) -> FeINFN:
        """Return it with its best weights, in evaluation mode."""
        return cast(FeINFN, from_pretrained(self.folder / "best"))

    def curve(self) -> list[tuple[int, float]]:
        """Return (step, PSNR in dB on what chose the weights) over its training."""
        key = "validation/psnr_db"
        return [(int(entry["step"]), float(entry[key])) for entry in read_log(self.folder) if key in entry]


def run_folder(out: Path, wanted: Wanted, config: TrainingConfig, material: Material) -> Path:
    """Return where a network is kept; the name tells what it is, with a digest of all that its weights depend on."""
    told = config.model_dump(mode="json")
    for key in ("output", "resume", "device", "workers"):
        del told[key]
    for key in ("folder", "memory_gb"):
        del told["data"][key]
    text = json.dumps([told, material.stamp, material.quick, __version__], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    switched = stated_options(wanted.network, dict(wanted.switches))
    what = "-".join([wanted.size, *(str(value) for value in switched.values())])
    return out / "weights" / f"{wanted.network}-{material.name}-x{wanted.ratio}-{what}-{digest}"


def stated_options(network: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a network without those that are its defaults.

    Example:
        >>> stated_options("feinfn", {"domains": "both", "activation": "relu"})
        {'activation': 'relu'}
    """
    return parse_options(network, dict(options)).model_dump(mode="json", exclude_defaults=True)


def is_trained(folder: Path) -> bool:
    """Return whether the training of a folder ended."""
    return (folder / _FINISHED).is_file()


def train_into(folder: Path, config: TrainingConfig, material: Material, progress: Progress) -> None:
    """Train a network into its folder; in full, a training that was interrupted goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config.model_copy(update={"output": folder})
    start = time.monotonic()
    if material.quick:
        # With fresh weights a short training would be spent on unlearning what they add.
        begin = config.network.model_copy(update={"zero_output": True})
        config = config.model_copy(update={"network": begin, "resume": False})
    result = train(config, material.scenes, overwrite=material.quick, progress=progress)
    record = {"seconds": time.monotonic() - start, "steps": result.steps, "scores": result.best_scores}
    with replacing(folder / _FINISHED) as scratch:
        scratch.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def read_trained(folder: Path, name: str) -> Trained:
    """Return the network of a folder that :func:`train_into` ended.

    Raises:
        InputError: a damaged folder.
    """
    try:
        record: Mapping[str, Any] = json.loads((folder / _FINISHED).read_text("utf-8"))
        return Trained(name, folder, network_entry(folder / "best", name), record["seconds"], record["steps"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: is damaged ({error}); remove it to train the network anew") from error
