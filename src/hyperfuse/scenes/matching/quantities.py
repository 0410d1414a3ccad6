"""What two images are of, and in which unit: reflectance, radiance; values that are scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError

Two = tuple[float, float]

# Values whose 99th percentiles differ by more than this factor are not in one unit.
_UNIT_FACTOR = 100.0
# Values whose squares, and the quotients of these, are far from the ends of float32.
_USUAL = (1e-12, 1e12)


def quantity_note(hsi: CubeHeader, msi: CubeHeader) -> str:
    """Return a sentence where two products hold different quantities, empty where that is not known."""
    first, second = _quantity(hsi), _quantity(msi)
    if first is None or second is None or first == second:
        return ""
    return (
        f"the HSI is {first}, the MSI {second}: the result is {first}, and what the atmosphere adds to one of them is"
        " not modelled"
    )


def positions_lost(hsi: CubeHeader) -> tuple[str, ...]:
    """Return a note where an HSI of sensor geometry is a cube on a grid that no longer states where it was measured."""
    far = [float(step["residual_rms_m"]) for step in hsi.history if "residual_rms_m" in step]
    if not far or not far[0] > 0:
        return ()
    return (
        f"the HSI was put on a grid, and its cube no longer states where in its pixels the samples lie ({far[0]:.3g} m"
        " root mean square from the centres): pass the file of the product, not a cube that was read from it",
    )


def _quantity(header: CubeHeader) -> str | None:
    """Return what the product of an image holds; None of an image that is no product."""
    stated = header.attributes.get("quantity")
    if stated is not None:
        return stated.removeprefix("toa ")
    read = header.history[0] if header.history else {}
    if "product" not in read:
        return None
    return "surface reflectance" if header.coding.units == "reflectance" else "radiance"


def refuse_other_units(hsi: Sequence[Cube], msi: Sequence[Cube]) -> None:
    """Refuse two images in other units; see :func:`largest_values`.

    Raises:
        InputError: one is scaled and the other is not.
    """
    upper = largest_values(hsi, msi)
    if in_other_units(upper):
        raise InputError(
            f"HSI values reach {upper[0]:.4g} and MSI values {upper[1]:.4g}: one is scaled (reflectance x 10000?);"
            " pass scale=..."
        )


def binary_exponent(largest: float) -> int:
    """Return by which power of 2 values are divided so that their squares stay within float32; 0 of usual ones."""
    return 0 if largest == 0 or _USUAL[0] < largest < _USUAL[1] else math.frexp(largest)[1]


def in_other_units(largest: Two) -> bool:
    """Return whether the largest values of two images differ by orders of magnitude, so that one is scaled."""
    low, high = sorted(largest)
    return low > 0 and high / low > _UNIT_FACTOR


def largest_values(hsi: Sequence[Cube], msi: Sequence[Cube]) -> Two:
    """Return the 99th percentiles of the absolute values of two images, 0 of one without values.

    Args:
        hsi: parts of the LR-HSI.
        msi: parts of the HR-MSI.
    """
    upper = []
    for parts in (hsi, msi):
        values = np.concatenate([_absolute_values(cube, 65536 // len(parts)) for cube in parts])
        upper.append(float(np.quantile(values, 0.99)) if values.size else 0.0)
    return upper[0], upper[1]


def _absolute_values(cube: Cube, pixels: int) -> NDArray[Any]:
    """Return the absolute values of about this many pixels of a cube."""
    step = max(1, int(math.sqrt(cube.rows * cube.cols / max(pixels, 1))))
    values = np.abs(cube.data[cube.usable_bands, ::step, ::step])
    return np.asarray(values[np.isfinite(values)])
