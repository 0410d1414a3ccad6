"""What a raster states about its bands, in GDAL's tags or an ENVI header: wavelengths, names, scale, units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from hyperfuse.cube.record import load_record
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import warn
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.formats import envi_header
from hyperfuse.io.formats.gdal import Raster

# In the record of a file of which the descriptions of bands state their wavelengths, too.
DESCRIBED = "wavelengths_in_descriptions"
_COLOURS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}


class _Domain(NamedTuple):
    """A domain of tags of bands, and the keys of wavelength, width and unit in it, in lower case."""

    name: str | None
    wavelength: str
    fwhm: str
    units: str


# In the order in which they are accepted. FORCE: https://force-eo.readthedocs.io; ENVI: of the EnMAP-Box.
_FORCE = _Domain("FORCE", "wavelength", "fwhm", "wavelength_unit")
_DOMAINS = (
    _Domain(None, "wavelength", "fwhm", "wavelength_units"),
    _Domain("ENVI", "wavelength", "fwhm", "wavelength_units"),
    _FORCE,
    _Domain("IMAGERY", "central_wavelength_um", "fwhm_um", "um"),
)


def band_description(name: str, wavelength: float) -> str:
    """Return how a band is called in a file: its name and its wavelength in nm, those that are known.

    Example:
        >>> band_description("B4", 664.6), band_description("", 664.6), band_description("B4", np.nan)
        ('B4 (664.6 nm)', '664.6 nm', 'B4')
    """
    if not np.isfinite(wavelength):
        return name
    return f"{name} ({_centre(wavelength)})" if name else _centre(wavelength)


def name_of_band(description: str | None, wavelength: float) -> str:
    """Return the name of a band that :func:`band_description` describes, "" where it has none."""
    text, centre = description or "", _centre(wavelength)
    return "" if text == centre else text.removesuffix(f" ({centre})")


def _centre(wavelength: float) -> str:
    return f"{round(float(wavelength), 2):.10g} nm"  # numpy rounds halves in another way


def spectral_fields(source: Raster, items: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return wavelengths, widths, the bad-band list, names and attributes: fields of a header, those there are.

    Args:
        source: an open raster.
        items: of the header of an ENVI file; empty for another.
        where: name of the file, for warnings.
    """
    found = envi_header.spectral_items(items, source.count, where) if items else {}
    if found.get("wavelengths") is not None or found.get("fwhm") is not None:
        return found
    # Of an ENVI file GDAL makes tags from the header; FORCE writes its own next to it.
    for domain in (_FORCE,) if items else _DOMAINS:
        tags = _tags(source, domain)
        centres, widths = _column(tags, domain.wavelength, where), _column(tags, domain.fwhm, where)
        if domain is _FORCE and centres is not None:
            centres = np.where(centres > 0, centres, np.nan)  # 0 in bands that are no reflectance
        if widths is None if centres is None else not np.isfinite(centres).any():
            continue
        units = next((tag[domain.units] for tag in tags if tag.get(domain.units)), None)
        units = domain.units if domain.name == "IMAGERY" else units
        found["wavelengths"], found["fwhm"] = to_nanometres(centres, units, widths, where=where)
        break
    if items:
        return found
    if found.get("wavelengths") is None:
        listed = source.tags(ns="ENVI")
        if "wavelength" in {key.lower() for key in listed}:
            found |= envi_header.spectral_items(listed, source.count, where)
    good = _column(_tags(source, _DOMAINS[0]), "bbl", where)
    if good is not None:
        found["good_bands"] = np.nan_to_num(good, nan=1.0) != 0
    descriptions = source.descriptions
    centres = found.get("wavelengths")
    if any(descriptions) and centres is not None and load_record(source.tags()).get(DESCRIBED) is True:
        descriptions = [name_of_band(text, centre) for text, centre in zip(descriptions, centres, strict=True)]
    if any(descriptions):
        found["band_names"] = tuple(name or "" for name in descriptions)
    elif found.get("wavelengths") is None and (colours := _colours(source)):
        found["band_names"] = colours
    return found


def stated_attributes(source: Raster) -> dict[str, str]:
    """Return sensor and date that FORCE states of its bands, where they all have the same."""
    tags = _tags(source, _FORCE)
    stated = {key: {tag.get(key, "") for tag in tags} for key in ("sensor", "date")}
    return {key: text for key, texts in stated.items() if len(texts) == 1 and (text := texts.pop()) not in ("", "NA")}


def stated_coding(source: Raster, items: Mapping[str, str], bands: Sequence[int], where: str) -> BandCoding:
    """Return scale, offset and nodata of the bands with the given indices (from 0)."""
    scales, offsets = np.array(source.scales, np.float64), np.array(source.offsets, np.float64)
    if items:
        gain, offset = envi_header.linear_items(items, source.count, where)
        scales, offsets = scales if gain is None else gain, offsets if offset is None else offset
    if (scales == 1).all() and (offsets == 0).all():
        divisors = _column(_tags(source, _FORCE), "scale", where)
        if divisors is not None:
            known = np.isfinite(divisors) & (divisors > 0)
            scales = np.divide(1.0, divisors, out=np.ones_like(scales), where=known)
    nodata = source.nodatavals
    return BandCoding(scales[list(bands)].tolist(), offsets[list(bands)].tolist(), [nodata[band] for band in bands])


def common_units(source: Raster, where: str) -> str | None:
    """Return the unit of all bands; None, with a warning, where they differ."""
    units = sorted({unit for unit in source.units if unit})
    if len(units) > 1:
        warn(f"{where}: the bands have different units ({', '.join(units)}), which are left out")
    return units[0] if len(units) == 1 else None


def _colours(source: Raster) -> tuple[str, ...] | None:
    """Return red, green and blue as names of the bands that the file states to be these, "" for others."""
    names = tuple(_COLOURS.get(colour, "") for colour in source.colorinterp)
    return names if source.driver != "ENVI" and all(names.count(name) == 1 for name in _COLOURS.values()) else None


def _tags(source: Raster, domain: _Domain) -> list[dict[str, str]]:
    return [{key.lower(): value for key, value in source.tags(band, ns=domain.name).items()} for band in source.indexes]


def _column(tags: Sequence[Mapping[str, str]], key: str, where: str) -> NDArray[np.float64] | None:
    """Return one number per band from a tag, NaN where a band lacks it; None where all do."""
    texts = [tag.get(key) for tag in tags]
    if not any(texts):
        return None
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text) if text else np.nan)
        except ValueError:
            warn(f"{where}: the band tag {key} holds {text!r}, not a number, and is left out")
            return None
    return np.array(numbers)
