"""A folder of cubes in any of the formats that the package reads; every file is a scene."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from hyperfuse.datasets.dataset import Dataset
from hyperfuse.errors import InputError
from hyperfuse.io import format_of, read
from hyperfuse.io.formats.envi_header import data_file

_HEADER = ".hdr"


def folder_of_cubes(*, scale: float | None = None, offset: float | None = None) -> Dataset:
    """Return the kind ``folder``: every cube in a folder is a scene, values as :func:`hyperfuse.read` gives them.

    The name of a scene is that of its file without the extension, or with it where two files differ only in that.
    Folders below are not searched (a Zarr folder is a file here). ``scale`` and ``offset`` are for files that do not
    state them.
    """
    return Dataset(
        kind="folder",
        title="the folder",
        layout=(
            "the folder must hold one cube per scene in a format that hyperfuse reads (GeoTIFF, ENVI, .mat, .npz, …); "
            "the name of a scene is that of its file without the extension"
        ),
        find=find_cubes,
        load=partial(read, scale=scale, offset=offset),
    )


def find_cubes(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that hold a cube according to their extension, by the names of their scenes."""
    paths = [path for path in sorted(folder.iterdir()) if _may_hold_a_cube(path)]
    data = {path for path in paths if path.suffix.lower() != _HEADER}
    paths = [path for path in paths if path in data or _described_by(path) not in data]
    stems = Counter(path.stem for path in paths)
    return {path.stem if stems[path.stem] == 1 else path.name: path for path in paths}


def _may_hold_a_cube(path: Path) -> bool:
    entry = format_of(path)
    return entry is not None and not path.name.startswith(".") and path.is_dir() == bool(entry.markers)


def _described_by(header: Path) -> Path | None:
    """Return the data file of an ENVI header, or None where none is found: reading the scene then reports why."""
    try:
        return data_file(header)
    except InputError:
        return None
