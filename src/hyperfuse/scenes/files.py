"""A pair in files: opened in any process, and copied where windows cannot be read of the files as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import write
from hyperfuse.io.encoding.damage import checksum
from hyperfuse.io.files import ImageLike, as_cube
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.open import find_swaths, open_windows
from hyperfuse.io.windows.source import WindowSource, offsets_of
from hyperfuse.scenes.images import BandFiles, ImageFiles
from hyperfuse.scenes.source import PairSource, mask_pixels

# A mask lies on the MSI's grid where its pixels are off by no more than this fraction of a pixel.
_OFF_GRID = 0.01


@dataclass(frozen=True)
class PairFiles:
    """A pair in files of which windows can be read; picklable."""

    hsi: ImageFiles
    msi: ImageFiles | BandFiles
    mask: ImageFiles | None

    @property
    def images(self) -> tuple[ImageFiles | BandFiles, ...]:
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
        used = msi if self.mask is None else masked(msi, self.mask.open(), self.mask.label)
        return PairSource(hsi, used, offsets_of(hsi))


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
        self._offsets: dict[str, NDArray[np.float32] | None] = {}
        self._checked: dict[str, bool] = {}

    @property
    def folder(self) -> Path:
        """Where the copies lie."""
        return self._folder

    def open(self, image: ImageFiles | BandFiles) -> WindowSource:
        """Open an image: by windows, else a copy of it, else read whole."""
        if isinstance(image, BandFiles):
            return image.stacked([self.open(one) for one in image.fine])
        source = self._by_windows(image)
        return MemorySource(self._whole(image)) if source is None else source

    def header(self, image: ImageFiles) -> CubeHeader:
        """Return the header of an image."""
        with closing(self.open(image)) as source:
            return source.header

    def read(self, files: PairFiles) -> PairSource:
        """Return a pair in memory."""
        hsi, msi = self._whole(files.hsi), self._whole(files.msi)
        offsets = self._offsets.get(files.hsi.name)
        if files.mask is None:
            return PairSource.of_cubes(hsi, msi, None, offsets)
        mask = self._whole(files.mask)
        check_mask(mask.header, msi.header, files.mask.label)
        return PairSource.of_cubes(hsi, msi, excluded(mask), offsets)

    def stage(self, files: PairFiles) -> PairFiles:
        """Return a pair of which windows can be read, copied where it must be."""
        msi = files.msi
        if isinstance(msi, BandFiles):
            staged: ImageFiles | BandFiles = msi.replaced([self._staged(image) for image in msi.fine])
        else:
            staged = self._staged(msi)
        return PairFiles(self._staged(files.hsi), staged, files.mask and self._staged(files.mask))

    def holds(self, name: str, described: str) -> bool:
        """Return whether a resumed job finds a file that is whole, and described like this, among the copies."""
        copy = self._folder / name
        try:
            return self._resume and copy.with_suffix(".json").read_text("utf-8") == f"{checksum(copy)} {described}"
        except (OSError, UnicodeDecodeError):
            return False

    def seal(self, name: str, described: str) -> None:
        """State that a file among the copies is whole."""
        copy = self._folder / name
        copy.with_suffix(".json").write_text(f"{checksum(copy)} {described}", "utf-8")

    def remove(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _whole(self, image: ImageFiles | BandFiles) -> Cube:
        if isinstance(image, BandFiles):
            whole = image.stacked([MemorySource(self._whole(one)) for one in image.fine])
            return whole.read(Window(0, 0, whole.header.rows, whole.header.cols))
        if image.name not in self._read:
            self._read[image.name], self._offsets[image.name] = image.read_with_offsets()
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
                self.seal(copy.name, _described(image))
            self._read.pop(image.name, None)  # an image that is on disk need not be held
            return ImageFiles(image.name, (str(copy),))
        return replace(image, paths=tuple(_absolute(path) for path in image.paths))

    def _copy(self, image: ImageFiles) -> Path:
        return self._folder / f"{image.name}.tif"

    def _has_copy(self, image: ImageFiles) -> bool:
        if image.name not in self._checked:
            self._checked[image.name] = self.holds(self._copy(image).name, _described(image))
        return self._checked[image.name]


def _described(image: ImageFiles) -> str:
    return json.dumps([image.identity(), image.reading()], default=str)


def _absolute(path: str | Path) -> str:
    file, variable = split_variable(path)
    return str(file.absolute()) + ("" if variable is None else f":{variable}")
