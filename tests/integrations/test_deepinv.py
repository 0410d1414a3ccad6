"""Physics and reconstructors of deepinv; ``make peers`` installs it next to this environment."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

import hyperfuse as hf
from scenes import gaussian_responses, patches_of_materials

needs_peer = pytest.mark.skipif(
    not (Path(__file__).parents[2] / ".peers" / "deepinv").is_dir(), reason="make peers installs deepinv"
)


def sensor(ratio=3.2, bands=8):
    return hf.create_sensor("mtf", ratio, gaussian_responses(3, bands))


@pytest.fixture(scope="module")
def truth():
    return torch.from_numpy(patches_of_materials(8, 48, 64)).float()[None]


def test_without_deepinv_the_module_says_what_is_missing():
    code = (
        "import sys; sys.modules['deepinv'] = None\n"
        "import hyperfuse as hf\n"
        "from hyperfuse.integrations.deepinv import FusionPhysics, FusionReconstructor\n"
        "for make in (FusionReconstructor, lambda: FusionPhysics(hf.create_sensor('mtf', 2), (1, 8, 8))):\n"
        "    try: make()\n"
        "    except hf.MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.splitlines()
        == ["hyperfuse.integrations.deepinv needs the package deepinv: pip install 'hyperfuse[deepinv]'"] * 2
    )


OWN_KERNEL = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)


@needs_peer
@pytest.mark.parametrize("ratio", [4, 3.2])
def test_the_physics_is_that_of_the_sensor_with_an_exact_adjoint(peer, truth, ratio):
    model = sensor(ratio)
    physics = peer.FusionPhysics(model, (8, 48, 64))
    y = physics(truth)
    torch.testing.assert_close(y[0], model.degrade(truth))
    torch.testing.assert_close(y[1], model.respond(truth))
    assert float(physics.adjointness_test(truth.double(), num_samples=3)) < 1e-12
    assert float(physics.adjointness_test(truth, num_samples=3)) < 1e-4
    found = physics.A_dagger(y)
    again = physics.A(found)
    assert all(torch.linalg.norm(a - b) < 1e-3 * torch.linalg.norm(b) for a, b in zip(again, y, strict=True))


@needs_peer
def test_the_norm_is_the_largest_singular_value(peer):
    physics = peer.FusionPhysics(sensor(2, bands=4), (4, 8, 10))
    matrix = torch.func.jacrev(lambda x: physics.A(x.reshape(1, 4, 8, 10)).flatten())(torch.zeros(320))
    norm = physics.compute_sqnorm(torch.rand(1, 4, 8, 10), tol=1e-8, max_iter=1000, verbose=False)
    assert float(norm) == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)) ** 2, rel=1e-3)


@needs_peer
def test_noise_models_are_passed_through_and_physics_can_be_copied(peer, truth):
    import deepinv

    noise = deepinv.physics.GaussianNoise(0.1), deepinv.physics.PoissonNoise(0.01)
    physics = peer.FusionPhysics(sensor(4), (8, 48, 64), noise_hsi=noise[0], noise_msi=noise[1], max_iter=7, tol=1e-2)
    clean = physics.A(truth)
    assert 0.05 < float((physics(truth)[0] - clean[0]).std()) < 0.2
    assert physics[1].noise_model is noise[1]
    assert (physics.max_iter, physics.tol, physics.solver) == (7, 1e-2, "lsqr")
    torch.testing.assert_close(physics.clone().A(truth)[0], clean[0])
    with pytest.raises(hf.InputError, match="takes no tolerance="):
        peer.FusionPhysics(sensor(4), (8, 48, 64), tolerance=1)
    with pytest.raises(hf.InputError, match="for 8 bands, img_size has 5"):
        peer.FusionPhysics(sensor(4), (5, 48, 64))
    with pytest.raises(hf.InputError, match="no spectral responses"):
        peer.FusionPhysics(sensor(4).replace(srf=None), (8, 48, 64))


@needs_peer
@pytest.mark.parametrize("padding", ["circular", "valid"])
@pytest.mark.parametrize("kernel", ["gaussian", "bilinear", "bicubic", None, OWN_KERNEL])
@pytest.mark.parametrize("factor", [2, 3])
def test_a_pansharpening_is_the_same_operator(peer, truth, padding, kernel, factor):
    import deepinv

    given = kernel / kernel.sum() if isinstance(kernel, torch.Tensor) else kernel
    theirs = deepinv.physics.Pansharpen((8, 48, 64), filter=given, factor=factor, padding=padding)
    ours = peer.from_pansharpen(theirs)
    for one, other in zip(ours.A(truth), theirs.A(truth), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@needs_peer
def test_a_pansharpening_that_has_no_operator_here_is_refused(peer):
    import deepinv

    theirs = deepinv.physics.Pansharpen((8, 48, 64), filter="gaussian", padding="reflect")
    with pytest.raises(hf.InputError, match="the border 'reflect' of the physics has no operator here"):
        peer.from_pansharpen(theirs)
    with pytest.raises(hf.InputError, match="physics is a Decolorize, no Pansharpen"):
        peer.from_pansharpen(deepinv.physics.Decolorize())


@needs_peer
@pytest.mark.parametrize("method", ["gsa", "cnmf"])
def test_a_reconstructor_gives_what_fuse_gives(peer, truth, method):
    model = sensor(4)
    physics = peer.FusionPhysics(model, (8, 48, 64))
    y = physics(torch.cat([truth, truth.flip(-1)]))
    found = peer.FusionReconstructor(method)(y, physics)
    for image, low, high in zip(found, y[0], y[1], strict=True):
        np.testing.assert_array_equal(image, hf.fuse(low, high, method=method, sensor=model).data)
    blind = peer.FusionReconstructor(method)(y)
    np.testing.assert_array_equal(blind[0], hf.fuse(y[0][0], y[1][0], method=method, align=False).data)
    with pytest.raises(hf.InputError, match="two tensors, HSI and MSI"):
        peer.FusionReconstructor(method)(y[0], physics)
    with pytest.raises(hf.InputError, match="physics is a HsiDegradation"):
        peer.FusionReconstructor(method)(y, physics[0])


@needs_peer
def test_pairs_of_the_nbu_data_set_are_fused(peer, tmp_path, monkeypatch):
    from deepinv.datasets import NBUDataset

    image = np.moveaxis(patches_of_materials(4, 64, 64), 0, 2)
    low = image.reshape(16, 4, 16, 4, 4).mean(axis=(1, 3))
    folder = tmp_path / "NBU" / "gaofen-1"
    for name, variable, values in (("MS_256", "imgMS", low), ("PAN_1024", "imgPAN", image.mean(axis=2))):
        (folder / name).mkdir(parents=True)
        scipy.io.savemat(folder / name / "1.mat", {variable: (values * 1023).astype(np.uint16)})
    monkeypatch.setattr(NBUDataset, "check_dataset_exists", lambda self: True)
    pair = NBUDataset(tmp_path / "NBU", satellite="gaofen-1", return_pan=True)[0]
    fused = peer.FusionReconstructor("gsa")(pair)
    assert fused.shape == (4, 64, 64)
    np.testing.assert_array_equal(fused, hf.fuse(pair[0], pair[1], method="gsa", align=False).data)
