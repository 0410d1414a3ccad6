import pytest
import torch

from hyperfuse.networks import create_network
from hyperfuse.training.averaging import WeightAverage


def network():
    torch.manual_seed(0)
    return create_network("feinfn", hsi_bands=3, msi_bands=2, width=4, encoder_blocks=1, hidden=(4,), decoder_width=4)


def moved(network, number):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))


def test_the_average_in_closed_form():
    one, decay, steps = network(), 0.9, 7
    history = [[p.detach().clone() for p in one.parameters()]]
    average = WeightAverage(one, decay)
    for step in range(steps):
        moved(one, step)
        history.append([p.detach().clone() for p in one.parameters()])
        average.update(one, step)
    fractions = [decay**steps, *((1 - decay) * decay ** (steps - n) for n in range(1, steps + 1))]
    assert sum(fractions) == pytest.approx(1)
    for number, found in enumerate(average.network.parameters()):
        expected = sum(fraction * weights[number] for fraction, weights in zip(fractions, history, strict=True))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_with_a_warm_up_the_first_weights_are_soon_forgotten():
    one = network()
    start = next(one.parameters()).detach().clone()
    average = WeightAverage(one, 0.999, warm_up=True)
    moved(one, 0)
    average.update(one, 0)
    expected = torch.lerp(start, next(one.parameters()).detach(), 0.9)
    torch.testing.assert_close(next(average.network.parameters()), expected)
    # Far into the run the decay is that asked for.
    before = next(average.network.parameters()).clone()
    average.update(one, 10**6)
    expected = torch.lerp(before, next(one.parameters()).detach(), 0.001)
    torch.testing.assert_close(next(average.network.parameters()), expected)


def test_the_average_is_a_network_of_its_own():
    one = network()
    average = WeightAverage(one, 0.5)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert not average.network.training
    assert all(p.requires_grad for p in one.parameters())
    moved(one, 0)
    assert not torch.equal(next(one.parameters()), next(average.network.parameters()))
