"""Gaps are filled before fusing, so that no method sees them and no other pixel is contaminated; they are cut after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.prediction import COMPONENTS, LinearMap

# LR pixels of which the PSF covers this fraction of valid HR pixels show how the two images relate.
_VALID_FRACTION = 0.999
# Iterations in which the fill of the MSI is made consistent with the HSI.
_ITERATIONS = 20


class GappyPair(NamedTuple):
    """A pair before its gaps are filled.

    Attributes:
        hsi: LR-HSI (bands, h, w), any value in gaps.
        hsi_valid: bool (bands, h, w).
        msi: HR-MSI (msi_bands, H, W), any value in gaps.
        msi_valid: bool (H, W).
        sensor: the forward model of the pair.
    """

    hsi: torch.Tensor
    hsi_valid: torch.Tensor
    msi: torch.Tensor
    msi_valid: torch.Tensor
    sensor: Sensor

    @property
    def complete(self) -> bool:
        """Whether there is no gap."""
        return bool(self.hsi_valid.all() and self.msi_valid.all())


@dataclass(frozen=True)
class GapRegression:
    """How either image of a scene is predicted from the other at LR pixels that both know whole.

    Attributes:
        to_msi: from the HSI to the degraded MSI.
        to_hsi: from the degraded MSI to the HSI.
        damping: per MSI band, (msi_bands, 1, 1): residual variance of ``to_msi`` to that of the detail which the
            degraded MSI lacks; how strictly a fill of the MSI has to agree with the prediction.
    """

    to_msi: LinearMap
    to_hsi: LinearMap
    damping: torch.Tensor

    @classmethod
    def fit(cls, samples: Sequence[GappyPair]) -> GapRegression | None:
        """Fit to samples of a scene; None where too few LR pixels are valid in both images."""
        features: list[tuple[torch.Tensor, torch.Tensor]] = []
        for sample in samples:
            hsi, degraded = _spread(sample.hsi, sample.hsi_valid), _degraded(sample)
            valid = _valid_in_both(sample)
            features.append((hsi[:, valid].double(), degraded[:, valid].double()))
        x, y = (torch.cat(parts, dim=1) for parts in zip(*features, strict=True))
        if x.shape[1] <= 2 * (COMPONENTS + 1):
            return None
        to_msi, to_hsi = LinearMap.fit(x, y), LinearMap.fit(y, x)
        return cls(to_msi, to_hsi, _damping(samples, to_msi))

    def state(self) -> dict[str, Any]:
        """Return tensors by name."""
        maps = {name: vars(getattr(self, name)) for name in ("to_msi", "to_hsi")}
        return {**{name: dict(values) for name, values in maps.items()}, "damping": self.damping}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> GapRegression:
        """Return the regression of which :meth:`state` was taken."""
        return cls(LinearMap(**state["to_msi"]), LinearMap(**state["to_hsi"]), state["damping"])


def fill_gaps(pair: GappyPair, regression: GapRegression | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return HSI and MSI with gaps filled.

    A gap of the MSI is filled with what the HSI there predicts, a gap of the HSI with what the MSI predicts, so that
    fits of one image to the other are not misled; where both are missing, or nothing is known about how the two
    relate, the surroundings are spread into it.

    Args:
        pair: of tensors.
        regression: of the scene.
    """
    if pair.complete:
        return pair.hsi, pair.msi
    coarse, fine = (pair.hsi.shape[-2], pair.hsi.shape[-1]), (pair.msi.shape[-2], pair.msi.shape[-1])
    hsi = _spread(pair.hsi, pair.hsi_valid)
    msi = _spread(pair.msi, pair.msi_valid.expand(pair.msi.shape))
    if regression is None:
        return hsi, msi
    if not bool(pair.msi_valid.all()):
        predicted = regression.to_msi(hsi)
        msi = torch.where(pair.msi_valid, msi, pair.sensor.upsample(predicted, fine, "linear"))
        msi = _agree(msi, pair.msi_valid, predicted, regression.damping.to(msi), pair.sensor)
    if not bool(pair.hsi_valid.all()):
        hsi = torch.where(pair.hsi_valid, hsi, regression.to_hsi(pair.sensor.degrade(msi, coarse)))
    return hsi, msi


def _agree(
    msi: torch.Tensor, msi_valid: torch.Tensor, goal: torch.Tensor, damping: torch.Tensor, sensor: Sensor
) -> torch.Tensor:
    """Change the fill of the MSI (bands, H, W) so that it degrades to ``goal`` (bands, h, w).

    LR pixels at the border of a gap cover known pixels too. Unless the fill compensates these, the HSI contradicts
    the MSI there and a method corrects the known ones. Ridge regression by conjugate gradients: the goal is met as
    closely as it holds on valid pixels, the fill kept as closely as smooth fills are right where the MSI is known.
    """
    fine, coarse = (msi.shape[-2], msi.shape[-1]), (goal.shape[-2], goal.shape[-1])
    residual = goal - sensor.degrade(msi, coarse)
    change = torch.zeros_like(msi)
    step = slope = torch.where(msi_valid, 0.0, sensor.degrade_adjoint(residual, fine))
    for _ in range(_ITERATIONS):
        degraded = sensor.degrade(step, coarse)
        length = _quotient(_square(slope), _square(degraded) + damping * _square(step))
        change, residual = change + length * step, residual - length * degraded
        before = _square(slope)
        slope = torch.where(msi_valid, 0.0, sensor.degrade_adjoint(residual, fine)) - damping * change
        step = slope + _quotient(_square(slope), before) * step
    return msi + change


def _damping(samples: Sequence[GappyPair], to_msi: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the damping of :class:`GapRegression`."""
    residuals: list[torch.Tensor] = []
    details: list[torch.Tensor] = []
    coarse_count = fine_count = 0
    for sample in samples:
        fine, coarse = (sample.msi.shape[-2], sample.msi.shape[-1]), (sample.hsi.shape[-2], sample.hsi.shape[-1])
        predicted = to_msi(_spread(sample.hsi, sample.hsi_valid))
        msi = torch.where(sample.msi_valid, sample.msi, sample.sensor.upsample(predicted, fine, "linear"))
        degraded = sample.sensor.degrade(msi, coarse)
        valid = _valid_in_both(sample)
        residuals.append(_square(torch.where(valid, predicted - degraded, 0.0)))
        detail = msi - sample.sensor.upsample(degraded, fine, "linear")
        details.append(_square(torch.where(sample.msi_valid, detail, 0.0)))
        coarse_count += int(valid.sum())
        fine_count += int(sample.msi_valid.sum())
    return _quotient(torch.stack(residuals).sum(0) / coarse_count, torch.stack(details).sum(0) / fine_count)


def _degraded(pair: GappyPair) -> torch.Tensor:
    """Return the MSI through the HSI's sensor, gaps filled from their surroundings."""
    coarse = (pair.hsi.shape[-2], pair.hsi.shape[-1])
    return pair.sensor.degrade(_spread(pair.msi, pair.msi_valid.expand(pair.msi.shape)), coarse)


def _valid_in_both(pair: GappyPair) -> torch.Tensor:
    """Return the LR pixels, bool (h, w), that are valid in all bands and cover valid HR pixels."""
    coarse = (pair.hsi.shape[-2], pair.hsi.shape[-1])
    covered = pair.sensor.degrade(pair.msi_valid[None].to(pair.msi.dtype), coarse)[0]
    return pair.hsi_valid.all(0) & (covered >= _VALID_FRACTION)


def _square(image: torch.Tensor) -> torch.Tensor:
    return image.square().sum((1, 2), keepdim=True)


def _quotient(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.where(other > 0, one / other, 0.0)


def _spread(image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Fill invalid values with a smooth extension of the valid ones: means over ever larger blocks."""
    if bool(valid.all()):
        return image
    filled = torch.where(valid, image, 0.0)
    weight = valid.to(image.dtype)
    rows, cols = image.shape[-2:]
    if rows == 1 and cols == 1:
        return filled
    pool = torch.nn.functional.avg_pool2d
    coarse_sum = pool(filled * weight, 2, ceil_mode=True, count_include_pad=False)
    coarse_weight = pool(weight, 2, ceil_mode=True, count_include_pad=False)
    known = coarse_weight > 0
    coarse = _spread(torch.where(known, coarse_sum / coarse_weight.clamp_min(1e-6), 0.0), known)
    smooth = torch.nn.functional.interpolate(coarse[None], size=(rows, cols), mode="bilinear", align_corners=False)[0]
    return torch.where(valid, image, smooth)
