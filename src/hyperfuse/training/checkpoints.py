"""Checkpoints: folders of safetensors and JSON, each complete or absent; nothing in them is executed."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.damage import checksum, named
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.pretrained import WEIGHTS, save_pretrained
from hyperfuse.training.averaging import WeightAverage
from hyperfuse.version import __version__

STATE, TENSORS = "state.json", "training.safetensors"
BEST, CHECKPOINTS = "best", "checkpoints"
SCORES = "scores.json"
_FORMAT = 1
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class RunState:
    """The state of a run apart from its tensors.

    Steps taken, the best validation so far, the name of its base, and the wall time of its parts so far in seconds.
    """

    step: int = 0
    best_step: int | None = None
    best_scores: dict[str, float] | None = None
    base: str | None = None
    seconds: float = 0.0


def save_checkpoint(
    folder: Path,
    state: RunState,
    network: FusionNetwork,
    average: WeightAverage | None,
    optimiser: torch.optim.Optimizer,
    keep: int,
) -> None:
    """Write ``checkpoints/step-NNNNNNNN`` and remove all but the latest ``keep``.

    The folder holds a pretrained network (the averaged weights where there are any), ``training.safetensors`` with
    weights and moments, and ``state.json``. No state of a random generator is needed: all that is random is a function
    of seed and step.

    Raises:
        HyperfuseError: no space left or another failure; the checkpoints before stay.
    """
    target = folder / CHECKPOINTS / f"step-{state.step:08d}"
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"weights/{name}": value for name, value in network.state_dict().items()}
    for number, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{key}": value for key, value in values.items()}
    record = {"format": _FORMAT, "version": __version__, "torch": str(torch.__version__), **asdict(state)}
    with _writing(target) as scratch:
        save_pretrained(network if average is None else average.network, scratch)
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, scratch / TENSORS)
        record["averaged"] = average is not None
        record["checksums"] = {file.name: checksum(file) for file in sorted(scratch.iterdir())}
        _write_json(scratch / STATE, {**record, "checksum": _checksum_of(record)})
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def save_best(
    folder: Path, network: FusionNetwork, scores: dict[str, float], step: int, base: Mapping[str, Any] | None = None
) -> None:
    """Write the best weights so far as a pretrained network, with ``scores.json``, in place of those before."""
    with _writing(folder / BEST) as scratch:
        save_pretrained(network, scratch, base=base)
        _write_json(scratch / SCORES, {"step": step, **scores})


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the most steps in the folder of a run, or None."""
    return next(reversed(_checkpoints(folder)), None)


def read_state(path: Path) -> RunState:
    """Return the state that a checkpoint records, without its tensors.

    Raises:
        InputError: a damaged checkpoint, or one of another format.
    """
    return _state(_read_record(path))


def load_checkpoint(
    path: Path, network: FusionNetwork, average: WeightAverage | None, optimiser: torch.optim.Optimizer
) -> RunState:
    """Put network, average and optimiser into the state of a checkpoint.

    Raises:
        InputError: a checkpoint that is damaged or of another network, optimiser or version.
    """
    record = _read_record(path)
    try:
        for name, value in record.get("checksums", {}).items():
            if checksum(path / name) != value:
                raise _unreadable(path, f"{name} was changed")
        tensors = load_file(path / TENSORS)
        averaged = load_file(path / WEIGHTS) if average is not None else {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    if record["averaged"] != (average is not None):
        raise InputError(f"{path}: was trained {'with' if record['averaged'] else 'without'} an average of weights")
    weights: dict[str, torch.Tensor] = {}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        if kind == "weights":
            weights[key] = value
        else:
            number, _, key = key.partition("/")
            moments.setdefault(int(number), {})[key] = value
    try:
        network.load_state_dict(weights)
        if average is not None:
            average.network.load_state_dict(averaged)
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: does not fit this network ({str(error).splitlines()[-1].strip()})") from None
    return _state(record)


def remove_partial(folder: Path) -> None:
    """Remove what a killed run was writing: scratch folders next to its checkpoints and its best weights."""
    for scratch in (*(folder / CHECKPOINTS).glob(".step-*.part"), *folder.glob(f".{BEST}.*.part")):
        shutil.rmtree(scratch, ignore_errors=True)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / STATE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise InputError(f"{path}: not a checkpoint of format {_FORMAT}; remove it to resume from the one before it")
    if "checksum" in record and record.pop("checksum") != _checksum_of(record):
        raise _unreadable(path, f"{STATE} was changed")
    record.setdefault("seconds", 0.0)  # older checkpoints are of runs whose length is counted
    missing = {"averaged", *(one.name for one in fields(RunState))} - record.keys()
    if missing:
        raise _unreadable(path, f"{STATE} has no {', '.join(sorted(missing))}")
    return record


def _checksum_of(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _state(record: dict[str, Any]) -> RunState:
    return RunState(record["step"], record["best_step"], record["best_scores"], record["base"], record["seconds"])


def _unreadable(path: Path, error: Exception | str) -> InputError:
    return InputError(f"{path}: the checkpoint cannot be read ({error}); remove it to resume from the one before it")


def _checkpoints(folder: Path) -> list[Path]:
    parent = folder / CHECKPOINTS
    return sorted(p for p in parent.iterdir() if p.is_dir() and _NAME.fullmatch(p.name)) if parent.is_dir() else []


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


@contextmanager
def _writing(target: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``target`` when the block ends well."""
    with named(target), replacing(target) as scratch:
        scratch.mkdir()
        try:
            yield scratch
        except SafetensorError as error:
            # The writer of safetensors wraps the failure of the file system in its own exception.
            found = re.search(r"(?:.*: )?(.*) \(os error (\d+)", str(error))
            raise (OSError(int(found[2]), found[1]) if found else OSError(str(error))) from error
