"""Which bands of a cube are shown as red, green and blue, and how their values become colours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube

# Names, and nm for red, green and blue.
TRUE_COLOUR = "true colour", (650.0, 550.0, 460.0)
INFRARED = "false colour (infrared)", (850.0, 650.0, 550.0)
SHORTWAVE_INFRARED = "false colour (shortwave infrared)", (2200.0, 1640.0, 850.0)
_TOLERANCE_NM = 40.0
_GAP_COLOUR = 0.85
_PERCENTILES = (1.0, 99.0)


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


def choose_display(cube: Cube) -> Display:
    """Choose the bands that show a cube best.

    True colour (650, 550, 460 nm) where usable bands lie within 40 nm of it, else colour infrared (850, 650, 550 nm),
    else three bands spread over the range, else one band as grey. Bands without wavelengths are spread by index.

    Example:
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
    if centres is not None:
        usable = usable[np.argsort(centres)]
    spread = usable[np.round(np.array([5, 3, 1]) / 6 * (usable.size - 1)).astype(int)]
    return _display(cube, spread, "false colour")


def find_display(cube: Cube, name: str, targets: tuple[float, float, float]) -> Display | None:
    """Return the usable bands nearest to three wavelengths in nm; None without three distinct ones within 40 nm."""
    usable, centres = _usable(cube)
    if centres is None:
        return None
    nearest = _nearest(centres, targets)
    if len(set(nearest)) < 3 or np.abs(centres[nearest] - targets).max() > _TOLERANCE_NM:
        return None
    return _display(cube, usable[nearest], name)


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
    """Return a cube as an image (rows, cols, 3) in [0, 1] by :func:`stretch_limits`; gaps are light grey."""
    channels = cube.data[list(display.bands)].astype(np.float64)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    scaled = np.clip((channels - low) / (high - low), 0, 1)
    gaps = ~np.isfinite(channels).all(axis=0)
    scaled[:, gaps] = _GAP_COLOUR
    return np.moveaxis(scaled, 0, -1)


def _usable(cube: Cube) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Return the indices of the usable bands, of all where none is, and their centres in nm, where all are known."""
    usable = np.flatnonzero(cube.usable_bands if cube.usable_bands.any() else np.ones(cube.bands))
    known = cube.wavelengths is not None and bool(np.isfinite(cube.wavelengths[usable]).all())
    return usable, cube.wavelengths[usable] if cube.wavelengths is not None and known else None


def _nearest(centres: NDArray[np.float64], targets: tuple[float, ...]) -> list[int]:
    return [int(np.argmin(np.abs(centres - target))) for target in targets]


def _display(cube: Cube, bands: NDArray[Any], name: str) -> Display:
    red, green, blue = bands.tolist()
    known = cube.wavelengths is not None and bool(np.isfinite(cube.wavelengths[bands]).all())
    centres = tuple(cube.wavelengths[bands].tolist()) if cube.wavelengths is not None and known else None
    return Display((red, green, blue), centres, name)
