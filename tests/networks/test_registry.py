import pytest

from hyperfuse.errors import InputError
from hyperfuse.networks import FusionNetwork, create_network, list_networks, network_options
from hyperfuse.networks.registry import register_network


def test_names():
    assert {"feinfn", "feinfn-release", "restfnet", "ssrnet", "tfnet"} <= set(list_networks())
    assert list_networks() == sorted(list_networks())


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match=r"'feinfn' is taken by hyperfuse\.networks\.feinfn\.FeINFN"):

        @register_network("feinfn")
        class Other(FusionNetwork):
            pass

    assert type(create_network("feinfn", hsi_bands=2, msi_bands=1, width=4)).__name__ == "FeINFN"


def test_unknown_network_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'feinfn'"):
        create_network("feinf", hsi_bands=31, msi_bands=3)
    with pytest.raises(InputError, match=r"known: .*feinfn, feinfn-release"):
        network_options("xyz")


def test_unknown_option_names_the_nearest():
    with pytest.raises(InputError, match="no option 'phase_kernal'; did you mean 'phase_kernel'"):
        create_network("feinfn", hsi_bands=31, msi_bands=3, phase_kernal=3)


def test_release_has_no_switches():
    with pytest.raises(InputError, match="no option 'domains'"):
        create_network("feinfn-release", hsi_bands=31, msi_bands=3, domains="spatial")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: .*greater than 0.*given: 0"),
        ({"hidden": ()}, "hidden"),
        ({"activation": "tanh"}, "activation: .*'gabor'"),
        ({"precision": "float16"}, "precision"),
        ({"upsampler": "liif"}, "set domains='spatial'"),
        ({"upsampler": "pixel-shuffle"}, "shuffle_ratio belong together"),
        ({"shuffle_ratio": 4}, "shuffle_ratio belong together"),
        ({"phase_kernel": 3, "domains": "spatial"}, "phase_kernel=3 needs"),
        ({"phase_kernel": 2}, "phase_kernel"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as error:
        create_network("feinfn", hsi_bands=31, msi_bands=3, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bands", [0, -1, 2.0, True])
def test_bands_must_be_a_positive_whole_number(bands):
    with pytest.raises(InputError, match=r"hsi_bands (must be|is) a whole number"):
        create_network("feinfn", hsi_bands=bands, msi_bands=3)


@pytest.mark.parametrize(("name", "count"), [("feinfn", 3161480), ("feinfn-release", 3164816)])
def test_parameter_counts(name, count):
    network = create_network(name, hsi_bands=31, msi_bands=3)
    assert sum(p.numel() for p in network.parameters()) == count


def test_parameter_counts_of_the_parts():
    network = create_network("feinfn-release", hsi_bands=31, msi_bands=3)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(network.spatial_encoder) == 1367552
    assert count(network.spectral_encoder) == 1364096
    assert count(network.spatial_fusion) == 136225
    assert count(network.frequency_fusion.amplitude) == 103457
    assert count(network.frequency_fusion.phase) == 106793
    assert count(network.decoder) == 86693
