"""Patches of a held-out task: network inputs, and the few HR pixels that the held-out LR pixels are formed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.kernels.precision import compute_dtype
from hyperfuse.training.self_supervised.task import HeldOutTask

_QUADRATIC_BELOW = 0.1  # in units of the RMS error: the loss is quadratic below this residual, linear above
_WIDEST_MARGIN = 2  # LR pixels

# The operators of a patch along one axis: one matrix (LR pixels, HR pixels) per term of the PSF.
Operators = list[torch.Tensor]


@dataclass(frozen=True)
class PatchBatch:
    """Patches of one masked pair, and the operators that compare a network's output with their held-out pixels.

    Attributes:
        hsi: (B, components, p, p).
        guidance: (B, channels, P, P).
        error: (B, bands, n, m), at the held-out LR pixels only.
        weight: (B, 1, n, m), 1 for pixels that enter the loss.
        rows: int64 (R,), the HR rows that held-out pixels are formed from.
        columns: int64 (K,).
        along_y: one (B, n, R) per term of the PSF.
        along_x: one (B, m, K) per term.
    """

    hsi: torch.Tensor
    guidance: torch.Tensor
    error: torch.Tensor
    weight: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    along_y: list[torch.Tensor]
    along_x: list[torch.Tensor]


class PairPatches:
    """Draws batches of patches from a task.

    Held-out pixels lie on every second row and column, and under a narrow PSF each is formed from a few HR pixels, so
    that a network which acts on each pixel alone is evaluated on a small part of the patch.

    Args:
        task: to draw from.
        patch: side of a patch in LR pixels, even.
        batch: patches in a batch.
    """

    def __init__(self, task: HeldOutTask, patch: int, batch: int) -> None:
        self._task, self._batch = task, batch
        rows, cols = task.error.shape[-2:]
        self._lr = (min(patch, rows), min(patch, cols))
        self._fine = (task.pairs[0].guidance.shape[-2], task.pairs[0].guidance.shape[-1])
        self._hr = tuple(
            min(size, math.ceil(length * ratio - 1e-6))
            for size, length, ratio in zip(self._fine, self._lr, task.sensor.ratio, strict=True)
        )
        # The PSF of LR pixels at the border of a patch extends beyond it: they are left out of the loss.
        self._margin = [
            0 if length == size else min(_WIDEST_MARGIN, (length - 1) // 2, math.ceil(task.sensor.reach[axis] / ratio))
            for axis, (length, size, ratio) in enumerate(zip(self._lr, (rows, cols), task.sensor.ratio, strict=True))
        ]
        self._scale = task.band_scale.clamp_min(torch.finfo(task.error.dtype).tiny)[:, None, None]
        self._operators: dict[tuple[int, float, int], Operators] = {}

    def draw(self, generator: torch.Generator, *, validation: bool = False) -> PatchBatch:
        """Draw patches of one masked pair, compared at its training pixels or at its validation pixels."""
        task = self._task
        index = _random(len(task.pairs), generator)
        pair, parity = task.pairs[index], divmod(index, 2)
        chosen, parts = [], []
        # Patches of a batch start on LR pixels of one parity: their held-out pixels are formed from the same HR pixels.
        odd = (_random(2, generator), _random(2, generator))
        for _ in range(self._batch):
            (row, row_hr, phase_y), (col, col_hr, phase_x) = (
                self._position(axis, odd[axis], generator) for axis in (0, 1)
            )
            lr = (..., slice(row, row + self._lr[0]), slice(col, col + self._lr[1]))
            first = ((parity[0] - row) % 2, (parity[1] - col) % 2)
            counted = self._inside(task.validation[lr] if validation else ~task.validation[lr])
            parts.append(
                (
                    pair.hsi[lr],
                    pair.guidance[:, row_hr : row_hr + self._hr[0], col_hr : col_hr + self._hr[1]],
                    task.error[lr][:, first[0] :: 2, first[1] :: 2],
                    counted[None, first[0] :: 2, first[1] :: 2].to(task.error.dtype),
                )
            )
            chosen.append((self._operator(0, phase_y, first[0]), self._operator(1, phase_x, first[1])))
        rows, along_y = _narrowed([of_patch[0] for of_patch in chosen])
        columns, along_x = _narrowed([of_patch[1] for of_patch in chosen])
        hsi, guidance, error, weight = (torch.stack(images) for images in zip(*parts, strict=True))
        return PatchBatch(hsi, guidance, error, weight, rows, columns, along_y, along_x)

    def loss(self, network: FeINFN, batch: PatchBatch) -> torch.Tensor:
        """Return the mean smooth absolute error (Charbonnier), each band in units of its RMS error."""
        _, spatial, spectral = network.encode(batch.hsi, batch.guidance, compute_dtype(batch.hsi, network.precision))
        found = network.detail_at(spatial, spectral, batch.rows, batch.columns).to(batch.error.dtype)
        terms = zip(batch.along_y, batch.along_x, strict=True)
        degraded = torch.stack([y[:, None] @ found @ x[:, None].mT for y, x in terms]).sum(0)
        return self._compare(batch.error - self._task.expand(degraded), batch)

    def loss_without_network(self, batch: PatchBatch) -> torch.Tensor:
        """Return the loss of the image without a correction."""
        return self._compare(batch.error, batch)

    def _compare(self, residual: torch.Tensor, batch: PatchBatch) -> torch.Tensor:
        residual = residual / self._scale
        smooth = (residual.square() + _QUADRATIC_BELOW**2).sqrt() - _QUADRATIC_BELOW
        return (smooth * batch.weight).sum() / (batch.weight.sum() * residual.shape[1]).clamp_min(1.0)

    def _position(self, axis: int, odd: int, generator: torch.Generator) -> tuple[int, int, float]:
        """Draw a patch along one axis: its first LR and HR pixel, and the phase between the two."""
        sensor = self._task.sensor
        positions = self._task.error.shape[-2 + axis] - self._lr[axis] + 1
        odd = min(odd, positions - 1)
        first = odd + 2 * _random((positions - odd + 1) // 2, generator)
        corner = sensor.offset[axis] + 0.5 - sensor.ratio[axis] / 2 + sensor.ratio[axis] * first
        start = min(max(0, math.floor(corner + 1e-6)), self._fine[axis] - self._hr[axis])
        return first, start, round(sensor.offset[axis] + sensor.ratio[axis] * first - start, 6)

    def _operator(self, axis: int, phase: float, first: int) -> Operators:
        """Return the operators that form every second LR pixel of a patch, from ``first`` on, from its HR pixels."""
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
    """Draws batches from the parts of a scene, in proportion to their sizes.

    Args:
        tasks: of the parts; they share basis and band scales.
        patch: side of a patch in LR pixels, even.
        batch: patches in a batch.
    """

    def __init__(self, tasks: Sequence[HeldOutTask], patch: int, batch: int) -> None:
        self._parts = [PairPatches(task, patch, batch) for task in tasks]
        self._sizes = torch.tensor([float(task.error[0].numel()) for task in tasks])

    def draw(self, generator: torch.Generator, *, validation: bool = False) -> PatchBatch:
        """Draw patches of one part; see :meth:`PairPatches.draw`."""
        index = 0 if len(self._parts) == 1 else int(torch.multinomial(self._sizes, 1, generator=generator))
        return self._parts[index].draw(generator, validation=validation)

    def loss(self, network: FeINFN, batch: PatchBatch) -> torch.Tensor:
        """Return the loss on a batch; see :meth:`PairPatches.loss`."""
        return self._parts[0].loss(network, batch)

    def loss_without_network(self, batch: PatchBatch) -> torch.Tensor:
        """Return the loss of the image without a correction; see :meth:`PairPatches.loss_without_network`."""
        return self._parts[0].loss_without_network(batch)


def _narrowed(patches: list[Operators]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the HR pixels that the patches read along an axis, and each term's matrices over them, (B, n, pixels)."""
    stacked = [torch.stack(matrices) for matrices in zip(*patches, strict=True)]
    read = torch.stack([term.abs().sum((0, 1)) for term in stacked]).sum(0).nonzero()[:, 0]
    return read, [term.index_select(2, read) for term in stacked]


def _random(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
