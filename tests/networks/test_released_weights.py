"""Weights under the authors' names: which network they are of, read, converted, refused."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from golden_networks import CASES, build
from hyperfuse.errors import InputError
from hyperfuse.networks import create_network, list_networks
from hyperfuse.networks.released import describe_file, describe_released, from_released, save_converted
from small_networks import LARGE

FEW = [case for case in CASES if CASES[case]["network"] in set(list_networks()) - LARGE]
ALL = [*FEW, *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if CASES[case]["network"] in LARGE)]


def released(case, prefix=""):
    network, _, _ = build(CASES[case])
    own = network.state_dict()
    return network, {prefix + theirs: own[ours] for theirs, ours in network.released_names().items()}


@pytest.mark.parametrize("case", ALL)
def test_a_checkpoint_is_read_without_being_told_what_it_is(case, tmp_path):
    network, state = released(case, "module.")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth")
    again = from_released(tmp_path / "weights.pth", ratio=CASES[case]["ratio"], msi_bands=CASES[case]["bands"][1])
    assert type(again) is type(network)
    assert again.options.model_dump(exclude={"ratio"}) == network.options.model_dump(exclude={"ratio"})
    assert not again.training
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("case", ["fusformer-x4-10x4", "hsrnet-x4-31x3"])
def test_a_converted_file_states_all_that_it_needs(case, tmp_path):
    network, state = released(case)
    torch.save(state, tmp_path / "weights.pth")
    converted = save_converted(from_released(tmp_path / "weights.pth"), tmp_path / "weights.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.pth", "weights.safetensors"]
    again = from_released(converted)
    assert again.options == network.options
    assert (again.hsi_bands, again.msi_bands) == tuple(CASES[case]["bands"])
    assert all(torch.equal(again.state_dict()[name], value) for name, value in network.state_dict().items())
    assert [one.network for one in describe_file(converted)] == [network.name]


def test_kernels_in_the_order_of_tensorflow():
    network, state = released("hsrnet-x4-31x3")
    stored = {name: value.permute(2, 3, 1, 0) if value.dim() == 4 else value for name, value in state.items()}
    stored["net/Conv_4/weights/Adam"] = torch.zeros(1)
    assert stored["net/Conv_4/weights"].shape == (3, 3, 34, 64)
    assert [one.hsi_bands for one in describe_released(stored)] == [31]
    again = create_network("hsrnet", hsi_bands=31, msi_bands=3)
    again.load_released_state_dict(stored)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in network.state_dict().items())


def test_weights_that_leave_something_open(tmp_path):
    _, state = released("ssrnet-x4-10x4")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match="an MSI of any bands; state msi_bands="):
        from_released(tmp_path / "a.pth")
    with torch.device("meta"):
        shapes = create_network("mog-dcn", hsi_bands=6, msi_bands=2).state_dict()
    torch.save({name: torch.zeros(value.shape) for name, value in shapes.items()}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="mog-dcn that fit the ratios 2, 3, 4; state ratio="):
        from_released(tmp_path / "b.pth")
    assert from_released(tmp_path / "b.pth", ratio=3).options.ratio == 3
    with pytest.raises(InputError, match=r"b\.pth: mog-dcn for the ratio 2, not 8"):
        from_released(tmp_path / "b.pth", ratio=8)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"hsi_bands": 30}, "an HSI of 10 bands and an MSI of 4, not for 30 and 4"),
        ({"network": "restfnet"}, "'Embedding.0.weight' is not part of restfnet|is not part of restfnet"),
        ({"network": "feinfn"}, "feinfn is this package's own network"),
        ({"network": "resnet"}, "no network is called 'resnet'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(keywords, said, tmp_path):
    _, state = released("fusformer-x4-10x4")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=said) as caught:
        from_released(tmp_path / "a.pth", **keywords)
    assert "\n" not in str(caught.value)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_files_that_hold_no_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": Payload()}}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="not a checkpoint of plain weights"):
        from_released(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"of none of the networks that are known here \(first name 'a.weight'\)"):
        from_released(tmp_path / "other.pth")
    with pytest.raises(InputError, match="no such file"):
        from_released(tmp_path / "missing.pth")


@pytest.mark.parametrize("text", ["{", "[]", '{"network": "fusformer"}', json.dumps({"network": 1, "options": 2})])
def test_statements_that_are_none(text, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"hyperfuse": text})
    with pytest.raises(InputError, match="convert the weights again"):
        from_released(tmp_path / "a.safetensors")


def test_a_converted_file_with_other_weights(tmp_path):
    network, _ = released("fusformer-x4-10x4")
    path = save_converted(network, tmp_path / "a.safetensors")
    tensors = load_file(path)
    del tensors["refine.0.bias"]
    description = {"network": "fusformer", "hsi_bands": 10, "msi_bands": 4, "options": {}}
    save_file(tensors, path, metadata={"hyperfuse": json.dumps(description)})
    with pytest.raises(InputError, match="does not fit what it states"):
        from_released(path)
    with pytest.raises(InputError, match="weights of fusformer, not of tfnet"):
        from_released(path, "tfnet")
