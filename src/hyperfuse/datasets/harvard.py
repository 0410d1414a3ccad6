"""Harvard: 50 indoor and outdoor scenes under daylight, 1040 x 1392 pixels, 31 bands from 420 to 720 nm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.dataset import Dataset
from hyperfuse.datasets.matlab_scenes import find_cube, read_cube
from hyperfuse.errors import InputError

HARVARD_SOURCE = (
    "Chakrabarti and Zickler (2011), Statistics of Real-World Hyperspectral Images, IEEE Conference on Computer Vision "
    "and Pattern Recognition; Harvard Real-World Hyperspectral Images Dataset"
)
HARVARD_PAGE = "http://vision.seas.harvard.edu/hyperspec"
# The part under daylight (CZ_hsdb); the missing numbers are in the part under mixed light (CZ_hsdbi).
HARVARD_SCENES = tuple(
    f"img{letter}{number}"
    for letter, numbers in {
        "": "12", "a": "12567", "b": "0123456789", "c": "1245789", "d": "234789", "e": "01234567", "f": "12345678",
        "h": "0123",
    }.items()
    for number in numbers
)  # fmt: skip

_BANDS = 31
_CROP = 1000
_WAVELENGTHS = tuple(float(centre) for centre in range(420, 721, 10))


def harvard() -> Dataset:
    """Return the kind ``harvard``: the top left 1000 x 1000 pixels, divided by their maximum.

    A scene is a ``.mat`` file (version 5 or 7.3) as it is distributed, with the array ``ref`` (1040, 1392, 31). That
    only the top left is used and each image is divided by its maximum is what most papers do; the cube's history states
    both. The calibration of the camera (``calib.txt``) and the mask of moving objects (``lbl``) are not applied.
    """
    return Dataset(
        kind="harvard",
        title="Harvard",
        layout=(
            "the folder must hold NAME.mat for each scene (img1.mat, imga1.mat, …) with the array ref (1040, 1392, 31)"
        ),
        find=find_scenes,
        load=load_scene,
        shape=scene_shape,
        canonical=scene_name,
        members=HARVARD_SCENES,
        page=HARVARD_PAGE,
        source=HARVARD_SOURCE,
    )


def scene_name(text: str) -> str:
    """Return the name of a scene as the splits spell it.

    Example:
        >>> scene_name("imgA1.mat")
        'imga1'
    """
    return text.strip().lower().removesuffix(".mat")


def find_scenes(folder: Path) -> dict[str, Path]:
    """Return the ``.mat`` files of a folder by the names of their scenes."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".mat" and path.is_file()]
    return {scene_name(path.name): path for path in files if not path.name.startswith(".")}


def load_scene(path: Path) -> Cube:
    """Read a scene; see :func:`harvard`."""
    stored = read_cube(find_cube(path, _BANDS, preferred="ref"), _CROP, _CROP)
    maximum = float(stored.max())
    if not maximum > 0 or not np.isfinite(maximum):
        raise InputError(f"{path}: the maximum of the image is {maximum:g}; the image cannot be normalised")
    data = np.ascontiguousarray(stored, np.float32)
    data /= np.float32(maximum)
    return Cube(
        data=data,
        wavelengths=np.array(_WAVELENGTHS),
        units="fraction of the image's maximum",
        attributes={"source": HARVARD_SOURCE},
        history=(
            {
                "step": "read Harvard",
                "file": path.name,
                "crop": {"row": 0, "col": 0, "rows": data.shape[1], "cols": data.shape[2]},
                "values": "divided by the maximum of this crop",
                "maximum": maximum,
            },
        ),
    )


def scene_shape(path: Path) -> tuple[int, int, int]:
    """Return (bands, rows, cols) of a scene after the crop, from the header of its file."""
    rows, cols, bands = find_cube(path, _BANDS, preferred="ref").shape
    return bands, min(rows, _CROP), min(cols, _CROP)
