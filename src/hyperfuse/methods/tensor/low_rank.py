"""What methods of groups of similar patches have in common: their settings, units, and the pair that they solve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field

from hyperfuse.methods.contract.method import MethodSettings, PairTensors
from hyperfuse.methods.local_linear.msi_noise import estimate_msi_noise
from hyperfuse.methods.tensor.patches import PatchGrid, PatchGroups
from hyperfuse.methods.tensor.periodic import PeriodicPair, responses_of
from hyperfuse.methods.tensor.shrinkage import log_shrink
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.statistics.noise import estimate_noise

Shrink = Callable[[torch.Tensor], torch.Tensor]


class PatchRankSettings(MethodSettings):
    """Settings of methods whose groups of similar patches are of low rank."""

    defaults: Literal["scaled", "authors"] = Field(
        default="scaled",
        description="where weight, groups, largest_group and peak are not set: what the authors' are worth in this pair"
        " (weight by bands and patches of a group, raised to what noise reaches; groups by the number of patches), or"
        " their numbers as they are",
    )
    weight: float | None = Field(
        default=None, ge=0, description="weight of the penalty of ranks (lambda), for values up to 1"
    )
    penalty: float = Field(
        default=1e-3, gt=0, description="weight of the difference between image and its split (mu); the authors': 0.001"
    )
    groups: int | None = Field(default=None, ge=1, description="clusters of similar patches, at most")
    largest_group: int | None = Field(
        default=None, ge=1, description="patches of a group; larger clusters are split. The authors': no limit"
    )
    peak: float | None = Field(
        default=None, gt=0, description="value that is divided by; scaled: the HSI's largest one; the authors': 1"
    )
    precision: Literal["single", "double"] = Field(
        default="single",
        description="of the ranks of patches; the data step is computed in double precision. The authors': double",
    )
    tolerance: float = Field(
        default=0, ge=0, lt=1, description="end below this relative change of the image; the authors': never"
    )
    budget_seconds: float | None = Field(
        default=None, gt=0, description="wall time, after which the iterations end with what they have"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the first centres of the clusters")


@dataclass(frozen=True)
class Defaults:
    """The authors' numbers, and what they are worth in a pair of another size.

    Attributes:
        weight: of the penalty.
        groups: clusters.
        values: bands times patches of a group, on average, of the scene that the weight is for.
        patches: of a group on average, in place of the number of groups.
        largest: patches of a group.
    """

    weight: float
    groups: int
    values: int
    patches: int
    largest: int


@dataclass(frozen=True)
class GroupedPair:
    """A pair in units of its peak that continues periodically, its patches in groups.

    Attributes:
        pair: in double precision.
        response: of the MSI to bands that are not zero everywhere, (msi_bands, bands).
        groups: of patches of the MSI.
        weight: of the penalty.
        noise: standard deviation of the noise that thresholds exceed.
        peak: by which values were divided.
        precision: of patches.
    """

    pair: PeriodicPair
    response: torch.Tensor
    groups: PatchGroups
    weight: float
    noise: float
    peak: float
    precision: torch.dtype

    @classmethod
    def of(
        cls, pair: PairTensors, grid: tuple[int, int, bool], settings: PatchRankSettings, defaults: Defaults
    ) -> GroupedPair:
        """Prepare a pair.

        Args:
            pair: with spectral responses.
            grid: side of patches, distance of their starts, and whether their pixels go down columns first.
            settings: of the method.
            defaults: of the method.
        """
        authors = settings.defaults == "authors"
        peak = settings.peak or (1.0 if authors else _peak(pair))
        unit = pair._replace(hsi=pair.hsi.double() / peak, msi=pair.msi.double() / peak)
        periodic = PeriodicPair.of(unit)
        side, step, column_major = grid
        fine = periodic.sampling.fine
        patches = PatchGrid(fine, min(side, *fine), step, column_major=column_major)
        count = settings.groups or (defaults.groups if authors else max(1, round(patches.count / defaults.patches)))
        largest = settings.largest_group or (None if authors else defaults.largest)
        groups = PatchGroups.similar(periodic.msi, patches, count, largest, settings.seed)
        weight = defaults.weight if settings.weight is None else settings.weight
        if settings.weight is None and not authors:
            weight *= len(unit.hsi) * patches.count / count / defaults.values
        noise = 0.0 if authors or settings.weight is not None else _noise(unit)
        precision = torch.float32 if settings.precision == "single" else torch.float64
        return cls(periodic, usable_response(pair), groups, weight, noise, peak, precision)

    def shrinkage(self, penalty: float) -> Callable[[float, int, int, float], Shrink]:
        """Return what gives the shrinkage of the singular values of a matrix.

        It takes the fraction of the weight, the sides of the matrix, and by how much noise is larger in it than in the
        image. A singular value that noise alone reaches does not remain: of white noise, about its deviation times the
        sum of the roots of the sides.
        """

        def make(fraction: float, rows: int, cols: int, gain: float) -> Shrink:
            reached = gain * self.noise * (math.sqrt(rows) + math.sqrt(cols))
            weight = max(fraction * self.weight / (2 * penalty), reached**2 / 4)
            return lambda values: log_shrink(values, weight)

        return make

    def map(self, image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return an image of changed patches, see :meth:`PatchGroups.map`."""
        return self.groups.map(image.to(self.precision), change).to(image.dtype)

    def restored(self, image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return an image (bands, H, W) of the extended pair on the MSI's pixels, in units and type of ``like``."""
        return (self.pair.cut(image) * self.peak).to(like.dtype).contiguous()

    def details(self) -> dict[str, Any]:
        """Return plain values for the record."""
        sizes = sorted(len(one) for one in self.groups.members)
        return {
            "groups": len(sizes),
            "patches_per_group": [sizes[0], sizes[len(sizes) // 2], sizes[-1]],
            "weight": float(f"{self.weight:.4g}"),
            "noise": float(f"{self.noise:.3g}"),
            "peak": float(f"{self.peak:.6g}"),
        }

    def misfits(self, image: torch.Tensor) -> dict[str, float]:
        """Return how far an image is from the HSI and the MSI, relative to their root mean squares."""
        pair = self.pair
        residuals = {
            "hsi_misfit": (pair.sampling.forward(image), pair.hsi),
            "msi_misfit": (mix(self.response, image), pair.msi),
        }
        return {
            name: float(f"{float((found - given).norm() / given.norm().clamp_min(1e-300)):.3g}")
            for name, (found, given) in residuals.items()
        }


def usable_response(pair: PairTensors) -> torch.Tensor:
    """Return the responses (msi_bands, bands) of a pair without bands that are zero everywhere, of the same sums."""
    response = responses_of(pair.sensor, pair.hsi.device)
    usable = response * (pair.hsi.abs().flatten(1).amax(1) > 0)
    return usable * (response.sum(1) / usable.sum(1)).nan_to_num(1.0, 1.0, 1.0)[:, None]


def _noise(pair: PairTensors) -> float:
    """Return the standard deviation of the noise of the noisier image, the mean over its bands."""
    hsi, msi = estimate_noise(pair.hsi), estimate_msi_noise(pair.hsi, pair.msi, pair.sensor)
    return max(float(hsi.mean()), float(msi.mean()))


def _peak(pair: PairTensors) -> float:
    largest = float(pair.hsi.abs().max())
    return largest if largest > 0 else 1.0
