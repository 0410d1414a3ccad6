"""Reading of GeoTIFF, COG, ENVI and any other raster that GDAL opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp

from hyperfuse.cube.crs import ORTHORECTIFIED, PLACED_BY, crs_text, same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, decode_tags
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.coding import coded_header, decode_values
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats import envi_header
from hyperfuse.io.formats.band_tags import common_units, spectral_fields, stated_attributes, stated_coding
from hyperfuse.io.formats.gdal import Raster, failures, open_raster
from hyperfuse.io.formats.validity import Validity

# Dataset tags that describe the file, not the image.
_STRUCTURE_TAGS = ("AREA_OR_POINT", HISTORY_TAG, RECORD_TAG)


class RasterImage:
    """A raster file that is open: its header, read at once, and its values, whole or by windows.

    It is a source of windows, see :class:`~hyperfuse.io.windows.source.WindowSource`. Wavelengths, widths and the
    bad-band list come from the header of an ENVI file, else the band tags ``wavelength``, ``fwhm``, ``bbl`` and
    ``wavelength_units``, else GDAL's domains ENVI, FORCE and IMAGERY. Alpha bands and masks make gaps. Without
    wavelengths, bands that the file states to be red, green and blue are named so. With ``overview``, an index into
    :attr:`overviews`, it is that overview in place of the image.

    Raises:
        InputError: not a raster, no bands, a palette, complex values, cut off, or options that do not fit.
    """

    def __init__(
        self, path: Path, options: ReadOptions, _variable: None = None, *, overview: int | None = None
    ) -> None:
        file = envi_header.data_file(path)
        self._path, self._dataset = path, open_raster(file, overview)
        try:
            with failures():
                _check_values(self._dataset)
                source = self._dataset
                sidecar = envi_header.header_of(file) if source.driver == "ENVI" else None
                items = {} if sidecar is None else envi_header.read_header(sidecar)
                if items:
                    size = source.count * source.height * source.width
                    envi_header.check_size(file, items, size * np.dtype(source.dtypes[0]).itemsize)
                self._validity = Validity(source, options.band_index(source.count), path.name)
                self._bands = self._validity.bands
                coding = stated_coding(source, items, self._bands, path.name)
                self._coding = coding.with_options(options, len(self._bands), path.name)
                header = _header(source, items, path.name, placed=overview is None).select_bands(self._bands)
                self.header = coded_header(header, self._coding, options)
        except BaseException:
            self.close()
            raise
        # GDAL reads blocks that a sparse GeoTIFF leaves out as nodata, or as 0.
        declared = source.nodata is not None or options.nodata == 0
        self._may_be_sparse = source.driver == "GTiff" and declared and overview is None
        by_plane = source.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "BAND"
        self._planes = source.indexes if by_plane else range(1, 2)
        self._blocks: dict[tuple[int, int], bool] = {}

    @property
    def bands(self) -> tuple[int, ...]:
        """The indices (from 0) in the file of the bands that are read."""
        return tuple(self._bands)

    @property
    def layout(self) -> tuple[int, int, int]:
        """Rows, columns and bands of the blocks that are read and decoded at once."""
        rows, cols = self._dataset.block_shapes[0]
        by_pixel = self._dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL"
        return rows, cols, self._dataset.count if by_pixel else 1

    @property
    def overviews(self) -> list[int]:
        """By which factor the pixels of each overview in the file are larger; none where bands differ."""
        factors = [self._dataset.overviews(band + 1) for band in self._bands]
        return list(factors[0]) if all(one == factors[0] for one in factors) else []

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        with named(self._path):
            header = self.header if window is None else self.header.crop(*window)
            part = None if window is None else tuple((axis.start, axis.stop) for axis in window.slices)
            with failures():
                stored = self._dataset.read([band + 1 for band in self._bands], window=part)
                masked = self._validity.gaps(self._dataset, part)
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


def _check_values(source: Raster) -> None:
    if source.count == 0:
        raise InputError("holds no raster bands")
    if source.colorinterp[0] == ColorInterp.palette:
        raise InputError("holds indices into a palette, not values; convert it to RGB first")
    if any(np.dtype(name).kind == "c" for name in source.dtypes if name != "complex_int16"):
        raise InputError("holds complex values; a cube needs real numbers")


def _header(source: Raster, items: Mapping[str, str], where: str, *, placed: bool) -> CubeHeader:
    tags = source.tags()
    attributes = {key: value for key, value in tags.items() if key not in _STRUCTURE_TAGS} | stated_attributes(source)
    if items:
        tags = {**tags, **envi_header.record_tags(items)}
        attributes = {**envi_header.other_tags(attributes), **envi_header.other_items(items)}
    recorded = decode_tags(tags, (source.count, source.height, source.width), where)
    # What the format states wins over the record: another program may have changed it since.
    stated = spectral_fields(source, items, where)
    header = recorded.update({"units": common_units(source, where), **stated})
    # Of an overview of a file without a position the library gives whatever its memory holds.
    grid = _grid(source, recorded, items, where) if placed else {"transform": None, "crs": None}
    header = header.replace(**grid)
    if placed and header.transform is None and (source.gcps[0] or source.rpcs):
        by = "RPCs" if source.rpcs else "ground control points"
        attributes[PLACED_BY] = by
        warn(f"{where}: is placed by {by} alone, in sensor geometry, which are left out; {ORTHORECTIFIED}")
    return header.replace(
        band_names=header.band_names if recorded.band_names is None else recorded.band_names,
        attributes={**attributes, **recorded.attributes},
    )


def _grid(source: Raster, recorded: CubeHeader, items: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return transform and CRS; where the record states the same more exactly than the format can, the record's.

    An ENVI file whose header (``items``) says that its coordinates only count pixels has neither, unless it names a
    CRS; where it states a rotation, that counts, not what GDAL makes of it.
    """
    arbitrary = envi_header.states_no_position(items)
    stated, exact, crs = six_numbers(source.transform), recorded.transform, crs_text(source.crs)
    same = exact is not None and np.allclose(stated, six_numbers(exact), rtol=1e-9, atol=1e-9 * abs(exact.a))
    local = crs is None or crs.startswith(("LOCAL_CS", "ENGCRS"))
    if (arbitrary and local) or (crs is None and source.crs):
        return {"transform": exact if same else None, "crs": recorded.crs if same else None}
    # Of a PNM file without a world file the driver gives whatever its memory holds.
    invented = source.driver == "PNM" and not Path(source.name).with_suffix(".wld").exists()
    unknown = invented or stated == six_numbers(Affine.identity())
    rotated = None if same or unknown else envi_header.rotated_transform(items, where)
    transform = exact if same or unknown else source.transform if rotated is None else rotated
    if crs is None or (recorded.crs is not None and same_crs(crs, recorded.crs)):
        crs = recorded.crs
    return {"transform": transform, "crs": crs}
