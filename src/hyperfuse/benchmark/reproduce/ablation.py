"""What the ablation tables share: variants of one network, trained alike, scored on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperfuse.benchmark.entries import Entry
from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict, compare
from hyperfuse.benchmark.reproduce.trained import Wanted

SCORE_FIELDS = (
    Field("psnr_db", "PSNR (dB)", ".2f"),
    Field("sam_degrees", "SAM (degrees)", ".3f"),
    Field("ergas", "ERGAS", ".3f"),
    Field("ssim", "SSIM", ".4f"),
)
ABLATION_FIELDS = (
    Field("variant", "variant"),
    *SCORE_FIELDS,
    Field("parameters", "parameters", ",d"),
    Field("seconds", "seconds a fusion", ".2f"),
)

# A network that adds less than this to the interpolated HSI has not begun to learn.
_UNDER_WAY_DB = 0.5

Variants = Mapping[str, Wanted]


def variants_of(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, Wanted]:
    """Return the networks of an ablation from the switches of each variant.

    Example:
        >>> variants_of({"ReLU": {"activation": "relu"}})["ReLU"].switches
        (('activation', 'relu'),)
    """
    return {name: Wanted(name, switches=tuple(switches.items())) for name, switches in variants.items()}


def score_row(lab: Lab, entry: Entry, kind: str = "cave", ratio: int = 4) -> dict[str, Any]:
    """Return mean scores of a entry as a row."""
    mean = lab.mean(entry, kind, ratio)
    return {**mean, "parameters": entry.parameters}


def ablation(lab: Lab, title: str, variants: Variants, proposed: str, text: str) -> Finding:
    """Return the table of an ablation, with the verdict on the proposed variant against each other one.

    Args:
        lab: what all share.
        title: of the table.
        variants: networks by name.
        proposed: the variant that the paper proposes.
        text: what is compared.
    """
    rows = [{"variant": name, **score_row(lab, lab.trained(one).entry)} for name, one in variants.items()]
    psnr = {row["variant"]: float(row["psnr_db"]) for row in rows}
    start = lab.interpolated()
    rows.append({"variant": "interpolated HSI, to which every variant adds", "psnr_db": start})
    chart = score_chart(psnr, title, proposed=proposed, line=("interpolated HSI", start))
    return Finding(
        title, ABLATION_FIELDS, rows, chart, [text], order_verdicts(psnr, proposed, start), [lab.material().source]
    )


def order_verdicts(psnr: Mapping[str, float], proposed: str, start: float) -> list[Verdict]:
    """Return a verdict on each pair, then on the proposed one being the best of all.

    Args:
        psnr: of each variant.
        proposed: the one that the paper proposes.
        start: PSNR of what every variant adds to. Where a variant is no better than that, its training never got
            under way, which says nothing about the order.

    Example:
        >>> [verdict.shown for verdict in order_verdicts({"A": 2.0, "B": 1.0, "C": 3.0, "D": 0.0}, "A", 0.0)]
        [True, False, None, False]
    """
    idle = [name for name, value in psnr.items() if value < start + _UNDER_WAY_DB]
    others = {name: value for name, value in psnr.items() if name != proposed}
    verdicts = []
    for name, value in others.items():
        stuck = [one for one in (proposed, name) if one in idle]
        if stuck:
            why = f"{' and '.join(stuck)} did not learn beyond the interpolated HSI ({start:.2f} dB)"
            verdicts.append(Verdict(f"{proposed} above {name}", None, why, "order"))
        else:
            verdicts.append(compare(f"{proposed} above {name}", psnr[proposed], value))
    learned = {name: value for name, value in others.items() if name not in idle}
    if len(others) > 1 and learned and proposed not in idle:
        best = max(learned, key=lambda name: learned[name])
        whole = compare(f"{proposed} best of all", psnr[proposed], learned[best])
        but = f" (without {', '.join(idle)})" if idle else ""
        verdicts.append(Verdict(whole.claim + but, whole.shown, f"{whole.measured} to {best}", "order"))
    return verdicts
