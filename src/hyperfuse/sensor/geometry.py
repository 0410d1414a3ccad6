"""PairGeometry: what a caller specifies about how an HSI and an MSI relate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hyperfuse.calls import checked_fields
from hyperfuse.errors import InputError
from hyperfuse.sensor.displacement_map import DisplacementMap
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import Pair, Psf, create_psf, number_pair, ratio_pair
from hyperfuse.sensor.srf.srf import Srf


@checked_fields("ratio", "phase")
@dataclass(frozen=True, kw_only=True, eq=False)
class PairGeometry:
    """What is specified about a pair; a field that is None is taken from the metadata, else estimated.

    A single field overrides the same property of ``sensor``.

    Attributes:
        sensor: the whole forward model.
        srf: spectral responses of the MSI, or a name or file, see :func:`~hyperfuse.sensor.srf.names.create_srf`.
        psf: blur of the HSI, or its text form, see :func:`~hyperfuse.sensor.psf.create_psf`.
        ratio: HR pixels per LR pixel, one number or a pair along (y, x), 1 or more; held as a pair.
        phase: HR position of the first LR sample, one number or a pair along (y, x); held as a pair.
        align: estimate shift, rotation and scale where neither ``sensor`` nor ``phase`` states the position.
        msi_psf: of an MSI in several images with pixels of several sizes: blur of the coarser ones in pixels of the
            finest, a PSF or its text form; None: estimated from the images.
        displacement: where the HSI's pixels lie against the headers, as another fusion of the scene found it and its
            file keeps it; held as a map.
        search: how far off the headers the HSI may lie, in metres: one shift is searched so far to either side, at
            most a quarter of the HSI; None: 350.
        same_ground: the two images cover the same ground, from corner to corner, although only one of them states
            its position.

    Raises:
        InputError: a field of another type, a ratio below 1, or numbers that are not finite.

    Example:
        >>> geometry = PairGeometry(ratio=3, psf="mtf:0.3")
        >>> geometry.ratio, geometry.describes_position, geometry.describes_psf
        ((3.0, 3.0), False, True)
    """

    sensor: Sensor | None = None
    srf: Srf | str | None = None
    psf: Psf | str | None = None
    ratio: float | Pair | None = None
    phase: float | Pair | None = None
    align: bool = True
    same_ground: bool = False
    msi_psf: Psf | str | None = None
    displacement: DisplacementMap | str | Path | None = None
    search: float | None = None

    def __post_init__(self) -> None:
        if self.ratio is not None:
            object.__setattr__(self, "ratio", ratio_pair(self.ratio))
        if self.phase is not None:
            object.__setattr__(self, "phase", number_pair(self.phase, "phase"))
        if isinstance(self.psf, str):
            create_psf(self.psf, self.ratio_pair or (1.0, 1.0))  # refuses a text that is none
        if isinstance(self.msi_psf, str):
            try:
                create_psf(self.msi_psf, (1.0, 1.0))
            except InputError as error:
                raise InputError(f"msi_psf: {error}", "msi_psf") from error
        if isinstance(self.displacement, str | Path):
            object.__setattr__(self, "displacement", DisplacementMap.load(self.displacement))
        if self.search is not None:
            if not 0 < self.search < math.inf:
                raise InputError(f"search is a distance in metres above 0, got {self.search:g}", "search")
            if not (self.align and not self.describes_position):
                raise InputError("search=... has no effect: the position is stated, or not estimated", "search")
        object.__setattr__(self, "align", bool(self.align))
        object.__setattr__(self, "same_ground", bool(self.same_ground))

    @property
    def ratio_pair(self) -> Pair | None:
        """The specified ratio along (y, x): ``ratio``, else that of the sensor, else None."""
        if self.ratio is not None:
            return number_pair(self.ratio, "ratio")
        return None if self.sensor is None else self.sensor.ratio

    @property
    def phase_pair(self) -> Pair | None:
        """The specified phase along (y, x): ``phase``, else that of the sensor, else None."""
        if self.phase is not None:
            return number_pair(self.phase, "phase")
        return None if self.sensor is None else self.sensor.offset

    @property
    def describes_position(self) -> bool:
        """Whether the position of the HSI on the MSI is specified."""
        return self.sensor is not None or self.phase is not None or self.displacement is not None

    @property
    def describes_psf(self) -> bool:
        """Whether the blur of the HSI is specified."""
        return self.sensor is not None or self.psf is not None

    @property
    def estimates_position(self) -> bool:
        """Whether shift, rotation and scale are to be estimated."""
        return self.align and not self.describes_position

    @property
    def estimates_detectors(self) -> bool:
        """Whether shifts of the detectors of an HSI are to be estimated; they are no part of a displacement map."""
        return self.align and self.sensor is None and self.phase is None

    @property
    def displacement_map(self) -> DisplacementMap | None:
        """The specified displacement."""
        assert not isinstance(self.displacement, str | Path)  # read on construction
        return self.displacement

    def psf_at(self, ratio: Pair) -> Psf | None:
        """Return the specified PSF, of a text at the given ratio (y, x); that of the sensor, or None."""
        if isinstance(self.psf, str):
            return create_psf(self.psf, ratio)
        if self.psf is not None:
            return self.psf
        return None if self.sensor is None else self.sensor.psf

    def replace(self, **changes: Any) -> PairGeometry:
        """Return a copy with the given fields changed; see the attributes."""
        return replace(self, **changes)
