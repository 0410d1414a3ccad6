"""The images that are viewed together: opened, placed in one plane, and described for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import Display, choose_display, match_display
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.inputs import identity
from hyperfuse.runtime.cache import cache_folder
from hyperfuse.text import single_line
from hyperfuse.viewer.builder import Builder
from hyperfuse.viewer.image import Bands, Opening, ViewedImage
from hyperfuse.viewer.levels import Levels
from hyperfuse.viewer.plane import PlanePlacement, choose_plane, corners_of, place
from hyperfuse.viewer.pyramid import DiskPyramid

# Sides of an image that needs no pyramid, whatever its bands.
_SMALL = 1024
_MOST_IMAGES = 16
# Sides of the part of an image in which its bands are checked for values.
_SAMPLED = 16


class Named(NamedTuple):
    """An image to view: its name, how it is opened, and what it is of the others: reference, uncertainty or image."""

    name: str
    opening: Opening
    role: str = "image"


@dataclass(frozen=True)
class Viewed:
    """An image of a scene.

    Attributes:
        name: that is shown.
        role: reference, uncertainty or image.
        levels: its values.
        placement: in the plane.
        display: the bands that show it best.
    """

    name: str
    role: str
    levels: Levels
    placement: PlanePlacement
    display: Display

    @property
    def header(self) -> CubeHeader:
        """Of the image."""
        return self.levels.image.header

    @property
    def usable_bands(self) -> Bands:
        """The indices of bands that are not marked as bad."""
        good = self.header.good_bands
        return self.levels.image.every_band if good is None else tuple(np.flatnonzero(good).tolist())


class ViewedScene:
    """Images in one plane.

    Args:
        images: those to view, in their order.

    Attributes:
        images: as they are viewed.
        plane: header of the image that gives the plane.
        bounds: of all images in the plane: left, top, right, bottom.
        uncertainty_of: by the number of an uncertainty, that of its image.
        builder: of their pyramids.

    Raises:
        InputError: no images or too many, a file that cannot be read, or no image that an uncertainty is of.
    """

    def __init__(self, images: Sequence[Named]) -> None:
        if not 1 <= len(images) <= _MOST_IMAGES:
            raise InputError(f"{len(images)} images are named; view 1 to {_MOST_IMAGES} together")
        viewed = [ViewedImage(name, opening) for name, opening, _ in images]
        headers = [one.header for one in viewed]
        self.plane = headers[choose_plane(headers)]
        first: Display | None = None
        self.images: list[Viewed] = []
        for one, (name, _, role) in zip(viewed, images, strict=True):
            levels = Levels(one, _pyramid(one))
            display = _display(levels, first)
            first = first or display
            self.images.append(Viewed(name, role, levels, place(self.plane, one.header), display))
        corners = np.array([corners_of(one.placement) for one in self.images]).reshape(-1, 2)
        self.bounds = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        self.uncertainty_of = self._paired()
        self.builder = Builder([one.levels for one in self.images])

    def stop(self) -> None:
        """End what threads read, with an error in them."""
        for one in self.images:
            one.levels.stop()

    def close(self) -> None:
        """End the thread that builds, and close the files."""
        self.stop()
        self.builder.close()
        for one in self.images:
            one.levels.close()

    @property
    def reference(self) -> int | None:
        """The number of the reference, or None."""
        return next((number for number, one in enumerate(self.images) if one.role == "reference"), None)

    def describe(self) -> dict[str, Any]:
        """Return what the page needs to know, in values that JSON can hold; bands are counted from 0."""
        return {
            "plane": {"rows": self.plane.rows, "cols": self.plane.cols, "crs": self.plane.crs},
            "images": [self._described(number) for number in range(len(self.images))],
        }

    def _described(self, number: int) -> dict[str, Any]:
        one = self.images[number]
        header, display = one.header, one.display
        notes = [] if one.placement.note is None else [one.placement.note]
        if not _overlap(corners_of(one.placement), self.plane):
            notes.append("does not overlap the image with most pixels")
        affine = one.placement.affine
        good = header.good_bands
        return {
            "name": one.name,
            "role": one.role,
            "of": self.uncertainty_of.get(number),
            "facts": header.facts(),
            "rows": header.rows,
            "cols": header.cols,
            "bands": header.bands,
            "wavelengths": _numbers(header.wavelengths),
            "fwhm": _numbers(header.fwhm),
            "good": None if good is None else good.tolist(),
            "names": None if header.band_names is None else [single_line(name) for name in header.band_names],
            "units": None if header.coding.units is None else single_line(header.coding.units),
            "shown": {"bands": list(display.bands), "label": display.label},
            "corners": corners_of(one.placement),
            "pixel": 1 / math.sqrt(abs(affine.determinant)),
            "notes": notes,
        }

    def _paired(self) -> dict[int, int]:
        """Return of which image each uncertainty is, by their numbers.

        Of the one with as many pixels and bands, the last where there are several: the fused one is named after those
        that it was made of.
        """
        found = {}
        for number, one in enumerate(self.images):
            if one.role != "uncertainty":
                continue
            fits = [
                other
                for other, image in enumerate(self.images)
                if image.role == "image" and image.header.shape == one.header.shape
            ]
            if fits:
                before = [other for other in fits if other < number]
                found[number] = (before or fits)[-1]
        return found


def role_of(header: CubeHeader, stated: str = "image") -> str:
    """Return what an image is by its history: an uncertainty that a fusion wrote, else as stated."""
    quantity = header.history[-1].get("quantity") if header.history else None
    return "uncertainty" if isinstance(quantity, str) and "deviation" in quantity else stated


def _pyramid(image: ViewedImage) -> DiskPyramid | None:
    """Return the pyramid of an image that needs one: of a file that is large and holds no overviews."""
    header, opening = image.header, image.opening
    if opening.file is None or max(header.rows, header.cols) <= _SMALL or image.levels:
        return None
    stated = [opening.file, *identity(opening.file), repr(opening.options)]
    strips = image.layout.cols >= header.cols
    return DiskPyramid(header.shape, stated, cache_folder() / "view", strips=strips)


def _display(levels: Levels, first: Display | None) -> Display:
    """Return the bands that show an image best, near those of the first image; none of them is empty.

    Chosen by the header, unless one of these holds no value in the centre of the image: then by values of all bands,
    which take long to read of many files.
    """
    image = levels.image
    header = image.header
    row, col = (max(0, (size - _SAMPLED) // 2) for size in (header.rows, header.cols))
    window = Window(row, col, min(_SAMPLED, header.rows), min(_SAMPLED, header.cols))
    shown = Cube.from_header(header.crop(0, 0, 1, 1), np.zeros((header.bands, 1, 1), np.float32))
    found = choose_display(shown) if first is None else match_display(shown, first)
    bands = tuple(dict.fromkeys(found.bands))
    if np.isfinite(image.values(bands, 0, window)).any(axis=(1, 2)).all():
        return found
    with image.source(image.every_band, 0) as source:
        shown = source.read(window)
    return choose_display(shown) if first is None else match_display(shown, first)


def _overlap(corners: Sequence[Sequence[float]], plane: CubeHeader) -> bool:
    cols, rows = zip(*corners, strict=True)
    return bool(min(cols) < plane.cols and max(cols) > 0 and min(rows) < plane.rows and max(rows) > 0)


def _numbers(values: NDArray[np.float64] | None) -> list[float | None] | None:
    return None if values is None else [float(value) if np.isfinite(value) else None for value in values]


def name_of(path: str | Path) -> str:
    """Return the name that is shown of a file: without its folders, with its variable."""
    file, variable = split_variable(path)
    return single_line(file.name if variable is None else f"{file.name}:{variable}")
