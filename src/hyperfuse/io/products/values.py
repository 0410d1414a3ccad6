"""The values of a product, put together band by band so that no second copy of a large scene is held."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import Coding, decode
from hyperfuse.io.encoding.options import ReadOptions

UNITS = "reflectance"
# Twice the rows of the largest scene of any product (Sentinel-2, 10980), for both axes.
_LARGEST_SIDE = 22_000
_MOST_BANDS = 2_000


class Values:
    """Receives the stored numbers of bands and holds their reflectance.

    Args:
        shape: (bands, rows, cols) of the cube to make.
        options: what the caller says; its scale, offset and nodata count as for any other file.
        where: name of the product, for warnings.

    Raises:
        InputError: a scene larger than any product has.
    """

    def __init__(self, shape: tuple[int, int, int], options: ReadOptions, where: str) -> None:
        check_size(shape[1], shape[2])
        if shape[0] > _MOST_BANDS:
            raise InputError(f"has {shape[0]} bands; no product has")
        self._data = np.empty(shape, np.float32)
        self._valid: NDArray[np.bool_] | None = None
        self._options, self._where = options, where
        self._codes: set[tuple[float, float]] = set()
        self._nodata: float | None = None

    def decode(self, stored: NDArray[Any], coding: Coding) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return reflectance, NaN in gaps, and where it is no gap (None: everywhere), both (bands, rows, cols).

        Raises:
            InputError: NaN that nothing declares, or numbers that are not real.
        """
        with warnings.catch_warnings():
            if self._codes:
                # What the caller's scale replaces is said once, not for every band.
                warnings.simplefilter("ignore", HyperfuseWarning)
            fields = decode(stored, coding, self._options, self._where)
        self._codes.add((fields["scale"], fields["offset"]))
        self._nodata = fields["nodata"]
        return fields["data"], fields["valid"]

    def put(self, window: Any, data: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        """Put decoded values into their place, a window of (bands, rows, cols); see :meth:`decode`."""
        self._data[window] = data
        if valid is not None and self._valid is None:
            self._valid = np.ones(self._data.shape, np.bool_)
        if valid is not None and self._valid is not None:
            self._valid[window] = valid

    def fields(self) -> dict[str, Any]:
        """Return the fields of a cube that the values tell, once all bands are in."""
        scale, offset = next(iter(self._codes)) if len(self._codes) == 1 else (1.0, 0.0)
        return {
            "data": self._data,
            "valid": self._valid,
            "nodata": self._nodata,
            "scale": scale,
            "offset": offset,
            "units": UNITS,
        }


def check_size(rows: int, cols: int) -> None:
    """Refuse a scene that is larger than any product has, before memory is taken for it.

    Raises:
        InputError: too many rows or columns, or none.
    """
    if not (0 < rows <= _LARGEST_SIDE and 0 < cols <= _LARGEST_SIDE):
        raise InputError(f"has {rows} x {cols} pixels; no scene of a product has")


def history_step(
    product: str, scene: str, masked: Collection[str], options: ReadOptions, **more: Any
) -> dict[str, Any]:
    """Return the step of the history that says what reading did.

    Args:
        product: name of the product, such as ``EnMAP L2A``.
        scene: name of the scene.
        masked: what was made a gap, in a few words each.
        options: what the caller says.
        more: further entries.
    """
    from hyperfuse import __version__

    about = {"step": "read", "product": product, "scene": scene, "quality": options.quality or "standard"}
    return {**about, "gaps": list(masked), **more, "version": __version__}


def chosen_bands(options: ReadOptions, count: int) -> list[int]:
    """Return the indices of the bands to read among those of a product."""
    index = options.band_index(count)
    return list(range(count)) if index is None else index


def known(attributes: dict[str, str | None]) -> dict[str, str]:
    """Return the attributes that have a value."""
    return {key: text for key, text in attributes.items() if text}


def pick(values: Sequence[Any], index: Sequence[int]) -> list[Any]:
    """Return the entries of the given indices."""
    return [values[i] for i in index]
