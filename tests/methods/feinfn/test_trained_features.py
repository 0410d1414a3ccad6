"""Trained features: the same for any unit and number of bands, stored and read, used where a file is named."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.feinfn import residual_regression
from hyperfuse.methods.feinfn.pretrained import read_features, save_features, scenes_of
from hyperfuse.methods.feinfn.trained_features import (
    CHANNELS,
    IMAGE_RUNS,
    RAW_CHANNELS,
    TrainedFeatures,
    band_runs,
    contrast,
    description,
    raw_description,
)

METHOD = get_method("feinfn")


def maps_of(found, runs, msi, step=1, rows=slice(None)):
    parts = list(found.maps(runs, msi, step, rows))
    assert [index for some, _ in parts for index in range(some.start, some.stop)] == list(range(found.count))
    return torch.cat([maps for _, maps in parts])


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(31, 20, 24, generator=generator), torch.rand(4, 20, 24, generator=generator)


def test_runs_are_means_of_bands_and_cover_them_all():
    bands = torch.arange(16.0)[:, None, None]
    assert band_runs(bands, 8).flatten().tolist() == [0.5 + 2 * index for index in range(8)]
    assert band_runs(bands[:3], 8).flatten().tolist() == [0, 0.0, 0.5, 1, 1, 1.5, 2, 2]
    assert set(band_runs(bands[:1], 3).flatten().tolist()) == {0.0}


def test_the_unit_of_an_image_does_not_matter(images, feature_network):
    image, msi = images
    maps = []
    for unit in (1.0, 1e4):
        runs = band_runs(image * unit, IMAGE_RUNS)
        maps.append(maps_of(TrainedFeatures.fit(feature_network, [(runs, msi * unit)]), runs, msi * unit))
    torch.testing.assert_close(*maps, atol=1e-4, rtol=1e-4)


def test_rows_of_every_second_pixel_are_those_of_all(images, feature_network):
    runs, msi = band_runs(images[0], IMAGE_RUNS), images[1]
    found = TrainedFeatures.fit(feature_network, [(runs, msi)])
    whole = maps_of(found, runs, msi)
    torch.testing.assert_close(maps_of(found, runs, msi, 2, slice(3, 7)), whole[:, 6:14:2, ::2])


def test_features_stay_in_the_range_that_weights_were_fitted_to(images, feature_network):
    runs, msi = band_runs(images[0], IMAGE_RUNS), images[1]
    found = TrainedFeatures.fit(feature_network, [(runs, msi)])
    whole = maps_of(found, runs, msi)
    fitted = whole.flatten(1)[:, :50]
    limited = maps_of(found.limited(fitted), runs, msi)
    low, high = fitted.amin(1)[:, None, None], fitted.amax(1)[:, None, None]
    torch.testing.assert_close(limited, whole.clamp(low, high))
    assert not torch.equal(limited, whole)


def test_a_description_has_as_many_channels_as_is_stated(images):
    raw = raw_description(band_runs(images[0], IMAGE_RUNS), images[1], torch.ones(2))
    assert len(raw) == RAW_CHANNELS
    assert description(raw.flatten(1), contrast(raw)).shape == (CHANNELS, 20 * 24)


def test_weights_are_stored_in_half_precision_and_read(tmp_path, feature_network):
    save_features(feature_network, tmp_path / "features.safetensors")
    found = read_features(tmp_path / "features.safetensors")
    for field in dataclasses.fields(feature_network):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(feature_network, field.name), atol=1e-3, rtol=1e-3
        )


def test_scenes_that_features_were_trained_on_are_known(tmp_path, feature_network):
    file = tmp_path / "features.safetensors"
    save_features(feature_network, file, ["paints", "cloth"])
    assert scenes_of(file) == METHOD.configure(features=str(file)).learnt_from == ("paints", "cloth")
    assert METHOD.configure(features=str(file), effort="fast").learnt_from == ()
    assert METHOD.configure(features=None).learnt_from == get_method("gsa").configure().learnt_from == ()
    save_features(feature_network, file)
    assert scenes_of(file) == ()
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match="holds no weights of trained features"):
        scenes_of(file)


def test_features_that_ship_state_the_scenes_that_they_were_trained_on():
    assert len(METHOD.configure().learnt_from) == 20


def test_the_prediction_of_a_band_lies_between_those_of_runs(feature_network):
    output = torch.arange(8.0)[:, None].expand(2, -1, 5) * torch.tensor([1.0, 3.0])[:, None, None]
    network = dataclasses.replace(feature_network, output=output)
    first, second = network.prediction(16).split(17, dim=1)
    assert not first[:, :12].any()
    assert not second[:, :12].any()
    # Half of it for each of two members.
    torch.testing.assert_close(first[:4, 12], torch.tensor([0.0, 0.25, 0.75, 1.25]) / 2)
    torch.testing.assert_close(second[:, 12:], 3 * first[:, 12:])
    assert network.prediction(1).shape == (1, network.count)


def test_features_are_both_layers_of_each_member(feature_network):
    described = torch.randn(CHANNELS, 7, generator=torch.Generator().manual_seed(1))
    found = torch.cat([features for _, features in feature_network.parts(described)])
    values = [one.numpy() for one in vars(feature_network).values()]
    expected = []
    for first, first_bias, second, second_bias, _ in zip(*values, strict=True):
        expected.append(np.maximum(first @ described.numpy() + first_bias[:, None], 0))
        expected.append(np.maximum(second @ expected[-1] + second_bias[:, None], 0))
    np.testing.assert_allclose(found.numpy(), np.concatenate(expected), rtol=1e-4, atol=1e-5)
    halves = [
        type(feature_network)(*(one[index : index + 1] for one in vars(feature_network).values())) for index in (0, 1)
    ]
    joined = type(feature_network).joined(halves)
    assert all(torch.equal(*pair) for pair in zip(vars(joined).values(), vars(feature_network).values(), strict=True))


def test_other_files_are_refused(tmp_path, feature_network):
    file = tmp_path / "features.safetensors"
    save_file({"first": torch.ones(2, 2)}, file)
    with pytest.raises(InputError, match="holds no weights of trained features"):
        read_features(file)
    save_features(dataclasses.replace(feature_network, first=torch.ones(2, 12, 3)), file)
    with pytest.raises(InputError, match=rf"layers do not follow .* does not take {CHANNELS} inputs"):
        read_features(file)


def test_the_default_takes_a_file_of_them(make_pair, tmp_path, feature_network, monkeypatch):
    monkeypatch.setattr(residual_regression, "_MIN_TRAINED_DB", -math.inf)
    pair = make_pair(shape=(96, 96))
    save_features(feature_network, tmp_path / "features.safetensors")
    tensors = PairTensors(pair.hsi, pair.msi, pair.sensor)
    plain = METHOD.fuse(tensors, METHOD.configure(features=None)).image
    with_features = METHOD.fuse(tensors, METHOD.configure(features=str(tmp_path / "features.safetensors"))).image
    assert with_features.shape == plain.shape
    assert not torch.equal(with_features, plain)
    with pytest.raises(InputError, match=r"no trained features .*null for none"):
        METHOD.fuse(tensors, METHOD.configure(features=str(tmp_path / "none.safetensors")))


def test_features_that_predict_held_out_pixels_worse_are_left_out(make_pair, tmp_path, feature_network, monkeypatch):
    pair = make_pair(shape=(96, 96))
    save_features(feature_network, tmp_path / "features.safetensors")
    tensors = PairTensors(pair.hsi, pair.msi, pair.sensor)
    monkeypatch.setattr(residual_regression, "_MIN_TRAINED_DB", math.inf)
    plain = METHOD.fuse(tensors, METHOD.configure(features=None)).image
    with_features = METHOD.fuse(tensors, METHOD.configure(features=str(tmp_path / "features.safetensors"))).image
    torch.testing.assert_close(with_features, plain, atol=1e-5, rtol=0)
