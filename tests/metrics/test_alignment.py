import numpy as np
import pytest

from hyperfuse import metrics
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.metrics import evaluate
from hyperfuse.metrics.alignment import align_images, locate

WAVELENGTHS = [450.0, 550.0, 650.0, 850.0]
TRANSFORM = (30, 0, 600_000, 0, -30, 5_000_000)


def image(**changes):
    """An image of 4 bands, 20 x 24 pixels of 30 m, that tells every row, column and band apart."""
    data = np.random.default_rng(0).random((4, 20, 24)).astype(np.float32)
    fields = {"data": data, "wavelengths": WAVELENGTHS, "transform": TRANSFORM, "crs": "EPSG:32633"}
    return Cube(**{**fields, **changes})


def score(fused, reference=None, **options):
    return evaluate(reference or image(), fused, 4, **options)


def south_up(cube):
    valid = None if cube.valid is None else cube.valid[:, ::-1]
    return cube.replace(data=cube.data[:, ::-1], valid=valid, transform=(30, 0, 600_000, 0, 30, 5_000_000 - 30 * 20))


def east_to_west(cube):
    return cube.replace(data=cube.data[:, :, ::-1], transform=(-30, 0, 600_000 + 30 * 24, 0, -30, 5_000_000))


def transposed(cube):
    return cube.replace(data=cube.data.swapaxes(1, 2), transform=(0, 30, 600_000, -30, 0, 5_000_000))


def rotated_by_90_degrees(cube):
    # Row r of the turned array is column 23 - r of the image.
    return cube.replace(data=np.rot90(cube.data, 1, (1, 2)), transform=(0, -30, 600_000 + 30 * 24, -30, 0, 5_000_000))


@pytest.mark.parametrize("stored", [south_up, east_to_west, transposed, rotated_by_90_degrees])
def test_images_in_another_orientation_are_the_same_image(stored):
    with pytest.warns(HyperfuseWarning, match="rotated|flipped"):
        scores = score(stored(image()))
    assert scores["psnr_db"] == np.inf
    with pytest.warns(HyperfuseWarning, match="rotated|flipped"):
        assert score(image(), stored(image()))["psnr_db"] == np.inf
    assert any(word in scores["notes"][0] for word in ("rotated", "flipped"))


def test_gaps_and_mask_follow_the_orientation():
    valid = np.ones((4, 20, 24), np.bool_)
    valid[:, :2] = False
    mask = np.ones((20, 24), np.bool_)
    mask[2:5] = False
    spoilt = image().data.copy()
    spoilt[:, 2:5] = 0.5
    with pytest.warns(HyperfuseWarning):
        scores = score(south_up(image(data=spoilt, valid=valid)), mask=mask)
    assert scores["psnr_db"] == np.inf
    assert scores["pixels_left_out"] == 5 * 24


def test_bands_in_another_order_are_matched_by_wavelength():
    with pytest.warns(HyperfuseWarning, match="bands of the fused image were put in the order of the reference"):
        assert score(image().select_bands([2, 0, 3, 1]))["psnr_db"] == np.inf
    named = {"wavelengths": None, "band_names": ("B2", "B3", "B4", "B8")}
    with pytest.warns(HyperfuseWarning, match="by name"):
        assert score(image(**named).select_bands([2, 0, 3, 1]), image(**named))["psnr_db"] == np.inf


def test_bands_that_one_image_lacks_are_left_out_and_counted():
    with pytest.warns(HyperfuseWarning, match="only the reference has were left out: 550 nm"):
        scores = score(image().select_bands([0, 2, 3]))
    assert (scores["psnr_db"], scores["bands_used"], scores["bands_left_out"]) == (np.inf, 3, 1)
    with pytest.warns(HyperfuseWarning, match="only the fused image has were left out: 450 nm, 850 nm"):
        assert score(image(), image().select_bands([2, 1]))["bands_used"] == 2


def test_bands_of_one_wavelength_stay_in_order():
    twice = {"wavelengths": [450, 550, 550, np.nan]}
    assert score(image(**twice), image(**twice))["psnr_db"] == np.inf
    assert score(image(**twice), image(**twice))["notes"] == ()


def test_rounded_wavelengths_are_the_same():
    assert score(image(wavelengths=[450.4, 549.7, 650, 850]))["psnr_db"] == np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": (30, 0, 600_000 + 150, 0, -30, 5_000_000)}, "shifted.* 0 rows and 5 columns"),
        ({"transform": (30, 0, 600_000, 0, -30, 5_000_000 + 480 * 30)}, "do not overlap"),
        ({"transform": (30, 0, 600_012, 0, -30, 5_000_000)}, "fraction of a pixel"),
        ({"transform": (20, 0, 600_000, 0, -20, 5_000_000)}, "other grids .pixels of 30 and 20"),
        ({"transform": (30.1, 0, 600_000, 0, -30.1, 5_000_000)}, "pixels of 30 and 30.1"),
        ({"transform": (26, 15, 600_000, 15, -26, 5_000_000)}, "other grids"),
        ({"crs": "EPSG:32634"}, "other coordinate systems .EPSG:32633 and EPSG:32634"),
        ({"wavelengths": [950, 1050, 1150, 1250]}, "no band in common"),
        ({"data": image().data * 10_000}, "10000 times those of the reference; read the fused image with scale=0.0001"),
        ({"data": image().data / 255}, "read the reference with scale"),
    ],
)
def test_other_grids_bands_and_units_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        score(image(**changes))


def test_a_smaller_image_is_compared_over_its_extent():
    with pytest.warns(HyperfuseWarning, match="the reference was cut to the extent of the fused image"):
        scores = score(image().crop(3, 4, 12, 16))
    assert (scores["psnr_db"], scores["pixels"]) == (np.inf, 12 * 16)
    with pytest.warns(HyperfuseWarning, match="the fused image was cut to the extent of the reference"):
        assert score(south_up(image()), image().crop(3, 4, 12, 16))["psnr_db"] == np.inf
    with pytest.raises(InputError, match="24 columns, 4 bands, the fused image 12 rows"):
        score(image(transform=None).crop(3, 4, 12, 16))


def test_what_one_image_does_not_state_is_compared_as_it_is():
    with pytest.warns(HyperfuseWarning, match="the fused image has no georeference"):
        assert score(image(transform=None, crs=None, wavelengths=None))["psnr_db"] == np.inf
    plain = Cube(data=image().data)
    assert score(plain, plain)["notes"] == ()
    # Arrays state nothing: another scale of one is a matter of its values.
    assert evaluate(image().data, image().data * 1e4, 4, peak=1.0, clip=False)["psnr_db"] < -70


def test_a_window_of_the_grid_is_found_in_the_image_as_it_is_stored():
    for stored in (south_up, east_to_west, transposed, rotated_by_90_degrees):
        other = stored(image())
        placement, _ = locate(image().header, other.header)
        part = placement.within(Window(2, 3, 4, 5))
        np.testing.assert_array_equal(
            placement.orient(other.crop(*part).data), image().crop(2, 3, 4, 5).data, err_msg=stored.__name__
        )


def test_transforms_that_are_rounded_are_one_grid():
    rounded = (30 + 1e-6, 0, 600_000.4, 0, -30, 5_000_000)
    aligned = align_images(image(), image(transform=rounded))
    assert aligned.notes == ()


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.sam_degrees, metrics.ssim, metrics.rmse_per_band])
def test_a_single_metric_refuses_cubes_that_have_to_be_aligned(metric):
    metric(image(), image())
    metric(image().data, south_up(image()).data)
    for other in (south_up(image()), image().select_bands([2, 0, 3, 1])):
        with pytest.raises(InputError, match=r"hyperfuse\.evaluate"):
            metric(image(), other)
    with pytest.raises(InputError, match="other coordinate systems"):
        metric(image(), image(crs="EPSG:32634"))
