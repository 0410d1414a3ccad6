"""Metrics of a fused image against a reference over sliding windows: SSIM and UIQI.

Both are means over every whole window inside the image: nothing is padded, and with a mask only windows of
scored pixels count. A band is processed in strips of rows that fit the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.metrics.arrays import checked_pair, positive_peak, zero_filled

SSIM_WINDOW = 11
UIQI_WINDOW = 8
_STRIP_VALUES = 2**14  # four fields of a strip in float64 fit the L2 cache
_GAUSSIAN = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_GAUSSIAN /= _GAUSSIAN.sum()

Floats = NDArray[np.float64]


def has_window(shape: tuple[int, ...], mask: NDArray[np.bool_] | None, size: int) -> bool:
    """Return whether any window of ``size`` x ``size`` in an image of (rows, cols) holds scored pixels only."""
    if min(shape) < size:
        return False
    return mask is None or bool(_whole_windows(mask, size).any())


def _whole_windows(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    along_rows = sliding_window_view(mask, size, axis=0).all(axis=-1)
    return np.asarray(sliding_window_view(along_rows, size, axis=1).all(axis=-1), np.bool_)


def _mean_per_band(
    reference: Any,
    fused: Any,
    mask: Any,
    size: int,
    average: Callable[[Floats], Floats],
    index: Callable[[Floats, Floats, Floats, Floats], Floats],
) -> Floats:
    """Average ``index`` of the windows' means of x, y, x^2 + y^2 and xy over the windows of each band."""
    a, b, scored = checked_pair(reference, fused, mask)
    if not has_window(a.shape[1:], scored, size):
        raise InputError(f"no window of {size}x{size} scored pixels fits into the image of {a.shape[1]}x{a.shape[2]}")
    windows = None if scored is None else _whole_windows(scored, size)
    result = np.zeros(len(a))
    for band, (x, y) in enumerate(zip(a, b, strict=True)):
        for start, stop in _strips(x.shape[0] - size + 1, x.shape[1]):
            part = slice(start, stop + size - 1)
            part_mask = None if scored is None else scored[part]
            u, v = zero_filled(x[part], part_mask), zero_filled(y[part], part_mask)
            values = index(*average(np.stack([u, v, u * u + v * v, u * v])))
            result[band] += values.sum() if windows is None else values[windows[start:stop]].sum()
    count = (a.shape[1] - size + 1) * (a.shape[2] - size + 1) if windows is None else np.count_nonzero(windows)
    return result / count


def _strips(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    step = max(SSIM_WINDOW, _STRIP_VALUES // cols)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _gaussian_means(fields: Floats) -> Floats:
    """Weighted means over 11x11 windows (sigma 1.5) along the last two axes, which shrink by 10."""
    centre = SSIM_WINDOW // 2
    for axis in (-2, -1):
        source = fields.swapaxes(axis, -2)
        count = source.shape[-2] - 2 * centre
        total = _GAUSSIAN[centre] * source[..., centre : centre + count, :]
        pair = np.empty_like(total)
        for offset in range(centre):
            mirrored = 2 * centre - offset
            np.add(source[..., offset : offset + count, :], source[..., mirrored : mirrored + count, :], out=pair)
            pair *= _GAUSSIAN[offset]
            total += pair
        fields = total.swapaxes(axis, -2)
    return fields


def _block_means(fields: Floats) -> Floats:
    """Means over 8x8 windows along the last two axes, which shrink by 7.

    Summed by doubling (1 + 1, 2 + 2, 4 + 4), which neither drifts like a running sum nor errs at all in a constant
    window, so that the variance there is exactly 0 as UIQI needs it.
    """
    for step in (1, 2, 4):
        fields = fields[..., :-step, :] + fields[..., step:, :]
    for step in (1, 2, 4):
        fields = fields[..., :-step] + fields[..., step:]
    return np.asarray(fields / UIQI_WINDOW**2)


def ssim_per_band(reference: Any, fused: Any, *, peak: float = 1.0, mask: Any = None) -> Floats:
    """Structural similarity of each band, shape (bands,); see :func:`ssim`."""
    peak = positive_peak(peak)
    luminance_constant, contrast_constant = (0.01 * peak) ** 2, (0.03 * peak) ** 2

    def index(mean_x: Floats, mean_y: Floats, mean_squares: Floats, mean_product: Floats) -> Floats:
        products, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        covariances, variances = mean_product - products, mean_squares - squares
        similar = (2 * products + luminance_constant) * (2 * covariances + contrast_constant)
        return similar / ((squares + luminance_constant) * (variances + contrast_constant))

    return _mean_per_band(reference, fused, mask, SSIM_WINDOW, _gaussian_means, index)


def ssim(reference: Any, fused: Any, *, peak: float = 1.0, mask: Any = None) -> float:
    """Structural similarity (SSIM), computed per band and averaged over the bands; -1 to 1, 1 is perfect.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    2004, eq. 13: windows of 11x11 with Gaussian weights of sigma 1.5, population moments, K1 = 0.01, K2 = 0.03, and no
    window that leaves the image. Scaling both images by 255 / ``peak`` and using a range of 255, as the field's MATLAB
    code does, gives the same numbers: the index is invariant to a common scale of images and range.

    Args:
        reference: (bands, rows, cols), at least 11x11 pixels.
        fused: the image to score, of the same shape.
        peak: the range L of the values, one for all bands.
        mask: bool (rows, cols), True = scored; windows with any other pixel are left out.

    Raises:
        InputError: shapes that differ, non-finite values in scored pixels, a peak that is not positive, or no window.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).random((2, 16, 16))
        >>> ssim(x, x)
        1.0
    """
    return float(ssim_per_band(reference, fused, peak=peak, mask=mask).mean())


def uiqi_per_band(reference: Any, fused: Any, *, mask: Any = None) -> Floats:
    """Universal image quality index of each band, shape (bands,); see :func:`uiqi`."""
    return _mean_per_band(reference, fused, mask, UIQI_WINDOW, _block_means, _quality)


def _quality(mean_x: Floats, mean_y: Floats, mean_squares: Floats, mean_product: Floats) -> Floats:
    products, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariances, variances = mean_product - products, mean_squares - squares
    constant = variances <= 0
    luminance, contrast = np.ones_like(squares), np.ones_like(squares)
    np.divide(2 * products, squares, out=luminance, where=squares > 0)
    np.divide(2 * covariances, variances, out=contrast, where=~constant)
    # |Q| cannot pass 1 but by the rounding of variances near the last digit of the values.
    return np.clip(luminance * contrast, -1, 1)


def uiqi(reference: Any, fused: Any, *, mask: Any = None) -> float:
    """Universal image quality index (UIQI, Q), computed per band and averaged over the bands; -1 to 1, 1 is perfect.

    Wang and Bovik, "A universal image quality index", 2002, eq. 1: ``4 cov mx my / ((vx + vy) (mx^2 + my^2))`` in every
    8x8 window, moved by one pixel, then averaged. Where both windows are constant the contrast factor
    ``2 cov / (vx + vy)`` is taken as 1, and where both means are zero the luminance factor is, as their own code does.

    Args:
        reference: (bands, rows, cols), at least 8x8 pixels.
        fused: the image to score, of the same shape.
        mask: bool (rows, cols), True = scored; windows with any other pixel are left out.

    Raises:
        InputError: shapes that differ, non-finite values in scored pixels, or no window.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).random((2, 16, 16))
        >>> uiqi(x, x)
        1.0
    """
    return float(uiqi_per_band(reference, fused, mask=mask).mean())
