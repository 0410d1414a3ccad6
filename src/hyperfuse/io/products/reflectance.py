"""The reflectance of a product, decoded part by part so that no second copy of a large scene is held."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import BandCoding, decode_values
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.version import __version__

# Twice the rows of the largest scene of any product (Sentinel-2, 10980), for both axes.
_MAX_SIDE = 22_000
MAX_BANDS = 2_000
_BLOCK = 16

Valid = NDArray[np.bool_] | None
Resample = Callable[[NDArray[Any], Valid], tuple[NDArray[Any], Valid]]


class Reflectance:
    """Receives the stored numbers of bands and makes a cube of their reflectance, of a shape (bands, rows, cols).

    The caller's scale, offset and nodata apply as for any other file; ``where`` names the product in warnings.

    Raises:
        InputError: a scene larger than any product has.
    """

    def __init__(self, shape: tuple[int, int, int], options: ReadOptions, where: str) -> None:
        check_size(shape[1], shape[2])
        if shape[0] > MAX_BANDS:
            raise InputError(f"has {shape[0]} bands; no product has")
        self._whole = shape[1:]
        self.step = decimation(options, *shape[1:])
        self._data = np.empty((shape[0], *decimated_size(self._whole, self.step)), np.float32)
        self._valid: Valid = None
        self._options, self._where = options, where
        self._codes: set[tuple[float, float]] = set()
        self._nodata: float | None = None

    def put(self, window: Any, stored: NDArray[Any], coding: BandCoding, resample: Resample | None = None) -> None:
        """Decode the stored numbers of a window of (bands, rows, cols), and resample values and validity onto it.

        Raises:
            InputError: NaN that nothing declares, or numbers that are not real.
        """
        with warnings.catch_warnings():
            if self._codes:
                # That the caller's scale replaces the product's is reported once, not for every band.
                warnings.simplefilter("ignore", HyperfuseWarning)
            coding = coding.with_options(self._options, len(stored), self._where)
        common = coding.common(self._options)
        self._codes.add((common.scale, common.offset))
        self._nodata = common.nodata
        data, valid = decode_values(stored, coding)
        if resample is not None:
            data, valid = resample(data, valid)
        self._data[window] = data
        if valid is not None:
            if self._valid is None:
                self._valid = np.ones(self._data.shape, np.bool_)
            self._valid[window] = valid

    def cube(
        self,
        product: str,
        scene: str,
        gaps: Sequence[str],
        attributes: Mapping[str, str | None],
        *,
        steps: Mapping[str, Any] | None = None,
        **header: Any,
    ) -> Cube:
        """Return the cube once all bands are in, with the step of its history that records the reading.

        ``gaps`` are the reasons for which pixels were made gaps, such as ``saturated``; attributes that are None or
        empty are left out; ``steps`` is what else reading did, by name; ``header``: wavelengths, transform, …
        """
        scale, offset = next(iter(self._codes)) if len(self._codes) == 1 else (1.0, 0.0)
        if self.step > 1:
            rows, cols = self._whole
            steps = {**(steps or {}), "overview": {"rows": rows, "cols": cols, "step": self.step}}
            if header.get("transform") is not None:
                low_rows, low_cols = self._data.shape[1:]
                header["transform"] @= Affine.scale(cols / low_cols, rows / low_rows)
        return Cube(
            data=self._data,
            valid=self._valid,
            nodata=self._nodata,
            scale=scale,
            offset=offset,
            units="reflectance",
            attributes={key: text for key, text in {"scene": scene, **attributes}.items() if text},
            history=(reading_step(product, scene, self._options, gaps, steps),),
            **header,
        )


def reading_step(
    product: str, scene: str, options: ReadOptions, gaps: Sequence[str], steps: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the step of the history that records the reading of a product; see :meth:`Reflectance.cube`."""
    step = {"step": "read", "product": product, "scene": scene, "quality": options.quality or "standard"}
    return {**step, "gaps": list(gaps), **(steps or {}), "version": __version__}


def decimation(options: ReadOptions, rows: int, cols: int) -> int:
    """Return which pixels of a scene are read along an axis, every n-th, n a power of 2."""
    step = 1
    while options.overview is not None and max(rows, cols) > step * options.overview:
        step *= 2
    return step


def decimated_size(size: tuple[int, int], step: int) -> tuple[int, int]:
    """Return the size (rows, cols) of an image of which every ``step``-th pixel is read."""
    return -(-size[0] // step), -(-size[1] // step)


def decimated(layer: NDArray[Any], step: int) -> NDArray[Any]:
    """Return every ``step``-th pixel of a layer (rows, cols), the nearest to the centres, as GDAL takes them."""
    if step == 1:
        return layer
    size = (layer.shape[0], layer.shape[1])
    rows, cols = (decimated_index(full, low) for full, low in zip(size, decimated_size(size, step), strict=True))
    return np.asarray(layer[rows[:, None], cols])


def decimated_index(full: int, low: int) -> NDArray[np.intp]:
    """Return the pixels that are read along an axis, ``low`` of ``full``."""
    return ((np.arange(low) + 0.5) * full / low).astype(np.intp)


def check_size(rows: int, cols: int) -> None:
    """Refuse a scene that is empty or larger than any product has, before memory is taken for it."""
    if not (0 < rows <= _MAX_SIDE and 0 < cols <= _MAX_SIDE):
        raise InputError(f"has {rows} x {cols} pixels; no scene of a product has")


def selected_bands(options: ReadOptions, count: int) -> list[int]:
    """Return the indices of the bands to read among those of a product."""
    index = options.band_index(count)
    return list(range(count)) if index is None else index


def in_blocks(bands: Sequence[int]) -> Iterator[tuple[slice, list[int]]]:
    """Give the bands to read in blocks: the slice that a block has in the cube, and its bands."""
    for start in range(0, len(bands), _BLOCK):
        block = list(bands[start : start + _BLOCK])
        yield slice(start, start + len(block)), block


def warn(message: str) -> None:
    """Report something about a product that the user should know."""
    warnings.warn(message, HyperfuseWarning, stacklevel=3)


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
