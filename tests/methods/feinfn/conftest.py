"""A network of trained features, of which nothing was trained."""

import pytest
import torch

from hyperfuse.methods.feinfn.trained_features import FeatureNetwork


@pytest.fixture
def feature_network():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return FeatureNetwork.untrained(hidden=12, features=5, blocks=1)
