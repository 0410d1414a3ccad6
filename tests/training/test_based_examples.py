"""Patches of whole scenes together with the image that a network starts from."""

import numpy as np
import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.based_examples import BasedExamples
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.examples import Base, stacked
from hyperfuse.training.order import DataOrder
from hyperfuse.training.patch_examples import PatchSource
from hyperfuse.training.scene_store import SceneStore
from hyperfuse.training.sections import AugmentationSection

SRF = create_srf("boxes:2", 3)
NAMES = ("one", "two")


def reach(hsi, msi, sensor):
    """Return an image of which every pixel is the mean of the whole pair, and the MSI there."""
    return torch.stack([torch.full_like(msi[0], float(hsi.mean())), msi[0], msi[1]])


def examples(scenes, *, ratios=(2,), patch=12, versions=2, jitter=0.0, **changes):
    store = SceneStore(scenes, NAMES)
    corners = store.grid(patch, 6)
    degradations = [Degradation("mtf", ratio, SRF, patch, phase_jitter=jitter) for ratio in ratios]
    base = Base("reach", reach, versions=versions)
    order = DataOrder(0, len(corners), 4)
    return BasedExamples(PatchSource(store, corners, order, degradations, AugmentationSection(**changes)), base)


@pytest.mark.parametrize("ratio", [2, 3, 2.5])
def test_every_patch_is_a_part_of_the_whole_pair(scenes, ratio):
    data = examples(scenes, ratios=(ratio,), patch=12, random_starts=True)
    for position in range(40):
        example = data[position]
        name, row, col = example.corner
        whole = torch.from_numpy(scenes.load(name).data)
        rows, cols = (int(size // ratio * ratio) if ratio != 2.5 else size // 5 * 5 for size in whole.shape[-2:])
        sensor = Degradation("mtf", ratio, SRF, 12).nominal
        hsi = sensor.degrade(whole[:, :rows, :cols], (round(rows / ratio), round(cols / ratio)))
        side, lr_side = example.reference.shape[-1], example.hsi.shape[-1]
        assert side == round(lr_side * ratio)
        assert torch.equal(example.reference, whole[:, row : row + side, col : col + side])
        first = round(row / ratio), round(col / ratio)
        np.testing.assert_allclose(first, (row / ratio, col / ratio))  # an LR pixel starts with the patch
        assert torch.equal(example.hsi, hsi[:, first[0] : first[0] + lr_side, first[1] : first[1] + lr_side])
        # The base has seen the whole scene, and is cut where the patch is.
        np.testing.assert_allclose(example.base[0], float(hsi.mean()), rtol=1e-5)
        assert torch.equal(example.base[1:], example.msi)


def test_without_random_starts_patches_lie_on_the_grid(scenes):
    data = examples(scenes)
    corners = {data[n].corner[1:] for n in range(2 * len(data))}
    assert corners == {(row, col) for row in (0, 6, 12) for col in (0, 6, 12)}


def test_versions_differ_and_stay(scenes):
    data = examples(scenes, versions=3, gain=0.5, symmetries=True, scales=(1, 1.5), jitter=0.3)
    again = examples(scenes, versions=3, gain=0.5, symmetries=True, scales=(1, 1.5), jitter=0.3)
    means = set()
    for position in range(60):
        one, other = data[position], again[position]
        for image in ("hsi", "msi", "reference", "base"):
            assert torch.equal(getattr(one, image), getattr(other, image))
        means.add((one.corner.scene, round(float(one.base[0, 0, 0]), 7)))
    assert len(means) == 2 * 3
    batch = stacked([data[n] for n in range(4)])
    assert batch.base.shape == batch.reference.shape


def test_a_step_has_one_ratio(scenes):
    data = examples(scenes, ratios=(2, 3), random_starts=True)
    for step in range(6):
        assert len({data[4 * step + n].hsi.shape for n in range(4)}) == 1


def test_a_scene_too_small_to_be_shrunk_is_named(made):
    store = SceneStore(made.Scenes({"tiny": Cube(data=np.ones((3, 20, 20), np.float32))}), ["tiny"])
    degradation = Degradation("mtf", 2, SRF, 12)
    source = PatchSource(store, store.grid(12, 4), DataOrder(0, 1, 1), [degradation], AugmentationSection(scales=(2,)))
    with pytest.raises(InputError, match="the scene tiny shrunk by 2 has 10x10 pixels for training, fewer than"):
        BasedExamples(source, Base("reach", reach))
