"""The HDF5 patch files that the authors of PSRT, FeINFN and related networks train from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported

PATCH_FILES_PAGE = "https://github.com/shangqideng/PSRT"

_Shape = tuple[int, int, int, int]

_NEEDED = ("GT", "LRHSI", "RGB")
_OPTIONAL = ("HSI_up",)
_LAYOUT = (
    "it must hold the arrays GT, LRHSI, RGB and optionally HSI_up, each (N, bands, rows, cols); "
    f"such files are linked from {PATCH_FILES_PAGE}"
)


class PatchFile:
    """An HDF5 file of patches (arrays ``GT``, ``LRHSI``, ``RGB`` and optionally ``HSI_up``), each read on demand.

    The file is opened once in each process: an instance may be pickled, and used on both sides of a fork.

    Args:
        path: the file, such as ``train_cave(with_up)x4.h5``.

    Raises:
        InputError: no such file, a damaged one, or arrays that are missing or do not fit together.

    Example:
        >>> import h5py, numpy, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "train.h5"
        >>> with h5py.File(file, "w") as out:
        ...     out["GT"], out["LRHSI"] = numpy.ones((5, 31, 8, 8)), numpy.ones((5, 31, 2, 2))
        ...     out["RGB"] = numpy.ones((5, 3, 8, 8))
        >>> with open_patch_file(file) as patches:
        ...     len(patches), patches.ratio, patches[4]["LRHSI"].shape
        (5, 4, (31, 2, 2))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._process = -1
        self.shapes = self._checked_shapes()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arrays: ``GT``, ``LRHSI``, ``RGB`` and, where the file has it, ``HSI_up``."""
        return tuple(self.shapes)

    @property
    def ratio(self) -> int:
        """Rows of ``GT`` for each row of ``LRHSI``."""
        return self.shapes["GT"][2] // self.shapes["LRHSI"][2]

    def __len__(self) -> int:
        return self.shapes["GT"][0]

    def __getitem__(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Read one patch and nothing else of the file; an index below 0 counts from the end.

        Returns:
            float32 arrays (bands, rows, cols) by the names of the file: ``GT`` (reference), ``LRHSI``, ``RGB`` (in
            the order of bands that the file has) and, where there, ``HSI_up`` (upsampled LRHSI).

        Raises:
            IndexError: beyond the last patch.
            InputError: a patch that cannot be read because the file is damaged.
        """
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"patch {index} is not among the {len(self)} of {self.path}")
        with damage_reported(f"{self.path}: the patch {number} cannot be read; the file is damaged or cut off"):
            file = self._opened()
            return {key: np.asarray(file[key][number], np.float32) for key in self.shapes}

    def close(self) -> None:
        """Close the file; the next patch opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def __enter__(self) -> PatchFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": -1}

    def __repr__(self) -> str:
        return f"PatchFile({str(self.path)!r}: {len(self)} patches)"

    def _opened(self) -> Any:
        if self._file is not None and self._process != os.getpid():
            # A file that the parent opened shares its position with it.
            self._file.close()
            self._file = None
        if self._file is None:
            import h5py  # training from scenes alone needs none

            self._file = h5py.File(self.path, "r")
            self._process = os.getpid()
        return self._file

    def _checked_shapes(self) -> dict[str, _Shape]:
        if not self.path.is_file():
            fault = "is a folder; name a file" if self.path.is_dir() else "does not exist"
            raise InputError(f"{self.path}: {fault}; {_LAYOUT}")
        import h5py

        with (
            damage_reported(f"{self.path}: is not an HDF5 file, or it is cut off or damaged; {_LAYOUT}"),
            h5py.File(self.path, "r") as file,
        ):
            sets = {str(key): item for key, item in file.items() if isinstance(item, h5py.Dataset)}
            found = {key: (tuple(item.shape or ()), item.dtype.kind) for key, item in sets.items()}
        missing = [key for key in _NEEDED if key not in found]
        if missing:
            raise InputError(f"{self.path}: has no array {', '.join(missing)}; it holds {_listing(found)}; {_LAYOUT}")
        shapes: dict[str, _Shape] = {}
        for key in (*_NEEDED, *(key for key in _OPTIONAL if key in found)):
            shape, kind = found[key]
            if len(shape) != 4 or 0 in shape or kind not in "fiu":
                raise InputError(f"{self.path}: {key} has the shape {shape} of kind {kind!r}; {_LAYOUT}")
            shapes[key] = (shape[0], shape[1], shape[2], shape[3])
        _check_together(self.path, shapes)
        return shapes


open_patch_file = PatchFile


def _check_together(path: Path, shapes: dict[str, _Shape]) -> None:
    reference, hsi, rgb = (shapes[key] for key in _NEEDED)
    counts = {key: shape[0] for key, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{key} {count}" for key, count in counts.items())
        raise InputError(f"{path}: the arrays hold different numbers of patches ({listed}); the file is incomplete")
    fits = hsi[1] == reference[1] and rgb[2:] == reference[2:] and shapes.get("HSI_up", reference) == reference
    ratio = reference[2] // hsi[2]
    if not fits or ratio < 1 or reference[2:] != (ratio * hsi[2], ratio * hsi[3]):
        listed = ", ".join(f"{key} {' x '.join(map(str, shape[1:]))}" for key, shape in shapes.items())
        raise InputError(f"{path}: the arrays do not fit together ({listed}); {_LAYOUT}")


def _listing(found: dict[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{key} {' x '.join(map(str, shape))}" for key, (shape, _) in sorted(found.items())) or "nothing"
