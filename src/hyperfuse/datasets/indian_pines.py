"""Indian Pines: an AVIRIS scene of fields and woods in Indiana, 12 June 1992, from the package tensorly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.runtime.optional import missing

INDIAN_PINES_SOURCE = (
    "Baumgardner, Biehl and Landgrebe (2015), 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine "
    "Test Site 3, Purdue University Research Repository, doi:10.4231/R7RX991C, licensed under CC BY 3.0"
)

_FILE = Path("datasets", "data", "Indian_pines_corrected.npy")
_SENSOR_BANDS = 220
# Bands of water absorption, counted from 1, that are absent from the "corrected" distribution.
_REMOVED_BANDS = (*range(104, 109), *range(150, 164), 220)


def load_indian_pines() -> Cube:
    """Return the scene, 200 bands of 145 x 145 pixels, divided by its largest value.

    The wavelengths are nominal: 220 bands evenly from 400 to 2500 nm, less bands 104 to 108, 150 to 163 and 220
    (counted from 1). Needs the extra ``demo``; the file is read without importing that package. Name
    ``INDIAN_PINES_SOURCE`` where the scene is displayed.

    Raises:
        MissingDependencyError: the package tensorly is not installed, or has no such file.

    Example:
        >>> load_indian_pines().data.shape
        (200, 145, 145)
    """
    # Its own loader would import the package's tensor backends, which takes seconds.
    spec = find_spec("tensorly")
    folders = [] if spec is None else [Path(path) for path in spec.submodule_search_locations or ()]
    found = [folder / _FILE for folder in folders if (folder / _FILE).is_file()]
    if not found:
        raise missing("tensorly", "the scene Indian Pines")
    stored = np.load(found[0], allow_pickle=False)
    data = np.moveaxis(stored, 2, 0).astype(np.float32) / np.float32(stored.max())
    return Cube(
        data=np.ascontiguousarray(data),
        wavelengths=_nominal_wavelengths(),
        units="fraction of the scene's maximum",
        attributes={"source": INDIAN_PINES_SOURCE, "wavelengths": "nominal"},
    )


def _nominal_wavelengths() -> NDArray[np.float64]:
    centres = np.linspace(400.0, 2500.0, _SENSOR_BANDS)
    return np.delete(centres, np.array(_REMOVED_BANDS) - 1)
