"""How large tiles may be, so that all processes together stay within their memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.io.windows.open import open_windows
from hyperfuse.methods.contract.method import BytesPerPixel
from hyperfuse.scenes.source import Scene

MEMORY_GB = 2.0
SMALLEST_TILE, _LARGEST_TILE = 64, 1024
# Measured on 31 to 200 bands: bytes of the program, of one more process that shares its libraries, and of buffers
# whose size does not depend on the tile.
_PROGRAM, _WORKER, _BUFFERS = 350e6, 180e6, 100e6
# Samples are large, so that as little of them is rim, which asks for narrow windows. A method that learns on them may
# hold each at HR.
SAMPLE_SIDE, SAMPLE_MARGIN = 256, 4  # HR and LR pixels
_SAMPLE_HSI, _SAMPLE_MSI = 8, 110
_FEWEST_SAMPLES, _MOST_SAMPLES = 4, 12
# The sizes of freed and kept memory differ from run to run: at a share of 0.92 two workers took 2.03 of 2 GB.
_USED_SHARE = 0.86
# What a scene fused whole takes, in images of the size of the result.
_WHOLE_IMAGES = 6


def tile_size(scene: Scene, memory: BytesPerPixel, margin: int, workers: int, memory_gb: float) -> int:
    """Return the side of a tile without its margins, in HR pixels.

    Args:
        scene: to be fused.
        memory: of the method.
        margin: LR pixels that are read around a tile.
        workers: processes that fuse tiles at the same time.
        memory_gb: what all of them may take, in GB; where it is too little, tiles are as small as is sensible.
    """
    total = _USED_SHARE * memory_gb * 1e9 - _PROGRAM - (_WORKER * workers if workers > 1 else 0.0)
    of_tile = total / workers - _BUFFERS
    pixels = of_tile / (memory.hsi_band * scene.hsi.header.bands + memory.msi_band * scene.msi.header.bands)
    ratio = scene.pair.sensor.mean_ratio
    side = math.sqrt(max(pixels, 0.0)) - 2 * margin * ratio
    return int(min(max(side, SMALLEST_TILE, 4 * ratio), _LARGEST_TILE))


def samples_within(scene: Scene, side: int, memory_gb: float) -> int:
    """Return how many samples of a scene may be held at once while a method learns on them.

    Args:
        scene: to be fused.
        side: of a sample without its margins, in HR pixels.
        memory_gb: what that may take, in GB; no tiles are fused at the same time.
    """
    pixels = (side + 2 * SAMPLE_MARGIN * scene.pair.sensor.mean_ratio) ** 2
    of_sample = pixels * (_SAMPLE_HSI * scene.hsi.header.bands + _SAMPLE_MSI * scene.msi.header.bands)
    room = _USED_SHARE * memory_gb * 1e9 - _PROGRAM - _BUFFERS
    return int(min(max(room / of_sample, _FEWEST_SAMPLES), _MOST_SAMPLES))


def bytes_if_whole(
    hsi: str, msi: str, *, reading: Mapping[str, Any] | None = None, msi_reading: Mapping[str, Any] | None = None
) -> int | None:
    """Return about how much memory it takes to fuse two files whole; None where they cannot be read by windows.

    Args:
        hsi: file of the LR-HSI.
        msi: file of the HR-MSI.
        reading: options of :func:`~hyperfuse.io.windows.open.open_windows` for the HSI.
        msi_reading: the same for the MSI.
    """
    try:
        with (
            closing(open_windows(hsi, **(reading or {}))) as coarse,
            closing(open_windows(msi, **(msi_reading or {}))) as fine,
        ):
            return bytes_of_whole(coarse.header.bands, fine.header.rows, fine.header.cols)
    except InputError:
        return None


def bytes_of_whole(bands: int, rows: int, cols: int) -> int:
    """Return about how much memory it takes to fuse a scene whole, given the size of the result."""
    return 4 * bands * rows * cols * _WHOLE_IMAGES
