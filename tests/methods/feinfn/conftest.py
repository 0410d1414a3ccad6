"""Weights of trained features, of which nothing was trained."""

import pytest
import torch

from hyperfuse.methods.feinfn.trained_features import CHANNELS, FeatureWeights

HIDDEN, FEATURES = 12, 5


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(2)
    shapes = (HIDDEN, CHANNELS), (HIDDEN,), (FEATURES, HIDDEN), (FEATURES,)
    return FeatureWeights(*(0.3 * torch.randn(shape, generator=generator) for shape in shapes))
