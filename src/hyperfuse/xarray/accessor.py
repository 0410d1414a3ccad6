"""The accessor ``.hyperfuse``: fusion, simulation, scores and pictures of xarray's own objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import xarray
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.dataarray import decode_dataarray_header, image_dimensions
from hyperfuse.cube.display import choose_display, render_rgb, stretch_limits
from hyperfuse.errors import InputError
from hyperfuse.metrics import evaluate
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.model import Sensor
from hyperfuse.xarray.coordinates import with_coordinates
from hyperfuse.xarray.lazy import fuse_lazily, is_lazy

Data = TypeVar("Data", xarray.DataArray, xarray.Dataset)

# Options of a fusion of images in memory alone.
_EAGER = ("mask", "progress")


class SimulatedArrays(NamedTuple):
    """A simulated pair: ``hsi`` and ``msi``, the ``sensor`` that made them, and the ``reference`` cut to fit."""

    hsi: Any
    msi: Any
    sensor: Sensor
    reference: Any


class _Bands(NamedTuple):
    """What is known of the bands of an image whose values are not."""

    data: NDArray[Any]
    wavelengths: NDArray[np.float64] | None
    band_names: tuple[str, ...] | None
    usable_bands: NDArray[np.bool_]


class _Accessor(ABC, Generic[Data]):
    """What the accessors of ``DataArray`` and ``Dataset`` have in common: work on the one image of the object."""

    def __init__(self, data: Data) -> None:
        self._data: Data = data

    @property
    def _image(self) -> xarray.DataArray:
        return image_of(self._data, "this data set")

    @abstractmethod
    def _wrapped(self, array: xarray.DataArray) -> Data:
        """Return an image as the same kind of object as the accessor is of."""

    def fuse(self, msi: Any, **options: Any) -> Data:
        """Fuse this LR-HSI with an HR-MSI; see :func:`hyperfuse.fuse`.

        Where one of the two is not computed yet (chunks of dask), neither is the result: it is a graph of tiles, see
        :func:`hyperfuse.xarray.fuse_lazily`, that reads and fuses when values are needed.

        Args:
            msi: a ``DataArray`` or ``Dataset``; in memory also several, or whatever :func:`hyperfuse.fuse` takes.
            **options: those of :func:`hyperfuse.fuse` but ``return_details``: method, settings, srf, psf, ratio, ...;
                of a lazy fusion also ``tile``, and neither mask nor progress.

        Returns:
            The fused image with the bands of the HSI and the pixels of the MSI: the names of dimensions, coordinates
            (``spatial_ref`` with them) and attributes are those of the two.

        Raises:
            InputError: a pair or an option that does not fit.
        """
        hsi = self._image
        several = isinstance(msi, Sequence) and not isinstance(msi, str)
        images = [_image_or_other(one) for one in (msi if several else [msi])]
        arrays = [one for one in images if isinstance(one, xarray.DataArray)]
        if "return_details" in options:
            raise InputError("return_details is of hyperfuse.fuse; leave it out", "return_details")
        if is_lazy(hsi) or any(is_lazy(one) for one in arrays):
            given = next((name for name in _EAGER if options.get(name) is not None), None)
            if several or not arrays or given is not None:
                what = (
                    "several MSIs are"
                    if several
                    else "the MSI is no DataArray, which is"
                    if not arrays
                    else f"{given}=... is"
                )
                raise InputError(
                    f"{what} for arrays in memory, and one is not computed yet; call .load() on it first", given
                )
            fused = fuse_lazily(hsi, arrays[0], **options)
        else:
            if options.pop("tile", None) is not None:
                raise InputError("tile=... is for arrays that are not computed yet, and both are in memory", "tile")
            fused = fuse(hsi, images if several else images[0], **options).to_xarray()
        grid = arrays[0] if len(arrays) == 1 else None
        return self._wrapped(with_coordinates(fused, hsi, grid))

    def simulate(self, **options: Any) -> SimulatedArrays:
        """Degrade this reference image into a pair, in memory; arguments as for :func:`hyperfuse.simulate`.

        Raises:
            InputError: a ratio, name or band count that does not fit.
        """
        reference = self._image
        pair = simulate(reference, **options)
        arrays = (with_coordinates(cube.to_xarray(), None, None) for cube in (pair.hsi, pair.msi, pair.reference))
        hsi, msi, cut = (self._wrapped(array.rename(reference.name)) for array in arrays)
        return SimulatedArrays(hsi, msi, pair.sensor, cut)

    def evaluate(self, reference: Any, ratio: float | tuple[float, float], **options: Any) -> dict[str, Any]:
        """Score this fused image against its reference; see :func:`hyperfuse.evaluate`.

        Args:
            reference: a ``DataArray``, ``Dataset``, or whatever :func:`hyperfuse.evaluate` takes.
            ratio: resolution ratio between LR-HSI and HR-MSI.
            **options: mask, peak, clip, convention.

        Raises:
            InputError: images that do not fit together.
        """
        return dict(evaluate(_image_or_other(reference), self._image, ratio, **options))

    @property
    def wavelengths(self) -> NDArray[np.float64] | None:
        """Centres of the bands in nm, (bands,), whatever unit the coordinate has; None where none is stated."""
        return decode_dataarray_header(self._image).wavelengths

    def rgb(self) -> xarray.DataArray:
        """Return the image in colours, (y, x, rgb) in [0, 1]: ``data.hyperfuse.rgb().plot.imshow()``.

        Only the three bands that are shown are computed: those nearest 650, 550 and 460 nm, else infrared, else spread.
        """
        image = self._image
        header = decode_dataarray_header(image)
        good = np.ones(header.bands, np.bool_) if header.good_bands is None else header.good_bands
        blank = np.broadcast_to(np.float32(0), header.shape)
        display = choose_display(_Bands(blank, header.wavelengths, header.band_names, good))
        band, row, col = image_dimensions(image)
        unique = sorted(set(display.bands))
        some = Cube.from_xarray(image if band is None else image.isel({band: unique}))
        red, green, blue = (unique.index(one) for one in display.bands)
        drawn = display._replace(bands=(red, green, blue))
        colours = render_rgb(some, drawn, stretch_limits(some, drawn))
        along = {name: image.coords[name] for name in (row, col) if name in image.coords}
        about = {"long_name": display.label}
        return xarray.DataArray(colours, coords=along, dims=(row, col, "rgb"), name="rgb", attrs=about)


class ArrayAccessor(_Accessor[xarray.DataArray]):
    """``array.hyperfuse``: what hyperfuse does with an image that is a ``DataArray``.

    Example:
        >>> reference = Cube(np.random.default_rng(0).random((6, 16, 16)), wavelengths=range(450, 750, 50)).to_xarray()
        >>> pair = reference.hyperfuse.simulate(ratio=4, srf="boxes:3")
        >>> fused = pair.hsi.hyperfuse.fuse(pair.msi, method="regression")
        >>> dict(fused.sizes), float(fused.wavelength[0])
        ({'band': 6, 'y': 16, 'x': 16}, 450.0)
    """

    def _wrapped(self, array: xarray.DataArray) -> xarray.DataArray:
        return array


class DatasetAccessor(_Accessor[xarray.Dataset]):
    """``dataset.hyperfuse``: what hyperfuse does with the one image of a ``Dataset``; images come as data sets."""

    def _wrapped(self, array: xarray.DataArray) -> xarray.Dataset:
        named = array if array.name is not None else array.rename("cube")
        return named.to_dataset().assign_attrs(self._data.attrs)


def image_of(data: xarray.DataArray | xarray.Dataset, name: str) -> xarray.DataArray:
    """Return the image of a ``Dataset``: its one variable with three dimensions; a ``DataArray`` as it is.

    Raises:
        InputError: there is none, or there are several.
    """
    if isinstance(data, xarray.DataArray):
        return data
    found = [variable for variable in data.data_vars.values() if variable.ndim >= 3]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(one.name) for one in found)
        raise InputError(f"{name} has several images ({names}); use one of them, such as data[{str(found[0].name)!r}]")
    raise InputError(f"{name} has no variable with bands, rows and columns; data.to_dataarray('band') stacks variables")


def _image_or_other(data: Any) -> Any:
    return image_of(data, "the other data set") if isinstance(data, xarray.Dataset) else data


def register() -> None:
    """Make the accessors attributes of xarray's classes, as importing :mod:`hyperfuse.xarray` does."""
    on_array: Any = xarray.register_dataarray_accessor
    on_dataset: Any = xarray.register_dataset_accessor
    on_array("hyperfuse")(ArrayAccessor)
    on_dataset("hyperfuse")(DatasetAccessor)
