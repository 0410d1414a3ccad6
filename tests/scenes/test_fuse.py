"""The pipeline behind ``fuse``: what a method is given, what its result carries, and that it is worth its cost."""

import json

import numpy as np
import pytest
import torch
from affine import Affine
from scipy.ndimage import distance_transform_edt, gaussian_filter

import hyperfuse
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods.contract import registry
from hyperfuse.methods.contract.method import Capabilities, MethodSettings
from hyperfuse.methods.contract.registry import register_method
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.srf import Srf
from scenes import patches_of_materials

UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)
CHEAP = ["bicubic", "regression", "local-regression", "gsa", "mtf-glp-hs"]
INFORMED = CHEAP[1:]


def scene(bands=16, rows=48, cols=56, seed=0):
    """Fields with sharp edges and texture, spectra of five materials with shadow and sun, in (0, 1]."""
    rng = np.random.default_rng(seed)
    land = gaussian_filter(rng.normal(size=(5, rows, cols)), (0, 3, 3)).argmax(0)
    abundances = np.stack([gaussian_filter((land == k).astype(float), 0.6) for k in range(5)])
    light = 1 + 0.5 * gaussian_filter(rng.normal(size=(rows, cols)), 1.5)
    spectra = 0.2 + np.abs(gaussian_filter(rng.normal(size=(bands, 5)), (2, 0)))
    haze = gaussian_filter(rng.normal(size=(bands, rows, cols)), (3, 8, 8))
    image = np.einsum("bk,krc->brc", spectra, abundances) * light + 0.2 * haze
    return np.clip(image / image.max(), 1e-3, 1)


def full_cube(**changes):
    fields = {
        "data": scene(),
        "wavelengths": np.linspace(1000, 400, 16),
        "fwhm": np.full(16, 12.0),
        "band_names": tuple(f"b{n}" for n in range(16)),
        "transform": UTM,
        "crs": "EPSG:32633",
        "units": "reflectance",
        "scale": 1e-4,
        "attributes": {"sensor": "EnMAP"},
        "history": ({"step": "read"},),
    }
    return Cube(**{**fields, **changes})


@pytest.fixture(scope="module")
def pair():
    return simulate(full_cube(), ratio=4, srf="boxes:4")


def error(fused, reference, where=...):
    return float(np.sqrt(np.mean((fused - reference)[:, where] ** 2)))


@pytest.fixture
def spy(monkeypatch):
    """A method that keeps what it was given and answers with the bicubic image."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    calls = []

    class SpySettings(MethodSettings):
        seed: int = -1
        answer: str | None = None

    @register_method(
        "spy",
        settings=SpySettings,
        summary="spy",
        reference="none",
        cost="seconds",
        capabilities=Capabilities(seed=True),
    )
    def run(hsi, msi, sensor, settings, progress):
        calls.append((hsi, msi, sensor, settings))
        progress(1.0, "spied")
        image = sensor.upsample(hsi, (msi.shape[-2], msi.shape[-1]))
        return image if settings.answer is None else torch.full_like(image, float(settings.answer))

    return calls


# ---- worth its cost


@pytest.mark.parametrize("preset", ["mtf", "uestc", "dhif"])
@pytest.mark.parametrize("method", INFORMED)
def test_a_simulated_pair_is_fused_far_better_than_interpolated(preset, method):
    hsi, msi, sensor, reference = simulate(full_cube(), ratio=4, preset=preset, srf="boxes:4")
    bicubic, fused = (fuse(hsi, msi, sensor=sensor, method=name) for name in ("bicubic", method))
    assert fused.data.shape == reference.data.shape
    factor = 0.4 if method == "gsa" else 0.3
    assert error(fused.data, reference.data) < factor * error(bicubic.data, reference.data)


@pytest.mark.parametrize("method", INFORMED)
def test_a_panchromatic_image_is_an_msi_of_one_band(method):
    hsi, msi, sensor, reference = simulate(full_cube(), ratio=4, srf="boxes:1")
    bicubic, fused = (fuse(hsi, msi, sensor=sensor, method=name) for name in ("bicubic", method))
    assert error(fused.data, reference.data) < 0.8 * error(bicubic.data, reference.data)


@pytest.mark.parametrize("method", CHEAP)
def test_ratio_and_place_come_from_the_transforms_and_cut_pairs_stay_in_place(pair, method):
    hsi, msi, _, reference = pair
    fused = fuse(hsi.crop(1, 2, 9, 8), msi.crop(0, 0, 41, 50), method=method)
    assert fused.transform == reference.crop(4, 8, 1, 1).transform
    assert fused.data.shape == (16, 36, 32)
    whole = fuse(hsi, msi, method=method)
    inner = np.s_[:, 8:-8, 8:-8]
    truth = reference.crop(4, 8, 36, 32)
    assert error(fused.data[inner], truth.data[inner]) < 1.3 * error(
        whole.crop(4, 8, 36, 32).data[inner], truth.data[inner]
    )


@pytest.mark.usefixtures("quick")
def test_the_same_pair_gives_the_same_image_in_any_type_and_unit(pair):
    hsi, msi, sensor, _ = pair
    assert hsi.data.dtype == np.float64
    fused = fuse(hsi, msi, sensor=sensor)
    assert fused.data.dtype == np.float32
    np.testing.assert_array_equal(fuse(hsi, msi, sensor=sensor).data, fused.data)
    single = [cube.replace(data=cube.data.astype(np.float32)) for cube in (hsi, msi)]
    np.testing.assert_array_equal(fuse(*single, sensor=sensor).data, fused.data)
    digital = [cube.replace(data=cube.data * 1e4) for cube in (hsi, msi)]
    np.testing.assert_allclose(fuse(*digital, sensor=sensor).data / 1e4, fused.data, atol=1e-4)


# ---- gaps


def with_gaps(pair, garbage=np.nan):
    hsi, msi, sensor, reference = pair
    hsi_valid, msi_valid = np.ones(hsi.data.shape, bool), np.ones(msi.data.shape, bool)
    hsi_valid[:, 2:4, 9:12] = False
    hsi_valid[5, 8, 3] = False
    msi_valid[:, 25:37, 10:23] = False
    msi_valid[2, 40, 50] = False
    low = hsi.replace(data=np.where(hsi_valid, hsi.data, garbage), valid=hsi_valid)
    high = msi.replace(data=np.where(msi_valid, msi.data, garbage), valid=msi_valid)
    return low, high, sensor, reference


def expected_validity(low, high):
    valid = np.repeat(np.repeat(low.valid, 4, 1), 4, 2)  # an HR pixel lies in the LR pixel of its block
    return valid & high.valid.all(0)


@pytest.mark.parametrize("method", CHEAP)
def test_a_gap_in_either_is_a_gap_in_the_result_whatever_stands_in_it(pair, method):
    low, high, sensor, _ = with_gaps(pair)
    fused = fuse(low, high, sensor=sensor, method=method)
    np.testing.assert_array_equal(fused.valid, expected_validity(low, high))
    assert np.isnan(fused.nodata)
    for garbage in (0.5, -9999.0, np.inf):
        low, high, _, _ = with_gaps(pair, garbage)
        np.testing.assert_array_equal(fuse(low, high, sensor=sensor, method=method).data, fused.data)


@pytest.mark.parametrize("method", CHEAP)
def test_no_other_pixel_suffers_from_gaps(pair, method):
    low, high, sensor, reference = with_gaps(pair)
    whole = fuse(*pair[:2], sensor=sensor, method=method).data
    fused = fuse(low, high, sensor=sensor, method=method)
    seen = fused.valid.all(0)
    border = seen & (distance_transform_edt(seen) < 6)
    for where, factor in ((seen, 1.05), (border, 1.35)):
        assert error(fused.data, reference.data, where) < factor * error(whole, reference.data, where)


@pytest.mark.parametrize("method", ["bicubic", "local-regression"])
def test_the_sampling_phase_decides_which_pixels_a_gap_covers(method):
    hsi, msi, sensor, _ = simulate(scene(4, 16, 16), ratio=4, preset="uestc", srf="boxes:2")
    valid = np.ones(hsi.data.shape, bool)
    valid[:, 1, 2] = False
    fused = fuse(hsi.replace(valid=valid), msi, sensor=sensor, method=method)
    # Sample (1, 2) lies at (6, 10) and is the nearest from 4 and 8 on (where another is as near) up to 7 and 11.
    assert np.argwhere(~fused.valid[0]).tolist() == [[i, j] for i in range(4, 8) for j in range(8, 12)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("dtype", [bool, np.uint8, float])
def test_a_mask_is_a_gap_of_the_msi(pair, dtype):
    hsi, msi, sensor, _ = pair
    mask = np.zeros((48, 56), bool)
    mask[10:20, 30:] = True
    masked = fuse(hsi, msi, sensor=sensor, mask=mask.astype(dtype))
    gap = msi.replace(valid=np.broadcast_to(~mask, msi.data.shape))
    np.testing.assert_array_equal(masked.data, fuse(hsi, gap, sensor=sensor).data)
    np.testing.assert_array_equal(masked.valid, np.broadcast_to(~mask, masked.data.shape))


# ---- bands


@pytest.mark.parametrize("method", CHEAP)
def test_bad_and_empty_bands_are_left_out_and_stay_marked(method):
    good = np.ones(16, bool)
    good[3] = False
    data, valid = scene(), np.ones((16, 48, 56), bool)
    data[3] = 1e7  # bad
    valid[[0, 9]] = False  # empty
    hsi, msi, sensor, _ = simulate(full_cube(data=data, valid=valid, good_bands=good), ratio=4, srf="boxes:4")
    fused = fuse(hsi, msi, sensor=sensor, method=method)
    usable = good & valid.all((1, 2))
    np.testing.assert_array_equal(fused.good_bands, usable)
    np.testing.assert_array_equal(fused.empty_bands, ~usable)
    assert fused.valid[usable].all()
    rest = sensor.replace(srf=Srf(sensor.srf.matrix[:, usable]))
    np.testing.assert_array_equal(
        fused.data[usable], fuse(hsi.select_bands(usable), msi, sensor=rest, method=method).data
    )


def test_the_responses_are_those_between_the_bands_that_are_used(pair, spy):
    hsi, msi, _, _ = pair
    matrix = np.eye(4, 16) * 0.75 + np.eye(4, 16, 4) * 0.25
    srf = Srf(matrix, names=tuple("abcd"), wavelengths=[1, 2, 3, 4])
    low = hsi.replace(good_bands=np.arange(16) != 4)
    high = msi.replace(good_bands=[True, False, True, True])
    fuse(low, high, srf=srf, method="spy")
    low_given, high_given, sensor, _ = spy[0]
    assert (len(low_given), len(high_given)) == (15, 3)
    assert (sensor.srf.names, sensor.srf.wavelengths.tolist()) == (("a", "c", "d"), [1, 3, 4])
    np.testing.assert_allclose(sensor.srf.matrix.sum(1), 1)
    assert sensor.srf.matrix[0].tolist() == [1] + [0] * 14  # what fell on the bad band is shared out
    lost = hsi.replace(good_bands=np.arange(16) != 2)
    with pytest.raises(InputError, match="more than half of the response of MSI band 'c' lies on unusable HSI bands"):
        fuse(lost, msi, srf=srf, method="spy")
    with pytest.raises(InputError, match="turn 15 bands into 4; the HSI has 16 and the MSI 4"):
        fuse(low, msi, srf=Srf(np.eye(4, 15)), method="spy")


# ---- metadata


def test_the_result_carries_the_metadata_of_both_and_what_was_done(pair):
    hsi, msi, sensor, _ = pair
    msi = msi.replace(crs="EPSG:32633", attributes={"sensor": "Sentinel-2"})
    fused = fuse(hsi, msi, method="local-regression", sensor=sensor, seed=7, settings={"window": 1.0})
    for name in ("wavelengths", "fwhm", "band_names", "units", "scale", "offset", "attributes", "good_bands", "nodata"):
        np.testing.assert_array_equal(getattr(fused, name), getattr(hsi, name))
    assert (fused.transform, fused.crs, fused.valid) == (Affine(*UTM), "EPSG:32633", None)
    *before, step = fused.history
    assert before == list(hsi.history)
    assert (step["step"], step["method"], step["seed"], step["device"]) == ("fuse", "local-regression", 7, "cpu")
    assert step["settings"] == {"window": 1.0, "ridge": None, "consistency": True}
    assert (step["sensor"]["ratio"], step["sensor"]["srf"]) == ([4, 4], "boxes:4")
    assert (step["version"], step["notes"]) == (hyperfuse.__version__, [])
    assert json.loads(json.dumps(step)) == step


def test_what_was_decided_is_noted(pair):
    hsi, msi, _, _ = pair
    notes = fuse(hsi, msi.crop(0, 0, 48, 40), method="bicubic").history[-1]["notes"]
    assert "HSI cut from 12x14 to 12x10 pixels" in notes
    assert sum("PSF" in note for note in notes) == 1
    assert sum("shift" in note for note in notes) == 1
    assert "no displacement field is taken from the pair: too few pixels to determine a field" in notes
    as_stated = fuse(hsi, msi.crop(0, 0, 48, 40), method="bicubic", align=False).history[-1]["notes"]
    assert not any("shift" in note for note in as_stated)


def test_the_nodata_value_of_the_hsi_is_kept(pair):
    low, high, sensor, _ = with_gaps(pair)
    assert fuse(low.replace(nodata=-9999.0), high, sensor=sensor, method="bicubic").nodata == -9999
    assert fuse(pair.hsi.replace(nodata=-9999.0), pair.msi, sensor=sensor, method="bicubic").nodata == -9999


def test_an_msi_without_georeference_gets_that_of_the_hsi(pair):
    hsi, msi, sensor, _ = pair
    fused = fuse(hsi, msi.replace(transform=None, crs=None), sensor=sensor, method="bicubic", same_ground=True)
    assert fused.crs == "EPSG:32633"
    assert tuple(fused.transform) == pytest.approx(tuple(Affine(*UTM)))
    plain = fuse(hsi.replace(transform=None), msi.replace(transform=None), sensor=sensor, method="bicubic")
    assert (plain.transform, plain.crs) == (None, "EPSG:32633")
    placed = fuse(hsi.replace(transform=None, crs=None), msi, sensor=sensor, method="bicubic", same_ground=True)
    assert (placed.transform, placed.crs) == (Affine(*UTM), "EPSG:32633")


@pytest.mark.parametrize("stated", [{}, {"ratio": 4}, {"psf": "mtf:0.3"}, {"align": False}])
@pytest.mark.parametrize("unknown", ["HSI", "MSI"])
def test_one_position_alone_is_refused_unless_both_cover_the_same_ground(pair, unknown, stated):
    hsi, msi, _, _ = pair
    images = {"HSI": hsi, "MSI": msi}
    images[unknown] = images[unknown].replace(transform=None)
    with pytest.raises(InputError, match=rf"the {unknown} is not, .* pass same_ground=True") as caught:
        fuse(images["HSI"], images["MSI"], method="bicubic", **stated)
    assert caught.value.parameter == "same_ground"
    fused = fuse(images["HSI"], images["MSI"], method="bicubic", same_ground=True, **stated)
    assert fused.transform is not None


@pytest.mark.parametrize("method", ["regression", "gsa", "mtf-glp-hs"])
def test_an_msi_of_8_bits_beside_reflectance_is_scaled_and_reported(pair, method):
    hsi, msi, sensor, _ = pair
    hsi = hsi.replace(data=hsi.data / hsi.data.max())
    coded = msi.replace(data=np.rint(msi.data / msi.data.max() * 255))
    one = fuse(hsi, coded, sensor=sensor, method=method, return_details=True)
    assert len(repr(one)) < 2000
    assert any("another unit: the MSI is divided by" in note for note in one.notes)
    plain = fuse(hsi, coded.replace(data=coded.data / 255), sensor=sensor, method=method)
    np.testing.assert_allclose(one.image.data, plain.data, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("factor", [1e38, 1e-40])
@pytest.mark.parametrize("method", ["gsa", "local-regression", "feinfn"])
def test_values_at_the_ends_of_float32_are_fused_as_any_others(pair, factor, method):
    hsi, msi, sensor, _ = pair
    top = float(max(hsi.data.max(), msi.data.max()))
    job = {"method": method, "sensor": sensor, "settings": {"effort": "fast"} if method == "feinfn" else {}}
    plain = fuse(hsi, msi, **job).data / top
    scaled = [one.replace(data=(one.data / top * np.float64(factor)).astype(np.float32)) for one in (hsi, msi)]
    found = fuse(*scaled, **job).data / np.float64(factor)
    np.testing.assert_allclose(found, plain, atol=2e-3 if factor < 1 else 1e-5)


def test_negative_values_that_a_method_reads_as_0_are_reported(pair):
    hsi, msi, sensor, _ = pair
    data = hsi.data.copy()
    data[:, :2] *= -0.1
    found = fuse(hsi.replace(data=data), msi, sensor=sensor, method="cnmf", return_details=True)
    assert any("of the HSI's values are negative, and cnmf reads them as 0" in note for note in found.notes)
    assert not any(
        "are negative" in note for note in fuse(hsi, msi, sensor=sensor, method="cnmf", return_details=True).notes
    )
    found = fuse(hsi.replace(data=data), msi, sensor=sensor, method="gsa", return_details=True)
    assert not any("are negative" in note for note in found.notes)


# ---- what a method is given


def test_a_method_gets_clean_tensors_its_settings_the_seed_and_a_place_to_report(pair, spy):
    low, high, sensor, _ = with_gaps(pair)
    heard = []
    fuse(
        low,
        high,
        sensor=sensor,
        method="spy",
        seed=3,
        progress=lambda fraction, message="": heard.append((fraction, message)),
    )
    hsi, msi, _, settings = spy[0]
    for tensor in (hsi, msi):
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()
    assert settings.seed == 3
    assert heard == [(0.0, "matching the pair"), (0.0, "filling gaps"), (1.0, "spied")]
    fuse(*pair[:2], method="spy", seed=3, settings={"seed": 5})
    assert spy[1][3].seed == 5


@pytest.mark.parametrize("answer", ["nan", "inf"])
def test_values_that_are_not_finite_are_never_handed_out(pair, spy, answer):
    with pytest.raises(
        InputError, match="the method spy gave values that are not finite; choose another one by method="
    ):
        fuse(*pair[:2], method="spy", settings={"answer": answer})


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "regresion"}, "no method 'regresion'; did you mean 'regression'?"),
        ({"settings": {"step": 1}}, "no setting 'step'; did you mean 'steps'?"),
        ({"settings": {"width": -1}}, "method 'feinfn': width: "),
        ({"device": "cuda:99"}, "the device 'cuda:99' cannot be used here; choose auto, cpu or cuda"),
        ({"device": "quantum"}, "the device 'quantum' cannot be used here"),
        ({"device": "meta"}, "the device 'meta' cannot be used here"),
        ({"mask": np.zeros((3, 3), bool)}, "the mask has 3 x 3 pixels, the MSI 48 x 56"),
        ({"mask": np.ones((48, 56), bool)}, "the mask leaves no pixel of the MSI"),
        ({"ratio": 3}, "the ratio given is 3, that of the pixel sizes is 4"),
        ({"sensor": create_sensor("mtf", 3)}, "the ratio given is 3"),
        ({"srf": "boxes:3"}, "the spectral responses turn 16 bands into 3; the HSI has 16 and the MSI 4"),
        ({"psf": "sigma"}, "no PSF 'sigma'"),
    ],
)
def test_a_call_that_does_not_fit_is_reported_in_one_line(pair, options, message):
    with pytest.raises(InputError) as info:
        fuse(*pair[:2], **options)
    assert message in str(info.value)
    assert "\n" not in str(info.value)


def test_an_overlap_without_data_is_reported(pair):
    hsi, msi, _, _ = pair
    left, right = np.zeros(hsi.data.shape, bool), np.zeros(msi.data.shape, bool)
    left[..., :7] = True
    right[..., 28:] = True
    with pytest.raises(InputError, match="no pixel holds data in both HSI and MSI"):
        fuse(hsi.replace(valid=left), msi.replace(valid=right))
    with pytest.raises(InputError, match="the HSI holds no data where the two images overlap"):
        fuse(hsi.replace(valid=left), msi.crop(0, 28, 48, 28))
    with pytest.raises(InputError, match="the MSI holds no data where the two images overlap"):
        fuse(hsi.crop(0, 0, 12, 7), msi.replace(valid=right))


@pytest.mark.slow
def test_the_default_as_it_ships():
    reference = Cube(data=patches_of_materials(12, 96, 96))
    made = simulate(reference, ratio=4, srf="boxes:3", preset="mtf")
    fused = hyperfuse.fuse(made.hsi, made.msi, sensor=made.sensor)
    local = hyperfuse.fuse(made.hsi, made.msi, sensor=made.sensor, method="local-regression")
    step = fused.history[-1]
    assert step["method"] == "feinfn"
    assert step["settings"]["effort"] == "normal"
    assert step["settings"]["steps"] is None
    # A fit that does not help ends after a third of its 600 steps, at the next validation.
    assert 200 <= step["run"]["steps"] <= 600
    assert error(fused.data, reference.data) < 1.1 * error(local.data, reference.data)
