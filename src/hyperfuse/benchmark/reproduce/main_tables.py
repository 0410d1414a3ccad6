"""Tables: every method and the trained network on CAVE and Harvard, at ratios 4 and 8."""

from __future__ import annotations

from typing import Any

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.published import PUBLISHED, REFERENCES, SOURCES
from hyperfuse.benchmark.reproduce.results import (
    PARAMETERS,
    SCORES,
    SECONDS,
    WHERE,
    Artefact,
    Networks,
    Result,
    compare,
    origin_of,
)
from hyperfuse.datasets import get_dataset
from hyperfuse.methods import get_method, list_methods
from hyperfuse.tables import Column

_DEVIATION = Column("psnr_std", "PSNR std", format=".2f")
_COLUMNS = (Column("method", "method"), *SCORES, _DEVIATION, SECONDS, PARAMETERS, WHERE)
_NETWORK = "feinfn (trained)"


def main_table(kind: str, ratio: int) -> Artefact:
    """Return the table of a data set at a ratio: methods, trained networks, and published numbers."""
    title, published = f"{get_dataset(kind).title}, ratio {ratio}", PUBLISHED[kind, ratio]
    required = [
        RequiredNetwork(_NETWORK, kind, ratio),
        RequiredNetwork("feinfn-release (trained)", kind, ratio, network="feinfn-release"),
    ]

    def make(experiment: Experiment, networks: Networks) -> Result:
        methods = [method.name for method in list_methods() if method.cost == "seconds"]
        slow = [method.name for method in list_methods() if method.name not in methods]
        # The linear part alone, so that nobody credits what corrects it with it.
        without = [method_entry(name, {"effort": "fast"}) for name in methods if get_method(name).capabilities.effort]
        entries = [*map(method_entry, methods), *without, *(one.entry for one in networks.values())]
        rows: list[dict[str, Any]] = [
            {"method": one.name, "where": origin_of(one), **experiment.row(one, kind, ratio)} for one in entries
        ]
        psnr = {row["method"]: float(row["psnr_db"]) for row in rows}
        keys = [column.key for column in SCORES]
        rows += [
            {"method": name, "where": origin_of(None), **dict(zip(keys, scores, strict=True))}
            for name, scores in published.items()
        ]
        text = ["Means over the test scenes; degradation `uestc`."]
        if slow:
            text.append(
                f"Left out, as they take minutes for a scene: {', '.join(slow)}; `table-cave-x4` has all methods."
            )
        if published:
            cited = "; ".join(f"{name}: {REFERENCES[name]}" for name in published)
            text.append(
                "Rows marked published were not computed here: full training data, deviations unknown, cited from "
                f"{SOURCES[kind, ratio]} ({cited})."
            )
        best = max(methods, key=lambda name: psnr[name])
        checks = [
            compare(f"the trained network above {name}", psnr[_NETWORK], psnr[name], whose="own")
            for name in dict.fromkeys(["bicubic", best])
        ]
        # Numbers of the full data are not comparable with those of a few parts of it.
        compared = {} if experiment.quick else {name: scores[0] for name, scores in published.items()}
        chart = score_chart(psnr, title, proposed=_NETWORK, published=compared)
        return Result(_COLUMNS, rows, chart, text, checks)

    return Artefact(f"{kind}-x{ratio}", "table", f"{title}: methods and networks", required, make)
