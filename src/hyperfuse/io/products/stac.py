"""STAC items of products: the bands that they describe, in JSON from any source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members

_MICROMETRES_BELOW = 30.0


def read_item(members: Members, name: str) -> Mapping[str, Any]:
    """Return a STAC item.

    Raises:
        InputError: no JSON, cut off, or no object.
    """
    try:
        item = json.loads(members.read_text(name).decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON, or is cut off") from error
    if not isinstance(item, dict):
        raise InputError(f"{name} holds no STAC item")
    return item


def band_ranges(item: Mapping[str, Any], count: int) -> list[tuple[float, float]] | None:
    """Return centre and width in nm of each of ``count`` bands, where an item describes this many; else None.

    ``eo:bands`` of its properties or of an asset state both in µm.
    """
    for described in _described(item):
        if len(described) != count:
            continue
        ranges = [_range(band) for band in described]
        found = [one for one in ranges if one is not None]
        if len(found) == count:
            return found
    return None


def _described(item: Mapping[str, Any]) -> Iterator[list[Any]]:
    assets = item.get("assets")
    for holder in (item.get("properties"), *(assets.values() if isinstance(assets, dict) else ())):
        bands = holder.get("eo:bands") if isinstance(holder, dict) else None
        if isinstance(bands, list):
            yield bands


def _range(band: Any) -> tuple[float, float] | None:
    if not isinstance(band, dict):
        return None
    centre, width = (band.get(name) for name in ("center_wavelength", "full_width_half_max"))
    if not all(isinstance(one, int | float) and 0 < one < _MICROMETRES_BELOW for one in (centre, width)):
        return None
    return 1000.0 * float(centre), 1000.0 * float(width)  # type: ignore[arg-type]  # numbers, by the line above
