"""Metrics of a fused image against a reference, pixel by pixel: PSNR, RMSE, SAM, ERGAS, cross-correlation.

All take images (bands, rows, cols) as arrays, torch tensors or cubes, work in float64 band by band, and score every
pixel up to the border, or those where ``mask`` (rows, cols) is True. Nothing is clipped, and no band is left out, here:
:func:`hyperfuse.metrics.evaluate` does that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.metrics.arrays import Ratio, checked_pair, linear_ratio, positive_peak, scored_values, zero_filled

_CHUNK_VALUES = 2**17  # 1 MiB of float64: what SAM holds of each image at a time stays in the cache


def _mean_squared_errors(
    reference: NDArray[Any], fused: NDArray[Any], mask: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    errors = np.empty(len(reference))
    for index, (a, b) in enumerate(zip(reference, fused, strict=True)):
        difference = scored_values(b, mask) - scored_values(a, mask)
        errors[index] = np.dot(difference, difference) / difference.size
    return errors


def rmse_per_band(reference: Any, fused: Any, *, mask: Any = None) -> NDArray[np.float64]:
    """Root mean square error of each band, shape (bands,), in the images' units; see :func:`rmse`."""
    return np.sqrt(_mean_squared_errors(*checked_pair(reference, fused, mask)))


def rmse(reference: Any, fused: Any, *, mask: Any = None) -> float:
    """Root mean square error over all scored values, in the images' units; 0 is perfect.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, or non-finite values in scored pixels.

    Example:
        >>> import numpy as np
        >>> rmse(np.zeros((3, 8, 8)), np.full((3, 8, 8), 0.5))
        0.5
    """
    return math.sqrt(_mean_squared_errors(*checked_pair(reference, fused, mask)).mean())


def psnr_per_band(reference: Any, fused: Any, *, peak: float = 1.0, mask: Any = None) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each band in dB, shape (bands,); see :func:`psnr`."""
    peak = positive_peak(peak)
    errors = rmse_per_band(reference, fused, mask=mask)
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(peak / errors))


@checked
def psnr(reference: Any, fused: Any, *, peak: float = 1.0, mask: Any = None) -> float:
    """Peak signal-to-noise ratio in dB, computed per band and averaged over the bands.

    ``20 log10(peak / RMSE_b)``; infinite where a band is reproduced exactly, and so then is the average. PSNR over the
    whole cube, which some papers print, is never higher: the average of logarithms is the larger one.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        peak: the largest value an image can have, one for all bands.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, non-finite values in scored pixels, or a peak that is not positive.

    Example:
        >>> import numpy as np
        >>> psnr(np.zeros((3, 8, 8)), np.full((3, 8, 8), 0.1))
        20.0
    """
    return float(psnr_per_band(reference, fused, peak=peak, mask=mask).mean())


def sam_map(reference: Any, fused: Any, *, mask: Any = None) -> NDArray[np.float64]:
    """Spectral angle at every pixel in degrees (0 to 180), shape (rows, cols).

    NaN where the angle is undefined, as either spectrum is zero, and where ``mask`` is False. The angle is
    ``2 atan2(|u - v|, |u + v|)`` of the unit spectra u and v (W. Kahan, "How futile are mindless assessments of
    roundoff in floating-point computation?", 2006): the arccosine of the scalar product, the same on paper (Yuhas,
    Goetz and Boardman, 1992), loses angles below about 1e-6 degrees to rounding in float64, and below 0.02 in float32.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, or non-finite values in scored pixels.

    Example:
        >>> import numpy as np
        >>> x, y = np.array([1.0, 0.0]).reshape(2, 1, 1), np.array([1.0, 1.0]).reshape(2, 1, 1)
        >>> sam_map(x, y).round(6)
        array([[45.]])
    """
    return spectral_angles(*checked_pair(reference, fused, mask))[0]


def sam_degrees(reference: Any, fused: Any, *, min_brightness: float = 0.0, mask: Any = None) -> float:
    """Spectral angle in degrees (0 to 180), averaged over the pixels; 0 is perfect, blind to brightness.

    Pixels where either spectrum is zero have no angle and are left out; NaN where none is left. See :func:`sam_map`.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        min_brightness: leave out pixels of which the reference's norm is below this fraction of its maximum over the
            scored pixels. In near-black pixels noise alone changes the angle by tens of degrees; 0.01 leaves those out.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, or non-finite values in scored pixels.

    Example:
        >>> import numpy as np
        >>> reference = np.ones((2, 4, 4))
        >>> fused = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
        >>> round(sam_degrees(reference, fused), 6)
        45.0
    """
    return mean_angle(*spectral_angles(*checked_pair(reference, fused, mask)), min_brightness)


def spectral_angles(
    reference: NDArray[Any], fused: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the angles of :func:`sam_map` and the norms of the reference's spectra (0 in gaps), each (rows, cols)."""
    bands, rows, cols = reference.shape
    angles, norms = np.empty((rows, cols)), np.empty((rows, cols))
    step = max(1, _CHUNK_VALUES // (bands * cols))
    for row in range(0, rows, step):
        part = slice(row, row + step)
        scored = None if mask is None else mask[part]
        u, v = zero_filled(reference[:, part], scored), zero_filled(fused[:, part], scored)
        norm_u, norm_v = _norms(u), _norms(v)
        undefined = (norm_u == 0) | (norm_v == 0)  # gaps too: they are zero now
        u /= np.where(undefined, 1.0, norm_u)
        v /= np.where(undefined, 1.0, norm_v)
        angle = np.rad2deg(2 * np.arctan2(_norms(u - v), _norms(u + v)))
        angles[part] = np.where(undefined, np.nan, angle)
        norms[part] = norm_u
    return angles, norms


def _norms(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.einsum("brc,brc->rc", spectra, spectra)))


def mean_angle(angles: NDArray[np.float64], norms: NDArray[np.float64], min_brightness: float) -> float:
    """Return the mean of the angles of :func:`spectral_angles` that exist and are at least as bright as stated."""
    angles = angles[~np.isnan(angles) & (norms >= min_brightness * norms.max())]
    return float(angles.mean()) if angles.size else math.nan


@checked
def ergas(reference: Any, fused: Any, ratio: Ratio, *, mask: Any = None) -> float:
    """Relative dimensionless global error in synthesis (ERGAS); 0 is perfect.

    ``100 / s * sqrt(mean over bands of (RMSE_b / mean_b)^2)`` with the means of the reference and the resolution
    ratio s (L. Wald, "Quality of high resolution synthesised images: is there a simple criterion?", 2000, where 1/s is
    the ratio h/l of the pixel sizes). Infinite where a band's mean is zero and its error is not.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        ratio: the resolution ratio s, at least 1; of two for (y, x) their geometric mean is taken.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, non-finite values in scored pixels, or a ratio below 1.

    Example:
        >>> import numpy as np
        >>> round(ergas(np.full((2, 8, 8), 0.5), np.full((2, 8, 8), 0.6), ratio=4), 6)
        5.0
    """
    scale = linear_ratio(ratio)
    a, b, scored = checked_pair(reference, fused, mask)
    errors = np.sqrt(_mean_squared_errors(a, b, scored))
    means = np.abs([scored_values(band, scored).mean() for band in a])
    relative = np.full(len(a), np.inf)
    relative[errors == 0] = 0.0
    np.divide(errors, means, out=relative, where=(errors > 0) & (means > 0))
    return float(100 / scale * np.sqrt(np.mean(relative**2)))


def cross_correlation_per_band(reference: Any, fused: Any, *, mask: Any = None) -> NDArray[np.float64]:
    """Pearson correlation of each band with the reference's, shape (bands,); see :func:`cross_correlation`."""
    a, b, scored = checked_pair(reference, fused, mask)
    result = np.zeros(len(a))
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        u, v = _centred(scored_values(x, scored)), _centred(scored_values(y, scored))
        norms = math.sqrt(np.dot(u, u)) * math.sqrt(np.dot(v, v))
        if norms > 0:
            result[index] = np.dot(u, v) / norms
    return np.clip(result, -1, 1)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # The first value is subtracted first: a constant band is then exactly zero, not the rounding error of its mean.
    shifted = values - values[0]
    return np.asarray(shifted - shifted.mean())


def cross_correlation(reference: Any, fused: Any, *, mask: Any = None) -> float:
    """Correlation of the fused with the reference image (CC), per band and averaged; -1 to 1, 1 is perfect.

    Pearson's coefficient over the scored pixels of a band, as in Loncan et al., "Hyperspectral pansharpening: a
    review", 2015; 0 for a band that is constant in either image.

    Args:
        reference: (bands, rows, cols).
        fused: the image to score, of the same shape.
        mask: bool (rows, cols), True = scored; None scores every pixel.

    Raises:
        InputError: shapes that differ, or non-finite values in scored pixels.

    Example:
        >>> import numpy as np
        >>> x = np.arange(16.0).reshape(1, 4, 4)
        >>> cross_correlation(x, 3 * x + 2)
        1.0
    """
    return float(cross_correlation_per_band(reference, fused, mask=mask).mean())
