"""Weights and inputs by formula, for which the authors' programs were run: see ``golden_networks.json``."""

import copy
import functools
import json
from pathlib import Path

import numpy as np
import torch

from hyperfuse.networks import create_network

CASES = {case["case"]: case for case in json.loads(Path(__file__).with_name("golden_networks.json").read_text("utf-8"))}


def fill(number, name, shape, gain):
    """Entry ``number`` of a state dict in the order of its sorted names."""
    j = np.arange(int(np.prod(shape)), dtype=np.int64)
    wave = np.sin(0.37 * j + 0.61 * (j * j % 10007) + 1.7 * number + 0.5)
    last = name.replace("/", ".").split(".")[-1]
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        values = gain / np.sqrt(fan_in) * wave if fan_in > 1 else 2 + 0.5 * wave
    elif last in ("bias", "biases"):
        values = 0.05 * wave
    elif last in ("weight", "weights"):
        values = 1 + 0.1 * wave if wave.size > 1 else 0.25 + 0.05 * wave
    else:
        values = 0.3 + 0.1 * wave
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def formula_state(network, gain):
    """The authors' names with values by formula; indices and masks stay as the network makes them."""
    ours, own = network.released_names(), network.state_dict()
    state = {}
    for number, name in enumerate(sorted(ours)):
        held = own[ours[name]]
        kept = not held.is_floating_point() or name.endswith("attn_mask")
        state[name] = held if kept else fill(number, name, tuple(held.shape), gain)
    return state


def formula_pair(hsi_bands, msi_bands, side, ratio):
    b, y, x = np.ogrid[:hsi_bands, :side, :side]
    hsi = 0.5 + 0.35 * np.sin(0.9 * b + 0.55 * y + 0.31 * x) * np.cos(0.2 * b - 0.13 * y * x / 8)
    c, y, x = np.ogrid[:msi_bands, : side * ratio, : side * ratio]
    msi = 0.5 + 0.35 * np.sin(1.3 * c + 0.21 * y - 0.17 * x)
    return torch.from_numpy(hsi.astype(np.float32))[None], torch.from_numpy(msi.astype(np.float32))[None]


def build(case):
    """The network of a case with its weights, and the pair."""
    return copy.deepcopy(_build(case["case"])), *formula_pair(*case["bands"], case["lr"], case["ratio"])


@functools.lru_cache(maxsize=2)
def _build(name):
    case = CASES[name]
    hsi_bands, msi_bands = case["bands"]
    network = create_network(case["network"], hsi_bands=hsi_bands, msi_bands=msi_bands, **case["options"]).eval()
    network.load_released_state_dict(formula_state(network, case["g"]))
    return network
