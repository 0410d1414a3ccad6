"""Which bands of a cube are shown as red, green and blue, and how their values become colours."""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Names, and nm for red, green and blue.
TRUE_COLOUR = "true colour", (650.0, 550.0, 460.0)
# nm of the bands that a file states to be red, green and blue.
_STATED_NM = (650.0, 560.0, 470.0)
INFRARED = "false colour (infrared)", (850.0, 650.0, 550.0)
SHORTWAVE_INFRARED = "false colour (shortwave infrared)", (2200.0, 1640.0, 850.0)
# Of bands that state no colour.
NOT_STATED = "colours not stated"
_COLOURS = ("red", "green", "blue")
_TOLERANCE_NM = 40.0
_GAP_COLOUR = 0.85
_PERCENTILES = (1.0, 99.0)


class Shown(Protocol):
    """What is shown of a cube."""

    @property
    def data(self) -> NDArray[Any]:
        """Values, (bands, rows, cols), NaN in gaps."""

    @property
    def wavelengths(self) -> NDArray[np.float64] | None:
        """Centres of the bands in nm."""

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Names of the bands."""

    @property
    def usable_bands(self) -> NDArray[np.bool_]:
        """Bands that are neither bad nor empty, (bands,)."""


class Display(NamedTuple):
    """Bands for red, green and blue (indices from 0; one band thrice is grey), their centres in nm, and a name."""

    bands: tuple[int, int, int]
    wavelengths: tuple[float, ...] | None
    name: str

    @property
    def label(self) -> str:
        """Its name, with the centres of its bands where they are known."""
        known = [f"{value:.0f}" for value in self.wavelengths or ()]
        return f"{self.name} ({', '.join(known)} nm)" if known else self.name


def choose_display(cube: Shown) -> Display:
    """Choose the bands that show a cube best.

    True colour (650, 550, 460 nm) where usable bands lie within 40 nm of it, else colour infrared (850, 650, 550 nm),
    else three bands spread over the range, else one band as grey. Without wavelengths the bands named red, green and
    blue are shown, as files name bands by their colour interpretation; without these, three bands are shown in their
    order, more are spread by index, and the name says that the colours are not stated.

    Example:
        >>> from hyperfuse.cube.cube import Cube
        >>> cube = Cube(data=np.zeros((4, 2, 2)), wavelengths=[460, 550, 650, 850])
        >>> choose_display(cube).bands
        (2, 1, 0)
    """
    for name, targets in (TRUE_COLOUR, INFRARED):
        found = find_display(cube, name, targets)
        if found is not None:
            return found
    usable, centres = _usable(cube)
    if usable.size < 3:
        return _display(cube, usable[[0, 0, 0]], "grey")
    if centres is None:
        named = _named_colours(cube)
        if named is not None:
            return _display(cube, named, TRUE_COLOUR[0])
        if usable.size == 3:
            return _display(cube, usable, NOT_STATED)
    else:
        usable = usable[np.argsort(centres)]
    spread = usable[np.round(np.array([5, 3, 1]) / 6 * (usable.size - 1)).astype(int)]
    return _display(cube, spread, "false colour" if centres is not None else NOT_STATED)


def find_display(cube: Shown, name: str, targets: tuple[float, float, float]) -> Display | None:
    """Return the usable bands nearest to three wavelengths in nm; None without three distinct ones within 40 nm."""
    usable, centres = _usable(cube)
    if centres is None:
        return None
    nearest = _nearest_three(centres, targets)
    return None if nearest is None else _display(cube, usable[nearest], name)


def colour_bands(
    wavelengths: NDArray[np.float64] | None, good_bands: NDArray[np.bool_] | None = None
) -> tuple[int, int, int] | None:
    """Return the bands (indices from 0) that a file states to be red, green and blue: nearest to 650, 560 and 470 nm.

    Args:
        wavelengths: centres of the bands in nm, NaN where unknown; None where they all are.
        good_bands: others are not chosen; None for all.

    Returns:
        Three distinct bands within 40 nm, or None where there are no such.

    Example:
        >>> colour_bands(np.array([450.0, 480, 550, 660, 860]))
        (3, 2, 1)
    """
    if wavelengths is None:
        return None
    chosen = np.flatnonzero(np.isfinite(wavelengths) & (True if good_bands is None else good_bands))
    nearest = _nearest_three(wavelengths[chosen], _STATED_NM)
    return None if nearest is None else tuple(chosen[nearest].tolist())


def match_display(
    cube: Shown, display: Display, positions: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
) -> Display:
    """Choose the bands of another cube, such as the MSI, that lie nearest to those of ``display``.

    Args:
        cube: the other one.
        display: of the first.
        positions: of the bands of the first cube and of the other along one axis, such as that of responses, where
            they are known otherwise than by wavelengths.
    """
    if positions is not None and np.isfinite(positions[1][cube.usable_bands]).all():
        usable = np.flatnonzero(cube.usable_bands)
        targets = tuple(positions[0][list(display.bands)].tolist())
        return _display(cube, usable[_nearest(positions[1][usable], targets)], display.name)
    if display.wavelengths is None or cube.wavelengths is None or not np.isfinite(cube.wavelengths).all():
        return choose_display(cube)
    usable = np.flatnonzero(cube.usable_bands)
    return _display(cube, usable[_nearest(cube.wavelengths[usable], display.wavelengths)], display.name)


def stretch_limits(cube: Shown, display: Display) -> NDArray[np.float64]:
    """Return the values shown as black and as full red, green and blue, shape (3, 2): percentiles 1 and 99."""
    limits = np.zeros((3, 2))
    for channel, band in enumerate(display.bands):
        values = cube.data[band][np.isfinite(cube.data[band])]
        low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
        limits[channel] = low, high if high > low else low + 1.0
    return limits


def render_rgb(cube: Shown, display: Display, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a cube as an image (rows, cols, 3) in [0, 1] by :func:`stretch_limits`; gaps are light grey."""
    channels = cube.data[list(display.bands)].astype(np.float64)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    scaled = np.clip((channels - low) / (high - low), 0, 1)
    gaps = ~np.isfinite(channels).all(axis=0)
    scaled[:, gaps] = _GAP_COLOUR
    return np.moveaxis(scaled, 0, -1)


def png(image: NDArray[np.float64]) -> bytes:
    """Return an image (rows, cols, 3) in [0, 1] as a PNG."""
    return encode_png(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))


def encode_png(pixels: NDArray[np.uint8], compression: int = -1) -> bytes:
    """Return an image of bytes, (rows, cols, 3), or (rows, cols, 4) with opacity, as a PNG.

    Args:
        pixels: the image.
        compression: 0 to 9, or -1 for zlib's default; 1 takes a fifth of its time.
    """
    rows, cols, channels = pixels.shape
    lines = np.zeros((rows, 1 + cols * channels), np.uint8)  # each after its filter: none
    lines[:, 1:] = pixels.reshape(rows, -1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", cols, rows, 8, 2 if channels == 3 else 6, 0, 0, 0)  # 8 bits, RGB or RGBA
    content = chunk(b"IDAT", zlib.compress(lines.tobytes(), compression))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + content + chunk(b"IEND", b"")


def _named_colours(cube: Shown) -> NDArray[np.intp] | None:
    """Return the bands named red, green and blue, of usable bands; None where one is missing or not the only one."""
    names = [name.strip().lower() for name in cube.band_names or ()]
    if any(names.count(colour) != 1 for colour in _COLOURS):
        return None
    bands = np.array([names.index(colour) for colour in _COLOURS], np.intp)
    return bands if cube.usable_bands[bands].all() else None


def _usable(cube: Shown) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Return the indices of the usable bands, of all where none is, and their centres in nm, where all are known."""
    usable = np.flatnonzero(cube.usable_bands if cube.usable_bands.any() else np.ones(len(cube.data)))
    known = cube.wavelengths is not None and bool(np.isfinite(cube.wavelengths[usable]).all())
    return usable, cube.wavelengths[usable] if cube.wavelengths is not None and known else None


def _nearest_three(centres: NDArray[np.float64], targets: tuple[float, float, float]) -> list[int] | None:
    """Return the centres nearest to three; None without three distinct ones within the tolerance."""
    nearest = _nearest(centres, targets) if centres.size else []
    if len(set(nearest)) < 3 or np.abs(centres[nearest] - targets).max() > _TOLERANCE_NM:
        return None
    return nearest


def _nearest(centres: NDArray[np.float64], targets: tuple[float, ...]) -> list[int]:
    return [int(np.argmin(np.abs(centres - target))) for target in targets]


def _display(cube: Shown, bands: NDArray[Any], name: str) -> Display:
    red, green, blue = bands.tolist()
    known = cube.wavelengths is not None and bool(np.isfinite(cube.wavelengths[bands]).all())
    centres = tuple(cube.wavelengths[bands].tolist()) if cube.wavelengths is not None and known else None
    return Display((red, green, blue), centres, name)
