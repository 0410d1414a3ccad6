"""Simulated pairs against literal numpy, where their pixels lie, what their noise and their gaps are."""

import json
import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.scenes.simulate import hr_transform, lr_transform, simulate
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.srf import Srf
from scenes import on_ground

UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)


def image(bands=3, rows=16, cols=20, seed=0):
    return np.random.default_rng(seed).random((bands, rows, cols))


def gaussian_samples(data, sigma, ratio, phase):
    """Gaussian mean around every LR centre, cut at 4 sigma, beyond the border mirrored; loops over all pixels."""
    bands, rows, cols = data.shape
    pad = math.ceil(4 * sigma) + ratio
    padded = np.pad(data, ((0, 0), (pad, pad), (pad, pad)), "symmetric")
    result = np.zeros((bands, rows // ratio, cols // ratio))
    for i in range(rows // ratio):
        for j in range(cols // ratio):
            y, x = phase + ratio * i, phase + ratio * j
            total = 0.0
            for m in range(-pad, rows + pad):
                for n in range(-pad, cols + pad):
                    if max(abs(m - y), abs(n - x)) <= 4 * sigma + 1e-9:
                        weight = math.exp(-((m - y) ** 2 + (n - x) ** 2) / (2 * sigma**2))
                        result[:, i, j] += weight * padded[:, m + pad, n + pad]
                        total += weight
            result[:, i, j] /= total
    return result


@pytest.mark.parametrize("ratio", [2, 3])
def test_mtf_is_a_gaussian_centred_on_the_blocks(ratio):
    data = image(2, 6, 12)
    sigma = ratio * math.sqrt(2 * math.log(1 / 0.3)) / math.pi
    hsi = simulate(data, ratio=ratio, srf="boxes:1").hsi
    np.testing.assert_allclose(hsi.data, gaussian_samples(data, sigma, ratio, (ratio - 1) / 2), atol=1e-12)


@pytest.mark.parametrize("ratio", [4, 8])
def test_uestc_is_a_small_gaussian_round_the_border_sampled_at_half_the_ratio(ratio):
    data = image(2, 16, 24)
    kernel = np.outer(*[np.exp(-0.5 * (np.arange(-1, 2) / 0.5) ** 2)] * 2)
    blurred = np.stack([correlate(band, kernel / kernel.sum(), mode="wrap") for band in data])
    hsi = simulate(data, ratio=ratio, preset="uestc", srf="boxes:1").hsi
    np.testing.assert_allclose(hsi.data, blurred[:, ratio // 2 :: ratio, ratio // 2 :: ratio], atol=1e-12)


@pytest.mark.parametrize("ratio", [4, 5, 8])
def test_dhif_is_the_circular_convolution_of_its_authors(ratio):
    """A kernel of ratio x ratio, its index ratio // 2 at the origin, by FFT; first sample at ratio // 2 - 1."""
    data = image(2, 2 * ratio, 3 * ratio)
    at = np.arange(ratio) - (ratio - 1) / 2
    kernel = np.outer(*[np.exp(-0.5 * (at / 2) ** 2)] * 2)
    placed = np.zeros(data.shape[1:])
    placed[:ratio, :ratio] = kernel / kernel.sum()
    placed = np.roll(placed, (-(ratio // 2), -(ratio // 2)), (0, 1))
    blurred = np.fft.ifft2(np.fft.fft2(data) * np.fft.fft2(placed)).real
    hsi = simulate(data, ratio=ratio, preset="dhif", srf="boxes:1").hsi
    np.testing.assert_allclose(hsi.data, blurred[:, ratio // 2 - 1 :: ratio, ratio // 2 - 1 :: ratio], atol=1e-12)


def test_the_psf_and_phase_of_the_call_take_the_place_of_the_presets():
    data = image(2, 6, 9)
    pair = simulate(data, ratio=3, psf="sigma:0.8", phase=0, srf="boxes:1")
    np.testing.assert_allclose(pair.hsi.data, gaussian_samples(data, 0.8, 3, 0), atol=1e-12)
    assert pair.sensor.offset == (0, 0)
    boxes = simulate(data, ratio=3, psf="box", srf="boxes:1").hsi.data
    np.testing.assert_allclose(boxes, data.reshape(2, 2, 3, 3, 3).mean((2, 4)), atol=1e-12)


def test_the_msi_is_the_responses_times_the_spectra():
    srf = Srf([[0.2, 0.3, 0.5], [1, 0, 0]], names=("broad", "blue"), wavelengths=[500, 450], fwhm=[90, 20])
    data = image(3)
    msi = simulate(data, ratio=2, srf=srf).msi
    np.testing.assert_allclose(msi.data, np.einsum("mb,brc->mrc", srf.matrix, data), atol=1e-12)
    assert (msi.band_names, msi.wavelengths.tolist(), msi.fwhm.tolist()) == (("broad", "blue"), [500, 450], [90, 20])


@pytest.mark.parametrize(
    ("ratio", "size", "lr", "cropped"),
    [
        (4, (18, 23), (4, 5), (16, 20)),
        ((4, 2), (18, 23), (4, 11), (16, 22)),
        (2.5, (16, 20), (6, 8), (15, 20)),
        (3.2, (16, 20), (5, 6), (16, 20)),  # 6 LR pixels are 19.2 columns, which take 20
        (1, (5, 7), (5, 7), (5, 7)),
        (3.333334, (10, 17), (3, 5), (10, 17)),  # 10/3 as it is printed: no eleventh row
    ],
)
def test_the_reference_is_cut_to_whole_lr_pixels(ratio, size, lr, cropped):
    data = image(2, *size)
    pair = simulate(data, ratio=ratio, srf="boxes:1")
    assert pair.hsi.data.shape[1:] == lr
    assert pair.reference.data.shape[1:] == pair.msi.data.shape[1:] == cropped
    np.testing.assert_array_equal(pair.reference.data, data[:, : cropped[0], : cropped[1]])


ratios = st.floats(1, 9) | st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-50, 50)] * 6), st.tuples(ratios, ratios), st.tuples(st.floats(-1, 5), st.floats(-1, 5)))
def test_an_lr_centre_lies_at_phase_plus_ratio_times_its_index(transform, ratio, phase):
    transform = Affine(*transform)
    sensor = create_sensor("mtf", ratio).replace(phase=phase)
    coarse = lr_transform(transform, sensor)
    for i, j in ((0, 0), (2, 5)):
        # Position 0 is the centre of the first HR pixel, which is half a pixel from its corner.
        hr = on_ground(transform, phase[1] + ratio[1] * j + 0.5, phase[0] + ratio[0] * i + 0.5)
        assert on_ground(coarse, j + 0.5, i + 0.5) == pytest.approx(hr, abs=1e-9)
    assert hr_transform(coarse, sensor) == pytest.approx(transform, abs=1e-9)


def test_blocks_keep_the_corner_of_the_image():
    pair = simulate(Cube(data=image(), transform=UTM, crs="EPSG:32633"), ratio=4, srf="boxes:1")
    assert pair.hsi.transform == Affine(40, 0, 600000, 0, -40, 4e6)
    assert pair.msi.transform == pair.reference.transform == Affine(*UTM)
    assert pair.hsi.crs == pair.msi.crs == "EPSG:32633"
    assert lr_transform(None, pair.sensor) is hr_transform(None, pair.sensor) is None
    assert simulate(image(), ratio=4, srf="boxes:1").hsi.transform is None


@pytest.mark.parametrize(("hsi_snr_db", "msi_snr_db"), [(30, None), (None, 35), (20, 40)])
def test_noise_has_the_ratio_asked_for_in_every_band(hsi_snr_db, msi_snr_db):
    data = image(3, 160, 160) * np.array([0.01, 1, 500])[:, None, None]
    clean = simulate(data, ratio=2, srf="boxes:2")
    noisy = simulate(data, ratio=2, srf="boxes:2", hsi_snr_db=hsi_snr_db, msi_snr_db=msi_snr_db)
    for one, other, snr_db in ((clean.hsi, noisy.hsi, hsi_snr_db), (clean.msi, noisy.msi, msi_snr_db)):
        noise = other.data - one.data
        if snr_db is None:
            assert not noise.any()
            continue
        measured = 10 * np.log10((one.data**2).mean((1, 2)) / (noise**2).mean((1, 2)))
        np.testing.assert_allclose(measured, snr_db, atol=0.4)
        assert (np.abs(noise.mean((1, 2))) < 4 * noise.std((1, 2)) / math.sqrt(noise[0].size)).all()
        flat = noise.reshape(len(noise), -1)
        assert np.abs(np.corrcoef(flat) - np.eye(len(noise))).max() < 0.05
        assert abs((noise[:, 1:] * noise[:, :-1]).mean() / (noise**2).mean()) < 0.05


def test_the_seed_decides_the_noise():
    def noisy(seed):
        pair = simulate(image(), ratio=2, srf="boxes:2", hsi_snr_db=30, msi_snr_db=30, seed=seed)
        return np.concatenate([pair.hsi.data.ravel(), pair.msi.data.ravel()])

    np.testing.assert_array_equal(noisy(5), noisy(5))
    assert (noisy(5) != noisy(6)).all()


def with_gaps(data, valid, garbage=np.nan):
    return Cube(data=np.where(valid, data, garbage), valid=valid)


def test_gaps_of_the_reference_are_gaps_of_the_msi():
    valid = np.random.default_rng(1).random((3, 12, 12)) > 0.1
    msi = simulate(with_gaps(image(3, 12, 12), valid), ratio=3, srf="boxes:2").msi
    np.testing.assert_array_equal(msi.valid, np.broadcast_to(valid.all(0), (2, 12, 12)))


def test_an_lr_pixel_is_the_mean_of_what_its_psf_sees_and_a_gap_below_half():
    valid = np.ones((2, 6, 9), bool)
    valid[0, :3, :2] = False  # a third of the first block remains
    valid[0, 3:, 3] = False  # two thirds of the fifth remain
    data = image(2, 6, 9)
    hsi = simulate(with_gaps(data, valid), ratio=3, psf="box", srf="boxes:1").hsi
    assert np.argwhere(~hsi.valid).tolist() == [[0, 0, 0]]
    assert hsi.data[0, 1, 1] == pytest.approx(data[0, 3:, 4:6].mean())
    assert hsi.data[1, 0, 0] == pytest.approx(data[1, :3, :3].mean())


@pytest.mark.parametrize("preset", ["mtf", "uestc", "dhif"])
def test_a_constant_scene_stays_constant_around_its_gaps(preset):
    valid = np.random.default_rng(2).random((3, 16, 16)) > 0.3
    pair = simulate(with_gaps(np.full((3, 16, 16), 0.7), valid), ratio=4, preset=preset, srf="boxes:2")
    for cube in (pair.hsi, pair.msi):
        assert cube.valid is not None
        np.testing.assert_allclose(cube.data[cube.valid], 0.7, atol=1e-12)


@pytest.mark.parametrize("garbage", [np.inf, -np.inf, 1e30, -9999.0])
def test_what_stands_in_a_gap_does_not_matter(garbage):
    valid = np.random.default_rng(3).random((3, 12, 12)) > 0.2
    options = {"ratio": 3, "srf": "boxes:2", "hsi_snr_db": 30, "msi_snr_db": 30}
    one, other = (simulate(with_gaps(image(3, 12, 12), valid, value), **options) for value in (np.nan, garbage))
    np.testing.assert_array_equal(one.hsi.data, other.hsi.data)
    np.testing.assert_array_equal(one.msi.data, other.msi.data)


EMPTY = Cube(
    data=np.where(np.arange(5)[:, None, None] == 2, np.nan, image(5, 8, 8)),
    valid=np.broadcast_to(np.arange(5)[:, None, None] != 2, (5, 8, 8)),
)
BAD = Cube(data=np.where(np.arange(5)[:, None, None] == 2, 1e6, image(5, 8, 8)), good_bands=[1, 1, 0, 1, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("srf", ["boxes:2", Srf([[0.25, 0.5, 0.25, 0, 0], [0, 0, 0, 0.5, 0.5]])])
@pytest.mark.parametrize("cube", [EMPTY, BAD], ids=["empty", "bad"])
def test_unusable_bands_have_no_part_in_the_msi(cube, srf):
    pair = simulate(cube, ratio=2, srf=srf)
    assert not pair.sensor.srf.matrix[:, 2].any()
    if isinstance(srf, Srf):  # the weights of the others make up
        np.testing.assert_allclose(pair.sensor.srf.matrix[0], [1 / 3, 2 / 3, 0, 0, 0])
    rest = np.array([0, 1, 3, 4])
    expected = np.einsum("mb,brc->mrc", pair.sensor.srf.matrix[:, rest], cube.data[rest])
    np.testing.assert_allclose(pair.msi.data, expected, atol=1e-12)
    np.testing.assert_array_equal(pair.hsi.usable_bands, cube.usable_bands)
    np.testing.assert_array_equal(pair.hsi.empty_bands, cube.empty_bands)


def test_metadata_goes_along():
    cube = Cube(
        data=image(3, 8, 8),
        wavelengths=[450, 650, 550],
        fwhm=[10, 11, 12],
        good_bands=[True, True, False],
        band_names=("a", "b", "c"),
        crs="EPSG:32633",
        transform=UTM,
        nodata=-1.0,
        units="reflectance",
        scale=1e-4,
        offset=-0.1,
        attributes={"sensor": "EnMAP"},
        history=({"step": "read"},),
    )
    hsi, msi, sensor, _ = simulate(cube, ratio=2, preset="uestc", srf="boxes:2", hsi_snr_db=40, seed=9)
    for name in ("crs", "nodata", "units", "scale", "offset", "attributes"):
        assert getattr(hsi, name) == getattr(msi, name) == getattr(cube, name), name
    for name in ("wavelengths", "fwhm", "good_bands", "band_names"):
        np.testing.assert_array_equal(getattr(hsi, name), getattr(cube, name))
    assert msi.wavelengths.tolist() == [450, 650]
    for made, snr_db in ((hsi, 40), (msi, None)):
        read, step = made.history
        assert read == {"step": "read"}
        assert (step["step"], step["preset"], step["srf"], step["seed"]) == ("simulate", "uestc", "boxes:2", 9)
        assert (step["ratio"], step["phase"], step["psf"]["sigma"]) == ([2, 2], list(sensor.offset), [0.5, 0.5])
        assert step["snr_db"] == snr_db
        assert json.loads(json.dumps(step)) == step


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        (image(), {"srf": None}, "needs spectral responses"),
        (image(), {"preset": "uetsc"}, "did you mean 'uestc'"),
        (image(), {"preset": "uestc", "ratio": 2.5}, "use mtf"),
        (image(), {"ratio": 0.5}, "a ratio is 1 or more, got 0.5"),
        (image(), {"ratio": 40}, "holds no LR pixel"),
        (image(), {"hsi_snr_db": -1e9}, "hsi_snr_db=-1e+09 is no SNR in dB, which is -100 or more"),
        (image(), {"msi_snr_db": float("nan")}, "msi_snr_db=nan is no SNR in dB"),
        (image(), {"psf": "sigma"}, "no PSF 'sigma'"),
        (image(), {"srf": "boxes:9"}, "9 boxes cannot be cut from 3 usable bands"),
        (image(), {"srf": Srf([[0.5, 0.5]])}, "for 2 bands, the reference has 3"),
        (BAD, {"srf": Srf([[1, 0, 0, 0, 0], [0, 0.4, 0.6, 0, 0]], names=("a", "b"))}, "response of MSI band 'b'"),
        (Cube(data=np.full((2, 8, 8), np.nan), valid=np.zeros((2, 8, 8), bool)), {}, "holds no usable band"),
        (Cube(data=image(2), good_bands=[False, False]), {}, "holds no usable band"),
        (np.full((2, 8, 8), np.nan), {}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_simulated_is_reported(reference, options, message):
    with pytest.raises(InputError) as error:
        simulate(reference, **{"ratio": 2, "srf": "boxes:1", **options})
    assert message in str(error.value)
