"""What a request asks for, checked: every value that a query holds may be anything."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import cast, get_args

from hyperfuse.errors import InputError
from hyperfuse.text import shortened
from hyperfuse.viewer.colours import Scale
from hyperfuse.viewer.image import Bands
from hyperfuse.viewer.scene import Viewed, ViewedScene
from hyperfuse.viewer.spectra import Point
from hyperfuse.viewer.tiles import SIDE, ZOOMS, Kind, PlaneTile

_WHOLE = re.compile(r"-?[0-9]{1,9}")
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_MOST_CORNERS = 500


class QueryError(InputError):
    """A request that the page never makes."""


def whole(query: Mapping[str, str], name: str) -> int:
    """Return a whole number."""
    text = query.get(name, "")
    if not _WHOLE.fullmatch(text):
        raise QueryError(f"{name} is not a whole number: {shortened(text)!r}")
    return int(text)


def numbers(query: Mapping[str, str], name: str) -> list[float]:
    """Return finite numbers with commas between them."""
    parts = query.get(name, "").split(",")
    found = [float(part) if _NUMBER.fullmatch(part) else math.nan for part in parts[: 2 * _MOST_CORNERS + 1]]
    if not all(map(math.isfinite, found)):
        raise QueryError(f"{name} is no list of numbers: {shortened(query.get(name, ''))!r}")
    return found


def image_number(query: Mapping[str, str], scene: ViewedScene) -> int:
    """Return the number of an image, from 0."""
    number = whole(query, "image")
    if not 0 <= number < len(scene.images):
        raise QueryError(f"there is no image {number}")
    return number


def bands_of(query: Mapping[str, str], image: Viewed) -> Bands:
    """Return one or three bands of an image, from 0."""
    bands = tuple(int(band) for band in numbers(query, "bands"))
    if len(bands) not in (1, 3) or not all(0 <= band < image.header.bands for band in bands):
        raise QueryError(f"bands are one or three of 0 to {image.header.bands - 1}")
    return bands


def limits_of(query: Mapping[str, str], channels: int) -> tuple[tuple[float, float], ...]:
    """Return the lowest and highest value of each channel."""
    found = numbers(query, "limits")
    pairs = tuple(zip(found[::2], found[1::2], strict=False))
    if len(found) != 2 * channels or not all(low < high and math.isfinite(high - low) for low, high in pairs):
        raise QueryError(f"limits are {channels} times a low and a higher value")
    return pairs


def scale_of(query: Mapping[str, str]) -> Scale:
    """Return the colours of one channel."""
    return cast(Scale, _choice(query, "scale", "grey", get_args(Scale)))


def kind_of(query: Mapping[str, str]) -> Kind:
    """Return what is shown of an image."""
    return cast(Kind, _choice(query, "kind", "bands", get_args(Kind)))


def _choice(query: Mapping[str, str], name: str, default: str, choices: Sequence[str]) -> str:
    """Return one of several words."""
    found = query.get(name, default)
    if found not in choices:
        raise QueryError(f"{name} is one of {', '.join(choices)}")
    return found


def point_of(query: Mapping[str, str], name: str = "at") -> Point:
    """Return a position (col, row) in the plane."""
    found = numbers(query, name)
    if len(found) != 2 or max(map(abs, found)) > 1e9:
        raise QueryError(f"{name} is a position: column,row")
    return found[0], found[1]


def polygon_of(query: Mapping[str, str]) -> list[Point]:
    """Return the corners of a polygon in the plane."""
    found = numbers(query, "corners")
    if not 6 <= len(found) <= 2 * _MOST_CORNERS or len(found) % 2 or max(map(abs, found)) > 1e9:
        raise QueryError(f"corners are 3 to {_MOST_CORNERS} positions: column,row,column,row,...")
    return list(zip(found[::2], found[1::2], strict=True))


def tile_of(query: Mapping[str, str], scene: ViewedScene) -> PlaneTile:
    """Return a tile that shows a part of an image, or touches one that does."""
    tile = PlaneTile(whole(query, "zoom"), whole(query, "col"), whole(query, "row"))
    if tile.zoom not in ZOOMS:
        raise QueryError(f"zoom is {ZOOMS.start} to {ZOOMS.stop - 1}")
    size = SIDE * 2.0**-tile.zoom
    left, top, right, bottom = scene.bounds
    if not (left - size <= tile.col * size <= right and top - size <= tile.row * size <= bottom):
        raise QueryError("the tile lies outside all images")
    return tile
