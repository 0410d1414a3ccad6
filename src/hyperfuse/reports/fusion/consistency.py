"""Agreement of a result with its inputs: scores without a reference, and the residual of each image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.metrics import NoReferenceScores, evaluate_without_reference
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import mean_image
from hyperfuse.scenes.source import mask_pixels
from hyperfuse.scenes.windows import on_msi
from hyperfuse.sensor.model import Sensor

Array = NDArray[np.float64]

# Scores of all pairs of bands cost time and memory that grow with the pixels: larger scenes are scored in part.
_LONGEST, _LARGEST_SIZE = 600, 80_000_000
# LR pixels with a larger fraction of their PSF on gaps are left out.
_GAP_WEIGHT = 1e-3


class SpatialAgreement(NamedTuple):
    """Per MSI band, (msi_bands,): RMSE, the same over the root mean square of the band, and correlation."""

    rmse: Array
    fraction: Array
    correlation: Array


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
        spatial: the result under the responses against the MSI; None without responses.
    """

    scores: NoReferenceScores | None
    doubt: str
    part: tuple[int, int] | None
    spectral_rmse: Array
    spectral_fraction: float
    spectral_map: Array
    spatial: SpatialAgreement | None


@dataclass(frozen=True, eq=False)
class _Part:
    hsi: Cube
    msi: Cube
    fused: Cube
    sensor: Sensor

    def degrade(self, image: NDArray[np.floating], band: int | None = None) -> torch.Tensor:
        """Degrade an image, or one of a band of the HSI; where detectors lie apart, all bands are each at their own."""
        values, shape = np.ascontiguousarray(image), (self.hsi.rows, self.hsi.cols)
        parts = self.sensor.by_detector()
        if band is not None:
            own = next((sensor for bands, sensor in parts if band in bands), self.sensor)
            return own.degrade(values, shape)
        if not parts or len(values) != self.fused.bands:
            return self.sensor.degrade(values, shape)
        degraded = torch.empty((len(values), *shape), dtype=torch.from_numpy(values[:1]).dtype)
        for bands, sensor in parts:
            degraded[bands] = sensor.degrade(values[bands], shape)
        return degraded


def measure_consistency(content: ReportContent) -> Consistency:
    """Compare a result with its inputs: degraded with the HSI, under the responses with the MSI."""
    part, size = _scored_part(content)
    scores: NoReferenceScores | None = None
    doubt = ""
    try:
        scores = evaluate_without_reference(part.hsi, part.msi, part.fused, part.degrade)
    except InputError as error:
        doubt = str(error)
    return Consistency(scores, doubt, size, *_spectral(content, part), _spatial(content, part))


def _scored_part(content: ReportContent) -> tuple[_Part, tuple[int, int] | None]:
    hsi, msi, fused, sensor = content.hsi, content.msi, content.fused, content.sensor
    side = min(_LONGEST, math.isqrt(_LARGEST_SIZE // fused.bands))
    if fused.rows <= side and fused.cols <= side:
        return _Part(_on_msi(hsi, sensor, (fused.rows, fused.cols)), msi, fused, sensor), None
    spans = []
    for coarse, fine, ratio, offset in zip(
        (hsi.rows, hsi.cols), (fused.rows, fused.cols), sensor.ratio, sensor.offset, strict=True
    ):
        count = max(1, min(coarse, int(side / ratio)))
        first = (coarse - count) // 2
        corner = offset + 0.5 - ratio / 2 + ratio * first
        low = max(0, math.floor(corner + 1e-6))
        high = min(fine, math.ceil(corner + ratio * count - 1e-6))
        spans.append((first, count, low, high - low, offset + ratio * first - low))
    (row, rows, top, height, y), (col, cols, left, width, x) = spans
    window, seen = Window(top, left, height, width), sensor.window((row, col), (y, x))
    hsi = _on_msi(hsi.crop(row, col, rows, cols), seen, (height, width))
    return _Part(hsi, msi.crop(*window), fused.crop(*window), seen), (height, width)


def _on_msi(hsi: Cube, sensor: Sensor, shape: tuple[int, int]) -> Cube:
    """Return an HSI in which pixels that are displaced off the MSI are gaps."""
    return mask_pixels(hsi, ~on_msi((hsi.rows, hsi.cols), shape, sensor))


def _spectral(content: ReportContent, part: _Part) -> tuple[Array, float, Array]:
    """Return RMSE per band, its fraction of the HSI, and its map."""
    rmse = np.full(content.fused.bands, np.nan)
    squares = [np.full((part.hsi.rows, part.hsi.cols), np.nan)]
    energy = 0.0
    for band in np.flatnonzero(content.usable).tolist():
        high, low = part.fused.data[band], part.hsi.data[band]
        known, scored = np.isfinite(high), np.isfinite(low)
        if not known.all():
            scored &= part.degrade(known[None].astype(np.float32), band).numpy()[0] > 1 - _GAP_WEIGHT
        if not (known.any() and scored.any()):
            continue
        degraded = part.degrade(np.where(known, high, 0)[None], band).numpy()[0]
        squares.append(np.where(scored, degraded - low, np.nan).astype(np.float64) ** 2)
        rmse[band] = math.sqrt(np.nanmean(squares[-1]))
        energy += float(np.sum(low[scored].astype(np.float64) ** 2))
    total = sum(float(np.nansum(one)) for one in squares)
    return rmse, math.sqrt(total / energy) if energy > 0 else math.nan, np.sqrt(mean_image(squares))


def _spatial(content: ReportContent, part: _Part) -> SpatialAgreement | None:
    if content.response is None:
        return None
    rmse, fraction, correlation = np.full((3, content.msi.bands), np.nan)
    gain, offset = content.radiometry
    for band, weights in enumerate(content.response):
        if not np.isfinite(weights).all():
            continue
        projected = sum(weights[source] * part.fused.data[source] for source in np.flatnonzero(weights))
        expected, measured = gain[band] * projected + offset[band], part.msi.data[band].astype(np.float64)
        scored = np.isfinite(expected) & np.isfinite(measured)
        if not scored.any():
            continue
        a, b = expected[scored], measured[scored]
        rmse[band] = math.sqrt(np.mean((a - b) ** 2))
        norm = math.sqrt(np.mean(b**2))
        fraction[band] = rmse[band] / norm if norm else np.nan
        if a.std() > 0 and b.std() > 0:
            correlation[band] = np.corrcoef(a, b)[0, 1]
    return SpatialAgreement(rmse, fraction, correlation)
