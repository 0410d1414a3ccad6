"""Fixtures of the adapters."""

import sys
from pathlib import Path

import pytest

PEER = Path(__file__).parents[2] / ".peers" / "deepinv"


@pytest.fixture(scope="session")
def peer():
    """The module, with the packages that it needs."""
    sys.path.insert(0, str(PEER))
    # torchvision from an index is built for CUDA; of its operators deepinv uses none, but importing declares two.
    import torch

    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        try:
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:  # it is built for this torch, and they are there
            break
    from hyperfuse.integrations import deepinv

    yield deepinv
    sys.path.remove(str(PEER))
