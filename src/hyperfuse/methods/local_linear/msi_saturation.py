"""Saturated values of an MSI, which the HSI shows to be larger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import MsiByHsi
from hyperfuse.methods.local_linear.msi_fill import COMPONENTS, missing_msi, seen_of_msi, well_seen
from hyperfuse.methods.local_linear.predictors import pooled

_MIN_SATURATED, _MIN_SATURATED_FRACTION = 8, 1e-4  # pixels at the largest value of a saturated band
_CONTRADICTED = 3.0  # usual deviations by which the HSI shows more where a band is saturated, on average
_FITS = 2  # the first map is fitted to saturated values as well


@dataclass(frozen=True)
class MsiSaturation:
    """What the HSI shows of saturated values of an MSI.

    Attributes:
        by_hsi: the MSI by the HSI.
        levels: values at which bands are saturated that the HSI shows to be larger, (msi_bands,); infinite for others.
    """

    by_hsi: MsiByHsi
    levels: torch.Tensor

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], by_hsi: MsiByHsi) -> MsiSaturation | None:
        """Return what a scene's HSI shows; None where no band is saturated, or the HSI covers too few HR pixels.

        A narrow PSF sees some pixels alone; single ones that stand out from their neighbours would be worse.
        """
        levels = saturation_levels([one.msi for one in samples])
        if not bool(levels.isfinite().any()) or not all(_sees_all(one) for one in samples):
            return None
        levels = torch.where(_excess(samples, by_hsi, levels) > _CONTRADICTED, levels, torch.inf)
        if not bool(levels.isfinite().any()):
            return None
        found = cls(by_hsi, levels)
        for _ in range(_FITS):
            refitted = MsiByHsi.fit([found.mended(one) for one in samples], COMPONENTS)
            found = replace(found, by_hsi=refitted or found.by_hsi)
        return found

    def mended(self, pair: PairTensors) -> PairTensors:
        """Return a window of which saturated values of the MSI are as large as the HSI shows them to be."""
        unknown = pair.msi >= self.levels[:, None, None]
        if not bool(unknown.any()):
            return pair
        return pair._replace(msi=pair.msi + missing_msi(pair, self.by_hsi, unknown).clamp_min(0))


def saturation_levels(msis: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the value at which each band is saturated, (msi_bands,): the largest, where many pixels have it."""
    values = pooled(msis)[:, 0]
    top = values.amax(1)
    count = (values == top[:, None]).sum(1)
    least = max(_MIN_SATURATED, _MIN_SATURATED_FRACTION * values.shape[1])
    return torch.where((count >= least) & (count < values.shape[1]), top, torch.inf)


def _sees_all(pair: PairTensors) -> bool:
    fine, coarse = (pair.msi.shape[1], pair.msi.shape[2]), (pair.hsi.shape[1], pair.hsi.shape[2])
    return bool(well_seen(seen_of_msi(pair.sensor, fine, coarse)).all())


def _excess(samples: Sequence[PairTensors], by_hsi: MsiByHsi, levels: torch.Tensor) -> torch.Tensor:
    """Return by how much the HSI shows more than the MSI where it is saturated, in usual deviations, (msi_bands,)."""
    excess, covered = torch.zeros_like(by_hsi.unit), torch.zeros_like(by_hsi.unit)
    for one in samples:
        coarse = (one.hsi.shape[1], one.hsi.shape[2])
        cover = one.sensor.degrade((one.msi >= levels[:, None, None]).double(), coarse)
        excess += (cover * (by_hsi.predict(one.hsi) - one.sensor.degrade(one.msi, coarse).double())).sum((1, 2))
        covered += cover.sum((1, 2))
    return excess / covered.clamp_min(1e-9) / by_hsi.unit
