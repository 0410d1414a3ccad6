"""Tables: every method and network next to the figure that was published for it, with the weights that gave ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from hyperfuse.benchmark.entries import Entry, Missing, count_trained, method_entry
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.published import LABELS, PUBLISHED, SOURCES, PublishedScores
from hyperfuse.benchmark.reproduce.results import (
    PARAMETERS,
    SCORES,
    SECONDS,
    Artefact,
    Check,
    Networks,
    Result,
    compare,
)
from hyperfuse.benchmark.summary import Point, describe_weights
from hyperfuse.benchmark.tradeoff import tradeoff_figure
from hyperfuse.benchmark.weights import entries_of, find_weights, missing_networks
from hyperfuse.datasets import get_dataset
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.methods import DEFAULT_METHOD, list_methods
from hyperfuse.networks.registry import create_network, list_networks, network_options
from hyperfuse.tables import Column

# With the digits that were published.
_PUBLISHED = tuple(
    replace(one, key=f"published_{one.key}", title=f"published {one.title}", format=digits)
    for one, digits in zip(SCORES, (".2f", ".2f", ".2f", ".3f"), strict=True)
)
_KIND, _WEIGHTS = Column("kind", "kind"), Column("weights", "weights")
_COLUMNS = (Column("method", "method"), _KIND, *_PUBLISHED, *SCORES, SECONDS, PARAMETERS, _WEIGHTS)
_OURS = (RequiredNetwork("feinfn (trained)"), RequiredNetwork("feinfn-release (trained)", network="feinfn-release"))
_NONE_NEEDED = {"classical": "none needed", "network fitted to the pair": "none: fitted to each pair"}
# Bands of the pairs that published counts and scores are for.
_HSI_BANDS, _MSI_BANDS = 31, 3

Row = Mapping[str, Any]


def compared_table(kind: str, ratio: int) -> Artefact:
    """Return the table of all methods and networks on a data set at a ratio; nothing is trained for it.

    Weights are those in the experiment's folder ``weights``, and of FeINFN those that this package's other tables
    trained.
    """
    title = f"{get_dataset(kind).title}, ratio {ratio}: all methods and networks"

    def make(experiment: Experiment, networks: Networks) -> Result:
        entries, missing = _entries(experiment, kind, ratio)
        slow = [entry.name for entry in entries if entry.takes_minutes]
        if slow:
            experiment.note(f"minutes for an image of 512x512x31 on two cores: {', '.join(slow)}")
        published = PUBLISHED[kind, ratio]
        rows: list[Row] = [_measured(experiment, entry, kind, ratio, published) for entry in entries]
        rows += [_unmeasured(one, published) for one in missing]
        named = {LABELS.get(row["network"]) for row in rows}
        rows += [
            {"method": label, "kind": "published", "weights": "published", **_figures(scores)}
            for label, scores in published.items()
            if label not in named
        ]
        points = [_point(row) for row in rows if "psnr_db" in row]
        if not experiment.quick:  # scores of the full data are not comparable with those of a part of it
            points += _published_points(published, ratio)
        text = [
            "Measured here: means over the test scenes, degradation `uestc`, by the weights of the last column.",
            f"Published: not computed here; full training data, deviations unknown. From {SOURCES[kind, ratio]}.",
        ]
        return Result(_COLUMNS, rows, tradeoff_figure(points, title), text, _checks(rows))

    return Artefact(f"table-{kind}-x{ratio}", "table", title, (), make, about=kind)


def _entries(experiment: Experiment, kind: str, ratio: int) -> tuple[list[Entry], list[Missing]]:
    """Return classical methods, networks with weights, and what is fitted to the pair; and networks without weights."""
    stored = [] if experiment.weights is None else find_weights(experiment.weights)
    methods = [method_entry(method.name) for method in list_methods()]
    trained = [replace(one, kind=kind, ratio=ratio) for one in _OURS]
    ours = [one.entry for each in trained if (one := experiment.trained_before(each)) is not None]
    networks = [*(one for one in entries_of(stored) if one.takes_part(ratio)), *ours]
    names = {one.network for one in networks}
    return (
        [one for one in methods if not one.uses_network] + networks + [one for one in methods if one.uses_network],
        [one for one in missing_networks(stored, [ratio]) if one.name not in names],
    )


def _measured(
    experiment: Experiment, entry: Entry, kind: str, ratio: int, published: Mapping[str, PublishedScores]
) -> Row:
    # The default fits other models than the network of its name, whose published scores are not its.
    name = "" if entry.method == DEFAULT_METHOD else entry.network or entry.method or ""
    row: dict[str, Any] = {"method": entry.name, "network": name, "kind": entry.kind}
    row |= _figures(published.get(LABELS.get(name, "")))
    weights = _NONE_NEEDED.get(entry.kind) or describe_weights(entry, experiment.data(kind).test)
    try:
        scores = experiment.row(entry, kind, ratio)
    except HyperfuseError as error:
        experiment.note(f"{entry.name} failed: {error}")
        return {**row, "weights": f"{weights}; failed: {error}"}
    return {**row, **scores, "weights": weights}


def _unmeasured(one: Missing, published: Mapping[str, PublishedScores]) -> Row:
    scores = published.get(LABELS.get(one.name, ""))
    return {
        "method": one.name,
        "network": one.name,
        "kind": "trained network",
        "parameters": count_parameters(one.name, int(one.ratio)),
        "weights": one.reason,
        **_figures(scores),
    }


def _figures(scores: PublishedScores | None) -> dict[str, float | None]:
    return {} if scores is None else dict(zip((column.key for column in _PUBLISHED), scores, strict=True))


def _point(row: Row) -> Point:
    return Point(row["method"], float(row["psnr_db"]), row.get("parameters"), row.get("seconds"), row["kind"])


def _published_points(published: Mapping[str, PublishedScores], ratio: int) -> list[Point]:
    """Return the published scores of networks whose size is known, by building them."""
    known = {LABELS[name]: count_parameters(name, ratio) for name in list_networks() if name in LABELS}
    return [
        Point(label, scores[0], count, None, "published")
        for label, scores in published.items()
        if (count := known.get(label)) is not None
    ]


def count_parameters(network: str, ratio: int) -> int | None:
    """Return the trained parameters of a network for 31 and 3 bands at a ratio; None where it does not admit that."""
    field = network_options(network).model_fields.get("ratio")
    options = {} if field is None or field.default is None else {"ratio": ratio}
    try:
        with torch.device("meta"):
            built = create_network(network, hsi_bands=_HSI_BANDS, msi_bands=_MSI_BANDS, **options)
    except InputError:
        return None
    return count_trained(built)


def _checks(rows: Sequence[Row]) -> list[Check]:
    """Compare the default with the best of the others, and the order of the measured with the published one."""
    psnr = {str(row["method"]): float(row["psnr_db"]) for row in rows if "psnr_db" in row}
    checks = []
    others = [name for name in psnr if name != DEFAULT_METHOD]
    if DEFAULT_METHOD in psnr and others:
        best = max(others, key=lambda name: psnr[name])
        checks.append(compare(f"the default above {best}", psnr[DEFAULT_METHOD], psnr[best], whose="own"))
    both = [
        (float(row["psnr_db"]), float(row["published_psnr_db"]))
        for row in rows
        if "psnr_db" in row and row.get("published_psnr_db") is not None
    ]
    pairs = [(one, other) for index, one in enumerate(both) for other in both[index + 1 :] if one[1] != other[1]]
    if pairs:
        same = sum((one[0] - other[0]) * (one[1] - other[1]) > 0 for one, other in pairs)
        claim = "methods and networks in the published order"
        checks.append(Check(claim, same == len(pairs), f"{same} of {len(pairs)} pairs are in the same order", "own"))
    return checks
