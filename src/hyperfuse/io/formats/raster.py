"""Reading of GeoTIFF, COG, ENVI and any other raster that GDAL opens."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL raises besides RasterioError; it has no public name
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from hyperfuse.cube.crs import crs_text, same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, decode_tags
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.coding import BandCoding, coded_header, decode_values
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats import envi_header

# Dataset tags that describe the file, not the image.
_STRUCTURE_TAGS = ("AREA_OR_POINT", HISTORY_TAG, RECORD_TAG)
_IMAGERY_TAGS = ("CENTRAL_WAVELENGTH_UM", "FWHM_UM")


class RasterImage:
    """A raster file that is open: its header, read at once, and its values, whole or by windows.

    It is a source of windows, see :class:`~hyperfuse.io.windows.source.WindowSource`. Wavelengths, widths and the
    bad-band list come from the band tags ``wavelength``, ``fwhm``, ``bbl`` and ``wavelength_units``, the header of an
    ENVI file, or GDAL's IMAGERY domain, in this order.

    Raises:
        InputError: not a raster, no bands, a palette, complex values, cut off, or options that do not fit.
    """

    def __init__(self, path: Path, options: ReadOptions, _variable: None = None) -> None:
        file = envi_header.data_file(path)
        self._path, self._dataset = path, open_raster(file)
        try:
            with _failures():
                _check_values(self._dataset)
                source = self._dataset
                sidecar = envi_header.header_of(file) if source.driver == "ENVI" else None
                items = {} if sidecar is None else envi_header.read_header(sidecar)
                if items:
                    size = source.count * source.height * source.width
                    envi_header.check_size(file, items, size * np.dtype(source.dtypes[0]).itemsize)
                index = options.band_index(source.count)
                self._bands = list(range(source.count)) if index is None else index
                spectral = _spectral(source, items, path.name)
                coding = _coding(source, spectral.pop("reflectance_scale", 1.0), self._bands)
                self._coding = coding.with_options(options, len(self._bands), path.name)
                header = _header(source, items, spectral, path.name).select_bands(self._bands)
                self.header = coded_header(header, self._coding, options)
        except BaseException:
            self.close()
            raise
        # GDAL reads blocks that a sparse GeoTIFF leaves out as nodata, or as 0.
        self._may_be_sparse = source.driver == "GTiff" and (source.nodata is not None or options.nodata == 0)
        self._planes = source.indexes if str(source.profile.get("interleave")).lower() == "band" else (1,)
        self._blocks: dict[tuple[int, int], bool] = {}

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        with named(self._path):
            header = self.header if window is None else self.header.crop(*window)
            part = None if window is None else tuple((axis.start, axis.stop) for axis in window.slices)
            with _failures():
                stored = self._dataset.read([band + 1 for band in self._bands], window=part)
                masked = _masked(self._dataset, part)
            return Cube.from_header(header, *decode_values(stored, dataclasses.replace(self._coding, masked=masked)))

    def may_hold_data(self, window: Window) -> bool:
        """Return False where the file is known to hold no block of a window."""
        if not self._may_be_sparse:
            return True
        height, width = self._dataset.block_shapes[0]
        rows = range(window.row // height, -(-(window.row + window.rows) // height))
        cols = range(window.col // width, -(-(window.col + window.cols) // width))
        return any(self._has_block(y, x) for y in rows for x in cols)

    def _has_block(self, y: int, x: int) -> bool:
        """Return whether the file holds a block of any band; checked once, because there may be many bands."""
        if (y, x) not in self._blocks:
            self._blocks[y, x] = any(
                self._dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=plane) is not None
                for plane in self._planes
            )
        return self._blocks[y, x]

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()


@contextmanager
def _failures() -> Iterator[None]:
    """Report in one line why GDAL could not read a file; outside an environment it would print to stderr itself."""
    try:
        with rasterio.Env():
            yield
    except (RasterioIOError, CPLE_BaseError, UnicodeDecodeError) as error:
        # rasterio hides what GDAL said in the cause; its last part names the fault.
        text = str(error.__cause__ or error).splitlines()[0]
        fault = text.rsplit(": ", 1)[-1].strip()
        raise InputError(f"cannot be read; it is cut off or damaged ({fault})") from error


def _check_values(source: rasterio.DatasetReader) -> None:
    if source.count == 0:
        raise InputError("holds no raster bands")
    if source.colorinterp[0] == ColorInterp.palette:
        raise InputError("holds indices into a palette, not values; convert it to RGB first")
    if any(np.dtype(name).kind == "c" for name in source.dtypes if name != "complex_int16"):
        raise InputError("holds complex values; a cube needs real numbers")


def open_raster(path: Path) -> rasterio.DatasetReader:
    """Open a raster for reading, with GDAL_NUM_THREADS threads for decompression (default: all processors)."""
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.Env(GDAL_NUM_THREADS=threads()),
    ):
        try:
            return rasterio.open(path)
        except (RasterioError, CPLE_BaseError, UnicodeDecodeError) as error:
            lone = path.suffix.lower() in (*envi_header.DATA_SUFFIXES, "") and not envi_header.header_of(path)
            hint = "; an ENVI file needs its header (.hdr) next to it" if lone else ""
            raise InputError(f"is not a raster that GDAL can open, or is damaged{hint}") from error


def threads() -> str:
    """Return the number of threads that GDAL may use."""
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


def _coding(source: rasterio.DatasetReader, reflectance_scale: float, bands: Sequence[int]) -> BandCoding:
    scales = [source.scales[band] for band in bands]
    offsets = [source.offsets[band] for band in bands]
    if set(scales) == {1.0} and set(offsets) == {0.0}:
        scales = [reflectance_scale] * len(scales)
    return BandCoding(scales, offsets, [source.nodatavals[band] for band in bands])


def _masked(source: rasterio.DatasetReader, window: Any) -> NDArray[np.bool_] | None:
    """Return True in gaps where the file carries a mask of its own; an alpha band stays an ordinary band.

    GDAL calls the fourth band of many RGB + NIR files alpha because their writer stated no interpretation.
    """
    flags = source.mask_flag_enums[0]
    if MaskFlags.per_dataset not in flags or MaskFlags.alpha in flags:
        return None
    return np.asarray(source.read_masks(1, window=window) == 0)


def _header(
    source: rasterio.DatasetReader, items: Mapping[str, str], spectral: dict[str, Any], where: str
) -> CubeHeader:
    tags = source.tags()
    attributes = {key: value for key, value in tags.items() if key not in _STRUCTURE_TAGS}
    if items:
        tags = {**tags, **envi_header.record_tags(items)}
        attributes = {**envi_header.other_tags(attributes), **envi_header.other_items(items)}
    recorded = decode_tags(tags, (source.count, source.height, source.width), where)
    # What the format states wins over the record: another program may have changed it since.
    header = recorded.update({"units": _units(source, where), **_grid(source, recorded), **spectral})
    if header.transform is None and (source.gcps[0] or source.rpcs):
        warn(f"{where}: is placed by ground control points or RPCs, which are left out; orthorectify it first")
    return header.replace(
        band_names=header.band_names if recorded.band_names is None else recorded.band_names,
        attributes={**attributes, **recorded.attributes},
    )


def _grid(source: rasterio.DatasetReader, recorded: CubeHeader) -> dict[str, Any]:
    """Return transform and CRS; where the record states the same more exactly than the format can, the record's."""
    stated, exact = six_numbers(source.transform), recorded.transform
    transform = None if stated == six_numbers(Affine.identity()) else source.transform
    if exact is not None and np.allclose(stated, six_numbers(exact), rtol=1e-9, atol=1e-9 * abs(exact.a)):
        transform = exact
    crs = crs_text(source.crs)
    if crs is not None and recorded.crs is not None and same_crs(crs, recorded.crs):
        crs = recorded.crs
    return {"transform": transform, "crs": crs}


def _units(source: rasterio.DatasetReader, where: str) -> str | None:
    units = sorted({unit for unit in source.units if unit})
    if len(units) > 1:
        warn(f"{where}: the bands have different units ({', '.join(units)}), which are left out")
    return units[0] if len(units) == 1 else None


def _spectral(source: rasterio.DatasetReader, items: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return wavelengths, widths, the bad-band list and names, from an ENVI header or the tags of the bands."""
    if items:
        return envi_header.spectral_items(items, source.count, where)
    tags = [{key.lower(): value for key, value in source.tags(band).items()} for band in source.indexes]
    imagery = [source.tags(band, ns="IMAGERY") for band in source.indexes]
    found: dict[str, Any] = {}
    centres, widths = _column(tags, "wavelength", where), _column(tags, "fwhm", where)
    units = next((tag["wavelength_units"] for tag in tags if tag.get("wavelength_units")), None)
    if centres is None and widths is None:
        centres, widths, units = *(_column(imagery, key, where) for key in _IMAGERY_TAGS), "um"
    found["wavelengths"], found["fwhm"] = to_nanometres(centres, units, widths, where=where)
    good = _column(tags, "bbl", where)
    if good is not None:
        found["good_bands"] = np.nan_to_num(good, nan=1.0) != 0
    if any(source.descriptions):
        found["band_names"] = tuple(name or "" for name in source.descriptions)
    return found


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
