"""Table: the activation of the decoder's query branch."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation
from hyperfuse.benchmark.reproduce.networks import variants_of

VARIANTS = variants_of(
    {
        "ReLU": {"activation": "relu"},
        "GELU": {"activation": "gelu"},
        "Leaky ReLU": {"activation": "leaky-relu"},
        "Gabor": {"activation": "gabor"},
    }
)
ARTEFACT = ablation(
    "activation",
    "Ablation: activation of the decoder",
    VARIANTS,
    "Gabor",
    "Activation of the query branch of the spatial-frequency interactive decoder.",
)
