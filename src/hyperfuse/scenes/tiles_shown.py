"""A part of a large scene to look at: as it was read, and as it was fused."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.open import open_windows
from hyperfuse.scenes.source import Scene
from hyperfuse.scenes.tiles_job import plan_of
from hyperfuse.scenes.tiling.plan import Tile
from hyperfuse.sensor.model import Sensor

_TRIED = 9  # parts nearest to the middle, of which the one with most data is taken


@dataclass(frozen=True)
class ShownPart:
    """A part of a scene.

    Attributes:
        hsi: LR-HSI of the part, (bands, h, w).
        msi: HR-MSI, (msi_bands, H, W), at the HSI's levels.
        sensor: relates the two.
        window: where the part lies in the result.
        whole_hsi: size and place of the whole HSI; it holds no values.
        whole_msi: of the whole MSI.
    """

    hsi: Cube
    msi: Cube
    sensor: Sensor
    window: Window
    whole_hsi: Cube
    whole_msi: Cube

    def of(self, result: str | Path) -> Cube:
        """Return the part of an image that was made of the whole scene."""
        with closing(open_windows(str(result))) as source:
            return source.read(self.window)

    @property
    def told(self) -> str:
        """Where the part lies, in words."""
        row, col, rows, cols = self.window
        return (
            f"shown is a part of {rows} x {cols} pixels of the result, from row {row} and column {col} (from 0) on; "
            f"the whole has {self.whole_msi.rows} x {self.whole_msi.cols}"
        )


def part_to_show(scene: Scene, levels: NDArray[np.float64] | None, side: int) -> ShownPart:
    """Return the part with most data among those near the middle of what holds data.

    Args:
        scene: of any size.
        levels: factor and offset of each MSI band, (2, msi_bands), or None.
        side: of the part in HR pixels, about.
    """
    tiles = [tile for tile in plan_of(scene, side, 0).tiles() if scene.may_hold_data(tile)]
    near = _nearest_to_the_middle(tiles)
    parts = [(scene.hsi.read(scene.hsi_window(tile.lr)), tile) for tile in near]
    hsi, tile = max(parts, key=lambda part: int(part[0].valid_pixels.sum()))
    (top, bottom), (left, right) = tile.y.core, tile.x.core
    window = Window(top, left, bottom - top, right - left)
    msi = scene.msi.read(scene.msi_window(window))
    distrusted = scene.distrusted(window)
    if distrusted.any():
        valid = np.ones(msi.data.shape, np.bool_) if msi.valid is None else msi.valid
        msi = msi.replace(valid=valid & ~distrusted)
    if levels is not None:
        factor, offset = levels[:, :, None, None].astype(np.float32)
        msi = msi.replace(data=factor * msi.data + offset)
    phase = (tile.y.phase + tile.y.hr[0] - top, tile.x.phase + tile.x.hr[0] - left)
    pair = scene.pair
    return ShownPart(hsi, msi, pair.sensor.replace(phase=phase), window, pair.hsi, pair.msi)


def _nearest_to_the_middle(tiles: Sequence[Tile]) -> list[Tile]:
    places = np.array([(tile.row, tile.col) for tile in tiles], np.float64)
    far = np.linalg.norm(places - (places.min(0) + places.max(0)) / 2, axis=1)
    return [tiles[index] for index in np.argsort(far, kind="stable")[:_TRIED]]
