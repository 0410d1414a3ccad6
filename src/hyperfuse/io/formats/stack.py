"""Stacking of files that hold bands of one image each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.io.formats.registry import split_variable

# Positions may differ by this fraction of a pixel.
_TOLERANCE = 1e-3


def same_grid(first: CubeHeader, second: CubeHeader) -> bool:
    """Return whether two images have the same pixels: size, transform and CRS."""
    from hyperfuse.cube.crs import same_crs  # it loads rasterio

    if first.shape[1:] != second.shape[1:] or not same_crs(first.crs, second.crs):
        return False
    if first.transform is None or second.transform is None:
        return first.transform is second.transform
    pixel = max(first.resolution or (1.0,))
    return bool(np.allclose(first.transform, second.transform, rtol=1e-9, atol=_TOLERANCE * pixel))


def stack(cubes: Sequence[Cube], names: Sequence[str]) -> Cube:
    """Return the bands of all cubes as one, in their order.

    Bands without a name get that of their variable, else of their file. Attributes and history are kept where all have
    the same; scale and offset likewise (the values are decoded).

    Args:
        cubes: on one grid.
        names: of their files, for messages and band names.

    Raises:
        InputError: another grid or unit than the first.

    Example:
        >>> red, green = (Cube(data=np.ones((1, 2, 3))) for _ in range(2))
        >>> stack([red, green], ["red.png", "green.png"]).band_names
        ('red', 'green')
    """
    header = stacked_header([cube.header for cube in cubes], names)
    return Cube.from_header(header, *stacked_values(cubes))


def stacked_values(cubes: Sequence[Cube]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return values and validity of the bands of all cubes as one."""
    whole = [cube.valid if cube.valid is not None else np.ones(cube.shape, np.bool_) for cube in cubes]
    valid = None if all(cube.valid is None for cube in cubes) else np.concatenate(whole)
    return np.concatenate([cube.data for cube in cubes]), valid


def stacked_header(headers: Sequence[CubeHeader], names: Sequence[str]) -> CubeHeader:
    """Return the header of the bands of all images as one; see :func:`stack`.

    Raises:
        InputError: another grid or unit than the first.
    """
    first = headers[0]
    for header, name in zip(headers, names, strict=True):
        if not same_grid(first, header):
            size = f"{header.rows} x {header.cols} pixels, {first.rows} x {first.cols} in the first"
            raise InputError(f"{name}: is not on the grid of {names[0]} ({size}), so it is no band of the same image")
        if header.coding.units != first.coding.units:
            raise InputError(f"{name}: its units are {header.coding.units}, not {first.coding.units} as of {names[0]}")
    bands = [
        own or (stem if header.bands == 1 else f"{stem} {band + 1}")
        for header, name in zip(headers, names, strict=True)
        for stem in [_stem(name)]
        for band, own in enumerate(header.band_names or [""] * header.bands)
    ]
    coded = {(header.coding.scale, header.coding.offset) for header in headers}
    scale, offset = coded.pop() if len(coded) == 1 else (1.0, 0.0)
    return CubeHeader(
        shape=(len(bands), first.rows, first.cols),
        wavelengths=_per_band(headers, "wavelengths", np.nan),
        fwhm=_per_band(headers, "fwhm", np.nan),
        good_bands=_per_band(headers, "good_bands", True),
        band_names=tuple(bands),
        transform=first.transform,
        crs=first.crs,
        coding=replace(first.coding, scale=scale, offset=offset),
        attributes=common_attributes(headers),
        history=first.history if all(header.history == first.history for header in headers) else (),
    )


def common_attributes(cubes: Sequence[Cube | CubeHeader]) -> dict[str, str]:
    """Return the attributes that are the same in all images."""
    first = cubes[0].attributes
    return {key: text for key, text in first.items() if all(cube.attributes.get(key) == text for cube in cubes)}


def _stem(name: str) -> str:
    file, variable = split_variable(name)
    return file.stem if variable is None else variable.rsplit("/", 1)[-1]


def _per_band(cubes: Sequence[CubeHeader], name: str, unknown: float | bool) -> np.ndarray | None:
    values = [getattr(cube, name) for cube in cubes]
    if all(value is None for value in values):
        return None
    filled = [
        np.full(cube.bands, unknown) if value is None else value for cube, value in zip(cubes, values, strict=True)
    ]
    return np.concatenate(filled)
