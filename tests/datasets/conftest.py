import warnings

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio.errors import NotGeoreferencedWarning


def write_png(path, stored):
    """A PNG of 8 or 16 bits: (rows, cols) is grey, (channels, rows, cols) with 4 channels is RGBA."""
    stored = np.atleast_3d(stored.T).T
    profile = {"count": len(stored), "height": stored.shape[1], "width": stored.shape[2], "dtype": stored.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", **profile) as out:
            out.write(stored)


def write_bands(folder, name, stored):
    folder.mkdir(parents=True, exist_ok=True)
    for number, band in enumerate(stored, 1):
        write_png(folder / f"{name}_{number:02d}.png", band)


def write_73(path, **arrays):
    """MATLAB 7.3 as MATLAB makes it: a user block that says so, axes backwards, the class as an attribute."""
    classes = {"float64": "double", "float32": "single"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            item = file.create_dataset(name, data=array.T, compression="gzip")
            item.attrs["MATLAB_class"] = np.bytes_(classes.get(array.dtype.name, array.dtype.name))
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(116) + bytes(8) + b"\x00\x02IM")


def write_5(path, **arrays):
    scipy.io.savemat(path, arrays, do_compression=True)


@pytest.fixture
def sixteen():
    """16-bit values (31, 5, 6), the largest and the smallest among them."""
    stored = np.random.default_rng(0).integers(0, 65536, (31, 5, 6), dtype=np.uint16)
    stored[0, 0, 0], stored[30, 4, 5] = 65535, 0
    return stored
