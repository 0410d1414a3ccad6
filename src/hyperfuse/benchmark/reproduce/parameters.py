"""Figure: PSNR against the number of parameters, bubbles by the time per fusion."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.charts import OTHER, OURS, PUBLISHED
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.published import FEINFN_PARAMETERS
from hyperfuse.benchmark.reproduce.published import PUBLISHED as PUBLISHED_SCORES
from hyperfuse.benchmark.reproduce.results import (
    PARAMETERS,
    SCORES,
    SECONDS,
    WHERE,
    Networks,
    Result,
    artefact,
    compare,
    origin_of,
)
from hyperfuse.tables import Column

_COLUMNS = (Column("network", "network"), PARAMETERS, *SCORES, SECONDS, WHERE)
_SIZES = tuple(RequiredNetwork(f"feinfn {size}", size=size) for size in ("small", "medium", "base", "large"))
_RELEASED = RequiredNetwork("feinfn-release", network="feinfn-release")
_LINES = ("bicubic", "local-regression")
_LARGEST_BUBBLE = 1400.0  # points squared


@artefact("parameters", "PSNR against parameters", *_SIZES, _RELEASED)
def parameters(experiment: Experiment, networks: Networks) -> Result:
    """Draw networks of several sizes; methods without trained parameters are lines."""
    computed: list[dict[str, Any]] = [
        {"network": name, "where": origin_of(one.entry), **experiment.row(one.entry)} for name, one in networks.items()
    ]
    lines = {name: float(experiment.row(method_entry(name))["psnr_db"]) for name in _LINES}
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axis = figure.subplots()
    slowest = max(float(row["seconds"]) for row in computed)

    def bubble(row: dict[str, Any], label: str, area: float, **style: Any) -> None:
        at = row["parameters"], row["psnr_db"]
        axis.scatter(*at, s=area, alpha=0.6, **style)
        axis.annotate(
            label, at, xytext=(0, -math.sqrt(area) / 2 - 4), textcoords="offset points",
            ha="center", va="top", fontsize="small", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip

    for row in computed:
        label, area = f"{row['network']}, {row['seconds']:.2f} s", _LARGEST_BUBBLE * float(row["seconds"]) / slowest
        bubble(row, label, area, color=OURS, edgecolor=OURS)
    published: list[dict[str, Any]] = []
    if not experiment.quick:
        psnr = PUBLISHED_SCORES["cave", 4]["FeINFN"][0]
        published.append(
            {"network": "FeINFN", "where": origin_of(None), "psnr_db": psnr, "parameters": FEINFN_PARAMETERS}
        )
        bubble(published[0], "FeINFN (published)", 120.0, color="none", edgecolor=PUBLISHED)
    for name, value in lines.items():
        axis.axhline(value, color=OTHER, linestyle="--", linewidth=0.9)
        axis.annotate(
            f"{name}, {value:.1f} dB, no trained parameters", (0.01, value), xycoords=("axes fraction", "data"),
            xytext=(0, 3), textcoords="offset points", fontsize="small", color="0.35",
        )  # fmt: skip
    axis.set(xscale="log", xlabel="trained parameters", ylabel="PSNR (dB)")
    axis.set_title("PSNR against parameters; area of a bubble: seconds per fusion", fontsize="medium", loc="left")
    axis.margins(x=0.25, y=0.18)
    axis.grid(alpha=0.3)
    methods = [
        {"network": name, "where": origin_of(method_entry(name)), "psnr_db": value} for name, value in lines.items()
    ]
    first, last = computed[0], computed[len(experiment.sizes()) - 1]
    claim = f"more parameters score higher: {last['network']} above {first['network']}"
    check = compare(claim, float(last["psnr_db"]), float(first["psnr_db"]), whose="own")
    return Result(_COLUMNS, [*computed, *published, *methods], figure, checks=[check])
