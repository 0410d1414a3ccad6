"""What the server replies: descriptions, tiles, spectra, limits."""

import numpy as np
import pytest

import hyperfuse as hf
from hyperfuse.io import write
from viewed import picture, smooth

TILE = {"image": 0, "zoom": 0, "col": 0, "row": 0}


def write_all(folder, cube):
    """Write a cube in every format that is written; return the files."""
    names = ["c.tif", "c.img", "c.nc", "c.mat", "c.npz", "c.zarr"]
    for name in names:
        write(folder / name, cube)
    return [folder / name for name in names]


def test_the_description_names_bands_and_positions(serve, cube, coarse):
    found = serve(coarse, cube).get("/api/scene").json()
    hsi, msi = found["images"]
    assert found["plane"] == {"rows": 30, "cols": 40, "crs": "EPSG:32633"}
    assert (hsi["rows"], hsi["cols"], hsi["bands"], hsi["pixel"]) == (7, 9, 20, 4.0)
    assert hsi["corners"] == [[4.0, 0.0], [40.0, 0.0], [40.0, 28.0], [4.0, 28.0]]
    assert msi["good"] == [band != 7 for band in range(12)]
    assert hsi["wavelengths"] == coarse.wavelengths.tolist()
    assert [round(hsi["wavelengths"][band]) for band in hsi["shown"]["bands"]] == [643, 559, 448]


def test_spectra_are_those_of_the_files_in_every_format(serve, cube, tmp_path):
    files = write_all(tmp_path, cube)
    client = serve(*files)
    for col, row in [(0.5, 0.5), (39.9, 29.9), (5.2, 3.9), (17.0, 12.0)]:
        found = client.get("/api/spectra", params={"at": f"{col},{row}"}).json()["spectra"]
        assert [one["image"] for one in found] == list(range(len(files)))
        for one, file in zip(found, files, strict=True):
            expected = hf.read(file).data[:, int(row), int(col)]
            assert (one["row"], one["col"]) == (int(row), int(col))
            np.testing.assert_array_equal(np.array(one["values"], np.float32), expected)


def test_a_position_outside_has_no_spectrum(serve, cube, coarse):
    client = serve(coarse, cube)
    assert client.get("/api/spectra?at=-1,5").json() == {"spectra": []}
    assert [one["image"] for one in client.get("/api/spectra?at=2,5").json()["spectra"]] == [1]
    both = client.get("/api/spectra?at=9,5").json()["spectra"]
    assert [(one["row"], one["col"]) for one in both] == [(1, 1), (5, 9)]
    assert both[0]["values"] == coarse.data[:, 1, 1].tolist()


def test_a_tile_shows_values_between_limits_and_gaps_transparent(serve, cube):
    client = serve(cube)
    band = cube.data[4]
    low, high = float(np.nanmin(band)), float(np.nanmax(band))
    reply = client.get("/api/tile", params={**TILE, "bands": 4, "limits": f"{low},{high}"})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    shown = picture(reply)
    assert shown.shape == (256, 256, 4)
    expected = np.round((np.nan_to_num(band) - low) / (high - low) * 255)
    opaque = np.isfinite(band)
    np.testing.assert_array_equal(shown[:30, :40, 3], np.where(opaque, 255, 0))
    assert not shown[30:, :, 3].any()
    assert np.abs(shown[:30, :40, 0].astype(int) - expected)[opaque].max() <= 1


def test_a_colour_tile_of_a_coarse_image_lies_where_its_coordinates_say(serve, cube, coarse):
    client = serve(coarse, cube)
    values = coarse.data[[9, 5, 1]]
    limits = ",".join(f"{one.min()},{one.max()}" for one in values)
    shown = picture(client.get("/api/tile", params={**TILE, "zoom": 1, "bands": "9,5,1", "limits": limits}))
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    steps = np.round((values - low) / (high - low) * 255)
    expected = np.moveaxis(np.kron(steps, np.ones((1, 8, 8))), 0, -1)  # zoom 1: 8 pixels of the screen per pixel
    assert np.abs(shown[:56, 8:80, :3].astype(int) - expected).max() <= 1
    assert shown[:56, 8:80, 3].all()
    assert not shown[:, :8, 3].any()


def test_an_image_in_another_projection_lies_on_the_same_ground(serve):
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    data = smooth(1, 200, 200)
    plane = hf.Cube(data, transform=(10, 0, 500000, 0, -10, 5000000), crs="EPSG:32633")
    bounds = (500000, 4998000, 502000, 5000000)
    transform, cols, rows = calculate_default_transform("EPSG:32633", "EPSG:4326", 200, 200, *bounds)
    warped = np.full((rows, cols), np.nan, np.float32)
    reproject(
        data[0], warped, src_transform=plane.transform, src_crs="EPSG:32633", src_nodata=np.nan,
        dst_transform=transform, dst_crs="EPSG:4326", dst_nodata=np.nan, resampling=Resampling.nearest,
    )  # fmt: skip
    other = hf.Cube(warped[None], valid=np.isfinite(warped)[None], transform=transform, crs="EPSG:4326")
    client = serve(plane, other)
    params = {**TILE, "bands": 0, "limits": f"{data.min()},{data.max()}"}
    one, two = (picture(client.get("/api/tile", params={**params, "image": image})).astype(int) for image in (0, 1))
    inside = (one[..., 3] > 0) & (two[..., 3] > 0)
    assert inside.mean() > 0.5
    assert np.percentile(np.abs(one - two)[inside][:, 0], 95) < 12


def test_images_without_positions_are_aligned_by_size(serve, cube):
    plain = {"transform": None, "crs": None}
    small = hf.Cube(smooth(3, 15, 20))
    found = serve(cube.replace(**plain), small).get("/api/scene").json()["images"][1]
    assert (found["corners"][2], found["notes"]) == ([40.0, 30.0], [])
    found = serve(cube, small).get("/api/scene").json()["images"][1]
    assert "states no position" in found["notes"][0]


def test_limits_are_percentiles_of_the_values(serve, cube):
    found = serve(cube).get("/api/limits", params={"image": 0, "bands": "2,2,5"}).json()["limits"]
    expected = [np.nanpercentile(cube.data[band], (2, 98)) for band in (2, 2, 5)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_polygon_gives_mean_and_deviation_of_the_pixels_inside(serve, cube):
    corners = "2,1,12,1,12,9,2,9"
    (found,) = serve(cube).get("/api/region", params={"corners": corners}).json()["spectra"]
    part = cube.data[:, 1:9, 2:12].reshape(12, -1).astype(np.float64)
    assert found["pixels"] == 80
    assert found["count"] == [79] * 12
    np.testing.assert_allclose(found["mean"], np.nanmean(part, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["deviation"], np.nanstd(part, axis=1), rtol=1e-9)


def test_a_polygon_beyond_the_image_has_no_mean(serve, cube):
    assert serve(cube).get("/api/region?corners=-9,-9,-2,-9,-2,-2").json() == {"spectra": []}


def test_the_angle_layer_is_the_angle_to_the_pinned_pixel(serve, cube):
    client = serve(cube)
    params = {**TILE, "kind": "angle", "pin": "8.5,4.5", "limits": "0,90"}
    shown = picture(client.get("/api/tile", params=params))[:30, :40]
    data = np.delete(cube.data, 7, axis=0).astype(np.float64)
    pin = data[:, 4, 8]
    norm = np.linalg.norm(data, axis=0) * np.linalg.norm(pin)
    expected = np.degrees(np.arccos(np.clip(np.tensordot(pin, data, 1) / norm, -1, 1)))
    opaque = np.isfinite(expected)
    np.testing.assert_array_equal(shown[..., 3] > 0, opaque)
    assert np.abs(shown[..., 0].astype(int) - np.round(np.nan_to_num(expected) / 90 * 255))[opaque].max() <= 1
    assert client.get("/api/tile", params={**params, "pin": "99,99"}).status_code == 422


def test_the_error_layer_is_the_root_mean_square_over_the_bands(serve, cube):
    truth = cube.replace(data=np.nan_to_num(cube.data) + 3, valid=None, good_bands=None)
    client = serve(cube, reference=truth)
    shown = picture(client.get("/api/tile", params={**TILE, "kind": "error", "limits": "0,6"}))[:30, :40]
    opaque = shown[..., 3] > 0
    np.testing.assert_array_equal(opaque, np.isfinite(cube.data[0]))
    assert set(shown[..., 0][opaque].tolist()) <= {127, 128}
    limits = client.get("/api/limits", params={"image": 0, "kind": "error"}).json()["limits"]
    np.testing.assert_allclose(limits[0][0], 3, rtol=1e-3)


def test_an_error_against_other_bands_is_refused_in_a_line(serve, cube, coarse):
    reply = serve(coarse, reference=cube).get("/api/tile", params={**TILE, "kind": "error", "limits": "0,6"})
    assert reply.status_code == 422
    assert "other bands than the reference" in reply.json()["error"]
    reply = serve(cube).get("/api/tile", params={**TILE, "kind": "error", "limits": "0,6"})
    assert "no image is named as the reference" in reply.json()["error"]


def test_an_empty_band_is_not_chosen_to_show_an_image(serve, cube):
    valid = cube.valid.copy()
    valid[5] = False
    first = serve(cube).get("/api/scene").json()["images"][0]["shown"]["bands"]
    found = serve(cube.replace(valid=valid)).get("/api/scene").json()["images"][0]["shown"]["bands"]
    bands = [round(float(cube.wavelengths[band])) for band in first]
    assert (first, bands) == ([5, 2, 0], [655, 532, 450])
    assert found == [4, 2, 0]


def test_an_uncertainty_is_found_by_its_history_and_belongs_to_its_image(serve, cube):
    step = {"step": "fuse", "quantity": "standard deviation of the expected error"}
    images = serve(cube, cube.replace(history=(step,))).get("/api/scene").json()["images"]
    assert [(one["role"], one["of"]) for one in images] == [("image", None), ("uncertainty", 0)]


def test_undeclared_gaps_are_reported_where_they_are(serve, tmp_path):
    import rasterio

    data = np.ones((2, 40, 40), np.float32)
    data[0, 30, 30] = np.nan
    with rasterio.open(
        tmp_path / "nan.tif", "w", driver="GTiff", count=2, height=40, width=40, dtype="float32"
    ) as file:
        file.write(data)
    client = serve(tmp_path / "nan.tif")
    reply = client.get("/api/spectra?at=30.5,30.5")
    assert reply.status_code == 422
    assert "nodata=nan" in reply.json()["error"]
    assert client.get("/api/spectra?at=3,3").status_code == 200


def test_a_file_that_vanishes_is_reported(serve, cube, tmp_path):
    write(tmp_path / "c.tif", cube)
    client = serve(tmp_path / "c.tif")
    (tmp_path / "c.tif").unlink()
    reply = client.get("/api/tile", params={**TILE, "bands": 2, "limits": "0,1"})
    assert reply.status_code == 422
    assert "does not exist" in reply.json()["error"]


def test_too_large_a_polygon_is_refused(serve):
    cube = hf.Cube(np.ones((1, 1100, 1100), np.float32))
    reply = serve(cube).get("/api/region?corners=0,0,1100,0,1100,1100,0,1100")
    assert reply.status_code == 422
    assert "are averaged at once" in reply.json()["error"]


@pytest.mark.parametrize("name", ["c.tif", "c.img"])
def test_nothing_is_written_next_to_the_images(serve, cube, tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / name, cube)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    client = serve(folder / name)
    client.get("/api/tile", params={**TILE, "bands": 0, "limits": "0,1"})
    client.get("/api/spectra?at=3,3")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
