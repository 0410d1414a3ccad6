"""The switches that the paper's tables need: each changes what it names and leaves the rest as it was."""

import plain_feinfn as plain
import pytest
import torch
import torch.nn.functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks import create_network
from hyperfuse.networks.blocks import RealGabor

D, LATENT = 128, 32
HIDDEN_MLP = 256 * 128 + 128


def build(**options):
    torch.manual_seed(0)
    return create_network("feinfn", hsi_bands=31, msi_bands=3, **options)


def small(**options):
    torch.manual_seed(0)
    sizes = {"width": 8, "encoder_blocks": 1, "hidden": (12, 8), "decoder_width": 10}
    return create_network("feinfn", hsi_bands=5, msi_bands=2, **sizes, **options).double()


def mlp(inputs, outputs):
    return inputs * 256 + 256 + HIDDEN_MLP + outputs * 129


FULL = 3161480
SPATIAL, FREQUENCY = mlp(3 * D + 2, LATENT + 1), mlp(2 * D + 2, LATENT + 1)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, FULL),
        ({"domains": "spatial"}, FULL - 2 * FREQUENCY),
        ({"domains": "frequency"}, FULL - SPATIAL),
        ({"activation": "relu"}, FULL - 6),
        ({"activation": "gelu"}, FULL - 6),
        ({"activation": "leaky-relu"}, FULL - 6),
        ({"phase_kernel": 3}, FULL + 10 * (256 + 128 + LATENT + 1)),
        ({"upsampler": "bilinear"}, FULL - SPATIAL - 2 * FREQUENCY + mlp(3 * D, LATENT) + 2 * mlp(2 * D, LATENT)),
        (
            {"upsampler": "pixel-shuffle", "shuffle_ratio": 2},
            FULL - SPATIAL - 2 * FREQUENCY + mlp(3 * D, LATENT) + 2 * mlp(2 * D, LATENT) + 4 * D * (D + 1),
        ),
        ({"upsampler": "liif", "domains": "spatial"}, FULL - 2 * FREQUENCY - 129),
        ({"width": 16, "encoder_blocks": 0, "decoder_depth": 1}, None),
    ],
)
def test_parameter_counts(options, count):
    network = build(**options)
    if count is None:
        encoders = 9 * 16 * (34 + 31) + 2 * 16 + 2 * (9 * 16 * 16 + 16)
        count = encoders + mlp(3 * 16 + 2, 33) + 2 * mlp(2 * 16 + 2, 33) + 2 * (33 * 128) + 2 + 129 * 31
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    "options",
    [
        {"domains": "spatial"},
        {"domains": "frequency"},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"activation": "leaky-relu"},
        {"phase_kernel": 3},
        {"upsampler": "bilinear"},
        {"upsampler": "bicubic"},
        {"upsampler": "pixel-shuffle", "shuffle_ratio": 4},
        {"upsampler": "liif", "domains": "spatial"},
    ],
)
def test_rest_is_untouched(options, pair):
    """With the weights that both have in common, what the switch does not name is equal; the output is not."""
    base, switched = small(), small(**options)
    common = {n: p for n, p in base.state_dict().items() if n in switched.state_dict()}
    common = {n: p for n, p in common.items() if p.shape == switched.state_dict()[n].shape}
    switched.load_state_dict(common, strict=False)
    hsi, msi = pair(2, (6, 5), (24, 20), dtype=torch.float64)
    a, b = base.features(hsi, msi), switched.features(hsi, msi)
    assert torch.equal(a.upsampled, b.upsampled)
    assert torch.equal(a.spatial_latent, b.spatial_latent)
    assert torch.equal(a.spectral_latent, b.spectral_latent)
    if "upsampler" not in options:
        assert b.spatial is None if options.get("domains") == "frequency" else torch.equal(a.spatial, b.spatial)
        if options.get("domains") == "spatial":
            assert b.frequency is None
        elif "phase_kernel" not in options:
            assert torch.equal(a.frequency, b.frequency)
    torch.testing.assert_close(switched(hsi, msi), b.fused, rtol=0, atol=1e-12)
    assert float((a.fused - b.fused).detach().abs().max()) > 1e-6


@pytest.mark.parametrize("domains", ["spatial", "frequency"])
def test_one_domain_feeds_both_inputs_of_the_decoder(domains, pair):
    network = small(domains=domains)
    hsi, msi = pair(1, (6, 5), (24, 20), dtype=torch.float64)
    features = network.features(hsi, msi)
    only = getattr(features, domains).permute(0, 2, 3, 1)
    expected = plain.decoder(dict(network.named_parameters()), only, only).permute(0, 3, 1, 2)
    torch.testing.assert_close(features.fused - features.upsampled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "function"), [("relu", F.relu), ("gelu", F.gelu), ("leaky-relu", F.leaky_relu)])
def test_activation(name, function):
    decoder = small(activation=name).decoder
    assert not any(isinstance(m, RealGabor) for m in decoder.modules())
    x = torch.linspace(-2, 2, 50, dtype=torch.float64)
    for layer in decoder.activations:
        assert torch.equal(layer(x), function(x))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_fixed_upsampler_by_its_equations(mode, pair):
    network = small(upsampler=mode)
    weights = dict(network.named_parameters())
    hsi, msi = pair(2, (5, 4), (16, 9), dtype=torch.float64)
    features = network.features(hsi, msi)
    up = F.interpolate(features.spectral_latent, size=(16, 9), mode=mode, align_corners=False)
    s = features.spatial_latent

    def pixels(x):
        return x.permute(0, 2, 3, 1)

    e_s = plain.mlp(weights, "spatial_fusion", torch.cat([pixels(m) for m in (up, s, plain.laplacian(up))], dim=-1))
    torch.testing.assert_close(pixels(features.spatial), e_s, rtol=0, atol=1e-12)
    planes = plain.full_plane(up), plain.full_plane(s)
    amplitude = plain.mlp(weights, "frequency_fusion.amplitude", torch.cat([pixels(p.abs()) for p in planes], dim=-1))
    angle = plain.mlp(weights, "frequency_fusion.phase", torch.cat([pixels(plain.phase(p)) for p in planes], dim=-1))
    e_f = plain.synthesis(amplitude * torch.exp(1j * angle))
    torch.testing.assert_close(pixels(features.frequency), e_f, rtol=0, atol=1e-12)


def test_pixel_shuffle_refuses_another_ratio(pair):
    network = small(upsampler="pixel-shuffle", shuffle_ratio=4)
    with pytest.raises(InputError, match="shuffle_ratio=4"):
        network(*pair(1, (6, 5), (12, 10), dtype=torch.float64))


def test_liif_blends_by_the_area_of_the_opposite_corner(pair):
    """With a last layer that passes one cell feature on, LIIF's blend is bilinear interpolation."""
    network = small(upsampler="liif", domains="spatial")
    fusion = network.spatial_fusion
    with torch.no_grad():
        for layer in fusion.layers:
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[0, 0] = 1.0  # feature 0 of the cell, kept positive by the test, to output 0
    spectral = torch.rand(1, 8, 6, 5, dtype=torch.float64)
    spatial = torch.rand(1, 8, 21, 16, dtype=torch.float64)
    blended = network.spatial_rows(spatial, spectral, *network.neighbours(spatial, spectral))(0, 21)[..., 0]
    expected = F.interpolate(spectral[:, :1], size=(21, 16), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(blended, expected, rtol=0, atol=1e-12)


def test_phase_kernel_of_3_by_its_equations(pair):
    network = small(phase_kernel=3)
    weights = dict(network.named_parameters())
    hsi, msi = pair(1, (5, 4), (16, 9), dtype=torch.float64)
    features = network.features(hsi, msi)
    f, s = plain.full_plane(features.spectral_latent), plain.full_plane(features.spatial_latent)
    half = 9 // 2 + 1
    name = "frequency_fusion.phase"
    rows, columns = plain.neighbours(5, 16), plain.neighbours(4, 9)
    y, x, y_k, x_k = plain.centres(16, s), plain.centres(9, s), plain.centres(5, s), plain.centres(4, s)
    answers = []
    for a in range(2):
        for b in range(2):
            ky, kx = rows[:, a], columns[:half, b]
            delta_y = ((y - y_k[ky]) * 5)[:, None].expand(16, half)
            delta_x = ((x[:half] - x_k[kx]) * 4)[None].expand(16, half)
            cell = plain.phase(f)[:, :, ky][:, :, :, kx]
            v = torch.cat([cell, plain.phase(s)[..., :half], torch.stack([delta_y, delta_x])[None]], dim=1)
            for n in range(3):
                linear = weights[f"{name}.layers.{n}.weight"][:, :, None, None]
                v = F.conv2d(torch.relu(v) if n else v, linear, weights[f"{name}.layers.{n}.bias"])
                kernel = weights[f"{name}.depthwise.{n}.weight"]
                v = F.conv2d(v, kernel, weights[f"{name}.depthwise.{n}.bias"], padding=1, groups=v.shape[1])
            answers.append(v.permute(0, 2, 3, 1))
    angle = plain.blend(answers)
    amplitude = plain.implicit(weights, "frequency_fusion.amplitude", [f.abs()], s.abs())[:, :, :half]
    full = torch.zeros(1, 16, 9, amplitude.shape[-1], dtype=torch.complex128)
    full[:, :, :half] = amplitude * torch.exp(1j * angle)
    e_f = plain.synthesis(full).permute(0, 3, 1, 2)
    torch.testing.assert_close(features.frequency, e_f, rtol=0, atol=1e-12)
