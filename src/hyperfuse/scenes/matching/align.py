"""Registration of two images beyond their metadata: shift, rotation and scale, estimated and corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.scenes.matching.grid import refuse_empty
from hyperfuse.sensor.estimation.location import locate
from hyperfuse.sensor.estimation.position import fit_position
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.model import Sensor

# Shifts below this many HR pixels change no result, and the position stays as the metadata state it.
_NEGLIGIBLE_SHIFT = 0.05
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


def estimate_alignment(
    hsi: Cube,
    msi: Cube,
    sensor: Sensor,
    *,
    known_psf: bool = True,
    max_shift: float | None = None,
    affine: bool = True,
) -> Alignment:
    """Estimate shift, rotation and scale between two images, to a tenth of an HR pixel where they show it.

    See :func:`~hyperfuse.sensor.estimation.position.fit_position`: no responses are needed, and no HSI value is
    resampled. A wrong PSF biases the position, so that one that is not known is estimated with it, alternating.

    Args:
        hsi: LR-HSI; gaps and bad bands are left out.
        msi: HR-MSI.
        sensor: where the HSI lies by the metadata (see ``match_pair``), and the PSF.
        known_psf: whether the sensor's PSF is known, not assumed.
        max_shift: HR pixels searched on either side; default: 6 or two LR pixels, whichever is more.
        affine: also estimate rotation and scale.

    Raises:
        InputError: too few LR pixels lie on the MSI, or one image holds no usable band.

    Example:
        >>> from hyperfuse.scenes.simulate import simulate
        >>> image = np.random.default_rng(0).random((6, 64, 64))
        >>> pair = simulate(image, ratio=2, srf="boxes:3", phase=1.3)
        >>> found = estimate_alignment(pair.hsi, pair.msi, pair.sensor.replace(phase=0.5))
        >>> round(found.shift_y, 2), round(found.shift_x, 2), found.accepted
        (0.8, 0.8, True)
    """
    low, high = (_image(cube, name) for cube, name in ((hsi, "HSI"), (msi, "MSI")))
    hsi_valid = None if hsi.valid is None else torch.from_numpy(hsi.valid_pixels)
    msi_valid = None if msi.valid is None else torch.from_numpy(msi.valid_pixels)

    if not known_psf:
        location = locate(
            low,
            high,
            sensor,
            known_phase=False,
            known_psf=False,
            hsi_valid=hsi_valid,
            msi_valid=msi_valid,
            max_shift=max_shift,
        )
        sensor = sensor.replace(psf=location.sensor.psf)
    found = fit_position(
        low, high, sensor, hsi_valid=hsi_valid, msi_valid=msi_valid, max_shift=max_shift, affine=affine
    )
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
        accepted=found.trusted,
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
    if not rotation and not scale and np.abs(shift).max() < _NEGLIGIBLE_SHIFT:
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


def align(hsi: Cube, msi: Cube, sensor: Sensor, *, affine: bool = True) -> Alignment:
    """Do :func:`estimate_alignment`; of too small a pair return one that is not accepted.

    Raises:
        InputError: one image holds no usable band.
    """
    for cube, name in ((hsi, "HSI"), (msi, "MSI")):
        refuse_empty(cube, name)
    try:
        return estimate_alignment(hsi, msi, sensor, affine=affine)
    except InputError as error:
        return Alignment(0, 0, 0, 0, (0, 0), math.inf, math.nan, math.nan, 0, 0, False, str(error))


def _image(cube: Cube, name: str) -> torch.Tensor:
    refuse_empty(cube, name)
    data = cube.data[cube.usable_bands]
    return torch.from_numpy(data if cube.valid is None else np.nan_to_num(data, nan=0.0))


def _corner_distance(shape: tuple[int, int], sensor: Sensor, centre: tuple[float, float]) -> float:
    """Return how far, in HR pixels, the farthest LR pixel lies from ``centre``."""
    lines = []
    for axis, size in enumerate(shape):
        ends = sensor.offset[axis] + sensor.ratio[axis] * np.array([0, size - 1]) - centre[axis]
        lines.append(float(np.abs(ends).max()))
    return math.hypot(*lines)


def _text(shift: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"{shift[0]:+.2f},{shift[1]:+.2f} HR pixels (y,x)"
