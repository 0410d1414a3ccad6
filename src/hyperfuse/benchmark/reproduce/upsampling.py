"""Table: the implicit function against fixed and learned upsampling of the LR latents."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablation import ablation
from hyperfuse.benchmark.reproduce.networks import variants_of

VARIANTS = variants_of(
    {
        "bilinear": {"upsampler": "bilinear"},
        "bicubic": {"upsampler": "bicubic"},
        "pixel shuffle": {"upsampler": "pixel-shuffle", "shuffle_ratio": 4},
        "LIIF, spatial only": {"upsampler": "liif", "domains": "spatial"},
        "implicit function": {"upsampler": "implicit"},
    }
)
ARTEFACT = ablation(
    "upsampling",
    "Ablation: how latents are upsampled",
    VARIANTS,
    "implicit function",
    "Upsampling of the LR latents to the HR grid: interpolation, pixel shuffle, LIIF (four nearest LR pixels blended "
    "by area, no frequency branch), or the implicit function, which blends them with learned weights.",
)
