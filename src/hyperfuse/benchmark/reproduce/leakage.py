"""Figure: a 3x3 kernel on a spectrum leaks between frequencies, a 1x1 kernel does not."""

from __future__ import annotations

from typing import Any, cast

import torch

from hyperfuse.benchmark.reproduce.ablations import order_checks, variants_of
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Check, Networks, Result, artefact
from hyperfuse.networks.analysis import spectrum_leakage
from hyperfuse.networks.blocks.fourier import PhaseConvolution
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.reports.analysis import leakage_figure
from hyperfuse.tables import Column

_VARIANTS = variants_of({"3x3": {"phase_kernel": 3}, "1x1": {"phase_kernel": 1}})
_SIZE, _BIN = 32, (5, 7)
_COLUMNS = (
    Column("kernel", "kernel on the phases"),
    Column("leaked", "fraction of energy that leaks", format=".4f"),
    Column("kernels", "kernels"),
    Column("psnr_db", "PSNR", "dB", ".2f"),
)


@artefact("leakage", "Leakage of 1x1 and 3x3 kernels on a spectrum", *_VARIANTS.values())
def leakage(experiment: Experiment, networks: Networks) -> Result:
    """Measure the leakage of the kernels that a network learned for its phases, and the PSNR of both networks."""
    kernels = _phase_kernels(networks["3x3"].network())
    leaks = [spectrum_leakage(kernel, _SIZE, _SIZE, _BIN) for kernel in kernels]
    leaked = torch.tensor([leak.leaked for leak in leaks])
    median = float(leaked.median())
    typical = leaks[int((leaked - median).abs().argmin())]
    flat = spectrum_leakage(torch.ones(1, 1), _SIZE, _SIZE, _BIN)
    psnr = {name: float(experiment.row(one.entry)["psnr_db"]) for name, one in networks.items()}
    rows: list[dict[str, Any]] = [
        {"kernel": "1x1", "leaked": flat.leaked, "kernels": 1, "psnr_db": psnr["1x1"]},
        {"kernel": "3x3, median", "leaked": median, "kernels": len(leaks), "psnr_db": psnr["3x3"]},
        {"kernel": "3x3, smallest", "leaked": float(leaked.min()), "kernels": len(leaks)},
        {"kernel": "3x3, largest", "leaked": float(leaked.max()), "kernels": len(leaks)},
    ]
    check = Check(
        "3x3 kernels leak between frequencies, 1x1 kernels do not",
        flat.leaked == 0.0 and median > 0.01,
        f"{100 * median:.1f} % of the energy against {100 * flat.leaked:.1f} %",
    )
    text = (
        f"Fraction of the energy of one frequency that a kernel moves to others, for the {len(leaks)} learned 3x3 "
        "kernels of a network with `phase_kernel=3`, and PSNR of both networks. The median kernel is drawn."
    )
    figure = leakage_figure({"1x1": flat, "3x3, learned": typical})
    return Result(_COLUMNS, rows, figure, [text], [check, *order_checks(psnr, "1x1", experiment.interpolated())])


def _phase_kernels(network: FeINFN) -> list[torch.Tensor]:
    assert network.frequency_fusion is not None  # the variant has one
    phase = network.frequency_fusion.phase
    assert isinstance(phase, PhaseConvolution)
    return [kernel[0] for layer in phase.depthwise for kernel in cast(torch.Tensor, layer.weight).detach()]
