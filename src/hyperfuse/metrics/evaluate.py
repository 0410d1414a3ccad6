"""All metrics of a fused image under one stated convention, and their mean over images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, nearest_name, warn
from hyperfuse.metrics.alignment import align_images
from hyperfuse.metrics.arrays import (
    Ratio,
    as_image,
    as_mask,
    as_pair,
    check_finite,
    checked_pair,
    linear_ratio,
    positive_peak,
    scored_pixels,
    usable_bands,
    varying_bands,
)
from hyperfuse.metrics.full_reference import cross_correlation, ergas, mean_angle, psnr, rmse, spectral_angles
from hyperfuse.metrics.windowed import SSIM_WINDOW, UIQI_WINDOW, has_window, ssim, uiqi
from hyperfuse.tables import Column

Convention = Literal["psrt"]

METRIC_COLUMNS = (
    Column("psnr_db", "PSNR", "dB", ".2f", "high"),
    Column("sam_degrees", "SAM", "degrees", ".3f", "low"),
    Column("sam_bright_degrees", "SAM, bright pixels", "degrees", ".3f", "low"),
    Column("ergas", "ERGAS", "", ".3f", "low"),
    Column("ssim", "SSIM", "", ".4f", "high"),
    Column("rmse", "RMSE", "", ".5g", "low"),
    Column("uiqi", "UIQI", "", ".4f", "high"),
    Column("cc", "CC", "", ".4f", "high"),
)
METRICS = tuple(column.key for column in METRIC_COLUMNS)
# Those that tables of the literature have.
MAIN_COLUMNS = tuple(c for c in METRIC_COLUMNS if c.key in ("psnr_db", "sam_degrees", "ergas", "ssim"))
BRIGHT_FRACTION = 0.01

_OWN = (
    "PSNR per band, then averaged; SAM in degrees where neither spectrum is zero (bright: and the reference's norm is "
    "at least 1 % of its maximum); ERGAS with the true ratio; SSIM 11x11 Gaussian, sigma 1.5, population moments, "
    "whole windows; UIQI 8x8, whole windows; RMSE over all values; CC per band, then averaged; no border cut"
)
_CONVENTIONS: Mapping[str | None, str] = {
    None: _OWN,
    "psrt": f"psrt: PSNR over the whole cube, the reference's maximum as peak; ERGAS with a ratio of 4; else: {_OWN}",
}


class Scores(TypedDict):
    """The scores of :func:`evaluate`: values for JSON, but PSNR may be infinite and others NaN."""

    psnr_db: float
    sam_degrees: float
    sam_bright_degrees: float
    ergas: float
    ssim: float
    rmse: float
    uiqi: float
    cc: float
    ratio: float
    peak: float
    clipped: tuple[float, float] | None
    bands_used: int
    bands_left_out: int
    pixels: int
    pixels_left_out: int
    pixels_left_out_sam: int
    pixels_left_out_sam_bright: int
    convention: str
    notes: tuple[str, ...]


@checked
def evaluate(
    reference: Any,
    fused: Any,
    ratio: Ratio,
    *,
    mask: Any = None,
    peak: float | None = None,
    clip: bool | None = None,
    convention: Convention | None = None,
) -> Scores:
    """Score a fused image against its reference by all metrics, under one convention that is returned with them.

    Where the reference lies in [0, 1], the fused image is clipped to it first and the peak is 1; else the peak is the
    reference's maximum and nothing is clipped. Left out, and counted, are bands that are marked bad or wholly empty in
    either cube, bands in which the reference is constant, and pixels outside ``mask`` or with a gap in any other band
    of either cube. No border is cut.

    Two cubes are compared as images: the fused one is put on the grid and into the order of bands of the reference by
    the transforms and the wavelengths (or names of bands) that both state, and what was done is warned of, once.
    Arrays are compared as they are.

    Args:
        reference: Cube, ``xarray.DataArray``, file, array or torch tensor, (bands, rows, cols).
        fused: the image to score, likewise, of the same shape.
        ratio: resolution ratio between LR-HSI and HR-MSI (for ERGAS), one number or (y, x).
        mask: bool (rows, cols) on the reference's grid, True = scored; None scores every pixel.
        peak: peak of PSNR and range of SSIM; default: as above.
        clip: True clips the fused image to [0, peak] always, False never.
        convention: None, or "psrt" to compare with the tables of PSRT and BDT: PSNR over the whole cube with the
            reference's maximum as peak, and ERGAS with a ratio of 4 whatever ``ratio`` is; other metrics unchanged.

    Returns:
        The scores ``psnr_db`` (infinite where a band is perfect), ``sam_degrees`` and, without the pixels whose
        reference norm is below 1 % of its maximum, ``sam_bright_degrees`` (NaN where no pixel has an angle), ``ergas``,
        ``ssim`` (NaN where no 11x11 window of scored pixels exists), ``rmse``, ``uiqi`` (8x8, likewise) and ``cc``; and
        what was done: ``ratio``, ``peak`` (of PSNR), ``clipped`` (the interval or None), ``bands_used``,
        ``bands_left_out``, ``pixels`` (scored), ``pixels_left_out`` (gaps and mask), ``pixels_left_out_sam`` (zero
        spectra among those scored), ``pixels_left_out_sam_bright`` (those and the dark ones), ``convention`` (text),
        ``notes`` (what was aligned).

    Raises:
        InputError: shapes that differ, cubes on other grids (shifted, another CRS or pixel size, no overlap), in other
            units (one holds a multiple of the other's values) or without a common band, non-finite values outside gaps
            and mask, no band or pixel left, a peak that is not positive, a ratio below 1, an unknown convention, or a
            peak together with a convention that sets it.

    Example:
        >>> import numpy as np
        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> scores = evaluate(reference, reference * 0.9, ratio=4)
        >>> scores["peak"], scores["clipped"], scores["bands_used"], scores["pixels"]
        (1.0, (0.0, 1.0), 3, 256)
        >>> 24 < scores["psnr_db"] < 25 and scores["sam_degrees"] < 1e-6
        True
    """
    if convention is not None and convention not in get_args(Convention):
        raise InputError(
            f"unknown convention {convention!r}{nearest_name(str(convention), get_args(Convention))}", "convention"
        )
    if convention == "psrt" and peak is not None:
        raise InputError("the convention psrt sets the peak itself; leave peak out", "peak")
    scale = linear_ratio(ratio)
    reference, fused, mask, missing, notes = _aligned(reference, fused, mask)
    target, image, scored, left_out = _select(reference, fused, mask)
    values = target if scored is None else target[:, scored]
    highest = float(values.max())
    level, interval = _value_range(float(values.min()), highest, peak, clip)
    if interval is not None:
        image = _clipped(image, interval)

    if convention == "psrt":
        psnr_peak, ergas_ratio = highest, 4.0
        error = rmse(target, image, mask=scored)
        psnr_db = 20 * math.log10(highest / error) if error else math.inf
    else:
        psnr_peak, ergas_ratio = level, scale
        psnr_db = psnr(target, image, peak=level, mask=scored)
    angles, norms = spectral_angles(target, image, scored)
    defined = ~np.isnan(angles)
    bright = defined & (norms >= BRIGHT_FRACTION * norms.max())
    pixels = angles.size if scored is None else int(np.count_nonzero(scored))
    shape = target.shape[1:]
    return Scores(
        psnr_db=psnr_db,
        sam_degrees=mean_angle(angles, norms, 0.0),
        sam_bright_degrees=mean_angle(angles, norms, BRIGHT_FRACTION),
        ergas=ergas(target, image, ergas_ratio, mask=scored),
        ssim=ssim(target, image, peak=level, mask=scored) if has_window(shape, scored, SSIM_WINDOW) else math.nan,
        rmse=rmse(target, image, mask=scored),
        uiqi=uiqi(target, image, mask=scored) if has_window(shape, scored, UIQI_WINDOW) else math.nan,
        cc=cross_correlation(target, image, mask=scored),
        ratio=scale,
        peak=psnr_peak,
        clipped=interval,
        bands_used=len(target),
        bands_left_out=left_out + missing,
        pixels=pixels,
        pixels_left_out=angles.size - pixels,
        pixels_left_out_sam=pixels - int(np.count_nonzero(defined)),
        pixels_left_out_sam_bright=pixels - int(np.count_nonzero(bright)),
        convention=_CONVENTIONS[convention],
        notes=notes,
    )


def _aligned(reference: Any, fused: Any, mask: Any) -> tuple[Any, Any, Any, int, tuple[str, ...]]:
    """Return two images that state what they are on one grid, the mask there, the bands left out, and notes."""
    reference, fused = as_image(reference, "reference"), as_image(fused, "fused")
    if not (isinstance(reference, Cube) and isinstance(fused, Cube)):
        return reference, fused, mask, 0, ()
    mask = as_mask(mask, reference.shape[1:])
    aligned = align_images(reference, fused)
    if aligned.notes:
        warn("; ".join(aligned.notes))
    mask = None if mask is None else mask[aligned.window.slices]
    missing = reference.bands - aligned.first.bands
    return aligned.first, aligned.second, mask, missing, aligned.notes


def _value_range(
    lowest: float, highest: float, peak: float | None, clip: bool | None
) -> tuple[float, tuple[float, float] | None]:
    """Return the peak, and the interval that the fused image is clipped to, or None; see :func:`evaluate`."""
    in_unit = lowest >= 0 and highest <= 1
    if peak is None and not in_unit and highest <= 0:
        raise InputError(f"the reference's maximum is {highest:g}, which gives no peak; pass peak=", "peak")
    level = positive_peak(peak) if peak is not None else 1.0 if in_unit else highest
    if clip is None:
        return level, (0.0, 1.0) if in_unit else None
    return level, (0.0, level) if clip else None


def _select(reference: Any, fused: Any, mask: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None, int]:
    """Return both images with the bands to score, the mask of the pixels to score, and the number of other bands."""
    a, b = as_pair(reference, fused)
    used = usable_bands([reference, fused], len(a))
    scored = scored_pixels([(reference, used), (fused, used)], mask, a.shape[1:])
    for band in np.flatnonzero(used):  # first, as a band of nothing but inf is constant
        check_finite(a[band : band + 1], scored, "the reference")
    used &= varying_bands(a, scored)
    if not used.any():
        raise InputError("no band can be scored: the reference is constant in every usable one")
    left_out = int(np.count_nonzero(~used))
    if left_out:
        a, b = a[used], b[used]
    return *checked_pair(a, b, scored), left_out


def _clipped(image: NDArray[Any], interval: tuple[float, float]) -> NDArray[Any]:
    return np.asarray(np.clip(image.astype(np.promote_types(image.dtype, np.float32), copy=False), *interval))


@checked
def aggregate(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of every metric over images, from what :func:`evaluate` returned for each.

    Args:
        scores: at least one mapping, all of one convention and ratio.

    Returns:
        ``{"images": n, "mean": {metric: …}, "std": {metric: …}, "ratio": …, "convention": …}``. The deviation divides
        by n (of one image it is 0), and is NaN where a score is infinite.

    Raises:
        InputError: no scores, or scores of several conventions or ratios.

    Example:
        >>> import numpy as np
        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> table = aggregate([evaluate(reference, reference * gain, ratio=4) for gain in (0.9, 0.8)])
        >>> table["images"], round(table["mean"]["psnr_db"], 1), round(table["std"]["psnr_db"], 1)
        (2, 21.5, 3.0)
    """
    if not scores:
        raise InputError("there are no scores to average")
    if not all(isinstance(one, Mapping) and {*METRICS, "convention", "ratio"} <= one.keys() for one in scores):
        raise InputError("scores are those that evaluate returned, one mapping per image", "scores")
    for key in ("convention", "ratio"):
        if len({one[key] for one in scores}) > 1:
            raise InputError(f"scores of more than one {key} cannot be averaged; evaluate all images in the same way")
    table = {metric: np.array([one[metric] for one in scores], dtype=np.float64) for metric in METRICS}
    with np.errstate(invalid="ignore"):
        return {
            "images": len(scores),
            "mean": {metric: float(values.mean()) for metric, values in table.items()},
            "std": {metric: float(values.std()) for metric, values in table.items()},
            "ratio": scores[0]["ratio"],
            "convention": scores[0]["convention"],
        }
