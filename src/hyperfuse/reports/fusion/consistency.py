"""Agreement of a result with its inputs: scores without a reference, and the residual of each image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.metrics import NoReferenceScores, evaluate_without_reference
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.sensor.model import Sensor

Array = NDArray[np.float64]

# Scores of all pairs of bands cost time and memory that grow with the pixels: larger scenes are scored in part.
_LONGEST, _LARGEST_SIZE = 600, 80_000_000
# LR pixels with a larger fraction of their PSF on gaps are left out.
_GAP_WEIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class Consistency:
    """Scores of a result against its inputs, over the whole image or its central part.

    Attributes:
        scores: QNR, HQNR and their parts; None where they cannot be computed.
        doubt: why not.
        part: (rows, cols) in HR pixels of the part that was scored, or None for all.
        spectral_rmse: (bands,), degraded result against HSI, NaN for bands that are not usable; in the images' units.
        spectral_fraction: root mean square of that difference over that of the HSI, over all bands.
        spectral_map: (h, w) of the part, root mean square over the bands; NaN in gaps.
        spatial_rmse: (msi_bands,), result under the responses against MSI; None without responses.
        spatial_fraction: (msi_bands,), the same over the root mean square of the MSI band.
        spatial_correlation: (msi_bands,).
    """

    scores: NoReferenceScores | None
    doubt: str
    part: tuple[int, int] | None
    spectral_rmse: Array
    spectral_fraction: float
    spectral_map: Array
    spatial_rmse: Array | None
    spatial_fraction: Array | None
    spatial_correlation: Array | None


@dataclass(frozen=True, eq=False)
class _Part:
    hsi: Cube
    msi: Cube
    fused: Cube
    sensor: Sensor

    def degrade(self, image: NDArray[np.floating]) -> torch.Tensor:
        return self.sensor.degrade(torch.from_numpy(np.ascontiguousarray(image)), (self.hsi.rows, self.hsi.cols))


def measure_consistency(content: ReportContent) -> Consistency:
    """Compare a result with its inputs: degraded with the HSI, under the responses with the MSI."""
    part, size = _scored_part(content)
    scores: NoReferenceScores | None = None
    doubt = ""
    try:
        scores = evaluate_without_reference(part.hsi, part.msi, part.fused, part.degrade)
    except InputError as error:
        doubt = str(error)
    return Consistency(scores, doubt, size, *_spectral(content, part), *_spatial(content, part))


def _scored_part(content: ReportContent) -> tuple[_Part, tuple[int, int] | None]:
    hsi, msi, fused, sensor = content.hsi, content.msi, content.fused, content.sensor
    side = min(_LONGEST, math.isqrt(_LARGEST_SIZE // fused.bands))
    if fused.rows <= side and fused.cols <= side:
        return _Part(hsi, msi, fused, sensor), None
    first, size, start, length, phase = [], [], [], [], []
    for axis, (coarse, fine) in enumerate(((hsi.rows, fused.rows), (hsi.cols, fused.cols))):
        ratio, offset = sensor.ratio[axis], sensor.offset[axis]
        count = max(1, min(coarse, int(side / ratio)))
        skipped = (coarse - count) // 2
        corner = offset + 0.5 - ratio / 2 + ratio * skipped
        low = max(0, math.floor(corner + 1e-6))
        high = min(fine, math.ceil(corner + ratio * count - 1e-6))
        first.append(skipped)
        size.append(count)
        start.append(low)
        length.append(high - low)
        phase.append(offset + ratio * skipped - low)
    window = (start[0], start[1], length[0], length[1])
    part = _Part(
        hsi.crop(first[0], first[1], size[0], size[1]),
        msi.crop(*window),
        fused.crop(*window),
        sensor.replace(phase=(phase[0], phase[1])),
    )
    return part, (length[0], length[1])


def _spectral(content: ReportContent, part: _Part) -> tuple[Array, float, Array]:
    """Return RMSE per band, its fraction of the HSI, and its map."""
    shape = (part.hsi.rows, part.hsi.cols)
    rmse = np.full(content.fused.bands, np.nan)
    squares, counts = np.zeros(shape), np.zeros(shape)
    energy = 0.0
    for band in np.flatnonzero(content.usable):
        high, low = part.fused.data[band], part.hsi.data[band]
        known = np.isfinite(high)
        scored = np.isfinite(low)
        if not known.any():
            continue
        if not known.all():
            scored &= part.degrade(known[None].astype(np.float32)).numpy()[0] > 1 - _GAP_WEIGHT
            high = np.where(known, high, 0)
        difference = np.where(scored, part.degrade(high[None]).numpy()[0] - np.where(scored, low, 0), 0.0)
        if scored.any():
            rmse[band] = math.sqrt(float(np.sum(difference**2)) / int(scored.sum()))
        squares += difference**2
        counts += scored
        energy += float(np.sum(np.where(scored, low, 0).astype(np.float64) ** 2))
    fraction = math.sqrt(float(squares.sum()) / energy) if energy > 0 else math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return rmse, fraction, np.where(counts > 0, np.sqrt(squares / counts), np.nan)


def _spatial(content: ReportContent, part: _Part) -> tuple[Array | None, Array | None, Array | None]:
    """Return, per MSI band, RMSE, its fraction of the band and the correlation."""
    if content.response is None:
        return None, None, None
    count = content.msi.bands
    rmse, fraction, correlation = np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan)
    gain, offset = content.radiometry
    for band, weights in enumerate(content.response):
        if not np.isfinite(weights).all():
            continue
        expected = np.zeros((part.fused.rows, part.fused.cols))
        for source in np.flatnonzero(weights):
            expected += weights[source] * part.fused.data[source]
        expected = gain[band] * expected + offset[band]
        measured = part.msi.data[band].astype(np.float64)
        scored = np.isfinite(expected) & np.isfinite(measured)
        if not scored.any():
            continue
        a, b = expected[scored], measured[scored]
        rmse[band] = math.sqrt(float(np.mean((a - b) ** 2)))
        norm = math.sqrt(float(np.mean(b**2)))
        fraction[band] = rmse[band] / norm if norm else np.nan
        if a.std() > 0 and b.std() > 0:
            correlation[band] = float(np.corrcoef(a, b)[0, 1])
    return rmse, fraction, correlation
