"""Values at the ends of a range, which notes report: saturated pixels, and negative ones where a method has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube

# A band is saturated where at least this many pixels, and this fraction of them, have exactly its maximum, and this
# factor more than have the next value: measured values accumulate only at the end of a range.
_MIN_PIXELS = 8
_MIN_FRACTION = 1e-4
_FACTOR = 5.0


def saturated(parts: Sequence[Cube]) -> list[NDArray[np.bool_]]:
    """Return the pixels, bool (rows, cols) per part, at which any usable band is at the end of its range.

    Args:
        parts: of one image, gaps marked; a cube that is the whole image is its one part.
    """
    found = [np.zeros((part.rows, part.cols), np.bool_) for part in parts]
    usable = [part.usable_bands for part in parts]
    for band in np.flatnonzero(np.any(usable, axis=0)):
        images = [np.where(_valid(part, band), part.data[band], np.nan) for part in parts]
        top = _maximum(images)
        if top is None:
            continue
        at_top = [image == top for image in images]
        count, size = sum(int(one.sum()) for one in at_top), sum(int(np.isfinite(image).sum()) for image in images)
        if count < max(_MIN_PIXELS, _MIN_FRACTION * size) or count == size:
            continue
        below = _maximum([np.where(image < top, image, np.nan) for image in images])
        if count >= _FACTOR * sum(int((image == below).sum()) for image in images):
            found = [one | here for one, here in zip(found, at_top, strict=True)]
    return found


def saturation_note(name: str, parts: Sequence[Cube]) -> str:
    """Return a sentence about the saturated pixels of an image, empty where there are none.

    Args:
        name: what the image is called, such as ``MSI``.
        parts: of the image, gaps marked.
    """
    fraction = float(np.mean(np.concatenate([one.ravel() for one in saturated(parts)])))
    if fraction == 0:
        return ""
    text = f"{fraction:.1%}" if fraction >= 0.001 else "less than 0.1 %"
    return f"{text} of the {name}'s pixels are saturated in some band: the result there is too dark or off in colour"


def negative_note(name: str, parts: Sequence[Cube], method: str) -> str:
    """Return a sentence about the negative values of an image for a method that reads them as 0; empty without any."""
    values = [part.data[part.usable_bands] for part in parts]
    fraction = sum(int((one < 0).sum()) for one in values) / max(1, sum(int(np.isfinite(one).sum()) for one in values))
    if fraction == 0:
        return ""
    text = f"{fraction:.1%}" if fraction >= 0.001 else "less than 0.1 %"
    return f"{text} of the {name}'s values are negative, and {method} reads them as 0"


def _valid(part: Cube, band: np.intp) -> NDArray[np.bool_]:
    return np.ones((part.rows, part.cols), np.bool_) if part.valid is None else part.valid[band]


def _maximum(images: Sequence[NDArray[np.floating]]) -> float | None:
    """Return the largest finite value; None where there is none."""
    tops = [float(image[np.isfinite(image)].max()) for image in images if np.isfinite(image).any()]
    return max(tops) if tops else None
