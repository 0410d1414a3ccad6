"""Detectors of an HSI: which bands each of them records, and how far its samples lie from the sensor's positions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked_fields
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.sensor.psf import Pair, number_pair

# Names of bands that state their detector, such as "SWIR 12".
_NAMED = re.compile(r"(VNIR|SWIR)\b", re.IGNORECASE)
# Instruments whose bands are numbered through: the first number of the second detector (EO-1 User Guide).
_SECOND_FROM = {"hyperion": 71}
_NUMBERED = re.compile(r"B(\d{1,3})")
# Wavelengths that fall back once or a few times: each run of at least this many rising ones is a detector.
_LEAST_RUN, _MOST_RUNS = 10, 4


@checked_fields("shift", "bands")
@dataclass(frozen=True)
class Detector:
    """One detector of an HSI, whose samples may lie elsewhere than those of the others.

    Attributes:
        name: such as ``VNIR``.
        bands: indices (from 0) of the HSI bands that it records.
        shift: of its samples from the positions of the sensor, along (y, x) in HR pixels.

    Raises:
        InputError: no band, or numbers that are none.
    """

    name: str
    bands: tuple[int, ...]
    shift: Pair = (0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", number_pair(self.shift, "shift"))
        object.__setattr__(self, "bands", tuple(int(band) for band in self.bands))
        if not self.bands:
            raise InputError(f"the detector {self.name} records no band", "detectors")

    def moved(self, phase: Pair) -> Pair:
        """Return the phase of the detector's samples from that of the sensor."""
        return phase[0] + self.shift[0], phase[1] + self.shift[1]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; :meth:`from_dict` reads them back. Bands count from 1, as ranges: ``1-91``."""
        return {"name": self.name, "bands": _as_ranges(self.bands), "shift": [float(one) for one in self.shift]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Detector:
        """Build a detector from ``name``, ``bands`` and ``shift``.

        Raises:
            InputError: a key is missing, unknown or wrong.
        """
        keys = ("name", "bands", "shift")
        if not isinstance(values, Mapping) or {str(key) for key in values} != set(keys):
            raise InputError(f"a detector is a mapping with the keys {', '.join(keys)}", "detectors")
        return cls(str(values["name"]), _of_ranges(str(values["bands"])), values["shift"])


def check_detectors(detectors: Sequence[Detector]) -> None:
    """Refuse detectors that do not record every band of an image once.

    Raises:
        InputError: a band that is missing or of two detectors.
    """
    bands = [band for one in detectors for band in one.bands]
    wrong = [band for band in range(max(bands, default=-1) + 1) if bands.count(band) != 1]
    if wrong or min(bands, default=0) < 0:
        number = wrong[0] + 1 if wrong else min(bands) + 1
        raise InputError(f"band {number} has to be of one detector, and of one only", "detectors")


def restrict_detectors(detectors: Sequence[Detector], used: NDArray[np.bool_]) -> tuple[Detector, ...]:
    """Return the detectors of the bands that are used, bool (bands,); those without any are left out.

    Raises:
        InputError: detectors of another number of bands.
    """
    if not detectors:
        return ()
    count = sum(len(one.bands) for one in detectors)
    if count != used.size:
        raise InputError(f"the detectors record {count} bands, the HSI has {used.size}", "detectors")
    number = np.cumsum(used) - 1
    kept = ((one, tuple(int(number[band]) for band in one.bands if used[band])) for one in detectors)
    return tuple(Detector(one.name, bands, one.shift) for one, bands in kept if bands)


def detectors_of(header: CubeHeader) -> tuple[Detector, ...]:
    """Return the detectors that the header of an HSI states, without shifts; none where it states fewer than two.

    The names of its bands state them (``VNIR 12``, ``SWIR 3``), or its instrument and their numbers, or wavelengths
    that fall back where the next detector starts.

    Example:
        >>> names = ("VNIR 1", "VNIR 2", "SWIR 1")
        >>> [one.name for one in detectors_of(CubeHeader(shape=(3, 4, 4), band_names=names))]
        ['VNIR', 'SWIR']
    """
    names = _by_name(header) or _by_number(header) or _by_wavelength(header.wavelengths)
    groups: dict[str, list[int]] = {}
    for band, name in enumerate(names):
        groups.setdefault(name, []).append(band)
    return tuple(Detector(name, tuple(bands)) for name, bands in groups.items()) if len(groups) > 1 else ()


def _by_name(header: CubeHeader) -> list[str]:
    found = [_NAMED.match(name) for name in header.band_names or ()]
    return [one[1].upper() for one in found if one is not None] if all(found) else []


def _by_number(header: CubeHeader) -> list[str]:
    first = _SECOND_FROM.get(header.attributes.get("sensor", "").lower())
    found = [_NUMBERED.fullmatch(name) for name in header.band_names or ()]
    if first is None:
        return []
    return ["SWIR" if int(one[1]) >= first else "VNIR" for one in found if one is not None] if all(found) else []


def _by_wavelength(wavelengths: NDArray[np.float64] | None) -> list[str]:
    if wavelengths is None or not np.isfinite(wavelengths).all():
        return []
    run = np.concatenate([[0], np.cumsum(np.diff(wavelengths) < 0)])
    sizes = np.bincount(run)
    if not 1 < sizes.size <= _MOST_RUNS or sizes.min() < _LEAST_RUN:
        return []
    names = ["VNIR", "SWIR"] if sizes.size == 2 else [f"detector {number}" for number in range(1, sizes.size + 1)]
    order = np.argsort([wavelengths[run == number].mean() for number in range(sizes.size)])
    by_run = dict(zip(order.tolist(), names, strict=True))
    return [by_run[number] for number in run.tolist()]


def _as_ranges(bands: Sequence[int]) -> str:
    """Return band indices (from 0) as ranges of numbers from 1: ``1-91, 95``."""
    breaks = np.flatnonzero(np.diff(bands) != 1) + 1
    runs = np.split(np.asarray(bands) + 1, breaks)
    return ", ".join(str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _of_ranges(text: str) -> tuple[int, ...]:
    bands: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
        if ends is None:
            raise InputError(f"bands of a detector are ranges such as 1-91, got {text[:40]!r}", "detectors")
        bands += range(int(ends[1]) - 1, int(ends[2] or ends[1]))
    return tuple(bands)
