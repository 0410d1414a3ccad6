"""The folders of hif-benchmarking: what its MATLAB methods read and write, and how their numbers are stored.

``HS/SET/SCALE/NAME.mat`` holds the LR-HSI as ``hsi`` and ``MS/SET/NAME.mat`` the HR-MSI as ``msi``, both (rows, cols,
bands); a method writes ``SR/METHOD/SET/SCALE/NAME.mat`` with its result as ``sri``. Integers stand for fractions of the
largest of their type, and results are uint16 (``im2double`` and ``im2uint16`` of MATLAB).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported, named

LAYOUT = "hif-benchmarking"
_LARGEST = np.iinfo(np.uint16).max


class HifPair(NamedTuple):
    """A pair of the benchmark.

    Attributes:
        key: ``SET/SCALE/NAME``, by which its result is found.
        hsi: file of the LR-HSI.
        msi: file of the HR-MSI; it may be missing.
    """

    key: Path
    hsi: Path
    msi: Path

    @property
    def name(self) -> str:
        """The key without separators, for messages and names of files."""
        return "-".join(self.key.parts)

    @property
    def fault(self) -> str | None:
        """Why it cannot be fused, or None."""
        return None if self.msi.is_file() else f"{self.msi} is missing"

    def target(self, folder: Path) -> Path:
        """Return the file of its result in the folder of a method."""
        return folder / self.key.parent / f"{self.key.name}.mat"


def find_hif_pairs(data: Path) -> list[HifPair]:
    """Return the pairs of a folder of data, by set, scale and name.

    Raises:
        InputError: no such folder, or no LR-HSI in it.
    """
    files = sorted((data / "HS").glob("*/*/*.mat"))
    if not files:
        raise InputError(f"{data}: holds no HS/SET/SCALE/NAME.mat, as {LAYOUT} has them")
    return [
        HifPair(file.relative_to(data / "HS").with_suffix(""), file, data / "MS" / file.parts[-3] / file.name)
        for file in files
    ]


def stored_scale(path: Path, variable: str) -> float:
    """Return the factor by which the numbers of a variable become fractions: 1 for floating-point ones.

    Raises:
        InputError: no such variable, or one of another kind.
    """
    import h5py
    import scipy.io

    from hyperfuse.io.formats.matlab import is_version_73

    with named(path), damage_reported("is not a MATLAB file, or it is damaged"):
        if is_version_73(path):
            with h5py.File(path, "r") as file:
                kinds = {key: item.dtype.name for key, item in file.items() if isinstance(item, h5py.Dataset)}
        else:
            with path.open("rb") as stream:
                kinds = {key: kind for key, _, kind in scipy.io.whosmat(stream)}
        if variable not in kinds:
            raise InputError(f"has no variable {variable!r}, which {LAYOUT} has there")
        kind = kinds[variable]
        if kind in ("uint8", "uint16"):
            return 1 / float(np.iinfo(kind).max)
        if kind in ("double", "single", "float64", "float32"):
            return 1.0
        raise InputError(f"its {variable!r} is {kind}; {LAYOUT} has uint8, uint16 or fractions as floating point there")


def write_result(fused: Path, target: Path, *, overwrite: bool = False) -> str | None:
    """Write a fused image, whose values are fractions, as ``sri``; return a note on what uint16 cannot hold.

    Args:
        fused: file of the image.
        target: the ``.mat`` file to write.
        overwrite: replace an existing one.
    """
    from hyperfuse.io.files import read, write

    cube = read(fused)
    outside = int(np.count_nonzero((cube.data < 0) | (cube.data > 1)))
    gaps = int(np.count_nonzero(np.isnan(cube.data)))
    data = np.clip(np.nan_to_num(cube.data, nan=0.0), 0, 1)
    coded = cube.replace(data=data, valid=None, nodata=None, scale=1 / _LARGEST, offset=0.0)
    write(f"{target}:sri", coded, dtype="uint16", overwrite=overwrite)
    facts = [f"{outside} values outside 0 to 1 are clipped"] if outside else []
    facts += [f"{gaps} gaps are 0"] if gaps else []
    return f"{target.name}: {', '.join(facts)}" if facts else None
