"""Pictures of parts of the plane: an image in its bands, its angle to a spectrum, its error against the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.display import encode_png
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.viewer.colours import Scale, colour
from hyperfuse.viewer.image import Bands
from hyperfuse.viewer.pyramid import Floats
from hyperfuse.viewer.scene import Viewed, ViewedScene

Kind = Literal["bands", "angle", "error", "error-angle"]
SIDE = 256
# Pixels of the plane per pixel of the screen are 2**-zoom.
ZOOMS = range(-16, 7)
# Pixels of a level that a tile is made of at most: one of another orientation needs more than as many as it has.
_MOST_PIXELS = 16 * SIDE * SIDE


@dataclass(frozen=True)
class Tile:
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


def render(scene: ViewedScene, number: int, tile: Tile, look: Look) -> tuple[bytes, bool]:
    """Return a tile of an image as a PNG, transparent where there is nothing, and whether all of it is known.

    Raises:
        InputError: bands that differ from the reference's, or damaged data.
    """
    values, whole = values_of(scene, number, tile, look)
    return encode_png(colour(values, np.array(look.limits), look.scale), 1), whole


def values_of(scene: ViewedScene, number: int, tile: Tile, look: Look) -> tuple[Floats, bool]:
    """Return what a tile of an image shows, (channels, 256, 256), NaN where there is nothing, and if all is known.

    Raises:
        InputError: as :func:`render`.
    """
    image = scene.images[number]
    if look.kind == "bands":
        return sample(scene, number, tile, look.bands)
    if look.kind == "angle":
        bands = usable_with(image, look.spectrum)
        values, whole = sample(scene, number, tile, bands)
        spectrum = np.array(look.spectrum, np.float32)[list(bands)]
        return angles(values, spectrum[:, None, None])[None], whole
    return _error(scene, number, tile, look.kind)


def sample(scene: ViewedScene, number: int, tile: Tile, bands: Bands) -> tuple[Floats, bool]:
    """Return the values at the centres of a tile's pixels, (bands, 256, 256), NaN outside, and if all are known.

    Of the level of which a pixel is as large as one of the screen, or half; of that, the nearest pixel.
    """
    image = scene.images[number]
    values = np.full((len(bands), SIDE, SIDE), np.nan, np.float32)
    x, y = image.placement.grid(*tile.centres())
    header = image.header
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < header.cols) & (y >= 0) & (y < header.rows)
    if not inside.any():
        return values, True
    level = _level(x, y)
    pyramid = image.levels.pyramid
    if pyramid is not None and not image.levels.is_direct(bands, level):
        level = min(level, pyramid.last)
    col, row = (np.floor(one[inside]).astype(np.int64) >> level for one in (x, y))
    top, left = int(row.min()), int(col.min())
    window = Window(top, left, int(row.max()) - top + 1, int(col.max()) - left + 1)
    if window.rows * window.cols > _MOST_PIXELS:
        raise InputError(f"a tile needs {window.rows} x {window.cols} pixels of {image.name}; zoom in")
    found, whole = image.levels.read(bands, level, window)
    if not whole:
        scene.builder.want(number, bands)
    values[:, inside] = found[:, row - top, col - left]
    return values, whole


def _level(x: NDArray[np.float64], y: NDArray[np.float64]) -> int:
    """Return the level of which a pixel is as large as one of the screen, or smaller, by positions in the image."""
    middle = SIDE // 2
    along = [math.hypot(x[to] - x[at], y[to] - y[at]) for at, to in (
        ((middle, middle), (middle, middle + 1)), ((middle, middle), (middle + 1, middle))
    )]  # fmt: skip
    size = min((one for one in along if math.isfinite(one) and one > 0), default=1.0)
    return int(np.clip(math.floor(math.log2(size) + 1e-6), 0, 20))


def angles(values: Floats, others: NDArray[np.floating]) -> Floats:
    """Return the spectral angles in degrees of spectra along the first axis; NaN with a gap or without a direction.

    Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of Environment 44, 1993.
    """
    dot = (values * others).sum(axis=0, dtype=np.float64)
    norm = np.sqrt((values.astype(np.float64) ** 2).sum(axis=0) * (others.astype(np.float64) ** 2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.degrees(np.arccos(np.clip(dot / norm, -1, 1)))
    return np.asarray(found, np.float32)


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


def _error(scene: ViewedScene, number: int, tile: Tile, kind: str) -> tuple[Floats, bool]:
    if scene.reference is None:
        raise InputError("no image is named as the reference (reference=...)")
    image, reference = scene.images[number], scene.images[scene.reference]
    bands = compared_bands(image, reference)
    values, whole = sample(scene, number, tile, bands)
    truth, known = sample(scene, scene.reference, tile, bands)
    if kind == "error-angle":
        return angles(values, truth)[None], whole and known
    error = np.sqrt(np.mean((values - truth) ** 2, axis=0, keepdims=True, dtype=np.float64))
    return np.asarray(error, np.float32), whole and known
