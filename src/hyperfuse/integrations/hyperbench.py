"""Methods of hyperfuse in HyperBench 0.1, the benchmark of Shah (2026): this file is the pipeline module of its runner.

    hyperbench run --config C.json --pipeline-module .../integrations/hyperbench.py --method-name hyperfuse

``--pipeline-name`` chooses the method: ``gsa`` or any other of ``hyperfuse methods``, with ``-blind`` appended
(``gsa-blind``) to ignore the PSF and the responses that HyperBench passes; default: the default method, informed.

HyperBench blurs with its PSF on an image continued by zeros, averages over the area of an LR pixel, then adds noise.
So the PSF of the sensor is that PSF convolved with a box of one LR pixel, and what the zeros darken at the border is
divided out: every HSI value is then a weighted mean of pixels of the scene.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.methods import DEFAULT_METHOD, get_method, list_methods
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.job import Settings
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import convolution_psf
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.version import __version__

Floats = NDArray[np.float64]
Shape = tuple[int, int]

_BLIND = "-blind"
# LR pixels at the border that say nothing of a PSF that is not known, of an image with as many times more.
_BORDER, _LEAST = 3, 8
# Where less of the PSF lies on the image, dividing would only amplify noise.
_LEAST_WEIGHT = 0.05


class Pipeline:
    """A pipeline of HyperBench: one method, informed or blind.

    Args:
        method: name of a registered method.
        blind: ignore the PSF and the responses; both are estimated from the pair.
        divide_border: divide out what the zeros outside the image darken at its border.
        settings: of the method.
        device: see :func:`hyperfuse.fuse`.

    Raises:
        InputError: no such method.

    Example:
        >>> Pipeline("gsa", blind=True).name
        'gsa-blind'
    """

    def __init__(
        self,
        method: str = DEFAULT_METHOD,
        *,
        blind: bool = False,
        divide_border: bool = True,
        settings: Settings | None = None,
        device: str = "auto",
    ) -> None:
        self.method, self.blind, self.divide_border = get_method(method).name, blind, divide_border
        self.settings, self.device = settings, device

    @property
    def name(self) -> str:
        """The name that ``--pipeline-name`` takes."""
        return self.method + (_BLIND if self.blind else "")

    def run_pipeline(
        self,
        HR_MSI: ArrayLike,
        LR_HSI: ArrayLike,
        srf: ArrayLike | None,
        psf: ArrayLike | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Fuse a pair.

        Args:
            HR_MSI: (H, W, msi_bands), or (1, H, W, msi_bands).
            LR_HSI: (h, w, bands), or (1, h, w, bands).
            srf: responses (msi_bands, bands); rows sum to 1 after scaling.
            psf: kernel by which the image was convolved, in HR pixels.
            metadata: of the case; nothing in it is used.

        Returns:
            The fused image, float32 (H, W, bands), and what HyperBench adds to the row of the case.

        Raises:
            InputError: arrays of other shapes, or no ``srf`` or ``psf`` where they are not to be estimated.
        """
        started = time.perf_counter()
        msi, hsi = _image(HR_MSI, "HR_MSI"), _image(LR_HSI, "LR_HSI")
        shapes = _Shapes(msi.shape[1:], hsi.shape[1:])
        if self.blind:
            geometry: dict[str, Any] = {"ratio": shapes.ratio, "align": False}
            sensor = _estimated(hsi, msi, shapes)
            geometry["psf"] = sensor.psf
        else:
            sensor = stated_sensor(psf, srf, *shapes)
            geometry = {"sensor": sensor}
        gain = 1.0 if self.blind or psf is None else float(np.sum(np.asarray(psf, np.float64)))
        weights = border_weights(sensor, *shapes) * gain
        if self.divide_border:
            hsi = divided(hsi, weights)
        fused = fuse(Cube(hsi), Cube(msi), method=self.method, settings=self.settings, device=self.device, **geometry)
        image = np.ascontiguousarray(fused.data.transpose(1, 2, 0), np.float32)
        stats = {
            "hyperfuse_version": __version__,
            "hyperfuse_method": self.name,
            "border_weight": float(weights.min()) if self.divide_border else 1.0,
            "model_inference_time_sec": time.perf_counter() - started,
        }
        return (image if np.ndim(HR_MSI) == 3 else image[None]), stats


def __getattr__(name: str) -> Pipeline:
    """Return the pipeline of a method by the name that ``--pipeline-name`` takes."""
    methods = {one.name for one in list_methods()}
    if name.removesuffix(_BLIND) not in methods:
        raise AttributeError(f"no pipeline {name!r}{nearest_name(name, methods)}")
    return Pipeline(name.removesuffix(_BLIND), blind=name.endswith(_BLIND))


def run_pipeline(
    HR_MSI: ArrayLike,
    LR_HSI: ArrayLike,
    srf: ArrayLike | None,
    psf: ArrayLike | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Fuse a pair by the default method; see :meth:`Pipeline.run_pipeline`."""
    return Pipeline().run_pipeline(HR_MSI, LR_HSI, srf, psf, metadata)


class _Shapes(NamedTuple):
    """(rows, cols) of the HR and of the LR image."""

    fine: Shape
    coarse: Shape

    @property
    def ratio(self) -> tuple[float, float]:
        return self.fine[0] / self.coarse[0], self.fine[1] / self.coarse[1]


def stated_sensor(psf: ArrayLike | None, srf: ArrayLike | None, fine: Shape, coarse: Shape) -> Sensor:
    """Return the sensor of HyperBench's model, away from the border, where nothing is continued by zeros.

    Args:
        psf: kernel of a convolution, any shape; its sum is a gain that the sensor does not have.
        srf: (msi_bands, bands); rows are scaled to sum 1.
        fine: (H, W).
        coarse: (h, w).

    Raises:
        InputError: one of the two is None.
    """
    if psf is None or srf is None:
        missing = "psf" if psf is None else "srf"
        raise InputError(f"{missing} is None; a blind pipeline (NAME{_BLIND}) estimates it", missing)
    ratio = _Shapes(fine, coarse).ratio
    kernel = np.asarray(psf, np.float64)
    matrix = np.asarray(srf, np.float64)
    # A kernel of an even number of rows has no central one: scipy, which HyperBench uses, takes that before the centre.
    phase = tuple((step - 1) / 2 - (size + 1) % 2 / 2 for step, size in zip(ratio, kernel.shape, strict=True))
    return Sensor(
        ratio=ratio,
        phase=(phase[0], phase[1]),
        psf=convolution_psf(kernel, box=ratio),
        srf=Srf(matrix / matrix.sum(axis=1, keepdims=True), source="HyperBench"),
    )


def border_weights(sensor: Sensor, fine: Shape, coarse: Shape) -> Floats:
    """Return how much of the weight of every LR pixel (h, w) lies on an image of ``fine`` (H, W) pixels."""
    around = [int(np.ceil(reach)) + 1 for reach in sensor.reach]
    inside = torch.zeros(fine[0] + 2 * around[0], fine[1] + 2 * around[1], dtype=torch.float64)
    inside[around[0] : around[0] + fine[0], around[1] : around[1] + fine[1]] = 1
    y, x = (phase + more for phase, more in zip(sensor.offset, around, strict=True))
    return np.asarray(sensor.replace(phase=(y, x)).degrade(inside[None], coarse)[0])


def divided(hsi: NDArray[np.float32], weights: Floats) -> NDArray[np.float32]:
    """Return an LR-HSI (bands, h, w) as weighted means: divided by the weights (h, w) that lie on the image.

    Raises:
        InputError: an LR pixel of which hardly any weight does.
    """
    if weights.min() < _LEAST_WEIGHT:
        raise InputError(
            f"at the border {weights.min():.2g} of the weight of the PSF lies on the image: it cannot be divided out"
        )
    return np.asarray(hsi / weights, np.float32)


def _estimated(hsi: NDArray[np.float32], msi: NDArray[np.float32], shapes: _Shapes) -> Sensor:
    """Return the sensor that a pair shows away from its border."""
    lr, hr, phase = [], [], []
    for size, fine, ratio in zip(shapes.coarse, shapes.fine, shapes.ratio, strict=True):
        cut = _BORDER if size >= _LEAST * _BORDER else 0
        first = math.floor(cut * ratio)
        lr.append(slice(cut, size - cut))
        hr.append(slice(first, math.ceil(fine - cut * ratio)))
        phase.append((ratio - 1) / 2 + cut * ratio - first)
    found = fuse(
        Cube(hsi[:, *lr]),
        Cube(msi[:, *hr]),
        method="bicubic",
        ratio=shapes.ratio,
        phase=(phase[0], phase[1]),
        return_details=True,
    )
    return found.match.sensor.replace(phase=None, srf=None)


def _image(values: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return an image of HyperBench as (bands, rows, cols)."""
    if not isinstance(values, np.ndarray):
        raise InputError(f"{name} is a {type(values).__name__}; run hyperbench with --input-backend numpy", name)
    image = values[0] if values.ndim == 4 and len(values) == 1 else values
    if image.ndim != 3:
        raise InputError(f"{name} is an image (rows, cols, bands), got the shape {values.shape}", name)
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
