"""Ridge regression by folds against literal solutions of its equations."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.feinfn import fold_ridge
from hyperfuse.methods.feinfn.fold_ridge import FoldRidge, RidgePixels
from hyperfuse.statistics.folds import FOLDS, block_folds


def test_weights_are_those_of_ridge_regression_and_folds_are_predicted_by_the_others(monkeypatch):
    monkeypatch.setattr(fold_ridge, "_RIDGES", (0.1,))
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(5, 256, generator=generator).double()
    targets = torch.stack([features[0] + 0.1 * features[3], features[1]])
    folds = block_folds((16, 16)).flatten()
    targets[1, folds % 2 == 0] *= -1  # what each half of the folds teaches is wrong for the other
    weight = 0.5 + torch.rand(256, generator=generator).double()
    solved = FoldRidge.of(features, targets, RidgePixels(folds, weight), features.new_zeros(5, 1)).solve()
    x, w = features.numpy(), weight.numpy()
    x = x - np.average(x, axis=1, weights=w)[:, None]
    deviation = np.sqrt(np.average(x**2, axis=1, weights=w))
    x = x / deviation[:, None]
    for fold in range(FOLDS):
        out = folds.numpy() == fold
        rest, given = x[:, ~out] * w[~out], targets.numpy()[:, ~out]
        weights = np.linalg.solve(rest @ x[:, ~out].T + 0.1 * w[~out].sum() * np.eye(5), rest @ given.T)
        np.testing.assert_allclose(solved.held_out[0, out], weights.T[0] @ x[:, out], rtol=1e-6)
    assert solved.accepted.tolist() == [True, False]
    assert not solved.weights[1].any()
    whole = np.linalg.solve((x * w) @ x.T + 0.1 * w.sum() * np.eye(5), (x * w) @ targets.numpy()[0])
    np.testing.assert_allclose(solved.weights[0].numpy() * deviation, whole, rtol=1e-6)


def test_what_noise_would_do_at_hr_is_part_of_the_error_that_is_minimised(monkeypatch):
    """With noise of variance v in every feature, of unit variance, ridge regression has v more on its diagonal."""
    monkeypatch.setattr(fold_ridge, "_RIDGES", (1e-3,))
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(5, 256, generator=generator).double()
    features = (features - features.mean(1, keepdim=True)) / features.std(1, correction=0, keepdim=True)
    targets = features[:1] + 0.1 * features[3:4]
    pixels = RidgePixels(block_folds((16, 16)).flatten(), torch.ones(256).double())
    noise = torch.linalg.qr(torch.randn(4096, 5, generator=generator).double())[0].T * 4096**0.5
    solved = FoldRidge.of(features, targets, pixels, 0.5**0.5 * noise).solve()
    assert not FoldRidge.of(features, targets, pixels, 1000 * noise).solve().accepted.any()
    ridge = fold_ridge._RIDGES[0]
    whole = torch.linalg.solve(features @ features.T / 256 + (0.5 + ridge) * torch.eye(5), features @ targets[0] / 256)
    torch.testing.assert_close(solved.weights[0], whole, atol=1e-6, rtol=1e-6)


def test_weights_are_drawn_to_the_fraction_of_known_ones_that_predicts_folds_best(monkeypatch):
    monkeypatch.setattr(fold_ridge, "_RIDGES", (3.0,))
    generator = torch.Generator().manual_seed(6)
    features = torch.randn(5, 256, generator=generator).double()
    features = (features - features.mean(1, keepdim=True)) / features.std(1, correction=0, keepdim=True)
    truth = torch.randn(1, 5, generator=generator).double()
    known = torch.cat([truth / 0.7, -truth, 1.5 * truth])
    targets = (truth @ features).expand(3, -1) + 0.1 * torch.randn(3, 256, generator=generator).double()
    folds = block_folds((16, 16)).flatten()
    pixels = RidgePixels(folds, torch.ones(256).double())
    solved = FoldRidge.of(features, targets, pixels, features.new_zeros(5, 1)).solve(known)

    def drawn(some, band, fraction):
        right = some @ targets[band, mask] + 3 * mask.sum() * fraction * known[band]
        return torch.linalg.solve(some @ some.T + 3 * mask.sum() * torch.eye(5), right)

    for band in range(3):
        errors = {}
        for fraction in np.linspace(0, 1, 101):
            predicted = torch.zeros(256).double()
            for fold in range(FOLDS):
                mask = folds != fold
                predicted[~mask] = drawn(features[:, mask], band, fraction) @ features[:, ~mask]
            errors[fraction] = float((targets[band] - predicted).square().sum())
        best, mask = min(errors, key=errors.get), torch.ones(256, dtype=torch.bool)
        torch.testing.assert_close(solved.weights[band], drawn(features, band, best), atol=0.02, rtol=0)
        assert best == pytest.approx((0.7, 0.0, 2 / 3)[band], abs=0.06)


@pytest.mark.parametrize(("deviation", "best"), [(1e-4, 1e-3), (100.0, 10.0)])
def test_weaker_and_stronger_ridges_than_usual_are_tried_where_they_predict_better(deviation, best, monkeypatch):
    """Without noise the weakest predicts best, of noise alone the strongest."""
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(40, 256, generator=generator).double()
    targets = features[:1] + deviation * torch.randn(1, 256, generator=generator).double()
    pixels = RidgePixels(block_folds((16, 16)).flatten(), torch.ones(256).double())
    monkeypatch.setattr(fold_ridge, "_MIN_GAIN", 2.0)  # noise is predicted worse than by nothing
    found = FoldRidge.of(features, targets, pixels, features.new_zeros(40, 1)).solve()
    monkeypatch.setattr(fold_ridge, "_RIDGES", (best,))
    only = FoldRidge.of(features, targets, pixels, features.new_zeros(40, 1)).solve()
    torch.testing.assert_close(found.weights, only.weights)


def test_the_first_features_alone_are_solved_for_as_if_there_were_no_others():
    generator = torch.Generator().manual_seed(8)
    features = torch.randn(6, 256, generator=generator).double()
    targets = features[:2] + features[4:] + 0.1 * torch.randn(2, 256, generator=generator).double()
    pixels = RidgePixels(block_folds((16, 16)).flatten(), 0.5 + torch.rand(256, generator=generator).double())
    change = 0.1 * torch.randn(6, 64, generator=generator).double()
    part = FoldRidge.of(features, targets, pixels, change).first(4).solve()
    alone = FoldRidge.of(features[:4], targets, pixels, change[:4]).solve()
    for name in ("weights", "offset", "held_out"):
        torch.testing.assert_close(getattr(part, name), getattr(alone, name))
