"""Table: spatial domain alone, frequency domain alone, and both."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation, variants_of
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Finding
from hyperfuse.benchmark.reproduce.trained import Wanted

_PROPOSED = "both"
VARIANTS = variants_of(
    {"spatial": {"domains": "spatial"}, "frequency": {"domains": "frequency"}, _PROPOSED: {"domains": "both"}}
)


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the table needs."""
    return list(VARIANTS.values())


def make(lab: Lab) -> Finding:
    """Score FeINFN with one of its two branches, and with both."""
    text = "Implicit fusion in the spatial domain, on amplitudes and phases in the frequency domain, and in both."
    return ablation(lab, "Ablation: spatial domain, frequency domain, both", VARIANTS, _PROPOSED, text)
