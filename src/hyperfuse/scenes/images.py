"""An image in files: in one, in several that are merged, or its bands in several of other pixel sizes; picklable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid, shifted
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io import read_mosaic
from hyperfuse.io.describe import whole_header
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.files import ImageLike, as_cube, is_product
from hyperfuse.io.inputs import identity
from hyperfuse.io.windows.open import find_swaths, open_windows
from hyperfuse.io.windows.source import WindowSource, offsets_of
from hyperfuse.io.windows.stacked import StackedSource, placed_on

Paths = str | Path | Sequence[str | Path]
Image = TypeVar("Image")
# A product whose header alone is needed is read as an overview of this many pixels along a side.
_FEW = 64


@dataclass(frozen=True)
class ImageFiles:
    """An image in a file, or in several that are merged.

    Attributes:
        name: of the image in a pair: hsi, msi or mask; with a number where there are several, as in msi-2.
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

    def read_with_offsets(self) -> tuple[Cube, NDArray[np.float32] | None]:
        """Return the whole image, and how far its samples lie from the centres of its pixels, where it states that."""
        if self.options.like is None:
            return self.read(), None
        with closing(self.open()) as source:
            header = source.header
            return source.read(Window(0, 0, header.rows, header.cols)), offsets_of(source)

    def open(self) -> WindowSource:
        """Open the file to read windows.

        Raises:
            InputError: it has to be read whole.
        """
        with self._parameters_named():
            return open_windows(self.paths[0] if len(self.paths) == 1 else self.paths, self.options)

    def grid(self) -> Grid | None:
        """Return the grid of the image, of which several files may each cover a part; None where it has none."""
        headers = [replace(self, paths=(path,)).header() for path in self.paths]
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

    def header(self) -> CubeHeader:
        """Return the header of one file, read as far as it must be.

        Raises:
            InputError: as :func:`hyperfuse.io.read`.
        """
        try:
            with closing(self.open()) as source:
                return source.header
        except InputError:
            few = _FEW if is_product(self.paths[0]) else None
            return whole_header(replace(self, options=replace(self.options, overview=few)).read())[0]

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
            kind = self.name.partition("-")[0]
            if kind == "hsi":
                raise
            names = [one.name for one in fields(ReadOptions)]
            message = re.sub(rf"(?<![\w.])(?=(?:{'|'.join(names)})=)", f"{kind}_", str(error))
            parameter = f"{kind}_{error.parameter}" if error.parameter in names else error.parameter
            raise InputError(message, parameter) from error.__cause__


def hsi_cube(hsi: ImageLike, msi: CubeHeader) -> tuple[Cube, NDArray[np.float32] | None]:
    """Return what callers pass as the HSI: of a product in sensor geometry on pixels of the MSI, with its offsets.

    Raises:
        InputError: as :func:`hyperfuse.io.files.as_cube`.
    """
    if not isinstance(hsi, str | Path) or find_swaths([hsi], ReadOptions()) is None:
        return as_cube(hsi, "hsi"), None
    return ImageFiles.of("hsi", hsi, ReadOptions(like=msi)).read_with_offsets()


@dataclass(frozen=True)
class BandRank:
    """Where the bands of an image stand among those of several.

    Attributes:
        file: position of its file among the files.
        bands: positions in the product that several images are of; None where they follow each other.
    """

    file: int
    bands: tuple[int, ...] | None = None


@dataclass(frozen=True)
class MsiImage(Generic[Image]):
    """One of several images that together are the MSI.

    Attributes:
        image: a cube, or its files, as it was measured.
        header: its metadata.
        label: its name for messages.
        rank: where its bands stand among all.
        fine: the same with the pixels of the finest of them; None before it is made.
    """

    image: Image
    header: CubeHeader
    label: str
    rank: BandRank
    fine: Image | None = None


@dataclass(frozen=True)
class BandFiles:
    """An MSI of which the bands are in images with pixels of several sizes.

    Attributes:
        parts: the images, the finest first.
        name: of the image in a pair.
    """

    parts: tuple[MsiImage[ImageFiles], ...]
    name: str = "msi"

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of all images, once each."""
        return tuple(dict.fromkeys(path for part in self.parts for path in part.image.paths))

    @property
    def label(self) -> str:
        """The paths for messages."""
        return self.paths[0] if len(self.paths) == 1 else f"{self.paths[0]} and {len(self.paths) - 1} more"

    @property
    def fine(self) -> tuple[ImageFiles, ...]:
        """The images with the pixels of the finest; empty before they are made."""
        made = tuple(part.fine for part in self.parts if part.fine is not None)
        return made if len(made) == len(self.parts) else ()

    def grid(self) -> Grid | None:
        """Return the grid of the finest image; None where it has none."""
        return self.parts[0].image.grid()

    def open(self) -> WindowSource:
        """Open the files to read windows of all bands.

        Raises:
            InputError: one has to be read whole.
        """
        return self.stacked([image.open() for image in self.fine])

    def stacked(self, sources: Sequence[WindowSource]) -> WindowSource:
        """Return sources of the images with the pixels of the finest as one."""
        return stack_images(sources, self.parts)

    def replaced(self, fine: Sequence[ImageFiles]) -> BandFiles:
        """Return the same MSI with other files for the images with the pixels of the finest."""
        return replace(
            self, parts=tuple(replace(part, fine=image) for part, image in zip(self.parts, fine, strict=True))
        )

    def identity(self) -> list[Any]:
        """Return what distinguishes the files from others, or from earlier versions."""
        return [one for part in self.parts for one in part.image.identity()]

    def reading(self) -> list[dict[str, Any]]:
        """Return how they are read as plain values."""
        return [part.image.reading() for part in self.parts]


def stack_images(sources: Sequence[WindowSource], parts: Sequence[MsiImage[Any]]) -> WindowSource:
    """Return images as one on the grid of the first, its bands in the order of the call.

    Args:
        sources: the images with the pixels of the first, or nearly: these are resampled.
        parts: what they are made of.

    Raises:
        InputError: an image that does not overlap with the first, or is in another unit.
    """
    first = sources[0].header
    if len(sources) == 1:
        return sources[0]
    grid = Grid(first.rows, first.cols, first.transform, first.crs)
    keys = [
        (part.rank.file, number if part.rank.bands is None else part.rank.bands[number])
        for part, source in zip(parts, sources, strict=True)
        for number in range(source.header.bands)
    ]
    order = sorted(range(len(keys)), key=lambda index: (keys[index], index))
    placed, described = [], []
    for part, source in zip(parts, sources, strict=True):
        own = source.header
        with _naming(part.label):
            placed.append(placed_on(source, grid))
        history = [dict(step) for step in own.history]
        described.append({"image": Path(part.label).name, "bands": own.bands, "history": history})
    step = {"step": "combine", "images": described}
    return StackedSource(placed, [part.label for part in parts], order=order, changes={"history": (step,)})


@contextmanager
def _naming(label: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{label}: {error}", error.parameter) from error
