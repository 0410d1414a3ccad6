"""Displacement maps of pairs: what a match found beyond the headers, and a match by a map that is given."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from affine import Affine

from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.scenes.matching.blind import Match, match_headers
from hyperfuse.scenes.matching.grid import common_extent
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor


def whole_sensor(match: Match) -> Sensor:
    """Return the sensor between the whole images, of one between them cut to their common extent."""
    first, ratio = np.array(match.hsi[:2]), np.asarray(match.sensor.ratio)
    y, x = np.asarray(match.sensor.offset) + np.array(match.msi[:2]) - ratio * first
    return match.sensor.window((-int(first[0]), -int(first[1])), (float(y), float(x)))


def match_stated(hsi: CubeHeader, msi: CubeHeader, geometry: PairGeometry) -> Match:
    """Match two images by what headers and caller state: :func:`~.blind.match_headers`, and a displacement map.

    Raises:
        InputError: images that do not fit together, or a map that is not of this scene.
    """
    match = match_headers(hsi, msi, geometry)
    displacement = geometry.displacement_map
    if displacement is None:
        return match
    own = displacement.on(hsi, match.sensor.ratio)
    sensor = own.apply(whole_sensor(match))
    found = common_extent(sensor, hsi, match.msi_header(msi), whole=False, why=", the displacement taken into account")
    lengths = np.hypot(*own.vectors)
    note = (
        f"the HSI's pixels lie where the displacement says: {np.sqrt(np.mean(lengths**2)):.2f} HR pixels off (root mean"
        f" square), {lengths.max():.2f} at most"
    )
    cuts = () if (found.hsi, found.msi) == (match.hsi, match.msi) else found.notes
    return replace(match, sensor=found.sensor, hsi=found.hsi, msi=found.msi, notes=(*match.notes, note, *cuts))


def displacement_of(found: Match, hsi: CubeHeader, msi: CubeHeader, geometry: PairGeometry) -> DisplacementMap:
    """Return how the pixels of an HSI lie off, in pixels of the MSI as it is matched by the headers alone.

    Args:
        found: match by the images, or as the caller states.
        hsi: header of the HSI.
        msi: header of the MSI as it is.
        geometry: what the caller states.
    """
    sensor = geometry.sensor if geometry.sensor is None else geometry.sensor.replace(displacement=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HyperfuseWarning)  # reported when the pair was matched
        stated = match_headers(hsi, msi, geometry.replace(displacement=None, sensor=sensor, search=None))
    grid = Grid(hsi.rows, hsi.cols, hsi.transform, hsi.crs)
    before, after = whole_sensor(stated), whole_sensor(found)
    if found.grid is None or found.grid == stated.grid:
        return DisplacementMap.between(before, after, grid)
    # The MSI is rotated: a rotation about a point, in pixels of the grid by the headers.
    start = msi.transform if stated.grid is None else stated.grid.grid.transform
    assert found.grid.grid.transform is not None
    moved = ~(start or Affine.identity()) @ found.grid.grid.transform
    y, x = after.offset
    corner, down, right = (
        np.array((moved @ (col + 0.5, row + 0.5))[::-1]) - 0.5
        for row, col in ((y, x), (y + after.ratio[0], x), (y, x + after.ratio[1]))
    )
    along = np.stack([down - corner, right - corner], axis=1)  # of (y, x), per LR pixel along (rows, columns)
    straight = after.replace(phase=tuple(corner), ratio=(along[0, 0], along[1, 1]), displacement=None)
    return replace(
        DisplacementMap.between(before, straight, grid),
        displacement=_shear(along[0, 1], along[1, 0], (hsi.rows, hsi.cols)),
    )


def _shear(y_per_col: float, x_per_row: float, shape: tuple[int, int]) -> Displacement:
    """Return a displacement that is linear in the other axis, over an LR image and as far again around it."""
    rows, cols = (size * (np.arange(6.0) - 2) for size in shape)
    values = np.stack(np.broadcast_arrays(y_per_col * cols[None, :], x_per_row * rows[:, None]))
    return Displacement(values, spacing=shape, origin=(rows[0], cols[0]))
