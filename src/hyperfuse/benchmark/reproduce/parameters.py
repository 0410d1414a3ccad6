"""Figure: PSNR against the number of parameters, bubbles by the time of a fusion."""

from __future__ import annotations

import math
from typing import Any

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.ablation import SCORE_FIELDS, score_row
from hyperfuse.benchmark.reproduce.charts import OTHER, OURS, PUBLISHED, new_figure
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.published import FEINFN_PARAMETERS
from hyperfuse.benchmark.reproduce.published import PUBLISHED as PUBLISHED_SCORES
from hyperfuse.benchmark.reproduce.results import Field, Finding, compare
from hyperfuse.benchmark.reproduce.trained import Wanted

_FIELDS = (
    Field("network", "network"),
    Field("parameters", "parameters", ",d"),
    *SCORE_FIELDS,
    Field("seconds", "seconds a fusion", ".2f"),
    Field("where", "numbers"),
)
_LINES = ("bicubic", "local-regression")
_LARGEST_BUBBLE = 1400.0  # points squared


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    found = [Wanted(f"feinfn {size}", size=size) for size in lab.sizes()]
    if not lab.quick:
        found.append(Wanted("feinfn-release", network="feinfn-release"))
    return found


def make(lab: Lab) -> Finding:
    """Draw networks of several sizes; methods without trained parameters are lines."""
    rows: list[dict[str, Any]] = [
        {"network": one.name, "where": "computed here", **score_row(lab, lab.trained(one).entry)} for one in wanted(lab)
    ]
    lines = {name: float(score_row(lab, method_entry(name))["psnr_db"]) for name in _LINES}
    networks = list(rows)
    psnr = PUBLISHED_SCORES["cave", 4]["FeINFN"][0]
    if not lab.quick:
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
        told = f"{row['network']}, {row['seconds']:.2f} s" if computed else "FeINFN (published)"
        reach = math.sqrt(area) / 2
        axis.annotate(
            told, (row["parameters"], row["psnr_db"]), xytext=(0, -reach - 4), textcoords="offset points",
            ha="center", va="top", fontsize="small", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    for name, value in lines.items():
        axis.axhline(value, color=OTHER, linestyle="--", linewidth=0.9)
        axis.annotate(
            f"{name}, {value:.1f} dB, no trained parameters", (0.01, value), xycoords=("axes fraction", "data"),
            xytext=(0, 3), textcoords="offset points", fontsize="small", color="0.35",
        )  # fmt: skip
    axis.set(xscale="log", xlabel="trained parameters", ylabel="PSNR (dB)")
    axis.set_title("PSNR against parameters; area of a bubble: seconds a fusion", fontsize="medium", loc="left")
    axis.margins(x=0.25, y=0.18)
    axis.grid(alpha=0.3)
    rows += [{"network": name, "where": "computed here", "psnr_db": value} for name, value in lines.items()]
    first, last = networks[0], networks[len(lab.sizes()) - 1]
    verdict = compare(
        f"more parameters score higher: {last['network']} above {first['network']}",
        float(last["psnr_db"]),
        float(first["psnr_db"]),
        whose="own",
    )
    return Finding("PSNR against parameters", _FIELDS, rows, figure, [], [verdict], [lab.material().source])
