"""The sensor of a scene too large to be looked at whole: what nobody tells is estimated on a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.scenes.matching.align import apply_alignment, estimate_alignment
from hyperfuse.scenes.matching.blind import with_levels, with_psf
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.scenes.source import Scene
from hyperfuse.scenes.tiling.plan import Plan
from hyperfuse.sensor.model import Sensor

# Side of the part, in LR pixels: enough for a shift of a tenth of an HR pixel, and read in a moment.
_SIDE = 96
_TRIED = 16
_WHOLE_ENOUGH = 0.9
_DECIMALS = 4  # of an HR pixel: so that threads do not decide what a job is


@dataclass(frozen=True)
class Learned:
    """What was found on a part of a scene.

    Attributes:
        grid: how to match the scene again, with what was found: see :func:`~hyperfuse.scenes.matching.grid.match_pair`.
        levels: factor and offset of each MSI band, (2, msi_bands), that bring it to the levels of the HSI; or None.
        notes: what was found and decided.
    """

    grid: Mapping[str, Any]
    levels: NDArray[np.float64] | None
    notes: tuple[str, ...]


def learn_sensor(scene: Scene, grid: Mapping[str, Any], *, align: bool, need_srf: bool) -> Learned:
    """Find on a part of a scene what :func:`~hyperfuse.scenes.matching.blind.match_blind` finds on the whole of one.

    A rotation or a change of scale is not looked for: it would need the MSI to be resampled as a whole.

    Args:
        scene: matched by what is told.
        grid: what is told: ``sensor``, ``srf``, ``psf``, ``ratio``, ``phase``.
        align: look for a shift.
        need_srf: whether responses are of use.
    """
    told = grid["sensor"] is not None
    unknown_psf = not told and grid["psf"] is None
    unknown_shift = not told and align and grid["phase"] is None
    unknown_levels = need_srf and (not told or scene.pair.sensor.srf is None)
    part = _part(scene) if unknown_psf or unknown_shift or unknown_levels else None
    if part is None:
        return Learned(grid, None, ())
    before = part.sensor
    notes = [f"sensor estimated on {part.hsi.rows}x{part.hsi.cols} HSI pixels in the middle of what holds data"]
    if unknown_psf:
        part, note = with_psf(part, known_phase=not unknown_shift)
        notes.append(note)
    if unknown_shift:
        found = estimate_alignment(part.hsi, part.msi, part.sensor, affine=False)
        placed = apply_alignment(part.hsi, part.msi, part.sensor, found)
        part = MatchedPair(part.hsi, placed.msi, placed.sensor, ())
        notes += placed.notes
    levels = None
    if unknown_levels:
        part, estimate, more = with_levels(part)
        notes += more
        used = part.msi.usable_bands
        levels = np.stack([np.ones(used.size), np.zeros(used.size)])
        if estimate is not None:
            flat = torch.zeros(int(used.sum()), 1, 1, dtype=torch.float64)
            offset = estimate.correct(flat).flatten()
            levels[:, used] = torch.stack([estimate.correct(flat + 1).flatten() - offset, offset]).numpy()
    if told:
        return Learned({**grid, "sensor": grid["sensor"].replace(srf=part.sensor.srf)}, levels, tuple(notes))
    moved = np.round(np.asarray(part.sensor.offset) - np.asarray(before.offset), _DECIMALS)
    y, x = _uncut_phase(scene) + moved
    # Without a phase of its own the sensor does not tell that the files cover each other as they are: see match_pair.
    sensor = Sensor(
        ratio=scene.pair.sensor.ratio, phase=(float(y) + 1, float(x) + 1), psf=part.sensor.psf, srf=part.sensor.srf
    )
    again = {"sensor": sensor, "srf": None, "psf": None, "ratio": None, "phase": (float(y), float(x))}
    return Learned(again, levels, tuple(notes))


def _uncut_phase(scene: Scene) -> NDArray[np.float64]:
    """Return the phase of the files as they are, not cut to their common extent."""
    sensor = scene.pair.sensor
    first = np.asarray(sensor.ratio) * np.asarray(scene.hsi_start)
    return np.asarray(np.asarray(sensor.offset) + np.asarray(scene.msi_start) - first, np.float64)


def _part(scene: Scene) -> MatchedPair | None:
    """Return a part of the scene that holds data, one near its middle before others."""
    pair = scene.pair
    side = int(np.ceil(_SIDE * pair.sensor.mean_ratio))
    plan = Plan.of((pair.hsi.rows, pair.hsi.cols), (pair.msi.rows, pair.msi.cols), pair.sensor, side, 0)
    tiles = [tile for tile in plan.tiles() if scene.may_hold_data(tile)]
    middle = len(tiles) // 2
    order = sorted(range(len(tiles)), key=lambda index: abs(index - middle))[:_TRIED]
    best, most = None, 0.0
    for index in order:
        tile = tiles[index]
        hsi = scene.hsi.read(scene.hsi_window(tile.lr))
        share = float(1 - hsi.empty_pixels.mean()) if hsi.usable_bands.any() else 0.0
        if share <= most:
            continue
        msi = scene.msi.read(scene.msi_window(tile.hr))
        share = min(share, float(1 - msi.empty_pixels.mean()) if msi.usable_bands.any() else 0.0)
        if share > most:
            best, most = MatchedPair(hsi, msi, tile.sensor(pair.sensor), ()), share
        if most > _WHOLE_ENOUGH:
            break
    return best
