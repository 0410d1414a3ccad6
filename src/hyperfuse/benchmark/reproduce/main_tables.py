"""Tables: every method and the trained network on CAVE and Harvard, at ratios 4 and 8."""

from __future__ import annotations

from functools import partial
from typing import Any

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.published import PUBLISHED
from hyperfuse.benchmark.reproduce.results import PARAMETERS, SCORES, SECONDS, Artefact, Result, compare
from hyperfuse.methods import list_methods
from hyperfuse.tables import Column

_TITLES = {"cave": "CAVE", "harvard": "Harvard"}
_COLUMNS = (
    Column("method", "method"),
    *SCORES,
    Column("psnr_std", "PSNR std", format=".2f"),
    SECONDS,
    PARAMETERS,
    Column("where", "numbers"),
)
_NETWORK = "feinfn (trained)"


def artefact(kind: str, ratio: int) -> Artefact:
    """Return the table of a data set at a ratio."""
    title = f"{_TITLES[kind]}, ratio {ratio}: methods and networks"
    required, make = partial(_required, kind, ratio), partial(_make, kind, ratio)
    return Artefact(f"{kind}-x{ratio}", "table", title, required, make, (kind,))


def _required(kind: str, ratio: int, experiment: Experiment) -> list[RequiredNetwork]:
    found = [RequiredNetwork(_NETWORK, kind, ratio)]
    if not experiment.quick:
        found.append(RequiredNetwork("feinfn-release (trained)", kind, ratio, network="feinfn-release"))
    return found


def _make(kind: str, ratio: int, experiment: Experiment) -> Result:
    """Score methods and trained networks, and list published numbers with them."""
    # Methods that take minutes per scene are scored on the full data only.
    methods = [method.name for method in list_methods() if method.cost == "seconds" or not experiment.quick]
    entries = [method_entry(name) for name in methods]
    entries += [experiment.trained(one).entry for one in _required(kind, ratio, experiment)]
    rows: list[dict[str, Any]] = [
        {"method": one.name, "where": "computed here", **experiment.row(one, kind, ratio)} for one in entries
    ]
    psnr = {row["method"]: float(row["psnr_db"]) for row in rows}
    published = PUBLISHED[kind, ratio]
    keys = [column.key for column in SCORES]
    rows += [
        {"method": name, "where": "published", **dict(zip(keys, scores, strict=True))}
        for name, scores in published.items()
    ]
    text = ["Means over the test scenes; degradation `uestc`."]
    if published:
        text.append(
            "Rows marked published were not computed here: second-hand tables, full training data, deviations unknown."
        )
    if experiment.quick:
        text.append("Methods that take minutes per scene are left out of quick tables.")
    best = max(methods, key=lambda name: psnr[name])
    checks = [
        compare(f"the trained network above {name}", psnr[_NETWORK], psnr[name], whose="own")
        for name in dict.fromkeys(["bicubic", best])
    ]
    # Numbers of the full data are not comparable with those of a few parts of it.
    compared = {} if experiment.quick else {name: scores[0] for name, scores in published.items()}
    chart = score_chart(psnr, f"{_TITLES[kind]}, ratio {ratio}", proposed=_NETWORK, published=compared)
    return Result(_COLUMNS, rows, chart, text, checks)
