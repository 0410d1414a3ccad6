"""A trained network as a method: whole, in blocks and tiles, padded, with and without a base."""

import json

import numpy as np
import pytest
import torch

from hyperfuse import InputError, fuse, fuse_tiles, simulate
from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write
from hyperfuse.methods import PairTensors, get_method, list_methods
from hyperfuse.methods.algorithms.network_blocks import BlockAxis
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf

BANDS, MSI_BANDS = 6, 2
SMALL = {"width": 8, "encoder_blocks": 1, "hidden": [8], "latent": 8, "decoder_width": 8}
UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)


def trained(folder, name="feinfn", base=None, msi_bands=MSI_BANDS, **options):
    torch.manual_seed(3)
    network = create_network(name, hsi_bands=BANDS, msi_bands=msi_bands, **(SMALL | options))
    save_pretrained(network, folder, base=base)
    return network.eval(), {"weights": str(folder)}


def scene(rows=48, cols=64, scale=1.0):
    y, x = np.mgrid[:rows, :cols] / 6.0
    bands = np.arange(BANDS)[:, None, None] / BANDS
    data = 0.5 + 0.4 * np.sin(x + bands) * np.cos(y * (1 + bands) / 2)
    return Cube(data=scale * data, transform=UTM, crs="EPSG:32633", wavelengths=np.linspace(450, 900, BANDS))


@pytest.mark.parametrize("preset", ["uestc", "mtf"])
def test_a_pair_in_one_block_is_what_the_network_makes_of_it(tmp_path, preset):
    network, settings = trained(tmp_path)
    pair = simulate(scene(), ratio=4, srf="boxes:2", preset=preset)
    found = fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="network", settings=settings, return_details=True)
    with torch.no_grad():
        expected = network(torch.from_numpy(pair.hsi.data)[None], torch.from_numpy(pair.msi.data)[None])[0].numpy()
    np.testing.assert_allclose(found.image.data, expected, atol=1e-5)
    assert found.image.transform == pair.msi.transform
    assert found.image.history[-1]["run"] == {"network": "feinfn", "peak": 1.0}


def test_values_beyond_1_are_divided_by_the_largest(tmp_path):
    network, settings = trained(tmp_path)
    pair = simulate(scene(scale=8000.0), ratio=4, srf="boxes:2")
    peak = max(pair.hsi.data.max(), pair.msi.data.max())
    with torch.no_grad():
        one, other = (torch.from_numpy(cube.data / peak)[None] for cube in (pair.hsi, pair.msi))
        expected = network(one, other)[0].numpy() * peak
    job = {"sensor": pair.sensor, "method": "network"}
    np.testing.assert_allclose(fuse(pair.hsi, pair.msi, settings=settings, **job).data, expected, rtol=1e-3, atol=1.0)
    chosen = fuse(pair.hsi, pair.msi, settings={**settings, "peak": 65535.0}, **job)
    assert not np.allclose(chosen.data, expected, rtol=1e-3)


@pytest.mark.parametrize(("shape", "ratio", "phase"), [
    ((50, 61), 4, None), ((37, 43), 3.2, None), ((30, 41), (2, 3), (0.0, 2.0)), ((9, 7), 4, None), ((40, 40), 2.5, 0.0),
])  # fmt: skip
def test_any_size_ratio_and_phase(tmp_path, shape, ratio, phase):
    _, settings = trained(tmp_path)
    pair = simulate(scene(*shape), ratio=ratio, srf="boxes:2", phase=phase)
    fused = fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="network", settings=settings)
    assert fused.data.shape == pair.reference.data.shape
    assert np.isfinite(fused.data).all()


@pytest.mark.parametrize(("ratio", "phase"), [(4, 1.5), (4, 2.0), (2.5, 0.0), (3.2, 1.1), (4, -1.0)])
def test_padded_lr_pixels_cover_the_hr_pixels(ratio, phase):
    for coarse, fine in ((10, round(10 * ratio)), (11, round(10 * ratio)), (10, round(10.5 * ratio))):
        axis = BlockAxis.of(
            coarse, fine, Sensor(ratio=(ratio, ratio), phase=(phase, phase), psf=BoxPsf(width=(1, 1))), 0
        )
        assert min(axis.lr + axis.hr) >= 0
        assert sum(axis.lr) + coarse == axis.size
        assert sum(axis.hr) + fine == round(axis.size * ratio)
        # The first LR pixel's centre lies where the phase states it, to within rounding to whole HR pixels.
        assert abs(axis.hr[0] + phase - ((axis.lr[0] + 0.5) * ratio - 0.5)) <= 1.0
        for block in axis.blocks(16):
            assert len(block.ramp) == block.hr.stop - block.hr.start


def test_blocks_are_blended(tmp_path):
    """A network that adds nothing interpolates: blocks and the whole then agree but for the reach of bicubic."""
    network, settings = trained(tmp_path)
    network.zero_output_layer()
    save_pretrained(network, tmp_path)
    pair = simulate(scene(160, 176), ratio=4, srf="boxes:2")
    whole, parts = (
        fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="network", settings={**settings, "block": block})
        for block in (256, 96)
    )
    np.testing.assert_allclose(parts.data, whole.data, atol=0.02)
    assert np.sqrt(np.mean((parts.data - whole.data) ** 2)) < 1e-3


def test_files_in_tiles_keep_their_position(tmp_path):
    _, settings = trained(tmp_path / "best")
    pair = simulate(scene(192, 192), ratio=4, srf="boxes:2")
    write(tmp_path / "hsi.tif", pair.hsi)
    write(tmp_path / "msi.tif", pair.msi)
    job = {"sensor": pair.sensor, "method": "network", "settings": settings}
    fuse_tiles(tmp_path / "hsi.tif", tmp_path / "msi.tif", tmp_path / "out.tif", tile=96, **job)
    fused, whole = read(tmp_path / "out.tif"), fuse(pair.hsi, pair.msi, **job)
    assert fused.transform == pair.msi.transform
    assert np.sqrt(np.mean((fused.data - whole.data) ** 2)) < 0.05 * whole.data.std()


@pytest.mark.parametrize("guidance", [False, True])
def test_a_network_with_a_base_adds_to_its_image(tmp_path, guidance):
    base = {"method": "bicubic", "settings": {}, "guidance": guidance, "scale": 0.5}
    network, settings = trained(tmp_path, base=base, msi_bands=MSI_BANDS + (BANDS if guidance else 0))
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    job = {"sensor": pair.sensor}
    start = fuse(pair.hsi, pair.msi, method="bicubic", **job).data
    hsi, msi, image = (torch.from_numpy(data)[None] for data in (pair.hsi.data, pair.msi.data, start))
    from hyperfuse.networks.blocks.upsample import resample

    with torch.no_grad():
        made = network(hsi, torch.cat([msi, image], 1) if guidance else msi)
        expected = image + 0.5 * (made - resample(hsi, (48, 64)))
    found = fuse(pair.hsi, pair.msi, method="network", settings=settings, **job)
    np.testing.assert_allclose(found.data, expected[0].numpy(), atol=1e-5)


def test_the_released_network_takes_an_odd_size(tmp_path):
    torch.manual_seed(0)
    save_pretrained(create_network("feinfn-release", hsi_bands=BANDS, msi_bands=MSI_BANDS), tmp_path)
    pair = simulate(scene(36, 44), ratio=4, srf="boxes:2")
    fused = fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="network", settings={"weights": str(tmp_path)})
    assert np.isfinite(fused.data).all()


def test_gaps_and_other_bands(tmp_path):
    _, settings = trained(tmp_path)
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    valid = np.ones(pair.msi.data.shape, bool)
    valid[:, 5, 7] = False
    fused = fuse(pair.hsi, pair.msi.replace(valid=valid), sensor=pair.sensor, method="network", settings=settings)
    assert fused.empty_pixels.sum() == 1
    with pytest.raises(InputError, match=r"is for an HSI of 6 bands and an MSI of 2, the pair has 5 and 2 .* bands="):
        fuse(pair.hsi.select_bands(range(5)), pair.msi, method="network", settings=settings)
    with pytest.raises(InputError, match="no weights 'nothing'"):
        fuse(pair.hsi, pair.msi, method="network", settings={"weights": "nothing"})
    with pytest.raises(InputError, match="weights"):
        fuse(pair.hsi, pair.msi, method="network")


def test_the_model_is_restored_from_its_state(tmp_path):
    _, settings = trained(tmp_path)
    method = get_method("network")
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    tensors = PairTensors(torch.from_numpy(pair.hsi.data), torch.from_numpy(pair.msi.data), pair.sensor)
    model = method.fit([tensors], method.configure(**settings))
    again = method.restore(model.state())
    assert torch.equal(again.apply(tensors).image, model.apply(tensors).image)
    assert "network" not in [one.name for one in list_methods()]


def test_from_the_command_line(tmp_path, capsys):
    from hyperfuse.cli.app import main

    trained(tmp_path / "RUN" / "best")
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    write(tmp_path / "hsi.tif", pair.hsi)
    write(tmp_path / "msi.tif", pair.msi)
    words = ["fuse", *(str(tmp_path / name) for name in ("hsi.tif", "msi.tif", "out.tif"))]
    words += ["--network", str(tmp_path / "RUN" / "best")]
    assert main(words) == 0
    step = read(tmp_path / "out.tif").history[-1]
    assert (step["method"], step["run"]["network"]) == ("network", "feinfn")
    assert json.dumps(step["settings"]["weights"])
    assert main([*words, "--method", "gsa"]) == 2
    assert "--network is a method of its own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ssrnet", "restfnet", "tfnet", "psrt"])
def test_blocks_of_local_networks_equal_the_whole(tmp_path, name):
    torch.manual_seed(0)
    options = {"variant": "uestc"} if name == "ssrnet" else {}
    save_pretrained(create_network(name, hsi_bands=BANDS, msi_bands=MSI_BANDS, **options), tmp_path)
    pair = simulate(scene(180, 212), ratio=4, srf="boxes:2")
    job = {"sensor": pair.sensor, "method": "network"}
    whole, parts = (
        fuse(pair.hsi, pair.msi, settings={"weights": str(tmp_path), "block": block}, **job).data
        for block in (512, 128)
    )
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_tiles_of_a_network_with_blocks_at_multiples_equal_the_whole(tmp_path):
    torch.manual_seed(0)
    save_pretrained(create_network("restfnet", hsi_bands=BANDS, msi_bands=MSI_BANDS), tmp_path / "best")
    pair = simulate(scene(192, 192), ratio=4, srf="boxes:2")
    write(tmp_path / "hsi.tif", pair.hsi)
    write(tmp_path / "msi.tif", pair.msi)
    job = {"sensor": pair.sensor, "method": "network", "settings": {"weights": str(tmp_path / "best")}}
    fuse_tiles(tmp_path / "hsi.tif", tmp_path / "msi.tif", tmp_path / "out.tif", tile=96, **job)
    fused, whole = read(tmp_path / "out.tif"), fuse(pair.hsi, pair.msi, **job)
    assert fused.transform == pair.msi.transform
    np.testing.assert_allclose(fused.data, whole.data, rtol=0, atol=1e-5 * np.abs(whole.data).max())


def test_a_file_of_weights_with_the_name_of_its_network(tmp_path):
    torch.manual_seed(0)
    network = create_network("ssrnet", hsi_bands=BANDS, msi_bands=MSI_BANDS, full_scale=255).eval()
    torch.save({"net": network.state_dict()}, tmp_path / "weights.pth")
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    settings = {"weights": str(tmp_path / "weights.pth"), "network": "ssrnet"}
    job = {"sensor": pair.sensor, "method": "network"}
    fused = fuse(pair.hsi, pair.msi, settings=settings, **job).data
    with torch.no_grad():
        hsi, msi = (torch.from_numpy(cube.data).float()[None] for cube in (pair.hsi, pair.msi))
        expected = network(255 * hsi, 255 * msi)[0].numpy() / 255
    np.testing.assert_allclose(fused, expected, atol=1e-5)
    with pytest.raises(InputError, match="is not part of tfnet"):
        fuse(pair.hsi, pair.msi, settings={**settings, "network": "tfnet"}, **job)
    other = simulate(scene(64, 64), ratio=3.2, srf="boxes:2")
    with pytest.raises(InputError, match=r"is for a whole ratio, the same on both axes, the pair has 3\.2"):
        fuse(other.hsi, other.msi, sensor=other.sensor, method="network", settings=settings)


def test_a_network_for_another_ratio_is_refused(tmp_path):
    save_pretrained(create_network("hsrnet", hsi_bands=BANDS, msi_bands=MSI_BANDS, ratio=8), tmp_path)
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    with pytest.raises(InputError, match="this hsrnet is for the ratio 8, the pair has 4"):
        fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="network", settings={"weights": str(tmp_path)})


def test_displaced_pixels_are_interpolated_to_regular_ones(tmp_path):
    _, settings = trained(tmp_path)
    job = {"method": "network", "settings": settings}
    pair = simulate(scene(), ratio=4, srf="boxes:2")
    expected = fuse(pair.hsi, pair.msi, sensor=pair.sensor, **job).data
    constant = Displacement(np.full((2, 1, 1), 0.4), spacing=(4, 4), origin=(0, 0))
    moved = pair.sensor.replace(phase=(1.1, 1.1), displacement=constant)
    plain = [one.replace(transform=None, crs=None) for one in (pair.hsi, pair.msi)]  # that state no other phase
    np.testing.assert_allclose(fuse(*plain, sensor=moved, **job).data, expected, atol=1e-5)
    field = Displacement(np.random.default_rng(0).uniform(-2, 2, (2, 6, 6)), spacing=(5, 5), origin=(-5, -5))
    displaced = simulate(scene(), ratio=4, srf="boxes:2", displacement=field)
    found, ignored = (
        fuse(displaced.hsi, displaced.msi, sensor=sensor, **job).data for sensor in (displaced.sensor, pair.sensor)
    )
    inner = (..., slice(8, -8), slice(8, -8))
    assert np.abs(found - expected)[inner].mean() < 0.3 * np.abs(ignored - expected)[inner].mean()
