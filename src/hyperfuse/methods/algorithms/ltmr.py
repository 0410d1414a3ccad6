"""Low tensor multi-rank: groups of similar patches of components whose transform along the pixels is of low rank."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, Outcome, PairTensors
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.tensor.iterations import Iterations
from hyperfuse.methods.tensor.low_rank import Defaults, GroupedPair, PatchRankSettings
from hyperfuse.methods.tensor.shrinkage import shrink_slices
from hyperfuse.methods.tensor.splitting import alternate
from hyperfuse.methods.tensor.sylvester import SylvesterSolver
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor

_SIDE, _STEP = 7, 3
# The authors' for Pavia at a ratio of 4: 93 bands, 7056 patches. As many patches of a group as they have on CAVE.
_PAVIA = Defaults(weight=1e-3, groups=200, values=93 * 35, patches=144, largest=600)
# Of the largest squared singular value of the spectra: components below are rounding.
_ROUNDING = 1e-12


class LtmrSettings(PatchRankSettings):
    """Settings of ``ltmr``."""

    components: int = Field(default=10, ge=1, description="dimension of the subspace of spectra; the authors': 10")
    iterations: int = Field(default=100, ge=1, le=10_000, description="at most; the authors': 100")


@register_method(
    "ltmr",
    settings=LtmrSettings,
    summary="low tensor multi-rank of groups of similar patches in a spectral subspace, with the exact data step",
    reference=(
        "Dian, Li, Hyperspectral image super-resolution via subspace-based low tensor multi-rank regularization,"
        " IEEE TIP 28(10), 2019, doi 10.1109/TIP.2019.2916734"
    ),
    cost="minutes",
    capabilities=Capabilities(
        budget=True,
        seed=True,
        needs_srf=True,
        displaced=False,
        whole_ratios=True,
        bytes_per_pixel=BytesPerPixel(hsi_band=60, msi_band=400),
    ),
)
def ltmr(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: LtmrSettings, progress: Progress) -> Outcome:
    """Fuse by low tensor multi-ranks; arguments as in :func:`~.registry.register_method`.

    The image is ``D A`` with the leading left singular vectors ``D`` of the HSI. Patches of 7 x 7 pixels, every 3, that
    are similar in the MSI are a tensor (patches, components, pixels) of ``A``, of whose slices, transformed along the
    pixels (columns first, as by the authors), ``s`` are the singular values. The components minimise ``|Y - D A BS|^2 +
    |Z - R D A|^2 + lambda sum_k mean_slices sum_i log(s_i + eps)``, by the alternating direction method of multipliers
    with an exact solution of the data terms in the Fourier domain.

    The data step is computed in double precision; the result is not clipped.
    """
    progress(0.0, "grouping patches")
    steps = Iterations(
        settings.iterations, settings.tolerance or None, settings.budget_seconds, part(progress, 0.1, 1.0)
    )
    grouped = GroupedPair.of(PairTensors(hsi, msi, sensor), (_SIDE, _STEP, True), settings, _PAVIA)
    pair, penalty = grouped.pair, settings.penalty
    basis = leading_spectra(hsi.double(), settings.components)
    response = grouped.response @ basis
    shrinkage = grouped.shrinkage(penalty)

    def shrunk(patches: torch.Tensor) -> torch.Tensor:
        count, channels, pixels = patches.shape
        return shrink_slices(patches, shrinkage(1.0, count, channels, math.sqrt(pixels)))

    components = mix(basis.T, pair.hsi)
    gram = response.T @ response
    gram.diagonal().add_(penalty)
    data = mix(response.T, pair.msi) + pair.sampling.adjoint(components)
    solver = SylvesterSolver(gram, pair.sampling)
    start = pair.sensor.upsample(components, pair.sampling.fine, "cubic")
    image = mix(basis, alternate(solver, data, start, [lambda one: grouped.map(one, shrunk)], penalty, steps))
    progress(1.0, "done")
    details = {"components": len(components), **grouped.details(), **steps.details(), **grouped.misfits(image)}
    return Outcome(grouped.restored(image, hsi), None, details)


def leading_spectra(hsi: torch.Tensor, count: int) -> torch.Tensor:
    """Return the leading left singular vectors (bands, components) of an image's spectra, not centred.

    Args:
        hsi: (bands, h, w).
        count: of components; fewer where the rest is rounding, but one.
    """
    spectra = hsi.flatten(1)
    values, vectors = torch.linalg.eigh(spectra @ spectra.T)
    found = max(1, int((values[-count:] > _ROUNDING * values[-1]).sum()))
    leading: torch.Tensor = vectors[:, -found:].flip(1)
    return leading
