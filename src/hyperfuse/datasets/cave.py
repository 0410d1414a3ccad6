"""CAVE: 32 scenes of materials and objects under daylight, 512 x 512 pixels, 31 bands from 400 to 700 nm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL says beyond RasterioError; public under no other name
from rasterio.errors import RasterioError

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets.dataset import Dataset
from hyperfuse.datasets.matlab_scenes import find_cube, read_cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.formats.gdal import open_raster

CAVE_SOURCE = (
    "Yasuma, Mitsunaga, Iso and Nayar (2010), Generalized Assorted Pixel Camera: Postcapture Control of Resolution, "
    "Dynamic Range, and Spectrum, IEEE Transactions on Image Processing 19 (9); CAVE Multispectral Image Database, "
    "Columbia University"
)
CAVE_PAGE = "https://cave.cs.columbia.edu/repository/Multispectral"
CAVE_SCENES = (
    "balloons", "beads", "cd", "chart_and_stuffed_toy", "clay", "cloth", "egyptian_statue", "face",
    "fake_and_real_beers", "fake_and_real_food", "fake_and_real_lemon_slices", "fake_and_real_lemons",
    "fake_and_real_peppers", "fake_and_real_strawberries", "fake_and_real_sushi", "fake_and_real_tomatoes",
    "feathers", "flowers", "glass_tiles", "hairs", "jelly_beans", "oil_painting", "paints", "photo_and_face",
    "pompoms", "real_and_fake_apples", "real_and_fake_peppers", "sponges", "stuffed_toys", "superballs",
    "thread_spools", "watercolors",
)  # fmt: skip

_BANDS = 31
_WAVELENGTHS = tuple(float(centre) for centre in range(400, 701, 10))
_BAND_FILE = re.compile(r".*?(\d+)\.png", re.IGNORECASE)
# A band in a colour file is grey: channels that differ by more than this fraction of the range are a picture.
_GREY_TOLERANCE = 0.02


def cave() -> Dataset:
    """Return the kind ``cave``: reflectance in [0, 1], 16-bit values divided by 65535.

    A scene is a folder of 31 PNG files as they are distributed (``paints_ms/paints_ms/paints_ms_01.png`` to ``_31``,
    or one folder less), or a ``.mat`` file with one array (rows, cols, 31): 16-bit values are divided by 65535, 8-bit
    ones, the high bytes of the former, become (v + 0.5) / 256, fractions in [0, 1] stay; the cube's history states
    which. In watercolors the PNGs carry red, green, blue and alpha; the mean of the three, which are the same grey, is
    the band, and alpha is ignored.
    """
    return Dataset(
        kind="cave",
        title="CAVE",
        layout=(
            "the folder must hold, for each scene, NAME_ms/NAME_ms/NAME_ms_01.png to NAME_ms_31.png (or one folder "
            "less) or NAME.mat with an array (rows, cols, 31)"
        ),
        find=find_scenes,
        load=load_scene,
        shape=scene_shape,
        canonical=scene_name,
        members=CAVE_SCENES,
        page=CAVE_PAGE,
        source=CAVE_SOURCE,
    )


def scene_name(text: str) -> str:
    """Return the name of a scene as the splits spell it.

    Example:
        >>> scene_name("Jelly-Beans_ms"), scene_name("egyptian statue"), scene_name("balloons_half")
        ('jelly_beans', 'egyptian_statue', 'balloons_half')
    """
    return re.sub(r"[\s\-]+", "_", text.strip().lower()).removesuffix("_ms")


def find_scenes(folder: Path) -> dict[str, Path]:
    """Return the folders of PNG files and the ``.mat`` files in a folder, by the names of their scenes."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        holds = bool(_band_files(path)) if path.is_dir() else path.suffix.lower() == ".mat"
        if not holds or path.name.startswith("."):
            continue
        name = scene_name(path.name if path.is_dir() else path.stem)
        if name in found:
            raise InputError(f"{folder} holds the scene {name} twice: {found[name].name} and {path.name}")
        found[name] = path
    return found


def load_scene(path: Path) -> Cube:
    """Read a scene from its folder or file; see :func:`cave`."""
    if path.is_dir():
        stored = _read_bands(_all_bands(path))
        kind = stored.dtype.name
    else:
        found = find_cube(path, _BANDS)
        stored, kind = read_cube(found), found.kind
    data, values = _as_fractions(stored, kind, path)
    return Cube(
        data=np.ascontiguousarray(data),
        wavelengths=np.array(_WAVELENGTHS),
        units="reflectance",
        attributes={"source": CAVE_SOURCE},
        history=({"step": "read CAVE", "file": path.name, "values": values},),
    )


def scene_shape(path: Path) -> tuple[int, int, int]:
    """Return (bands, rows, cols) of a scene from the header of its first band or of its file."""
    if path.is_dir():
        first = _all_bands(path)[0]
        with named(first), open_raster(first) as source:
            return _BANDS, int(source.height), int(source.width)
    rows, cols, _ = find_cube(path, _BANDS).shape
    return _BANDS, rows, cols


def _band_files(path: Path) -> dict[int, list[Path]]:
    """Return the PNG files of a scene by the number at the end of their names, in the folder or one below it."""
    below = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for folder in (path, *below):
        files: dict[int, list[Path]] = {}
        for entry in sorted(folder.iterdir()):
            if (match := _BAND_FILE.fullmatch(entry.name)) and not entry.name.startswith("."):
                files.setdefault(int(match[1]), []).append(entry)
        if files:
            return files
    return {}


def _all_bands(path: Path) -> list[Path]:
    files = _band_files(path)
    missing = [number for number in range(1, _BANDS + 1) if number not in files]
    if missing:
        listed = ", ".join(f"{number:02d}" for number in missing[:6]) + (", …" if len(missing) > 6 else "")
        raise InputError(f"{path}: {len(missing)} of the {_BANDS} bands are missing (PNG files {listed})")
    bands = [files[number] for number in range(1, _BANDS + 1)]
    for number, (first, *others) in enumerate(bands, 1):
        if others:
            raise InputError(f"{path}: {first.name} and {others[0].name} are both band {number}; remove one")
    return [first for first, *_ in bands]


def _read_bands(files: Sequence[Path]) -> NDArray[Any]:
    bands = [_read_band(path) for path in files]
    for path, band in zip(files, bands, strict=True):
        if _described(band) != _described(bands[0]):
            raise InputError(
                f"{path}: is {_described(band)}, but {files[0].name} is {_described(bands[0])}; the bands do not "
                "belong together"
            )
    return np.stack(bands)


def _read_band(path: Path) -> NDArray[Any]:
    try:
        with named(path), open_raster(path) as source:
            stored: NDArray[Any] = source.read()
    except (RasterioError, CPLE_BaseError) as error:
        raise InputError(f"{path}: cannot be read; it is cut off or damaged") from error
    if stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: holds {stored.dtype} values; a band is a PNG of 16 or 8 bits")
    colours = stored[: 3 if len(stored) >= 3 else 1].astype(np.float64)
    if np.ptp(colours, axis=0).max() > _GREY_TOLERANCE * np.iinfo(stored.dtype).max:
        raise InputError(f"{path}: is a colour picture, not a band")
    return np.asarray(np.rint(colours.mean(axis=0)).astype(stored.dtype))


def _described(band: NDArray[Any]) -> str:
    return f"{band.shape[0]} x {band.shape[1]} of {8 * band.dtype.itemsize} bits"


def _as_fractions(stored: NDArray[Any], kind: str, path: Path) -> tuple[NDArray[np.float32], str]:
    """Return values in [0, 1] and their formula; ``kind`` is the class that the file states."""
    if kind == "uint8":
        return (stored.astype(np.float32) + np.float32(0.5)) / np.float32(256), "(stored + 0.5) / 256"
    top, bottom = float(stored.max()), float(stored.min())
    if kind == "uint16":
        return stored.astype(np.float32) / np.float32(65535), "stored / 65535"
    if kind in ("double", "single", "float64", "float32"):
        if bottom >= 0 and top <= 1:
            return stored.astype(np.float32), "as stored"
        # MATLAB arithmetic converts integers to doubles. Up to 255 the original type is ambiguous.
        if bottom >= 0 and 255 < top <= 65535 and bool((stored == np.rint(stored)).all()):
            return stored.astype(np.float32) / np.float32(65535), "stored / 65535"
    raise InputError(
        f"{path}: holds {kind} values from {bottom:g} to {top:g}; 16-bit or 8-bit integers or fractions in [0, 1] are "
        "needed"
    )
