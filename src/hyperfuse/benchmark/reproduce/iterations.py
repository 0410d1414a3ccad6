"""Figure: PSNR over the iterations of training, with and without the Fourier branch."""

from __future__ import annotations

from matplotlib.figure import Figure

from hyperfuse.benchmark.reproduce.ablations import DOMAIN_VARIANTS
from hyperfuse.benchmark.reproduce.charts import OTHER, OURS
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Check, Networks, Result, artefact, compare
from hyperfuse.tables import Column

_COLUMNS = (
    Column("step", "iteration"),
    Column("with", "with Fourier branch, PSNR", "dB", ".2f"),
    Column("without", "without, PSNR", "dB", ".2f"),
)
_CLAIM = "with the Fourier branch above without"


@artefact(
    "iterations",
    "PSNR over iterations, with and without Fourier branch",
    DOMAIN_VARIANTS["both"],
    DOMAIN_VARIANTS["spatial"],
)
def iterations(experiment: Experiment, networks: Networks) -> Result:
    """Draw the logs of both trainings: validation scores, not those of test scenes."""
    curves = {"with": dict(networks["both"].curve()), "without": dict(networks["spatial"].curve())}
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axis = figure.subplots()
    for (name, curve), colour in zip(curves.items(), (OURS, OTHER), strict=True):
        axis.plot(list(curve), list(curve.values()), "o-", color=colour, label=f"{name} Fourier branch")
    axis.set(xlabel="iterations", ylabel="PSNR on the validation parts (dB)")
    axis.set_title("PSNR over iterations", fontsize="medium", loc="left")
    axis.grid(alpha=0.3)
    axis.legend()
    steps = sorted(set(curves["with"]) & set(curves["without"]))
    rows = [{"step": step, "with": curves["with"][step], "without": curves["without"][step]} for step in steps]
    ahead = sum(row["with"] > row["without"] for row in rows)
    points = f"ahead at {ahead} of {len(steps)} points"
    checks = [
        compare(f"{_CLAIM}, at the end", rows[-1]["with"], rows[-1]["without"]),
        Check(f"{_CLAIM}, at every iteration", ahead == len(steps), points, "order"),
    ]
    return Result(_COLUMNS, rows, figure, checks=checks)
