from types import SimpleNamespace

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.training.configuration import TrainingConfig
from scenes import waves

TINY = {
    "length": 12,
    "batch": 4,
    "device": "cpu",
    "network": {"options": {"width": 4, "encoder_blocks": 1, "hidden": [8], "latent": 4, "decoder_width": 4}},
    "data": {
        "kind": "folder",
        "folder": "scenes",
        "train": ["one", "two"],
        "validation": ["three"],
        "patch": 12,
        "stride": 6,
        "srf": "boxes:2",
    },
    "degradation": {"preset": "uestc", "ratios": [2]},
    "optimiser": {"learning_rate": 2e-3},
    "validation": {"every": 6},
    "checkpoints": {"every": 4},
    "log": {"every": 1, "tensorboard": False},
}


class MadeScenes:
    """Scenes in memory, as a data set gives them; counts how often each is read."""

    def __init__(self, cubes):
        self._cubes = cubes
        self.read = dict.fromkeys(cubes, 0)

    @property
    def names(self):
        return tuple(self._cubes)

    def load(self, name):
        self.read[name] += 1
        return self._cubes[name]

    def shape(self, name):
        return self._cubes[name].data.shape


def merged(values, changes):
    result = dict(values)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@pytest.fixture(autouse=True)
def on_one_thread(one_thread):
    """Compute on one thread in every test of this folder."""


def wavy(seed, bands=3, rows=30, cols=28):
    return waves(seed, bands, rows, cols).astype(np.float32)


@pytest.fixture
def scenes():
    return MadeScenes({name: Cube(data=wavy(seed)) for seed, name in enumerate(("one", "two", "three"))})


@pytest.fixture
def make(tmp_path):
    """A configuration of a tiny run, with changes; ``output`` is default: a folder per test."""

    def config(**changes):
        values = merged(TINY, changes)
        values.setdefault("output", tmp_path / "run")
        return TrainingConfig.model_validate(values)

    return config


@pytest.fixture
def made():
    """What tests make their own data of."""
    return SimpleNamespace(Scenes=MadeScenes, wavy=wavy, tiny=TINY, merged=merged)
