"""The plugin as its zip, in a fresh QGIS profile, with a program and images."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """This hyperfuse as a program that needs nothing of the environment, in a folder with an odd name."""
    path = tmp_path_factory.mktemp("program") / "a 'b' ü" / "hyperfuse"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT / "src"}" exec "{sys.executable}" -m hyperfuse "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory):
    """The zip that `make qgis-plugin` builds."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "qgis" / "build.py", folder], check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def profile(tmp_path, plugin_zip):
    """Environment of a QGIS with a home of its own, and the folder of the profile's plugins with the zip unpacked."""
    plugins = tmp_path / "home/.local/share/QGIS/QGIS3/profiles/default/python/plugins"
    plugins.mkdir(parents=True)
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(plugins)
    (tmp_path / "run").mkdir(mode=0o700)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HYPERFUSE_"))}
    environ |= {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "QT_QPA_PLATFORM": "offscreen",
        "LC_ALL": "C.UTF-8",
    }
    return environ, plugins


@pytest.fixture
def pair(tmp_path):
    """Files of a pair in UTM: hsi.tif (30 m), msi.tif (10 m), reference.tif, and others of them."""
    folder = tmp_path / "images"
    folder.mkdir()
    reference = _reference(60, 20)
    bands = reference.bands
    hsi = reference.data.reshape(bands, 20, 3, 20, 3).mean(axis=(2, 4))
    msi = reference.data[[2, 6, 10, 16]]
    for name, data, wavelengths, pixel, shift in (
        ("reference", reference.data, reference.wavelengths, 10.0, 0.0),
        ("hsi", hsi, reference.wavelengths, 30.0, 0.0),
        ("msi", msi, reference.wavelengths[[2, 6, 10, 16]], 10.0, 0.0),
        ("away", msi, reference.wavelengths[[2, 6, 10, 16]], 10.0, 50_000.0),
    ):
        transform = (pixel, 0.0, 364_000.0 + shift, 0.0, -pixel, 5_810_000.0)
        cube = Cube(data=data, wavelengths=wavelengths, transform=transform, crs="EPSG:32633", units="reflectance")
        write(folder / f"{name}.tif", cube)
    return folder


def _reference(side, bands):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:side, 0:side] / 7.0
    weights = np.stack([1 + np.sin(x), 1 + np.cos(y), 1 + np.sin(x + y)])
    weights /= weights.sum(axis=0)
    spectra = np.cumsum(rng.uniform(0.05, 0.6, (3, bands)), axis=1) / np.arange(1, bands + 1)
    data = np.einsum("kb,krc->brc", spectra, weights).astype(np.float32)
    return Cube(data=data, wavelengths=np.linspace(430, 890, bands))


@pytest.fixture
def odd_names(pair):
    """The pair under names that a shell would take apart, its HSI as a variable of a netCDF file that has two."""
    folder = pair / "a b; c'd $(e)"
    folder.mkdir()
    msi, hsi = folder / "msi; rm -rf.tif", folder / "ü – 中.nc"
    shutil.copy(pair / "msi.tif", msi)
    write(f"{hsi}:first", read(pair / "hsi.tif"))
    with h5py.File(hsi, "a") as file:
        file["second"] = np.zeros((5, 7), np.float32)
    return {"HSI": f'NETCDF:"{hsi}":first', "MSI": str(msi), "OUTPUT": str(folder / "out 'x'.tif")}
