"""Images as pixels on one device, so that the crops of a whole batch are gathered by one operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

Indices = torch.Tensor | NDArray[np.int64]


class ImagePixels:
    """Images of the same bands and of any sizes, as pixels of all bands next to each other.

    Args:
        pixels: of one image after the other, row by row, (pixels, bands); not copied.
        shapes: (H, W) of each image.
    """

    def __init__(self, pixels: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> None:
        sizes = [rows * cols for rows, cols in shapes]
        self._pixels = pixels
        self._first = torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()], device=pixels.device)
        self._cols = torch.tensor([cols for _, cols in shapes], device=pixels.device)

    @classmethod
    def copied(
        cls, images: Iterable[torch.Tensor], shapes: Sequence[tuple[int, int]], bands: int, device: torch.device
    ) -> ImagePixels:
        """Copy images (bands, H, W), taken one after the other, to a device, in float32."""
        sizes = [rows * cols for rows, cols in shapes]
        pixels = torch.empty(sum(sizes), bands, device=device)
        for image, part in zip(images, torch.split(pixels, sizes), strict=True):
            part.copy_(image.to(device).flatten(1).T)
        return cls(pixels, shapes)

    def gather(self, numbers: Indices, rows: Indices, cols: Indices) -> torch.Tensor:
        """Return pixels of an image each, (B, bands, h, w), which lie channels last in memory.

        Indices are not checked, for which a GPU would have to be waited for: they lie inside the image.

        Args:
            numbers: of the images, (B,).
            rows: of the pixels of each, (B, h).
            cols: likewise, (B, w).
        """
        device = self._pixels.device
        numbers, rows, cols = (torch.as_tensor(one, device=device) for one in (numbers, rows, cols))
        at = self._first[numbers].view(-1, 1, 1) + self._cols[numbers].view(-1, 1, 1) * rows[:, :, None]
        at = at + cols[:, None, :]
        return self._pixels[at].permute(0, 3, 1, 2)

    def crops(self, numbers: Indices, rows: Indices, cols: Indices, side: int) -> torch.Tensor:
        """Return crops of ``side`` x ``side`` whose upper left corners are at ``rows`` and ``cols``, (B,) each."""
        device = self._pixels.device
        steps = torch.arange(side, device=device)
        rows, cols = (torch.as_tensor(one, device=device)[:, None] + steps for one in (rows, cols))
        return self.gather(numbers, rows, cols)
