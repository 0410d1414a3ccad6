"""What is done to a pair before models are fitted to it: outliers of the MSI and light from beyond the image go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import MsiByHsi, fit_hsi_by_msi
from hyperfuse.methods.local_linear.border import beyond_border
from hyperfuse.methods.local_linear.msi_fill import COMPONENTS
from hyperfuse.methods.local_linear.msi_outliers import MsiOutliers
from hyperfuse.methods.local_linear.msi_saturation import MsiSaturation


@dataclass(frozen=True)
class Preparation:
    """Changes of a pair that are measured at LR by what HSI and MSI show of each other.

    LR pixels near the border hold light from beyond the image, which the MSI does not show: degrading the MSI, the
    sensor continues it by reflection. How far this differs from what the HSI shows of the MSI is known, and the slopes
    of the HSI's bands on the MSI's say what it is in the HSI: with that added, the HSI is that of an image which
    continues by reflection. Likewise at the cut borders of a window.

    Attributes:
        by_hsi: the MSI by the HSI.
        slopes: of the HSI's bands on the MSI's, (bands, msi_bands); None where the border is as the sensor assumes.
        outliers: of the MSI; None where there are none.
        saturation: of the MSI; None where it is not saturated, or the HSI does not show how far.
    """

    by_hsi: MsiByHsi
    slopes: torch.Tensor | None
    outliers: MsiOutliers | None
    saturation: MsiSaturation | None

    @classmethod
    def fit(cls, samples: Sequence[PairTensors]) -> Preparation | None:
        """Find out on samples of a scene what has to be done; None where nothing has, or there are too few pixels."""
        by_hsi = MsiByHsi.fit(samples, COMPONENTS)
        if by_hsi is None:
            return None
        saturation = MsiSaturation.fit(samples, by_hsi)
        if saturation is not None:
            samples, by_hsi = [saturation.mended(one) for one in samples], saturation.by_hsi
        outliers = MsiOutliers.fit(samples, by_hsi)
        if outliers is not None:
            samples = [outliers.mended(one) for one in samples]
            by_hsi = MsiByHsi.fit(samples, COMPONENTS) or by_hsi
        slopes = None
        if any(_beyond(one, by_hsi) is not None for one in samples):
            slopes = fit_hsi_by_msi(samples)[0][:, 1:]
        if slopes is None and outliers is None and saturation is None:
            return None
        return cls(by_hsi, slopes, outliers, saturation)

    def details(self) -> dict[str, Any]:
        """Return what the history records."""
        found: dict[str, Any] = {} if self.slopes is None else {"light_from_beyond": True}
        if self.outliers is not None:
            found["msi_outlier_fraction"] = float(f"{self.outliers.fraction:.3g}")
        if self.saturation is not None:
            found["saturated_msi_bands"] = int(self.saturation.levels.isfinite().sum())
        return found

    def apply(self, pair: PairTensors) -> PairTensors:
        """Return a window of the scene as models are to see it."""
        if self.saturation is not None:
            pair = self.saturation.mended(pair)
        if self.outliers is not None:
            pair = self.outliers.mended(pair)
        beyond = None if self.slopes is None else _beyond(pair, self.by_hsi)
        if beyond is None:
            return pair
        assert self.slopes is not None
        change = (self.slopes @ beyond.flatten(1)).reshape(pair.hsi.shape)
        return pair._replace(hsi=pair.hsi + change.to(pair.hsi.dtype))


def _beyond(pair: PairTensors, by_hsi: MsiByHsi) -> torch.Tensor | None:
    """Return what the degraded MSI of a window has at its border beyond what the HSI shows, (msi_bands, h, w).

    None where the border is no different from the inside.
    """
    shape = (pair.hsi.shape[1], pair.hsi.shape[2])
    residual = pair.sensor.degrade(pair.msi, shape).double() - by_hsi.predict(pair.hsi)
    factor = beyond_border(residual / by_hsi.unit[:, None, None], pair.sensor)
    return factor * residual if bool((factor > 0).any()) else None
