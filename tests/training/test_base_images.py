"""Images of a base are made once, and found by what they are made of."""

import os

import numpy as np
import pytest
import torch

from hyperfuse.errors import HyperfuseWarning
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training import base_images
from hyperfuse.training.base_images import BaseImages

HSI, MSI = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.ones(2, 8, 10)
SENSOR = create_sensor("uestc", 2, Srf(np.full((2, 3), 1 / 3)))


class Making:
    """Counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, hsi, msi, sensor):
        self.calls += 1
        return hsi.repeat_interleave(2, 1).repeat_interleave(2, 2) + sensor.offset[0]


def images(folder, name="method"):
    return BaseImages(name, Making(), folder)


def test_a_later_run_finds_what_an_earlier_one_made(tmp_path):
    first, second = images(tmp_path / "bases"), images(tmp_path / "bases")
    made = first(HSI, MSI, SENSOR)
    assert torch.equal(second(HSI.clone(), MSI, SENSOR), made)
    assert (first.made, first.found, second.made, second.found) == (1, 0, 0, 1)
    assert first.bytes == second.bytes == made.nbytes
    assert [path.suffix for path in (tmp_path / "bases").iterdir()] == [".npy"]


def test_whatever_an_image_depends_on_is_another_image(tmp_path, monkeypatch):
    images(tmp_path)(HSI, MSI, SENSOR)
    for changed in (
        lambda: images(tmp_path)(HSI + 1e-6, MSI, SENSOR),
        lambda: images(tmp_path)(HSI, MSI + 1, SENSOR),
        lambda: images(tmp_path)(HSI, MSI, SENSOR.replace(phase=(0.25, 0.5))),
        lambda: images(tmp_path, 'method {"ridge": 1}')(HSI, MSI, SENSOR),
    ):
        before = len(list(tmp_path.iterdir()))
        changed()
        assert len(list(tmp_path.iterdir())) == before + 1
    monkeypatch.setattr(base_images, "__version__", "0.0.0")
    later = images(tmp_path)
    later(HSI, MSI, SENSOR)
    assert later.made == 1


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00v\x00"])
def test_a_damaged_image_is_made_again(tmp_path, damage):
    made = images(tmp_path)(HSI, MSI, SENSOR)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage or file.read_bytes()[:-4])
    again = images(tmp_path)
    assert torch.equal(again(HSI, MSI, SENSOR), made)
    assert (again.made, again.found) == (1, 0)
    assert images(tmp_path)(HSI, MSI, SENSOR).equal(made)


def test_without_a_folder_nothing_is_kept(tmp_path):
    one = images(None)
    one(HSI, MSI, SENSOR)
    one(HSI, MSI, SENSOR)
    assert (one.made, one.found) == (2, 0)


def test_a_folder_that_cannot_be_written_is_named_once(tmp_path):
    (tmp_path / "file").write_text("")
    one = images(tmp_path / "file" / "bases")
    with pytest.warns(HyperfuseWarning, match="cannot be kept"):
        one(HSI, MSI, SENSOR)
    one(HSI, MSI, SENSOR)
    assert one.made == 2


def test_those_that_were_not_used_for_longest_make_room(tmp_path, monkeypatch):
    one = images(tmp_path)
    size = one(HSI, MSI, SENSOR).nbytes + 128
    monkeypatch.setattr(base_images, "_MOST_BYTES", 2 * size)
    one(HSI + 1, MSI, SENSOR)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    one(HSI, MSI, SENSOR)  # used now
    one(HSI + 2, MSI, SENSOR)
    assert one.found == 1
    assert len(list(tmp_path.iterdir())) == 2
    again = images(tmp_path)
    again(HSI, MSI, SENSOR)
    again(HSI + 2, MSI, SENSOR)
    again(HSI + 1, MSI, SENSOR)
    assert (again.found, again.made) == (2, 1)
