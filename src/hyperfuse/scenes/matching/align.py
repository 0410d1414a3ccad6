"""Registration of two images beyond their metadata: shift, rotation and scale, estimated and corrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.grid import MatchedPair, refuse_empty
from hyperfuse.sensor.estimation.location import fit_positions, locate
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.restrict import restrict_responses

Bools = NDArray[np.bool_]

# Shifts below this many HR pixels change no result, and the position stays as the metadata state it.
NEGLIGIBLE_SHIFT = 0.05
# Rotation and scale are corrected where they move the corners by more HR pixels than this, and are more than this many
# standard errors.
_NEGLIGIBLE_CORNER = 0.1
_STANDARD_ERRORS = 3.0
# The corrected position must explain at least this fraction of the variance that the assumed one does not.
_MIN_GAIN = 0.01


@dataclass(frozen=True)
class Alignment:
    """How the HSI lies on the MSI, relative to its metadata.

    The centre of an LR pixel that lies at p by its metadata lies at ``c + (1 + scale) Rot(rotation) (p - c) + shift``,
    with c the ``centre`` of the LR pixels that were used.

    Attributes:
        shift_y, shift_x: HR pixels, to add to the sensor's phase.
        rotation_degrees: positive where the +x axis rotates towards -y (counter-clockwise on the screen); 0 where
            the pair shows none.
        scale: relative change of the ratio; 0 where the pair shows none.
        centre: (y, x) in HR pixels.
        shift_error: standard error of the shift in HR pixels, the larger of y and x.
        rotation_error: standard error in degrees; NaN where none was fitted.
        scale_error: standard error; NaN where none was fitted.
        explained_before: fraction of the MSI's variance that the HSI explains at the position by the metadata.
        explained_after: the same at the estimated position.
        accepted: whether the pair determines the shift.
        doubt: why not, briefly.
    """

    shift_y: float
    shift_x: float
    rotation_degrees: float
    scale: float
    centre: tuple[float, float]
    shift_error: float
    rotation_error: float
    scale_error: float
    explained_before: float
    explained_after: float
    accepted: bool
    doubt: str

    @property
    def gain(self) -> float:
        """Fraction of the variance that is explained at the estimated position and not at the one by the metadata."""
        return self.explained_after - self.explained_before

    @property
    def motion(self) -> Motion:
        """The same as a map of positions."""
        return Motion((self.shift_y, self.shift_x), math.radians(self.rotation_degrees), self.scale, self.centre)


class Placement(NamedTuple):
    """Where the HSI lies on the MSI: the ``sensor`` that states it, and what is to be done to the MSI.

    Attributes:
        sensor: with phase and ratio as estimated, where the alignment is accepted.
        rotation: radians by which the MSI is to be rotated about ``centre``; 0 where it stays.
        centre: (y, x) in HR pixels.
        notes: what was done, a sentence each.
    """

    sensor: Sensor
    rotation: float
    centre: tuple[float, float]
    notes: tuple[str, ...]


def pair_part(pair: MatchedPair, bands: Bools | None = None, msi_bands: Bools | None = None) -> PairPart:
    """Return a pair for the estimation of a sensor: bands of both images, gaps as 0, and where they hold data.

    Args:
        pair: of cubes.
        bands: bool, HSI bands to use; default: those that hold data.
        msi_bands: bool, MSI bands to use.

    Raises:
        InputError: one image holds no usable band.
    """
    images: list[torch.Tensor] = []
    valid: list[torch.Tensor | None] = []
    used = []
    for cube, specified, name in ((pair.hsi, bands, "HSI"), (pair.msi, msi_bands, "MSI")):
        refuse_empty(cube, name)
        used.append(cube.usable_bands if specified is None else specified)
        data = cube.data[used[-1]]
        images.append(torch.from_numpy(data if cube.valid is None else np.nan_to_num(data, nan=0.0)))
        known = None if cube.valid is None else cube.valid[used[-1]].all(axis=0)
        valid.append(None if known is None else torch.from_numpy(known))
    sensor = pair.sensor.replace(srf=restrict_responses(pair.sensor.srf, used[1], used[0]))
    return PairPart(images[0], images[1], sensor, valid[0], valid[1], pair.origin)


def estimate_alignment(
    parts: Sequence[PairPart], *, known_psf: bool = True, max_shift: float | None = None, affine: bool = True
) -> Alignment:
    """Estimate shift, rotation and scale between two images, to a tenth of an HR pixel where they show it.

    See :func:`~hyperfuse.sensor.estimation.location.fit_positions`: no responses are needed, and no HSI value is
    resampled. A wrong PSF biases the position, so that one that is not known is estimated with it, alternating.

    Args:
        parts: of the pair, with where the HSI lies by the metadata and the PSF.
        known_psf: whether the PSF is known, not assumed.
        max_shift: HR pixels searched on either side; default: 6 or two LR pixels, whichever is more.
        affine: also estimate rotation and scale.

    Raises:
        InputError: too few LR pixels lie on the MSI.

    Example:
        >>> from hyperfuse.scenes.simulate import simulate
        >>> image = np.random.default_rng(0).random((6, 64, 64))
        >>> pair = simulate(image, ratio=2, srf="boxes:3", phase=1.3)
        >>> found = estimate_alignment([pair_part(MatchedPair(pair.hsi, pair.msi, pair.sensor.replace(phase=0.5)))])
        >>> round(found.shift_y, 2), round(found.shift_x, 2), found.accepted
        (0.8, 0.8, True)
    """
    if not known_psf:
        psf = locate(parts, known_phase=False, known_psf=False, max_shift=max_shift).sensor.psf
        parts = [part.moved((0, 0), psf) for part in parts]
    found = fit_positions(parts, max_shift=max_shift, affine=affine)
    motion, errors = found.motion, found.errors
    return Alignment(
        shift_y=motion.shift[0],
        shift_x=motion.shift[1],
        rotation_degrees=math.degrees(motion.rotation),
        scale=motion.scale,
        centre=motion.centre,
        shift_error=max(errors[:2]),
        rotation_error=math.degrees(errors[2]),
        scale_error=errors[3],
        explained_before=found.before,
        explained_after=found.after,
        accepted=found.accepted,
        doubt=found.doubt,
    )


def place(alignment: Alignment, sensor: Sensor, shape: tuple[int, int]) -> Placement:
    """Correct an alignment: shift and scale by the sensor's phase and ratio, a rotation by that of the MSI.

    The HSI is never resampled. The MSI is only where a rotation moves the corners of the HSI by a tenth of an HR pixel
    or more. An alignment that is not accepted, or that changes nothing, is not applied; a note says so.

    Args:
        alignment: of the pair.
        sensor: states where the HSI lies by its metadata.
        shape: (rows, cols) of the LR-HSI.
    """
    unchanged = Placement(sensor, 0.0, alignment.centre, ())
    if not alignment.accepted:
        return unchanged._replace(notes=(f"alignment not checked: {alignment.doubt}",))
    residual = 1 - alignment.explained_before
    if residual <= 0 or alignment.gain < _MIN_GAIN * residual:
        return unchanged._replace(notes=("alignment checked: no shift between the images",))
    corner = _corner_distance(shape, sensor, alignment.centre)
    rotation, scale = (
        value if abs(value) * corner > _NEGLIGIBLE_CORNER and abs(value) > _STANDARD_ERRORS * error else 0.0
        for value, error in (
            (math.radians(alignment.rotation_degrees), math.radians(alignment.rotation_error)),
            (alignment.scale, alignment.scale_error),
        )
    )
    shift = np.array([alignment.shift_y, alignment.shift_x])
    if not rotation and not scale and np.abs(shift).max() < NEGLIGIBLE_SHIFT:
        return unchanged._replace(notes=(f"alignment checked: shift {_text(shift)}, too small to matter",))
    centre, phase, ratio = np.asarray(alignment.centre), np.asarray(sensor.offset), np.asarray(sensor.ratio)
    anchor = centre + shift
    placed = sensor.replace(phase=tuple(anchor + (1 + scale) * (phase - centre)), ratio=tuple((1 + scale) * ratio))
    notes = [
        f"HSI shifted by {_text(shift)} against the MSI (standard error {alignment.shift_error:.2g}), by the phase"
    ]
    if scale:
        notes.append(f"ratio changed by {scale:+.3%}")
    return Placement(placed, rotation, (float(anchor[0]), float(anchor[1])), tuple(notes))


def align(parts: Sequence[PairPart], *, affine: bool = True) -> Alignment:
    """Do :func:`estimate_alignment`; of too small a pair return one that is not accepted."""
    try:
        return estimate_alignment(parts, affine=affine)
    except InputError as error:
        return Alignment(0, 0, 0, 0, (0, 0), math.inf, math.nan, math.nan, 0, 0, False, str(error))


def _corner_distance(shape: tuple[int, int], sensor: Sensor, centre: tuple[float, float]) -> float:
    """Return how far, in HR pixels, the farthest LR pixel lies from ``centre``."""
    lines = []
    for axis, size in enumerate(shape):
        ends = sensor.offset[axis] + sensor.ratio[axis] * np.array([0, size - 1]) - centre[axis]
        lines.append(float(np.abs(ends).max()))
    return math.hypot(*lines)


def _text(shift: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"{shift[0]:+.2f},{shift[1]:+.2f} HR pixels (y,x)"
