"""Pixels at the end of a sensor's range: what was there was brighter than the value says, and the user is told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube

# A band is taken to be saturated where so many pixels share its highest value exactly, and so many times more than
# share the next one: measured values pile up only at the end of a range.
_LEAST_PIXELS = 8
_LEAST_SHARE = 1e-4
_PILE = 5.0


def saturated(cube: Cube) -> NDArray[np.bool_]:
    """Return the pixels (rows, cols) where any usable band of a cube is at the end of its range."""
    found = np.zeros((cube.rows, cube.cols), dtype=bool)
    everywhere = np.ones_like(found)
    for index in np.flatnonzero(cube.usable_bands):
        band = cube.data[index]
        here = everywhere if cube.valid is None else cube.valid[index]
        values = band[here]
        if values.size == 0:
            continue
        top = values.max()
        count = int((values == top).sum())
        if count < max(_LEAST_PIXELS, _LEAST_SHARE * values.size) or count == values.size:
            continue
        below = values[values < top]
        if count >= _PILE * int((below == below.max()).sum()):
            found |= here & (band == top)
    return found


def saturation_note(name: str, cube: Cube) -> str:
    """Return a sentence about the saturated pixels of a cube, empty where there are none.

    Args:
        name: what the cube is called, such as ``MSI``.
        cube: with gaps marked.
    """
    share = float(saturated(cube).mean())
    if share == 0:
        return ""
    told = f"{share:.1%}" if share >= 0.001 else "less than 0.1 %"
    return f"{told} of the {name}'s pixels are saturated in some band: what is fused there is too dark or off in colour"
