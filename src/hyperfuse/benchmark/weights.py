"""Weights of networks that a folder holds: of which network, for which ratio, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.entries import Entry, Missing, network_entry
from hyperfuse.errors import InputError
from hyperfuse.methods import list_methods
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.pretrained import CONFIG, WEIGHTS, read_config
from hyperfuse.networks.registry import list_networks, network_class
from hyperfuse.networks.released import describe_file, read_training
from hyperfuse.training.checkpoints import BEST
from hyperfuse.training.run_folder import CONFIG as RUN_CONFIG
from hyperfuse.training.run_folder import describe_run

OF_AUTHORS = "weights of the authors"
NO_WEIGHTS = "no weights"
_CHECKPOINTS = (".safetensors", ".pth", ".pth.tar", ".pt", ".tar")
_RATIO_OF_NAME = re.compile(r"x(\d+)(?:[-_.]|$)")


@dataclass(frozen=True)
class StoredWeights:
    """Weights of a network.

    Attributes:
        network: its registered name.
        path: a file, or a folder that ``save_pretrained`` wrote.
        label: name of the file or training run.
        ratio: of the pairs that they are for, or None where neither they nor their name state it.
        origin: where they come from, such as ``trained here: 62,720 patches``.
        scenes: names of the scenes that they learnt from, where that is known.
    """

    network: str
    path: Path
    label: str
    ratio: int | None = None
    origin: str = OF_AUTHORS
    scenes: tuple[str, ...] = ()

    def entry(self, name: str | None = None) -> Entry:
        """Return it as an entry of a benchmark.

        Raises:
            InputError: weights that are damaged.
        """
        ratios = None if self.ratio is None else (float(self.ratio),)
        return replace(
            network_entry(self.path, name or self.label), origin=self.origin, ratios=ratios, seen=self.scenes
        )


def holds_several(path: str | Path) -> bool:
    """Whether a path is a folder, and none of one network (``RUN/best``)."""
    return Path(path).is_dir() and not (Path(path) / CONFIG).is_file()


def find_weights(folder: str | Path) -> list[StoredWeights]:
    """Return the weights in a folder, by name: files, folders of ``save_pretrained``, and training runs; or of a run.

    A file is one that ``hyperfuse weights convert`` wrote, or a checkpoint of an authors' program; ``-x4`` in its name
    is the ratio that it is for. Files of optimiser states and other networks' weights are refused.

    Raises:
        InputError: no such folder, a file of weights that is none, or nothing in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that holds files or training runs of networks", "weights")
    if (folder / BEST / CONFIG).is_file():
        return [_of_run(folder)]
    found = [one for path in sorted(folder.iterdir()) for one in _stored(path)]
    if not found:
        raise InputError(
            f"{folder}: holds no weights; it is to hold files that `hyperfuse weights convert` wrote, or folders of"
            " training runs",
            "weights",
        )
    return found


def compared_networks() -> list[str]:
    """Return the networks that are used with weights as they are, by year; others are fitted by a method."""
    methods = {method.name for method in list_methods()}
    return sorted((name for name in list_networks() if name not in methods), key=_year)


def entries_of(stored: Sequence[StoredWeights]) -> list[Entry]:
    """Return weights as entries, called by their network; by file or run where several are of one at the same ratio.

    Raises:
        InputError: weights that are damaged.
    """
    methods = {method.name for method in list_methods()}
    entries = []
    for one in sorted(stored, key=lambda one: (_year(one.network), one.label)):
        rivals = [other for other in stored if other.network == one.network and _meet(one.ratio, other.ratio)]
        plain = f"{one.network} (trained)" if one.network in methods else one.network
        entries.append(one.entry(plain if len(rivals) == 1 else one.label))
    return entries


def missing_networks(stored: Sequence[StoredWeights], ratios: Sequence[float]) -> list[Missing]:
    """Return each compared network of which there are no weights for a ratio, with what to do."""
    return [
        Missing(name, float(ratio), f"{NO_WEIGHTS}: {how_to_get(network_class(name))}")
        for ratio in ratios
        for name in compared_networks()
        if not any(one.network == name and one.ratio in (None, ratio) for one in stored)
    ]


def how_to_get(network: type[FusionNetwork]) -> str:
    """Return how weights of a network are had: by training, or from where its authors published them."""
    train = f"hyperfuse train configs/{network.name}-cave-x4.yaml"
    return train if network.published is None else f"{train}, or published: {network.published}"


def _stored(path: Path) -> Iterator[StoredWeights]:
    if path.is_dir():
        if (path / BEST / CONFIG).is_file():
            yield _of_run(path)
        elif (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
            yield _of_folder(path, path.name, {})
    elif path.name.endswith(_CHECKPOINTS):
        yield _of_file(path)


def _of_run(run: Path) -> StoredWeights:
    return _of_folder(run / BEST, run.name, describe_run(run) if (run / RUN_CONFIG).is_file() else {})


def _of_folder(path: Path, label: str, training: Mapping[str, Any]) -> StoredWeights:
    config = read_config(path / CONFIG)
    network, options = config.get("network"), config.get("options")
    if network not in list_networks() or not isinstance(options, dict):
        raise InputError(f"{path / CONFIG}: names no network that is known here", "weights")
    ratio = training.get("ratio") or options.get("ratio") or _ratio_of_name(label)
    return StoredWeights(network, path, label, ratio, describe_training(training), tuple(training.get("scenes", ())))


def _of_file(path: Path) -> StoredWeights:
    label = path.name
    for suffix in _CHECKPOINTS:
        label = label.removesuffix(suffix)
    described = describe_file(path, ratio=_ratio_of_name(label))
    if not described:
        raise InputError(f"{path}: weights of none of the networks that are known here", "weights")
    training = read_training(path)
    admitted = {one.options.get("ratio") for one in described}
    stated = _ratio_of_name(label) if training is None else training.get("ratio")
    ratio = stated or (admitted.pop() if len(admitted) == 1 else None)
    origin = OF_AUTHORS if training is None else describe_training(training)
    scenes = () if training is None else tuple(training.get("scenes", ()))
    return StoredWeights(described[0].network, path, label, ratio, origin, scenes)


def describe_training(training: Mapping[str, Any]) -> str:
    """Return in words how weights were trained, from ``patches`` and ``seconds``.

    Example:
        >>> describe_training({"patches": 62720, "seconds": 3600.0})
        'trained here: 62,720 patches in 1.0 h'
    """
    patches, seconds = training.get("patches"), training.get("seconds")
    if not patches:
        return "trained here: number of patches not stated"
    taken = "" if not seconds else f" in {seconds / 3600:.1f} h" if seconds >= 360 else f" in {seconds:.0f} s"
    return f"trained here: {patches:,} patches{taken}"


def _ratio_of_name(label: str) -> int | None:
    found = _RATIO_OF_NAME.search(label)
    return int(found[1]) if found else None


def _meet(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def _year(network: str) -> tuple[int, str]:
    return network_class(network).year, network
