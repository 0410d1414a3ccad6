"""Scenes: the named cubes of a dataset's folder, read on demand and not cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.dataset import Dataset
from hyperfuse.datasets.packed import is_packed, of_packed
from hyperfuse.errors import HyperfuseError, InputError, nearest_name

_MAX_LISTED = 6


class Scenes:
    """The scenes of a dataset in a folder, by name; nothing is held in memory.

    Made by :func:`~hyperfuse.datasets.open_dataset`. Iterating gives names; pickled, it carries names and paths only.

    Args:
        dataset: the kind.
        folder: of the data, or a file of packed scenes.
        names: which scenes, in which order, spelled as :attr:`Dataset.canonical` does; None for all, sorted.
        split: name of the choice, for messages and tables, or None.

    Raises:
        InputError: no such folder, no scene in it, or a named scene that is missing.
    """

    def __init__(
        self, dataset: Dataset, folder: str | Path, names: Sequence[str] | None = None, split: str | None = None
    ) -> None:
        folder = Path(folder)
        if is_packed(folder):
            dataset = of_packed(dataset)
        elif not folder.is_dir():
            raise InputError(f"{folder} {'is a file' if folder.exists() else 'does not exist'}; {dataset.remedy}")
        self.dataset, self.kind, self.folder, self.split = dataset, dataset.kind, folder, split
        found = dataset.find(folder)
        if names is None:
            names = sorted(name for name in found if dataset.members is None or name in dataset.members)
        if not names:
            raise InputError(f"{folder} holds no scene of {dataset.title}; {dataset.remedy}")
        _check_complete(dataset, folder, names, found, split)
        self._paths = {name: found[name] for name in names}
        self._shapes: dict[str, tuple[int, int, int]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scenes, in order."""
        return tuple(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __repr__(self) -> str:
        split = "" if self.split is None else f", {self.split}"
        return f"Scenes({self.kind}, {str(self.folder)!r}{split}: {len(self)} scenes)"

    def path(self, name: str) -> Path:
        """Return the file or folder of a scene.

        Raises:
            InputError: a name that is not among :attr:`names`.
        """
        if name not in self._paths:
            raise InputError(f"no scene {name!r} among these of {self.dataset.title}{nearest_name(name, self._paths)}")
        return self._paths[name]

    def load(self, name: str) -> Cube:
        """Read a scene; every call reads the file.

        Returns:
            The cube, with values as the kind of dataset defines them (:attr:`Cube.history` states the conversion).

        Raises:
            InputError: an unknown name, or a damaged scene: its name and file, and the address of the data.
            HyperfuseError: the file may not be read, or does not fit into memory.
        """
        path = self.path(name)
        with self._naming(name):
            cube = self.dataset.load(path)
        self._shapes[name] = (cube.bands, cube.rows, cube.cols)
        return cube

    def items(self) -> Iterator[tuple[str, Cube]]:
        """Give each name with its cube, read one at a time."""
        for name in self._paths:
            yield name, self.load(name)

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a scene, from headers where possible; otherwise the scene is read once.

        Raises:
            InputError: as :meth:`load`.
        """
        path = self.path(name)
        if name not in self._shapes and self.dataset.shape is not None:
            with self._naming(name):
                self._shapes[name] = self.dataset.shape(path)
        elif name not in self._shapes:
            self.load(name)
        return self._shapes[name]

    def subset(self, names: Sequence[str], split: str | None = None) -> Scenes:
        """Return only the named scenes, in that order, such as those held out for validation.

        Raises:
            InputError: a name that is not among :attr:`names`, or none at all.
        """
        for name in names:
            self.path(name)
        return Scenes(self.dataset, self.folder, tuple(names), split or self.split)

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Name the scene in errors of the block, and where a wrong one is available."""
        try:
            yield
        except InputError as error:
            message = f"the scene {name} of {self.dataset.title}: {error}; {self.dataset.remedy}"
            raise InputError(message) from error.__cause__
        except HyperfuseError as error:
            if type(error) is not HyperfuseError:
                raise
            raise HyperfuseError(f"the scene {name}: {error}") from error.__cause__


def _check_complete(
    dataset: Dataset, folder: Path, names: Sequence[str], found: Mapping[str, Path], split: str | None
) -> None:
    missing = [name for name in names if name not in found]
    if not missing:
        return
    of = "" if split is None else f" of the split {split}"
    if len(missing) == 1:
        raise InputError(f"the scene {missing[0]}{of} is not in {folder}; {dataset.remedy}")
    more = "" if len(missing) <= _MAX_LISTED else f" and {len(missing) - _MAX_LISTED} more"
    listed = ", ".join(missing[:_MAX_LISTED]) + more
    raise InputError(f"{len(missing)} of {len(names)} scenes{of} are not in {folder} ({listed}); {dataset.remedy}")
