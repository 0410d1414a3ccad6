"""Table: spatial domain alone, frequency domain alone, and both."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation
from hyperfuse.benchmark.reproduce.networks import variants_of

VARIANTS = variants_of(
    {"spatial": {"domains": "spatial"}, "frequency": {"domains": "frequency"}, "both": {"domains": "both"}}
)
# The network as the paper proposes it.
PROPOSED = VARIANTS["both"]
ARTEFACT = ablation(
    "domains",
    "Ablation: spatial domain, frequency domain, both",
    VARIANTS,
    "both",
    "Implicit fusion in the spatial domain, on amplitudes and phases in the frequency domain, and in both.",
)
