"""Patches of a held-out task: the loss on a few HR pixels is that of the whole, literally computed."""

import pytest
import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.sensor.psf import KernelPsf
from hyperfuse.statistics.folds import held_out_patterns, validation_blocks
from hyperfuse.training.self_supervised.patches import PairPatches
from hyperfuse.training.self_supervised.task import HeldOutTask, MaskedPair, correction

CPU = torch.device("cpu")
DIAGONAL = KernelPsf(weights=tuple(tuple(float(i == j) for j in range(3)) for i in range(3)))
SENSORS = {
    "narrow": uestc(4),
    "wide": mtf(2),
    "fraction": mtf(2.5),
    "axes": mtf((2, 3)),
    "not separable": Sensor(ratio=(3, 3), psf=DIAGONAL),
}


def network(**options):
    torch.manual_seed(0)
    return FeINFN(
        2, 3, FeINFNOptions(width=4, encoder_blocks=1, hidden=(4,), latent=4, decoder_width=4, **options)
    ).double()


def make_task(sensor, lr):
    generator = torch.Generator().manual_seed(2)
    fine = tuple(round(cells * ratio) for cells, ratio in zip(lr, sensor.ratio, strict=True))

    def image(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    pairs = [MaskedPair(mask, image(2, *lr), image(3, *fine)) for mask in held_out_patterns(lr, CPU)]
    error, basis = image(5, *lr), image(5, 2)
    return HeldOutTask(pairs, error, basis, error.flatten(1).std(1), validation_blocks(lr, 0.3, 0, CPU), sensor)


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("domains", ["spatial", "both", "frequency"])
def test_on_a_patch_as_large_as_the_image_the_loss_is_that_of_the_whole(name, domains):
    sensor, lr = SENSORS[name], (7, 6)
    task, net = make_task(sensor, lr), network(domains=domains)
    patches = PairPatches(task, 16, 1)
    generator = torch.Generator().manual_seed(5)
    index = int(torch.randint(4, (), generator=torch.Generator().manual_seed(5)))
    for validation in (False, True):
        batch = patches.draw(generator.manual_seed(5), validation=validation)
        pair = task.pairs[index]
        found = sensor.degrade(correction(net, pair.hsi[None], pair.guidance[None]), lr)[0]
        residual = (task.error - task.expand(found)) / task.band_scale[:, None, None]
        counted = pair.held_out & (task.validation if validation else ~task.validation)
        expected = ((residual.square() + 0.01).sqrt() - 0.1)[:, counted].mean()
        torch.testing.assert_close(patches.loss(net, batch), expected)
        nothing = ((task.error / task.band_scale[:, None, None]).square() + 0.01).sqrt() - 0.1
        torch.testing.assert_close(patches.loss_without_network(batch), nothing[:, counted].mean())


def test_under_a_narrow_psf_a_small_part_of_the_patch_is_evaluated():
    batch = PairPatches(make_task(uestc(4), (24, 24)), 8, 2).draw(torch.Generator().manual_seed(0))
    assert len(batch.rows) * len(batch.columns) < 0.2 * 32 * 32
    wide = PairPatches(make_task(mtf(4), (24, 24)), 8, 2).draw(torch.Generator().manual_seed(0))
    assert len(wide.rows) == len(wide.columns) == 32


def test_pixels_whose_psf_crosses_the_border_do_not_count():
    task = make_task(mtf(4), (40, 40))
    batch = PairPatches(task, 8, 4).draw(torch.Generator().manual_seed(0))
    weight = batch.weight[:, 0]
    assert weight.shape[1:] == (4, 4)
    assert weight[:, 1:3, 1:3].sum() == weight.sum()
