"""Networks as torch.export programs and ONNX files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.runtime.optional import require

OPSET = 20


def export_program(
    network: FusionNetwork, hsi_size: Sequence[int], msi_size: Sequence[int], *, dynamic: bool = True
) -> torch.export.ExportedProgram:
    """Trace a network to a program that runs without its Python code.

    Args:
        network: to export, in its precision.
        hsi_size: (h, w) to trace at, at least 2 each.
        msi_size: (H, W) to trace at, larger than ``hsi_size``.
        dynamic: leave batch and both images' rows and columns free, down to an LR-HSI of 3 rows and 5 columns (below
            that the half spectrum degenerates to sizes that torch.export treats as fixed); else one program per size.

    Returns:
        The program; its inputs are ``hsi`` and ``msi`` as of the network's ``forward``.

    Raises:
        InputError: sizes that cannot be traced, or ``dynamic`` for a network that is exported for one size.
        HyperfuseError: torch.export failed.

    Example:
        >>> from hyperfuse.networks import create_network
        >>> network = create_network("feinfn", hsi_bands=4, msi_bands=2, width=8, encoder_blocks=1)
        >>> program = export_program(network, (6, 7), (12, 14))
        >>> program.module()(torch.rand(2, 4, 3, 5), torch.rand(2, 2, 9, 16)).shape
        torch.Size([2, 4, 9, 16])
    """
    hsi, msi, shapes = _example(network, hsi_size, msi_size, dynamic)
    try:
        with torch.no_grad():
            return torch.export.export(network.eval(), (hsi, msi), dynamic_shapes=shapes)
    except Exception as error:
        raise _failure(network, "torch.export", dynamic, error) from error


def export_onnx(
    network: FusionNetwork,
    path: str | os.PathLike[str],
    hsi_size: Sequence[int],
    msi_size: Sequence[int],
    *,
    dynamic: bool = True,
) -> Path:
    """Write a network as an ONNX file with inputs ``hsi`` and ``msi`` and output ``fused``.

    Args:
        network: what to export, in float32 precision.
        path: the file to write, whole or not at all.
        hsi_size: (h, w) to trace at.
        msi_size: (H, W) to trace at.
        dynamic: as of :func:`export_program`.

    Returns:
        The path.

    Raises:
        InputError: sizes that cannot be traced, ``dynamic`` for a network that is exported for one size, or a network
            in bfloat16.
        MissingDependencyError: onnx or onnxscript is not installed.
        HyperfuseError: the conversion failed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "writing ONNX")
    if getattr(network, "precision", "float32") != "float32":
        raise InputError("ONNX export needs precision='float32'; create the network with it and load the same weights")
    hsi, msi, shapes = _example(network, hsi_size, msi_size, dynamic)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about its own constants
            program = torch.onnx.export(
                network.eval(),
                (hsi, msi),
                dynamic_shapes=shapes,
                dynamo=True,
                input_names=["hsi", "msi"],
                output_names=["fused"],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:
        raise _failure(network, "the ONNX exporter", dynamic, error) from error
    assert program is not None
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    program.save(str(partial))
    partial.replace(path)
    return path


def _example(
    network: FusionNetwork, hsi_size: Sequence[int], msi_size: Sequence[int], dynamic: bool
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    if len(hsi_size) != 2 or len(msi_size) != 2 or min(*hsi_size, *msi_size) < 2:
        raise InputError(f"sizes to trace at must be two numbers of at least 2, not {hsi_size} and {msi_size}")
    if dynamic and network.one_size:
        side, ratio = network.tiling().side, msi_size[0] / hsi_size[0]
        raise InputError(
            f"{network.name} is exported for one size of images: pass dynamic=False, and the file is for an HSI of"
            f" {hsi_size[0]}x{hsi_size[1]} and an MSI of {msi_size[0]}x{msi_size[1]} pixels alone; the blocks that it"
            f" is applied to here are {round(side / ratio)}x{round(side / ratio)} and {side}x{side}",
            "dynamic",
        )
    parameter = next(network.parameters())
    batch = 2 if dynamic else 1  # torch.export treats a free dimension of 1 as fixed
    hsi = parameter.new_zeros((batch, network.hsi_bands, *hsi_size))
    msi = parameter.new_zeros((batch, network.msi_bands, *msi_size))
    network.check_pair(hsi, msi)
    free = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    return hsi, msi, (free, free) if dynamic else None


def _failure(network: FusionNetwork, what: str, dynamic: bool, error: Exception) -> HyperfuseError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    hint = "; try dynamic=False, one file per size" if dynamic else ""
    return HyperfuseError(f"{what} could not export {network.name!r}: {reason}{hint}")
