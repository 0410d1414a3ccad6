"""Overlapping patches of an image, and clusters of similar ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

# Elements of a block of distances.
_BLOCK = 2**22
_MOST_ROUNDS = 100


class PatchGrid:
    """Square patches at regular starts that cover an image, whose overlaps are averaged with equal weights.

    The last patch of a row or column ends at the border; it is counted once, also where the step leads there.

    Args:
        shape: rows and columns of the image, at least ``side``.
        side: pixels of a patch along an axis.
        step: distance of the starts.
        column_major: the pixels of a patch go down its columns first, not along its rows.

    Example:
        >>> PatchGrid((7, 12), side=7, step=3).count
        3
    """

    def __init__(self, shape: tuple[int, int], side: int, step: int, *, column_major: bool = False) -> None:
        self.shape, self.side = shape, side
        starts = [sorted({*range(0, size - side + 1, step), size - side}) for size in shape]
        rows, cols = (torch.tensor(one) for one in starts)
        inside = torch.arange(side)
        at = (rows[:, None, None, None] + inside[:, None]) * shape[1] + cols[:, None, None] + inside
        self._pixels = (at.transpose(-1, -2) if column_major else at).reshape(-1, side * side)
        counts = torch.zeros(shape[0] * shape[1], dtype=torch.float64)
        counts.index_add_(0, self._pixels.flatten(), torch.ones(self._pixels.numel(), dtype=torch.float64))
        self._counts = counts

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self._pixels)

    def cut(self, image: torch.Tensor, which: torch.Tensor | None = None) -> torch.Tensor:
        """Return patches of an image (channels, H, W): (patches, channels, side * side), pixels in the grid's order.

        Args:
            image: of the grid's shape.
            which: numbers of the patches; default: all.
        """
        pixels = self._pixels if which is None else self._pixels[which]
        return image.flatten(1)[:, pixels].permute(1, 0, 2)

    def average(self, groups: Iterator[tuple[torch.Tensor, torch.Tensor]], like: torch.Tensor) -> torch.Tensor:
        """Return the image that patches make where they overlap by their mean.

        Args:
            groups: numbers of patches, and those patches as :meth:`cut` gives them; together every patch once.
            like: an image (channels, H, W) of that size and type.
        """
        total = torch.zeros_like(like).flatten(1)
        for which, patches in groups:
            pixels = self._pixels[which].flatten().to(total.device)
            total.index_add_(1, pixels, patches.permute(1, 0, 2).flatten(1))
        return (total / self._counts.to(total)).reshape(like.shape)


class PatchGroups:
    """Groups of similar patches of an image.

    Args:
        grid: of the patches.
        members: numbers of the patches of each group, together every patch once.
    """

    def __init__(self, grid: PatchGrid, members: list[torch.Tensor]) -> None:
        self.grid, self.members = grid, members

    @classmethod
    def similar(
        cls, guidance: torch.Tensor, grid: PatchGrid, count: int, largest: int | None = None, seed: int = 0
    ) -> PatchGroups:
        """Group the patches that are similar in an image (channels, H, W).

        Args:
            guidance: in which patches are compared, in single precision.
            grid: of the patches.
            count: of the clusters of k-means.
            largest: number of patches of a group; clusters of more are split, see :func:`split`. None: no limit.
            seed: of k-means.
        """
        rows = grid.cut(guidance.float()).flatten(1).cpu()
        members = cluster(rows, count, seed)
        if largest is not None:
            members = [part for one in members for part in split(rows, one, largest)]
        return cls(grid, members)

    def map(self, image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return an image of changed patches, by their mean where they overlap.

        Args:
            image: (channels, H, W).
            change: maps the patches of a group (patches, channels, side * side) to new ones.
        """
        return self.grid.average(((one, change(self.grid.cut(image, one))) for one in self.members), image)


def split(rows: torch.Tensor, which: torch.Tensor, largest: int) -> list[torch.Tensor]:
    """Split a group of vectors into parts of equal size along their first principal component.

    Args:
        rows: (vectors, features).
        which: numbers of the group's vectors.
        largest: size of a part.
    """
    if len(which) <= largest:
        return [which]
    centred = rows[which] - rows[which].mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    order = (centred @ vectors[:, -1]).argsort(stable=True)
    return [which[part].sort().values for part in order.tensor_split(-(-len(which) // largest))]


def cluster(rows: torch.Tensor, count: int, seed: int = 0) -> list[torch.Tensor]:
    """Cluster vectors by k-means: k-means++ (Arthur and Vassilvitskii, 2007), then Lloyd's rounds to fixed labels.

    Args:
        rows: (vectors, features).
        count: of clusters, at most; fewer where there are fewer different vectors, and where a cluster runs empty.
        seed: of the first centres.

    Returns:
        The numbers of the vectors of each cluster, none empty, together every vector once.
    """
    centres = _first_centres(rows, count, np.random.default_rng(seed))
    labels = torch.full((len(rows),), -1)
    for _ in range(_MOST_ROUNDS):
        nearest = _nearest(rows, centres)
        if torch.equal(nearest, labels):
            break
        labels = nearest
        present, labels = torch.unique(labels, return_inverse=True)
        sums = torch.zeros(len(present), rows.shape[1], dtype=rows.dtype).index_add_(0, labels, rows)
        centres = sums / torch.bincount(labels)[:, None].to(rows)
    return [torch.nonzero(labels == label)[:, 0] for label in range(int(labels.max()) + 1)]


def _first_centres(rows: torch.Tensor, count: int, generator: np.random.Generator) -> torch.Tensor:
    chosen = [int(generator.integers(len(rows)))]
    distances = (rows - rows[chosen[0]]).square().sum(1)
    while len(chosen) < count and float(distances.max()) > 0:
        weights = distances.double().cumsum(0)
        at = int(torch.searchsorted(weights, generator.random() * float(weights[-1]), right=True))
        chosen.append(min(at, len(rows) - 1))
        distances = torch.minimum(distances, (rows - rows[chosen[-1]]).square().sum(1))
    return rows[chosen]


def _nearest(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Return the number of the nearest centre of each row, in blocks."""
    block = max(1, _BLOCK // len(centres))
    offsets = centres.square().sum(1)
    blocks = (rows[start : start + block] for start in range(0, len(rows), block))
    return torch.cat([(offsets - 2 * part @ centres.T).argmin(1) for part in blocks])
