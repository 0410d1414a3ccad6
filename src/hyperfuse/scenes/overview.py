"""A whole scene as the components by which its images are registered, read strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.scenes.matching.align import pair_part
from hyperfuse.scenes.source import MatchedSource
from hyperfuse.sensor.estimation.sampling import psf_deviation
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.registration.components import (
    HSI_COMPONENTS,
    MSI_COMPONENTS,
    ComponentMap,
    Masked,
    PairComponents,
)
from hyperfuse.sensor.sample_displacement import sample_offsets

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
# Components of a pair, and how many LR pixels they bin along each axis.
SceneComponents = tuple[PairComponents, int]

# LR and HR pixels that are held at most; larger scenes are binned.
_LR_PIXELS, _HR_PIXELS = 1_500_000, 16_000_000
# Values that a strip holds at most, and strips from which components are taken.
_STRIP, _DRAWN = 32_000_000, 12


def scene_components(source: MatchedSource, bands: tuple[Bools, Bools], *, whole: bool) -> SceneComponents:
    """Return the components of a scene, and how many LR pixels they bin along each axis.

    Args:
        source: the scene.
        bands: of HSI and MSI that hold data.
        whole: the scene is held in memory as it is.
    """
    if whole:
        (tile,) = source.whole.tiles()
        return PairComponents.of(pair_part(source.read(tile), *bands)), 1
    hsi, msi = source.match.hsi, source.match.msi
    area = max(hsi.rows * hsi.cols / _LR_PIXELS, msi.rows * msi.cols / _HR_PIXELS)
    factor = max(1, math.ceil(math.sqrt(area)))
    low = _binned(source.read_hsi, (hsi.rows, hsi.cols), bands[0], HSI_COMPONENTS, factor)
    high = _binned(source.read_msi, (msi.rows, msi.cols), bands[1], MSI_COMPONENTS, factor)
    offsets = sample_offsets(source.match.sensor, (hsi.rows, hsi.cols))
    if offsets is not None:
        rows, cols = (size // factor for size in (hsi.rows, hsi.cols))
        offsets = np.float32(1 / factor) * _mean(offsets[:, : rows * factor, : cols * factor], factor)
    return PairComponents(*low, *high, binned_sensor(source.match.sensor, factor), offsets), factor


def binned_sensor(sensor: Sensor, factor: int) -> Sensor:
    """Return the sensor of a pair of which pixels of both images are binned by a whole factor along each axis."""
    sensor = sensor.replace(srf=None, displacement=None)
    if factor == 1:
        return sensor
    y, x = (
        (phase + (ratio - 1) * (factor - 1) / 2) / factor
        for phase, ratio in zip(sensor.offset, sensor.ratio, strict=True)
    )
    deviation = psf_deviation(sensor) / factor
    # Binned LR pixels are as wide as the ratio, seen through what is left of the PSF.
    sigma = [math.hypot(deviation, ratio / math.sqrt(12)) for ratio in sensor.ratio]
    return sensor.replace(phase=(y, x), psf=GaussianPsf(sigma=(sigma[0], sigma[1])))


def _binned(
    read: Callable[[Window], Cube], shape: tuple[int, int], bands: Bools, count: int, factor: int
) -> tuple[Floats, Floats]:
    """Return components (k, rows, cols) of an image, binned, and weights (rows, cols): the fraction that is valid."""
    rows, cols = (size // factor for size in shape)
    height = max(1, _STRIP // max(1, int(bands.sum()) * shape[1] * factor))  # binned rows
    starts = list(range(0, rows, height))

    def strips(chosen: list[int]) -> Iterator[tuple[int, Masked]]:
        for start in chosen:
            size = min(height, rows - start) * factor
            cube = read(Window(start * factor, 0, size, cols * factor))
            data = torch.from_numpy(np.nan_to_num(cube.data[bands], nan=0.0).astype(np.float32))
            valid = None if cube.valid is None else torch.from_numpy(cube.valid[bands].all(axis=0))
            yield start, (data, valid)

    every = max(1, len(starts) // _DRAWN)
    mapped = ComponentMap.fit([one for _, one in strips(starts[::every])], count, rounding=count == HSI_COMPONENTS)
    found, weights = np.zeros((mapped.matrix.shape[1], rows, cols), np.float32), np.zeros((rows, cols), np.float32)
    for start, (image, valid) in strips(starts):
        values, weight = mapped(image, valid)
        values, weight = _mean(values, factor), _mean(weight[None], factor)[0]
        part = slice(start, start + weight.shape[0])
        found[:, part], weights[part] = values / np.maximum(weight, 1e-6), weight
    return found, weights


def _mean(images: Floats, factor: int) -> Floats:
    """Return the means (n, rows / factor, cols / factor) of blocks."""
    if factor == 1:
        return images
    count, rows, cols = images.shape
    blocks = images.reshape(count, rows // factor, factor, cols // factor, factor)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)
