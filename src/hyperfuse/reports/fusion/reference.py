"""Errors of a result against a reference, and those of the interpolated HSI for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.metrics import Scores, evaluate, psnr_per_band, sam_map
from hyperfuse.metrics.arrays import scored_pixels, usable_bands, varying_bands
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import filled, mean_image

Array = NDArray[np.float64]

# The interpolated HSI is as large as the result; it is left out for larger scenes.
_LARGEST_SIZE = 200_000_000


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """An image against the reference.

    Attributes:
        scores: all metrics.
        psnr_db: (bands,), NaN for bands that are not scored.
        angles: (rows, cols), spectral angle in degrees, NaN where undefined or not scored.
        errors: (rows, cols), root mean square over the scored bands, NaN where not scored.
    """

    scores: Scores
    psnr_db: Array
    angles: Array
    errors: Array


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result and the interpolated HSI (None where too large) against the reference; or why there is neither."""

    fused: ScoredImage | None
    interpolated: ScoredImage | None
    doubt: str


def compare_with_reference(content: ReportContent) -> Comparison | None:
    """Score the result, and the HSI interpolated to its grid; None without a reference."""
    if content.reference is None:
        return None
    try:
        fused = _scored(content.reference, content.fused, content)
        small = content.fused.data.size <= _LARGEST_SIZE
        return Comparison(fused, _scored(content.reference, _interpolated(content), content) if small else None, "")
    except InputError as error:
        return Comparison(None, None, str(error))


def _interpolated(content: ReportContent) -> Cube:
    """Return the HSI on the fused grid with the fused image's gaps, so that both are scored on the same pixels."""
    shape = (content.fused.rows, content.fused.cols)
    data = np.empty(content.fused.data.shape, np.float32)
    for band, low in enumerate(content.hsi.data):
        data[band] = content.sensor.upsample(torch.from_numpy(filled(low).astype(np.float32))[None], shape)[0]
    return Cube(data=data, valid=content.fused.valid, good_bands=content.fused.good_bands)


def _scored(reference: Cube, image: Cube, content: ReportContent) -> ScoredImage:
    scores = evaluate(reference, image, content.sensor.ratio)
    # The bands and pixels that evaluate scores.
    bands = usable_bands([reference, image], reference.bands)
    mask = scored_pixels([(reference, bands), (image, bands)], None, (reference.rows, reference.cols))
    bands &= varying_bands(reference.data, mask)
    if mask is None:
        mask = np.ones((reference.rows, reference.cols), np.bool_)
    truth, values = reference.data[bands], image.data[bands]
    if scores["clipped"] is not None:
        values = np.clip(values, *scores["clipped"])
    psnr_db = np.full(reference.bands, np.nan)
    psnr_db[bands] = psnr_per_band(truth, values, peak=scores["peak"], mask=mask)
    squares = mean_image((a - b).astype(np.float64) ** 2 for a, b in zip(truth, values, strict=True))
    errors = np.where(mask, np.sqrt(squares), np.nan)
    return ScoredImage(scores, psnr_db, sam_map(truth, values, mask=mask), errors)
