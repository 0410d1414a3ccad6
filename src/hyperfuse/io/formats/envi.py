"""Writing of ENVI files: the numbers as they are, and a text header next to them."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.cube.record import encode_record, encode_tags, is_plain_text, split_attributes
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError, warn
from hyperfuse.io.encoding.options import WriteOptions
from hyperfuse.io.formats.envi_header import STANDARD_ITEMS
from hyperfuse.io.formats.targets import WindowTarget

INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}

# GDAL silently stops reading a header at a line of more than 10,000 characters.
_LINE = 100
_LONGEST_VALUE = 9000


class EnviTarget(WindowTarget):
    """ENVI: a data file and its header ``name.hdr``; option ``interleave``: bsq, bil or bip.

    GDAL writes the header. The numbers are written here: on a full disk GDAL's ENVI driver reports no error.
    """

    def _create(self) -> None:
        self.options.choice("compress", ("none",), "none")
        if self.options.dtype == np.int8:
            raise InputError("ENVI has no int8; write int16", "dtype")
        interleave = _interleave(self.path, self.options)
        self._order = INTERLEAVES[interleave]
        self._items = header_items(self.header, self.options.dtype)
        self._write_header(interleave)
        if self.sparse:
            self._reserve()

    def _write_header(self, interleave: str) -> None:
        """Let GDAL write the header, next to a data file that is yet to be filled."""
        header, coding = self.header, self.coding
        with _quiet(), rasterio.open(
            self.path, "w", driver="ENVI", dtype=self.options.dtype.name, interleave=interleave, nodata=coding.nodata,
            count=header.bands, height=header.rows, width=header.cols,
            crs=None if header.crs is None else parse_crs(header.crs),
            transform=None if _is_unusual(header) else header.transform,
        ) as target:  # fmt: skip
            target.update_tags(ns="ENVI", **self._items)
            if header.band_names is not None and not _has_odd_names(header):
                for band, name in enumerate(header.band_names, 1):
                    target.set_band_description(band, name)
            if not coding.is_identity:
                target.scales, target.offsets = [coding.scale] * header.bands, [coding.offset] * header.bands
        # GDAL describes an image by the path it was written to, here that of a scratch file.
        file = self.path.with_suffix(".hdr")
        described = b"description = {\n" + os.fsencode(self.path) + b"}\n"
        file.write_bytes(file.read_bytes().replace(described, b""))

    def _reserve(self) -> None:
        """Give the data file its full size, filled with gaps."""
        dtype = self.options.dtype
        size = math.prod(self.header.shape) * int(dtype.itemsize)
        with self.path.open("wb") as file:
            # Space is taken now: a write to a mapped file on a full disk kills the process.
            os.posix_fallocate(file.fileno(), 0, size)
            if self.coding.nodata not in (None, 0.0):
                line = np.full(2**20, self.coding.nodata, dtype).tobytes()
                for start in range(0, size, len(line)):
                    file.write(line[: size - start])

    def _store(self, window: Window, stored: NDArray[Any]) -> None:
        shape = [self.header.shape[axis] for axis in self._order]
        if self.sparse:
            # Mapped for one window only: what stays mapped counts as memory of the process.
            mapped = np.memmap(self.path, self.options.dtype, "r+", shape=tuple(shape))
            mapped.transpose(np.argsort(self._order))[:, *window.slices] = stored
            return
        stored = stored.transpose(self._order)
        lines = max(1, 2**24 // stored[0].nbytes)
        with self.path.open("wb") as file:
            for start in range(0, shape[0], lines):
                file.write(np.ascontiguousarray(stored[start : start + lines]).data)

    def finish(self) -> None:
        """Check that the header holds all its items, and name what only this package reads back."""
        with _quiet(), rasterio.open(self.path) as written:
            missing = set(self._items) - set(written.tags(ns="ENVI"))
        if missing:
            raise HyperfuseError(f"cannot be written: the header lacks {', '.join(sorted(missing))}; is the disk full?")
        if _is_unusual(self.header):
            warn(
                f"{self.path.name}: an ENVI header cannot hold a sheared or south-up transform; "
                "only hyperfuse reads it back"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep GDAL from warning of missing georeferencing and from writing sidecar files."""
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
    ):
        yield


def _interleave(path: Path, options: WriteOptions) -> str:
    """Return the order of the axes to write: the option's, else the extension's, else band-sequential."""
    suffix = path.suffix.lower().lstrip(".")
    order = options.choice("interleave", tuple(INTERLEAVES), suffix if suffix in INTERLEAVES else "bsq")
    if suffix in INTERLEAVES and suffix != order:
        raise InputError(f"interleave={options.interleave!r} contradicts the extension .{suffix}", "interleave")
    return order


def header_items(header: CubeHeader, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return the items of the header that GDAL does not write."""
    plain, rest = split_attributes(header.attributes, (*STANDARD_ITEMS, "description"), _fits_item)
    unfit = ["units"] + (["scale", "offset"] if dtype.kind == "f" else [])
    if header.crs is not None and not header.crs.startswith("EPSG:"):
        unfit.append("crs")
    # Without a CRS the map info is "Arbitrary", which is not used: others write it for images without a position.
    if header.transform is not None and (
        header.crs is None or _is_unusual(header) or any(float(f"{v:.15g}") != v for v in six_numbers(header.transform))
    ):
        unfit.append("transform")
    if _has_odd_names(header):
        unfit.append("band_names")
    spectral = {"wavelengths": header.wavelengths, "fwhm": header.fwhm}
    unfit += [name for name, values in spectral.items() if values is not None and not np.isfinite(values).all()]
    items = dict(plain)
    for tag, text in encode_tags(header, {**encode_record(header, unfit), **rest}).items():
        coded = quote(text, safe='[]":,')
        items[tag] = "{" + "\n".join(coded[at : at + _LINE] for at in range(0, len(coded), _LINE)) + "}"
    if header.wavelengths is not None and "wavelengths" not in unfit:
        items["wavelength"] = _braced(header.wavelengths)
    if header.fwhm is not None and "fwhm" not in unfit:
        items["fwhm"] = _braced(header.fwhm)
    if not {"wavelength", "fwhm"}.isdisjoint(items):
        items["wavelength_units"] = "Nanometers"
    if header.good_bands is not None:
        items["bbl"] = _braced(header.good_bands.astype(int))
    return items


def _fits_item(key: str, value: str) -> bool:
    # In a header a blank and an underscore are the same, and braces open a list.
    return "__" not in key and key[-1] != "_" and not set(value) & set("{}") and len(value) <= _LONGEST_VALUE


def _braced(values: NDArray[Any]) -> str:
    texts = [repr(value) for value in values.tolist()]
    return "{" + ",\n".join(", ".join(texts[at : at + 8]) for at in range(0, len(texts), 8)) + "}"


def _has_odd_names(header: CubeHeader) -> bool:
    names = header.band_names or ()
    # GDAL writes these where a file names no bands, so they would be read as no names.
    if names == tuple(f"Band {band + 1}" for band in range(len(names))):
        return bool(names)
    return any(not is_plain_text(name) or set(name) & set(",;={}") for name in names)


def _is_unusual(header: CubeHeader) -> bool:
    """Return whether the transform is more than a north-up grid that may be rotated."""
    if header.transform is None:
        return False
    a, b, _, d, e, _ = six_numbers(header.transform)
    sheared = abs(a * b + d * e) > 1e-9 * (abs(a) + abs(b)) * (abs(d) + abs(e))
    return sheared or a * e - b * d >= 0
