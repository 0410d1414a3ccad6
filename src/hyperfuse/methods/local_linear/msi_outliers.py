"""Single pixels of an MSI that both the pixels around them and the HSI contradict: dead pixels, spikes, glints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional as F

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import MsiByHsi
from hyperfuse.methods.local_linear.border import beyond_border
from hyperfuse.methods.local_linear.msi_fill import COMPONENTS, missing_msi, seen_of_msi, well_seen

_SUSPECT = 4.0  # usual deviations at LR, from which the HR pixels that an LR pixel sees are tested
_MIN_FALL = 36.0  # of the sum of squared residuals at LR, in usual deviations: less could be chance
# How much of a difference to the neighbours the HSI contradicts: nothing of an object that is there, all of an outlier.
_CONTRADICTED = (0.6, 3.0)
_FITS, _PASSES = 2, 16  # every one finds the largest outlier around
_MIN_SCORE = 2.0  # times the usual difference between the neighbours themselves
_MIN_EVIDENCE = 60.0  # score times the root of the fall: one being large, the other need not be
# Pixels of which the HSI says too little are outliers from the score on from which this fraction of the others is.
_PRECISION, _MIN_FOUND = 0.9, 5
_TINY = 1e-12


@dataclass(frozen=True)
class MsiOutliers:
    """What distinguishes outliers of an MSI from objects of one pixel's size.

    An HR pixel is compared with the median of its eight neighbours. The degraded MSI minus what the HSI shows of it
    contains the difference, as far as the PSF transmits it, where the pixel is an outlier, and nothing of it where the
    HSI has seen the same: only what the HSI contradicts is an outlier. Where a scene has such pixels, others of which a
    narrow PSF says too little are outliers if they differ from their neighbours as usually only those do.

    Attributes:
        by_hsi: the MSI by the HSI.
        limit: score from which pixels of which the HSI says too little are outliers.
        fraction: of the samples' HR pixels that are outliers.
    """

    by_hsi: MsiByHsi
    limit: float
    fraction: float

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], by_hsi: MsiByHsi) -> MsiOutliers | None:
        """Return what distinguishes outliers of a scene; None where it has none."""
        for _ in range(_FITS):  # the first map is fitted to outliers as well
            contradicted = [_contradicted(one, by_hsi) for one in samples]
            if not any(bool(one.outlier.any()) for one in contradicted):
                return None
            mended = [one._replace(msi=its.msi) for one, its in zip(samples, contradicted, strict=True)]
            by_hsi = MsiByHsi.fit(mended, COMPONENTS) or by_hsi
        pixels, limit = sum(one.outlier.numel() for one in contradicted), math.inf
        if not all(bool(one.known.all()) for one in contradicted):
            limit = _limit([_scores(one, by_hsi) for one in contradicted], contradicted)
        found = cls(by_hsi, limit, 0.0)
        outliers = sum(int(found._outliers(one).sum()) for one in contradicted)
        return cls(by_hsi, limit, outliers / pixels)

    def mended(self, pair: PairTensors) -> PairTensors:
        """Return a window in which outliers of the MSI are the median of their neighbours, as far as the HSI agrees."""
        found = _contradicted(pair, self.by_hsi)
        outlier = self._outliers(found)
        if not bool(outlier.any()):
            return pair
        rows, cols = torch.nonzero(outlier, as_tuple=True)
        msi = found.msi.clone()
        for _ in range(2):  # once more where neighbours were outliers themselves
            msi[:, rows, cols] = _around(msi, rows, cols)[0]
        pair = pair._replace(msi=msi)
        return pair._replace(msi=msi + missing_msi(pair, self.by_hsi, outlier))

    def _outliers(self, found: _Contradicted) -> torch.Tensor:
        if self.limit == math.inf:
            return found.outlier
        return found.outlier | (~found.known & (_scores(found, self.by_hsi) > self.limit))


class _Contradicted(NamedTuple):
    """An MSI (bands, H, W) without the outliers that the HSI contradicts, and as measured; which pixels these are.

    ``seen`` (H, W) is the sum of squares of the weights that LR pixels give to an HR pixel.
    """

    msi: torch.Tensor
    measured: torch.Tensor
    outlier: torch.Tensor
    seen: torch.Tensor

    @property
    def known(self) -> torch.Tensor:
        """HR pixels of which the HSI says enough, bool (H, W)."""
        return well_seen(self.seen)


def _contradicted(pair: PairTensors, by_hsi: MsiByHsi) -> _Contradicted:
    """Find outliers one after the other, those first that explain most of the residual at LR around them."""
    sensor, msi = pair.sensor, pair.msi
    fine, coarse = (msi.shape[1], msi.shape[2]), (pair.hsi.shape[1], pair.hsi.shape[2])
    unit, predicted = by_hsi.unit, by_hsi.predict(pair.hsi)
    found = torch.zeros(fine, dtype=torch.bool, device=msi.device)
    seen, beyond = seen_of_msi(sensor, fine, coarse).to(msi.device), None
    reach = [math.ceil(ratio) for ratio in sensor.ratio]
    for _ in range(_PASSES):
        residual = sensor.degrade(msi, coarse).double() - predicted
        if beyond is None:  # decided with the outliers in it, which are few
            beyond = beyond_border(residual / unit[:, None, None], sensor) > 0
        residual = torch.where(beyond, 0.0, residual / unit[:, None, None])
        suspect = (residual.abs() > _SUSPECT).any(0)
        if not bool(suspect.any()):
            break
        tested = (sensor.degrade_adjoint(suspect[None].to(msi.dtype), fine)[0] > _TINY) & ~found
        rows, cols = torch.nonzero(tested, as_tuple=True)
        around, spread = _around(msi, rows, cols)
        change = (msi[:, rows, cols] - around).double()
        relative = change / unit[:, None]
        explained = (relative * sensor.degrade_adjoint(residual, fine)[:, rows, cols]).sum(0)
        own = seen[rows, cols] * relative.square().sum(0)
        ratio, fall = explained / own.clamp_min(_TINY), 2 * explained - own
        good = (fall > _MIN_FALL) & (ratio > _CONTRADICTED[0]) & (ratio < _CONTRADICTED[1])
        score = _score(change, spread, unit)
        good &= (score > _MIN_SCORE) & (score * fall.clamp_min(0).sqrt() > _MIN_EVIDENCE)
        falls = torch.zeros(fine, dtype=torch.float64, device=msi.device)
        falls[rows, cols] = torch.where(good, fall, 0.0)
        largest = F.max_pool2d(falls[None, None], [2 * one + 1 for one in reach], 1, reach)[0, 0]
        chosen = good & (falls[rows, cols] == largest[rows, cols])
        if not bool(chosen.any()):
            break
        msi = msi.clone()
        msi[:, rows[chosen], cols[chosen]] = around[:, chosen]
        found[rows[chosen], cols[chosen]] = True
    return _Contradicted(msi, pair.msi, found, seen)


def _around(image: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return median and spread of the eight neighbours of some pixels of an image (bands, H, W), (bands, n) each.

    The spread is the difference of the second and the seventh of them: two may be outliers.
    """
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    around = [padded[:, rows + y, cols + x] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    ordered = torch.stack(around).sort(0).values
    return (ordered[3] + ordered[4]) / 2, ordered[6] - ordered[1]


def _score(change: torch.Tensor, spread: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """Return how much larger differences (bands, n) are than those between the neighbours, in the clearest band."""
    return (change.abs() / (spread + unit[:, None])).amax(0)


def _scores(found: _Contradicted, by_hsi: MsiByHsi) -> torch.Tensor:
    """Return the score of every HR pixel as it was measured, (H, W), its neighbours without outliers."""
    height, width = found.outlier.shape
    rows, cols = torch.cartesian_prod(torch.arange(height), torch.arange(width)).T.to(found.msi.device)
    around, spread = _around(found.msi, rows, cols)
    change = (found.measured.flatten(1) - around).double()
    return _score(change, spread, by_hsi.unit).reshape(height, width)


def _limit(scores: Sequence[torch.Tensor], found: Sequence[_Contradicted]) -> float:
    """Return the score from which those pixels that the HSI says enough of are outliers but for few."""
    score = torch.cat([one[its.known] for one, its in zip(scores, found, strict=True)])
    outlier = torch.cat([one.outlier[one.known] for one in found])
    order = score.argsort(descending=True)
    score, outlier = score[order], outlier[order].double().cumsum(0)
    rank = torch.arange(1, len(score) + 1, device=score.device)
    precise = torch.nonzero((outlier >= _PRECISION * rank) & (rank >= _MIN_FOUND)).flatten()
    return math.inf if len(precise) == 0 else float(score[precise[-1]])
