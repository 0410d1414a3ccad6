"""How well an HSI is known to lie on an MSI: errors of tie points, in LR and HR pixels and in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.scenes.matching.blind import Match
from hyperfuse.sensor.detectors import Detector
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap

Floats = NDArray[np.float64]
Two = tuple[float, float]

# Of circular errors, that which this many stay below (CE90).
_CIRCULAR = 0.9


@dataclass(frozen=True, eq=False)
class TiePointErrors:
    """How far kept tie points lie off, along (y, x), in LR pixels.

    Attributes:
        positions: (n, 2), LR positions (row, col) in the HSI.
        before: (n, 2), against the headers.
        after: (n, 2), against the position that is used; of a field against that fitted without their surroundings.
        side: LR pixels along a side of the window that each was found in.
    """

    positions: Floats
    before: Floats
    after: Floats
    side: float

    def covered(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels (rows, cols) of the HSI lie in the window of a point."""
        covered = np.zeros(shape, np.bool_)
        for row, col in self.positions:
            top, left = (max(0, round(one - self.side / 2)) for one in (row, col))
            covered[top : round(row + self.side / 2), left : round(col + self.side / 2)] = True
        return covered


@dataclass(frozen=True, eq=False)
class Evidence:
    """What registration found of a pair, and on what evidence.

    Attributes:
        model: that is applied: none, shift, scale (a shift and another ratio), affine, or field.
        doubt: why a position, or more than one shift, is not accepted; empty where it is.
        displacement: where the HSI's pixels lie, against the headers.
        points: errors of tie points, or None where none was searched.
        counts: tie points tried, reliable, and kept.
        coverage: fraction of the HSI within the window of a tie point that is kept.
        explained: fraction of the MSI's variance that the HSI explains, held out, at the position by the headers and
            at the one used; None where it was not compared.
        detectors: of the HSI where they lie apart, with their shifts from the position that is used.
    """

    model: str
    doubt: str
    displacement: DisplacementMap
    points: TiePointErrors | None
    counts: tuple[int, int, int]
    coverage: float
    explained: Two | None
    detectors: tuple[Detector, ...] = ()

    @classmethod
    def of(cls, match: Match, displacement: DisplacementMap) -> Evidence:
        """Return the evidence of a match, whose displacement is given."""
        alignment, found = match.alignment, match.registration
        doubt = "" if alignment is None or alignment.accepted else alignment.doubt
        explained = None if alignment is None else (alignment.explained_before, alignment.explained_after)
        if found is None:
            nothing = (None, (0, 0, 0), 0.0)
            return cls(_model(displacement), doubt, displacement, *nothing, explained, match.sensor.detectors)
        if np.isfinite(found.explained_after):
            explained = (found.explained_before, found.explained_after)
        kept, points = found.points.kept, found.points
        positions = points.positions[kept] + np.array(found.first)
        before = points.shifts[kept]
        used = displacement.at_points(*positions.T).T / np.array(displacement.ratio)
        after = found.errors[kept] if found.bends else before - used
        return cls(
            found.model if found.bends else _model(displacement),
            found.doubt or doubt,
            displacement,
            TiePointErrors(positions, before, after, float(points.side)),
            points.counts,
            found.coverage,
            explained,
            match.sensor.detectors,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the model, sizes of displacement and errors in each unit, tie points, and doubt."""
        tried, reliable, kept = self.counts
        vectors = self.displacement.vectors.reshape(2, -1).T / np.array(self.displacement.ratio)
        points = self.points
        return {
            "model": self.model,
            "doubt": self.doubt or None,
            "displacement": self.sizes(vectors),
            "tie_points": {"tried": tried, "reliable": reliable, "kept": kept, "coverage": round(self.coverage, 4)},
            "before": None if points is None or not kept else self.sizes(points.before),
            "after": None if points is None or not kept else self.sizes(points.after),
            "explained_variance": None
            if self.explained is None
            else {"before": self.explained[0], "after": self.explained[1]},
            **({"detectors": [self._of_detector(one) for one in self.detectors]} if self.detectors else {}),
        }

    def _of_detector(self, one: Detector) -> dict[str, Any]:
        """Return a detector as plain values, its shift in each unit along (y, x)."""
        lr = np.array(one.shift) / self.displacement.ratio
        shifts = {unit: (lr * np.array(factor)).tolist() for unit, factor in self.units.items()}
        return {**one.to_dict(), "shift": shifts}

    def sizes(self, vectors: Floats) -> dict[str, dict[str, float]]:
        """Return statistics of vectors (n, 2), along (y, x) in LR pixels: by unit, then by statistic."""
        return {unit: statistics_of(vectors * np.array(factor)) for unit, factor in self.units.items()}

    @property
    def units(self) -> dict[str, Two]:
        """Length of an LR pixel along (y, x) in each unit that is known."""
        ratio, lengths = self.displacement.ratio, self.displacement.metres
        units = {"lr_pixels": (1.0, 1.0), "hr_pixels": ratio}
        if lengths is not None:
            units["metres"] = (lengths[0] * ratio[0], lengths[1] * ratio[1])
        return units


def statistics_of(vectors: Floats) -> dict[str, float]:
    """Return median, root mean square, 90th percentile (CE90) and maximum of the lengths of vectors (n, 2), and means.

    Example:
        >>> statistics_of(np.array([[3.0, 4.0], [0.0, 0.0]]))["max"]
        5.0
    """
    lengths = np.hypot(*vectors.T)
    values = {
        "median": np.median(lengths),
        "rmse": np.sqrt(np.mean(lengths**2)),
        "ce90": np.quantile(lengths, _CIRCULAR),
        "max": lengths.max(),
        "mean_y": vectors[:, 0].mean(),
        "mean_x": vectors[:, 1].mean(),
    }
    return {name: float(value) for name, value in values.items()}


def is_linear(field: Displacement) -> bool:
    """Return whether a displacement is affine: its control values lie on planes."""
    values = field.coefficients
    bends = [np.diff(values, 2, axis=1), np.diff(values, 2, axis=2), np.diff(np.diff(values, axis=1), axis=2)]
    largest = max(float(np.abs(values).max()), 1e-300)
    return all(np.abs(one).max(initial=0.0) <= 1e-9 * largest for one in bends)


def _model(displacement: DisplacementMap) -> str:
    """Return what a displacement is: one that is given, or that the alignment found."""
    field = displacement.displacement
    if field is not None:
        return "affine" if is_linear(field) else "field"
    return "scale" if any(displacement.scale) else "shift" if any(displacement.shift) else "none"
