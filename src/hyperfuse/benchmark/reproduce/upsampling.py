"""Table: the implicit function against fixed and learned upsampling of the LR latents."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation, variants_of
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Finding
from hyperfuse.benchmark.reproduce.trained import Wanted

_PROPOSED = "implicit function"
VARIANTS = variants_of(
    {
        "bilinear": {"upsampler": "bilinear"},
        "bicubic": {"upsampler": "bicubic"},
        "pixel shuffle": {"upsampler": "pixel-shuffle", "shuffle_ratio": 4},
        "LIIF, spatial only": {"upsampler": "liif", "domains": "spatial"},
        _PROPOSED: {"upsampler": "implicit"},
    }
)


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the table needs."""
    return list(VARIANTS.values())


def make(lab: Lab) -> Finding:
    """Score FeINFN with each way to bring LR latents to the HR grid."""
    text = (
        "How the LR latents come to the HR grid: interpolated, by pixel shuffle, by LIIF (cells blended by area, no "
        "frequency branch), or by the implicit function that blends cells with learned weights."
    )
    return ablation(lab, "Ablation: how latents are upsampled", VARIANTS, _PROPOSED, text)
