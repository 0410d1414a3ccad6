"""The leading components of both images of a pair, by which a registration compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, principal_images
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.splines import Field
from hyperfuse.sensor.sample_displacement import sample_offsets

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Masked = tuple[torch.Tensor, torch.Tensor | None]

# HSI components that predict the MSI, with at least this many LR pixels each; MSI components that are compared.
HSI_COMPONENTS, _PIXELS_PER_COMPONENT, MSI_COMPONENTS = 20, 25, 4
# Components with less than this fraction of the first one's variance are rounding.
_ROUNDING = 1e-9
# Pixels from which components are taken.
_DRAWN = 100_000


@dataclass(frozen=True, eq=False)
class PairComponents:
    """Principal components of both images, of unit variance.

    Attributes:
        hsi: (k, h, w), 0 in gaps.
        hsi_weight: (h, w), 1 where there is data, 0 in gaps.
        msi: (m, H, W), as it is, not blurred; 0 in gaps.
        msi_weight: (H, W).
        sensor: ratio, phase and PSF as known or assumed, without displacement.
        offsets: (2, h, w), known offsets of the samples in LR pixels, or None.
    """

    hsi: Floats
    hsi_weight: Floats
    msi: Floats
    msi_weight: Floats
    sensor: Sensor
    offsets: Floats | None = None

    @property
    def lr_shape(self) -> tuple[int, int]:
        """Rows and columns of the HSI."""
        return self.hsi.shape[1], self.hsi.shape[2]

    @property
    def enough(self) -> bool:
        """Whether both images hold enough data to be compared."""
        return bool(self.hsi_weight.sum() >= 2 * LEAST_PIXELS and self.msi_weight.any())

    @classmethod
    def of(cls, part: PairPart) -> PairComponents:
        """Take the components of a pair that is in memory."""
        hsi, msi = (
            ComponentMap.fit([(image, valid)], maximum, rounding)
            for image, valid, maximum, rounding in (
                (part.hsi, part.hsi_valid, HSI_COMPONENTS, True),
                (part.msi, part.msi_valid, MSI_COMPONENTS, False),
            )
        )
        sensor = part.sensor.replace(srf=None, displacement=None)
        offsets = sample_offsets(part.sensor, part.lr_shape)
        return cls(*hsi(part.hsi, part.hsi_valid), *msi(part.msi, part.msi_valid), sensor, offsets)

    def images(self, field: Field | None = None) -> PairImages:
        """Return the pair as it is compared; with a field, the MSI is first seen through it.

        The PSF then acts on the ground of the HSI: over a strongly bent field this is not the same as in the MSI.
        """
        sensor, msi, weight = self.sensor, self.msi, self.msi_weight
        size = (msi.shape[1], msi.shape[2])
        if field is not None:
            (y0, x0), (ratio_y, ratio_x) = sensor.offset, sensor.ratio
            rows, cols = (np.arange(one, dtype=np.float64) for one in size)
            move = field.at((rows - y0) / ratio_y, (cols - x0) / ratio_x)
            y = np.arange(size[0])[:, None] + ratio_y * move[0]
            x = np.arange(size[1])[None] + ratio_x * move[1]
            inside = (y >= -0.5) & (y <= size[0] - 0.5) & (x >= -0.5) & (x <= size[1] - 0.5)
            weight = ndimage.map_coordinates(weight, [y, x], order=1, mode="nearest") * inside
            msi = np.stack([ndimage.map_coordinates(one, [y, x], order=3, mode="mirror") for one in msi])
        everywhere = sensor.replace(ratio=1.0, phase=0.0, boundary="reflect")
        seen = everywhere.degrade(torch.from_numpy(weight.astype(np.float32)), size).numpy()
        blurred = everywhere.degrade(torch.from_numpy(msi * weight), size).numpy()
        blurred = (blurred / np.maximum(seen, 1e-3)).astype(np.float32)
        images = PairImages.of(self.hsi, self.hsi_weight, blurred, seen, sensor.offset, sensor.ratio)
        return replace(images, offsets=self.offsets)


@dataclass(frozen=True, eq=False)
class ComponentMap:
    """The linear map of the bands of an image to components: matrix (bands, k), and the mean of the bands."""

    matrix: Floats
    mean: Floats

    @classmethod
    def fit(cls, parts: Sequence[Masked], maximum: int, rounding: bool) -> ComponentMap:
        """Take the map from parts of an image.

        Args:
            parts: (bands, rows, cols), and where they are valid.
            maximum: of components.
            rounding: keep all components above rounding; else those above the noise that is usual.
        """
        pixels = np.concatenate([_pixels(image, valid, _DRAWN // len(parts)) for image, valid in parts])
        bands = parts[0][0].shape[0]
        mean = pixels.mean(axis=0) if len(pixels) else np.zeros(bands)
        if not rounding:
            matrix = principal_images(pixels, maximum) if len(pixels) else np.eye(bands)[:, :1]
            return cls(matrix.astype(np.float32), mean.astype(np.float32))
        centred = pixels - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / max(len(pixels), 1))
        order = np.argsort(values)[::-1][: max(1, min(maximum, len(pixels) // _PIXELS_PER_COMPONENT))]
        order = order[values[order] > _ROUNDING * max(float(values[order[0]]), 1e-300)]
        matrix = vectors[:, order] / np.sqrt(np.maximum(values[order], 1e-300))
        return cls(matrix.astype(np.float32), mean.astype(np.float32))

    def __call__(self, image: torch.Tensor, valid: torch.Tensor | None) -> tuple[Floats, Floats]:
        """Return the components (k, rows, cols) of an image, 0 in gaps, and its weights (rows, cols)."""
        data = image.float().cpu().numpy() - self.mean[:, None, None]
        known = np.ones(data.shape[1:], np.bool_) if valid is None else valid.cpu().numpy()
        found = np.einsum("bk,byx->kyx", self.matrix, np.where(known, data, np.float32(0)))
        return found.astype(np.float32), known.astype(np.float32)


def _pixels(image: torch.Tensor, valid: torch.Tensor | None, maximum: int) -> Array:
    """Return pixels (n, bands) of an image, evenly, as float64."""
    flat = image.flatten(1)
    if valid is not None:
        flat = flat[:, valid.flatten()]
    return np.asarray(flat[:, :: max(1, flat.shape[1] // maximum)].T.double().cpu().numpy())
