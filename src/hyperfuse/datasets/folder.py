"""A folder of cubes in any of the formats that the package reads, each file a scene."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.scenes import Dataset
from hyperfuse.errors import InputError
from hyperfuse.io import format_of, read
from hyperfuse.io.formats.envi_header import data_file

_HEADER = ".hdr"


def folder_of_cubes(*, scale: float | None = None, offset: float | None = None) -> Dataset:
    """Return the kind ``folder``: every cube in a folder is a scene, values as :func:`hyperfuse.read` gives them.

    A scene is called by its file without the extension, and by its whole name where two files differ only in that.
    Folders below are not searched (a Zarr folder is a file here).

    Args:
        scale: value = scale * stored + offset, for files that do not say; None leaves integers as they are.
        offset: see ``scale``.
    """
    return Dataset(
        kind="folder",
        title="the folder",
        layout=(
            "the folder must hold one cube a scene in a format that hyperfuse reads (GeoTIFF, ENVI, .mat, .npz, …); "
            "a scene is called by its file without the extension"
        ),
        find=find_cubes,
        load=partial(_load, scale=scale, offset=offset),
    )


def find_cubes(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that may hold a cube by the names of their scenes; told by extension alone."""
    places = [place for place in sorted(folder.iterdir()) if _may_hold_a_cube(place)]
    data = {place for place in places if place.suffix.lower() != _HEADER}
    places = [place for place in places if place in data or _described_by(place) not in data]
    stems = Counter(place.stem for place in places)
    return {place.stem if stems[place.stem] == 1 else place.name: place for place in places}


def _may_hold_a_cube(place: Path) -> bool:
    entry = format_of(place)
    return entry is not None and not place.name.startswith(".") and place.is_dir() == entry.folder


def _described_by(header: Path) -> Path | None:
    """Return the data file of an ENVI header, None where that is not to be told: reading the scene then says why."""
    try:
        return data_file(header)
    except InputError:
        return None


def _load(place: Path, scale: float | None, offset: float | None) -> Cube:
    return read(place, scale=scale, offset=offset)
