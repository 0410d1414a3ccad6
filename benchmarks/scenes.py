"""The scenes that benchmarks share, read from a folder DATA as they circulate.

    DATA/cave/NAME.mat                   CAVE: `orig` (512, 512, 31) of 8 bits, or `Omsi` at half size of 16 bits
    DATA/cave/NAME.jp2                   CAVE: 31 bands of 12 bits
    DATA/remote/NAME.mat                 airborne scenes, and the pair paris_hyperion_ali.mat
    DATA/remote/enmap_potsdam/*.tif      tiles of an EnMAP L2A product

Nothing here is measured; benchmarks import this module: `from scenes import read_remote`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyperfuse import Cube, InputError, read, read_mosaic

# Variable, scale and offset by name. Of the 8-bit scenes the low byte is lost: the middle of what it was is taken.
_CAVE_8_BITS = ("orig", 1 / 256, 1 / 512)
_CAVE_16_BITS = ("Omsi", 1 / 65535, 0.0)
CAVE = {
    "paints": _CAVE_8_BITS,
    "sponges": _CAVE_8_BITS,
    "fake_and_real_sushi": _CAVE_8_BITS,
    "balloons_half": _CAVE_16_BITS,
    "cloth_half": _CAVE_16_BITS,
}

# Variable and order of its axes. "bands,cols,rows" is a matrix (bands, pixels) that counts the pixels down the columns
# of a square image, "bands,rows,cols" one that counts them along its rows.
_CUBE = "rows,cols,bands"
REMOTE = {
    "jasper_ridge": ("Y", "bands,cols,rows"),
    "samson": ("r_cube", _CUBE),
    "moffett": ("Y", "bands,rows,cols"),
    "abu-airport-2": ("data", _CUBE),
    "abu-urban-5": ("data", _CUBE),
    "abu-beach-4": ("data", _CUBE),
    "airborne_224": ("hsi_img", _CUBE),
}

# First and last centre in nm where a file tells none and the bands are nominally even.
_EVEN_NM = {"samson": (401.0, 889.0), "abu-beach-4": (430.0, 860.0)}


def read_cave(folder: Path, name: str) -> Cube:
    """Return a CAVE scene in [0, 1], 31 bands from 400 to 700 nm; ``name`` is one of ``CAVE``."""
    variable, scale, offset = CAVE[name]
    cube = read(folder / "cave" / f"{name}.mat:{variable}", scale=scale, offset=offset)
    return cube.replace(wavelengths=np.linspace(400.0, 700.0, 31))


def read_cave_jp2(folder: Path, name: str) -> Cube:
    """Return a CAVE scene of DATA/cave/NAME.jp2, the upper 12 of its 16 bits, in [0, 1] and as ``read_cave``."""
    cube = read(folder / "cave" / f"{name}.jp2", scale=16 / 65535, offset=8 / 65535)
    return cube.replace(wavelengths=np.linspace(400.0, 700.0, cube.bands))


def read_remote(file: Path) -> Cube:
    """Return an airborne scene, set to zero below zero, divided by its maximum, without the bands that are all zero.

    Wavelengths are there where the file or its source tells them. A file that ``REMOTE`` does not name is read as its
    one cube (rows, cols, bands).
    """
    name = file.stem
    variable, axes = REMOTE.get(name, (None, _CUBE))
    stored = read(file if variable is None else f"{file}:{variable}", axes=_CUBE if axes == _CUBE else None)
    cube = stored if axes == _CUBE else _from_matrix(stored, axes)
    if name in _EVEN_NM:
        cube = cube.replace(wavelengths=np.linspace(*_EVEN_NM[name], cube.bands))
    elif name == "jasper_ridge":
        # 198 of the 224 bands of the sensor that another file of the folder tells the wavelengths of.
        kept = read(f"{file}:SlectBands").data.ravel().astype(int) - 1
        sensor = read(file.with_name("airborne_224.mat:hsi_img")).wavelengths
        cube = cube.replace(wavelengths=None if sensor is None else sensor[kept])
    return _unit(cube)


def _from_matrix(stored: Cube, axes: str) -> Cube:
    """Return the square image of a matrix (bands, pixels), which is read as an image of one band."""
    matrix = stored.data[0]
    side = round(matrix.shape[1] ** 0.5)
    image = matrix.reshape(-1, side, side)
    return Cube(data=image if axes == "bands,rows,cols" else image.transpose(0, 2, 1))


def read_enmap(folder: Path) -> Cube:
    """Return the six EnMAP tiles as one image of reflectance: 64 rows, 96 columns, 224 bands, 6 of them empty."""
    place = folder / "remote" / "enmap_potsdam"
    tiles = sorted(place.glob("tile_*.tif"))
    if not tiles:
        raise InputError(f"{place}: holds no tile_*.tif")
    return read_mosaic(tiles)


def read_paris(folder: Path) -> tuple[Cube, Cube]:
    """Return Hyperion and ALI over Paris, 72x72 pixels, 128 and 9 bands: what two sensors really saw.

    Both are set to zero below zero and divided by Hyperion's maximum, so that they stay in one unit.
    """
    file = folder / "remote" / "paris_hyperion_ali.mat"
    hyperion, ali = read(f"{file}:HSim"), read(f"{file}:MSim")
    top = hyperion.data.max()
    return _unit(hyperion), ali.replace(data=np.clip(ali.data, 0, None) / top)


def _unit(cube: Cube) -> Cube:
    data = np.clip(cube.data, 0, None)
    scaled = cube.replace(data=data / data.max())
    return scaled.select_bands(data.any(axis=(1, 2)))
