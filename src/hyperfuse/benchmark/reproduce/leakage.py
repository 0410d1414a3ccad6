"""Figure: a 3x3 kernel on a spectrum leaks between frequencies, a 1x1 kernel does not."""

from __future__ import annotations

from typing import cast

import torch

from hyperfuse.benchmark.reproduce.ablation import order_verdicts, score_row, variants_of
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.networks.analysis import spectrum_leakage
from hyperfuse.networks.blocks.fourier import PhaseConvolution
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.reports.analysis import leakage_figure

VARIANTS = variants_of({"3x3": {"phase_kernel": 3}, "1x1": {"phase_kernel": 1}})
_SIZE = 32
_BIN = (5, 7)


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return list(VARIANTS.values())


def make(lab: Lab) -> Finding:
    """Measure the leakage of the kernels that a network learned for its phases, and what they are worth."""
    networks = {name: lab.trained(one) for name, one in VARIANTS.items()}
    kernels = _phase_kernels(networks["3x3"].network())
    leaks = [spectrum_leakage(kernel, _SIZE, _SIZE, _BIN) for kernel in kernels]
    shares = torch.tensor([leak.leaked for leak in leaks])
    typical = leaks[int((shares - shares.median()).abs().argmin())]
    flat = spectrum_leakage(torch.ones(1, 1), _SIZE, _SIZE, _BIN)
    rows = [
        {"kernel": "1x1", "leaked": flat.leaked, "kernels": 1},
        {"kernel": "3x3, median", "leaked": float(shares.median()), "kernels": len(leaks)},
        {"kernel": "3x3, least", "leaked": float(shares.min()), "kernels": len(leaks)},
        {"kernel": "3x3, most", "leaked": float(shares.max()), "kernels": len(leaks)},
    ]
    psnr = {name: float(score_row(lab, one.entry)["psnr_db"]) for name, one in networks.items()}
    for row in rows[:2]:
        row["psnr_db"] = psnr[str(row["kernel"])[:3]]
    verdicts = [
        Verdict(
            "3x3 kernels leak between frequencies, 1x1 kernels do not",
            flat.leaked == 0.0 and float(shares.median()) > 0.01,
            f"{100 * float(shares.median()):.1f} % of the energy against {100 * flat.leaked:.1f} %",
        ),
        *order_verdicts(psnr, "1x1", lab.interpolated()),
    ]
    text = (
        f"Share of the energy of one frequency that a kernel moves to others, for the {len(leaks)} learned 3x3 "
        "kernels of a network with `phase_kernel=3`, and PSNR of both networks. Drawn is the median kernel."
    )
    fields = (
        Field("kernel", "kernel on the phases"),
        Field("leaked", "share of energy that leaks", ".4f"),
        Field("kernels", "kernels"),
        Field("psnr_db", "PSNR (dB)", ".2f"),
    )
    figure = leakage_figure({"1x1": flat, "3x3, learned": typical})
    return Finding("Leakage of 1x1 and 3x3 kernels", fields, rows, figure, [text], verdicts, [lab.material().source])


def _phase_kernels(network: FeINFN) -> list[torch.Tensor]:
    assert network.frequency_fusion is not None  # the variant has one
    phase = network.frequency_fusion.phase
    assert isinstance(phase, PhaseConvolution)
    return [kernel[0] for layer in phase.depthwise for kernel in cast(torch.Tensor, layer.weight).detach()]
