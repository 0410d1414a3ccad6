"""What is trained for the paper's rows and ablations: folds of scenes, networks, their order, their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FOLDS = 5
# Of the rows; each keeps every fifth scene out.
ROW_FOLDS = (0, 1)
SEEDS = (0, 1, 2)
RATIOS = (4, 8)
NETWORKS = ("feinfn", "feinfn-release")
PROPOSED = "proposed"
# Width of the networks of the ablations, a quarter of the paper's.
NARROW: Mapping[str, Any] = {"width": 32, "hidden": [64, 32], "decoder_width": 32}

# The tables of `hyperfuse reproduce`: domains, activation, upsampling, and the kernel on phases of `leakage`.
TABLES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "domains": {"spatial": {"domains": "spatial"}, "frequency": {"domains": "frequency"}, "both": {}},
    "activation": {
        "ReLU": {"activation": "relu"},
        "GELU": {"activation": "gelu"},
        "Leaky ReLU": {"activation": "leaky-relu"},
        "Gabor": {},
    },
    "upsampling": {
        "bilinear": {"upsampler": "bilinear"},
        "bicubic": {"upsampler": "bicubic"},
        "pixel shuffle": {"upsampler": "pixel-shuffle", "shuffle_ratio": 4},
        "LIIF, spatial only": {"upsampler": "liif", "domains": "spatial"},
        "implicit function": {},
    },
    "phase kernel": {"3x3": {"phase_kernel": 3}, "1x1": {}},
}


@dataclass(frozen=True)
class Entry:
    """A training.

    Attributes:
        part: ``"rows"`` or ``"ablation"``.
        name: of its files.
        network: name in the registry.
        options: of the network.
        ratio: of the pairs.
        fold: of which the scenes are kept out.
        seed: of weights and crops.
        patches: to see; None: as many as there is time for.
    """

    part: str
    name: str
    network: str = "feinfn"
    options: Mapping[str, Any] = field(default_factory=dict)
    ratio: int = 4
    fold: int = 0
    seed: int = 0
    patches: int | None = None

    def described(self) -> dict[str, Any]:
        """Return the fields, as records hold them."""
        return asdict(self)


def rows(size: Mapping[str, Any] | None = None, folds: Sequence[int] = ROW_FOLDS) -> list[Entry]:
    """Return the trainings of the paper's rows; ``size`` are options of smaller networks.

    Example:
        >>> [entry.name for entry in rows(folds=[0])]
        ['feinfn-x4-fold0', 'feinfn-release-x4-fold0', 'feinfn-x8-fold0', 'feinfn-release-x8-fold0']
    """
    return [
        Entry("rows", f"{network}-x{ratio}-fold{fold}", network, dict(size or {}), ratio, fold)
        for fold in folds
        for ratio in RATIOS
        for network in NETWORKS
    ]


def variants() -> dict[str, dict[str, Any]]:
    """Return the switches of each network of the ablations; the one that the paper proposes is in all tables.

    Example:
        >>> list(variants())[:3]
        ['proposed', 'spatial', 'frequency']
    """
    found: dict[str, dict[str, Any]] = {PROPOSED: {}}
    for table in TABLES.values():
        found |= {slug(name): dict(switches) for name, switches in table.items() if switches}
    return found


def slug(name: str) -> str:
    """Return the name of a variant as files have it.

    Example:
        >>> slug("LIIF, spatial only")
        'liif-spatial-only'
    """
    return name.lower().replace(",", "").replace(" ", "-")


def ablation(patches: int, size: Mapping[str, Any] = NARROW, seeds: Sequence[int] = SEEDS) -> list[Entry]:
    """Return the trainings of the ablations, all variants of a seed before the next seed: what is cut off is whole."""
    return [
        Entry("ablation", f"{name}-seed{seed}", options={**size, **switches}, seed=seed, patches=patches)
        for seed in seeds
        for name, switches in variants().items()
    ]


def held_out(names: Sequence[str], fold: int) -> list[str]:
    """Return the scenes of a fold, every fifth in alphabetical order.

    Example:
        >>> held_out(list("abcdefgh"), 1)
        ['b', 'g']
    """
    return sorted(names)[fold::FOLDS]


def queues(entries: Sequence[Entry], workers: int) -> list[list[Entry]]:
    """Divide trainings among processes: rows by ratio, as a process keeps the scenes of one; ablations in turn.

    Args:
        entries: in the order in which they are to be done.
        workers: processes of the ablations; 0: a single process for everything.
    """
    if not workers:
        return [list(entries)] if entries else []
    by_ratio = [[one for one in entries if one.part == "rows" and one.ratio == ratio] for ratio in RATIOS]
    narrow = [one for one in entries if one.part == "ablation"]
    return [queue for queue in (*by_ratio, *(narrow[n::workers] for n in range(workers))) if queue]


def seconds_of(entry: Entry, waiting: Sequence[Entry], remaining: float) -> float:
    """Return the time for a training: equal parts of what remains for it and those that wait; all where patches end it.

    Example:
        >>> first, *others = rows(folds=[0])
        >>> seconds_of(first, others, 100.0)
        25.0
    """
    if entry.patches is not None:
        return max(0.0, remaining)
    return max(0.0, remaining) / (1 + sum(one.part == "rows" for one in waiting))
