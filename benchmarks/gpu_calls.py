"""Calls of FeINFN on a GPU, and of the literal form of the released program, for `feinfn_gpu.py` to time."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))

import plain_feinfn as plain

from hyperfuse.networks import create_network, feinfn
from hyperfuse.networks.kernels.winograd import transforms
from hyperfuse.training.captured import OptimisationStep, create_adam

BANDS, MSI_BANDS, RATIO = 31, 3, 4
LITERAL, RELEASE, OURS = "literal form of the released program", "feinfn-release", "feinfn"
PRECISIONS = ("float32", "TF32", "bfloat16")
MIXED = "bfloat16 and TF32"  # what is not bfloat16 in TF32, as `hyperfuse train` does it


class Operations(TorchDispatchMode):
    """Counts the operations that reach the dispatcher while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and call."""
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def whole_winograd(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return a 3x3 convolution of (B, C, H, W), sides multiples of 4, by F(4x4, 3x3) on the whole image."""
    outputs, kernel, inputs = (matrix.to(x.device) for matrix in transforms(x.dtype))
    batch, channels, height, width = x.shape
    padded = torch.nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    image, row, column, _ = padded.stride()
    size, step = (6, 6, batch, height // 4, width // 4, channels), (row, column, image, 4 * row, 4 * column, 1)
    values = (inputs @ padded.as_strided(size, step).reshape(36, -1)).view(36, -1, channels)
    products = values @ (kernel @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, -1)
    tiles = (outputs @ products.flatten(1)).view(4, 4, batch, height // 4, width // 4, -1)
    result = tiles.permute(2, 3, 0, 4, 1, 5).reshape(batch, height, width, -1)
    return (result if bias is None else result.add_(bias)).permute(0, 3, 1, 2)


class Bench:
    """Times calls on a device.

    Args:
        device: where to.
        seconds: to spend on each entry, after its warm-up.
        options: of the networks.
    """

    def __init__(self, device: str, seconds: float, options: dict[str, Any]) -> None:
        self.device, self.seconds, self.options = torch.device(device), seconds, options
        self.on_gpu = self.device.type == "cuda"

    def pair(self, size: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a random pair in [0, 1]."""
        torch.manual_seed(0)
        hsi = torch.rand(batch, BANDS, size // RATIO, size // RATIO, device=self.device)
        return hsi, torch.rand(batch, MSI_BANDS, size, size, device=self.device)

    def network(self, name: str, precision: str) -> Any:
        """Build a network with seeded weights and set the precision of float32 products."""
        self.set_tf32(precision.endswith("TF32"))
        torch.manual_seed(0)
        in_bfloat16 = "bfloat16-forced" if precision.startswith("bfloat16") else "float32"
        network = create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS, precision=in_bfloat16, **self.options)
        return network.to(self.device)

    @staticmethod
    def set_tf32(wanted: bool) -> None:
        """Let float32 products run in TF32, or not."""
        torch.set_float32_matmul_precision("high" if wanted else "highest")
        torch.backends.cudnn.allow_tf32 = wanted

    def time(self, run: Callable[[], object], warm_up: int = 3) -> tuple[float, float]:
        """Return the median time of a call in milliseconds, and its peak memory in GiB."""
        for _ in range(warm_up):
            run()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - start < self.seconds:
            if self.on_gpu:
                before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                run()
                after.record()
                torch.cuda.synchronize()
                times.append(before.elapsed_time(after))
            else:
                began = time.perf_counter()
                run()
                times.append(1e3 * (time.perf_counter() - began))
        peak = torch.cuda.max_memory_allocated() / 2**30 if self.on_gpu else float("nan")  # not what recordings hold
        return statistics.median(times), peak

    def forward(self, program: str, precision: str, size: int) -> Callable[[], torch.Tensor]:
        """Return a call of a forward pass without gradients."""
        network = self.network(RELEASE if program == LITERAL else program, precision)
        hsi, msi = self.pair(size)
        weights = dict(network.named_parameters())

        def run() -> torch.Tensor:
            with torch.no_grad():
                if program != LITERAL:
                    return network(hsi, msi)
                with self.device:  # the literal form makes its coordinates on the default device
                    return plain.feinfn_release(weights, hsi, msi)

        return run

    def encoder(self, precision: str, size: int) -> Callable[[], torch.Tensor]:
        """Return a call of the spatial encoder without gradients."""
        network = self.network(OURS, precision)
        dtype = torch.bfloat16 if precision.startswith("bfloat16") else torch.float32
        x = torch.rand(1, BANDS + MSI_BANDS, size, size, device=self.device, dtype=dtype)
        x = x.contiguous(memory_format=feinfn.select_layout(x))

        def run() -> torch.Tensor:
            with torch.no_grad():
                return network.spatial_encoder(x)

        return run

    def step(self, program: str, precision: str, patches: int, *, compiled: bool = False) -> Callable[[], torch.Tensor]:
        """Return a call of a training step on patches of 64x64, launched operation by operation."""
        network = self.network(RELEASE if program == LITERAL else program, precision)
        loss, images = self.loss(network, program == LITERAL, compiled), self.patches(patches)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=self.on_gpu)

        def run() -> torch.Tensor:
            optimiser.zero_grad()
            value = loss(*images)
            value.backward()
            optimiser.step()
            return value

        return run

    def recorded_step(
        self, program: str, precision: str, patches: int, *, compiled: bool = False
    ) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        """Return a call of the training step of `hyperfuse train`, clipped, that a GPU repeats from a recording."""
        network, notes = self.network(program, precision), []
        loss, images = self.loss(network, False, compiled), self.patches(patches)
        optimiser = create_adam(torch.optim.AdamW, network.parameters(), 1e-4, recorded=self.on_gpu)
        step = OptimisationStep(
            loss, network.parameters(), optimiser, gradient_norm=1.0, recorded=self.on_gpu, note=notes.append
        )

        def run() -> tuple[torch.Tensor, torch.Tensor]:
            values = step(*images)
            if notes:
                raise RuntimeError(notes[0])
            return values

        return run

    def patches(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return random patches of 64x64 and what is to be fused."""
        return *self.pair(64, count), torch.rand(count, BANDS, 64, 64, device=self.device)

    def loss(self, network: Any, literal: bool, compiled: bool) -> Callable[..., torch.Tensor]:
        """Return the L1 loss as a function of HSI, MSI and the image to be fused."""
        weights = dict(network.named_parameters())

        def loss(hsi: torch.Tensor, msi: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            if not literal:
                return torch.nn.functional.l1_loss(network(hsi, msi), target)
            with self.device:
                return torch.nn.functional.l1_loss(plain.feinfn_release(weights, hsi, msi), target)

        return torch.compile(loss, fullgraph=True, dynamic=False) if compiled else loss


def profile_text(name: str, run: Callable[[], object], bench: Bench) -> str:
    """Return where the time of a call goes, by kernel."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    bench.time(run)
    with torch.profiler.profile(activities=activities) as found:
        run()
        if bench.on_gpu:
            torch.cuda.synchronize()
    key = "self_cuda_time_total" if bench.on_gpu else "self_cpu_time_total"
    return f"{name}\n{found.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=150)}"
