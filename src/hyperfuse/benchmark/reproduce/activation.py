"""Table: the activation of the decoder's query branch."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation, variants_of
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Finding
from hyperfuse.benchmark.reproduce.trained import Wanted

_PROPOSED = "Gabor"
VARIANTS = variants_of(
    {
        "ReLU": {"activation": "relu"},
        "GELU": {"activation": "gelu"},
        "Leaky ReLU": {"activation": "leaky-relu"},
        _PROPOSED: {"activation": "gabor"},
    }
)


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the table needs."""
    return list(VARIANTS.values())


def make(lab: Lab) -> Finding:
    """Score FeINFN with each activation in its spatial-frequency interactive decoder."""
    text = "What the query branch of the spatial-frequency interactive decoder is passed through."
    return ablation(lab, "Ablation: activation of the decoder", VARIANTS, _PROPOSED, text)
