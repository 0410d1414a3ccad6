"""Tables: every method and the trained network on CAVE and Harvard, at ratios 4 and 8."""

from __future__ import annotations

from typing import Any

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.ablation import SCORE_FIELDS, score_row
from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.published import PUBLISHED
from hyperfuse.benchmark.reproduce.results import Field, Finding, compare
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.methods import list_methods

_TITLES = {"cave": "CAVE", "harvard": "Harvard"}
_FIELDS = (
    Field("method", "method"),
    *SCORE_FIELDS,
    Field("psnr_std", "PSNR std", ".2f"),
    Field("seconds", "seconds a fusion", ".2f"),
    Field("parameters", "parameters", ",d"),
    Field("where", "numbers"),
)
_NETWORK = "feinfn (trained)"
_KEYS = ("psnr_db", "sam_degrees", "ergas", "ssim")


def wanted(lab: Lab, kind: str, ratio: int) -> list[Wanted]:
    """Return the networks that the table needs."""
    found = [Wanted(_NETWORK, kind, ratio)]
    if not lab.quick:
        found.append(Wanted("feinfn-release (trained)", kind, ratio, network="feinfn-release"))
    return found


def make(lab: Lab, kind: str, ratio: int) -> Finding:
    """Score methods and trained networks, and set published numbers beside them."""
    # Those that take minutes a scene are worth it on the full data only.
    methods = [method.name for method in list_methods() if method.cost == "seconds" or not lab.quick]
    entries = [method_entry(name) for name in methods]
    entries += [lab.trained(one).entry for one in wanted(lab, kind, ratio)]
    rows: list[dict[str, Any]] = [
        {"method": one.name, "where": "computed here", **score_row(lab, one, kind, ratio)} for one in entries
    ]
    beside = PUBLISHED[kind, ratio]
    rows += [
        {"method": name, "where": "published", **dict(zip(_KEYS, scores, strict=True))}
        for name, scores in beside.items()
    ]
    psnr = {row["method"]: float(row["psnr_db"]) for row in rows if row["where"] != "published"}
    title = f"{_TITLES[kind]}, ratio {ratio}"
    text = ["Means over the test scenes; degradation `uestc`."]
    if beside:
        text.append(
            "Rows marked published were not computed here: second-hand tables, full training data, deviations unknown."
        )
    if lab.quick:
        text.append("Methods that take minutes a scene are left out of `--quick`.")
    best = max(methods, key=lambda name: psnr[name])
    verdicts = [
        compare(f"the trained network above {name}", psnr[_NETWORK], psnr[name], whose="own")
        for name in dict.fromkeys(["bicubic", best])
    ]
    # Numbers of the full data have no place on an axis with those of a few parts of it.
    published = {} if lab.quick else {name: scores[0] for name, scores in beside.items()}
    chart = score_chart(psnr, title, proposed=_NETWORK, published=published)
    return Finding(title, _FIELDS, rows, chart, text, verdicts, [lab.material(kind).source])
