import math

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.metrics import ssim
from hyperfuse.training.losses import LOSS_TERMS, charbonnier, fourier_loss, l1, mse, ssim_loss, weighted_loss


def images(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=dtype), torch.rand(shape, generator=generator, dtype=dtype)


def test_simple_terms_in_closed_form():
    zero, half = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), -0.5)
    assert float(l1(zero, half)) == 0.5
    assert float(mse(zero, half)) == 0.25
    assert float(charbonnier(zero, half)) == pytest.approx(math.sqrt(0.25 + 1e-6), abs=1e-7)
    assert float(charbonnier(zero, zero)) == pytest.approx(1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 11, 11), (2, 3, 17, 30)])
def test_ssim_is_that_of_the_metrics_and_is_not_clipped(shape):
    x, y = images(*shape, dtype=torch.float64)
    y = 2 * y - 0.5  # beyond [0, 1], as outputs are
    expected = sum(ssim(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)) / shape[0]
    assert float(1 - ssim_loss(y, x)) == pytest.approx(expected, abs=1e-12)


def test_ssim_in_float32_is_close_to_float64():
    x, y = images(2, 5, 32, 32)
    for noise in (1.0, 1e-3):
        fused = x + noise * (y - x)
        assert float(ssim_loss(fused, x)) == pytest.approx(float(ssim_loss(fused.double(), x.double())), abs=2e-5)


@pytest.mark.parametrize("name", LOSS_TERMS)
def test_every_term_is_differentiable_and_lowest_at_the_reference(name):
    x, y = images(1, 2, 12, 13, dtype=torch.float64)
    term = LOSS_TERMS[name]
    assert float(term(x, x)) < float(term(x + 0.1 * (y - x), x)) < float(term(y, x))
    y.requires_grad_()
    assert torch.autograd.gradcheck(lambda fused: term(fused, x), (y,))


def test_the_fourier_term_by_sums():
    x, y = images(1, 2, 3, 4, dtype=torch.float64)
    rows, cols = torch.arange(3.0, dtype=torch.float64), torch.arange(4.0, dtype=torch.float64)
    total = 0.0
    for u in range(3):
        for v in range(4):
            angle = -2 * math.pi * (u * rows[:, None] / 3 + v * cols / 4)
            wave = torch.complex(angle.cos(), angle.sin())
            total += float(((x - y) * wave).sum((2, 3)).abs().sum())
    assert float(fourier_loss(x, y)) == pytest.approx(total / 24, rel=1e-12)


def test_a_loss_is_the_weighted_sum_of_its_terms():
    x, y = images(2, 3, 16, 16)
    loss = weighted_loss({"l1": 1.0, "ssim": 0.1, "mse": 0.0})
    assert float(loss(x, y)) == pytest.approx(float(l1(x, y)) + 0.1 * float(ssim_loss(x, y)), rel=1e-6)


def test_a_loss_is_computed_in_float32_whatever_the_network_gives():
    x, y = images(1, 2, 16, 16)
    half = weighted_loss({"l1": 1.0, "ssim": 1.0})(x.bfloat16(), y)
    assert half.dtype == torch.float32
    assert float(half) == float(weighted_loss({"l1": 1.0, "ssim": 1.0})(x.bfloat16().float(), y))


def test_what_is_refused():
    with pytest.raises(InputError, match="no loss is called 'sim'; did you mean 'ssim'"):
        weighted_loss({"sim": 1.0})
    with pytest.raises(InputError, match="at least one term"):
        weighted_loss({"l1": 0.0})
    with pytest.raises(InputError, match="SSIM needs images of 11x11 pixels or more, got a side of 10"):
        ssim_loss(*images(1, 1, 10, 12))
