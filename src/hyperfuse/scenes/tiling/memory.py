"""How large tiles and samples may be, so that all processes together stay within their memory."""

from __future__ import annotations

import math

from hyperfuse.errors import InputError
from hyperfuse.runtime.memory import free_bytes, total_bytes
from hyperfuse.sensor.model import Sensor

_MEMORY_GB, _MACHINE_FRACTION = 2.0, 0.8
SMALLEST_TILE, _LARGEST_TILE = 64, 1024
# Measured on 31 to 200 bands: bytes of the program, of one more process that shares its libraries, and of buffers whose
# size does not depend on the tile.
_PROGRAM, _WORKER, _BUFFERS = 350e6, 180e6, 100e6
# Freed memory that is not returned differs between jobs: at a fraction of 0.92 two workers took 2.03 of 2 GB.
_USED_FRACTION = 0.86
# Bytes of one weight of a sparse operator with its index, and weights and positions per HR pixel of interpolation.
_WEIGHT, _INTERPOLATION = 8, 4 + 16 + 2


def default_memory_gb() -> float:
    """Return the memory of all processes where none is specified, less on a machine or in a container of little."""
    return min(_MEMORY_GB, _MACHINE_FRACTION * total_bytes() / 1e9)


def check_workers(workers: int) -> None:
    """Refuse more worker processes than there is memory for, before any tile.

    Raises:
        InputError: their programs alone would take more than is free.
    """
    free = free_bytes()
    if workers > 1 and workers * _WORKER > free:
        raise InputError(
            f"{workers} workers take {workers * _WORKER / 1e9:.1f} GB for their programs alone, {free / 1e9:.1f} GB are"
            f" free; choose at most {max(int(free / _WORKER), 1)}",
            parameter="workers",
        )


def tile_side(bytes_per_pixel: float, ratio: float, margin: int, workers: int, memory_gb: float) -> int:
    """Return the side of a tile without its margins, in HR pixels.

    Args:
        bytes_per_pixel: memory that a tile takes, per HR pixel.
        ratio: HR pixels per LR pixel.
        margin: LR pixels that are read around a tile.
        workers: processes that fuse tiles at the same time.
        memory_gb: memory of all of them in GB; where it is too little, tiles are as small as is sensible.
    """
    total = _USED_FRACTION * memory_gb * 1e9 - _PROGRAM - (_WORKER * workers if workers > 1 else 0.0)
    pixels = (total / workers - _BUFFERS) / bytes_per_pixel
    side = math.sqrt(max(pixels, 0.0)) - 2 * margin * ratio
    return int(min(max(side, SMALLEST_TILE, 4 * ratio), _LARGEST_TILE))


def operator_bytes(sensor: Sensor) -> float:
    """Return the bytes per HR pixel of the operators of displaced samples: their weights, positions and transposes."""
    taps = math.prod((2 * reach + 1) / ratio for reach, ratio in zip(sensor.reach, sensor.ratio, strict=True))
    return _WEIGHT * (2 * taps + _INTERPOLATION)


def pixels_within(bytes_per_pixel: float, memory_gb: float) -> float:
    """Return how many HR pixels of samples fit into the memory of a process that fuses nothing at the same time."""
    return max(_USED_FRACTION * memory_gb * 1e9 - _PROGRAM - _BUFFERS, 0.0) / bytes_per_pixel
