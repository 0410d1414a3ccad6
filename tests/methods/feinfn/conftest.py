"""A network of trained features, of which nothing was trained."""

import pytest
import torch

from hyperfuse.methods.feinfn.trained_features import CHANNELS, IMAGE_RUNS, FeatureNetwork

WIDTH, FEATURES = 12, 5


@pytest.fixture
def feature_network():
    generator = torch.Generator().manual_seed(2)
    shapes = (WIDTH, CHANNELS), (WIDTH,), (FEATURES, WIDTH), (FEATURES,), (IMAGE_RUNS, FEATURES)
    return FeatureNetwork(*(0.3 * torch.randn(shape, generator=generator) for shape in shapes))
