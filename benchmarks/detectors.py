"""Detectors of one HSI that lie apart: what a shift for each is worth, against leaving it and against resampling.

A part of benchmarks/registration.py, which runs it (`--part detectors`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import hyperfuse as hf
from hyperfuse.sensor.detectors import Detector, detectors_of
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import apply_linear, fit_linear
from scenes import read_enmap, read_remote

Array = NDArray[np.float64]

# Scene and ratio; its second detector starts at this wavelength in nm, unless its wavelengths fall back.
_SCENES = (("enmap", 3, 1000.0), ("airborne_224", 4, 950.0))
_SRF = "sentinel-2a"
# Method, noise, and shifts of the second detector along y in LR pixels; along x a fraction of it, the other way.
_CASES: tuple[tuple[str, float | None, tuple[float, ...]], ...] = (
    ("local-regression", None, (0.0, 0.1, 0.3, 0.5)),
    ("feinfn", 30.0, (0.0, 0.3)),
)
_ALONG_X = -0.6
_BORDER = 2  # LR pixels that are not scored


def detectors_part(folder: Path) -> Iterator[str]:
    """PSNR of pairs whose second detector is moved: ways to treat it."""
    yield "## Detectors that lie apart"
    yield ""
    yield (
        "The bands of the second detector are moved by a shift (HSI pixels, along y; along x -0.6 of it), Sentinel-2"
        " bands as the MSI. PSNR in dB over all bands, and over those of the second detector alone. `exact`: each"
        " detector fused with its true sensor. `found`: as `fuse` does with nothing stated, the PSF known, or estimated"
        " too. `splines`: the bands of the second detector interpolated at the positions of the first by cubic splines;"
        " `residual`: the same of what a linear map of the MSI does not explain of them. `one`: all at one position,"
        " which is estimated."
    )
    yield ""
    titles = ["scene", "noise", "method", "shift", "exact", "found", "found, PSF too", "splines", "residual", "one"]
    yield "| " + " | ".join([*titles, "error of the shift", "s"]) + " |"
    yield "| --- " * 12 + "|"
    for name, ratio, limit in _SCENES:
        cube = _scene(folder, name, limit)
        for method, snr, shifts in _CASES:
            for shift in shifts:
                cells = _measure(cube, ratio, method, (shift, _ALONG_X * shift), snr)
                noise = "none" if snr is None else f"{snr:g} dB"
                yield f"| {name} | {noise} | {method} | {shift:g} | " + " | ".join(cells) + " |"
    yield ""


def _scene(folder: Path, name: str, limit: float) -> hf.Cube:
    """Return a scene without unusable bands, the names of whose bands state their detector."""
    cube = read_enmap(folder) if name == "enmap" else read_remote(folder / "remote" / f"{name}.mat")
    cube = cube.select_bands(cube.usable_bands).replace(transform=None, crs=None, band_names=None)
    stated = detectors_of(cube.header)
    second = set(stated[1].bands) if stated else set(np.flatnonzero(np.asarray(cube.wavelengths) >= limit).tolist())
    return cube.replace(
        band_names=tuple(f"{'SWIR' if band in second else 'VNIR'} {band + 1}" for band in range(cube.bands))
    )


def _measure(cube: hf.Cube, ratio: int, method: str, shift: tuple[float, float], snr: float | None) -> list[str]:
    """Return the cells of one row."""
    how = {"ratio": ratio, "srf": _SRF, "hsi_snr_db": snr, "msi_snr_db": snr}
    pair = hf.simulate(cube, **how)
    vnir, swir = detectors_of(cube.header)
    bands = list(swir.bands)
    at = tuple(ratio * one for one in shift)
    exact = pair.sensor.replace(detectors=(vnir, Detector(swir.name, swir.bands, at)))
    moved = exact.by_detector()[1][1]
    data = pair.hsi.data.copy()
    data[bands] = hf.simulate(cube, **how, phase=moved.offset).hsi.data[bands]
    hsi = pair.hsi.replace(data=data)

    def score(image: hf.Cube) -> str:
        inner = np.s_[:, _BORDER * ratio : -_BORDER * ratio, _BORDER * ratio : -_BORDER * ratio]
        true, made = pair.reference.data[inner].astype(float), image.data[inner].astype(float)
        return f"{hf.metrics.psnr(true, made):.2f} / {hf.metrics.psnr(true[bands], made[bands]):.2f}"

    begin = time.process_time()
    found = hf.fuse(hsi, pair.msi, method=method, psf=pair.sensor.psf, return_details=True)
    seconds = time.process_time() - begin
    plain = hsi.replace(band_names=None, wavelengths=np.sort(np.asarray(hsi.wavelengths)))
    resampled = [
        hsi.replace(data=_with(data, bands, made))
        for made in (
            _at_the_first(data[bands].astype(float), shift),
            _residual(data[bands].astype(float), pair.msi.data, (pair.sensor, moved), shift),
        )
    ]
    apart = [np.array(one.shift) / ratio for one in found.match.sensor.detectors] or [np.zeros(2), np.zeros(2)]
    return [
        score(hf.fuse(hsi, pair.msi, method=method, sensor=exact)),
        score(found.image),
        score(hf.fuse(hsi, pair.msi, method=method)),
        *(score(hf.fuse(one, pair.msi, method=method, sensor=pair.sensor)) for one in resampled),
        score(hf.fuse(plain, pair.msi, method=method, psf=pair.sensor.psf)),
        f"{np.hypot(*(apart[1] - apart[0] - shift)):.3f}",
        f"{seconds:.1f}",
    ]


def _with(data: NDArray[np.float32], bands: list[int], values: Array) -> NDArray[np.float32]:
    changed = data.copy()
    changed[bands] = values
    return changed


def _at_the_first(image: Array, shift: tuple[float, float]) -> Array:
    """Return an LR image (bands, h, w), whose samples lie elsewhere by ``shift``, at the regular positions."""
    at = np.meshgrid(*(np.arange(size) - one for size, one in zip(image.shape[1:], shift, strict=True)), indexing="ij")
    return np.stack([ndimage.map_coordinates(band, at, order=3, mode="mirror") for band in image])


def _residual(
    image: Array, msi: NDArray[np.float32], sensors: tuple[Sensor, Sensor], shift: tuple[float, float]
) -> Array:
    """Do the same of what a linear map of the MSI at the samples does not explain, and add the map at the positions."""
    fine = torch.from_numpy(np.array(msi)).double()
    first, second = (sensor.degrade(fine, image.shape[1:]) for sensor in sensors)
    values = torch.from_numpy(image)
    linear = fit_linear(second, values)
    rest = (values - apply_linear(linear, second)).numpy()
    return np.asarray(apply_linear(linear, first).numpy() + _at_the_first(rest, shift))
