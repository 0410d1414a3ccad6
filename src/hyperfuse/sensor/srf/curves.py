"""SRFs from response curves over wavelength: the weights with which HSI bands stand for an MSI band."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.sensor.srf.srf import Floats, HsiBands, Srf

_GAP_WIDTHS = 3.0  # between centres further apart than this many band widths is a gap
_NEGATIVE_PART = 0.03  # of the peak: published curves dip this far below zero (noise, splines), which is cut
# Exponents of responses of which only centre and width are known; see srf_from_centres.
GAUSSIAN, FLAT_TOPPED = 2.0, 8.0
MIN_COVERAGE = 0.5  # of an MSI band's response, within the range of the HSI
_MICROMETRES_BELOW = 30.0  # wavelengths that are all below this are no nanometres


def srf_from_curves(
    wavelengths_nm: ArrayLike,
    curves: ArrayLike,
    hsi: HsiBands | ArrayLike,
    *,
    names: Sequence[str] | None = None,
    source: str = "curves",
    drop_uncovered: bool = False,
) -> Srf:
    """Return the weights that turn an HSI into the MSI whose bands respond by the given curves.

    An MSI band measures ``integral c(x) L(x) dx / integral c(x) dx`` for its curve c and the spectral radiance L; the
    HSI knows L at its band centres. Between neighbouring centres L is taken as linear, which makes the integral a
    weighted sum of the HSI bands: the weight of a band is the integral of c against the triangle that is 1 at its
    centre and 0 at the neighbouring centres (product integration of the trapezoidal rule; Davis and Rabinowitz, Methods
    of Numerical Integration, 1984, section 2.5), computed exactly. Why not the curve's overlap with the Gaussian of
    each HSI band: the triangles sum to 1 everywhere, so that where two detectors cover the same range each wavelength
    counts once and irregular spacing needs no correction; a spectrum that is linear over wavelength is integrated
    exactly; and an HSI value is already L averaged over the band's Gaussian, which would blur twice.

    So the FWHM do not enter the weights, but the range that the HSI covers: a band reaches half its width beyond its
    centre (the width is the FWHM, at least the local spacing of the centres), and between two centres more than three
    widths apart is a gap. The part of a curve outside this range does not count, and the rest is scaled to 1.

    Args:
        wavelengths_nm: where the curves are sampled, in nm, each once, shape (samples,). Between samples a curve is
            linear, outside it is 0.
        curves: responses, any scale, shape (msi_bands, samples). Values below 0, down to -3 % of the curve's peak,
            count as 0.
        hsi: bands of the HSI, or their wavelengths in nm, any order, shape (hsi_bands,).
        names: one name per MSI band.
        source: where the curves come from.
        drop_uncovered: leave out MSI bands that the HSI does not cover, with a HyperfuseWarning that names them.

    Raises:
        InputError: input that does not fit, a usable band without a wavelength, a curve that is zero or clearly
            negative, an MSI band of which the HSI covers less than half (with ``drop_uncovered``: all of them).
    """
    samples, responses, labels = _checked_curves(wavelengths_nm, curves, names)
    bands = _Centres.of(HsiBands.of(hsi), source)
    weights, coverage = _integrate(samples, responses, bands, labels)
    covered = coverage >= MIN_COVERAGE - 1e-9
    if not covered.all():
        _report_uncovered(labels, coverage, covered, f"the SRF {source}", bands, drop_uncovered)
        source = f"{source}, without {', '.join(labels[~covered])} (not covered by the HSI)"
    weights = weights[covered]
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(weights), bands.usable.size))
    matrix[:, bands.usable] = weights[:, bands.index] / np.bincount(bands.index)[bands.index]
    return Srf(
        matrix=matrix,
        names=tuple(labels[covered]),
        wavelengths=weights @ bands.centres,
        fwhm=np.array([_half_width(samples, curve) for curve in responses[covered]]),
        source=source,
    )


def srf_from_centres(
    centres: ArrayLike,
    fwhm: ArrayLike,
    hsi: HsiBands | ArrayLike,
    *,
    names: Sequence[str] | None = None,
    source: str = "gaussian",
    exponent: float = GAUSSIAN,
    drop_uncovered: bool = False,
) -> Srf:
    """Return the weights of responses ``2^-((2 |x| / fwhm)^exponent)`` at the distance x from the centre.

    The bands of an HSI are Gaussian (exponent 2), those of a multispectral camera are filters, flat-topped with soft
    edges (exponent 8): of the published curves of WorldView-2, SuperDove, ALI, Sentinel-2C and Gaofen-6, 2 to 8 % lies
    beyond the FWHM; of an exponent of 8 it is 5 %, of a Gaussian 24 %. Other arguments and errors as of
    :func:`srf_from_curves`.

    Args:
        centres: centres of the MSI bands in nm, shape (msi_bands,).
        fwhm: full widths at half maximum in nm, shape (msi_bands,), or one number for all.
        hsi: bands of the HSI, or their wavelengths in nm, any order, shape (hsi_bands,).
        names: one name per MSI band; default: ``450 nm`` and so on.
        source: where centres and widths come from.
        exponent: ``GAUSSIAN`` or ``FLAT_TOPPED``.
        drop_uncovered: leave out MSI bands that the HSI does not cover.
    """
    centres = np.atleast_1d(np.asarray(centres, np.float64))
    widths = np.asarray(fwhm, np.float64)
    if centres.ndim != 1 or centres.size == 0 or widths.shape not in ((), (1,), centres.shape):
        raise InputError(f"{widths.size} widths for {centres.size} centres; give one per band, or one for all")
    centres, widths = centres[:, None], np.broadcast_to(widths, centres.shape)[:, None]
    if not (np.isfinite(centres) & np.isfinite(widths) & (centres > 0) & (widths > 0)).all():
        raise InputError("centres and widths of Gaussian responses must be positive numbers in nm")
    # 3 FWHM are 7 standard deviations; at 100 samples per FWHM the chords lie within 1e-4 of the peak of the curve.
    samples = np.unique(centres + widths * np.linspace(-3, 3, 601))
    responses = np.exp2(-(np.abs(2 * (samples - centres) / widths) ** exponent))
    responses[np.abs(samples - centres) > 3 * widths] = 0
    names = [f"{centre:g} nm" for centre in centres[:, 0]] if names is None else names
    return srf_from_curves(samples, responses, hsi, names=names, source=source, drop_uncovered=drop_uncovered)


@dataclass(frozen=True)
class _Centres:
    """The usable HSI bands by distinct centre, ascending: ``index`` maps a usable band to its centre."""

    usable: NDArray[np.bool_]
    centres: Floats
    widths: Floats
    index: NDArray[np.intp]

    @classmethod
    def of(cls, hsi: HsiBands, source: str) -> _Centres:
        values, mask = hsi.wavelengths, hsi.usable
        if values is None:
            raise InputError(
                f"the response curves {source} need the wavelengths of the HSI's bands, which have none; give them, or"
                f" take an SRF without wavelengths: boxes:N, or a table of weights with {hsi.count} columns"
            )
        unknown = np.flatnonzero(mask & ~(np.isfinite(values) & (values > 0)))
        if unknown.size:
            raise InputError(
                f"{unknown.size} HSI bands have no wavelength (the first is band {unknown[0] + 1}); give them one, or"
                " mark them as bad"
            )
        if values[mask].max() < _MICROMETRES_BELOW:
            raise InputError(
                f"the HSI's wavelengths end at {values[mask].max():g}, so they are no nm; multiply µm by 1000"
            )
        centres, index = np.unique(values[mask], return_inverse=True)
        widths = np.zeros_like(centres)
        if hsi.fwhm is not None:
            known = hsi.fwhm[mask]
            if (known <= 0).any():
                raise InputError("a FWHM of the HSI is not positive; put NaN where it is unknown")
            np.maximum.at(widths, index, np.nan_to_num(known))
        if centres.size > 1:
            spacing = np.diff(centres)
            # The median of the six spacings around a band is the sampling interval even next to a gap or an overlap.
            local = [np.median(spacing[max(0, j - 3) : j + 3]) for j in range(centres.size)]
            widths = np.maximum(widths, local)
        elif widths[0] == 0:
            raise InputError("the width of a single usable HSI band is not known; give its FWHM")
        return cls(mask, centres, widths, index.astype(np.intp))


def _checked_curves(
    wavelengths: ArrayLike, curves: ArrayLike, names: Sequence[str] | None
) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Return wavelengths, ascending, responses of 0 or more and names of the bands."""
    samples = np.asarray(wavelengths, np.float64)
    responses = np.atleast_2d(np.asarray(curves, np.float64))
    if samples.ndim != 1 or samples.size < 2 or responses.ndim != 2 or responses.shape[1] != samples.size:
        raise InputError(
            f"curves of the shape {responses.shape} over {samples.size} wavelengths; needed are (MSI bands, samples) "
            "and at least two samples"
        )
    labels = np.array([f"band {k + 1}" for k in range(len(responses))] if names is None else [str(n) for n in names])
    if len(labels) != len(responses):
        raise InputError(f"{len(labels)} names for {len(responses)} response curves")
    if not (np.isfinite(samples).all() and np.isfinite(responses).all()):
        raise InputError("the response curves hold NaN or infinite values; a band outside its range has the response 0")
    if samples.max() < _MICROMETRES_BELOW:
        raise InputError(f"the curves' wavelengths end at {samples.max():g}, so they are no nm; multiply µm by 1000")
    order = np.argsort(samples)
    samples, responses = samples[order], responses[:, order]
    if (np.diff(samples) == 0).any():
        twice = samples[:-1][np.diff(samples) == 0][0]
        raise InputError(f"the response curves hold the wavelength {twice:g} nm twice")
    for label, lowest, peak in zip(labels, responses.min(axis=1), responses.max(axis=1), strict=True):
        if peak <= 0:
            raise InputError(f"the response curve of {label} is nowhere above zero")
        if lowest < -_NEGATIVE_PART * peak:
            raise InputError(f"the response curve of {label} falls to {lowest:g} at a peak of {peak:g}; cut it at zero")
    return samples, np.maximum(responses, 0), labels


def _integrate(samples: Floats, responses: Floats, bands: _Centres, labels: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Return the integral of every curve against every centre's triangle, and the covered part of its area."""
    c, width = bands.centres, bands.widths
    last = c.size - 1
    bridged = np.diff(c) <= _GAP_WIDTHS * np.maximum(width[:-1], width[1:])
    knots = np.unique(np.concatenate([samples, c, c - width / 2, c + width / 2, (c[:-1] + c[1:]) / 2]))
    knots = knots[(knots >= samples[0]) & (knots <= samples[-1])]
    start, end = knots[:-1], knots[1:]
    centre = (start + end) / 2

    below = np.searchsorted(c, centre) - 1
    left, right = np.clip(below, 0, last), np.clip(below + 1, 0, last)
    between = (left < right) & np.append(bridged, False)[left]
    # Fraction of the right centre at both ends of a segment: linear across a bridge, else all to the nearer centre.
    nearer = (np.abs(c[right] - centre) < np.abs(centre - c[left])).astype(np.float64)
    step = np.where(left < right, c[right] - c[left], 1)
    part_start = np.where(between, (start - c[left]) / step, nearer)
    part_end = np.where(between, (end - c[left]) / step, nearer)
    closest = np.where(nearer == 1, right, left)
    covered = between | (np.abs(centre - c[closest]) <= width[closest] / 2)

    weights = np.zeros((len(responses), c.size))
    coverage = np.zeros(len(responses))
    for k, curve in enumerate(responses):
        value_start, value_end = np.interp(start, samples, curve), np.interp(end, samples, curve)
        area = (end - start) * (value_start + value_end) / 2
        # Simpson's rule is exact for the product of two linear functions.
        inner = (value_start + value_end) * (part_start + part_end)
        to_right = (end - start) / 6 * (value_start * part_start + inner + value_end * part_end)
        np.add.at(weights[k], right[covered], to_right[covered])
        np.add.at(weights[k], left[covered], (area - to_right)[covered])
        if area.sum() <= 0:
            raise InputError(f"the response curve of {labels[k]} encloses no area")
        coverage[k] = area[covered].sum() / area.sum()
    # Where a fraction is 0 or 1, area - to_right has rounding noise on either side of zero.
    return np.maximum(weights, 0), coverage


def _report_uncovered(
    labels: NDArray[np.str_], coverage: Floats, covered: NDArray[np.bool_], srf: str, bands: _Centres, drop: bool
) -> None:
    missing = ", ".join(f"{labels[k]} ({coverage[k]:.0%})" for k in np.flatnonzero(~covered))
    extent = f"the HSI ({bands.centres[0]:.0f} to {bands.centres[-1]:.0f} nm, less its gaps)"
    if not covered.any():
        raise InputError(f"{extent} covers no band of {srf}: {missing}; does it belong to this image?")
    if not drop:
        raise InputError(
            f"{extent} covers too little of these bands of {srf}: {missing}, where {MIN_COVERAGE:.0%} are needed; take"
            f" only those it covers ({', '.join(labels[covered])}), by drop_uncovered=True"
        )
    message = f"{extent} does not cover these bands of {srf}, which are left out: {missing}"
    warnings.warn(message, HyperfuseWarning, stacklevel=3)


def _half_width(samples: Floats, curve: Floats) -> float:
    """Return the distance in nm of the outermost points at which the curve crosses half its maximum."""
    half = curve.max() / 2
    above = np.flatnonzero(curve >= half)
    first, last = int(above[0]), int(above[-1])
    low, high = samples[first], samples[last]
    if first > 0:
        low -= (curve[first] - half) / (curve[first] - curve[first - 1]) * (samples[first] - samples[first - 1])
    if last < samples.size - 1:
        high += (curve[last] - half) / (curve[last] - curve[last + 1]) * (samples[last + 1] - samples[last])
    return float(high - low)
