"""The networks that FeINFN is compared with: each equal to its authors' program, and usable as any other network."""

import numpy as np
import pytest
import torch

from golden_networks import CASES, build, fill, formula_pair
from hyperfuse.errors import InputError
from hyperfuse.networks import ComparedNetwork, create_network, list_networks
from hyperfuse.networks.compared import matches, without_prefix
from hyperfuse.networks.registry import network_class

COMPARED = [name for name in list_networks() if issubclass(network_class(name), ComparedNetwork)]
REGISTERED = [case for case in CASES if CASES[case]["network"] in COMPARED]
# The smallest case of each network.
SMALLEST = {CASES[case]["network"]: case for case in sorted(REGISTERED, key=lambda case: "x4-31" in case)}


@pytest.fixture(params=COMPARED)
def name(request):
    return request.param


def test_formulas():
    assert fill(1, "fusion_conv1.0.weight", (128, 128, 3, 3), 1.7).flatten()[[0, 1, 2, -1]].tolist() == pytest.approx(
        [0.0404949, -0.0019232, -0.0393333, -0.0500506], abs=1e-7
    )
    assert float(fill(74, "eta_2", (1,), 1.4)) == pytest.approx(0.3594219, abs=1e-7)
    hsi, msi = formula_pair(31, 3, 8, 4)
    assert float(hsi[0, 30, 7, 5]) == pytest.approx(0.6919384, abs=1e-7)
    assert float(msi[0, 2, 31, 30]) == pytest.approx(0.2328447, abs=1e-7)


@pytest.mark.parametrize("case", REGISTERED)
def test_output_of_the_authors_program(case):
    stated = CASES[case]
    network, hsi, msi = build(stated)
    assert len(network.state_dict()) == stated["entries"]
    assert sum(p.numel() for p in network.parameters()) == stated["parameters"]
    with torch.no_grad():
        fused = network(hsi, msi)[0]
    assert list(fused.shape) == stated["shape"]
    *places, expected = (np.array(column) for column in zip(*stated["values"], strict=True))
    found = fused.numpy()[tuple(place.astype(int) for place in places)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=stated["tolerance"] + 1e-7)


@pytest.mark.parametrize(
    ("case", "half", "quarter"),
    [
        (
            "mimosst-x4-10x4",
            {(0, 0, 0): 0.2117281, (9, 15, 15): 0.5579758, (3, 1, 2): 0.2198678, (5, 2, 0): 0.1848239},
            {(0, 0, 0): 0.8149165, (9, 7, 7): 0.6939149, (3, 1, 2): -0.4354725, (5, 2, 0): -0.060451},
        ),
        (
            "mimosst-x8-31x3",
            {(0, 0, 0): 0.1600234, (30, 30, 30): -0.1297982, (3, 3, 6): 0.8401796, (5, 6, 0): 0.0944068},
            {(0, 0, 0): 0.7003518, (30, 15, 15): 0.7212359, (3, 1, 2): 0.1260275, (5, 2, 0): 0.5795159},
        ),
    ],
)
def test_smaller_images_of_the_authors_program(case, half, quarter):
    network, hsi, msi = build(CASES[case])
    with torch.no_grad():
        found = network.intermediate(hsi, msi)
    for image, expected in zip(found[1:], (half, quarter), strict=True):
        assert {at: float(image[0][at]) for at in expected} == pytest.approx(expected, abs=CASES[case]["tolerance"])


def test_every_network_has_a_case(name):
    assert name in SMALLEST


def test_what_has_an_effect_has_a_gradient_and_nothing_else(name):
    network, hsi, msi = build(CASES[SMALLEST[name]])
    network.train()
    network(hsi, msi).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        idle = matches(parameter_name, network.without_effect)
        moved = parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
        assert moved != idle, parameter_name


def test_bfloat16_under_autocast(name):
    network, hsi, msi = build(CASES[SMALLEST[name]])
    with torch.no_grad():
        exact = network(hsi, msi)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(hsi, msi)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert float((rounded - exact).abs().mean()) < 0.1 * float(exact.std())


def test_sides_that_cannot_be_divided_are_extended_and_cut_off(name, pair):
    stated = CASES[SMALLEST[name]]
    network, _, _ = build(stated)
    ratio = stated["ratio"]
    hsi, msi = pair(1, (9, 11), (9 * ratio, 11 * ratio), *stated["bands"])
    with torch.no_grad():
        fused = network(hsi, msi)
    assert fused.shape == (1, stated["bands"][0], 9 * ratio, 11 * ratio)
    assert bool(fused.isfinite().all())


@pytest.mark.parametrize(
    ("size", "said"), [((9, 18), "one whole ratio"), ((18, 27), "one whole ratio"), ((16, 16), "one whole ratio")]
)
def test_other_ratios_than_whole_ones_are_refused(name, size, said):
    network, _, _ = build(CASES[SMALLEST[name]])
    hsi, msi = torch.zeros(1, network.hsi_bands, 9, 9), torch.zeros(1, network.msi_bands, *size)
    with pytest.raises(InputError, match=said) as caught:
        network(hsi, msi)
    assert "\n" not in str(caught.value)


def test_a_ratio_that_is_stated_is_kept_to(name):
    bands = dict(zip(("hsi_bands", "msi_bands"), CASES[SMALLEST[name]]["bands"], strict=True))
    network = create_network(name, **bands, ratio=4)
    hsi, msi = torch.zeros(1, network.hsi_bands, 4, 4), torch.zeros(1, network.msi_bands, 32, 32)
    with pytest.raises(InputError, match=f"this {name} was built for the ratio 4, .*build it with ratio=8"):
        network(hsi, msi)


def test_prefixes_of_all_names():
    for prefix in ("", "module.", "model.", "module.model."):
        assert list(without_prefix({f"{prefix}a.b": 1, f"{prefix}module.c": 2})) == ["a.b", "module.c"]
    assert list(without_prefix({"module.a": 1, "b": 2})) == ["module.a", "b"]


def test_names_under_a_prefix(name):
    network, _, _ = build(CASES[SMALLEST[name]])
    state = {"module." + theirs: network.state_dict()[ours] for theirs, ours in network.released_names().items()}
    again = create_network(
        name, hsi_bands=network.hsi_bands, msi_bands=network.msi_bands, **CASES[SMALLEST[name]]["options"]
    )
    again.load_released_state_dict(state)
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state, used: state.pop(used), "1 of {name} for .* are missing, the first is '{used}'"),
        (
            lambda state, used: state.update(extra=torch.zeros(1)),
            "'extra' is not part of {name} for",
        ),
        (lambda state, used: state.update({used: torch.zeros(7, 7, 7)}), r"'{used}' is \(7, 7, 7\), {name} for"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(name, change, said):
    network, _, _ = build(CASES[SMALLEST[name]])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {theirs: before[ours] + 1 for theirs, ours in network.released_names().items()}
    used = next(
        theirs for theirs, ours in network.released_names().items() if not matches(ours, network.without_effect)
    )
    change(state, used)
    with pytest.raises(InputError, match=said.format(name=name, used=used)) as caught:
        network.load_released_state_dict(state)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_is_without_effect_may_be_missing(name):
    network, hsi, msi = build(CASES[SMALLEST[name]])
    state = {
        theirs: network.state_dict()[ours]
        for theirs, ours in network.released_names().items()
        if not matches(ours, network.without_effect)
    }
    again = create_network(
        name, hsi_bands=network.hsi_bands, msi_bands=network.msi_bands, **CASES[SMALLEST[name]]["options"]
    ).eval()
    again.load_released_state_dict(state)
    with torch.no_grad():
        assert torch.equal(again(hsi, msi), network(hsi, msi))


def test_paper_and_program_are_stated(name):
    kind = network_class(name)
    assert kind.reference
    assert 2015 <= kind.year <= 2024
    assert kind.program


def test_a_zero_output_layer_returns_the_upsampled_hsi_or_is_refused(name):
    network, hsi, msi = build(CASES[SMALLEST[name]])
    if network.residual_layer is None and type(network).zero_output_layer is ComparedNetwork.zero_output_layer:
        with pytest.raises(InputError, match=f"{name} has no layer"):
            network.zero_output_layer()
        return
    network.zero_output_layer()
    with torch.no_grad():
        fused = network(hsi, msi)
    modes = [torch.nn.functional.interpolate(hsi, msi.shape[2:], mode=mode) for mode in ("bicubic", "bilinear")]
    assert min(float((fused - image).abs().max()) for image in modes) < 0.02


def test_weights_of_hsrnet_start_as_its_program_draws_them():
    torch.manual_seed(0)
    network = create_network("hsrnet", hsi_bands=31, msi_bands=3)
    weight = network.expand.weight
    fan_in = 34 * 9
    assert float(weight.abs().max()) <= 2 * (2.6 / fan_in) ** 0.5
    assert float(weight.var()) == pytest.approx(2.012 / fan_in, rel=0.02)  # of a normal, cut at two deviations
    assert not bool(network.expand.bias.any())
