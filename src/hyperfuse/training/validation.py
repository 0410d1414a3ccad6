"""Scores on the validation scenes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from hyperfuse.errors import InputError
from hyperfuse.metrics import MAIN_COLUMNS, evaluate

SCORES = tuple(column.key for column in MAIN_COLUMNS)

Fuse = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


class ValidationPair(NamedTuple):
    """A scene, a ratio, and the function that makes its HSI, MSI, reference and the base's image (or None)."""

    scene: str
    ratio: float
    make: Callable[[], tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]]


class ValidationBudget:
    """Puts off validations that would take more than a fraction of the time that a run trains.

    The first one shows how long they take; the last one, of the weights at the end, is always made and reserved for.

    Args:
        fraction: of the time of training; None for no bound.

    Example:
        >>> budget = ValidationBudget(0.1)
        >>> budget.allows(1.0)
        True
        >>> budget.add(2.0)  # the first took 2 s: three of them need 60 s of training
        >>> budget.allows(50.0), budget.allows(62.0)
        (False, True)
    """

    def __init__(self, fraction: float | None) -> None:
        self._fraction = fraction
        self._spent = self._last = 0.0

    def allows(self, seconds: float) -> bool:
        """Return whether another validation fits, ``seconds`` after the start, those of validations included."""
        if self._fraction is None or self._last == 0:
            return True
        return self._spent + 2 * self._last <= self._fraction * (seconds - self._spent)

    def add(self, seconds: float) -> None:
        """Count a validation that took ``seconds``."""
        self._spent += seconds
        self._last = seconds


def validate(fuse: Fuse, pairs: Sequence[ValidationPair], accelerator: Any) -> dict[str, float]:
    """Fuse every pair and return mean scores; the pairs are the same in every process, and shared out among them.

    ``fuse`` maps HSI, MSI and the base's image (or None), batches of one on the accelerator's device, to the fused
    image.

    Returns:
        Means by name over all pairs (``psnr_db``, ...), and over those of each ratio where there are several
        (``x4/psnr_db``, ...); without those that are not defined, such as SSIM where no window fits.

    Raises:
        InputError: constant scenes only.
    """
    table = torch.zeros(len(pairs), len(SCORES), dtype=torch.float64)
    for number in range(accelerator.process_index, len(pairs), accelerator.num_processes):
        hsi, msi, reference, base = pairs[number].make()
        hsi, msi = hsi[None].to(accelerator.device), msi[None].to(accelerator.device)
        base = None if base is None else base[None].to(accelerator.device)
        with torch.no_grad():
            fused = fuse(hsi, msi, base)[0].float().cpu()
        # A network that fails on a scene gets a low score; the run goes on.
        fused = torch.nan_to_num(fused, nan=0.0, posinf=1.0, neginf=0.0)
        try:
            scores: Any = evaluate(reference.numpy(), fused.numpy(), pairs[number].ratio)
        except InputError:  # nothing in it can be scored, as in a constant patch
            table[number] = math.nan
        else:
            table[number] = torch.tensor([float(scores[name]) for name in SCORES])
    table = accelerator.reduce(table.to(accelerator.device), "sum").cpu()
    if table[:, 0].isnan().all():
        raise InputError("no validation scene can be scored: they are constant in every band")
    groups, ratios = {"": table}, dict.fromkeys(pair.ratio for pair in pairs)
    if len(ratios) > 1:
        groups |= {f"x{ratio:g}/": table[torch.tensor([pair.ratio == ratio for pair in pairs])] for ratio in ratios}
    means = {
        prefix + name: value
        for prefix, rows in groups.items()
        for name, value in zip(SCORES, rows.nanmean(0).tolist(), strict=True)
    }
    return {name: value for name, value in means.items() if not math.isnan(value)}
