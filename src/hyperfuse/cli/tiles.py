"""``hyperfuse fuse`` for scenes larger than memory: from file to file, in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hyperfuse.cli.options import OutputOptions, TileOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError
from hyperfuse.runtime.memory import total_bytes

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.scenes.tiles import TiledResult

# A scene is fused whole where that takes no more than this share of the machine's memory.
_SHARE_OF_MEMORY = 0.5
# Of a scene in tiles a report shows a part of so many HR pixels a side: as it prints images, without averaging.
_SHOWN_SIDE = 900


def in_tiles(
    hsi: str, msi: str, out: str, options: TileOptions, reading: Mapping[str, Any], msi_reading: Mapping[str, Any]
) -> bool:
    """Return whether a pair is to be fused in tiles: because that is asked for, or because it is large."""
    if options.asked:
        return True
    from hyperfuse.scenes.tiles import takes_tiles
    from hyperfuse.scenes.tiling.memory import bytes_if_whole

    if not takes_tiles(out):
        return False

    needed = bytes_if_whole(hsi, msi, reading=reading, msi_reading=msi_reading)
    return needed is not None and needed > _memory(options)


def too_large(hsi: Cube, msi: Cube, out: str, options: TileOptions, grid: Mapping[str, Any], needs_whole: bool) -> bool:
    """Return whether a pair that has been read is too large to be fused whole, and can be fused in tiles.

    Args:
        hsi: as it was read.
        msi: as it was read.
        out: the output.
        options: of the call.
        grid: ``sensor``, ``srf``, ``psf``, ``ratio`` and ``phase`` as they were told.
        needs_whole: whether something was asked for that tiles do not offer.
    """
    from hyperfuse.scenes.matching.grid import match_pair
    from hyperfuse.scenes.tiles import takes_tiles
    from hyperfuse.scenes.tiling.memory import bytes_of_whole

    if needs_whole or not takes_tiles(out) or bytes_of_whole(hsi.bands, msi.rows, msi.cols) <= _memory(options):
        return False
    try:
        pair = match_pair(hsi, msi, **grid)
    except InputError:
        return False  # another CRS, say: the MSI has to be warped as a whole
    return bytes_of_whole(pair.hsi.bands, pair.msi.rows, pair.msi.cols) > _memory(options)


def _memory(options: TileOptions) -> float:
    """Return what a scene that is fused whole may take, in bytes."""
    if options.memory is not None:
        return options.memory * 1e9
    return _SHARE_OF_MEMORY * total_bytes()


def fuse_in_tiles(
    hsi: str,
    msi: str,
    out: str,
    job: Mapping[str, Any],
    options: TileOptions,
    writing: OutputOptions,
    named: Mapping[str, str],
    session: Session,
    *,
    uncertainty: str | None = None,
    show: bool = False,
) -> TiledResult:
    """Fuse and write; return outlines of what was written, which hold no values, and a part to show if asked for."""
    from hyperfuse.scenes.tiles import fuse_tiles
    from hyperfuse.scenes.tiling.memory import MEMORY_GB

    with session.progress("fusing") as tell:
        result = fuse_tiles(
            hsi,
            msi,
            out,
            **job,
            tile=options.tile,
            workers=options.workers,
            memory_gb=MEMORY_GB if options.memory is None else options.memory,
            scheduler=options.scheduler,
            resume=options.resume,
            inputs=named,
            overwrite=writing.overwrite,
            dtype=writing.dtype,
            compress=writing.compress,
            progress=tell,
            uncertainty=uncertainty,
            show=_SHOWN_SIDE if show else None,
        )
    session.note(f"note: fused in tiles, {result.fused} of {result.tiles} with data")
    return result
