"""Gaps that nobody declares: many pixels with one and the same spectrum, where the other image shows a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.statistics.prediction import LinearMap

Bools = NDArray[np.bool_]
_NAMES = ("hsi", "msi")
Spectrum = tuple[float, ...]

# Fractions of the pixels of an image that one spectrum must have, to be looked at and to be reported.
_MIN_FRACTION, _REPORTED = 0.004, 0.01
_MAX_FRACTION = 0.95
_PIXELS = 65536
# An LR pixel lies in a region, or outside of it, where so much of its PSF does.
_INSIDE, _MOSTLY, _OUTSIDE = 0.999, 0.5, 0.001
# LR pixels in the region and outside that are needed to compare the images, and how many are compared.
_MIN_INSIDE, _MIN_OUTSIDE, _MAX_OUTSIDE = 4, 32, 4096
# The other image contradicts a spectrum where its prediction is off by more than this fraction of the variance of the
# scene, and by this factor more than elsewhere. A dark background is predicted far better.
_CONTRADICTION, _FACTOR = 0.05, 4.0
# That fraction of the variance where a region is so narrow that the PSF mixes it with the scene in every LR pixel.
_NARROW_CONTRADICTION = 1.0
# There, this fraction of the other image's values are within their range elsewhere.
_USUAL = 0.9
# Cubic interpolation has mixed gaps into pixels as far away as this.
_REACH = 2
_ROUNDING = 1e-5


class Undeclared(NamedTuple):
    """Spectra that are taken for gaps in fits, one value per band (NaN: of a band that is not used); None for none."""

    hsi: Spectrum | None = None
    msi: Spectrum | None = None


def undeclared_pixels(cube: Cube, spectrum: Spectrum | None, *, warped: bool = False) -> Bools | None:
    """Return the pixels, bool (rows, cols), that have a spectrum that is taken for a gap; None where there are none.

    Args:
        cube: an image or a window of it.
        spectrum: see :class:`Undeclared`.
        warped: whether the image was interpolated, which has mixed the spectrum into the pixels around.
    """
    if spectrum is None:
        return None
    found = np.ones((cube.rows, cube.cols), np.bool_)
    for band, value in enumerate(spectrum):
        if np.isfinite(value):
            image = cube.data[band]
            found &= np.isclose(image, value, rtol=_ROUNDING, atol=0) if warped else image == value
            if not found.any():
                return None
    if warped:
        side = 2 * _REACH + 1
        grown = torch.nn.functional.max_pool2d(torch.from_numpy(found)[None].float(), side, 1, _REACH)
        found = grown[0].numpy() > 0
    return found


def without_undeclared(cube: Cube, found: Bools | None) -> Cube:
    """Return a cube with the pixels that :func:`undeclared_pixels` has found as gaps."""
    if found is None:
        return cube
    valid = np.ones(cube.data.shape, np.bool_) if cube.valid is None else cube.valid
    return cube.replace(valid=valid & ~found)


def find_undeclared(
    parts: Sequence[MatchedPair],
    bands: tuple[Bools, Bools],
    headers: tuple[CubeHeader, CubeHeader],
    *,
    whole: bool = True,
) -> tuple[Undeclared, tuple[str, ...]]:
    """Return the spectra that are to be taken for gaps, and notes on the pixels that may be some.

    A collar of zeros that nothing declares would be fitted like a scene and spoil all of it. Only the other image can
    distinguish it from a dark background: where that shows something else, the pixels are left out of fits.

    Args:
        parts: of the pair.
        bands: which bands of HSI and MSI are used.
        headers: of both.
        whole: whether the parts are the whole scene.
    """
    common = [
        _most_common([getattr(part, name) for part in parts], used) for name, used in zip(_NAMES, bands, strict=True)
    ]
    spectra = Undeclared(*(one.spectrum for one in common))
    edge = (
        whole and common[1].extreme and common[1].fraction >= _REPORTED and _lies_at_border(parts[0].msi, spectra.msi)
    )
    contradicted = _contradicted(parts, bands, spectra, narrow=edge)
    where = "" if whole else f" in {len(parts)} parts of the scene"
    notes = [
        _note(name, header, one, doubted, where)
        for name, header, one, doubted in zip(_NAMES, headers, common, contradicted, strict=True)
        if doubted or (one.extreme and one.fraction >= _REPORTED)
    ]
    kept = (one.spectrum if doubted else None for one, doubted in zip(common, contradicted, strict=True))
    return Undeclared(*kept), tuple(note for note in notes if note)


def _lies_at_border(msi: Cube, spectrum: Spectrum | None) -> bool:
    """Return whether all pixels of a side of the image have a spectrum."""
    found = undeclared_pixels(msi, spectrum)
    return found is not None and any(bool(side.all()) for side in (found[0], found[-1], found[:, 0], found[:, -1]))


class _Common(NamedTuple):
    """A spectrum of interest that most pixels have, what fraction has, and whether it is at the end of all ranges."""

    spectrum: Spectrum | None
    fraction: float = 0.0
    extreme: bool = False


def _most_common(cubes: Sequence[Cube], used: Bools) -> _Common:
    """Return the spectrum that most pixels have exactly, where enough have it."""
    samples = []
    for cube in cubes:
        step = max(1, round((cube.rows * cube.cols * len(cubes) / _PIXELS) ** 0.5))
        samples.append(cube.data[used, ::step, ::step].reshape(int(used.sum()), -1))
    values = np.concatenate(samples, axis=1)
    bits = np.ascontiguousarray(values).view(np.uint32 if values.itemsize == 4 else np.uint64).astype(np.uint64)
    hashed = np.zeros(values.shape[1], np.uint64)
    for band in bits:  # spectra are the same where their hashes are
        hashed = (hashed ^ band) * np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(29)
    known = np.isfinite(values).all(axis=0)
    if not known.any():
        return _Common(None)
    _, first, counts = np.unique(hashed[known], return_index=True, return_counts=True)
    fraction = float(counts.max() / known.sum())
    if not _MIN_FRACTION <= fraction <= _MAX_FRACTION:
        return _Common(None)
    spectrum = np.full(used.size, np.nan)
    found = values[:, known][:, first[counts.argmax()]]
    ends = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
    extreme = (found == ends[0]).all() or (found == ends[1]).all()
    spectrum[used] = found
    return _Common(tuple(spectrum.tolist()), fraction, bool(extreme))


class _LowResolution(NamedTuple):
    """LR pixels of a part: HSI (bands, n), degraded MSI (msi_bands, n), and what of each lies in its region, (n,).

    ``msi_mostly``: where at least the half of a pixel does.
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    hsi_inside: torch.Tensor
    msi_inside: torch.Tensor
    msi_mostly: torch.Tensor
    outside: torch.Tensor


def _contradicted(
    parts: Sequence[MatchedPair], bands: tuple[Bools, Bools], common: Undeclared, *, narrow: bool
) -> tuple[bool, bool]:
    """Return of HSI and MSI whether the other image shows something else where it has its most common spectrum.

    ``narrow``: the MSI's is along a side of the image; where no LR pixel lies in its region, those that mostly do are
    compared as they are mixed.
    """
    if common.hsi is None and common.msi is None:
        return False, False
    found = [_at_low_resolution(part, bands, common) for part in parts]
    hsi, msi, hsi_inside, msi_inside, msi_mostly, outside = (torch.cat(one, dim=-1) for one in zip(*found, strict=True))
    known = torch.nonzero(outside).flatten()
    if known.numel() < _MIN_OUTSIDE:
        return False, False
    known = known[:: max(1, known.numel() // _MAX_OUTSIDE)]
    results = []
    for own, other, inside, used, spectrum in (
        (hsi, msi, hsi_inside & ~msi_inside, bands[0], common.hsi),
        (msi, hsi, msi_inside & ~hsi_inside, bands[1], common.msi),
    ):
        enough = spectrum is not None and int(inside.sum()) >= _MIN_INSIDE
        results.append(enough and _differs(own, other, known, inside, np.array(spectrum, np.float64)[used]))
    if narrow and common.msi is not None and int(msi_inside.sum()) < _MIN_INSIDE:
        mixed = msi_mostly & ~hsi_inside
        marked = np.array(common.msi, np.float64)[bands[1]]
        low, high = hsi[:, known].amin(1, keepdim=True), hsi[:, known].amax(1, keepdim=True)
        # With a PSF that is not quite right, what is as dark as nothing else would be extrapolated.
        usual = ((hsi[:, mixed] >= low) & (hsi[:, mixed] <= high)).double().mean()
        results[1] = (
            int(mixed.sum()) >= _MIN_INSIDE
            and bool(usual > _USUAL)
            and _differs(msi, hsi, known, mixed, marked, mixed=True, contradiction=_NARROW_CONTRADICTION)
        )
    return results[0], results[1]


def _differs(
    own: torch.Tensor,
    other: torch.Tensor,
    known: torch.Tensor,
    inside: torch.Tensor,
    spectrum: NDArray[np.float64],
    *,
    mixed: bool = False,
    contradiction: float = _CONTRADICTION,
) -> bool:
    """Return whether what the other image predicts inside is not the spectrum; ``mixed``: not the image's own value."""
    value = torch.from_numpy(spectrum)[:, None]
    scene, predicting = own[:, known], other[:, known]
    variance = scene.var(1, correction=0, keepdim=True).clamp_min(1e-300)
    to_own = LinearMap.fit(predicting, scene)
    elsewhere = to_own(predicting[:, None])[:, 0] - scene
    residual = to_own(other[:, None, inside])[:, 0] - (own[:, inside] if mixed else value)
    # At the end of its range an image may be clipped: a prediction beyond is no contradiction.
    at_top, at_bottom = value >= scene.amax(1, keepdim=True), value <= scene.amin(1, keepdim=True)
    residual = torch.where(at_top, residual.clamp_max(0), torch.where(at_bottom, residual.clamp_min(0), residual))
    off, usual = (float((one.square() / variance).mean()) for one in (residual, elsewhere))
    return off > max(contradiction, _FACTOR * usual)


def _at_low_resolution(part: MatchedPair, bands: tuple[Bools, Bools], common: Undeclared) -> _LowResolution:
    shape = (part.hsi.rows, part.hsi.cols)
    hsi, msi = (torch.from_numpy(cube.data[used]) for cube, used in zip((part.hsi, part.msi), bands, strict=True))
    known = [torch.isfinite(one).all(0) for one in (hsi, msi)]
    regions = [
        torch.zeros_like(valid) if (found := undeclared_pixels(cube, spectrum)) is None else torch.from_numpy(found)
        for cube, spectrum, valid in zip((part.hsi, part.msi), common, known, strict=True)
    ]
    masks = torch.stack([regions[1], ~known[1]]).double()
    region, gap = part.sensor.degrade(masks, shape)
    degraded = part.sensor.degrade(msi.nan_to_num(0.0), shape).double()
    usable = (known[0] & (gap < _OUTSIDE)).flatten()
    return _LowResolution(
        hsi.double().flatten(1),
        degraded.flatten(1),
        usable & regions[0].flatten(),
        usable & (region > _INSIDE).flatten(),
        usable & (region > _MOSTLY).flatten(),
        usable & ~regions[0].flatten() & (region < _OUTSIDE).flatten(),
    )


def _note(name: str, header: CubeHeader, common: _Common, doubted: bool, where: str) -> str:
    """Return a sentence about pixels that may be gaps; empty about a spectrum that is none of a mark."""
    fraction = common.fraction
    values = np.array([value for value in common.spectrum or () if np.isfinite(value)])
    coding = header.coding
    stored = values if coding.is_identity else _whole((values - coding.offset) / coding.scale)
    one = bool((stored == stored[0]).all())
    shown = _exact(float(stored[0]))
    if not (one or doubted):
        return ""
    text = f"{100 * fraction:.0f} %" if fraction >= 0.01 else f"{100 * fraction:.1f} %"
    prefix, of, other = ("", "HSI", "MSI") if name == "hsi" else ("msi_", "MSI", "HSI")
    what = f"are {shown} in all bands" if one else "have exactly the same spectrum"
    ask = f"a gap? {prefix}nodata={shown} declares it" if one else "a gap? mask=... leaves them out"
    then = f"; the {other} shows a scene there, so fits leave them out, and the result follows the {other}"
    return f"{text} of the {of}'s pixels{where} {what}: {ask}{then if doubted else ''}"


def _whole(stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return stored numbers as computed from float32 values: whole where they nearly are."""
    whole = np.rint(stored)
    return np.where(np.abs(stored - whole) <= 1e-3 + 1e-6 * np.abs(stored), whole, np.round(stored, 3))


def _exact(value: float) -> str:
    """Return the shortest text that reads as the same number, of float32 where it is one."""
    short = f"{value + 0.0:g}"  # no -0
    exact = str(np.float32(value)) if float(np.float32(value)) == value else repr(value)
    return short if float(short) == value else exact
