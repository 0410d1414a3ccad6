"""Match a pair as it comes: one grid, shift, blur and responses found where neither metadata nor the user tell them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.align import Alignment, align_pair, pair_part
from hyperfuse.scenes.matching.grid import Extent, MatchedPair, match_pair
from hyperfuse.scenes.matching.warp import to_common_grid
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.sensor import SensorEstimate, estimate_sensor, psf_note
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.restrict import restrict_responses
from hyperfuse.sensor.srf.srf import Srf

Two = tuple[float, float]


@dataclass(frozen=True)
class BlindMatch:
    """A matched pair, and what was found for it.

    Attributes:
        pair: cubes and sensor that fit together; its notes tell what was found and decided.
        alignment: shift, rotation and scale found; None where the position was told.
        estimate: responses and levels found; None where they were not looked for.
    """

    pair: MatchedPair
    alignment: Alignment | None
    estimate: SensorEstimate | None


def match_blind(
    hsi: Cube,
    msi: Cube,
    *,
    sensor: Sensor | None = None,
    srf: str | Srf | None = None,
    psf: str | None = None,
    ratio: float | Two | None = None,
    phase: float | Two | None = None,
    align: bool = True,
    need_srf: bool = True,
) -> BlindMatch:
    """Match a pair like :func:`~hyperfuse.scenes.matching.grid.match_pair`, and find what it is not told.

    The MSI is first brought onto a grid parallel to the HSI's where it must be. A ``sensor`` is believed as it is. Else
    the PSF is estimated unless ``psf`` is given, and shift, rotation and scale unless ``phase`` is. Responses that are
    not known, and the levels of the MSI unless a sensor tells all, are estimated where ``need_srf`` asks for them. What
    the pair does not tell stays as it is usually taken to be. Every step leaves a note.

    Args:
        hsi: LR-HSI.
        msi: HR-MSI.
        sensor: how the two relate, as known.
        srf: spectral responses of the MSI.
        psf: blur of the HSI.
        ratio: HR pixels an LR pixel.
        phase: HR position of the first LR sample.
        align: look for shift, rotation and scale.
        need_srf: whether responses are of use.

    Raises:
        InputError: as :func:`~hyperfuse.scenes.matching.grid.match_pair`; never because something cannot be estimated.
    """
    grid = to_common_grid(hsi, msi)
    matched = match_pair(hsi, grid.msi, sensor=sensor, srf=srf, psf=psf, ratio=ratio, phase=phase)
    notes = [] if grid.note is None else [grid.note]
    notes += [note for note in matched.notes if not note.startswith("PSF not known")]
    alignment, estimate = None, None
    if not (matched.hsi.usable_bands.any() and matched.msi.usable_bands.any()):
        return BlindMatch(replace(matched, notes=tuple(notes)), None, None)
    if sensor is None and psf is None:
        matched, note = with_psf(matched, known_phase=phase is not None or not align)
        notes.append(note)
    if sensor is None and align and phase is None:
        placed = align_pair(matched.hsi, matched.msi, matched.sensor)
        alignment = placed.alignment
        notes += placed.notes
        if placed.sensor is not matched.sensor:
            matched, cut = _cut(matched.hsi, placed.msi, placed.sensor)
            notes += cut
    if need_srf and (sensor is None or matched.sensor.srf is None):
        matched, estimate, found = with_levels(matched)
        notes += found
    return BlindMatch(replace(matched, notes=tuple(notes)), alignment, estimate)


def with_psf(pair: MatchedPair, known_phase: bool) -> tuple[MatchedPair, str]:
    """Return the pair with the PSF that it shows, and a note on it; the pair as it is where none can be found.

    Args:
        pair: matched.
        known_phase: the position is known and only the blur is looked for.
    """
    try:
        found = locate([pair_part(pair.hsi, pair.msi, pair.sensor)], known_phase=known_phase, known_psf=False)
    except InputError as error:
        return pair, f"PSF not known: Gaussian with a modulation of 0.3 at Nyquist ({error})"
    assert found.psf_fit is not None  # it was not known
    sensor = pair.sensor.replace(psf=found.sensor.psf)
    return replace(pair, sensor=sensor), psf_note(found.psf_fit, sensor)


def with_levels(pair: MatchedPair) -> tuple[MatchedPair, SensorEstimate | None, tuple[str, ...]]:
    """Find the responses between the usable bands where they are not known, and bring the MSI to the HSI's levels."""
    bands, msi_bands = pair.hsi.usable_bands, pair.msi.usable_bands
    wavelengths = None if pair.hsi.wavelengths is None else pair.hsi.wavelengths[bands]
    sensor, known = pair.sensor, pair.sensor.srf
    try:
        restricted = sensor.replace(srf=restrict_responses(known, msi_bands, bands))
        part = pair_part(pair.hsi, pair.msi, restricted)
        found = estimate_sensor([part], known_phase=True, known_psf=True, wavelengths=wavelengths)
    except InputError as error:
        what = "spectral responses" if known is None else "levels of the MSI"
        return pair, None, (f"{what} not estimated: {error}",)
    if known is None and not found.accepted.any():
        return pair, found, (*found.notes, "no spectral responses are taken from the pair")
    data = pair.msi.data.copy()
    data[msi_bands] = found.correct(torch.from_numpy(data[msi_bands])).numpy()
    pair = replace(pair, msi=pair.msi.replace(data=data))
    if known is not None:
        return pair, found, found.notes
    # Bands that are not used get equal weights, which nobody reads: a row must be a response.
    matrix = np.tile(bands / bands.sum(), (msi_bands.size, 1))
    matrix[np.ix_(msi_bands, bands)] = found.srf.matrix
    responses = Srf(matrix, names=pair.msi.band_names or (), source=found.srf.source)
    return replace(pair, sensor=sensor.replace(srf=responses)), found, found.notes


def _cut(hsi: Cube, msi: Cube, sensor: Sensor) -> tuple[MatchedPair, list[str]]:
    """Cut a pair to its common extent again, for a sensor that has moved."""
    (y, x), (ratio_y, ratio_x) = sensor.offset, sensor.ratio
    rows = Extent.common(y, ratio_y, hsi.rows, msi.rows, "rows", told=False)
    cols = Extent.common(x, ratio_x, hsi.cols, msi.cols, "columns", told=False)
    cut_hsi = hsi.crop(rows.first_lr, cols.first_lr, rows.lr, cols.lr)
    cut_msi = msi.crop(rows.first_hr, cols.first_hr, rows.hr, cols.hr)
    notes = [
        f"{name} cut from {whole.rows}x{whole.cols} to {cut.rows}x{cut.cols} pixels, the shift taken into account"
        for name, cut, whole in (("HSI", cut_hsi, hsi), ("MSI", cut_msi, msi))
        if (cut.rows, cut.cols) != (whole.rows, whole.cols)
    ]
    return MatchedPair(cut_hsi, cut_msi, sensor.replace(phase=(rows.phase, cols.phase)), ()), notes
