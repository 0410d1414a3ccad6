"""The variance that explains squared residuals best, against variances that made them."""

import torch

from hyperfuse.methods.feinfn.variance_fit import fit_variance


def drawn(weights, known, pixels=40_000):
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(len(weights[0]), pixels, generator=generator).square().expand(len(weights), -1, -1)
    variance = torch.bmm(torch.tensor(weights)[:, None], features)[:, 0] + known
    return (
        variance * torch.randn(variance.shape, generator=generator).square(),
        features,
        torch.full_like(variance, known),
    )


def test_the_weights_that_made_the_residuals_are_found():
    weights = [[2.0, 0.5, 0.1], [0.2, 3.0, 0.4]]
    found = fit_variance(*drawn(weights, known=0.3))
    torch.testing.assert_close(found, torch.tensor(weights), rtol=0.15, atol=0.1)


def test_a_feature_of_nothing_gets_no_weight_and_none_is_negative():
    squared, features, known = drawn([[1.0, 0.0, 0.5]], known=0.2)
    features = features.clone()
    features[:, 1] = 0.0
    found = fit_variance(squared, features, known)
    assert found[0, 1] == 0
    assert (found >= 0).all()


def test_residuals_of_zero_are_explained_by_zero():
    assert fit_variance(torch.zeros(2, 50), torch.ones(2, 1, 50), torch.zeros(2, 50)).abs().max() == 0
