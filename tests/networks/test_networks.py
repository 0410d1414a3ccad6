"""What holds for every network in the registry; a new one is tested by being registered."""

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.networks import FusionNetwork, NetworkOptions, network_options
from hyperfuse.networks.compared import matches
from small_networks import COMPARED, FEINFN, NETWORKS
from small_networks import small_network as build

# The tests of compilers take seconds for each.
COMPILED = [*FEINFN, *(pytest.param(name, marks=pytest.mark.slow) for name in COMPARED)]


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.mark.parametrize(("hsi_bands", "msi_bands"), [(1, 1), (3, 8), (40, 2)])
def test_any_number_of_bands(name, hsi_bands, msi_bands, pair):
    hsi, msi = pair(2, (4, 3), (16, 12), hsi_bands, msi_bands)
    fused = build(name, hsi_bands, msi_bands)(hsi, msi)
    assert fused.shape == (2, hsi_bands, 16, 12)
    assert fused.dtype == torch.float32
    assert bool(fused.isfinite().all())


def test_images_of_a_batch_do_not_mix(name, pair):
    network = build(name).double().eval()
    hsi, msi = pair(3, (4, 5), (16, 20), dtype=torch.float64)
    with torch.no_grad():
        together = network(hsi, msi)
        apart = torch.cat([network(hsi[i : i + 1], msi[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-11)


def test_same_seed_and_input_same_output(name, pair):
    hsi, msi = pair(1, (6, 5), (24, 20))
    with torch.no_grad():
        assert torch.equal(build(name)(hsi, msi), build(name)(hsi, msi))


def test_input_is_left_as_it_was(name, pair):
    hsi, msi = pair(1, (6, 5), (24, 20))
    before = hsi.clone(), msi.clone()
    with torch.no_grad():
        build(name)(hsi, msi)
    assert torch.equal(hsi, before[0])
    assert torch.equal(msi, before[1])


@pytest.mark.parametrize("name", FEINFN)
def test_output_is_the_bicubic_image_where_the_decoder_says_nothing(name, pair):
    network = build(name)
    torch.nn.init.zeros_(network.decoder.output.weight)
    torch.nn.init.zeros_(network.decoder.output.bias)
    hsi, msi = pair(1, (6, 5), (24, 20))
    bicubic = torch.nn.functional.interpolate(hsi, size=(24, 20), mode="bicubic", align_corners=False)
    torch.testing.assert_close(network(hsi, msi).detach(), bicubic, rtol=0, atol=1e-6)


def test_every_parameter_learns(name, pair):
    network = build(name)
    hsi, msi = pair(1, (6, 5), (24, 20))
    network(hsi, msi).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        if not matches(parameter_name, network.without_effect):
            assert parameter.grad is not None, parameter_name
            assert float(parameter.grad.abs().sum()) > 0, parameter_name


def test_bfloat16_by_autocast_and_by_option_agree(name, pair):
    hsi, msi = pair(1, (6, 5), (24, 20))
    exact, rounded = build(name).eval(), build(name, precision="bfloat16").eval()
    with torch.no_grad():
        reference = exact(hsi, msi)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            by_autocast = exact(hsi, msi)
        by_option = rounded(hsi, msi)
    assert by_option.dtype == torch.float32
    assert torch.equal(by_autocast, by_option)
    assert not torch.equal(by_option, reference)
    assert float((by_option - reference).abs().max()) < 0.1 * float(reference.std())


def test_bfloat16_trains(name, pair):
    network = build(name, precision="bfloat16")
    hsi, msi = pair(2, (6, 5), (24, 20))
    network(hsi, msi).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.dtype == torch.float32
        if not matches(parameter_name, network.without_effect):
            assert parameter.grad is not None, parameter_name
            assert bool(parameter.grad.isfinite().all())


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_to_one_graph(name, backend, pair):
    network = build(name).double()
    hsi, msi = pair(1, (6, 5), (24, 20), dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend=backend, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(hsi, msi), network(hsi, msi), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", COMPILED)
def test_compiles_under_autocast(name, pair):
    network = build(name)
    hsi, msi = pair(1, (6, 5), (24, 20))
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager", dynamic=False)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        fused, expected = compiled(hsi, msi), network(hsi, msi)
    assert float((fused - expected).abs().max()) < 0.1 * float(expected.std())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_tensor_is_made_on_another_device(name, precision):
    """The meta device refuses to mix with any other, as a GPU would."""
    network = build(name, precision=precision).to("meta")
    hsi, msi = torch.empty(2, 5, 6, 5, device="meta"), torch.empty(2, 2, 24, 20, device="meta")
    with torch.no_grad():
        assert network(hsi, msi).shape == (2, 5, 24, 20)
    fused = network(hsi, msi)
    assert fused.device.type == "meta"
    fused.sum().backward()


@pytest.mark.parametrize(
    ("hsi_shape", "msi_shape", "message"),
    [
        ((5, 6, 5), (1, 2, 24, 20), "hsi must be"),
        ((1, 4, 6, 5), (1, 2, 24, 20), "hsi has 4 bands, but this network was built for 5"),
        ((1, 5, 6, 5), (1, 3, 24, 20), "msi has 3 bands"),
        ((2, 5, 6, 5), (1, 2, 24, 20), "hsi holds 2 images and msi 1"),
        ((1, 5, 24, 20), (1, 2, 6, 5), "swapped"),
        ((1, 5, 0, 5), (1, 2, 24, 20), "empty"),
    ],
)
def test_input_that_does_not_fit_is_refused(name, hsi_shape, msi_shape, message):
    with pytest.raises(InputError, match=message) as error:
        build(name)(torch.zeros(hsi_shape), torch.zeros(msi_shape))
    assert "\n" not in str(error.value)


def test_integers_are_refused(name):
    with pytest.raises(InputError, match="floating point"):
        build(name)(torch.zeros(1, 5, 6, 5, dtype=torch.uint8), torch.zeros(1, 2, 24, 20))


def test_registered_class_and_options(name):
    network = build(name)
    assert isinstance(network, FusionNetwork)
    assert network.name == name
    assert issubclass(network_options(name), NetworkOptions)
    assert isinstance(network.options, network_options(name))
    assert network_options(name).__doc__


def test_options_are_frozen(name):
    with pytest.raises(ValueError, match="frozen"):
        build(name).options.width = 3
