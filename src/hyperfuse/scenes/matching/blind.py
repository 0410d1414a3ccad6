"""How two images relate: by their headers, and where neither these nor the caller state it, estimated on samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.align import Alignment, Placement, align, pair_part, place
from hyperfuse.scenes.matching.detectors import find_detectors
from hyperfuse.scenes.matching.grid import (
    MatchedPair,
    common_extent,
    match_grids,
    psf_assumed,
)
from hyperfuse.scenes.matching.quantities import in_other_units, largest_values, quantity_note, refuse_other_units
from hyperfuse.scenes.matching.registered import displaced, lr_metres, register_pair
from hyperfuse.scenes.matching.undeclared import Undeclared
from hyperfuse.scenes.matching.warp import WarpGrid, parallel_grid, rotated_grid
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.estimation.sensor import SensorEstimate, estimate_sensor, psf_note
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.published import psf_prior
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.result import Registration
from hyperfuse.sensor.srf.known import known_responses
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.sensor.srf.srf import Srf

Bools = NDArray[np.bool_]

# A shift by more LR pixels is beyond the search of the alignment, which then starts from it.
_FAR = 1.0


@dataclass(frozen=True, eq=False)
class Radiometry:
    """Gain and offset of each MSI band relative to the HSI, (msi_bands,); 1 and 0 where nothing else is known."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]

    def normalise(self, msi: torch.Tensor, bands: Bools) -> torch.Tensor:
        """Return the given bands of an MSI (bands, H, W) in the values of the HSI."""
        gain, offset = (torch.from_numpy(one[bands]).to(msi)[:, None, None] for one in (self.gain, self.offset))
        return (msi - offset) / gain


@dataclass(frozen=True, eq=False)
class Match:
    """How two images relate: everything that is needed to read windows of the pair, and what was estimated.

    Attributes:
        sensor: between the images cut to their common extent; responses between all of their bands.
        hsi: common extent in the HSI.
        msi: common extent in the MSI, on ``grid`` where there is one.
        grid: onto which the MSI is resampled, or None.
        radiometry: of the MSI, or None.
        alignment: shift, rotation and scale; None where the position is specified, or a field displaces the HSI.
        registration: what was found beyond one shift; None where the position is specified.
        estimate: responses and radiometry as estimated; None where they were not, or a job was resumed.
        exponent: values are read divided by 2 to the power of this, exactly: squares of the values as they are would
            leave the range of float32. 0 of all but odd units.
        undeclared: spectra of pixels that nothing declares as gaps and that are gaps for all fits.
        notes: what was estimated and decided, a sentence each.
    """

    sensor: Sensor
    hsi: Window
    msi: Window
    grid: WarpGrid | None = None
    radiometry: Radiometry | None = None
    alignment: Alignment | None = None
    registration: Registration | None = None
    estimate: SensorEstimate | None = None
    exponent: int = 0
    undeclared: Undeclared = field(default_factory=Undeclared)
    notes: tuple[str, ...] = ()

    def msi_header(self, msi: CubeHeader) -> CubeHeader:
        """Return the header of the MSI on ``grid``, not cut, from that of the MSI as it is."""
        return msi if self.grid is None else self.grid.header(msi)

    def state(self) -> dict[str, Any]:
        """Return plain values from which :meth:`restore` makes the same match, but for ``estimate``."""
        grid, radiometry = self.grid, self.radiometry
        return {
            "sensor": self.sensor.to_dict(),
            "extents": [list(self.hsi), list(self.msi)],
            "grid": None if grid is None else grid.state(),
            "radiometry": None if radiometry is None else [radiometry.gain.tolist(), radiometry.offset.tolist()],
            "alignment": None if self.alignment is None else asdict(self.alignment),
            "registration": None if self.registration is None else self.registration.to_dict(),
            "exponent": self.exponent,
            "undeclared": [None if spectrum is None else list(spectrum) for spectrum in self.undeclared],
            "notes": list(self.notes),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Match:
        """Return the match of which :meth:`state` was taken."""
        grid, radiometry, alignment = state["grid"], state["radiometry"], state["alignment"]
        registration = state["registration"]
        hsi, msi = (Window(*extent) for extent in state["extents"])
        return cls(
            sensor=Sensor.from_dict(state["sensor"]),
            hsi=hsi,
            msi=msi,
            grid=None if grid is None else WarpGrid.restore(grid),
            radiometry=None if radiometry is None else Radiometry(*(np.array(one) for one in radiometry)),
            alignment=None if alignment is None else Alignment(**{**alignment, "centre": tuple(alignment["centre"])}),
            registration=None if registration is None else Registration.from_dict(registration),
            exponent=int(state["exponent"]),
            undeclared=Undeclared(*(None if one is None else tuple(one) for one in state["undeclared"])),
            notes=tuple(state["notes"]),
        )


class Reader(Protocol):
    """Reads a pair as a match places it."""

    def parts(self, match: Match) -> Sequence[MatchedPair]:
        """Return parts of the pair, those with most data first."""

    def components(self, match: Match, bands: tuple[Bools, Bools]) -> tuple[PairComponents, int]:
        """Return components of the whole pair, and how many LR pixels they bin along each axis."""


def match_headers(hsi: CubeHeader, msi: CubeHeader, geometry: PairGeometry) -> Match:
    """Match two images by what their headers and the caller state; see :func:`~.grid.match_grids`.

    The MSI is resampled onto a grid parallel to the HSI's where it must be.

    Raises:
        InputError: images that do not fit together.
    """
    grid = parallel_grid(hsi, msi)
    found = match_grids(hsi, msi if grid is None else grid.header(msi), geometry)
    notes = [quantity_note(hsi, msi), *(() if grid is None else grid.notes), *found.notes]
    return Match(found.sensor, found.hsi, found.msi, grid, notes=tuple(note for note in notes if note))


def match_samples(
    match: Match,
    headers: tuple[CubeHeader, CubeHeader],
    geometry: PairGeometry,
    bands: tuple[Bools, Bools],
    read: Reader,
    *,
    need_srf: bool,
    by_detector: bool = True,
) -> Match:
    """Estimate what neither headers nor the caller state, on parts of the pair.

    A specified ``sensor`` is used as given. Else the PSF is estimated unless ``psf`` is specified, and shift, rotation
    and scale unless ``phase`` is; then a shift of each detector of the HSI, where its header states them. Responses
    that are not known, and the radiometry of the MSI unless a sensor states everything, are estimated where
    ``need_srf`` is set. What the pair does not show stays as it is usually assumed. Every step leaves a note.

    Args:
        match: by the headers.
        headers: of the HSI and of the MSI, as they are.
        geometry: what the caller specifies.
        bands: which bands of HSI and MSI hold data.
        read: reads the pair.
        need_srf: whether responses are needed.
        by_detector: whether the bands of one detector are fused without those of the others.

    Raises:
        InputError: values in different units; never because something cannot be estimated.
    """
    if isinstance(geometry.srf, str):
        srf = create_srf(
            geometry.srf, headers[0].bands, wavelengths=headers[0].wavelengths, fwhm=headers[0].fwhm, usable=bands[0]
        )
        match = replace(match, sensor=match.sensor.replace(srf=srf))
    pairs = read.parts(match)
    parts = [pair_part(pair, *bands) for pair in pairs]
    notes = list(match.notes)
    images = ([pair.hsi for pair in pairs], [pair.msi for pair in pairs])
    other_units = in_other_units(largest_values(*images))
    estimates_srf = need_srf and (geometry.sensor is None or match.sensor.srf is None)
    if other_units and need_srf and not estimates_srf:
        refuse_other_units(*images)
    if other_units:
        match, note = _in_one_unit(match, largest_values(*images), headers[1].bands)
        notes.append(note)
    if not all(any(one) for one in zip(*(part.varies for part in parts), strict=True)):
        why = "one of the images is constant"
        notes += [] if geometry.describes_psf else [f"{psf_assumed(headers[0])} ({why})"]
        notes += [f"alignment not checked: {why}"] if geometry.estimates_position else []
        notes += [f"spectral responses not estimated: {why}"] if estimates_srf and match.sensor.srf is None else []
        return replace(match, notes=tuple(notes))
    if geometry.estimates_position:
        match, more = _registered(match, headers, read.components(match, bands), geometry.search)
        notes += more
        if match.registration is not None and match.registration.accepted:
            parts = [pair_part(pair, *bands) for pair in read.parts(match)]
    # Known offsets of samples say nothing of a displacement of them all.
    displaced = match.sensor.displacement is not None and match.sensor.displacement.smooth is not None
    if not geometry.describes_psf:
        known_phase = geometry.describes_position or not geometry.align or displaced
        match, note = _with_psf(match, parts, headers[0], known_phase=known_phase)
        parts = [part.moved((0, 0), match.sensor.psf) for part in parts]
        psf_at = len(notes)
        notes.append(note)
    if geometry.estimates_position and not displaced:
        affine = len(parts) > 1 or parts[0].lr_shape == match.hsi[2:]
        alignment = align(parts, affine=affine)
        placement = place(alignment, match.sensor, match.hsi[2:])
        match = replace(match, alignment=alignment)
        notes += placement.notes
        if placement.sensor is not match.sensor or placement.rotation:
            match, more = _moved(match, placement, headers)
            notes += more
            parts = [pair_part(pair, *bands) for pair in read.parts(match)]
    if geometry.estimates_detectors:
        sensor, clearest, more = find_detectors(match.sensor, parts, bands[0], headers[0], by_detector)
        match = replace(match, sensor=sensor)
        if clearest and not geometry.describes_psf:  # all bands together showed a blur that is wider than any one's
            match, notes[psf_at] = _with_psf(match, clearest, headers[0], known_phase=True)
        notes += more
    if estimates_srf:
        match, more = _normalised(match, parts, bands, headers)
        notes += more
        if other_units and (match.estimate is None or not match.estimate.accepted.all()):
            refuse_other_units(*images)
    return replace(match, notes=tuple(notes))


def _in_one_unit(match: Match, largest: tuple[float, float], msi_bands: int) -> tuple[Match, str]:
    """Return a match that divides the MSI by the ratio of the largest values, and a note.

    A regression on the MSI needs no common unit, so the ratio need not be exact.
    """
    gain = float(f"{largest[1] / largest[0]:.3g}")
    radiometry = Radiometry(np.full(msi_bands, gain), np.zeros(msi_bands))
    brought = f"divided by {gain:g}" if gain > 1 else f"multiplied by {1 / gain:.4g}"
    note = (
        f"HSI values reach {largest[0]:.4g} and MSI values {largest[1]:.4g}, which is another unit: the MSI is"
        f" {brought}, and the result is in the HSI's unit (scale=... where a file does not state how it is coded)"
    )
    return replace(match, radiometry=radiometry), note


def _with_psf(match: Match, parts: Sequence[PairPart], hsi: CubeHeader, *, known_phase: bool) -> tuple[Match, str]:
    """Return a match with the PSF that the pair shows, and a note; as it is where none can be estimated.

    What is published of the HSI's sensor is the prior.
    """
    prior = psf_prior(hsi.attributes)
    try:
        found = locate(parts, known_phase=known_phase, known_psf=False, prior=prior)
    except InputError as error:
        return match, f"{psf_assumed(hsi)} ({error})"
    assert found.psf_fit is not None  # it was not known
    sensor = match.sensor.replace(psf=found.sensor.psf)
    return replace(match, sensor=sensor), psf_note(found.psf_fit, sensor, prior)


def _registered(
    match: Match,
    headers: tuple[CubeHeader, CubeHeader],
    pair: tuple[PairComponents, int],
    search: float | None,
) -> tuple[Match, tuple[str, ...]]:
    """Return a match with the displacement that the pair shows, or with a shift that is far off, and notes."""
    components, binned = pair
    found = register_pair(components, headers[0], binned, search)
    found = replace(found, first=(match.hsi.row, match.hsi.col))
    match = replace(match, registration=found)
    if not found.accepted or (not found.bends and max(np.abs(found.shift)) <= _FAR):
        return match, () if found.accepted else (found.note(match.sensor.ratio, None),)
    sensor = displaced(match.sensor, found)
    placement = Placement(sensor, 0.0, (0.0, 0.0), ())
    match, notes = _moved(match, placement, headers)
    if found.bends:
        notes = (found.note(sensor.ratio, lr_metres(headers[0])), *notes)
    return match, notes


def _moved(match: Match, placement: Placement, headers: tuple[CubeHeader, CubeHeader]) -> tuple[Match, tuple[str, ...]]:
    """Return a match cut to the common extent again, with the HSI where it was found to lie, and notes."""
    hsi, msi = headers[0], match.msi_header(headers[1])
    start, ratio = np.array(match.msi[:2]), np.asarray(placement.sensor.ratio)
    y, x = np.asarray(placement.sensor.offset) + start - ratio * np.array(match.hsi[:2])
    sensor = placement.sensor.window((-match.hsi.row, -match.hsi.col), (float(y), float(x)))
    found = common_extent(sensor, hsi, msi, whole=False, why=", the shift taken into account")
    grid, notes = match.grid, found.notes if (found.hsi, found.msi) != (match.hsi, match.msi) else ()
    if placement.rotation:
        row, col = np.asarray(placement.centre) + start
        grid = rotated_grid(msi, grid, placement.rotation, (float(row), float(col)))
        notes = (grid.notes[-1], *notes)
    return replace(match, sensor=found.sensor, hsi=found.hsi, msi=found.msi, grid=grid), notes


def _normalised(
    match: Match, parts: Sequence[PairPart], bands: tuple[Bools, Bools], headers: tuple[CubeHeader, CubeHeader]
) -> tuple[Match, tuple[str, ...]]:
    """Return a match with responses where they are not known, and with the radiometry of the MSI, and notes.

    Responses that the MSI's product states, or its operator publishes, are the prior of those of the pair.
    """
    hsi_bands, msi_bands = bands
    known, wavelengths = match.sensor.srf, headers[0].wavelengths
    centres = None if wavelengths is None else wavelengths[hsi_bands]
    published = known_responses(headers[1], headers[0], hsi_bands) if known is None else None
    prior = None if published is None else published.restricted(hsi_bands, msi_bands)
    try:
        found = estimate_sensor(parts, known_phase=True, known_psf=True, wavelengths=centres, prior=prior)
    except InputError as error:
        what = "spectral responses" if known is None else "radiometry of the MSI"
        return match, (f"{what} not estimated: {error}",)
    match = replace(match, estimate=found)
    if known is None and not found.accepted.any():
        return match, (*found.notes, "no spectral responses are taken from the pair")
    match = replace(match, radiometry=_radiometry(found, msi_bands))
    if known is None:
        # Bands that are not used get equal weights, which nothing reads: a row must be a response.
        matrix = np.tile(hsi_bands / hsi_bands.sum(), (msi_bands.size, 1))
        matrix[np.ix_(msi_bands, hsi_bands)] = found.srf.matrix
        match = replace(match, sensor=match.sensor.replace(srf=Srf(matrix, source=found.srf.source)))
    return match, found.notes


def _radiometry(found: SensorEstimate, msi_bands: Bools) -> Radiometry:
    """Return gain and offset of all MSI bands, where they are accepted."""
    use = found.accepted & (found.gain > 0)
    gain, offset = np.ones(msi_bands.size), np.zeros(msi_bands.size)
    gain[msi_bands] = np.where(use, found.gain, 1.0)
    offset[msi_bands] = np.where(use, found.offset, 0.0)
    return Radiometry(gain, offset)
