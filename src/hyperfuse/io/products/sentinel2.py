"""Sentinel-2 L2A: surface reflectance, a SAFE folder or its zip.

Format: ESA, "Sentinel-2 Products Specification Document" (S2-PDGS-TAS-DI-PSD, issues 14 and 15), L2A product: the
metadata MTD_MSIL2A.xml, the images in IMG_DATA, the scene classification SCL; and ESA's notes on processing baseline
04.00 for the offset of the stored values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Members, Source, base_name, open_folder
from hyperfuse.io.products.names import SENTINEL2_FILE
from hyperfuse.io.products.rasters import grid_of, opened, read_layer
from hyperfuse.io.products.reflectance import Reflectance, decimated, selected_bands, warn
from hyperfuse.io.products.xml import Metadata

# The land bands and their pixel size in m; those of 60 m serve the atmospheric correction.
_BANDS = {
    "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B11": 20, "B12": 20,
}  # fmt: skip
_FINE = 10
# Classes of SCL: no data, saturated or defective; and cloud shadow, clouds of medium and high probability, thin cirrus.
_UNUSABLE = (0, 1)
_NOT_CLEAR = (3, 8, 9, 10)
_OFFSET_SINCE = 4.0
_NODATA, _SATURATED = 0.0, 65535.0


@dataclass(frozen=True)
class _Safe:
    """A SAFE product: its files, its metadata, and the images of its one granule."""

    members: Members
    metadata: Metadata
    images: list[str]

    def image(self, layer: str, size: int) -> str:
        """Return the image of a band or layer at a pixel size in m."""
        ending = f"_{layer}_{size}m"
        found = self.optional_image(layer, size)
        if found is None:
            raise InputError(f"the image …{ending}.jp2 is missing in {self.members.root}")
        return found

    def optional_image(self, layer: str, size: int) -> str | None:
        """Return the image of a layer, or None where it is missing."""
        ending = f"_{layer}_{size}m".upper()
        return next((name for name in self.images if PurePosixPath(name).stem.upper().endswith(ending)), None)

    def special(self, name: str, usual: float) -> float:
        """Return the stored value with a special meaning."""
        for element in self.metadata.elements("{*}Special_Values"):
            if (element.findtext("{*}SPECIAL_VALUE_TEXT") or "").strip() == name:
                return self.metadata.number(element.findtext("{*}SPECIAL_VALUE_INDEX"), "SPECIAL_VALUE_INDEX")
        return usual


def read_sentinel2(source: Source, options: ReadOptions) -> Cube:
    """Read a Sentinel-2 L2A product: ten bands on the 10 m grid, those of 20 m interpolated bilinearly onto it.

    Gaps are what the bands or the scene classification (SCL) call no data or saturated; with ``quality="clear"`` also
    its cloud shadows, clouds and thin cirrus. Wavelengths and widths are those of the responses in the metadata.

    Raises:
        InputError: L1C, a missing image, a damaged one, several granules.
    """
    safe = _open(source)
    about = safe.metadata
    names = [list(_BANDS)[index] for index in selected_bands(options, len(_BANDS))]
    spectral = {_short(each.get("physicalBand") or ""): each for each in about.elements("{*}Spectral_Information")}
    codings = [_coding(safe, name, spectral, options) for name in names]
    if options.scale is None and not _states_offset(safe):
        options = replace(options, offset=None)  # it is the product's now, with the product's scale
    grid = _fine_grid(safe)
    scene = about.find("PRODUCT_URI") or base_name(safe.members.root.as_posix())
    clear = options.quality == "clear"
    reflectance = Reflectance((len(names), grid.rows, grid.cols), options, scene)
    step, whole = reflectance.step, {10: (grid.rows, grid.cols), 20: (grid.rows // 2, grid.cols // 2)}
    coarse_mask = _classified(safe, scene, whole[20], clear)
    if step > 1:
        # Overviews of classes are no classes; those of 20 m have the size of those of 10 m.
        fine_mask = coarse_mask = decimated(coarse_mask, step // 2)
    else:
        fine_mask = coarse_mask.repeat(2, axis=0).repeat(2, axis=1)
    saturated = safe.special("SATURATED", _SATURATED)
    for number, (name, (scale, offset, nodata)) in enumerate(zip(names, codings, strict=True)):
        pixel = _BANDS[name]
        mask, every = (fine_mask, step) if pixel == _FINE else (coarse_mask, max(1, step // 2))
        stored = read_layer(safe.members, safe.image(name, pixel), whole[pixel], every)
        coding = BandCoding((scale,), (offset,), (nodata,), mask | (stored == saturated))
        reflectance.put(
            np.s_[number : number + 1], stored[None], coding, double if pixel > _FINE and step == 1 else None
        )
    return reflectance.cube(
        "Sentinel-2 L2A",
        scene,
        ["no data", "saturated"] + (["cloud shadow", "cloud", "cirrus"] if clear else []),
        {
            "sensor": about.find("SPACECRAFT_NAME"),
            "start_time": about.find("DATATAKE_SENSING_START", "PRODUCT_START_TIME"),
            "baseline": about.find("PROCESSING_BASELINE"),
        },
        steps={"resampled": "bands of 20 m to 10 m, bilinear"},
        wavelengths=np.array(
            [about.number(spectral[_short(name)].findtext("{*}Wavelength/{*}CENTRAL"), "CENTRAL") for name in names]
        ),
        fwhm=np.array([_width(about, spectral[_short(name)]) for name in names]),
        band_names=tuple(names),
        transform=grid.transform,
        crs=grid.crs,
    )


def _open(source: Source) -> _Safe:
    members = source.members
    name = source.chosen
    if name is None:
        found = members.find(SENTINEL2_FILE)
        name = found[0] if len(found) == 1 else members.find_one(r"MTD_MSIL2A\.xml", "MTD_MSIL2A.xml")
    metadata = Metadata(members, name)
    level = metadata.find("PROCESSING_LEVEL") or ""
    if "2A" not in level or "L1C" in base_name(name).upper():
        raise InputError(
            f"is Sentinel-2 {level or base_name(name)}; take the L2A product, which holds surface reflectance"
        )
    if members.root.is_dir():
        members = open_folder(members.root, deep=True)
    inside = PurePosixPath(name).parent / "GRANULE"
    granule = [each for each in members.names if PurePosixPath(each).is_relative_to(inside)]
    rasters = [each for each in granule if PurePosixPath(each).suffix.lower() in (".jp2", ".tif", ".tiff")]
    images = [each for each in rasters if "IMG_DATA" in PurePosixPath(each).parts]
    if not images:
        raise InputError(f"the images (GRANULE/*/IMG_DATA) are missing in {members.root / inside.parent}")
    tiles = {PurePosixPath(each).relative_to(inside).parts[0] for each in images}
    if len(tiles) > 1:
        raise InputError(f"holds {len(tiles)} granules; products of one granule are read ({', '.join(sorted(tiles))})")
    return _Safe(members, metadata, images)


def _short(band: str) -> str:
    """Return the name that the metadata has for a band: ``B2`` for ``B02``."""
    return "B" + band.strip().upper().removeprefix("B").lstrip("0")


def _classified(safe: _Safe, scene: str, size: tuple[int, int], clear: bool) -> NDArray[np.bool_]:
    """Return the pixels of 20 m that the scene classification calls unusable, or not clear, bool (rows, cols)."""
    layer = safe.image("SCL", 20) if clear else safe.optional_image("SCL", 20)
    if layer is None:
        warn(f"{scene}: SCL is missing in {safe.members.root}; defective pixels and missing detectors are not known")
        return np.zeros(size, np.bool_)
    classes = read_layer(safe.members, layer, size)
    return np.asarray(np.isin(classes, (*_UNUSABLE, *_NOT_CLEAR) if clear else _UNUSABLE))


def _states_offset(safe: _Safe) -> bool:
    """Return whether the offset of the stored values follows from the metadata."""
    about = safe.metadata
    before = about.number(about.text("PROCESSING_BASELINE"), "PROCESSING_BASELINE") < _OFFSET_SINCE
    return before or bool(about.elements("{*}BOA_ADD_OFFSET"))


def _coding(safe: _Safe, band: str, spectral: dict[str, Element], options: ReadOptions) -> tuple[float, float, float]:
    """Return scale, offset and the stored value of no data of a band.

    Sen2Cor as users run it (baseline 99.99) states no offset of older inputs: then it is the caller's.
    """
    about = safe.metadata
    if _short(band) not in spectral:
        raise InputError(f"{about.name} has no Spectral_Information of {band}; it is cut off or of another format")
    tags = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    quantification = about.number(about.text(*tags), tags[0])
    if quantification <= 0:
        raise InputError(f"{about.name}: {tags[0]} is {quantification:g}, which has to be above 0")
    number = spectral[_short(band)].get("bandId")
    stated = [each for each in about.elements("{*}BOA_ADD_OFFSET") if each.get("band_id") == number]
    baseline = about.number(about.text("PROCESSING_BASELINE"), "PROCESSING_BASELINE")
    nodata = safe.special("NODATA", _NODATA)
    if not stated and baseline >= _OFFSET_SINCE:
        if options.offset is None:
            raise InputError(
                f"{about.name} has no BOA_ADD_OFFSET of {band}, which baseline {baseline:05.2f} has to state; pass"
                " offset=-0.1 where 1000 was added to the stored values (inputs of baseline 04.00 and later), else"
                " offset=0",
                "offset",
            )
        if options.scale is None and abs(options.offset) > 1:
            raise InputError(f"offset={options.offset:g} is in reflectance, such as -0.1", "offset")
        return 1.0 / quantification, options.offset, nodata
    offset = about.number(stated[0].text, "BOA_ADD_OFFSET") if stated else 0.0
    return 1.0 / quantification, offset / quantification, nodata


def _fine_grid(safe: _Safe) -> Grid:
    name = safe.image("B02", _FINE)
    with opened(safe.members, name) as source:
        grid = grid_of(source)
    if grid.transform is None or grid.crs is None:
        raise InputError(f"{name} has no transform or no CRS")
    if grid.rows % 2 or grid.cols % 2:
        raise InputError(f"has {grid.rows} x {grid.cols} pixels of 10 m, which pixels of 20 m do not cover")
    return grid


def _width(about: Metadata, element: Element) -> float:
    """Return the full width at half maximum of a response in nm, NaN where the metadata has none."""
    texts = (element.findtext("{*}Spectral_Response/{*}VALUES") or "").split()
    if not texts:
        return float("nan")
    step = about.number(element.findtext("{*}Spectral_Response/{*}STEP"), "STEP")
    values = np.array([about.number(text, "Spectral_Response") for text in texts])
    return full_width(values, step)


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


def double(data: NDArray[Any], valid: NDArray[np.bool_] | None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Interpolate bilinearly between pixel centres onto pixels of half the size.

    The centre of a fine pixel lies a quarter of a coarse one off the centre of the coarse pixel around it, so its
    weights are 3/4 and 1/4 along each axis. At the border and next to gaps the weights of valid pixels are normalised.

    From (bands, rows, cols), NaN in gaps, and where they are no gaps (None: everywhere), it makes both of shape
    (bands, 2 rows, 2 cols); the fine pixels within a coarse gap are gaps.

    Example:
        >>> double(np.array([[[0.0, 4.0]]]), None)[0][0, 0].tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    if valid is None:
        return _along(_along(data, 1), 2), None
    weights = _along(_along(valid.astype(data.dtype), 1), 2)
    sums = _along(_along(np.where(valid, data, data.dtype.type(0)), 1), 2)
    fine = valid.repeat(2, axis=1).repeat(2, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(sums, weights, out=sums)
    sums[~fine] = np.nan
    return sums, fine


def _along(data: NDArray[Any], axis: int) -> NDArray[Any]:
    moved = np.moveaxis(data, axis, 0)
    before, after = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
    fine = np.empty((2 * moved.shape[0], *moved.shape[1:]), data.dtype)
    near, far = data.dtype.type(0.75), data.dtype.type(0.25)
    fine[0::2] = near * moved + far * before
    fine[1::2] = near * moved + far * after
    return np.moveaxis(fine, 0, axis)
