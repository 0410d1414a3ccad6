"""Each kernel against the plain path of its block: values and gradients are equal."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hyperfuse.networks.blocks.encoder import EDSREncoder
from hyperfuse.networks.blocks.fourier import polar
from hyperfuse.networks.blocks.gabor import RealGabor
from hyperfuse.networks.blocks.implicit import ImplicitFunction
from hyperfuse.networks.kernels import four_neighbours, gated_gabor, winograd
from hyperfuse.networks.kernels.dispatch import Path, Winograd, force_path, select_winograd
from hyperfuse.networks.kernels.neighbours import axis_neighbours
from hyperfuse.networks.kernels.polar import polar_rows, polar_with_gradient
from hyperfuse.networks.kernels.winograd import winograd_conv2d


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def same(ours, theirs, inputs, tolerance=1e-10):
    """Compare outputs, and their gradients in the inputs for a random gradient in the outputs."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    slopes = [random(*output.shape, seed=5).detach() for output in ours]
    mine = torch.autograd.grad(ours, inputs, slopes)
    wanted = torch.autograd.grad(theirs, inputs, slopes)
    for a, b in zip(mine, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * (1 + float(b.abs().max())))


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 18), st.integers(1, 18)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    tiles=st.integers(1, 30),
)
def test_winograd_is_the_convolution(batch, size, padding, tiles):
    if min(n + 2 * p for n, p in zip(size, padding, strict=True)) < 3:
        return
    x, weight, bias = random(batch, 3, *size), random(4, 3, 3, 3), random(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "BLOCK_TILES", tiles)
        ours = winograd_conv2d(x, weight, bias, padding)
        same([ours], [F.conv2d(x, weight, bias, padding=padding)], [x, weight, bias])


def test_winograd_rounds_to_a_few_millionths():
    x = random(1, 128, 32, 32, dtype=torch.float32).detach()
    weight = random(128, 128, 3, 3, dtype=torch.float32).detach()
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = (winograd_conv2d(x, weight, None, (1, 1)) - exact).square().mean().sqrt()
    assert float(error / exact.std()) < 3e-6


def test_winograd_can_be_changed_in_place():
    x, weight = random(1, 3, 8, 7), random(4, 3, 3, 3)
    ours = winograd_conv2d(x, weight, None, (1, 1)).relu_()
    same([ours], [F.conv2d(x, weight, padding=1).relu()], [x, weight])


def test_winograd_by_type_layout_channels_device_and_threads(monkeypatch):
    weight = torch.zeros(64, 64, 3, 3)
    x = torch.zeros(1, 64, 5, 4).to(memory_format=torch.channels_last)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert select_winograd(x, weight) is Winograd.ALL
    for other in (x.contiguous(), x.bfloat16(), x.to("meta")):
        assert select_winograd(other, weight) is Winograd.NONE
    narrow = x[:, :8].to(memory_format=torch.channels_last)
    assert select_winograd(narrow, weight[:, :8]) is Winograd.NONE
    with force_path(Path.WHOLE):
        assert select_winograd(x, weight) is Winograd.NONE
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert select_winograd(x, weight) is Winograd.WEIGHT_GRADIENT
    with torch.no_grad():
        assert select_winograd(x, weight) is Winograd.NONE


def test_winograd_of_the_weight_gradient_alone():
    x, weight, bias = random(2, 3, 8, 7), random(4, 3, 3, 3), random(4)
    ours = winograd_conv2d(x, weight, bias, (1, 1), Winograd.WEIGHT_GRADIENT)
    same([ours], [F.conv2d(x, weight, bias, padding=1)], [x, weight, bias])


@pytest.mark.parametrize("strip", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("rows", [1, 2, 9, 16])
def test_encoder_in_strips(strip, rows, monkeypatch):
    monkeypatch.setattr("hyperfuse.networks.blocks.encoder.STRIP_PIXELS", strip * 2 * 5)
    torch.manual_seed(0)
    encoder = EDSREncoder(3, width=6, blocks=2).double()
    x = random(2, 3, rows, 5).detach()
    with torch.no_grad():
        in_strips = encoder(x)
        with force_path(Path.WHOLE):
            torch.testing.assert_close(in_strips, encoder(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (6, 5), (5, 8), (8, 6)])
def test_polar_spectrum(size):
    x = random(2, 3, *size)
    half = torch.fft.rfft2(x, norm="ortho").permute(0, 2, 3, 1)
    own = torch.tensor(
        [[2 * r % size[0] == 0 and 2 * c % size[1] == 0 for c in range(half.shape[2])] for r in range(size[0])]
    )
    angle = half.angle()
    ours, expected = polar(x), (half.abs(), torch.where(own[..., None], angle.abs(), angle))
    for one, other in zip(ours, expected, strict=True):
        assert torch.equal(one, other)
    same(polar_with_gradient(x), ours, [x])
    with torch.no_grad():
        centre = size[0] // 2
        for part, whole in zip(polar_rows(x)(centre, size[0]), ours, strict=True):
            torch.testing.assert_close(part, whole[:, centre:].detach(), rtol=0, atol=1e-12)


def test_polar_spectrum_of_nothing_has_no_gradient():
    x = torch.zeros(1, 2, 4, 6, requires_grad=True)
    for transform in (polar_with_gradient, polar):
        amplitude, phase = transform(x)
        (slope,) = torch.autograd.grad(amplitude.sum() + phase.sum(), x)
        assert torch.equal(slope, torch.zeros_like(x))


@pytest.mark.parametrize("chunk", [7, 1000])
def test_gated_gabor(chunk, monkeypatch):
    monkeypatch.setattr(gated_gabor, "CHUNK", chunk)
    layer = RealGabor(3.0, 2.0).double()
    gate, x = random(2, 5, 6), random(2, 5, 6, seed=1)
    inputs = [gate, x, layer.frequency, layer.scale]
    same([layer.gated(gate, x)], [gate.relu() * layer(x)], inputs)
    with torch.no_grad():
        torch.testing.assert_close(layer.gated(gate, x), gate.relu() * layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ensemble", ["softmax", "area"])
@pytest.mark.parametrize(("sizes", "columns"), [((4, 13, 5, 31), 16), ((3, 12, 2, 8), 8), ((1, 2, 1, 1), 1)])
@pytest.mark.parametrize("chunk", [1, 40, 1000])
def test_gradient_of_four_neighbours(ensemble, sizes, columns, chunk, monkeypatch):
    monkeypatch.setattr(four_neighbours, "CHUNK_PIXELS", chunk)
    torch.manual_seed(0)
    function = ImplicitFunction(5, 4, 0, (12, 8), 3, ensemble).double()
    h, height, w, width = sizes
    rows = axis_neighbours(h, height, dtype=torch.float64)
    across = axis_neighbours(w, width, count=columns, dtype=torch.float64)
    lr, hr = random(2, h, w, 5), random(2, height, columns, 4)

    def run():
        return [function(function.first_layer(lr), hr, rows, across)]

    ours = run()
    with force_path(Path.WHOLE):
        theirs = run()
    same(ours, theirs, [lr, hr, *function.parameters()])
    with torch.no_grad():
        torch.testing.assert_close(run()[0], theirs[0].detach(), rtol=0, atol=1e-12)


def test_own_gradients_are_left_alone_by_autocast():
    """A backward pass inside autocast computes in the types of the forward pass."""
    layer = RealGabor()
    gate, x = random(3, 4, dtype=torch.float32), random(3, 4, dtype=torch.float32)
    lr, hr = random(1, 2, 2, 5, dtype=torch.float32), random(1, 4, 4, 4, dtype=torch.float32)
    function = ImplicitFunction(5, 4, 0, (12, 8), 3)
    neighbours = axis_neighbours(2, 4)

    def slopes(inside):
        with torch.autocast("cpu", enabled=False):
            total = (
                layer.gated(gate, x).sum()
                + function(function.first_layer(lr), hr, neighbours, neighbours).square().sum()
            )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
            return torch.autograd.grad(total, [gate, x, hr])

    for a, b in zip(slopes(True), slopes(False), strict=True):
        assert torch.equal(a, b)
