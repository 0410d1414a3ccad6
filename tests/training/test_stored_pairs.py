"""Training from patch files: their references degraded again, or their stored pairs."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.data import open_training_data
from hyperfuse.training.examples import Base, load_batches
from hyperfuse.training.loop import train
from hyperfuse.training.order import ProcessBatches
from hyperfuse.training.residence import open_batches
from hyperfuse.training.run_log import read_log
from hyperfuse.training.stored_pairs import PatchScenes


class Patches:
    """Patches in memory, as a patch file gives them."""

    def __init__(self, made, count=10):
        sensor = create_sensor("uestc", 4, create_srf("boxes:2", 3))
        self._patches = []
        for number in range(count):
            truth = torch.from_numpy(made.wavy(number, rows=12, cols=12))
            pair = {"GT": truth, "LRHSI": sensor.degrade(truth), "RGB": sensor.respond(truth)}
            self._patches.append({key: value.numpy() for key, value in pair.items()})
        self.shapes = {key: (count, *value.shape) for key, value in self._patches[0].items()}

    def __len__(self):
        return len(self._patches)

    def __getitem__(self, index):
        return self._patches[index]


@pytest.fixture
def patches(made):
    return PatchScenes(Patches(made))


@pytest.fixture
def resolved(make, patches):
    def config(**changes):
        data = {"kind": "patches", "train": "all", "validation": (), "hold_out": 0.2}
        changes["degradation"] = {"ratios": [4], **changes.get("degradation", {})}
        return make(data=data, **changes).with_names(*patches.split(0.2))

    return config


def test_the_last_patches_are_held_out(patches):
    train_names, held_out = patches.split(0.2)
    assert held_out == ("patch-8", "patch-9")
    assert (*train_names, *held_out) == patches.names
    with pytest.raises(InputError, match="the file holds the patches patch-0 to patch-9"):
        patches.shape("patch-10")
    with pytest.raises(InputError, match="no patch 'paints'"):
        patches.load("paints")


def test_stored_pairs_come_as_they_are(resolved, patches):
    data = open_training_data(resolved(degradation={"preset": "stored"}), patches)
    assert len(data.examples) == data.order.patches == 8
    seen = set()
    for position in range(8):
        example = data.examples[position]
        hsi, msi, truth = patches.pair(example.corner.scene)
        assert torch.equal(example.hsi, hsi)
        assert torch.equal(example.msi, msi)
        assert torch.equal(example.reference, truth)
        seen.add(example.corner.scene)
    assert len(seen) == 8
    assert [pair.scene for pair in data.validation] == ["patch-8", "patch-9"]


def test_stored_and_remade_pairs_of_one_sensor_train_equally(resolved, patches, tmp_path):
    found = []
    for preset in ("stored", "uestc"):
        config = resolved(degradation={"preset": preset}, output=tmp_path / preset)
        result = train(config, patches)
        found.append([entry["loss"] for entry in read_log(result.folder) if "loss" in entry])
    # The PSF reaches one pixel from samples that lie two inside: what is beyond the patch does not matter.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_what_stored_pairs_cannot_do(resolved, make, patches, scenes):
    stored = {"preset": "stored"}
    with pytest.raises(InputError, match="the stored pairs have the ratio 4, not 2"):
        open_training_data(resolved(degradation={**stored, "ratios": [2]}), patches)
    base = Base("any", lambda hsi, msi, sensor: msi)
    with pytest.raises(InputError, match="which sensor made them, which a base needs"):
        open_training_data(resolved(degradation=stored), patches, base)
    with pytest.raises(InputError, match="stored is for patch files"):
        open_training_data(make(degradation=stored), scenes)


def test_pairs_on_the_device_are_those_that_are_read_one_by_one(patches, resolved):
    data = open_training_data(resolved(degradation={"preset": "stored"}), patches)
    sampler = ProcessBatches(data.order, 0, 3)
    found = zip(
        load_batches(data.examples, sampler, workers=0, pinned=False),
        open_batches(data.examples, sampler, torch.device("cpu"), resident=True),
        strict=True,
    )
    for one, other in found:
        assert one.corners == other.corners
        assert all(torch.equal(before, after) for before, after in zip(one[:3], other[:3], strict=True))
    assert data.examples.nbytes == 8 * 4 * (3 * 144 + 3 * 9 + 2 * 144)
