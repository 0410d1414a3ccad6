"""What a registration found: the model, its displacement, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.registration.coarse import CoarseShift
from hyperfuse.sensor.registration.splines import Field
from hyperfuse.sensor.registration.tie_points import TiePoints

Array = NDArray[np.float64]
# Lines along each axis at which the size of a displacement is taken.
_DRAWN = 200
Model = Literal["none", "shift", "scale", "affine", "field"]


@dataclass(frozen=True, eq=False)
class Registration:
    """Where an HSI lies on an MSI, relative to the metadata.

    Attributes:
        model: the simplest model that held-out pixels do not refute: none, shift, scale (a shift and another ratio
            along each axis), affine, or field.
        lr_shape: (rows, cols) of the LR image.
        field: the displacement of the LR pixels by the model; None where the images were not compared so far.
        coarse: shift of the whole pair; None where none was searched.
        points: tie points; their shifts are those of the HSI against the metadata, in LR pixels.
        errors: (n, 2), how far each tie point lies off the field fitted without its surroundings, in LR pixels.
        coverage: fraction of the LR pixels that lie in the window of a tie point that is kept.
        explained_before: fraction of the MSI's variance that the HSI explains at the position by the metadata, held
            out; NaN where it was not compared.
        explained_after: the same at the position found.
        doubt: why it is not accepted, briefly; empty where it is.
        first: LR pixel (row, col) of the HSI from which positions count.
    """

    model: Model
    lr_shape: tuple[int, int]
    field: Field | None
    coarse: CoarseShift | None
    points: TiePoints
    errors: Array
    coverage: float
    explained_before: float
    explained_after: float
    doubt: str
    first: tuple[int, int] = (0, 0)

    @classmethod
    def refused(cls, lr_shape: tuple[int, int], doubt: str) -> Registration:
        """Return that of a pair that shows nothing."""
        return cls(
            "none", lr_shape, None, None, TiePoints.none(), np.zeros((0, 2)), 0.0, float("nan"), float("nan"), doubt
        )

    @classmethod
    def fitting(cls, lr_shape: tuple[int, int], coarse: CoarseShift | None) -> Registration:
        """Return that of a pair that fits as it is."""
        return replace(cls.refused(lr_shape, ""), coarse=coarse)

    @property
    def accepted(self) -> bool:
        """Whether the images determine the position."""
        return not self.doubt

    @property
    def bends(self) -> bool:
        """Whether the displacement is accepted and more than phase and ratio state."""
        return self.accepted and self.model in ("affine", "field")

    @property
    def shift(self) -> tuple[float, float]:
        """Mean displacement (y, x) of the model in LR pixels."""
        if self.field is None:
            return 0.0, 0.0
        y, x = self._values().mean(axis=(1, 2))
        return float(y), float(x)

    def displacement(self, ratio: tuple[float, float]) -> Displacement | None:
        """Return the displacement without its mean, in HR pixels; None where it does not bend."""
        if not self.bends or self.field is None:
            return None
        mean = np.reshape(self.shift, (2, 1, 1))
        return Field(self.field.grid, self.field.coefficients - mean).displacement(ratio)

    @property
    def sizes(self) -> tuple[float, float]:
        """Root mean square and largest length of the displacement, in LR pixels."""
        lengths = np.hypot(*self._values())
        return float(np.sqrt(np.square(lengths).mean())), float(lengths.max())

    @property
    def errors_before(self) -> Array:
        """Lengths of the shifts of the kept tie points, in LR pixels: how far off the metadata are."""
        return np.asarray(np.hypot(*self.points.shifts[self.points.kept].T))

    @property
    def errors_after(self) -> Array:
        """Lengths of the errors of the kept tie points, in LR pixels: how far off the held-out field is."""
        return np.asarray(np.hypot(*self.errors[self.points.kept].T))

    def enlarged(self, factor: int) -> Registration:
        """Return the same in LR pixels of which ``factor`` times as many were binned along each axis."""
        if factor == 1:
            return self
        rows, cols = (size * factor for size in self.lr_shape)
        field = None if self.field is None else self.field.enlarged(factor)
        points = replace(
            self.points,
            positions=self.points.positions * factor + (factor - 1) / 2,
            shifts=self.points.shifts * factor,
            side=self.points.side * factor,
        )
        return replace(self, lr_shape=(rows, cols), field=field, points=points, errors=self.errors * factor)

    def _values(self) -> Array:
        assert self.field is not None  # asked before
        rows, cols = (np.linspace(0, size - 1, min(size, _DRAWN)) for size in self.lr_shape)
        return self.field.at(rows, cols)

    def note(self, ratio: tuple[float, float], metres: float | None) -> str:
        """Return a sentence about what was found.

        Args:
            ratio: HR pixels per LR pixel.
            metres: size of an LR pixel, None where it is not known.
        """
        if not self.accepted:
            return f"no displacement field is taken from the pair: {self.doubt}"
        rms, largest = self.sizes if self.field is not None else (0.0, 0.0)
        unit = f", {largest * metres:.3g} m" if metres is not None else ""
        hr = largest * float(np.sqrt(ratio[0] * ratio[1]))
        size = f"{rms:.2g} LR pixels (root mean square; largest {largest:.2g}, {hr:.2g} HR pixels{unit})"
        what = "an affine map" if self.model == "affine" else "a smooth field"
        return (
            f"the HSI is displaced against the MSI by {size}, {what}; {self._evidence()}the HSI explains"
            f" {self.explained_after:.2%} of the MSI, {self.explained_before:.2%} before (held out)"
        )

    def _evidence(self) -> str:
        tried, _, kept = self.points.counts
        if kept == 0:
            return ""
        before, after = (float(np.sqrt(np.square(one).mean())) for one in (self.errors_before, self.errors_after))
        return f"{kept} of {tried} tie points lie {before:.2g} LR pixels off before and {after:.2g} after it, "

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a record; :meth:`from_dict` reads them back, but for the coarse shift."""
        grid = None if self.field is None else self.field.displacement((1.0, 1.0)).to_dict()
        points = self.points
        return {
            "model": self.model,
            "lr_shape": list(self.lr_shape),
            "field": grid,
            "points": [
                [*position, *shift, *error, float(reliability), bool(valid), bool(kept)]
                for position, shift, error, reliability, valid, kept in zip(
                    points.positions.tolist(),
                    points.shifts.tolist(),
                    self.errors.tolist(),
                    points.reliability,
                    points.valid,
                    points.kept,
                    strict=True,
                )
            ],
            "coverage": self.coverage,
            "explained": [self.explained_before, self.explained_after],
            "doubt": self.doubt,
            "first": list(self.first),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Registration:
        """Return the registration of which :meth:`to_dict` was taken."""
        table = np.array(values["points"], np.float64).reshape(-1, 9)
        points = TiePoints(
            table[:, :2], table[:, 2:4], table[:, 6], table[:, 7].astype(np.bool_), table[:, 8].astype(np.bool_)
        )
        field = None if values["field"] is None else Field.of(Displacement.from_dict(values["field"]))
        rows, cols = values["lr_shape"]
        before, after = values["explained"]
        return cls(
            values["model"], (rows, cols), field, None, points, table[:, 4:6], values["coverage"], before, after,
            values["doubt"], tuple(values["first"]),
        )  # fmt: skip
