"""STAC items: the bands that they describe, in JSON from any source.

Specification: https://github.com/radiantearth/stac-spec, 1.1 (``bands``) and before (``eo:bands``, ``raster:bands``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.io.products.members import Members

_MICROMETRES_BELOW = 30.0
_EXTENSIONS = ("eo:", "raster:")


@dataclass(frozen=True)
class StatedBand:
    """What an item states of a band; None where it does not.

    Attributes:
        name: of the band.
        centre: in nm.
        width: full width at half maximum in nm.
        scale, offset: value = scale * stored + offset.
        nodata: stored value that marks gaps, NaN included.
        unit: of the values.
    """

    name: str | None = None
    centre: float | None = None
    width: float | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    unit: str | None = None


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


def assets_of(item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the assets of an item by their keys."""
    assets = item.get("assets")
    return {key: asset for key, asset in assets.items() if isinstance(asset, dict)} if isinstance(assets, dict) else {}


def band_ranges(item: Mapping[str, Any], count: int) -> list[tuple[float, float]] | None:
    """Return centre and width in nm of each of ``count`` bands, where an item describes this many; else None.

    Bands of its properties or of an asset state both in µm.
    """
    properties = item.get("properties")
    for holder in (properties if isinstance(properties, dict) else {}, *assets_of(item).values()):
        bands = stated_bands(holder)
        found = [(band.centre, band.width) for band in bands if band.centre is not None and band.width is not None]
        if len(found) == len(bands) == count:
            return found
    return None


def stated_bands(holder: Mapping[str, Any]) -> list[StatedBand]:
    """Return what an asset, or the properties of an item, states of its bands; an empty list where it states none."""
    lists = [bands for name in ("bands", "eo:bands", "raster:bands") if isinstance(bands := holder.get(name), list)]
    if not lists or len({len(bands) for bands in lists}) > 1:
        lists = lists[:1]
    return [_band(described, holder) for described in zip(*lists, strict=True)]


def stated_of_all(holder: Mapping[str, Any]) -> StatedBand:
    """Return what an asset states of all of its bands."""
    return _band((), holder)


def _band(described: Sequence[Any], holder: Mapping[str, Any]) -> StatedBand:
    """Return what one band is by all lists, else by the asset, of which fields hold for all of its bands."""
    fields: dict[str, Any] = {}
    for one in (holder, *described):
        if isinstance(one, dict):
            fields |= dict(_unprefixed(one))
    centre, width = (_micrometres(fields.get(name)) for name in ("center_wavelength", "full_width_half_max"))
    scale, offset = (_number(fields.get(name)) for name in ("scale", "offset"))
    nodata, unit, names = fields.get("nodata"), fields.get("unit"), [one for one in described if isinstance(one, dict)]
    name = next((one["name"] for one in names if isinstance(one.get("name"), str)), None)
    return StatedBand(
        name,
        centre,
        width,
        scale if scale else None,
        offset,
        float("nan") if nodata == "nan" else _number(nodata),
        unit if isinstance(unit, str) else None,
    )


def _unprefixed(holder: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in holder.items():
        yield next((name.removeprefix(start) for start in _EXTENSIONS if name.startswith(start)), name), value


def _number(value: Any) -> float | None:
    """Return a finite number, else None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if usable else None


def _micrometres(value: Any) -> float | None:
    """Return a length in µm as nm; None where it is none."""
    number = _number(value)
    return 1000.0 * number if number is not None and 0 < number < _MICROMETRES_BELOW else None
