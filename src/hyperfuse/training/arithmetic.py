"""How a training run computes: in which order sums are taken, and in which precision products."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hyperfuse.training.configuration import TrainingConfig


@contextmanager
def arithmetic(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Compute as a configuration specifies while the context lasts; torch's settings are as before afterwards.

    With ``deterministic`` sums are taken in a fixed order. In a run in bfloat16 the products that stay float32 are
    computed in TF32 on a GPU: its rounding, 2^-11, is small next to that of bfloat16, 2^-8.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    if config.deterministic:
        # Read by cuBLAS when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if config.precision != "float32" and device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_float32_matmul_precision(before[1])
