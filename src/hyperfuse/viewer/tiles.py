"""Pictures of parts of the plane: an image in its bands, its angle to a spectrum, its error against the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.display import encode_png
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.viewer.colours import Scale, colour
from hyperfuse.viewer.image import Bands
from hyperfuse.viewer.pyramid import FIRST, Floats
from hyperfuse.viewer.scene import Viewed, ViewedScene

Kind = Literal["bands", "angle", "error", "error-angle"]
SIDE = 256
# Pixels of the plane per pixel of the screen are 2**-zoom.
ZOOMS = range(-16, 7)
# Pixels of a level that a tile is made of at most: one of another orientation needs more than as many as it has.
_MOST_PIXELS = 16 * SIDE * SIDE
# Values of an image that are held at once where a picture is made of all of its bands.
_MOST_HELD = 6_000_000


@dataclass(frozen=True)
class PlaneTile:
    """A square of the plane, of 256 x 256 pixels of the screen: at a zoom, from the corner of the plane on."""

    zoom: int
    col: int
    row: int

    def centres(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the columns and rows of the plane at which the centres of its pixels lie, from the corner."""
        size = 2.0**-self.zoom
        steps = np.arange(SIDE) + 0.5
        return (self.col * SIDE + steps) * size, (self.row * SIDE + steps) * size


@dataclass(frozen=True)
class Look:
    """How an image becomes a picture.

    Attributes:
        kind: bands (one in a scale of colours, or three), angle (to ``spectrum``, degrees), error or error-angle
            (against the reference: root mean square over the bands, or degrees).
        bands: one or three of the image.
        limits: of each channel, (low, high).
        scale: the colours of a single channel.
        spectrum: for the angle, of the bands of the image.
    """

    kind: Kind
    bands: Bands
    limits: tuple[tuple[float, float], ...]
    scale: Scale = "grey"
    spectrum: tuple[float, ...] = ()


def render(scene: ViewedScene, number: int, tile: PlaneTile, look: Look) -> tuple[bytes, bool]:
    """Return a tile of an image as a PNG, transparent where there is nothing, and whether all of it is known.

    Raises:
        InputError: bands that differ from the reference's, or damaged data.
    """
    values, whole = values_of(scene, number, tile, look)
    return encode_png(colour(values, np.array(look.limits), look.scale), 1), whole


def values_of(scene: ViewedScene, number: int, tile: PlaneTile, look: Look) -> tuple[Floats, bool]:
    """Return what a tile of an image shows, (channels, 256, 256), NaN where there is nothing, and if all is known.

    Raises:
        InputError: as :func:`render`.
    """
    if look.kind == "bands":
        return _shown_bands(scene, number, tile, look.bands)
    if look.kind == "angle":
        return _angle_to(scene, number, tile, look.spectrum)
    return _error(scene, number, tile, look.kind)


class Reach(NamedTuple):
    """Which pixels of an image are in a tile: of the level of which one is as large as one of the screen, or half.

    Attributes:
        inside: pixels of the tile that lie in the image, (256, 256).
        rows, cols: of the window, the nearest pixel to each of them.
        level: of the image.
        window: of the level.
    """

    inside: NDArray[np.bool_]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    level: int
    window: Window

    def spread(self, values: Floats) -> Floats:
        """Return values of the window, (channels, rows, cols), on the tile, NaN outside."""
        found = np.full((len(values), SIDE, SIDE), np.nan, np.float32)
        found[:, self.inside] = values[:, self.rows, self.cols]
        return found


def reach_of(image: Viewed, tile: PlaneTile, bands: Bands) -> Reach | None:
    """Return which pixels of an image are in a tile; None where none are.

    Raises:
        InputError: far more pixels than the tile has.
    """
    x, y = image.placement.grid(*tile.centres())
    header = image.header
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < header.cols) & (y >= 0) & (y < header.rows)
    if not inside.any():
        return None
    level = _level(x, y)
    pyramid = image.levels.pyramid
    if pyramid is not None and not image.levels.is_direct(bands, level):
        level = min(level, pyramid.last)
    col, row = (np.floor(one[inside]).astype(np.int64) >> level for one in (x, y))
    top, left = int(row.min()), int(col.min())
    window = Window(top, left, int(row.max()) - top + 1, int(col.max()) - left + 1)
    if window.rows * window.cols > _MOST_PIXELS:
        raise InputError(f"a tile needs {window.rows} x {window.cols} pixels of {image.name}; zoom in")
    return Reach(inside, row - top, col - left, level, window)


def _read(scene: ViewedScene, number: int, reach: Reach, bands: Bands) -> tuple[Floats, bool]:
    """Return the window of some bands, and if all of it is known; what is not is built then."""
    found, whole = scene.images[number].levels.read(bands, reach.level, reach.window)
    if not whole:
        scene.builder.want(number, bands)
    elif reach.level >= FIRST:
        scene.builder.wish(number, bands)
    return found, whole


def _shown_bands(scene: ViewedScene, number: int, tile: PlaneTile, bands: Bands) -> tuple[Floats, bool]:
    reach = reach_of(scene.images[number], tile, bands)
    if reach is None:
        return np.full((len(bands), SIDE, SIDE), np.nan, np.float32), True
    found, whole = _read(scene, number, reach, bands)
    return reach.spread(found), whole


def _angle_to(scene: ViewedScene, number: int, tile: PlaneTile, spectrum: Sequence[float]) -> tuple[Floats, bool]:
    bands = usable_with(scene.images[number], spectrum)
    reach, all_known = reach_of(scene.images[number], tile, bands), True
    if reach is None:
        return np.full((1, SIDE, SIDE), np.nan, np.float32), True
    angle = Angle()
    for part in _parts(bands, reach):
        found, known = _read(scene, number, reach, part)
        all_known &= known
        angle.add(found, [spectrum[band] for band in part])
    return reach.spread(angle.degrees()[None]), all_known


def _error(scene: ViewedScene, number: int, tile: PlaneTile, kind: Kind) -> tuple[Floats, bool]:
    if scene.reference is None:
        raise InputError("no image is named as the reference (reference=...)")
    image, reference = scene.images[number], scene.images[scene.reference]
    bands = compared_bands(image, reference)
    own, other, all_known = reach_of(image, tile, bands), reach_of(reference, tile, bands), True
    if own is None or other is None:
        return np.full((1, SIDE, SIDE), np.nan, np.float32), True
    angle, squares = Angle(), np.zeros((SIDE, SIDE))
    for part in _parts(bands, own, other):
        (values, known), (truth, also) = _read(scene, number, own, part), _read(scene, scene.reference, other, part)
        all_known &= known and also
        values, truth = own.spread(values), other.spread(truth)
        if kind == "error-angle":
            angle.add(values, truth)
        else:
            squares += ((values - truth) ** 2).sum(axis=0, dtype=np.float64)
    found = angle.degrees() if kind == "error-angle" else np.sqrt(squares / len(bands)).astype(np.float32)
    return found[None], all_known


def _parts(bands: Bands, *reaches: Reach) -> list[Bands]:
    """Return bands in parts that are held at once."""
    pixels = max(SIDE * SIDE, *(one.window.rows * one.window.cols for one in reaches))
    count = max(1, _MOST_HELD // pixels)
    return [bands[at : at + count] for at in range(0, len(bands), count)]


class Angle:
    """The angles between spectra of which bands are added in parts.

    Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of Environment 44, 1993.
    """

    def __init__(self) -> None:
        self._dot: Any = 0.0
        self._squares: Any = 0.0
        self._others: Any = 0.0

    def add(self, values: Floats, others: Floats | Sequence[float]) -> None:
        """Add bands: (bands, rows, cols) of the one, the same or a value for each band of the other."""
        for line, other in zip(values.astype(np.float64), others, strict=True):
            second = np.asarray(other, np.float64)
            self._dot = self._dot + line * second
            self._squares = self._squares + line**2
            self._others = self._others + second**2

    def degrees(self) -> Floats:
        """Return the angles, NaN with a gap in a band or without a direction."""
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.clip(self._dot / np.sqrt(self._squares * self._others), -1, 1)
            return np.asarray(np.degrees(np.arccos(cosine)), np.float32)


def _level(x: NDArray[np.float64], y: NDArray[np.float64]) -> int:
    """Return the level of which a pixel is as large as one of the screen, or smaller, by positions in the image."""
    centre = SIDE // 2
    along = [math.hypot(x[to] - x[at], y[to] - y[at]) for at, to in (
        ((centre, centre), (centre, centre + 1)), ((centre, centre), (centre + 1, centre))
    )]  # fmt: skip
    size = min((one for one in along if math.isfinite(one) and one > 0), default=1.0)
    return int(np.clip(math.floor(math.log2(size) + 1e-6), 0, 20))


def usable_with(image: Viewed, spectrum: Sequence[float]) -> Bands:
    """Return the bands of an image that are not bad and of which a spectrum holds a value.

    Raises:
        InputError: fewer than two.
    """
    if len(spectrum) != image.header.bands:
        raise InputError(f"{len(spectrum)} values of a spectrum for {image.header.bands} bands")
    bands = tuple(band for band in image.usable_bands if math.isfinite(spectrum[band]))
    if len(bands) < 2:
        raise InputError("an angle needs two bands that are neither bad nor gaps at the pin")
    return bands


def compared_bands(image: Viewed, reference: Viewed) -> Bands:
    """Return the bands that are bad neither in an image nor in the reference.

    Raises:
        InputError: other bands than the reference's, or none.
    """
    one, other = image.header, reference.header
    same = one.bands == other.bands
    if same and one.wavelengths is not None and other.wavelengths is not None:
        same = bool(np.allclose(one.wavelengths, other.wavelengths, rtol=1e-3, equal_nan=True))
    if not same:
        raise InputError(
            f"{image.name} has other bands than the reference {reference.name}; errors need the same bands"
        )
    bands = tuple(band for band in image.usable_bands if band in set(reference.usable_bands))
    if not bands:
        raise InputError(f"every band of {image.name} or of the reference is marked as bad")
    return bands
