"""Figure: PSNR over the iterations of training, with and without the Fourier branch."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.charts import OTHER, OURS, new_figure
from hyperfuse.benchmark.reproduce.domains import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import always
from hyperfuse.benchmark.reproduce.results import Artefact, Check, Result, compare
from hyperfuse.tables import Column

_CURVES = {"with": VARIANTS["both"], "without": VARIANTS["spatial"]}
_COLUMNS = (
    Column("step", "iteration"),
    Column("with", "with Fourier branch, PSNR", "dB", ".2f"),
    Column("without", "without, PSNR", "dB", ".2f"),
)


def make(experiment: Experiment) -> Result:
    """Draw the logs of both trainings: validation scores, not those of test scenes."""
    curves = {name: dict(experiment.trained(one).curve()) for name, one in _CURVES.items()}
    figure = new_figure(6.6, 4.2)
    axis = figure.subplots()
    for name, colour in (("with", OURS), ("without", OTHER)):
        axis.plot(list(curves[name]), list(curves[name].values()), "o-", color=colour, label=f"{name} Fourier branch")
    axis.set(xlabel="iterations", ylabel="PSNR on the validation parts (dB)")
    axis.set_title("PSNR over iterations", fontsize="medium", loc="left")
    axis.grid(alpha=0.3)
    axis.legend()
    steps = sorted(set(curves["with"]) & set(curves["without"]))
    rows = [{"step": step, "with": curves["with"][step], "without": curves["without"][step]} for step in steps]
    ahead = sum(row["with"] > row["without"] for row in rows)
    claim = "with the Fourier branch above without"
    checks = [
        compare(f"{claim}, at the end", rows[-1]["with"], rows[-1]["without"]),
        Check(
            f"{claim}, at every iteration",
            ahead == len(steps),
            f"ahead at {ahead} of {len(steps)} points",
            "order",
        ),
    ]
    return Result(_COLUMNS, rows, figure, checks=checks)


ARTEFACT = Artefact(
    "iterations",
    "figure",
    "PSNR over iterations, with and without Fourier branch",
    always(*_CURVES.values()),
    make,
)
