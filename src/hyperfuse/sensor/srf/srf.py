"""Srf: the spectral responses of a multispectral sensor, as weights over the bands of a hyperspectral one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.calls import checked_fields
from hyperfuse.errors import InputError

Floats = NDArray[np.float64]

_ROW_SUM_TOLERANCE = 1e-6
_KEYS = ("names", "source", "wavelengths_nm", "fwhm_nm", "matrix")


@checked_fields()
@dataclass(frozen=True, eq=False)
class Srf:
    """The spectral response functions of an MSI: band ``k`` of it is ``sum_i matrix[k, i] * hsi[i]``.

    A row is a weighted mean (non-negative, sum 1), so a spectrally flat scene keeps its value.

    Attributes:
        matrix: float64, shape (msi_bands, hsi_bands).
        names: one name per MSI band; default: ``band 1``, ``band 2``, ...
        wavelengths: effective centres of the MSI bands in nm, shape (msi_bands,), or None where unknown.
        fwhm: full widths at half maximum of the MSI bands in nm, shape (msi_bands,), or None where unknown.
        source: where the responses come from, for records and reports.

    Raises:
        InputError: a matrix that is not two-dimensional, not finite, has negative weights or rows that do not sum
            to 1, or names, wavelengths or widths that do not fit its rows.

    Example:
        >>> srf = Srf([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], names=("short", "long"))
        >>> srf.msi_bands, srf.hsi_bands
        (2, 3)
        >>> Srf.from_dict(srf.to_dict()) == srf
        True
    """

    matrix: NDArray[np.float64]
    names: tuple[str, ...] = ()
    wavelengths: NDArray[np.float64] | None = None
    fwhm: NDArray[np.float64] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        matrix = _numbers(self.matrix, "the matrix of an SRF")
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise InputError(f"an SRF needs a matrix of (MSI bands, HSI bands), got the shape {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise InputError("the matrix of an SRF holds NaN or infinite values")
        names = tuple(str(name) for name in self.names) or tuple(f"band {k + 1}" for k in range(len(matrix)))
        if len(names) != len(matrix):
            raise InputError(f"{len(names)} names for the {len(matrix)} bands of an SRF")
        if (matrix < 0).any():
            row = int(np.argmax((matrix < 0).any(axis=1)))
            raise InputError(f"the SRF of {names[row]} has negative weights ({matrix[row].min():g})")
        sums = matrix.sum(axis=1)
        if (np.abs(sums - 1) > _ROW_SUM_TOLERANCE).any():
            row = int(np.argmax(np.abs(sums - 1)))
            raise InputError(f"the weights of the SRF of {names[row]} sum to {sums[row]:g}, not to 1")
        put(self, "matrix", matrix)
        put(self, "names", names)
        put(self, "wavelengths", self._per_band("wavelengths"))
        put(self, "fwhm", self._per_band("fwhm"))
        put(self, "source", str(self.source))

    def _per_band(self, name: str) -> NDArray[np.float64] | None:
        values = getattr(self, name)
        if values is None:
            return None
        array = _numbers(values, f"{name} of an SRF")
        if array.shape != (self.msi_bands,):
            raise InputError(f"{name} of the shape {array.shape} for an SRF of {self.msi_bands} bands")
        if not (np.isfinite(array) & (array > 0)).all():
            raise InputError(f"{name} of an SRF must be positive and finite (nm), or None where unknown")
        return array

    @property
    def msi_bands(self) -> int:
        """Number of bands of the MSI."""
        return int(self.matrix.shape[0])

    @property
    def hsi_bands(self) -> int:
        """Number of bands of the HSI."""
        return int(self.matrix.shape[1])

    def __eq__(self, other: object) -> bool:
        """Whether all attributes are the same, to the last bit."""
        if not isinstance(other, Srf):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # an array inside can change, so no hash would hold

    def to_dict(self) -> dict[str, Any]:
        """Return names, source, centres, widths and matrix as plain lists, for YAML or JSON; see :meth:`from_dict`."""
        return {
            "names": list(self.names),
            "source": self.source,
            "wavelengths_nm": None if self.wavelengths is None else self.wavelengths.tolist(),
            "fwhm_nm": None if self.fwhm is None else self.fwhm.tolist(),
            "matrix": self.matrix.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Srf:
        """Build an SRF from what :meth:`to_dict` returned; only ``matrix`` is required.

        Raises:
            InputError: a missing matrix, an unknown key, or values that make no SRF.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"an srf is a mapping with the keys {', '.join(_KEYS)}; got {type(values).__name__}")
        unknown = sorted(str(key) for key in values if key not in _KEYS)
        if unknown:
            raise InputError(f"unknown key {unknown[0]!r} in the srf; keys are {', '.join(_KEYS)}")
        if values.get("matrix") is None:
            raise InputError("the srf has no matrix (one list of HSI-band weights per MSI band)")
        names = values.get("names") or ()
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise InputError(f"the names of the srf are a list, one per MSI band; got {names!r}")
        return cls(
            matrix=values["matrix"],
            names=tuple(names),
            wavelengths=values.get("wavelengths_nm"),
            fwhm=values.get("fwhm_nm"),
            source=values.get("source") or "",
        )


@dataclass(frozen=True, eq=False)
class HsiBands:
    """The bands of an HSI for which responses are made.

    Attributes:
        count: number of bands.
        wavelengths: centres in nm, any order, (count,); NaN where unknown; None where all are.
        fwhm: full widths at half maximum in nm, (count,); NaN where unknown; None where all are.
        usable: bool (count,): the other bands get weight 0, as if they were not there. Default: all.

    Raises:
        InputError: another number of wavelengths, widths or flags than of bands, or no usable band.
    """

    count: int
    wavelengths: Floats | None = None
    fwhm: Floats | None = None
    usable: NDArray[np.bool_] = None  # type: ignore[assignment]  # set on construction

    def __post_init__(self) -> None:
        for name, label in (("wavelengths", "wavelengths"), ("fwhm", "FWHM")):
            if getattr(self, name) is not None:
                values = _numbers(getattr(self, name), f"the {label} of the HSI").ravel()
                if values.size != self.count:
                    raise InputError(f"{values.size} {label} for {self.count} HSI bands")
                object.__setattr__(self, name, values)
        mask = np.ones(self.count, np.bool_) if self.usable is None else np.asarray(self.usable)
        if mask.shape != (self.count,) or mask.dtype != np.bool_:
            raise InputError(
                f"usable needs {self.count} booleans, one per HSI band; got {mask.dtype} of shape {mask.shape}"
            )
        if not mask.any():
            raise InputError("no HSI band is usable, so there is nothing to weight; see the bad-band list of the HSI")
        object.__setattr__(self, "usable", mask)

    @classmethod
    def of(cls, hsi: HsiBands | ArrayLike) -> HsiBands:
        """Return bands as they are, the bands with the given wavelengths in nm, or a given number of bands."""
        if isinstance(hsi, HsiBands):
            return hsi
        if isinstance(hsi, int | np.integer):
            return cls(int(hsi))
        wavelengths = _numbers(hsi, "the wavelengths of the HSI")
        if wavelengths.ndim != 1 or wavelengths.size == 0:
            raise InputError(
                f"the wavelengths of the HSI must be one number per band; got the shape {wavelengths.shape}"
            )
        return cls(wavelengths.size, wavelengths)


def srf_boxes(count: int, hsi: HsiBands | int) -> Srf:
    """Return ``count`` responses, each the mean of a run of neighbouring bands; the runs are equally long.

    The bands are taken in their order in the image, as ``numpy.array_split`` cuts. Needs no wavelengths; where all
    usable bands have one, the mean of each run is its centre.

    Raises:
        InputError: a count below 1 or above the number of usable bands.
    """
    hsi = HsiBands.of(hsi)
    bands = np.flatnonzero(hsi.usable)
    if not 1 <= count <= bands.size:
        raise InputError(f"{count} boxes cannot be cut from {bands.size} usable bands; take 1 to {bands.size}")
    matrix = np.zeros((count, hsi.count))
    runs = np.array_split(bands, count)
    for row, run in zip(matrix, runs, strict=True):
        row[run] = 1 / run.size
    centres: Floats | None = None
    if hsi.wavelengths is not None and np.isfinite(hsi.wavelengths[bands]).all():
        centres = matrix @ np.where(np.isfinite(hsi.wavelengths), hsi.wavelengths, 0.0)
    names = tuple(f"bands {run[0] + 1} to {run[-1] + 1}" for run in runs)
    return Srf(matrix=matrix, names=names, wavelengths=centres, source=f"boxes:{count}")


def _numbers(values: Any, what: str) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what} must be numbers in lists of equal length") from error
