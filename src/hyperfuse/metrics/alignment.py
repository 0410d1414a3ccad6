"""Two images of one scene, put on one grid and in one order of bands by their metadata, or refused."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError

# Grids that differ by less than this, in pixels, anywhere in the image are the same: transforms are rounded.
_DRIFT = 0.05
# Centres that differ by less than this are one band: at most this many nm, or this fraction of the bands' distance.
_SAME_BAND_NM = 1.0
_SAME_BAND_FRACTION = 0.25
# Values are in another unit where one image is more than this many times the other, and of nearly its shape.
_UNIT_FACTOR = 5.0
_LEAST_COSINE = 0.97
_SAMPLES = 200_000


class Aligned(NamedTuple):
    """Two images on one grid.

    Attributes:
        first: on its own grid, cut to the second image where that is smaller.
        second: with the orientation, the extent and the order of bands of ``first``.
        window: of ``first`` in the image as it was given.
        bands: of ``first`` in the image as it was given (indices from 0).
        notes: sentences on what was done.
    """

    first: Cube
    second: Cube
    window: Window
    bands: NDArray[np.intp]
    notes: tuple[str, ...]


class GridPlacement(NamedTuple):
    """How the pixels of an image lie on the grid of another: mirrored and transposed by whole pixels.

    Attributes:
        transposed: rows and columns are swapped, before anything else.
        flipped: whether (rows, columns) run the other way, then.
        window: what the oriented image covers of the grid; it may lie outside.
    """

    transposed: bool
    flipped: tuple[bool, bool]
    window: Window

    def orient(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return an array (bands, rows, cols) of the image in the orientation of the grid."""
        array = array.swapaxes(1, 2) if self.transposed else array
        return array[:, :: -1 if self.flipped[0] else 1, :: -1 if self.flipped[1] else 1]

    def within(self, window: Window) -> Window:
        """Return where a window of the grid lies in the image as it is stored."""
        starts = (window.row - self.window.row, window.col - self.window.col)
        sizes = (window.rows, window.cols)
        whole = (self.window.rows, self.window.cols)
        rows, cols = (
            (total - start - size if flip else start, size)
            for start, size, total, flip in zip(starts, sizes, whole, self.flipped, strict=True)
        )
        if self.transposed:
            rows, cols = cols, rows
        return Window(rows[0], cols[0], rows[1], cols[1])


def align_images(
    first: Cube, second: Cube, names: tuple[str, str] = ("the reference", "the fused image"), *, scale: bool = True
) -> Aligned:
    """Put ``second`` on the grid and into the order of bands of ``first``, by what both state.

    Where both have a transform, an image that is stored south-up, mirrored or transposed is rotated or flipped, and the
    larger one is cut to the other. Where both have wavelengths, or names for all bands, bands are put in one order, and
    those that only one image has are left out. What only one image states, or none, is not compared.

    Args:
        first: image whose grid is kept.
        second: image of the same scene.
        names: of both in messages.
        scale: refuse values of which one image holds a multiple of the other's.

    Raises:
        InputError: another CRS or size of pixels, a shift, no overlap or no common band, other sizes, or values in
            another unit.
    """
    placement, notes = locate(first.header, second.header, names)
    keep, order, said = _common_bands(first.header, second.header, names)
    notes += said
    one, other = first, second
    if not np.array_equal(order, np.arange(second.bands)):
        other = other.select_bands(order)
    if not np.array_equal(keep, np.arange(first.bands)):
        one = one.select_bands(keep)
    window = Window(0, 0, first.rows, first.cols)
    if placement is not None:
        if placement.transposed or any(placement.flipped):
            valid = None if other.valid is None else placement.orient(other.valid)
            other = other.replace(data=placement.orient(other.data), valid=valid, transform=None)
        there = placement.window
        rows, cols = (there.row, there.row + there.rows), (there.col, there.col + there.cols)
        top, left = max(rows[0], 0), max(cols[0], 0)
        window = Window(top, left, min(rows[1], first.rows) - top, min(cols[1], first.cols) - left)
        if (window.rows, window.cols) != (other.rows, other.cols):
            other = other.crop(window.row - there.row, window.col - there.col, window.rows, window.cols)
        if window != Window(0, 0, first.rows, first.cols):
            one = one.crop(*window)
    if one.shape != other.shape:
        raise InputError(
            f"{names[0]} has {_size(one.header)}, {names[1]} {_size(other.header)}; they must be equal "
            "(`hyperfuse simulate` writes the reference that its pair was made from where it had to crop)"
        )
    if scale:
        _refuse_other_scale(one, other, names)
    return Aligned(one, other, window, keep, tuple(notes))


def refuse_unaligned(first: Cube, second: Cube) -> None:
    """Refuse two cubes of one shape whose values do not belong together as they are stored; see `align_images`."""
    aligned = align_images(first, second, scale=False)
    if aligned.first is not first or aligned.second is not second:
        raise InputError(f"{'; '.join(aligned.notes)}: only hyperfuse.evaluate does that")


def reference_on_grid(fused: Cube, reference: Cube) -> tuple[Cube, tuple[str, ...]]:
    """Return a reference on the grid of a fused image, a gap where it says nothing, and notes; see `align_images`."""
    names = ("the fused image", "the reference")
    _, known, window, bands, notes = align_images(fused, reference, names)
    if not notes:
        return reference, ()
    data = np.full(fused.shape, np.nan, known.data.dtype)
    data[(bands, *window.slices)] = known.data
    return Cube.from_header(fused.header.replace(units=reference.units, good_bands=None), data, ~np.isnan(data)), notes


def locate(
    first: CubeHeader, second: CubeHeader, names: tuple[str, str] = ("the reference", "the fused image")
) -> tuple[GridPlacement | None, list[str]]:
    """Return how ``second`` lies on the grid of ``first``, with what is to be said of it; None without two transforms.

    Raises:
        InputError: another CRS or size of pixels, rotation, a shift, or images of which none contains the other.
    """
    # rasterio, which compares the CRS, is not loaded to score arrays.
    from hyperfuse.cube.crs import same_crs

    if first.crs is not None and second.crs is not None and not same_crs(first.crs, second.crs):
        raise InputError(
            f"{names[0]} and {names[1]} are in other coordinate systems ({_short(first.crs)} and "
            f"{_short(second.crs)}); bring them to one grid first"
        )
    if first.transform is None or second.transform is None:
        missing = [name for name, one in zip(names, (first, second), strict=True) if one.transform is None]
        if len(missing) == 2 or first.shape[1:] != second.shape[1:]:
            return None, []
        return None, [f"{missing[0]} has no georeference: pixels are compared in the order in which they are stored"]
    placement = _placement(first, second, names)
    there = placement.window
    overlap = there.row < first.rows and there.col < first.cols and there.row + there.rows > 0
    if not overlap or there.col + there.cols <= 0:
        raise InputError(f"{names[0]} and {names[1]} do not overlap: {_apart(first, there, names)}")
    inside = 0 <= there.row <= first.rows - there.rows and 0 <= there.col <= first.cols - there.cols
    around = (
        there.row <= 0 <= there.row + there.rows - first.rows and there.col <= 0 <= there.col + there.cols - first.cols
    )
    if not inside and not around:
        raise InputError(
            f"{names[1]} is shifted: {_apart(first, there, names)}; correct it, or cut both to what they share"
        )
    notes = []
    ways = [word for word, flip in zip(("rows", "columns"), placement.flipped, strict=True) if flip]
    if placement.transposed:
        notes.append(f"{names[1]} was rotated to the orientation of {names[0]}, as the transforms state")
    elif ways:
        notes.append(f"the {' and '.join(ways)} of {names[1]} run the other way; they were flipped")
    if there[2:] != first.shape[1:]:
        smaller, larger = (names[1], names[0]) if inside else names
        notes.append(f"{larger} was cut to the extent of {smaller}, as the transforms state")
    return placement, notes


def _placement(first: CubeHeader, second: CubeHeader, names: tuple[str, str]) -> GridPlacement:
    """Return how the pixels of ``second`` lie on the grid of ``first``; other grids are refused."""
    on_first = np.linalg.solve(_matrix(first), _matrix(second))  # (col, row) of the second to those of the first
    turn = np.rint(on_first[:2, :2])
    drift = np.abs(on_first[:2, :2] - turn) @ np.array([second.cols, second.rows], np.float64)
    if not np.array_equal(np.abs(turn) @ [1, 1], [1, 1]) or np.abs(np.linalg.det(turn)) != 1 or drift.max() > _DRIFT:
        sizes = [_pixel(one) for one in (first, second)]
        why = f"pixels of {sizes[0]} and {sizes[1]}" if sizes[0] != sizes[1] else "one is rotated or sheared"
        raise InputError(f"{names[0]} and {names[1]} are on other grids ({why}); resample one of them first")
    corners = on_first @ np.array([[0, second.cols], [0, second.rows], [1, 1]], np.float64)
    start = corners[:2].min(axis=1)
    whole = np.rint(start)
    if np.abs(start - whole).max() > _DRIFT:
        col, row = start - whole
        raise InputError(
            f"{names[1]} is shifted against {names[0]} by a fraction of a pixel ({row:+.2g} rows, {col:+.2g} columns); "
            "resample one of them first"
        )
    transposed = bool(turn[0, 0] == 0)
    flips = (turn[1, 0], turn[0, 1]) if transposed else (turn[1, 1], turn[0, 0])
    rows, cols = (second.cols, second.rows) if transposed else (second.rows, second.cols)
    return GridPlacement(
        transposed, (bool(flips[0] < 0), bool(flips[1] < 0)), Window(int(whole[1]), int(whole[0]), rows, cols)
    )


def _matrix(header: CubeHeader) -> NDArray[np.float64]:
    assert header.transform is not None  # asked before
    matrix = np.vstack([np.reshape(six_numbers(header.transform), (2, 3)), [0.0, 0.0, 1.0]])
    if np.linalg.det(matrix[:2, :2]) == 0:
        raise InputError("a transform maps all pixels to one line; it states no grid")
    return matrix


def _common_bands(
    first: CubeHeader, second: CubeHeader, names: tuple[str, str]
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[str]]:
    """Return the bands of both that are the same, in the order of ``first``, and what is to be said of it.

    Raises:
        InputError: no common band.
    """
    every = np.arange(first.bands), np.arange(second.bands)
    by = "wavelength"
    if first.wavelengths is not None and second.wavelengths is not None:
        pairs = _same_wavelengths(first, second)
    elif _are_names(first) and _are_names(second) and set(first.band_names or ()) == set(second.band_names or ()):
        assert first.band_names is not None  # both have names
        assert second.band_names is not None
        by = "name"
        pairs = [(index, second.band_names.index(name)) for index, name in enumerate(first.band_names)]
    else:
        return *every, []
    if not pairs:
        known = [one.wavelengths for one in (first, second) if one.wavelengths is not None]
        ranges = [f"{np.nanmin(one):.6g} to {np.nanmax(one):.6g} nm" for one in known]
        raise InputError(f"{names[0]} and {names[1]} have no band in common: {ranges[0]} and {ranges[1]}")
    keep, order = (np.array(column, np.intp) for column in zip(*pairs, strict=True))
    notes = []
    if (np.diff(order) < 0).any():
        notes.append(f"the bands of {names[1]} were put in the order of {names[0]} by {by}")
    for name, header, used in ((names[0], first, keep), (names[1], second, order)):
        missing = np.setdiff1d(np.arange(header.bands), used)
        if missing.size:
            notes.append(f"bands that only {name} has were left out: {_listed(header, missing)}")
    return keep, order, notes


def _same_wavelengths(first: CubeHeader, second: CubeHeader) -> list[tuple[int, int]]:
    """Return pairs of bands (first, second) of one wavelength, each band at most once, in the order of ``first``."""
    one, other = first.wavelengths, second.wavelengths
    assert one is not None  # asked before
    assert other is not None
    if one.shape == other.shape and np.array_equal(np.isnan(one), np.isnan(other)):
        known = ~np.isnan(one)
        # In one order, as in nearly all pairs: bands without a wavelength are the same by their position.
        if (np.abs(one - other)[known] <= min(_tolerance(one), _tolerance(other))).all():
            return [(index, index) for index in range(one.size)]
    far = np.abs(one[:, None] - other[None])
    named = first.band_names is not None and second.band_names is not None
    candidates = [
        (far[a, b], named and first.band_names[a] != second.band_names[b], abs(a - b), a, b)  # type: ignore[index]
        for a, b in np.argwhere(far <= min(_tolerance(one), _tolerance(other))).tolist()
    ]
    used: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for *_, a, b in sorted(candidates):
        if a not in used[0] and b not in used[1]:
            used[0].add(a)
            used[1].add(b)
            pairs.append((a, b))
    return sorted(pairs)


def _tolerance(wavelengths: NDArray[np.float64]) -> float:
    known = np.sort(wavelengths[np.isfinite(wavelengths)])
    steps = np.diff(known)[np.diff(known) > 0]
    return max(_SAME_BAND_NM, _SAME_BAND_FRACTION * float(np.median(steps))) if steps.size else _SAME_BAND_NM


def _are_names(header: CubeHeader) -> bool:
    return header.band_names is not None and len(set(header.band_names)) == header.bands


def _refuse_other_scale(first: Cube, second: Cube, names: tuple[str, str]) -> None:
    """Refuse values of which one image holds a multiple of the other's, as reflectance next to its 10000-fold."""
    step = max(1, first.data.size // _SAMPLES)
    a, b = (cube.data.ravel()[::step].astype(np.float64) for cube in (first, second))
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    a_norm, b_norm = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not (a_norm and b_norm) or float(a @ b) < _LEAST_COSINE * a_norm * b_norm:
        return
    gain = b_norm / a_norm
    if 1 / _UNIT_FACTOR <= gain <= _UNIT_FACTOR:
        return
    units = [cube.units for cube in (first, second)]
    stated = f" (units {units[0] or 'not stated'} and {units[1] or 'not stated'})" if any(units) else ""
    power = 10.0 ** round(math.log10(gain))
    gain = power if abs(gain / power - 1) < 0.2 else gain
    larger, factor = (names[1], 1 / gain) if gain > 1 else (names[0], gain)
    raise InputError(
        f"the values of {names[1]} are {gain:.6g} times those of {names[0]}{stated}; read {larger} with "
        f"scale={factor:.4g}"
    )


def _size(header: CubeHeader) -> str:
    return f"{header.rows} rows, {header.cols} columns, {header.bands} bands"


def _pixel(header: CubeHeader) -> str:
    assert header.resolution is not None  # asked before
    y, x = (f"{size:.9g}" for size in header.resolution)
    return y if y == x else f"{y} x {x}"


def _apart(first: CubeHeader, there: Window, names: tuple[str, str]) -> str:
    y, x = first.resolution or (1.0, 1.0)
    return (
        f"it starts {there.row} rows and {there.col} columns from the first pixel of {names[0]} "
        f"({there.row * y:.6g} and {there.col * x:.6g} in units of its coordinates)"
    )


def _listed(header: CubeHeader, bands: NDArray[np.intp]) -> str:
    known = header.wavelengths
    texts = [
        f"{known[band]:.6g} nm" if known is not None and math.isfinite(known[band]) else f"band {band + 1}"
        for band in bands
    ]
    return ", ".join(texts if len(texts) <= 4 else [*texts[:2], f"and {len(texts) - 2} more"])


def _short(crs: str) -> str:
    from hyperfuse.cube.crs import crs_text, parse_crs

    text = crs_text(parse_crs(crs)) or crs
    return text if len(text) <= 60 else f"{text[:60]}…"
