"""Low tensor-train rank: groups of similar patches whose unfoldings are all of low rank."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import BytesPerPixel, Capabilities, Outcome, PairTensors
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.methods.tensor.iterations import Iterations
from hyperfuse.methods.tensor.low_rank import Defaults, GroupedPair, PatchRankSettings, Shrink
from hyperfuse.methods.tensor.shrinkage import shrink_singular_values
from hyperfuse.methods.tensor.splitting import Prior, alternate
from hyperfuse.methods.tensor.sylvester import SylvesterSolver
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.progress import Progress, part
from hyperfuse.sensor.model import Sensor

_SIDE, _STEP = 8, 4
# The authors' for CAVE: 29 bands, 16129 patches.
_CAVE = Defaults(weight=0.01, groups=160, values=29 * 101, patches=100, largest=300)


class LttrSettings(PatchRankSettings):
    """Settings of ``lttr``."""

    iterations: int = Field(default=25, ge=1, le=10_000, description="at most; the authors': 25")


@register_method(
    "lttr",
    settings=LttrSettings,
    summary="low tensor-train rank of groups of similar patches, alternated with the exact data step",
    reference=(
        "Dian, Li, Fang, Learning a low tensor-train rank representation for hyperspectral image super-resolution,"
        " IEEE TNNLS 30(9), 2019, doi 10.1109/TNNLS.2018.2885616"
    ),
    cost="minutes",
    capabilities=Capabilities(
        budget=True,
        seed=True,
        needs_srf=True,
        displaced=False,
        whole_ratios=True,
        bytes_per_pixel=BytesPerPixel(hsi_band=120, msi_band=110),
    ),
)
def lttr(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor, settings: LttrSettings, progress: Progress) -> Outcome:
    """Fuse by low tensor-train ranks; arguments as in :func:`~.registry.register_method`.

    Patches of 8 x 8 pixels, every 4, that are similar in the MSI are a tensor ``T_k`` (8, 8, bands, patches) of the
    image ``X``, of which the three unfoldings of a tensor train have singular values ``s``. The image minimises
    ``|Y - X BS|^2 + |Z - R X|^2 + lambda sum_k sum_t a_t sum_i log(s_i(T_k<t>) + eps)``, by the alternating direction
    method of multipliers with a split per unfolding and an exact solution of the data terms in the Fourier domain. The
    weights ``a_t`` are proportional to the root of the smaller side of the unfolding.

    The data step is computed in double precision; the result is not clipped.
    """
    progress(0.0, "grouping patches")
    steps = Iterations(
        settings.iterations, settings.tolerance or None, settings.budget_seconds, part(progress, 0.1, 1.0)
    )
    grouped = GroupedPair.of(PairTensors(hsi, msi, sensor), (_SIDE, _STEP, False), settings, _CAVE)
    pair, response, penalty = grouped.pair, grouped.response, settings.penalty
    priors = _priors(grouped, penalty)
    gram = response.T @ response
    gram.diagonal().add_(len(priors) * penalty)
    data = mix(response.T, pair.msi) + pair.sampling.adjoint(pair.hsi)
    solver = SylvesterSolver(gram, pair.sampling)
    image = alternate(solver, data, pair.upsampled(), priors, penalty, steps)
    progress(1.0, "done")
    details = {**grouped.details(), **steps.details(), **grouped.misfits(image)}
    return Outcome(grouped.restored(image, hsi), None, details)


def _priors(grouped: GroupedPair, penalty: float) -> list[Prior]:
    shrinkage = grouped.shrinkage(penalty)

    def prior(number: int) -> Prior:
        return lambda image: grouped.map(image, lambda patches: shrink_unfolding(patches, number, shrinkage))

    return [prior(number) for number in (1, 2, 3)]


def shrink_unfolding(
    patches: torch.Tensor, number: int, shrinkage: Callable[[float, int, int, float], Shrink]
) -> torch.Tensor:
    """Shrink the singular values of an unfolding of a group of patches.

    Args:
        patches: (patches, bands, pixels of a square), in raster order.
        number: 1, 2, 3: rows of the unfolding are the rows of a patch, its pixels, its values in all bands.
        shrinkage: see :meth:`GroupedPair.shrinkage`.
    """
    count, bands, pixels = patches.shape
    rows = {1: math.isqrt(pixels), 2: pixels, 3: pixels * bands}[number]
    unfolded = patches.permute(2, 1, 0).reshape(rows, -1)
    fraction = unfolding_fractions(count, bands, pixels)[number - 1]
    shrunk, _ = shrink_singular_values(unfolded, shrinkage(fraction, rows, unfolded.shape[1], 1.0))
    return shrunk.reshape(pixels, bands, count).permute(2, 1, 0)


def unfolding_fractions(count: int, bands: int, pixels: int) -> tuple[float, ...]:
    """Return the weights of the unfoldings of a group of square patches, 1 in all: roots of their smaller sides."""
    roots = [
        math.sqrt(min(rows, pixels * bands * count // rows)) for rows in (math.isqrt(pixels), pixels, pixels * bands)
    ]
    return tuple(root / sum(roots) for root in roots)
