"""Figure: PSNR against the number of parameters, bubbles by the time per fusion."""

from __future__ import annotations

import math
from typing import Any

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.charts import OTHER, OURS, PUBLISHED, new_figure
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.published import FEINFN_PARAMETERS
from hyperfuse.benchmark.reproduce.published import PUBLISHED as PUBLISHED_SCORES
from hyperfuse.benchmark.reproduce.results import PARAMETERS, SCORES, SECONDS, Artefact, Result, compare
from hyperfuse.tables import Column

_COLUMNS = (
    Column("network", "network"),
    PARAMETERS,
    *SCORES,
    SECONDS,
    Column("where", "numbers"),
)
_LINES = ("bicubic", "local-regression")
_LARGEST_BUBBLE = 1400.0  # points squared


def required(experiment: Experiment) -> list[RequiredNetwork]:
    """Return a network of each size, and in full the released one."""
    found = [RequiredNetwork(f"feinfn {size}", size=size) for size in experiment.sizes()]
    if not experiment.quick:
        found.append(RequiredNetwork("feinfn-release", network="feinfn-release"))
    return found


def make(experiment: Experiment) -> Result:
    """Draw networks of several sizes; methods without trained parameters are lines."""
    rows: list[dict[str, Any]] = [
        {"network": one.name, "where": "computed here", **experiment.row(experiment.trained(one).entry)}
        for one in required(experiment)
    ]
    lines = {name: float(experiment.row(method_entry(name))["psnr_db"]) for name in _LINES}
    networks = list(rows)
    psnr = PUBLISHED_SCORES["cave", 4]["FeINFN"][0]
    if not experiment.quick:
        rows.append({"network": "FeINFN", "where": "published", "psnr_db": psnr, "parameters": FEINFN_PARAMETERS})
    figure = new_figure(7.2, 4.6)
    axis = figure.subplots()
    slowest = max(float(row["seconds"]) for row in networks)
    for row in rows:
        computed = row["where"] != "published"
        area = _LARGEST_BUBBLE * float(row["seconds"]) / slowest if computed else 120.0
        colour = OURS if computed else PUBLISHED
        axis.scatter(
            row["parameters"], row["psnr_db"], s=area, color=colour if computed else "none", edgecolor=colour, alpha=0.6
        )
        label = f"{row['network']}, {row['seconds']:.2f} s" if computed else "FeINFN (published)"
        reach = math.sqrt(area) / 2
        axis.annotate(
            label, (row["parameters"], row["psnr_db"]), xytext=(0, -reach - 4), textcoords="offset points",
            ha="center", va="top", fontsize="small", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
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
    rows += [{"network": name, "where": "computed here", "psnr_db": value} for name, value in lines.items()]
    first, last = networks[0], networks[len(experiment.sizes()) - 1]
    check = compare(
        f"more parameters score higher: {last['network']} above {first['network']}",
        float(last["psnr_db"]),
        float(first["psnr_db"]),
        whose="own",
    )
    return Result(_COLUMNS, rows, figure, checks=[check])


ARTEFACT = Artefact("parameters", "figure", "PSNR against parameters", required, make)
