"""Groups of pixels, MATLAB's bicubic enlargement, and how far the networks made of them reach."""

import pytest
import torch

from golden_networks import CASES, build, formula_pair
from hyperfuse.networks.blocks.bicubic import enlarge
from hyperfuse.networks.blocks.windows import cut_windows, join_windows, shuffle_runs, unshuffle_runs
from small_networks import small_network


def numbered(rows, cols):
    """Two images whose pixels have the numbers of their rows and columns."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    one = torch.stack([row, col], dim=-1).float()
    return torch.stack([one, one + 1000])


@pytest.mark.parametrize(("side", "dilation", "size"), [(4, 1, (8, 12)), (8, 2, (16, 48)), (3, 3, (9, 18))])
def test_groups_are_the_pixels_that_they_should_be(side, dilation, size):
    image = numbered(*size)
    groups = cut_windows(image, side, dilation)
    cell = side * dilation
    expected = [
        {(r, c) for r in range(y, y + cell, dilation) for c in range(x, x + cell, dilation)}
        for cell_row in range(0, size[0], cell)
        for y in range(cell_row, cell_row + dilation)
        for cell_col in range(0, size[1], cell)
        for x in range(cell_col, cell_col + dilation)
    ]
    found = [{tuple(pixel) for pixel in group.tolist()} for group in groups[: len(groups) // 2]]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert torch.equal(groups[len(groups) // 2 :], groups[: len(groups) // 2] + 1000)
    assert torch.equal(join_windows(groups, size, side, dilation), image)


@pytest.mark.parametrize(("run", "size"), [(4, (24, 40)), (1, (8, 6)), (2, (16, 4))])
def test_runs_go_to_their_places(run, size):
    """Also where the number of runs is twice an odd number, so that one window holds runs of both kinds."""
    image = numbered(*size)

    def source(length):
        runs = length // run
        places = [(number % 2) * runs // 2 + number // 2 for number in range(runs)]
        at = [0] * length
        for number, place in enumerate(places):
            for offset in range(run):
                at[place * run + offset] = number * run + offset
        return torch.tensor(at)

    shuffled = shuffle_runs(image, run)
    assert torch.equal(shuffled, image[:, source(size[0])][:, :, source(size[1])])
    assert torch.equal(unshuffle_runs(shuffled, run), image)


def test_enlargement_is_matlabs():
    """Values of imresize for images by formula, in double precision."""
    hsi, _ = formula_pair(31, 3, 8, 4)
    fine = enlarge(hsi.double(), (32, 32))[0]
    assert [float(fine[at]) for at in [(0, 0, 0), (30, 1, 2), (30, 31, 31), (15, 13, 10)]] == pytest.approx(
        [0.4657130, 0.8236711, 0.6603637, 0.5115086], abs=1e-7
    )
    assert float(fine.mean()) == pytest.approx(0.4953458, abs=1e-7)


@pytest.mark.parametrize(("coarse", "fine"), [((5, 7), (15, 28)), ((1, 2), (4, 5)), ((3, 4), (7, 4))])
def test_enlargement_by_the_definition(coarse, fine):
    image = torch.rand(1, 2, *coarse, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def kernel(t):
        t = abs(t)
        return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else (-0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0)

    def matrix(low, high):
        found = torch.zeros(high, low, dtype=torch.float64)
        for row in range(high):
            centre = (row + 0.5) * low / high - 0.5
            for at in range(-4, low + 4):
                mirrored = at % (2 * low)
                found[row, min(mirrored, 2 * low - 1 - mirrored)] += kernel(centre - at)
        return found

    expected = matrix(coarse[0], fine[0]) @ image @ matrix(coarse[1], fine[1]).T
    torch.testing.assert_close(enlarge(image, fine), expected, rtol=0, atol=1e-12)
    constant = torch.full((1, 1, *coarse), 0.7)
    torch.testing.assert_close(enlarge(constant, fine), torch.full((1, 1, *fine), 0.7), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_beyond_the_overlap_a_cut_hardly_changes_3dt_net():
    """With the weights of the golden values, for which its layers attend."""
    network, hsi, msi = build({**CASES["3dtnet-x4-10x4"], "lr": 24})
    hsi, msi = hsi[:, :, :4], msi[:, :, :16]
    with torch.no_grad():
        whole = network(hsi, msi)[..., 32:]
        part = network(hsi[..., 8:], msi[..., 32:])
    differences = (whole - part).abs().amax(dim=(0, 1, 2)) / float(whole.std())
    assert float(differences[: network.tiling().overlap].max()) > 0.01
    assert float(differences[network.tiling().overlap :].max()) < 1e-4


@pytest.mark.parametrize(("name", "rows", "cells"), [("psrt", 16, 4), ("bdt", 64, 3)])
def test_beyond_the_overlap_a_cut_changes_nothing(name, rows, cells, pair):
    network = small_network(name).eval()
    with torch.no_grad():  # fresh weights hardly attend
        for layer in network.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(20)
    tiling = network.tiling()
    cols = cells * tiling.multiple
    hsi, msi = pair(1, (rows // 4, cols // 4), (rows, cols))
    cut = tiling.multiple
    with torch.no_grad():
        whole = network(hsi, msi)[..., cut:]
        part = network(hsi[..., cut // 4 :], msi[..., cut:])
    differs = (whole - part).abs().amax(dim=(0, 1, 2)) > 1e-5 * float(whole.abs().max())
    assert not bool(differs[tiling.overlap :].any())
    assert bool(differs[: tiling.overlap].any())
