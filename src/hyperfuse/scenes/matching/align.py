"""What is left between two images that metadata place together: shift, rotation and scale, found and taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.warp import turn
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.position import fit_position
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor

# Shifts below this many HR pixels change no result, and what is told stays as it is told.
_NEGLIGIBLE_SHIFT = 0.05
# Rotation and scale are applied where they move the corners by more HR pixels than this, and by more than so many
# standard errors.
_NEGLIGIBLE_CORNER = 0.1
_SURETY = 3.0
# What the corrected position explains must be at least this much more of what the assumed one leaves.
_LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Alignment:
    """How the HSI truly lies on the MSI, beside where it is told to lie.

    The centre of an LR pixel told to lie at p lies at ``c + (1 + scale) Rot(rotation) (p - c) + shift``, with c the
    ``centre`` of the LR pixels looked at.

    Attributes:
        shift_y, shift_x: HR pixels, to add to the sensor's phase.
        rotation_degrees: positive where the +x axis turns towards -y (counter-clockwise on the screen); 0 where the
            pair shows none.
        scale: relative change of the ratio; 0 where the pair shows none.
        centre: (y, x) in HR pixels.
        shift_error: standard error of the shift in HR pixels, the larger of y and x.
        rotation_error: standard error in degrees; NaN where none was fitted.
        scale_error: standard error; NaN where none was fitted.
        explained_before: share of the MSI's variance that the HSI explains where it is told to lie.
        explained_after: the same where it is found to lie.
        trusted: whether the pair tells the shift.
        doubt: why not, in a few words.
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
    trusted: bool
    doubt: str

    @property
    def gain(self) -> float:
        """Share of the variance that is explained at the position found and not at the one told."""
        return self.explained_after - self.explained_before

    @property
    def motion(self) -> Motion:
        """The same as a map of positions."""
        return Motion((self.shift_y, self.shift_x), math.radians(self.rotation_degrees), self.scale, self.centre)


class AlignedPair(NamedTuple):
    """A pair whose ``sensor`` tells where the HSI lies on the ``msi``, and what was done, a sentence each."""

    msi: Cube
    sensor: Sensor
    alignment: Alignment
    notes: tuple[str, ...]


def estimate_alignment(
    hsi: Cube,
    msi: Cube,
    sensor: Sensor,
    *,
    known_psf: bool = True,
    max_shift: float | None = None,
    affine: bool = True,
) -> Alignment:
    """Find shift, rotation and scale between two images, to a tenth of an HR pixel where they show it.

    See :func:`~hyperfuse.sensor.estimation.position.fit_position`: no responses are needed, and no HSI value is
    resampled. Where the PSF is not known, a wrong one can pull the position along, so that it is estimated by turns
    with the position.

    Args:
        hsi: LR-HSI; gaps and bad bands are left out.
        msi: HR-MSI.
        sensor: where the HSI is told to lie (``match_pair`` tells it), and the PSF.
        known_psf: whether the sensor's PSF is more than a guess.
        max_shift: HR pixels searched to either side; 6 or two LR pixels, whichever is more, unless given.
        affine: also look for rotation and scale.

    Raises:
        InputError: too few LR pixels see the MSI, or one image holds no usable band.

    Example:
        >>> from hyperfuse.scenes.simulate import simulate
        >>> image = np.random.default_rng(0).random((6, 64, 64))
        >>> pair = simulate(image, ratio=2, srf="boxes:3", phase=1.3)
        >>> found = estimate_alignment(pair.hsi, pair.msi, pair.sensor.replace(phase=0.5))
        >>> round(found.shift_y, 2), round(found.shift_x, 2), found.trusted
        (0.8, 0.8, True)
    """
    part = pair_part(hsi, msi, sensor)
    if not known_psf:
        found_psf = locate([part], known_phase=False, known_psf=False, max_shift=max_shift).sensor.psf
        part = part.moved((0, 0), found_psf)
    found = fit_position(part, max_shift=max_shift, affine=affine)
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
        trusted=found.accepted,
        doubt=found.doubt,
    )


def apply_alignment(hsi: Cube, msi: Cube, sensor: Sensor, alignment: Alignment) -> AlignedPair:
    """Take an alignment away: shift and scale through the sensor's phase and ratio, a rotation by turning the MSI.

    The HSI is never resampled. The MSI is only where a rotation moves the corners of the HSI by a tenth of an HR pixel
    or more. An alignment that cannot be trusted, or that changes nothing, is not applied; a note says so.

    Args:
        hsi: LR-HSI.
        msi: HR-MSI.
        sensor: where the HSI is told to lie.
        alignment: what :func:`estimate_alignment` found for the three.
    """
    if not alignment.trusted:
        return AlignedPair(msi, sensor, alignment, (f"alignment not checked: {alignment.doubt}",))
    left = 1 - alignment.explained_before
    if left <= 0 or alignment.gain < _LEAST_GAIN * left:
        return AlignedPair(msi, sensor, alignment, ("alignment checked: no shift between the images is seen",))
    corner = _corner_distance(hsi, sensor, alignment.centre)
    rotation, scale = (
        value if abs(value) * corner > _NEGLIGIBLE_CORNER and abs(value) > _SURETY * error else 0.0
        for value, error in (
            (math.radians(alignment.rotation_degrees), math.radians(alignment.rotation_error)),
            (alignment.scale, alignment.scale_error),
        )
    )
    shift = np.array([alignment.shift_y, alignment.shift_x])
    if not rotation and not scale and np.abs(shift).max() < _NEGLIGIBLE_SHIFT:
        return AlignedPair(msi, sensor, alignment, (f"alignment checked: shift {_text(shift)}, too small to matter",))
    centre, phase, ratio = np.asarray(alignment.centre), np.asarray(sensor.offset), np.asarray(sensor.ratio)
    anchor = centre + shift
    placed = sensor.replace(phase=tuple(anchor + (1 + scale) * (phase - centre)), ratio=tuple((1 + scale) * ratio))
    notes = [
        f"HSI shifted by {_text(shift)} against the MSI (standard error {alignment.shift_error:.2g}), by the phase"
    ]
    if scale:
        notes.append(f"ratio changed by {scale:+.3%}")
    if rotation:
        msi = turn(msi, rotation, (float(anchor[0]), float(anchor[1])))
        notes.append(f"MSI resampled (cubic), turned by {math.degrees(rotation):.3g} degrees to lie along the HSI")
    return AlignedPair(msi, placed, alignment, tuple(notes))


def align_pair(
    hsi: Cube,
    msi: Cube,
    sensor: Sensor,
    *,
    known_psf: bool = True,
    max_shift: float | None = None,
    affine: bool = True,
) -> AlignedPair:
    """Do :func:`estimate_alignment`, then :func:`apply_alignment`; too small a pair comes back as it is, with a note.

    Raises:
        InputError: one image holds no usable band.
    """
    for cube, name in ((hsi, "HSI"), (msi, "MSI")):
        _refuse_empty(cube, name)
    try:
        found = estimate_alignment(hsi, msi, sensor, known_psf=known_psf, max_shift=max_shift, affine=affine)
    except InputError as error:
        nothing = Alignment(0, 0, 0, 0, (0, 0), math.inf, math.nan, math.nan, 0, 0, False, str(error))
        return AlignedPair(msi, sensor, nothing, (f"alignment not checked: {error}",))
    return apply_alignment(hsi, msi, sensor, found)


def _refuse_empty(cube: Cube, name: str) -> None:
    if not cube.usable_bands.any():
        raise InputError(f"the {name} holds no data: every band is nodata or marked as bad")


def pair_part(hsi: Cube, msi: Cube, sensor: Sensor) -> PairPart:
    """Return the usable bands of two cubes, gaps as 0, and where they hold data."""
    low, high = (_image(cube, name) for cube, name in ((hsi, "HSI"), (msi, "MSI")))
    valid = [None if cube.valid is None else torch.from_numpy(cube.valid_pixels) for cube in (hsi, msi)]
    return PairPart(low, high, sensor, valid[0], valid[1])


def _image(cube: Cube, name: str) -> torch.Tensor:
    _refuse_empty(cube, name)
    data = cube.data[cube.usable_bands]
    return torch.from_numpy(data if cube.valid is None else np.nan_to_num(data, nan=0.0))


def _corner_distance(hsi: Cube, sensor: Sensor, centre: tuple[float, float]) -> float:
    """Return how far, in HR pixels, the farthest LR pixel lies from ``centre``."""
    lines = []
    for axis, size in ((0, hsi.rows), (1, hsi.cols)):
        ends = sensor.offset[axis] + sensor.ratio[axis] * np.array([0, size - 1]) - centre[axis]
        lines.append(float(np.abs(ends).max()))
    return math.hypot(*lines)


def _text(shift: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"{shift[0]:+.2f},{shift[1]:+.2f} HR pixels (y,x)"
