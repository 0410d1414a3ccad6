"""Patches cut from scenes on a regular grid, read when they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.datasets.scene_store import SceneStore
from hyperfuse.datasets.scenes import Scenes
from hyperfuse.errors import InputError

# The 20 training scenes of CAVE take 620 MiB: in random order a smaller store would read a scene for every patch.
_MEMORY_BYTES = 2**30


def patch_starts(length: int, size: int, stride: int) -> range:
    """Return where patches start along an axis: ``range(0, length - size, stride)``, and 0 where one just fits.

    The last place, ``length - size``, is left out even where the stride meets it: that is how the 3920 training patches
    of CAVE come about (14 x 14 starts on each of 20 scenes of 512 x 512).

    Raises:
        InputError: a size or stride below 1, or an axis shorter than a patch.

    Example:
        >>> patch_starts(512, 64, 32) == range(0, 448, 32), len(patch_starts(64, 64, 32))
        (True, 1)
    """
    if size < 1 or stride < 1:
        raise InputError(f"patches need a size and a stride of at least 1, got {size} and {stride}")
    if length < size:
        raise InputError(f"{length} pixels are fewer than the {size} of a patch; take a smaller patch")
    return range(0, max(length - size, 1), stride)


class PatchGrid:
    """The patches of all scenes as a map: ``grid[i]`` cuts the i-th, scene by scene, row by row.

    What ``torch.utils.data.DataLoader`` takes for a dataset. Scenes are read when a patch of theirs is asked for, and
    the latest are kept up to a bound; a pickled grid, as a worker gets it, carries none. Where the scenes do not fit
    (those of Harvard take 120 MiB each) and patches come in random order, give a ``scratch`` folder.

    Args:
        scenes: where from; all of one number of bands.
        size: rows and columns of a patch.
        stride: pixels from one start to the next; see :func:`patch_starts`.
        memory_bytes: how much the scenes kept may take together in each process; the one in use is always kept.
        scratch: a folder for scenes as plain float32 arrays, each written there once and mapped by all workers instead
            of kept in memory; what was written goes when the grid goes. None: none.

    Raises:
        InputError: a scene smaller than a patch, or scenes with different numbers of bands.

    Example:
        >>> import pathlib, tempfile, numpy
        >>> from hyperfuse.datasets import open_dataset
        >>> folder = tempfile.TemporaryDirectory()
        >>> numpy.save(pathlib.Path(folder.name) / "field.npy", numpy.ones((3, 96, 128)))
        >>> grid = PatchGrid(open_dataset("folder", folder.name), size=64, stride=32)
        >>> len(grid), grid.position(1), grid[1][0].shape
        (2, ('field', 0, 32), (3, 64, 64))
    """

    def __init__(
        self,
        scenes: Scenes,
        size: int = 64,
        stride: int = 32,
        *,
        memory_bytes: int = _MEMORY_BYTES,
        scratch: str | Path | None = None,
    ) -> None:
        self.scenes = scenes
        self.size = size
        self.stride = stride
        self._store = SceneStore(scenes, memory_bytes, None if scratch is None else Path(scratch))
        self._starts: list[tuple[str, range, range]] = []
        bands: dict[int, str] = {}
        for name in scenes.names:
            shape = scenes.shape(name)
            bands.setdefault(shape[0], name)
            if len(bands) > 1:
                (few, first), (many, second) = bands.items()
                raise InputError(f"the scene {first} has {few} bands and {second} {many}; patches need one number")
            try:
                rows, cols = (patch_starts(length, size, stride) for length in shape[1:])
            except InputError as error:
                raise InputError(f"the scene {name}: {error}") from error
            self._starts.append((name, rows, cols))
        self.bands = next(iter(bands))
        # The number of the first patch of each scene, and of one past the last.
        self._first = np.cumsum([0, *(len(rows) * len(cols) for _, rows, cols in self._starts)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def position(self, index: int) -> tuple[str, int, int]:
        """Return scene, row and column of the corner of a patch, without reading it.

        Raises:
            IndexError: beyond the last patch.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"patch {index} is not among {len(self)}")
        scene = int(np.searchsorted(self._first, place, side="right")) - 1
        name, rows, cols = self._starts[scene]
        row, col = divmod(place - int(self._first[scene]), len(cols))
        return name, rows[row], cols[col]

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], str, int, int]:
        """Cut one patch.

        Returns:
            The reference, float32 (bands, size, size), a copy in memory of its own; the scene; row and column of the
            patch's corner.

        Raises:
            IndexError: beyond the last patch.
            InputError: a damaged scene, or one with gaps, which a network cannot learn from.
        """
        name, row, col = self.position(index)
        window = self._store.array(name)[:, row : row + self.size, col : col + self.size]
        return np.array(window, np.float32, order="C"), name, row, col
