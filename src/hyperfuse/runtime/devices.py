"""Where torch computes, and in which precision that is worthwhile."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from hyperfuse.errors import InputError


def find_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one.

    Raises:
        InputError: it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"the device {name!r} cannot be used here; choose auto, cpu or cuda", parameter="device"
        ) from error
    return device


@cache
def bfloat16_is_fast(kind: str) -> bool:
    """Return whether devices of a kind (``cpu``, ``cuda``) multiply bfloat16 in hardware.

    Where they do not, torch emulates it: on a processor without AVX-512 BF16 or AMX a forward pass of a network takes
    eight times as long as in float32.
    """
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return True
    if platform.machine().lower() in ("arm64", "aarch64"):
        try:
            return "bf16" in Path("/proc/cpuinfo").read_text().split()
        except OSError:
            return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def free_bytes(device: torch.device) -> float | None:
    """Return the memory that an allocation on an accelerator can still take, or None where that is not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
