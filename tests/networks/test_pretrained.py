import json
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError, MissingDependencyError
from hyperfuse.networks import create_network, list_networks
from hyperfuse.networks.pretrained import from_pretrained, push_to_hub, read_weights, save_pretrained
from small_networks import small_network


def build(name="feinfn", **options):
    return small_network(name, **options)


@pytest.mark.parametrize("name", list_networks())
def test_round_trip(name, tmp_path, pair):
    network = build(name, precision="bfloat16").eval()  # some drop at random in training
    assert save_pretrained(network, tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["config.json", "model.safetensors"]
    again = from_pretrained(tmp_path / "a" / "b")
    assert type(again) is type(network)
    assert again.options == network.options
    assert not again.training
    hsi, msi = pair(1, (6, 5), (24, 20))
    with torch.no_grad():
        assert torch.equal(again(hsi, msi), network(hsi, msi))


def test_switches_survive(tmp_path):
    network = build(upsampler="pixel-shuffle", shuffle_ratio=2, activation="gelu")
    assert from_pretrained(save_pretrained(network, tmp_path)).options == network.options


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "config.json").unlink(), "no config.json"),
        (lambda p: (p / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda p: (p / "config.json").write_text("{"), "not readable JSON"),
        (lambda p: (p / "config.json").write_text("{}"), "format 1"),
        (lambda p: (p / "config.json").write_text('{"format": 1}'), "hsi_bands, msi_bands, network, options missing"),
        (lambda p: (p / "model.safetensors").write_bytes(b"nothing"), "not a readable safetensors"),
    ],
)
def test_folders_that_are_not_whole_are_refused(damage, message, tmp_path):
    save_pretrained(build(), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"hsi_bands": 6}, "does not fit"), ({"network": "feinfm"}, "mean 'feinfn'"), ({"hsi_bands": "x"}, "hsi_bands")],
)
def test_configurations_that_do_not_fit_are_refused(change, message, tmp_path):
    save_pretrained(build(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message) as error:
        from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_weights_of_a_torch_checkpoint(key, tmp_path):
    state = build().state_dict()
    torch.save({key: state, "epoch": 3} if key else dict(state), tmp_path / "weights.pth")
    read = read_weights(tmp_path / "weights.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    torch.save({"model": Payload()}, tmp_path / "evil2.pth")
    for file in ("evil.pth", "evil2.pth"):
        with pytest.raises(InputError, match="not a checkpoint of plain weights"):
            read_weights(tmp_path / file)
    assert not (tmp_path / "executed").exists()


def test_files_without_weights_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no state dict"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(InputError, match="no such file"):
        read_weights(tmp_path / "b.pth")


def test_hub_upload(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    calls = []

    class Api:
        def create_repo(self, repository, **options):
            calls.append(("create", repository, options["private"]))

        def upload_folder(self, repo_id, folder_path, repo_type):
            calls.append(("upload", repo_id, sorted(p.name for p in Path(folder_path).iterdir()), repo_type))
            return "address"

    monkeypatch.setattr(hub, "HfApi", Api)
    assert push_to_hub(build(), tmp_path, "owner/name") == "address"
    assert calls == [
        ("create", "owner/name", True),
        ("upload", "owner/name", ["config.json", "model.safetensors"], "model"),
    ]


def test_hub_upload_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"hyperfuse\[hub\]"):
        push_to_hub(build(), tmp_path / "x", "owner/name")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": {"encoder_blocks": 10_000_000}}, "encoder_blocks"),
        ({"options": {"gabor_frequency": 1e308}}, "gabor_frequency: input should be less than or equal to 1000000"),
        ({"options": {"gabor_scale": float("nan")}}, "gabor_scale: input should be a finite number"),
        ({"options": {"encoder_blocks": 1000, "width": 65_536}}, "would take .* GB, .* GB are free"),
        ({"options": {"hidden": [65_536] * 32}}, "would take .* GB"),
        ({"options": {"hidden": [8] * 100_000}}, "hidden"),
        ({"options": {"latent": 10**30}}, "latent"),
        ({"options": []}, "options are a mapping"),
        ({"network": ["feinfn"]}, "network is a name"),
        ({"hsi_bands": 10**12}, "hsi_bands must be a whole number from 1 to 100000"),
        ({"msi_bands": 10**5, "options": {"width": 65_536}}, "would take .* GB"),
        ({"hsi_bands": "9" * 5000}, "hsi_bands is a whole number"),
    ],
)
def test_networks_of_absurd_sizes_are_refused_before_they_are_built(tmp_path, change, said):
    folder = save_pretrained(create_network("feinfn", hsi_bands=4, msi_bands=2, width=8), tmp_path / "weights")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    started = time.monotonic()
    with pytest.raises(InputError, match=said) as caught:
        from_pretrained(folder)
    assert time.monotonic() - started < 30
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", " " * (2**20 + 1), '"\x00"', "\ufeff{}"]
)
def test_configurations_that_are_none_are_refused(tmp_path, text):
    folder = save_pretrained(create_network("feinfn", hsi_bands=4, msi_bands=2, width=8), tmp_path / "weights")
    (folder / "config.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"config\.json: (not|larger)") as caught:
        from_pretrained(folder)
    assert len(str(caught.value)) < 500


def test_headers_of_weights_of_any_content_are_refused_or_read(tmp_path):
    folder = save_pretrained(create_network("feinfn", hsi_bands=4, msi_bands=2, width=8), tmp_path / "weights")
    whole = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(8 + size))] = int(rng.choice([0, 48, 57, 34, 44, 91, 123, 125, 255]))
        if rng.random() < 0.2:
            data = data[: int(rng.integers(len(data)))]
        (folder / "model.safetensors").write_bytes(data)
        try:
            from_pretrained(folder)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 100
