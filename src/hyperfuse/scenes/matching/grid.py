"""The common grid of a pair by its headers: ratio, phase and common extent, and what must be refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine

from hyperfuse.cube.crs import ORTHORECTIFIED, PLACED_BY
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.scenes.matching.quantities import refuse_other_units
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.published import psf_prior
from hyperfuse.sensor.srf.names import create_srf

Two = tuple[float, float]

_COUNTED = "the coordinates of both images only count pixels: the ratio is that of the sizes"

# A ratio that is whole up to a drift of this many HR pixels over the image is whole: transforms are rounded.
_DRIFT = 0.05
# LR pixels may extend beyond the MSI by this many HR pixels: the phase of a simulated pair does that.
_OVERHANG = 1.0
# Phases that differ by less than this, in HR pixels, are the same.
_SAME_PHASE = 0.05


@dataclass(frozen=True)
class MatchedPair:
    """Two cubes on grids that fit, or a part of them.

    Attributes:
        hsi: LR-HSI (bands, h, w).
        msi: HR-MSI (msi_bands, H, W).
        sensor: relates the two; its responses, where known, are between all of their bands.
        notes: what was decided, for the record.
        origin: position of the first pixel of this MSI in that of the scene, (y, x) in HR pixels.
    """

    hsi: Cube
    msi: Cube
    sensor: Sensor
    notes: tuple[str, ...] = ()
    origin: Two = (0.0, 0.0)


@dataclass(frozen=True)
class GridMatch:
    """How two grids relate, by their headers.

    Attributes:
        sensor: between the images cut to their common extent; without responses that are specified by name.
        hsi: common extent in the HSI, whole LR pixels.
        msi: common extent in the MSI.
        notes: what was cut.
    """

    sensor: Sensor
    hsi: Window
    msi: Window
    notes: tuple[str, ...]


def match_grids(hsi: CubeHeader, msi: CubeHeader, geometry: PairGeometry) -> GridMatch:
    """Return the common extent of two images in whole LR pixels, and the sensor that relates the two.

    Where sizes and phase are those of a pair simulated from one image, nothing is cut.

    The ratio comes from the transforms, else from the geometry, else from the sizes; a specified ratio must agree. The
    phase is the specified one, else that of the transforms, else that of the specified sensor, else centred blocks.
    Without a PSF that of :func:`~hyperfuse.sensor.published.psf_prior` is assumed.

    Raises:
        InputError: grids that do not fit together (other CRS, no overlap, rotated, a ratio below 1 or other than the
            one specified), or only one of them has a transform and nobody states that both cover the same ground.
    """
    counted = hsi.shape[1:] != msi.shape[1:] and _counts_pixels(hsi) and _counts_pixels(msi)
    if counted:
        hsi, msi = hsi.replace(transform=None), msi.replace(transform=None)
    _refuse_one_position(hsi, msi, geometry)
    placement = _relative_grid(hsi, msi)
    ratio = _choose_ratio(hsi, msi, geometry.ratio_pair, placement.ratio if placement is not None else None)
    start = _choose_phase(ratio, placement, geometry)
    sensor = geometry.sensor
    # Sizes that match and a phase that is specified describe whole images; only transforms can contradict them.
    whole = placement is None or (sensor is not None and _distance(start, sensor.offset) <= _SAME_PHASE)
    matched = (Sensor(ratio=ratio, psf=psf_prior(hsi.attributes).psf(ratio)) if sensor is None else sensor).replace(
        ratio=ratio, phase=start
    )
    psf = geometry.psf_at(ratio)
    if psf is not None:
        matched = matched.replace(psf=psf)
    if geometry.srf is not None:
        matched = matched.replace(srf=None if isinstance(geometry.srf, str) else geometry.srf)
    found = common_extent(matched, hsi, msi, whole=whole)
    return replace(found, notes=(_COUNTED, *found.notes)) if counted else found


def psf_assumed(hsi: CubeHeader) -> str:
    """Return a sentence about the PSF that is assumed of an HSI."""
    return f"PSF not known: {psf_prior(hsi.attributes)}"


def common_extent(sensor: Sensor, hsi: CubeHeader, msi: CubeHeader, *, whole: bool, why: str = "") -> GridMatch:
    """Cut two images to their common extent.

    Args:
        sensor: relates the images as they are.
        hsi: LR-HSI.
        msi: HR-MSI.
        whole: sizes that match the ratio describe whole images, at any phase.
        why: appended to the notes on cuts.

    Raises:
        InputError: no overlap.
    """
    (y, x), (ratio_y, ratio_x) = sensor.offset, sensor.ratio
    moved = ((0.0, 0.0), (0.0, 0.0))
    if sensor.displacement is not None:
        moved = sensor.displacement.bounds((0, 0), (hsi.rows, hsi.cols))
    rows = _Overlap.of(y, ratio_y, hsi.rows, msi.rows, "rows", whole, moved[0])
    cols = _Overlap.of(x, ratio_x, hsi.cols, msi.cols, "columns", whole, moved[1])
    lr = Window(rows.first_lr, cols.first_lr, rows.lr, cols.lr)
    hr = Window(rows.first_hr, cols.first_hr, rows.hr, cols.hr)
    cuts = [
        f"{name} cut from {image.rows}x{image.cols} to {window.rows}x{window.cols} pixels{why}"
        for name, image, window in (("HSI", hsi, lr), ("MSI", msi, hr))
        if (window.rows, window.cols) != (image.rows, image.cols)
    ]
    return GridMatch(sensor.window((lr.row, lr.col), (rows.phase, cols.phase)), lr, hr, tuple(cuts))


def match_pair(hsi: Cube, msi: Cube, geometry: PairGeometry | None = None) -> MatchedPair:
    """Cut two cubes to their common extent by :func:`match_grids`.

    Raises:
        InputError: as there, or images without data, or values in different units.
    """
    geometry = PairGeometry() if geometry is None else geometry
    for cube, name in ((hsi, "HSI"), (msi, "MSI")):
        refuse_empty(cube, name)
    matched = match_grids(hsi.header, msi.header, geometry)
    refuse_other_units([hsi], [msi])
    sensor = matched.sensor
    if isinstance(geometry.srf, str):
        sensor = sensor.replace(srf=create_srf(geometry.srf, hsi))
    notes = matched.notes if geometry.describes_psf else (psf_assumed(hsi.header), *matched.notes)
    return MatchedPair(hsi.crop(*matched.hsi), msi.crop(*matched.msi), sensor, notes)


@dataclass(frozen=True)
class _Placement:
    """Where the HSI's grid lies in MSI pixels: its corner and pixel size along (y, x)."""

    corner: Two
    ratio: Two


@dataclass(frozen=True)
class _Overlap:
    """The common part of one axis: first index and length in LR and HR pixels, and the phase after the cut."""

    first_lr: int
    lr: int
    first_hr: int
    hr: int
    phase: float

    @classmethod
    def of(
        cls, phase: float, ratio: float, coarse: int, fine: int, name: str, whole: bool, moved: tuple[float, float]
    ) -> _Overlap:
        """Return the overlap of ``coarse`` LR and ``fine`` HR pixels, of which LR pixels are displaced by ``moved``."""
        if whole and fine == math.ceil(coarse * ratio - 1e-6) and -0.5 <= phase <= ratio - 0.5:
            # A simulated pair: samples at any phase, each LR pixel belongs to the image, and so does each HR pixel.
            return cls(0, coarse, 0, fine, phase)
        corner = phase + 0.5 - ratio / 2
        overhang = min(_OVERHANG, ratio / 2) + 1e-6
        first = max(0, math.ceil((-overhang - corner - moved[1]) / ratio))
        last = min(coarse, math.floor((fine + overhang - corner - moved[0]) / ratio))
        if last <= first:
            low, high = corner + moved[0], corner + moved[1] + ratio * coarse
            raise InputError(
                f"HSI and MSI do not overlap: the HSI covers the MSI {name} {low:.1f} to {high:.1f} of 0 to {fine}"
            )
        start = max(0, math.floor(corner + moved[0] + ratio * first + 1e-6))
        end = min(fine, math.ceil(corner + moved[1] + ratio * last - 1e-6))
        return cls(first, last - first, start, end - start, phase + ratio * first - start)


def _refuse_one_position(hsi: CubeHeader, msi: CubeHeader, geometry: PairGeometry) -> None:
    """Refuse a pair of which one image is georeferenced and the other is not, unless both cover the same ground."""
    if (hsi.transform is None) == (msi.transform is None) or geometry.same_ground:
        return
    known, unknown = ("HSI", "MSI") if msi.transform is None else ("MSI", "HSI")
    placed = (msi if msi.transform is None else hsi).attributes.get(PLACED_BY)
    if placed is not None:
        raise InputError(
            f"the {unknown} is placed by {placed} alone, in sensor geometry, so where its pixels lie is not known;"
            f" {ORTHORECTIFIED}, or pass same_ground=True where both cover the same ground",
            "same_ground",
        )
    raise InputError(
        f"the {known} is georeferenced and the {unknown} is not, so where it lies is not known; georeference it"
        " (gdalwarp applies ground control points), or pass same_ground=True where both cover the same ground",
        "same_ground",
    )


def _counts_pixels(header: CubeHeader) -> bool:
    """Return whether a transform only counts pixels from a corner of the image, as that of images with no position."""
    transform = header.transform
    if transform is None or not (header.crs is None or header.crs.startswith(("LOCAL_CS", "ENGCRS"))):
        return False
    start = {sign * 0.5 + corner for sign in (-1, 0, 1) for corner in (0, header.rows)}
    unit = abs(transform.a) == abs(transform.e) == 1 and transform.b == transform.d == 0
    return unit and transform.c in (-0.5, 0.0, 0.5) and transform.f in start


def _relative_grid(hsi: CubeHeader, msi: CubeHeader) -> _Placement | None:
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
            f"the {which} has no coordinate system; that of the other image is assumed", HyperfuseWarning, stacklevel=4
        )
    matrix = relative_transform(hsi, msi)
    size = max(abs(matrix.a), abs(matrix.e), 1e-12)
    if max(abs(matrix.b) * hsi.rows, abs(matrix.d) * hsi.cols) > max(_DRIFT, 1e-4 * size):
        raise InputError("the grids of HSI and MSI are rotated against each other; warp one to the other's grid first")
    if matrix.a <= 0 or matrix.e <= 0:
        raise InputError("one of HSI and MSI is mirrored against the other; flip it first (north up)")
    ratio = (_snap(matrix.e, hsi.rows), _snap(matrix.a, hsi.cols))
    return _Placement((matrix.f, matrix.c), ratio)


def relative_transform(hsi: CubeHeader, msi: CubeHeader) -> Affine:
    """Return the transform of (col, row) of pixel corners of the HSI to those of the MSI, of one coordinate system.

    Raises:
        InputError: a transform that is not finite or not invertible.
    """
    assert hsi.transform is not None
    assert msi.transform is not None
    for transform, name in ((hsi.transform, "HSI"), (msi.transform, "MSI")):
        if not np.isfinite(transform).all() or transform.determinant == 0:
            raise InputError(f"the transform of the {name}, {transform[:6]}, gives its pixels no area; correct it")
    return ~msi.transform @ hsi.transform


def _choose_ratio(hsi: CubeHeader, msi: CubeHeader, specified: Two | None, found: Two | None) -> Two:
    if found is not None:
        _refuse_swapped(hsi, msi, found)
        if specified is not None and any(
            abs(a - b) * pixels > 0.5 for a, b, pixels in zip(specified, found, (hsi.rows, hsi.cols), strict=True)
        ):
            raise InputError(
                f"the ratio given is {_text(specified)}, that of the pixel sizes is {_text(found)}", parameter="ratio"
            )
        return found
    if specified is not None:
        if min(specified) < 1:
            raise InputError(f"a ratio is 1 or more, got {_text(specified)}", parameter="ratio")
        for fine, coarse, ratio, name in (
            (msi.rows, hsi.rows, specified[0], "rows"),
            (msi.cols, hsi.cols, specified[1], "columns"),
        ):
            if not coarse * ratio - _OVERHANG - 1e-6 <= fine < (coarse + 1) * ratio:
                raise InputError(
                    f"the ratio given is {ratio:g}, but {fine} MSI {name} for {coarse} HSI {name} are"
                    f" {fine / coarse:g}",
                    parameter="ratio",
                )
        return specified
    sizes = (msi.rows / hsi.rows, msi.cols / hsi.cols)
    _refuse_swapped(hsi, msi, sizes)
    if abs(sizes[0] / sizes[1] - 1) > 0.2:
        raise InputError(
            f"the sizes give a ratio of {sizes[0]:g} in y and {sizes[1]:g} in x; pass ratio=... if that is meant"
        )
    return sizes


def _choose_phase(ratio: Two, placement: _Placement | None, geometry: PairGeometry) -> Two:
    sensor, specified = geometry.sensor, geometry.phase_pair
    if placement is None or geometry.phase is not None:
        return specified if specified is not None else ((ratio[0] - 1) / 2, (ratio[1] - 1) / 2)
    y, x = (corner + size / 2 - 0.5 for corner, size in zip(placement.corner, ratio, strict=True))
    if sensor is not None and _distance((y, x), sensor.offset) > _SAME_PHASE:
        warnings.warn(
            f"the sensor's phase {_text(sensor.offset)} is not that of the transforms ({y:.2f},{x:.2f}), which is"
            " used; phase=... overrides both",
            HyperfuseWarning,
            stacklevel=4,
        )
    return y, x


def _refuse_swapped(hsi: CubeHeader, msi: CubeHeader, ratio: Two) -> None:
    if min(ratio) < 1 - 1e-6:
        raise InputError(
            f"the HSI's pixels are finer than the MSI's (ratio {_text(ratio)}, {hsi.bands} and {msi.bands} bands)"
            f"{swapped_hint(hsi, msi)}"
        )


def swapped_hint(hsi: CubeHeader, msi: CubeHeader) -> str:
    """Return what to add to a message about a ratio below 1."""
    return "; HSI and MSI look swapped" if hsi.bands < msi.bands else ""


def refuse_empty(cube: Cube, name: str) -> None:
    """Refuse an image of which no band can be used.

    Raises:
        InputError: every band is a gap or marked as bad.
    """
    if not cube.usable_bands.any():
        raise InputError(f"the {name} holds no data: every band is nodata or marked as bad")


def _snap(ratio: float, pixels: int) -> float:
    return float(round(ratio)) if abs(ratio - round(ratio)) * pixels < _DRIFT else ratio


def _distance(first: Two, second: Two) -> float:
    return max(abs(first[0] - second[0]), abs(first[1] - second[1]))


def _text(pair: Two) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g},{pair[1]:g}"


def _crs_name(crs: str) -> str:
    from hyperfuse.cube.crs import parse_crs

    known = parse_crs(crs)
    return f"EPSG:{known.to_epsg()}" if known.to_epsg() else known.to_string()[:40]
