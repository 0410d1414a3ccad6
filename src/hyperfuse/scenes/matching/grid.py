"""Fit two cubes together: ratio and phase from their grids, the extent they share, and what must be refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.psf import create_psf
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.sensor.srf.srf import Srf

Two = tuple[float, float]

# A ratio that is whole up to a drift of this many HR pixels over the image is whole: transforms are rounded.
_DRIFT = 0.05
# LR pixels may reach beyond the MSI by this many HR pixels: the phase of a simulated pair does that.
_OVERHANG = 1.0
# Phases that differ by less than this, in HR pixels, are the same.
_SAME_PHASE = 0.05
# Values whose upper ends differ by more than this factor are not in one unit.
_SCALE_FACTOR = 100.0


@dataclass(frozen=True)
class MatchedPair:
    """Two cubes on grids that fit: ``sensor`` tells how; ``notes`` what was decided, for the record."""

    hsi: Cube
    msi: Cube
    sensor: Sensor
    notes: tuple[str, ...]


def match_pair(
    hsi: Cube,
    msi: Cube,
    *,
    sensor: Sensor | None = None,
    srf: str | Srf | None = None,
    psf: str | None = None,
    ratio: float | Two | None = None,
    phase: float | Two | None = None,
) -> MatchedPair:
    """Cut a pair to its common extent in whole LR pixels and return the sensor that relates the two.

    Where sizes and phase are those of a pair simulated from one image, nothing is cut.

    The ratio comes from the transforms, else from ``sensor``, else from the sizes; a given ``ratio`` must agree. The
    phase is the given one, else that of the transforms, else that of ``sensor``, else centred blocks. Without a PSF
    a Gaussian with a modulation of 0.3 at Nyquist is taken, and noted.

    Raises:
        InputError: grids that do not fit together (other CRS, no overlap, rotated, a ratio below 1 or not the one
            given), images without data, or values in different units.
    """
    _refuse_empty(hsi, "HSI")
    _refuse_empty(msi, "MSI")
    placed = _relative_grid(hsi, msi)
    given = _as_pair(ratio) if ratio is not None else (sensor.ratio if sensor is not None else None)
    found = placed.ratio if placed is not None else None
    chosen = _choose_ratio(hsi, msi, given, found)
    refuse_other_units(hsi, msi)

    notes = []
    start = _choose_phase(chosen, phase, placed, sensor)
    if sensor is None:
        base = mtf(chosen)
        if psf is None:
            notes.append("PSF not known: Gaussian with a modulation of 0.3 at Nyquist")
    else:
        base = sensor
    # Sizes that match and a phase that is told describe the whole images; only transforms can say that they do not.
    told = placed is None or (sensor is not None and _distance(start, sensor.offset) <= _SAME_PHASE)
    rows = Extent.common(start[0], chosen[0], hsi.rows, msi.rows, "rows", told)
    cols = Extent.common(start[1], chosen[1], hsi.cols, msi.cols, "columns", told)
    cut_hsi = hsi.crop(rows.first_lr, cols.first_lr, rows.lr, cols.lr)
    cut_msi = msi.crop(rows.first_hr, cols.first_hr, rows.hr, cols.hr)
    for name, cut, whole in (("HSI", cut_hsi, hsi), ("MSI", cut_msi, msi)):
        if (cut.rows, cut.cols) != (whole.rows, whole.cols):
            notes.append(f"{name} cut from {whole.rows}x{whole.cols} to {cut.rows}x{cut.cols} pixels")
    matched = base.replace(ratio=chosen, phase=(rows.phase, cols.phase))
    if psf is not None:
        matched = matched.replace(psf=create_psf(psf, chosen))
    if srf is not None:
        matched = matched.replace(srf=create_srf(srf, hsi) if isinstance(srf, str) else srf)
    return MatchedPair(cut_hsi, cut_msi, matched, tuple(notes))


@dataclass(frozen=True)
class _Placement:
    """Where the HSI's grid lies in MSI pixels: its corner and pixel size along (y, x)."""

    corner: Two
    ratio: Two


@dataclass(frozen=True)
class Extent:
    """The shared part of one axis: first index and length in LR and HR pixels, and the phase after the cut."""

    first_lr: int
    lr: int
    first_hr: int
    hr: int
    phase: float

    @classmethod
    def common(cls, phase: float, ratio: float, coarse: int, fine: int, name: str, told: bool) -> Extent:
        """Return what ``coarse`` LR and ``fine`` HR pixels share; ``told`` that their sizes describe whole images."""
        if told and fine == math.ceil(coarse * ratio - 1e-6) and -0.5 <= phase <= ratio - 0.5:
            # A simulated pair: samples at any phase, each LR pixel belongs to the image, and so does each HR pixel.
            return cls(0, coarse, 0, fine, phase)
        corner = phase + 0.5 - ratio / 2
        overhang = min(_OVERHANG, ratio / 2) + 1e-6
        first = max(0, math.ceil((-overhang - corner) / ratio))
        last = min(coarse, math.floor((fine + overhang - corner) / ratio))
        if last <= first:
            low, high = corner, corner + ratio * coarse
            raise InputError(
                f"HSI and MSI do not overlap: the HSI covers the MSI {name} {low:.1f} to {high:.1f} of 0 to {fine}"
            )
        start = max(0, math.floor(corner + ratio * first + 1e-6))
        end = min(fine, math.ceil(corner + ratio * last - 1e-6))
        return cls(first, last - first, start, end - start, phase + ratio * first - start)


def _relative_grid(hsi: Cube, msi: Cube) -> _Placement | None:
    if hsi.transform is None or msi.transform is None:
        return None
    if hsi.crs is not None and msi.crs is not None:
        from hyperfuse.cube.crs import same_crs

        if not same_crs(hsi.crs, msi.crs):
            raise InputError(
                f"HSI and MSI have different coordinate systems ({_crs_name(hsi.crs)} and {_crs_name(msi.crs)});"
                " warp one to the other's first"
            )
    elif (hsi.crs is None) != (msi.crs is None):
        which = "HSI" if hsi.crs is None else "MSI"
        warnings.warn(
            f"the {which} has no coordinate system; it is taken to be the other image's", HyperfuseWarning, stacklevel=4
        )
    for transform, name in ((hsi.transform, "HSI"), (msi.transform, "MSI")):
        if not (np.isfinite(transform).all() and np.linalg.det(_matrix(transform)) != 0):
            raise InputError(
                f"the transform of the {name}, {six_numbers(transform)}, gives its pixels no area; correct it"
            )
    matrix = np.linalg.inv(_matrix(msi.transform)) @ _matrix(hsi.transform)
    size = max(abs(matrix[0, 0]), abs(matrix[1, 1]), 1e-12)
    if max(abs(matrix[0, 1]) * hsi.rows, abs(matrix[1, 0]) * hsi.cols) > max(_DRIFT, 1e-4 * size):
        raise InputError("the grids of HSI and MSI are rotated against each other; warp one to the other's grid first")
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise InputError("one of HSI and MSI is mirrored against the other; flip it first (north up)")
    ratio = (_snap(float(matrix[1, 1]), hsi.rows), _snap(float(matrix[0, 0]), hsi.cols))
    return _Placement((float(matrix[1, 2]), float(matrix[0, 2])), ratio)


def _choose_ratio(hsi: Cube, msi: Cube, given: Two | None, found: Two | None) -> Two:
    if found is not None:
        _refuse_swapped(hsi, msi, found)
        if given is not None and any(
            abs(a - b) * cells > 0.5 for a, b, cells in zip(given, found, (hsi.rows, hsi.cols), strict=True)
        ):
            raise InputError(f"the ratio given is {_text(given)}, that of the pixel sizes is {_text(found)}")
        return found
    if given is not None:
        if min(given) < 1:
            raise InputError(f"a ratio is 1 or more, got {_text(given)}")
        for fine, coarse, ratio, name in (
            (msi.rows, hsi.rows, given[0], "rows"),
            (msi.cols, hsi.cols, given[1], "columns"),
        ):
            if not coarse * ratio - _OVERHANG - 1e-6 <= fine < (coarse + 1) * ratio:
                raise InputError(
                    f"the ratio given is {ratio:g}, but {fine} MSI {name} for {coarse} HSI {name} are {fine / coarse:g}"
                )
        return given
    sizes = (msi.rows / hsi.rows, msi.cols / hsi.cols)
    _refuse_swapped(hsi, msi, sizes)
    if abs(sizes[0] / sizes[1] - 1) > 0.2:
        raise InputError(
            f"the sizes give a ratio of {sizes[0]:g} in y and {sizes[1]:g} in x; give --ratio if that is meant"
        )
    return sizes


def _choose_phase(ratio: Two, given: float | Two | None, placed: _Placement | None, sensor: Sensor | None) -> Two:
    if given is not None:
        return _as_pair(given)
    if placed is not None:
        y, x = (corner + size / 2 - 0.5 for corner, size in zip(placed.corner, ratio, strict=True))
        if sensor is not None and _distance((y, x), sensor.offset) > _SAME_PHASE:
            warnings.warn(
                f"the sensor's phase {_text(sensor.offset)} is not that of the transforms ({y:.2f},{x:.2f}), which is"
                " used; --phase overrides both",
                HyperfuseWarning,
                stacklevel=4,
            )
        return y, x
    return sensor.offset if sensor is not None else ((ratio[0] - 1) / 2, (ratio[1] - 1) / 2)


def _refuse_swapped(hsi: Cube, msi: Cube, ratio: Two) -> None:
    if min(ratio) < 1 - 1e-6:
        hint = "; HSI and MSI look swapped" if hsi.bands < msi.bands else ""
        raise InputError(
            f"the HSI's pixels are finer than the MSI's (ratio {_text(ratio)}, {hsi.bands} and {msi.bands} bands){hint}"
        )


def _refuse_empty(cube: Cube, name: str) -> None:
    if not cube.usable_bands.any():
        raise InputError(f"the {name} holds no data: every band is nodata or marked as bad")


def refuse_other_units(hsi: Cube, msi: Cube) -> None:
    """Refuse two images of which one is scaled and the other not, told by their ranges.

    Raises:
        InputError: their levels differ by orders of magnitude.
    """
    levels = []
    for cube in (hsi, msi):
        # Every few pixels tell the range of a large image well enough.
        step = max(1, int(math.sqrt(cube.rows * cube.cols / 65536)))
        values = np.abs(cube.data[cube.usable_bands, ::step, ::step])
        finite = values[np.isfinite(values)]
        levels.append(float(np.quantile(finite, 0.99)) if finite.size else 0.0)
    low, high = sorted(levels)
    if low > 0 and high / low > _SCALE_FACTOR:
        raise InputError(
            f"HSI values reach {levels[0]:.4g} and MSI values {levels[1]:.4g}: one is scaled (reflectance x 10000?);"
            " give its --scale"
        )


def _matrix(transform: Affine) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.reshape(transform, (3, 3))


def _snap(ratio: float, cells: int) -> float:
    return float(round(ratio)) if abs(ratio - round(ratio)) * cells < _DRIFT else ratio


def _distance(first: Two, second: Two) -> float:
    return max(abs(first[0] - second[0]), abs(first[1] - second[1]))


def _as_pair(value: float | Two) -> Two:
    pair = np.asarray(value, np.float64).ravel()
    if pair.size not in (1, 2):
        raise InputError(f"a ratio or phase is one number or two (y, x), got {value!r}")
    return float(pair[0]), float(pair[-1])


def _text(pair: Two) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g},{pair[1]:g}"


def _crs_name(crs: str) -> str:
    from hyperfuse.cube.crs import parse_crs

    known = parse_crs(crs)
    return f"EPSG:{known.to_epsg()}" if known.to_epsg() else known.to_string()[:40]
