"""Denoising of an image of several bands with known noise: shrinkage of sliding cosine transforms."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from hyperfuse.runtime.parallel import in_threads, strips
from hyperfuse.statistics.subspace import signal_subspace

_BLOCK = 8
_STEP = 2  # pixels between blocks: every pixel is estimated by 16 of them
_PROBE = 0.1  # of the noise: the change from which the divergence is estimated
_THRESHOLD = 2.7  # in deviations of the noise; Dabov et al. 2007
# Above this ratio of variances there is nothing to gain.
_CLEAN = 1e7
_STRIP_PIXELS = 16384  # rows of blocks times columns of the image, of which transforms stay in cache

# Of coefficients, and the numbers of the rows of blocks that they are of.
Shrinkage = Callable[[torch.Tensor, slice], torch.Tensor]


def denoise(image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the image with less noise; without noise, the image itself.

    Bands are rotated into components of unit noise, so that their common signal is denoised together. Each component is
    cut into blocks of 8 x 8 at every second pixel; their cosine transforms are thresholded, which gives a first
    estimate, then shrunk by the Wiener factors of that estimate, and all blocks are averaged, flat ones with more
    weight (Yaroslavsky, Egiazarian, Astola 2001; the two steps of Dabov et al., IEEE TIP 16(8), 2007, without
    matching of blocks).

    Args:
        image: (bands, H, W).
        noise: standard deviation of each band's noise, white and independent, (bands,).

    Example:
        >>> flat = torch.full((2, 32, 32), 0.5)
        >>> noisy = flat + 0.1 * torch.randn(2, 32, 32)
        >>> bool((denoise(noisy, torch.full((2,), 0.1)) - flat).std() < 0.03)
        True
    """
    if not bool((noise > 0).any()) or min(image.shape[-2:]) < 2:
        return image
    subspace, deviations = signal_subspace(image, noise, every=True)
    components = subspace.project(image)

    def shrink(number: int) -> None:
        component, deviation = components[number], deviations[number].to(image.dtype)
        if float(deviation) > 0 and float(component.square().mean()) < _CLEAN * float(deviation) ** 2:
            component.copy_(deviation * _denoise_unit(component / deviation))

    in_threads(shrink, range(len(components)), image.device)
    return subspace.expand(components)


def remaining_error(image: torch.Tensor, noise: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return the mean squared error of each band of :func:`denoise`, (bands,), without knowing the clean image.

    Stein's unbiased estimate, its divergence by a small random change (Ramani, Blu, Unser, IEEE TIP 17(9), 2008).
    """
    if not bool((noise > 0).any()):
        return torch.zeros_like(noise)
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float32).to(image)
    size = _PROBE * noise[:, None, None]
    first = denoise(image, noise)
    slope = (direction * (denoise(image + size * direction, noise) - first) / size.clamp_min(1e-30)).flatten(1).mean(1)
    error = (first - image).square().flatten(1).mean(1) - noise.square() + 2 * noise.square() * slope
    return error.clamp_min(0.0)


def _denoise_unit(image: torch.Tensor) -> torch.Tensor:
    """Denoise one band (H, W) whose noise has unit deviation."""
    blocks = _Blocks(image)

    def threshold(coefficients: torch.Tensor, _: slice) -> torch.Tensor:
        return (coefficients.abs() > _THRESHOLD).to(coefficients.dtype)

    padded = blocks.padded(blocks.shrink(blocks.padded(image), threshold))

    def wiener(_: torch.Tensor, block_rows: slice) -> torch.Tensor:
        power = blocks.transform(padded, block_rows).square_()
        return power.div_(power + 1)

    return blocks.shrink(blocks.padded(image), wiener)


class _Blocks:
    """Overlapping blocks of one image size and their orthonormal cosine transforms, in strips that stay in cache."""

    def __init__(self, image: torch.Tensor) -> None:
        self._shape = (image.shape[0], image.shape[1])
        self._sizes = [min(_BLOCK, size) for size in self._shape]
        self._filters = [_cosines(size, image) for size in self._sizes]
        # Reflected all around, so that pixels of the border lie in equally many blocks, and to a whole number of steps.
        self._before = [max(size - _STEP, 0) for size in self._sizes]
        self._after = [
            before + (size - whole) % _STEP
            for before, size, whole in zip(self._before, self._sizes, self._shape, strict=True)
        ]

    def padded(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (H, W) continued as far as its blocks reach."""
        (top, left), (bottom, right) = self._before, self._after
        return F.pad(image[None, None], (left, right, top, bottom), mode="reflect")[0, 0]

    def transform(self, padded: torch.Tensor, block_rows: slice) -> torch.Tensor:
        """Return the coefficients of some rows of blocks, (rows of a block, columns of one, block rows, columns)."""
        along_y, along_x = self._filters
        tall = F.conv2d(padded[None, None, self._rows(block_rows)], along_y[:, None, :, None], stride=(_STEP, 1))
        return F.conv2d(tall[0, :, None], along_x[:, None, None, :], stride=(1, _STEP))

    def shrink(self, padded: torch.Tensor, rule: Shrinkage) -> torch.Tensor:
        """Multiply every coefficient by its factor, means excepted, and average the blocks: (H, W)."""
        total, mass = torch.zeros_like(padded), torch.zeros_like(padded)
        along_y, along_x = self._filters
        pixels = [torch.ones(1, 1, size, 1).to(padded) for size in self._sizes]
        count = (padded.shape[0] - self._sizes[0]) // _STEP + 1
        for block_rows in strips(count, max(1, _STRIP_PIXELS // padded.shape[1])):
            coefficients = self.transform(padded, block_rows)
            factors = rule(coefficients, block_rows)
            factors[0, 0] = 1.0
            weight = 1.0 / factors.square().sum((0, 1))
            rows = self._rows(block_rows)
            total[rows] += _scatter(coefficients.mul_(factors).mul_(weight), along_y[:, None, :, None], along_x)
            mass[rows] += _scatter(weight[None, None], pixels[0], pixels[1][0, 0].T)
        (top, left), (rows_in, columns_in) = self._before, self._shape
        inside = (slice(top, top + rows_in), slice(left, left + columns_in))
        return total[inside] / mass[inside]

    def _rows(self, block_rows: slice) -> slice:
        """Return the rows of the padded image that some rows of blocks cover."""
        return slice(_STEP * block_rows.start, _STEP * (block_rows.stop - 1) + self._sizes[0])


def _scatter(coefficients: torch.Tensor, along_y: torch.Tensor, along_x: torch.Tensor) -> torch.Tensor:
    """Return the sum of blocks by their coefficients (p, q, rows, columns): of p, q basis vectors along each axis."""
    tall = F.conv_transpose2d(coefficients, along_x[:, None, None, :], stride=(1, _STEP))
    return F.conv_transpose2d(tall[None, :, 0], along_y, stride=(_STEP, 1))[0, 0]


def _cosines(size: int, like: torch.Tensor) -> torch.Tensor:
    """Return the orthonormal cosine transform of ``size`` samples, one basis vector a row."""
    index = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (index[None] + 0.5) * index[:, None] / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.to(like)
