"""Responses that a product states as sampled curves: their width, and their text as an attribute of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The attribute's name; "B02:439,1:0.01 0.2 1 ...;B03:...": first wavelength and step in nm, then the samples.
RESPONSES = "responses"
_DIGITS = 4


@dataclass(frozen=True)
class SampledResponse:
    """A response at ``start``, ``start + step``, ... nm."""

    start: float
    step: float
    values: tuple[float, ...]


def responses_text(responses: Mapping[str, SampledResponse]) -> str | None:
    """Return responses by band as the text of the attribute; None of none.

    Example:
        >>> responses_text({"B02": SampledResponse(440, 1, (0.0, 1.0, 0.5))})
        'B02:440,1:0 1 0.5'
    """
    parts = [
        f"{band}:{curve.start:g},{curve.step:g}:{' '.join(f'{value:.{_DIGITS}g}' for value in curve.values)}"
        for band, curve in responses.items()
    ]
    return ";".join(parts) or None


def parse_responses(text: str) -> dict[str, SampledResponse]:
    """Return the responses by band that a text states; none of one that is damaged.

    Example:
        >>> parse_responses("B02:440,1:0 1 0.5")["B02"].values
        (0.0, 1.0, 0.5)
    """
    found: dict[str, SampledResponse] = {}
    try:
        for part in text.split(";"):
            band, axis, values = part.split(":")
            start, step = (float(number) for number in axis.split(","))
            found[band] = SampledResponse(start, step, tuple(float(value) for value in values.split()))
    except ValueError:
        return {}
    numbers = [number for one in found.values() for number in (one.start, one.step, *one.values)]
    sound = all(math.isfinite(number) for number in numbers) and all(one.step > 0 for one in found.values())
    return found if sound else {}


def full_width(values: NDArray[np.float64], step: float) -> float:
    """Return the distance between the outermost crossings of half the maximum of a sampled curve.

    Args:
        values: samples, not below 0, shape (n,); beyond its ends the curve is 0.
        step: distance of the samples.

    Example:
        >>> full_width(np.array([0.0, 0.5, 1.0, 1.0, 0.5, 0.0]), 2.0)
        6.0
    """
    curve = np.concatenate([[0.0], values, [0.0]])
    half = curve.max() / 2
    above = np.flatnonzero(curve >= half)
    if half <= 0:
        return float("nan")
    first, last = int(above[0]), int(above[-1])
    start = first - (curve[first] - half) / (curve[first] - curve[first - 1])
    stop = last + (curve[last] - half) / (curve[last] - curve[last + 1])
    return float((stop - start) * step)
