"""Ablation tables: variants of one network, trained in the same way, scored on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperfuse.benchmark.reproduce.charts import score_chart
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.results import (
    HERE,
    PARAMETERS,
    SCORES,
    SECONDS,
    WHERE,
    Artefact,
    Check,
    Networks,
    Result,
    compare,
    origin_of,
)
from hyperfuse.tables import Column

# A network that adds less than this to the interpolated HSI has not learned.
_LEAST_GAIN_DB = 0.5


def variants_of(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, RequiredNetwork]:
    """Return the networks of an ablation from the switches of each variant.

    Example:
        >>> variants_of({"ReLU": {"activation": "relu"}})["ReLU"].switches
        {'activation': 'relu'}
    """
    return {name: RequiredNetwork(name, switches=switches) for name, switches in variants.items()}


def _ablation(name: str, title: str, text: str, variants: Mapping[str, RequiredNetwork]) -> Artefact:
    """Return the table of an ablation; checks compare the last variant, which the paper proposes, with the others."""
    *_, proposed = variants
    title = f"Ablation: {title}"

    def make(experiment: Experiment, networks: Networks) -> Result:
        rows = [
            {"variant": key, "where": origin_of(one.entry), **experiment.row(one.entry)}
            for key, one in networks.items()
        ]
        psnr = {row["variant"]: float(row["psnr_db"]) for row in rows}
        start = experiment.interpolated()
        rows.append({"variant": "interpolated HSI, to which every variant adds", "psnr_db": start, "where": HERE})
        chart = score_chart(psnr, title, proposed=proposed, line=("interpolated HSI", start))
        columns = (Column("variant", "variant"), *SCORES, PARAMETERS, SECONDS, WHERE)
        return Result(columns, rows, chart, [text], order_checks(psnr, proposed, start))

    return Artefact(name, "table", title, list(variants.values()), make)


def order_checks(psnr: Mapping[str, float], proposed: str, start: float) -> list[Check]:
    """Return a check of the proposed variant above each other one, then of it being the best of all.

    A variant that is no better than ``start``, to which every variant adds, has not learned, which decides nothing.

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
    learned = [name for name in others if name not in idle]
    if len(others) > 1 and learned and proposed not in idle:
        best = max(learned, key=lambda name: others[name])
        without = f" (without {', '.join(idle)})" if idle else ""
        whole = compare(f"{proposed} best of all{without}", psnr[proposed], others[best])
        checks.append(Check(whole.claim, whole.holds, f"{whole.measured} to {best}", "order"))
    return checks


DOMAIN_VARIANTS = variants_of(
    {"spatial": {"domains": "spatial"}, "frequency": {"domains": "frequency"}, "both": {"domains": "both"}}
)
# The network as the paper proposes it.
PROPOSED = DOMAIN_VARIANTS["both"]
ACTIVATION_VARIANTS = variants_of(
    {
        "ReLU": {"activation": "relu"},
        "GELU": {"activation": "gelu"},
        "Leaky ReLU": {"activation": "leaky-relu"},
        "Gabor": {"activation": "gabor"},
    }
)
_UPSAMPLING_VARIANTS = variants_of(
    {
        "bilinear": {"upsampler": "bilinear"},
        "bicubic": {"upsampler": "bicubic"},
        "pixel shuffle": {"upsampler": "pixel-shuffle", "shuffle_ratio": 4},
        "LIIF, spatial only": {"upsampler": "liif", "domains": "spatial"},
        "implicit function": {"upsampler": "implicit"},
    }
)

DOMAINS = _ablation(
    "domains",
    "spatial domain, frequency domain, both",
    "Implicit fusion in the spatial domain, on amplitudes and phases in the frequency domain, and in both.",
    DOMAIN_VARIANTS,
)
ACTIVATION = _ablation(
    "activation",
    "activation of the decoder",
    "Activation of the query branch of the spatial-frequency interactive decoder.",
    ACTIVATION_VARIANTS,
)
UPSAMPLING = _ablation(
    "upsampling",
    "how latents are upsampled",
    "Upsampling of the LR latents to the HR grid: interpolation, pixel shuffle, LIIF (four nearest LR pixels blended "
    "by area, no frequency branch), or the implicit function, which blends them with learned weights.",
    _UPSAMPLING_VARIANTS,
)
