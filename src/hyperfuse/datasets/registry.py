"""The kinds of dataset, and how one is opened; the module of a kind is imported when it is first needed."""

from __future__ import annotations

import importlib
from pathlib import Path

from hyperfuse.datasets.scenes import Dataset, Scenes
from hyperfuse.datasets.split_files import read_split
from hyperfuse.errors import InputError, nearest_name

# kind: module and function that makes the Dataset. Lazy, because the readers load rasterio, scipy and h5py.
_KINDS = {
    "cave": ("cave", "cave"),
    "folder": ("folder", "folder_of_cubes"),
    "harvard": ("harvard", "harvard"),
}


def list_datasets() -> tuple[str, ...]:
    """Return the kinds of dataset that :func:`open_dataset` knows, in alphabetical order."""
    return tuple(sorted(_KINDS))


def get_dataset(kind: str, *, scale: float | None = None, offset: float | None = None) -> Dataset:
    """Return the description of a kind of dataset; see :func:`open_dataset` for the options.

    Raises:
        InputError: an unknown kind (the nearest is told), or a scale for a kind that knows its own.
    """
    if kind not in _KINDS:
        raise InputError(f"no kind of dataset {kind!r}{nearest_name(kind, _KINDS)}")
    module, maker = _KINDS[kind]
    make = getattr(importlib.import_module(f"hyperfuse.datasets.{module}"), maker)
    if kind == "folder":
        dataset: Dataset = make(scale=scale, offset=offset)
        return dataset
    if scale is not None or offset is not None:
        raise InputError(f"scale and offset are options of the kind folder; {kind} knows how its values are stored")
    known: Dataset = make()
    return known


def open_dataset(
    kind: str,
    folder: str | Path,
    split: str | Path | None = None,
    *,
    scale: float | None = None,
    offset: float | None = None,
) -> Scenes:
    """Open a folder of scenes; they are listed now and read when they are asked for.

    Args:
        kind: ``"cave"``, ``"harvard"`` or ``"folder"`` (any cubes that :func:`hyperfuse.read` reads).
        folder: where the data lie; what it must look like is in :mod:`hyperfuse.datasets.cave` and its neighbours.
        split: a split that ships (``"uestc-train"``; see :func:`~hyperfuse.datasets.list_splits`), the path of a text
            file with one name a line, or None for all scenes of this dataset in the folder, sorted.
        scale: kind ``folder`` only: value = scale * stored + offset, for files that do not say.
        offset: see ``scale``.

    Returns:
        The scenes: ``names``, ``load(name)``, ``shape(name)``, ``len``.

    Raises:
        InputError: an unknown kind or split, no such folder, or scenes that are not there: the message names them,
            says where they are to be had and what the folder must look like.

    Example:
        >>> import pathlib, tempfile, numpy
        >>> folder = tempfile.TemporaryDirectory()
        >>> numpy.save(pathlib.Path(folder.name) / "field.npy", numpy.ones((3, 4, 5)))
        >>> scenes = open_dataset("folder", folder.name)
        >>> scenes.names, scenes.load("field").data.shape
        (('field',), (3, 4, 5))
    """
    dataset = get_dataset(kind, scale=scale, offset=offset)
    names = None if split is None else read_split(kind, split, dataset.canonical)
    return Scenes(dataset, Path(folder), names, None if split is None else str(split))
