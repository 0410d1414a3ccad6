"""Patches of a held-out task: what a network is shown, and the few HR pixels that its hidden LR pixels are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.kernels.precision import compute_dtype
from hyperfuse.training.self_supervised.task import HeldOutTask

_ROUNDED = 0.1  # residuals below this share of the usual error count squared, larger ones by their size
_WIDEST_MARGIN = 2  # LR pixels

# The operators of a patch along one axis: one matrix (LR pixels, HR pixels) for each term of the PSF.
Operators = list[torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Patches of one view, and how to compare a network's answer with what is hidden in them.

    Attributes:
        hsi: (B, components, p, p).
        guide: (B, channels, P, P).
        error: (B, bands, n, m), at the hidden LR pixels only.
        weight: (B, 1, n, m), 1 for pixels that count.
        rows: int64 (R,), the HR rows that hidden pixels are made of.
        columns: int64 (K,).
        along_y: one (B, n, R) for each term of the PSF.
        along_x: one (B, m, K) for each term.
    """

    hsi: torch.Tensor
    guide: torch.Tensor
    error: torch.Tensor
    weight: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    along_y: list[torch.Tensor]
    along_x: list[torch.Tensor]


class PairPatches:
    """Draws batches of patches from a task.

    Hidden pixels lie on every second row and column of a view, and under a narrow PSF each is made of a few HR pixels,
    so a network that acts on each pixel alone is evaluated on a small part of the patch.

    Args:
        task: to draw from.
        patch: side of a patch in LR pixels, even.
        batch: patches in a batch.
    """

    def __init__(self, task: HeldOutTask, patch: int, batch: int) -> None:
        self._task, self._batch = task, batch
        rows, cols = task.error.shape[-2:]
        self._lr = (min(patch, rows), min(patch, cols))
        self._fine = (task.views[0].guide.shape[-2], task.views[0].guide.shape[-1])
        self._hr = tuple(
            min(size, math.ceil(cells * ratio - 1e-6))
            for size, cells, ratio in zip(self._fine, self._lr, task.sensor.ratio, strict=True)
        )
        # The PSF of LR pixels at a patch's rim reaches beyond it: they do not count.
        self._margin = [
            0 if cells == size else min(_WIDEST_MARGIN, (cells - 1) // 2, math.ceil(task.sensor.reach[axis] / ratio))
            for axis, (cells, size, ratio) in enumerate(zip(self._lr, (rows, cols), task.sensor.ratio, strict=True))
        ]
        self._scale = task.band_scale.clamp_min(torch.finfo(task.error.dtype).tiny)[:, None, None]
        self._operators: dict[tuple[int, float, int], Operators] = {}

    def draw(self, generator: torch.Generator, *, kept: bool = False) -> Batch:
        """Draw patches of one view; the pixels that count are those to learn from, or those that are kept."""
        task = self._task
        index = _random(len(task.views), generator)
        view, parity = task.views[index], divmod(index, 2)
        chosen, parts = [], []
        # Patches of a batch start on LR pixels of one parity: what is hidden in them is made of the same HR pixels.
        odd = (_random(2, generator), _random(2, generator))
        for _ in range(self._batch):
            (row, row_hr, phase_y), (col, col_hr, phase_x) = (
                self._place(axis, odd[axis], generator) for axis in (0, 1)
            )
            lr = (..., slice(row, row + self._lr[0]), slice(col, col + self._lr[1]))
            first = ((parity[0] - row) % 2, (parity[1] - col) % 2)
            counted = self._inside(task.kept[lr] if kept else ~task.kept[lr])
            parts.append(
                (
                    view.hsi[lr],
                    view.guide[:, row_hr : row_hr + self._hr[0], col_hr : col_hr + self._hr[1]],
                    task.error[lr][:, first[0] :: 2, first[1] :: 2],
                    counted[None, first[0] :: 2, first[1] :: 2].to(task.error.dtype),
                )
            )
            chosen.append((self._operator(0, phase_y, first[0]), self._operator(1, phase_x, first[1])))
        rows, along_y = _narrowed([of_patch[0] for of_patch in chosen])
        columns, along_x = _narrowed([of_patch[1] for of_patch in chosen])
        hsi, guide, error, weight = (torch.stack(images) for images in zip(*parts, strict=True))
        return Batch(hsi, guide, error, weight, rows, columns, along_y, along_x)

    def loss(self, network: FeINFN, batch: Batch) -> torch.Tensor:
        """Return the rounded absolute error at the pixels that count, each band in units of its usual error."""
        _, spatial, spectral = network.encode(batch.hsi, batch.guide, compute_dtype(batch.hsi, network.precision))
        found = network.detail_at(spatial, spectral, batch.rows, batch.columns).to(batch.error.dtype)
        terms = zip(batch.along_y, batch.along_x, strict=True)
        degraded = torch.stack([y[:, None] @ found @ x[:, None].mT for y, x in terms]).sum(0)
        return self._compare(batch.error - self._task.expand(degraded), batch)

    def loss_of_nothing(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a network that adds nothing."""
        return self._compare(batch.error, batch)

    def _compare(self, left: torch.Tensor, batch: Batch) -> torch.Tensor:
        left = left / self._scale
        rounded = (left.square() + _ROUNDED**2).sqrt() - _ROUNDED
        return (rounded * batch.weight).sum() / (batch.weight.sum() * left.shape[1]).clamp_min(1.0)

    def _place(self, axis: int, odd: int, generator: torch.Generator) -> tuple[int, int, float]:
        """Draw a patch along one axis: its first LR and HR pixel, and the phase between the two."""
        sensor = self._task.sensor
        places = self._task.error.shape[-2 + axis] - self._lr[axis] + 1
        odd = min(odd, places - 1)
        first = odd + 2 * _random((places - odd + 1) // 2, generator)
        corner = sensor.offset[axis] + 0.5 - sensor.ratio[axis] / 2 + sensor.ratio[axis] * first
        start = min(max(0, math.floor(corner + 1e-6)), self._fine[axis] - self._hr[axis])
        return first, start, round(sensor.offset[axis] + sensor.ratio[axis] * first - start, 6)

    def _operator(self, axis: int, phase: float, first: int) -> Operators:
        """Return what makes every second LR pixel of a patch, from ``first`` on, out of its HR pixels."""
        key = (axis, phase, first)
        if key not in self._operators:
            sensor = self._task.sensor.replace(phase=(phase, phase))
            hr, lr = (self._hr[axis],) * 2, (self._lr[axis],) * 2
            if sensor.ratio[0] != sensor.ratio[1]:
                sensor = sensor.replace(ratio=(sensor.ratio[axis],) * 2)
            matrices = [factor[axis].matrix.toarray()[first::2] for factor in sensor.sampling(hr, lr)]
            like = self._task.error
            self._operators[key] = [torch.as_tensor(one, dtype=like.dtype, device=like.device) for one in matrices]
        return self._operators[key]

    def _inside(self, mask: torch.Tensor) -> torch.Tensor:
        inside = torch.zeros_like(mask)
        y, x = self._margin
        inner = (slice(y, mask.shape[0] - y), slice(x, mask.shape[1] - x))
        inside[inner] = mask[inner]
        return inside


class ScenePatches:
    """Draws batches from the parts of a scene, from each as often as its size tells.

    Args:
        tasks: of the parts; their bases and the scales of their bands are the same.
        patch: side of a patch in LR pixels, even.
        batch: patches in a batch.
    """

    def __init__(self, tasks: Sequence[HeldOutTask], patch: int, batch: int) -> None:
        self._parts = [PairPatches(task, patch, batch) for task in tasks]
        self._sizes = torch.tensor([float(task.error[0].numel()) for task in tasks])

    def draw(self, generator: torch.Generator, *, kept: bool = False) -> Batch:
        """Draw patches of one view of one part; see :meth:`PairPatches.draw`."""
        index = 0 if len(self._parts) == 1 else int(torch.multinomial(self._sizes, 1, generator=generator))
        return self._parts[index].draw(generator, kept=kept)

    def loss(self, network: FeINFN, batch: Batch) -> torch.Tensor:
        """Return the loss on a batch; see :meth:`PairPatches.loss`."""
        return self._parts[0].loss(network, batch)

    def loss_of_nothing(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a network that adds nothing."""
        return self._parts[0].loss_of_nothing(batch)


def _narrowed(patches: list[Operators]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the HR pixels that any patch reads along an axis, and each term's matrices over them, (B, n, pixels)."""
    stacked = [torch.stack(matrices) for matrices in zip(*patches, strict=True)]
    read = torch.stack([term.abs().sum((0, 1)) for term in stacked]).sum(0).nonzero()[:, 0]
    return read, [term.index_select(2, read) for term in stacked]


def _random(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
