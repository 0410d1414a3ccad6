"""The kinds of dataset, by name; the module of a kind is imported when it is first needed."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from hyperfuse.calls import checked
from hyperfuse.datasets.dataset import Dataset
from hyperfuse.datasets.scenes import Scenes
from hyperfuse.datasets.split_files import read_split
from hyperfuse.errors import InputError, nearest_name

# By kind: "module:function" that makes the Dataset. Lazy, because the readers load rasterio, scipy and h5py.
_KINDS = {"cave": "cave:cave", "folder": "folder:folder_of_cubes", "harvard": "harvard:harvard"}


def list_datasets() -> tuple[str, ...]:
    """Return the kinds of dataset that :func:`open_dataset` knows, in alphabetical order."""
    return tuple(sorted(_KINDS))


def get_dataset(kind: str, *, scale: float | None = None, offset: float | None = None) -> Dataset:
    """Return the description of a kind of dataset; see :func:`open_dataset` for the options.

    Raises:
        InputError: an unknown kind (the nearest is named), or a scale for a kind other than folder.
    """
    if kind not in _KINDS:
        raise InputError(f"no kind of dataset {kind!r}{nearest_name(kind, _KINDS)}")
    if kind != "folder" and (scale is not None or offset is not None):
        raise InputError(f"scale and offset are options of the kind folder; the values of {kind} have a known coding")
    make = pkgutil.resolve_name(f"hyperfuse.datasets.{_KINDS[kind]}")
    dataset: Dataset = make(scale=scale, offset=offset) if kind == "folder" else make()
    return dataset


@checked
def open_dataset(
    kind: str,
    folder: str | Path,
    split: str | Path | None = None,
    *,
    scale: float | None = None,
    offset: float | None = None,
) -> Scenes:
    """Open a folder of scenes; they are listed now and read on demand.

    Args:
        kind: ``"cave"``, ``"harvard"`` or ``"folder"`` (any cubes that :func:`hyperfuse.read` reads).
        folder: of the data; its layout is described in the module of the kind, such as :mod:`hyperfuse.datasets.cave`.
            Or a file of packed scenes (:func:`~hyperfuse.datasets.write_packed`).
        split: a split that ships (``"uestc-train"``; see :func:`~hyperfuse.datasets.list_splits`), the path of a text
            file with one name per line, or None for all scenes of this dataset in the folder, sorted.
        scale: kind ``folder`` only: value = scale * stored + offset, for files that do not say.
        offset: see ``scale``.

    Returns:
        The scenes: ``names``, ``load(name)``, ``shape(name)``, ``len``.

    Raises:
        InputError: an unknown kind or split, no such folder, or missing scenes: the message names them, where they
            are available and the layout of the folder.

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
