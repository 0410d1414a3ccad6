import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.networks import create_network


def small():
    torch.manual_seed(0)
    return create_network(
        "feinfn-release", hsi_bands=5, msi_bands=2, width=8, encoder_blocks=2, hidden=(12, 8), decoder_width=10
    )


def released_state_dict(width=8, hidden=(12, 8), decoder_width=10, bands=5, msi_bands=2, blocks=2):
    """Names and shapes as the released program saves them, with numbers of its own."""
    latent, shapes = bands + 1, {}

    def layer(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    for encoder, channels in (("spatial_encoder", bands + msi_bands), ("spectral_encoder", bands)):
        layer(f"{encoder}.sub_mean", 3, 3, 1, 1)
        layer(f"{encoder}.add_mean", 3, 3, 1, 1)
        layer(f"{encoder}.head.0", width, channels, 3, 3)
        for n in range(blocks):
            layer(f"{encoder}.body.{n}.body.0", width, width, 3, 3)
            layer(f"{encoder}.body.{n}.body.2", width, width, 3, 3)
        layer(f"{encoder}.body.{blocks}", width, width, 3, 3)
    for name, inputs in (("imnet", 3 * width + 2), ("freq_query.imnet1", 2 * width + 2)):
        for n, (a, b) in enumerate(zip([inputs, *hidden], [*hidden, latent + 1], strict=True)):
            layer(f"{name}.layers.{2 * n}", b, a)
    for n, (a, b) in enumerate(zip([2 * width + 2, *hidden], [*hidden, latent + 1], strict=True)):
        layer(f"freq_query.imnet2.layers.{2 * n}.0", b, a, 1, 1, bias=False)
        layer(f"freq_query.imnet2.layers.{2 * n}.1", b, 1, 3, 3, bias=False)
    for n in range(3):
        layer(f"decoder.K.{n}.0", decoder_width, latent + (decoder_width if n else 0), 1, 1)
        layer(f"decoder.Q.{n}.0", decoder_width, decoder_width if n else latent, 1, 1)
        shapes[f"decoder.Q.{n}.1.omega_0"] = shapes[f"decoder.Q.{n}.1.scale_0"] = (1,)
    layer("decoder.last_layer", bands, decoder_width, 1, 1)
    shapes["hp.kernel"], shapes["pe.pe"] = (3, 3), (4096, 2)
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_released_weights_land_where_they_belong():
    network, state = small(), released_state_dict()
    network.load_released_state_dict(state)
    own = network.state_dict()
    pairs = {
        "spatial_encoder.head.weight": "spatial_encoder.head.0.weight",
        "spatial_encoder.blocks.1.conv2.bias": "spatial_encoder.body.1.body.2.bias",
        "spectral_encoder.blocks.0.conv1.weight": "spectral_encoder.body.0.body.0.weight",
        "spectral_encoder.tail.weight": "spectral_encoder.body.2.weight",
        "spatial_fusion.layers.1.weight": "imnet.layers.2.weight",
        "frequency_fusion.amplitude.layers.2.bias": "freq_query.imnet1.layers.4.bias",
        "frequency_fusion.phase.pointwise.1.weight": "freq_query.imnet2.layers.2.0.weight",
        "frequency_fusion.phase.depthwise.2.weight": "freq_query.imnet2.layers.4.1.weight",
        "decoder.activations.1.frequency": "decoder.Q.1.1.omega_0",
        "decoder.activations.2.scale": "decoder.Q.2.1.scale_0",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(own[ours], state[theirs]), ours
    assert torch.equal(own["decoder.keys.2.weight"], state["decoder.K.2.0.weight"][:, :, 0, 0])
    assert torch.equal(own["decoder.output.weight"], state["decoder.last_layer.weight"][:, :, 0, 0])
    used = sum(v.numel() for n, v in state.items() if "_mean" not in n and n not in ("hp.kernel", "pe.pe"))
    assert used == sum(v.numel() for v in own.values())


def test_mean_shift_of_an_encoder_is_ignored_wherever_it_sits():
    state = released_state_dict()
    state["freq_query.encoder.sub_mean.bias"] = torch.zeros(3)
    small().load_released_state_dict(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("imnet.layers.2.bias"), "1 are missing, the first is 'spatial_fusion.layers.1.bias'"),
        (lambda s: s.update({"extra.weight": torch.zeros(1)}), "'extra.weight' is not part of"),
        (lambda s: s.update({"imnet.layers.0.bias": torch.zeros(7)}), r"'imnet.layers.0.bias' is \(7,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(change, message):
    network, state = small(), released_state_dict()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    change(state)
    with pytest.raises(InputError, match=message):
        network.load_released_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("msi_size", [(18, 15), (6, 5), (15, 13), (24, 15)])
def test_ratios_that_are_not_even_are_refused(msi_size):
    with pytest.raises(InputError, match="even whole ratio"):
        small()(torch.rand(1, 5, 6, 5), torch.rand(1, 2, *msi_size))


def test_answer_depends_on_where_in_the_tile_a_pixel_lies():
    """The raster code: equal neighbourhoods get unequal spatial features, which `feinfn` does not do."""
    network = small()
    spectral, spatial = torch.ones(1, 8, 6, 6), torch.ones(1, 8, 24, 24)
    with torch.no_grad():
        e_s = network.spatial_rows(spatial, spectral, *network.neighbours(spatial, spectral))(0, 24)[0]
        other = create_network("feinfn", hsi_bands=5, msi_bands=2, width=8, hidden=(12, 8))
        clean = other.spatial_rows(spatial, spectral, *other.neighbours(spatial, spectral))(0, 24)[0]
    inner = slice(4, 20)
    assert float((e_s[inner, inner] - e_s[10, 10]).abs().max()) > 1e-2
    torch.testing.assert_close(clean[4:16, 4:16], clean[8:20, 8:20], rtol=0, atol=1e-6)
