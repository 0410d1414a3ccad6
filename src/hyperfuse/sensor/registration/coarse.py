"""Coarse search: the one shift at which the HSI explains the MSI best, far beyond what metadata usually miss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from hyperfuse.sensor.estimation.fit import LEAST_PIXELS
from hyperfuse.sensor.registration.images import PairImages

Array = NDArray[np.float64]

HSI_COMPONENTS, MSI_COMPONENTS = 4, 3
_KNOWN = 0.5  # weight of a pixel that counts
# What varies more slowly than this, in pixels of the search, says nothing of a shift; what is beyond this many
# deviations (clouds, roofs) counts no more than others.
_HIGH_PASS, _CLIPPED = 4.0, 3.0
# Sides of the image in which all shifts are compared, at most; finer ones are searched around the best.
_SIDE = 384
# A shift is considered where this fraction of the LR pixels that could overlap does.
_OVERLAP = 0.3
# Peaks are apart where they lie farther than this many pixels from each other.
_APART = 2.5
# A peak is no other's equal where the next one has less than this fraction of its height.
_AMBIGUOUS = 0.85
# Height of the peak in standard deviations of all shifts.
_SIGNIFICANT = 5.0


class ShiftPeak(NamedTuple):
    """The best shift of a search.

    Attributes:
        shift: (y, x) in pixels.
        score: mean over the MSI's components of minus the logarithm of the fraction that is not explained.
        height: how far its peak stands out, in standard deviations over the shifts apart from it.
        ratio: height of the next peak apart from it, relative to its own.
        other: shift of that one.
        at_limit: the best shift lies at the limit of the search.
    """

    shift: tuple[float, float]
    score: float
    height: float
    ratio: float
    other: tuple[float, float]
    at_limit: bool


class CoarseShift(NamedTuple):
    """The best shift of a whole pair: its peak, shifts in LR pixels, within ``reach`` LR pixels to either side."""

    peak: ShiftPeak
    reach: float

    @property
    def shift(self) -> tuple[float, float]:
        """The shift (y, x) in LR pixels."""
        return self.peak.shift

    @property
    def doubt(self) -> str:
        """Why the shift is not accepted, empty where it is."""
        peak = self.peak
        if not peak.height >= _SIGNIFICANT:
            return f"no shift within {self.reach:.0f} LR pixels stands out"
        if peak.ratio > _AMBIGUOUS:
            y, x = (b - a for a, b in zip(peak.shift, peak.other, strict=True))
            return f"two shifts, {y:+.0f},{x:+.0f} LR pixels (y,x) apart, fit equally well, as in a periodic scene"
        if peak.at_limit:
            return f"the best shift lies at the limit of the search, {self.reach:.0f} LR pixels"
        return ""

    @property
    def stands_out(self) -> bool:
        """Whether a search may start from it: it is accepted, or only lies at the limit, near one that is beyond."""
        return self.peak.height >= _SIGNIFICANT and self.peak.ratio <= _AMBIGUOUS

    @property
    def accepted(self) -> bool:
        """Whether the shift stands out from all others."""
        return not self.doubt


def search_shift(images: PairImages, reach: float) -> CoarseShift | None:
    """Search the shift of the HSI on the MSI within ``reach`` LR pixels to either side; None in too small a pair.

    At every shift, leading components of the MSI are explained by those of the HSI, both without what varies slowly
    and clipped, over the pixels that hold data in both: masked normalised correlation (Padfield, IEEE TIP 21(5), 2012)
    of several bands at once, by Fourier transforms. An image of more than 384 pixels is searched thinned first.
    """
    factor = int(np.ceil(max(images.hsi_weight.shape) / _SIDE))
    if factor > 1:
        images = images.blurred(0.5 * factor, step=factor)
    step = images.step
    beyond = (int(np.ceil(reach / step[0])), int(np.ceil(reach / step[1])))
    msi, msi_weight = images.msi_around(beyond)
    a, c = images.hsi_weight > _KNOWN, msi_weight > _KNOWN
    if min(int(a.sum()), int(c.sum())) < LEAST_PIXELS:
        return None
    scores = shift_scores(high_passed(images.hsi[:HSI_COMPONENTS], a), a, high_passed(msi[:MSI_COMPONENTS], c), c)
    peak = find_peak(scores, beyond)
    if peak is None:
        return None
    shift, other = ((one[0] * step[0], one[1] * step[1]) for one in (peak.shift, peak.other))
    return CoarseShift(peak._replace(shift=shift, other=other), reach)


def high_passed(images: NDArray[np.float32], known: NDArray[np.bool_]) -> Array:
    """Return images without their slow variation, clipped, 0 in gaps."""
    weight = known.astype(np.float64)
    below = ndimage.gaussian_filter(weight, _HIGH_PASS, mode="constant") + 1e-6
    found = []
    for one in images.astype(np.float64):
        detail = one - ndimage.gaussian_filter(one * weight, _HIGH_PASS, mode="constant") / below
        spread = np.median(np.abs(detail[known])) / 0.6745 + 1e-9
        found.append(np.clip(detail / spread, -_CLIPPED, _CLIPPED) * weight)
    return np.stack(found)


def shift_scores(h: Array, a: NDArray[np.bool_], g: Array, c: NDArray[np.bool_]) -> Array:
    """Return, for every shift of h on g that keeps h within a frame of g's size, how much of g is explained.

    Element (i, j) is the shift by (i, j) pixels from that which puts the first pixels on each other. The score is the
    mean over the components of g of -log(1 - explained fraction).
    """
    size = [fft.next_fast_len(one + other) for one, other in zip(h.shape[1:], g.shape[1:], strict=True)]
    out = tuple(max(1, big - small + 1) for big, small in zip(g.shape[1:], h.shape[1:], strict=True))

    def transformed(images: Array) -> NDArray[np.complex128]:
        return np.asarray(fft.rfft2(images, size))

    def correlated(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> Array:
        return np.asarray(fft.irfft2(np.conj(one) * other, size)[: out[0], : out[1]])

    mask, other = transformed(a.astype(np.float64)), transformed(c.astype(np.float64))
    count = correlated(mask, other)
    k = len(h)
    h_f, g_f = [transformed(one) for one in h], [transformed(one) for one in g]
    gram = np.empty((*out, k, k))
    for i in range(k):
        for j in range(i, k):
            gram[..., i, j] = gram[..., j, i] = correlated(transformed(h[i] * h[j]), other)
    energy = np.stack([correlated(mask, transformed(one * one)) for one in g], axis=-1)
    cross = np.stack([np.stack([correlated(one, two) for two in g_f], axis=-1) for one in h_f], axis=-2)
    gram += (1e-3 * np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / k + 1e-6) * np.eye(k)
    explained = np.einsum("...km,...km->...m", cross, np.linalg.solve(gram, cross)) / np.maximum(energy, 1e-6)
    scores = -np.log1p(-np.clip(explained, 0, 1 - 1e-9)).mean(axis=-1)
    return np.where(count >= _OVERLAP * float(count.max()), scores, np.nan)


def find_peak(scores: Array, origin: tuple[int, int]) -> ShiftPeak | None:
    """Return the highest peak of scores of shifts, NaN where there are none, and the next one; None without any.

    Args:
        scores: (rows, cols).
        origin: element of the shift (0, 0).
    """
    if not np.isfinite(scores).any():
        return None
    row, col = (int(one) for one in np.unravel_index(int(np.nanargmax(scores)), scores.shape))
    rows, cols = np.arange(scores.shape[0]), np.arange(scores.shape[1])
    far = np.hypot(rows[:, None] - row, cols[None] - col) > _APART
    elsewhere = scores[far & np.isfinite(scores)]
    if not elsewhere.size:
        return None
    best, typical = float(scores[row, col]), float(np.median(elsewhere))
    spread = float(np.median(np.abs(elsewhere - typical))) / 0.6745 + 1e-9
    filled = np.where(np.isfinite(scores), scores, -np.inf)
    peaks = filled == ndimage.maximum_filter(filled, 3, mode="constant", cval=-np.inf)
    others = np.where(peaks & far, filled, -np.inf)
    at = np.unravel_index(int(np.argmax(others)), others.shape)
    second = float(others[at]) if np.isfinite(others[at]) else typical
    y, x = _vertex(scores[:, col], row), _vertex(scores[row], col)
    return ShiftPeak(
        shift=(row - origin[0] + y, col - origin[1] + x),
        score=best,
        height=(best - typical) / spread,
        ratio=max(0.0, (second - typical) / max(best - typical, 1e-9)),
        other=(float(at[0] - origin[0]), float(at[1] - origin[1])),
        at_limit=row in (0, len(rows) - 1) or col in (0, len(cols) - 1),
    )


def _vertex(line: Array, index: int) -> float:
    """Return where the parabola through three values has its vertex, as an offset from the centre one."""
    if not 0 < index < len(line) - 1:
        return 0.0
    low, centre, high = (float(one) for one in line[index - 1 : index + 2])
    curvature = low - 2 * centre + high
    if not (np.isfinite(curvature) and curvature < 0):
        return 0.0
    return float(np.clip(0.5 * (low - high) / curvature, -0.5, 0.5))
