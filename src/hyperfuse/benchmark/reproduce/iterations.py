"""Figure: PSNR over the iterations of training, with and without the Fourier branch."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.charts import OTHER, OURS, new_figure
from hyperfuse.benchmark.reproduce.domains import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict, compare
from hyperfuse.benchmark.reproduce.trained import Wanted

_CURVES = {"with": VARIANTS["both"], "without": VARIANTS["spatial"]}


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return list(_CURVES.values())


def make(lab: Lab) -> Finding:
    """Draw the logs of both trainings; scores are those on what chose the weights, not on test scenes."""
    curves = {name: dict(lab.trained(one).curve()) for name, one in _CURVES.items()}
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
    ahead = sum(curves["with"][step] > curves["without"][step] for step in steps)
    last = steps[-1]
    verdicts = [
        compare("with the Fourier branch above without, at the end", curves["with"][last], curves["without"][last]),
        Verdict(
            "with the Fourier branch above without, all the way", ahead == len(steps),
            f"ahead at {ahead} of {len(steps)} points",
            "order",
        ),
    ]  # fmt: skip
    fields = (
        Field("step", "iteration"),
        Field("with", "with Fourier branch, PSNR (dB)", ".2f"),
        Field("without", "without, PSNR (dB)", ".2f"),
    )
    return Finding("PSNR over iterations", fields, rows, figure, [], verdicts, [lab.material().source])
