"""Registration of a pair beyond its metadata: coarse search, tie points, dense field, and whether to accept it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.registration.coarse import CoarseShift, search_shift
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.evidence import HeldOutEnergy, compare, hold_out, improvement, projections
from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.refine import Linearised, PyramidScale, Refined, linearise, refine
from hyperfuse.sensor.registration.result import Model, Registration
from hyperfuse.sensor.registration.splines import Field, SplineGrid
from hyperfuse.sensor.registration.tie_points import field_of, find_tie_points

Array = NDArray[np.float64]

# From the coarsest: blur, spacing of control points and how far off the start may be, in LR pixels.
_PYRAMID = (
    PyramidScale(8, np.inf, 3.0),
    PyramidScale(4, 64, 2.0),
    PyramidScale(2, 32, 1.0),
    PyramidScale(1, 16, 0.5),
    PyramidScale(0, 16, 0.3),
)
_FROM_TIE_POINTS = 2  # first scale after a start by tie points
_FINEST = PyramidScale(0, 10, 0.1)
# A scale needs an image of this many times its blur.
_SIDES = 6
# LR pixels that are compared on a scale.
_PIXELS = 250_000
# The MSI is seen through the field before its PSF, once per round.
_ROUNDS = 2
# LR pixels searched around a start by tie points, and around the result by those that judge it.
_LOCAL_REACH, _CHECK_REACH = 8.0, 5.0
# A field replaces a simpler model where it lowers the held-out residual by this fraction, this many standard errors,
# and moves LR pixels by so much (root mean square); the position by the metadata only where the evidence is stronger.
_GAIN = 0.02
_STANDARD_ERRORS, _NEGLIGIBLE = 0.5, 0.002
_ERRORS_OF_METADATA, _NEGLIGIBLE_OF_METADATA = 2.5, 0.01
# A position is accepted where the HSI explains this fraction of the MSI, and of its tie points this fraction, and at
# least this number, lies within this many LR pixels; with fewer points only where it explains more.
_EXPLAINED, _FITTING, _LEAST_FITTING, _WITHIN, _EXPLAINED_ALONE = 0.5, 0.6, 4, 0.5, 0.85
# Smaller images determine no field: LR pixels along a side.
_LEAST_SIDE = 20


def register(pair: PairComponents, reach: float, turns: Sequence[float] = (0.0,)) -> Registration:
    """Find how an HSI lies on an MSI: a shift within ``reach`` LR pixels to either side, and a smooth field.

    The field is refined by the forward model: the residual of the MSI, seen through field, PSF and sampling, against a
    linear map of the HSI is minimised over the coefficients of a cubic B-spline by Gauss-Newton, from coarse to fine.
    Spacing ends at 10 LR pixels; the penalty on its bending, and whether a simpler model does as well, is decided on
    held-out blocks of LR pixels. Nothing is resampled.

    Args:
        pair: components of both images.
        reach: of the search for one shift.
        turns: rotations of the LR image about its centre that are searched too, in degrees, positive where the +x axis
            rotates towards -y.

    Example:
        >>> import torch
        >>> from hyperfuse.sensor.presets import mtf
        >>> from hyperfuse.sensor.estimation.sampling import PairPart
        >>> part = PairPart(torch.rand(4, 8, 8), torch.rand(3, 16, 16), mtf(2))
        >>> register(PairComponents.of(part), 4.0).doubt
        'too few pixels to determine a field'
    """
    shape = pair.lr_shape
    if not pair.enough or min(shape) < _LEAST_SIDE:
        return Registration.refused(shape, "too few pixels to determine a field")
    images = pair.images()
    coarse, start = _coarse(pair, images, reach, turns)
    if _fits(images, coarse, start):
        return Registration.fitting(shape, coarse)
    field = _refined(pair, images, *_start(images, start))
    seen, plain = pair.images(field).thinned(_PIXELS), images.thinned(_PIXELS)
    at = linearise(seen, np.zeros((2, seen.rows.size, seen.cols.size)))
    held_out = hold_out(seen, field)
    before, after = (compare(one, at.weight, moved) for one, moved in ((plain, _nowhere(plain)), (seen, held_out)))
    model, field = _simplest(plain, field, at, before, after)
    points = find_tie_points(seen, Field.constant(shape), _CHECK_REACH)
    errors = points.shifts - held_out.at(*points.positions.T).T
    points = points.moved(field)
    supporting = points.valid & (np.hypot(*errors.T) <= _WITHIN)
    doubt = _doubt(after.explained, int(supporting.sum()), int(points.valid.sum()))
    return Registration(
        model, shape, field, coarse, points, errors, points.coverage(shape), before.explained, after.explained, doubt
    )


def _nowhere(images: PairImages) -> Array:
    return np.zeros((2, images.rows.size, images.cols.size))


def _coarse(
    pair: PairComponents, images: PairImages, reach: float, turns: Sequence[float]
) -> tuple[CoarseShift | None, Field]:
    """Return the best shift over all rotations, and both as a field: none where no shift stands out."""
    shape = pair.lr_shape
    best, start = None, Field.constant(shape)
    for degrees in turns:
        rotated = Field.rotation(shape, degrees, pair.sensor.ratio)
        found = search_shift(pair.images(rotated) if degrees else images, reach)
        if found is not None and (best is None or found.peak.score > best.peak.score):
            shift = found.shift if found.stands_out else (0.0, 0.0)
            best, start = found, rotated.then(Field.constant(shape, shift), shape)
    return best, start


def _fits(images: PairImages, coarse: CoarseShift | None, start: Field) -> bool:
    """Return whether the position by the metadata fits: one step would move LR pixels by next to nothing."""
    if coarse is None or not coarse.accepted or np.abs(start.at(images.rows, images.cols)).max() > 1.0:
        return False
    shape = (images.rows.size, images.cols.size)
    step = refine(images.thinned(_PIXELS // 4), Field.constant(shape), _FINEST._replace(spacing=16), shape, steps=2)
    values = step.field.at(images.rows, images.cols)
    return bool(np.sqrt(np.square(values).sum(0).mean()) < _NEGLIGIBLE_OF_METADATA)


def _start(images: PairImages, start: Field) -> tuple[Field, int]:
    """Return where the refinement starts, and its first scale: tie points around the coarse start, where it has any."""
    shape = (images.rows.size, images.cols.size)
    field = field_of(find_tie_points(images, start, _LOCAL_REACH), shape)
    return (start, 0) if field is None else (field, _FROM_TIE_POINTS)


def _refined(pair: PairComponents, images: PairImages, start: Field, first: int) -> Field:
    """Refine a field from a scale of the pyramid to the finest."""
    shape, found = pair.lr_shape, Refined(start, 0.0, np.inf)
    for scale in (*_PYRAMID[first:], _FINEST):
        if scale.blur * _SIDES > min(shape):
            continue
        seen = images if scale.blur == 0 else images.blurred(scale.blur)
        found = refine(seen.thinned(_PIXELS), found.field, scale, shape)
    field = found.field
    for _ in range(_ROUNDS):
        seen = pair.images(field).thinned(_PIXELS)
        more = refine(seen, Field(field.grid, np.zeros_like(field.coefficients)), _FINEST, shape)
        field = field.then(more.field, shape)
    return field


def _simplest(
    images: PairImages, field: Field, at: Linearised, before: HeldOutEnergy, after: HeldOutEnergy
) -> tuple[Model, Field]:
    """Return the simplest model that is no worse than a field on held-out pixels, and the displacement by it."""
    values, total = field.at(images.rows, images.cols), max(float(at.weight.sum()), 1e-300)
    shape = (int(images.rows[-1]) + 1, int(images.cols[-1]) + 1)

    def candidates() -> Iterator[tuple[Model, Array, HeldOutEnergy]]:
        yield "none", _nowhere(images), before
        for model, simple in projections(field, at.weight, images):
            yield model, simple, compare(images, at.weight, simple)

    for model, simple, compared in candidates():
        fraction, errors = improvement(compared, after)
        moved = float(np.sqrt((at.weight * np.square(values - simple).sum(0)).sum() / total))
        enough, little = (
            (_ERRORS_OF_METADATA, _NEGLIGIBLE_OF_METADATA) if model == "none" else (_STANDARD_ERRORS, _NEGLIGIBLE)
        )
        if fraction < _GAIN or errors < enough or moved < little:
            grid = SplineGrid.over(shape, np.inf)
            return model, grid.fit(simple, np.ones(simple.shape[1:]), images.rows, images.cols, 1e-9)
    return "field", field


def _doubt(explained: float, supporting: int, valid: int) -> str:
    """Return why a position is not accepted."""
    if explained < _EXPLAINED:
        return f"the HSI explains {max(explained, 0.0):.0%} of the MSI at best"
    if supporting < _FITTING * valid:
        return f"{valid - supporting} of {valid} tie points contradict the best position"
    if supporting < _LEAST_FITTING and explained < _EXPLAINED_ALONE:
        return f"only {supporting} tie points support the best position"
    return ""
