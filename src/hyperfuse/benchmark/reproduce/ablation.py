"""Ablation tables: variants of one network, trained in the same way, scored on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping

from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork, always
from hyperfuse.benchmark.reproduce.results import PARAMETERS, SCORES, SECONDS, Artefact, Check, Result, compare
from hyperfuse.tables import Column

_COLUMNS = (Column("variant", "variant"), *SCORES, PARAMETERS, SECONDS)

# A network that adds less than this to the interpolated HSI has not learned.
_LEAST_GAIN_DB = 0.5


def ablation(name: str, title: str, variants: Mapping[str, RequiredNetwork], proposed: str, text: str) -> Artefact:
    """Return the table of an ablation, with checks of the proposed variant against each other one.

    Args:
        name: of the artefact.
        title: of the table.
        variants: networks by name.
        proposed: the variant that the paper proposes.
        text: what is compared.
    """

    def make(experiment: Experiment) -> Result:
        rows = [{"variant": key, **experiment.row(experiment.trained(one).entry)} for key, one in variants.items()]
        psnr = {row["variant"]: float(row["psnr_db"]) for row in rows}
        start = experiment.interpolated()
        rows.append({"variant": "interpolated HSI, to which every variant adds", "psnr_db": start})
        chart = score_chart(psnr, title, proposed=proposed, line=("interpolated HSI", start))
        return Result(_COLUMNS, rows, chart, [text], order_checks(psnr, proposed, start))

    return Artefact(name, "table", title, always(*variants.values()), make)


def order_checks(psnr: Mapping[str, float], proposed: str, start: float) -> list[Check]:
    """Return a check of each pair, then of the proposed variant being the best of all.

    Args:
        psnr: of each variant.
        proposed: the one that the paper proposes.
        start: PSNR of what every variant adds to. A variant that is no better than that has not learned, which decides
            nothing about the order.

    Example:
        >>> [check.holds for check in order_checks({"A": 2.0, "B": 1.0, "C": 3.0, "D": 0.0}, "A", 0.0)]
        [True, False, None, False]
    """
    idle = [name for name, value in psnr.items() if value < start + _LEAST_GAIN_DB]
    others = {name: value for name, value in psnr.items() if name != proposed}
    checks = []
    for name, value in others.items():
        failed = [one for one in (proposed, name) if one in idle]
        if failed:
            why = f"{' and '.join(failed)} did not learn beyond the interpolated HSI ({start:.2f} dB)"
            checks.append(Check(f"{proposed} above {name}", None, why, "order"))
        else:
            checks.append(compare(f"{proposed} above {name}", psnr[proposed], value))
    learned = {name: value for name, value in others.items() if name not in idle}
    if len(others) > 1 and learned and proposed not in idle:
        best = max(learned, key=lambda name: learned[name])
        whole = compare(f"{proposed} best of all", psnr[proposed], learned[best])
        without = f" (without {', '.join(idle)})" if idle else ""
        checks.append(Check(whole.claim + without, whole.holds, f"{whole.measured} to {best}", "order"))
    return checks
