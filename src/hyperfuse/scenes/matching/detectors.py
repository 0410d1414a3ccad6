"""Detectors of an HSI that lie apart on the MSI: a shift for each, where its own held-out pixels carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.align import NEGLIGIBLE_SHIFT
from hyperfuse.sensor.detectors import Detector, detectors_of
from hyperfuse.sensor.estimation.location import fit_positions
from hyperfuse.sensor.estimation.position import PositionFit
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.prediction import LinearMap

Bools = NDArray[np.bool_]

# Detectors lie apart by fractions of an LR pixel: this many are searched to either side.
_REACH = 1.5
# Bands from which a position is fitted, at least.
_LEAST_BANDS = 5
# Two detectors lie apart where they do by more LR pixels, and more standard errors, than this; the shift of one must
# explain at least this fraction of the residual of its bands at the common position (held out).
_NEGLIGIBLE, _STANDARD_ERRORS, _GAIN = 0.03, 3.0, 0.05
# MSI bands that locate a detector: those of which the fraction that it does not explain is at most this many times the
# least, from this many LR pixels; less than the rounding of float32 images is none.
_UNEXPLAINED, _PIXELS, _ROUNDING = 2.0, 4000, 1e-6
_ROUNDS = 2  # of choosing them at the position found before


class _Found(NamedTuple):
    """A detector, the parts of the pair with its bands alone, and where it was found to lie."""

    detector: Detector
    parts: list[PairPart]
    fit: PositionFit

    @property
    def shift(self) -> NDArray[np.float64]:
        return np.array(self.fit.motion.shift)

    @property
    def moves(self) -> bool:
        """Whether the shift is more than its errors, and large enough to matter."""
        return _significant(self.shift, np.array(self.fit.errors[:2])) and bool(
            np.abs(self.shift).max() >= NEGLIGIBLE_SHIFT
        )

    @property
    def gain(self) -> float:
        """Fraction that the shift explains of what is unexplained without it."""
        return (self.fit.after - self.fit.before) / max(1 - self.fit.before, 1e-12)


class LocatedDetectors(NamedTuple):
    """What was found of the detectors of an HSI.

    Attributes:
        sensor: with a shift for each detector where the pair shows that they lie apart.
        clearest: parts of the pair, of the bands that explain most of the MSI, at their own position; none where the
            detectors are taken to lie at one position.
        notes: a sentence each.
    """

    sensor: Sensor
    clearest: tuple[PairPart, ...]
    notes: tuple[str, ...]


def find_detectors(
    sensor: Sensor, parts: Sequence[PairPart], used: Bools, hsi: CubeHeader, able: bool
) -> LocatedDetectors:
    """Find where the detectors lie that the header of an HSI states.

    Each is located by itself: the MSI at candidate positions is predicted from its bands alone, each pixel by a fit
    without it. Nothing is resampled: the bands of each detector are fused with its own sensor.

    Args:
        sensor: of the pair, at the position of all bands.
        parts: of the pair, of the bands that are used.
        used: bool (bands,).
        hsi: header of the HSI, which states the detectors.
        able: whether the method fuses the bands of a detector without the others.
    """
    stated = detectors_of(hsi)
    if not stated:
        return LocatedDetectors(sensor, (), ())
    doubt, found = "", []
    if not able:
        doubt = "the method fuses all bands at once"
    else:
        try:
            located = [_located(sensor, parts, used, detector) for detector in stated]
            found = [one for one in located if one is not None]
            doubt = _doubt(found, sensor)
        except InputError as error:
            doubt = str(error)
    if doubt:
        names = ", ".join(one.name for one in stated)
        return LocatedDetectors(sensor, (), (f"the detectors {names} are taken to lie at one position: {doubt}",))
    moved = [one for one in found if one.moves]
    shifts = {one.detector.name: one.fit.motion.shift for one in moved}
    best = max(found, key=lambda one: one.fit.after)
    note = (
        "the detectors lie apart, and the bands of each are fused at their own position:"
        f" {'; '.join(_text(one, sensor) for one in moved)}"
    )
    return LocatedDetectors(
        sensor.replace(detectors=tuple(replace(one, shift=shifts.get(one.name, (0.0, 0.0))) for one in stated)),
        tuple(part.moved(shifts.get(best.detector.name, (0.0, 0.0))) for part in best.parts),
        (note,),
    )


def _located(sensor: Sensor, parts: Sequence[PairPart], used: Bools, detector: Detector) -> _Found | None:
    """Return where a detector lies; None of one with too few bands."""
    own = np.zeros(used.size, np.bool_)
    own[list(detector.bands)] = True
    own = own[used]
    if own.sum() < _LEAST_BANDS:
        return None
    index = np.flatnonzero(own)
    of_detector = [replace(part, hsi=part.hsi[index], sensor=part.sensor.replace(srf=None)) for part in parts]
    reach = _REACH * max(sensor.ratio)
    # Bands of the MSI that a detector hardly explains, as those of the other, would move it to where they lie.
    fit, clear = fit_positions(of_detector, max_shift=reach, affine=False), of_detector
    for _ in range(_ROUNDS):
        seen = _explained_bands([part.moved(fit.motion.shift) for part in of_detector])
        clear = [replace(part, msi=part.msi[seen]) for part in of_detector]
        fit = fit_positions(clear, max_shift=reach, affine=False)
    return _Found(detector, clear, fit)


def _explained_bands(parts: Sequence[PairPart]) -> list[int]:
    """Return the MSI bands that the HSI explains best: those that leave little more than the least unexplained."""
    spectra, measured = [], []
    for part in parts:
        pixels = part.enough_pixels(max(part.sensor.reach), _PIXELS // len(parts))
        spectra.append(part.spectra(pixels))
        measured.append(part.degraded(pixels))
    x, y = (torch.from_numpy(np.concatenate(one)).T for one in (spectra, measured))
    predicted = LinearMap.fit(x, y)(x[:, None])[:, 0]
    unexplained = (y - predicted).var(dim=1) / y.var(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    least = float(unexplained.min()) + _ROUNDING
    return [band for band, one in enumerate(unexplained.tolist()) if one <= _UNEXPLAINED * least]


def _carried(one: _Found) -> bool:
    """Return whether a detector's own held-out pixels carry its shift."""
    return one.fit.accepted and one.gain >= _GAIN and one.moves


def _significant(shift: NDArray[np.float64], errors: NDArray[np.float64]) -> bool:
    return bool((np.abs(shift) > _STANDARD_ERRORS * errors).any())


def _doubt(found: Sequence[_Found], sensor: Sensor) -> str:
    """Return why detectors are not taken to lie apart, empty where they are."""
    if len(found) < 2:
        return "too few bands show where they lie"
    for one in found:
        if not one.fit.accepted:
            return f"of {one.detector.name} {one.fit.doubt}"
    pairs = [(one, other) for index, one in enumerate(found) for other in found[:index]]
    apart = [
        (float(np.abs((one.shift - other.shift) / sensor.ratio).max()), one, other)
        for one, other in pairs
        if _significant(one.shift - other.shift, np.hypot(one.fit.errors[:2], other.fit.errors[:2]))
    ]
    farthest = max((far for far, _, _ in apart), default=0.0)
    if farthest < _NEGLIGIBLE:
        return "no shift between them is significant"
    if not any(_carried(one) for one in found):
        return f"held-out pixels do not carry the {farthest:.2f} HSI pixels between them"
    return ""


def _text(one: _Found, sensor: Sensor) -> str:
    y, x = one.shift / sensor.ratio
    error = max(error / ratio for error, ratio in zip(one.fit.errors[:2], sensor.ratio, strict=True))
    return (
        f"{one.detector.name} by {y:+.3f},{x:+.3f} HSI pixels (y,x; standard error {error:.2g}); it explains"
        f" {one.fit.after:.2%} of the MSI, {one.fit.before:.2%} before (held out)"
    )
