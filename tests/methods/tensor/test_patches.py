"""Patches by loops, clusters by what k-means promises."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.tensor.patches import PatchGrid, PatchGroups, cluster, split


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("shape", "side", "step"), [((9, 13), 4, 3), ((8, 8), 8, 4), ((7, 16), 7, 3), ((5, 6), 2, 1)])
def test_patches_and_their_mean_by_loops(shape, side, step):
    image = random(3, *shape)
    grid = PatchGrid(shape, side, step)
    starts = [[*range(0, size - side, step), size - side] for size in shape]
    expected = [image[:, y : y + side, x : x + side] for y in starts[0] for x in starts[1]]
    patches = grid.cut(image)
    assert grid.count == len(expected) == len(patches)
    torch.testing.assert_close(patches, torch.stack(expected).flatten(2), rtol=0, atol=0)
    some = torch.tensor([grid.count - 1, 0])
    assert torch.equal(grid.cut(image, some), patches[some])

    changed = random(*patches.shape, seed=1)
    total, times = np.zeros((3, *shape)), np.zeros(shape)
    for number, (y, x) in enumerate((y, x) for y in starts[0] for x in starts[1]):
        total[:, y : y + side, x : x + side] += changed[number].reshape(3, side, side).numpy()
        times[y : y + side, x : x + side] += 1
    order = torch.randperm(grid.count, generator=torch.Generator().manual_seed(0))
    groups = ((part, changed[part]) for part in order.split(2))
    np.testing.assert_allclose(grid.average(groups, image).numpy(), total / times, rtol=0, atol=1e-14)
    torch.testing.assert_close(grid.average(iter([(torch.arange(grid.count), patches)]), image), image)


def test_pixels_of_a_patch_may_go_down_columns():
    image = random(2, 7, 8)
    found = PatchGrid((7, 8), 4, 3, column_major=True).cut(image).unflatten(0, (2, 3))
    # Those of the transposed image, of which the grid's rows are the columns here.
    expected = PatchGrid((8, 7), 4, 3).cut(image.mT.contiguous()).unflatten(0, (3, 2)).transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_groups_of_patches_are_changed_as_one():
    image = random(3, 12, 12)
    grid = PatchGrid((12, 12), 4, 2)
    groups = PatchGroups.similar(image[:1], grid, 4, largest=5, seed=2)
    assert max(len(one) for one in groups.members) <= 5
    assert sorted(torch.cat(groups.members).tolist()) == list(range(grid.count))
    patches = grid.cut(image)
    means = torch.empty_like(patches)
    for one in groups.members:
        means[one] = patches[one].mean(0)
    expected = grid.average(iter([(torch.arange(grid.count), means)]), image)
    torch.testing.assert_close(groups.map(image, lambda one: one.mean(0).expand_as(one)), expected)
    torch.testing.assert_close(groups.map(image, lambda one: one), image)


def test_large_groups_are_split_along_their_main_direction():
    along = torch.arange(10.0)[torch.randperm(10, generator=torch.Generator().manual_seed(0))]
    rows = torch.zeros(12, 3)
    which = torch.arange(1, 11)
    rows[which] = along[:, None] * torch.tensor([2.0, 1.0, 0.0])
    parts = split(rows, which, 4)
    found = sorted(sorted(rows[part, 1].tolist()) for part in parts)
    assert found == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]] or found == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert all(torch.equal(part, part.sort().values) for part in parts)
    assert split(rows, which, 10)[0] is which


def test_separate_groups_are_found():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64)
    truth = torch.arange(90) % 3
    clusters = cluster(centres[truth] + 0.5 * random(90, 2), 3, seed=4)
    assert sorted(sorted(one.tolist()) for one in clusters) == sorted(
        sorted(torch.nonzero(truth == label)[:, 0].tolist()) for label in range(3)
    )


def test_labels_are_fixed_points_and_a_seed_decides():
    rows = random(300, 5)
    first, again = cluster(rows, 12, seed=1), cluster(rows, 12, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert sorted(torch.cat(first).tolist()) == list(range(300))
    centres = torch.stack([rows[one].mean(0) for one in first])
    nearest = torch.cdist(rows, centres).argmin(1)
    for label, one in enumerate(first):
        assert bool((nearest[one] == label).all())


def test_fewer_clusters_than_asked_for():
    rows = torch.tensor([[1.0], [1.0], [2.0], [2.0]], dtype=torch.float64)
    assert sorted(one.tolist() for one in cluster(rows, 10)) == [[0, 1], [2, 3]]
    assert [one.tolist() for one in cluster(torch.ones(5, 3), 3)] == [[0, 1, 2, 3, 4]]
    assert [one.tolist() for one in cluster(random(1, 3), 3)] == [[0]]
