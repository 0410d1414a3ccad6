"""A pair in files: opened in any process, and copied where windows cannot be read of the files as they are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid, shifted
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import read_mosaic, write
from hyperfuse.io.describe import whole_header
from hyperfuse.io.encoding.damage import checksum
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.files import ImageLike, as_cube, is_product
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.open import find_swaths, open_windows
from hyperfuse.io.windows.source import WindowSource
from hyperfuse.scenes.source import PairSource, mask_pixels
from hyperfuse.scenes.tiling.store import identity

Paths = str | Path | Sequence[str | Path]

# A mask lies on the MSI's grid where its pixels are off by no more than this fraction of a pixel.
_OFF_GRID = 0.01
# A product whose header alone is needed is read as an overview of this many pixels along a side.
_FEW = 64


@dataclass(frozen=True)
class ImageFiles:
    """An image in a file, or in several that are merged.

    Attributes:
        name: of the image in a pair: hsi, msi or mask.
        paths: one or more.
        options: how they are read.
    """

    name: str
    paths: tuple[str, ...]
    options: ReadOptions = field(default_factory=ReadOptions)

    @classmethod
    def of(cls, name: str, paths: Paths, options: ReadOptions | None = None) -> ImageFiles:
        """Return the image of a path or of several."""
        several = [paths] if isinstance(paths, str | Path) else paths
        return cls(name, tuple(str(path) for path in several), options or ReadOptions())

    @property
    def label(self) -> str:
        """The paths for messages."""
        return self.paths[0] if len(self.paths) == 1 else f"{self.paths[0]} and {len(self.paths) - 1} more"

    def read(self) -> Cube:
        """Return the whole image."""
        with self._parameters_named():
            return read_mosaic(self.paths, self.options)

    def open(self) -> WindowSource:
        """Open the file to read windows.

        Raises:
            InputError: it has to be read whole.
        """
        with self._parameters_named():
            return open_windows(self.paths[0] if len(self.paths) == 1 else self.paths, self.options)

    def grid(self) -> Grid | None:
        """Return the grid of the image, of which several files may each cover a part; None where it has none."""
        headers = [self._header(path) for path in self.paths]
        first = headers[0].transform
        if first is None:
            return None
        ends = [
            ~first @ (header.transform @ corner)
            for header in headers
            if header.transform is not None
            for corner in ((0, 0), (header.cols, 0), (0, header.rows), (header.cols, header.rows))
        ]
        (left, top), (right, bottom) = (tuple(round(end) for end in way(ends, axis=0)) for way in (np.min, np.max))
        return Grid(bottom - top, right - left, shifted(first, top, left), headers[0].crs)

    def _header(self, path: str) -> CubeHeader:
        """Return the header of one of the files, read as far as it must be."""
        one = replace(self, paths=(path,))
        try:
            with closing(one.open()) as source:
                return source.header
        except InputError:
            few = _FEW if is_product(path) else None
            return whole_header(replace(one, options=replace(self.options, overview=few)).read())[0]

    def identity(self) -> list[Any]:
        """Return what distinguishes the files from others, or from earlier versions."""
        return [identity(path) for path in self.paths]

    def reading(self) -> dict[str, Any]:
        """Return how they are read as plain values."""
        return asdict(self.options)

    @contextmanager
    def _parameters_named(self) -> Iterator[None]:
        """Rename the parameters of reading the MSI in errors: nodata= to msi_nodata=."""
        try:
            yield
        except InputError as error:
            if self.name == "hsi":
                raise
            names = [one.name for one in fields(ReadOptions)]
            message = re.sub(rf"(?<![\w.])(?=(?:{'|'.join(names)})=)", f"{self.name}_", str(error))
            parameter = f"{self.name}_{error.parameter}" if error.parameter in names else error.parameter
            raise InputError(message, parameter) from error.__cause__


@dataclass(frozen=True)
class PairFiles:
    """A pair in files of which windows can be read; picklable."""

    hsi: ImageFiles
    msi: ImageFiles
    mask: ImageFiles | None

    @property
    def images(self) -> tuple[ImageFiles, ...]:
        """Those there are."""
        return tuple(image for image in (self.hsi, self.msi, self.mask) if image is not None)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the names of HSI and MSI before the message of an InputError that names no file."""
        try:
            yield
        except InputError as error:
            if type(error) is not InputError or any(
                path in str(error) for image in self.images for path in image.paths
            ):
                raise
            raise InputError(f"{self.hsi.label}, {self.msi.label}: {error}", error.parameter) from error.__cause__

    def on_msi_grid(self) -> PairFiles:
        """Return the pair with an HSI in sensor geometry to be put on pixels of the MSI, in one step.

        Others, and a pair of which a file cannot be read (which is reported when it is), are returned as they are.
        """
        how = self.hsi.options
        try:
            if how.like is not None or find_swaths(self.hsi.paths, how) is None:
                return self
            return replace(self, hsi=replace(self.hsi, options=replace(how, like=self.msi.grid())))
        except HyperfuseError:
            return self

    def open(self) -> PairSource:
        """Open the files."""
        hsi, msi = self.hsi.open(), self.msi.open()
        return PairSource(hsi, msi if self.mask is None else masked(msi, self.mask.open(), self.mask.label))


def check_mask(mask: CubeHeader, image: CubeHeader, label: str, image_name: str = "MSI") -> None:
    """Refuse a mask that is not on the grid of an image.

    Raises:
        InputError: more than one band, or another grid.
    """
    if mask.bands != 1:
        raise InputError(f"{label}: a mask has one band, this file has {mask.bands}")
    if mask.shape[1:] != image.shape[1:]:
        raise InputError(
            f"{label}: the mask has {mask.rows}x{mask.cols} pixels, the {image_name} {image.rows}x{image.cols}; put it"
            f" on the {image_name}'s grid"
        )
    if mask.transform is not None and image.transform is not None:
        pixel = max(image.resolution or (1.0,))
        if not np.allclose(mask.transform, image.transform, rtol=0, atol=_OFF_GRID * pixel):
            raise InputError(f"{label}: the mask is not at the position of the {image_name}; put it on the same grid")


def excluded(mask: Cube) -> NDArray[np.bool_]:
    """Return where a mask of one band excludes pixels, bool (rows, cols): where it is not 0.

    Gaps of the mask exclude them, unless 0 itself is its nodata value.
    """
    return np.where(np.isnan(mask.data[0]), mask.nodata != 0, mask.data[0] != 0)


def as_excluded(mask: ImageLike, msi: CubeHeader) -> NDArray[np.bool_]:
    """Return where a mask that callers pass excludes pixels, bool (rows, cols): an image, or an array of booleans.

    Raises:
        InputError: an image that is not on the MSI's grid, or an array of other values.
    """
    if isinstance(mask, Cube | str | Path) or hasattr(mask, "coords"):
        image = as_cube(mask, "mask")
        check_mask(image.header, msi, "mask")
        return excluded(image)
    array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if array.dtype.kind not in "fiub" or not np.isin(array, (0, 1)).all():
        raise InputError(f"mask needs booleans (True = not used), got other {array.dtype}; pass mask != 0", "mask")
    return np.asarray(array[0] if array.ndim == 3 and len(array) == 1 else array, np.bool_)


def masked(image: WindowSource, mask: WindowSource, label: str) -> WindowSource:
    """Return an image of which the pixels that a mask excludes are gaps.

    Raises:
        InputError: the mask is not on the image's grid.
    """
    check_mask(mask.header, image.header, label)
    return _MaskedSource(image, mask)


@dataclass(frozen=True)
class _MaskedSource:
    """A source of which the pixels that a mask excludes are gaps."""

    image: WindowSource
    mask: WindowSource

    @property
    def header(self) -> CubeHeader:
        return self.image.header

    def read(self, window: Window) -> Cube:
        return mask_pixels(self.image.read(window), excluded(self.mask.read(window)))

    def may_hold_data(self, window: Window) -> bool:
        return self.image.may_hold_data(window)

    def close(self) -> None:
        self.image.close()
        self.mask.close()


class StagedFiles:
    """Images of which windows are read; copies of those that have to be read whole (products, netCDF, several files).

    Copies lie next to an output, in ``.NAME.inputs``, until it is complete. A job that is resumed finds them again.

    Attributes:
        notes: on images that were copied.
    """

    def __init__(self, out: str | Path, *, resume: bool) -> None:
        target = split_variable(out)[0].absolute()
        self.notes: list[str] = []
        self._folder = target.with_name(f".{target.name}.inputs")
        self._resume = resume
        self._read: dict[str, Cube] = {}
        self._checked: dict[str, bool] = {}

    def open(self, image: ImageFiles) -> WindowSource:
        """Open an image: by windows, else a copy of it, else read whole."""
        source = self._by_windows(image)
        return MemorySource(self._whole(image)) if source is None else source

    def read(self, files: PairFiles) -> PairSource:
        """Return a pair in memory."""
        hsi, msi = self._whole(files.hsi), self._whole(files.msi)
        if files.mask is None:
            return PairSource.of_cubes(hsi, msi)
        mask = self._whole(files.mask)
        check_mask(mask.header, msi.header, files.mask.label)
        return PairSource.of_cubes(hsi, msi, excluded(mask))

    def stage(self, files: PairFiles) -> PairFiles:
        """Return a pair of which windows can be read, copied where it must be."""
        return PairFiles(self._staged(files.hsi), self._staged(files.msi), files.mask and self._staged(files.mask))

    def remove(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _whole(self, image: ImageFiles) -> Cube:
        if image.name not in self._read:
            self._read[image.name] = image.read()
        return self._read[image.name]

    def _by_windows(self, image: ImageFiles) -> WindowSource | None:
        try:
            return image.open()
        except InputError:  # reading it whole reports what is wrong with a file that is missing or broken
            return open_windows(self._copy(image)) if self._has_copy(image) else None

    def _staged(self, image: ImageFiles) -> ImageFiles:
        try:
            image.open().close()
        except InputError:
            copy = self._copy(image)
            if not self._has_copy(image):
                self.notes.append(
                    f"{image.label}: read whole; a copy lies in {self._folder.name} until the result is complete"
                )
                self._folder.mkdir(exist_ok=True)
                write(copy, self._whole(image), overwrite=True)
                copy.with_suffix(".json").write_text(f"{checksum(copy)} {_described(image)}", "utf-8")
            self._read.pop(image.name, None)  # an image that is on disk need not be held
            return ImageFiles(image.name, (str(copy),))
        return replace(image, paths=tuple(_absolute(path) for path in image.paths))

    def _copy(self, image: ImageFiles) -> Path:
        return self._folder / f"{image.name}.tif"

    def _has_copy(self, image: ImageFiles) -> bool:
        if image.name not in self._checked:
            self._checked[image.name] = self._resume and self._is_whole(image)
        return self._checked[image.name]

    def _is_whole(self, image: ImageFiles) -> bool:
        copy = self._copy(image)
        try:
            return copy.with_suffix(".json").read_text("utf-8") == f"{checksum(copy)} {_described(image)}"
        except (OSError, UnicodeDecodeError):
            return False


def _described(image: ImageFiles) -> str:
    return json.dumps([image.identity(), image.reading()], default=str)


def _absolute(path: str | Path) -> str:
    file, variable = split_variable(path)
    return str(file.absolute()) + ("" if variable is None else f":{variable}")
