"""Gradients in few passes against automatic differentiation of the plain form."""

import contextlib

import pytest
import torch

from hyperfuse.networks.blocks.gabor import RealGabor
from hyperfuse.networks.blocks.implicit import blend
from hyperfuse.networks.kernels.dispatch import Path, force_path
from hyperfuse.networks.kernels.few_passes import (
    blend_by_softmax,
    differentiate_automatically,
    fewer_passes,
    linear_with_bias,
    whole_gated_gabor,
    with_slope_in_layout,
)
from small_networks import FEINFN, small_network


def numbers(*size, seed=0, dtype=torch.float64):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def graph(x):
    """The names of all operations that a gradient goes through."""
    found, nodes = set(), [x.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in found:
            found.add(node)
            nodes += [before for before, _ in node.next_functions]
    return {node.name() for node in found}


def test_linear_with_bias():
    x, weight, bias = numbers(7, 5), numbers(3, 5, seed=1), numbers(3, seed=2)
    torch.testing.assert_close(linear_with_bias(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
    assert torch.autograd.gradcheck(linear_with_bias, (x, weight, bias))


def test_blend_by_softmax():
    outputs = numbers(1, 2, 2, 2, 3, 4)
    torch.testing.assert_close(blend_by_softmax(outputs), blend(outputs))
    assert torch.autograd.gradcheck(blend_by_softmax, (outputs,))


def test_whole_gated_gabor():
    gate, x, frequency, scale = numbers(4, 5), numbers(4, 5, seed=1), numbers(1, seed=2), numbers(1, seed=3)
    expected = gate.relu() * torch.cos(frequency * x) * torch.exp(-((scale * x) ** 2))
    torch.testing.assert_close(whole_gated_gabor(gate, x, frequency, scale), expected)
    assert torch.autograd.gradcheck(whole_gated_gabor, (gate, x, frequency, scale))


def test_bfloat16_is_rounded_once():
    gate, x = numbers(64, 8, dtype=torch.bfloat16), numbers(64, 8, seed=1, dtype=torch.float32)
    layer = RealGabor(3.0, 1.0)
    outputs = numbers(2, 2, 4, 2, 4, 5, dtype=torch.bfloat16)
    for few, plain, inputs in (
        (
            lambda g, v: whole_gated_gabor(g, v, layer.frequency, layer.scale),
            lambda g, v: g.relu() * layer(v),
            (gate, x),
        ),
        (blend_by_softmax, blend, (outputs,)),
    ):
        found, expected = few(*inputs), plain(*inputs)
        assert found.dtype == expected.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        slope = torch.ones_like(found)
        for a, b in zip(
            torch.autograd.grad(found, inputs, slope), torch.autograd.grad(expected, inputs, slope), strict=True
        ):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_slope_takes_the_layout_of_the_image(layout):
    x = numbers(2, 3, 4, 5).detach().contiguous(memory_format=layout).requires_grad_()
    slopes = []
    x.register_hook(slopes.append)
    with_slope_in_layout(x).permute(0, 2, 3, 1).contiguous().sum().backward()
    assert slopes[0].is_contiguous(memory_format=layout)
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("name", FEINFN)
def test_networks_agree_with_automatic_differentiation(name, pair):
    network, found = small_network(name).double(), []
    hsi, msi = pair(2, (6, 5), (24, 20), dtype=torch.float64)
    with force_path(Path.WHOLE):
        for context in (contextlib.nullcontext, differentiate_automatically):
            with context():
                fused = network(hsi, msi)
            found.append([fused, *torch.autograd.grad(fused.square().sum(), list(network.parameters()))])
    assert "_Blend" in str(graph(found[0][0]))
    assert "_Blend" not in str(graph(found[1][0]))
    for few, plain in zip(*found, strict=True):
        assert (few - plain).norm() <= 1e-9 * plain.norm() + 1e-12


def test_only_for_training_on_an_accelerator(monkeypatch):
    x, on_accelerator = torch.zeros(1), torch.zeros(1, device="meta")
    assert not fewer_passes(x)
    assert fewer_passes(on_accelerator)
    with torch.no_grad():
        assert not fewer_passes(on_accelerator)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not fewer_passes(on_accelerator)
