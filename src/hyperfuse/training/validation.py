"""Scores on the validation scenes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from hyperfuse.errors import InputError
from hyperfuse.metrics import evaluate
from hyperfuse.training.data import ValidationPair

SCORES = ("psnr_db", "sam_degrees", "ergas", "ssim")

Fuse = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def validate(fuse: Fuse, pairs: tuple[ValidationPair, ...], accelerator: Any) -> dict[str, float]:
    """Fuse every pair and return mean scores; pairs are shared out among the processes.

    Args:
        fuse: maps HSI, MSI and the base's image (or None), batches of one on the accelerator's device, to the fused
            image.
        pairs: the same in every process.
        accelerator: of the run.

    Returns:
        Means by name over all pairs (``psnr_db``, ...), and over those of each ratio where there are several
        (``x4/psnr_db``, ...); without those that are not defined, such as SSIM where no window fits.

    Raises:
        InputError: constant scenes only.
    """
    table = torch.zeros(len(pairs), len(SCORES), dtype=torch.float64)
    for number in range(accelerator.process_index, len(pairs), accelerator.num_processes):
        pair = pairs[number]
        hsi, msi, reference, base = pair.make()
        images = [None if x is None else x[None].to(accelerator.device) for x in (hsi, msi, base)]
        with torch.no_grad():
            fused = fuse(images[0], images[1], images[2])[0].float().cpu()  # type: ignore[arg-type]
        # A network that fails on a scene gets a low score; the run goes on.
        fused = torch.nan_to_num(fused, nan=0.0, posinf=1.0, neginf=0.0)
        try:
            scores = evaluate(reference.numpy(), fused.numpy(), pair.ratio)
        except InputError:  # nothing in it can be scored, as in a constant patch
            table[number] = math.nan
        else:
            table[number] = torch.tensor([float(scores[name]) for name in SCORES])  # type: ignore[literal-required]
    table = accelerator.reduce(table.to(accelerator.device), "sum").cpu()
    if table[:, 0].isnan().all():
        raise InputError("no validation scene can be scored: they are constant in every band")
    means = {name: float(value) for name, value in zip(SCORES, table.nanmean(0), strict=True)}
    ratios = dict.fromkeys(pair.ratio for pair in pairs)
    for ratio in ratios if len(ratios) > 1 else ():
        rows = torch.tensor([pair.ratio == ratio for pair in pairs])
        for name, value in zip(SCORES, table[rows].nanmean(0), strict=True):
            means[f"x{ratio:g}/{name}"] = float(value)
    return {name: value for name, value in means.items() if not math.isnan(value)}
