"""Weights that were trained on other scenes: found, checked against the pair, applied only as far as they help."""

from pathlib import Path

import pytest
import torch

import hyperfuse
from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method
from hyperfuse.networks import create_network, pretrained
from hyperfuse.networks.pretrained import find_pretrained, from_pretrained, read_base, save_pretrained, shipped_weights

METHOD = get_method("feinfn")
BASE = {"method": "feinfn", "settings": {"steps": 0}, "guidance": True}
SIZE = {"width": 8, "encoder_blocks": 1, "hidden": (8,), "latent": 8, "decoder_width": 8, "decoder_depth": 1}


@pytest.fixture
def save(tmp_path):
    def save(pair, *, nothing=False, base=BASE, bands=None):
        torch.manual_seed(1)
        bands = bands or pair.hsi.shape[0]
        network = create_network("feinfn", hsi_bands=bands, msi_bands=bands + pair.msi.shape[0], **SIZE)
        if nothing:
            network.zero_output_layer()
        return str(save_pretrained(network, tmp_path / "weights", base=base))

    return save


def run(pair, **settings):
    return METHOD.fuse(PairTensors(pair.hsi, pair.msi, pair.sensor), METHOD.configure(**settings))


def mse(image, pair):
    return float((image - pair.reference).square().mean())


def test_a_network_that_adds_nothing_changes_nothing(make_pair, save):
    pair = make_pair(shape=(64, 64))
    with_weights = run(pair, effort="fast", weights=save(pair, nothing=True))
    torch.testing.assert_close(with_weights.image, run(pair, effort="fast").image)


def test_a_network_that_does_harm_is_not_applied(make_pair, save):
    pair = make_pair(shape=(64, 64))
    spoilt, plain = run(pair, effort="fast", weights=save(pair)), run(pair, effort="fast")
    assert mse(spoilt.image, pair) < 1.02 * mse(plain.image, pair)


def test_weights_that_know_the_errors_are_applied(make_pair, save, monkeypatch):
    """A network that predicts the residual of the base must bring the image close to the reference."""
    pair = make_pair(shape=(64, 64))
    plain = run(pair, effort="fast")
    weights = save(pair, nothing=True)
    residual = pair.reference - plain.image

    def knowing(network, hsi, guidance):
        return (pair.reference - guidance[0, pair.msi.shape[0] :])[None]

    monkeypatch.setattr("hyperfuse.methods.feinfn.correction.correction", knowing)
    known = run(pair, effort="fast", weights=weights)
    assert float((pair.reference - known.image).square().mean()) < 0.3 * float(residual.square().mean())


def test_a_fit_goes_on_from_weights_and_the_file_stays(make_pair, save):
    pair = make_pair(shape=(64, 64))
    folder = save(pair, nothing=True)
    before = from_pretrained(folder).state_dict()
    fitted = run(pair, effort="fast", steps=4, weights=folder)
    assert 0 < fitted.details["steps"] <= 4  # none is needed where nothing is learnt
    assert mse(fitted.image, pair) < 1.05 * mse(run(pair, effort="fast").image, pair)
    assert all(torch.equal(value, before[name]) for name, value in from_pretrained(folder).state_dict().items())


def test_weights_for_another_pair_are_refused(make_pair, save):
    pair = make_pair()
    with pytest.raises(InputError, match=r"is for an HSI of 9 bands and an MSI of \d, the pair has"):
        run(pair, weights=save(pair, bands=9))


@pytest.mark.parametrize("base", [None, {**BASE, "guidance": False}, {**BASE, "method": "bicubic"}])
def test_a_network_that_improves_something_else_is_refused(make_pair, save, base):
    pair = make_pair()
    with pytest.raises(InputError, match="was not trained to improve the images of feinfn"):
        run(pair, weights=save(pair, base=base))


def test_weights_that_do_not_exist_are_one_line_that_names_what_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "shipped")
    accepted = "specify a folder that training wrote (RUN/best) or hub:OWNER/NAME of the Hugging Face hub"
    for read in (find_pretrained, from_pretrained):
        with pytest.raises(InputError) as error:
            read("visble")
        assert str(error.value) == f"no weights 'visble'; {accepted}; none ship by name"
    for name in ("visible", "thermal"):
        save_pretrained(create_network("feinfn", hsi_bands=4, msi_bands=2, **SIZE), tmp_path / "shipped" / name)
    with pytest.raises(InputError) as error:
        find_pretrained("visble")
    assert str(error.value) == f"no weights 'visble'; did you mean 'visible'?; {accepted}"
    assert find_pretrained("visible") == tmp_path / "shipped" / "visible"
    assert from_pretrained("visible").hsi_bands == 4


def test_a_name_that_ships_is_what_its_folder_is(make_pair, save, monkeypatch):
    pair = make_pair(shape=(64, 64))
    folder = Path(save(pair))
    by_folder = run(pair, effort="fast", weights=str(folder))
    monkeypatch.setattr(pretrained, "SHIPPED", folder.parent)
    assert shipped_weights() == [folder.name]
    assert torch.equal(run(pair, effort="fast", weights=folder.name).image, by_folder.image)


def test_half_precision_on_disk_is_read_as_float32(tmp_path):
    network = create_network("feinfn", hsi_bands=4, msi_bands=2, **SIZE)
    folder = save_pretrained(network, tmp_path / "half", dtype=torch.float16, base=BASE)
    whole = save_pretrained(network, tmp_path / "whole")
    read = from_pretrained(folder)
    assert all(value.dtype == torch.float32 for value in read.state_dict().values())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, whole)]
    assert sizes[0] < 0.6 * sizes[1]
    assert read_base(folder) == BASE
    assert read_base(whole) is None


def test_what_ships_is_small_and_described():
    shipped = sorted(Path(hyperfuse.__file__).parent.rglob("*.safetensors"))
    assert [file.stem for file in shipped] == ["residual-features"]
    for file in shipped:
        assert file.stat().st_size < 4 * 2**20
        card = (file.parent / "README.md").read_text("utf-8")
        for title in ("Data", "Recipe", "Gain", "Failure cases", "Licence"):
            assert f"## {title}\n" in card, (file, title)
