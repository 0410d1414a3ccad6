"""Which bands of a cube are shown as red, green and blue, and how their values become colours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube

Rgb = tuple[int, int, int]

_TRUE_COLOUR_NM = (650.0, 550.0, 460.0)
_INFRARED_NM = (850.0, 650.0, 550.0)
_TOLERANCE_NM = 40.0
_GAP_COLOUR = 0.85
_PERCENTILES = (1.0, 99.0)


class Display(NamedTuple):
    """Bands for red, green and blue (indices from 0; one band thrice is grey), their centres in nm, and a name."""

    bands: Rgb
    wavelengths: tuple[float, float, float] | None
    name: str


def choose_display(cube: Cube) -> Display:
    """Choose the bands that show a cube best.

    True colour (650, 550, 460 nm) where usable bands lie within 40 nm of it, else colour infrared (850, 650, 550 nm),
    else three bands spread over the range, else one band as grey. Bands without wavelengths are spread by index.

    Example:
        >>> cube = Cube(data=np.zeros((4, 2, 2)), wavelengths=[460, 550, 650, 850])
        >>> choose_display(cube).bands
        (2, 1, 0)
    """
    usable = np.flatnonzero(cube.usable_bands)
    if usable.size == 0:
        usable = np.arange(cube.bands)
    centres = None if cube.wavelengths is None else cube.wavelengths[usable]
    if centres is not None and np.isfinite(centres).all():
        for targets, name in ((_TRUE_COLOUR_NM, "true colour"), (_INFRARED_NM, "false colour (infrared)")):
            bands = _nearest(centres, targets)
            if np.abs(centres[list(bands)] - targets).max() <= _TOLERANCE_NM and len(set(bands)) == 3:
                return _display(cube, usable[list(bands)], name)
        usable = usable[np.argsort(centres)]
    if usable.size < 3:
        return _display(cube, usable[[0, 0, 0]], "grey")
    spread = usable[np.round(np.array([5, 3, 1]) / 6 * (usable.size - 1)).astype(int)]
    return _display(cube, spread, "false colour")


def match_display(cube: Cube, display: Display) -> Display:
    """Choose the bands of another cube, such as the MSI, that lie nearest to those of ``display``."""
    if display.wavelengths is None or cube.wavelengths is None or not np.isfinite(cube.wavelengths).all():
        return choose_display(cube)
    usable = np.flatnonzero(cube.usable_bands)
    return _display(cube, usable[_nearest(cube.wavelengths[usable], display.wavelengths)], display.name)


def stretch_limits(cube: Cube, display: Display) -> NDArray[np.float64]:
    """Return the values shown as black and as full red, green and blue, shape (3, 2): percentiles 1 and 99."""
    limits = np.zeros((3, 2))
    for channel, band in enumerate(display.bands):
        values = cube.data[band][np.isfinite(cube.data[band])]
        low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
        limits[channel] = low, high if high > low else low + 1.0
    return limits


def render_rgb(cube: Cube, display: Display, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image (rows, cols, 3) in [0, 1]; gaps are light grey.

    Args:
        cube: what is shown.
        display: its bands.
        limits: see :func:`stretch_limits`.
    """
    channels = cube.data[list(display.bands)].astype(np.float64)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    scaled = np.clip((channels - low) / (high - low), 0, 1)
    gaps = ~np.isfinite(channels).all(axis=0)
    scaled[:, gaps] = _GAP_COLOUR
    return np.moveaxis(scaled, 0, -1)


def _nearest(centres: NDArray[np.float64], targets: tuple[float, ...]) -> list[int]:
    return [int(np.argmin(np.abs(centres - target))) for target in targets]


def _display(cube: Cube, bands: NDArray[Any], name: str) -> Display:
    red, green, blue = (int(band) for band in bands)
    centres: tuple[float, float, float] | None = None
    if cube.wavelengths is not None and np.isfinite(cube.wavelengths[[red, green, blue]]).all():
        centres = (float(cube.wavelengths[red]), float(cube.wavelengths[green]), float(cube.wavelengths[blue]))
    return Display((red, green, blue), centres, name)
