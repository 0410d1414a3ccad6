"""A network of trained features, of which nothing was trained."""

import pytest
import torch

from hyperfuse.methods.feinfn.trained_features import CHANNELS, IMAGE_RUNS, FeatureNetwork

MEMBERS, WIDTH, OUTPUTS = 2, 12, 5


@pytest.fixture
def feature_network():
    generator = torch.Generator().manual_seed(2)
    shapes = (WIDTH, CHANNELS), (WIDTH,), (OUTPUTS, WIDTH), (OUTPUTS,), (IMAGE_RUNS, OUTPUTS)
    return FeatureNetwork(*(0.3 * torch.randn(MEMBERS, *shape, generator=generator) for shape in shapes))
