"""Assets of STAC items as cubes, and the item of a result: pystac is the oracle."""

import copy
import datetime
import functools
import http.server
import json
import re
import threading
import warnings

import numpy as np
import pytest
import rasterio

import hyperfuse as hf
from hyperfuse.cli import main
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write
from hyperfuse.io.stac import ItemAsset, read_stac, write_stac_item
from hyperfuse.io.windows.open import open_windows

pystac = pytest.importorskip("pystac")
pytest.importorskip("jsonschema")

GRID = {"crs": "EPSG:32633", "transform": (10, 0, 364000, 0, -10, 5809000)}
STORED = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


def save(folder, assets, name="item.json", **more):
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "scene", "geometry": None, "links": [], "assets": assets}
    item |= {"properties": {"datetime": "2024-05-01T10:00:00Z", "platform": "satellite"}, **more}
    (folder / name).write_text(json.dumps(item))
    return folder / name


@pytest.fixture
def folder(tmp_path):
    """Three bands of whole numbers in one GeoTIFF that states nothing of them, and in one for each."""
    for name, values in {"all": STORED, **{f"b{band}": STORED[band : band + 1] for band in range(3)}}.items():
        profile = {"driver": "GTiff", "dtype": "uint16", "count": len(values), "height": 4, "width": 5}
        profile |= {"crs": GRID["crs"], "transform": rasterio.Affine(*GRID["transform"])}
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as out:
            out.write(values)
    return tmp_path


NEW = [
    {"name": f"B{band}", "eo:center_wavelength": 0.5 + band / 10, "eo:full_width_half_max": 0.03} for band in range(3)
]
OLD = [{"name": f"B{band}", "center_wavelength": 0.5 + band / 10, "full_width_half_max": 0.03} for band in range(3)]
CODED = {"scale": 0.01, "offset": -0.1, "nodata": 0}
PREFIXED = {"raster:scale": 0.01, "raster:offset": -0.1, "nodata": 0}


@pytest.mark.parametrize(
    "asset",
    [
        {"bands": [band | PREFIXED for band in NEW]},
        {"bands": NEW, **PREFIXED},
        {"eo:bands": OLD, "raster:bands": [CODED] * 3},
        {"eo:bands": OLD, "raster:bands": [CODED] * 3, "bands": [{"name": f"B{band}"} for band in range(3)]},
    ],
    ids=["1.1", "1.1, of the asset", "1.0", "1.0 with names of 1.1"],
)
def test_bands_are_as_the_item_states_in_either_version(folder, asset):
    item = save(folder, {"image": {"href": "./all.tif", "roles": ["data"], **asset}, "thumbnail": {"href": "b0.tif"}})
    for cube in (read(f"{item}:image"), read(item), read_stac(item), read_stac(pystac.Item.from_file(item), "image")):
        np.testing.assert_allclose(cube.wavelengths, [500, 600, 700])
        np.testing.assert_allclose(cube.fwhm, 30)
        assert cube.band_names == ("B0", "B1", "B2")
        assert np.isnan(cube.data[0, 0, 0])
        np.testing.assert_allclose(cube.data.ravel()[1:], STORED.ravel()[1:] * 0.01 - 0.1, rtol=1e-6)
        assert dict(cube.attributes).items() >= {("scene", "scene"), ("sensor", "satellite")}
        assert cube.history[-1]["assets"] == ["image"]
    picked = read(f"{item}:image", bands="3,1")
    np.testing.assert_allclose(picked.wavelengths, [700, 500])


def test_an_item_that_pystac_makes_with_its_extensions(folder):
    from pystac.extensions.eo import Band, EOExtension
    from pystac.extensions.raster import RasterBand, RasterExtension

    item = pystac.Item("scene", None, None, datetime.datetime(2024, 5, 1), {})
    item.add_asset("image", pystac.Asset("all.tif", roles=["data"]))
    item.set_self_href(str(folder / "item.json"))
    bands = [Band.create(f"B{k}", center_wavelength=0.5 + k / 10, full_width_half_max=0.03) for k in range(3)]
    EOExtension.ext(item.assets["image"], add_if_missing=True).apply(bands)
    coded = [RasterBand.create(nodata=0, scale=0.01, offset=-0.1) for _ in range(3)]
    RasterExtension.ext(item.assets["image"], add_if_missing=True).apply(coded)
    item.save_object(include_self_link=False)
    for cube in (read(folder / "item.json"), read_stac(item)):
        np.testing.assert_allclose(cube.wavelengths, [500, 600, 700])
        assert cube.data[0, 0, 1] == pytest.approx(-0.09)
        assert np.isnan(cube.data[0, 0, 0])


def test_coding_without_bands_and_that_of_the_caller(folder):
    item = save(folder, {"image": {"href": "all.tif", **PREFIXED}})
    assert read(item).data[0, 0, 1] == pytest.approx(-0.09)
    assert read(item, scale=2.0).data[0, 0, 1] == 2
    bands = [{"raster:scale": scale} for scale in (0.1, 0.2, 0.3)]
    with pytest.raises(InputError, match="several values of scale") as caught:
        read(save(folder, {"image": {"href": "all.tif", "bands": bands}}))
    assert caught.value.parameter == "scale"


def test_assets_with_a_band_each_are_one_image_read_by_windows(folder):
    item = save(folder, {f"B{band}": {"href": f"b{band}.tif", "bands": [NEW[band]]} for band in range(3)})
    cube = read_stac(item, ["B2", "B0"])
    np.testing.assert_array_equal(cube.data, STORED[[2, 0]])
    np.testing.assert_allclose(cube.wavelengths, [700, 500])
    source = open_windows(f"{item}:B0,B1,B2", bands="2-3")
    np.testing.assert_array_equal(source.read(Window(1, 2, 2, 3)).data, STORED[1:3, 1:3, 2:5])
    source.close()


def test_what_a_file_states_wins_and_a_contradiction_is_noted(folder):
    write(folder / "own.tif", Cube(STORED, wavelengths=[400, 500, 600], band_names=["a", "b", "c"], **GRID))
    item = save(folder, {"image": {"href": "own.tif", "bands": NEW}})
    with pytest.warns(HyperfuseWarning, match="states other wavelengths"):
        cube = read(item)
    np.testing.assert_allclose(cube.wavelengths, [400, 500, 600])
    assert cube.band_names == ("a", "b", "c")
    item = save(folder, {"image": {"href": "own.tif", "bands": NEW[:2]}})
    with pytest.warns(HyperfuseWarning, match="describes 2 bands"):
        read(item)


def test_a_position_that_only_the_item_states(folder):
    np.save(folder / "array.npy", STORED)
    stated = {"proj:code": GRID["crs"], "proj:transform": [*GRID["transform"], 0, 0, 1], "proj:shape": [4, 5]}
    cube = read(save(folder, {"image": {"href": "array.npy", "bands": NEW, **stated}}))
    assert cube.crs == GRID["crs"]
    assert tuple(cube.transform)[:6] == GRID["transform"]
    assert read(save(folder, {"image": {"href": "array.npy", **stated, "proj:shape": [8, 10]}})).transform is None


@pytest.mark.parametrize(
    ("assets", "asked", "said"),
    [
        ({"a": {"href": "all.tif"}, "b": {"href": "all.tif"}}, None, "has the assets a, b; name one"),
        ({"a": {"href": "all.tif"}}, "b", "has no asset 'b'; it has a"),
        ({"a": {"href": "gone.tif"}}, "a", "the asset a is gone.tif, which does not exist"),
        ({"a": {"href": "../all.tif"}}, "a", "outside of the folder of the item"),
        ({"a": {"href": "/etc/hostname"}}, "a", "outside of the folder of the item"),
        ({"a": {"href": "https://x.example/a.tif"}}, "a", "is at https://x.example/a.tif; download it"),
        ({"a": {"href": "s3://bucket/a.tif"}}, "a", "which is no file here"),
        ({"a": {"href": "/vsicurl/https://x.example/a.tif"}}, "a", "which is no file here"),
        ({"a": {"href": "//server/share/a.tif"}}, "a", "which is no file here"),
        ({"a": {}}, "a", "has no address"),
        ({}, None, r"has the assets \(none\)"),
        ([1, 2], None, r"has the assets \(none\)"),
    ],
)
def test_assets_that_cannot_be_read_are_refused_in_one_line(folder, assets, asked, said):
    item = save(folder, assets)
    for call in (lambda: read(item if asked is None else f"{item}:{asked}"), lambda: read_stac(item, asked)):
        with pytest.raises(InputError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(item))


def test_other_files_and_objects_are_no_items(folder, tmp_path):
    (folder / "other.json").write_text('{"type": "FeatureCollection"}')
    with pytest.raises(InputError, match="no STAC item"):
        read_stac(folder / "other.json")
    (folder / "other.json").write_text("[[")
    with pytest.raises(InputError, match="no JSON"):
        read_stac(folder / "other.json")
    with pytest.raises(InputError, match="no such file"):
        read_stac(folder / "gone.json")
    with pytest.raises(InputError, match="pass the path of a STAC item"):
        read_stac(3)
    with pytest.raises(InputError, match="does not say where it lies"):
        read_stac({"type": "Feature", "id": "x", "assets": {"a": {"href": "all.tif"}}})


def test_elsewhere_is_read_where_the_caller_allows_it(folder):
    (folder / "items").mkdir()
    item = save(folder / "items", {"a": {"href": "../all.tif"}, "b": {"href": (folder / "all.tif").as_uri()}})
    for key in "ab":
        np.testing.assert_array_equal(read_stac(item, key, elsewhere=True).data, STORED)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_asset_on_the_web_is_read_by_gdal(folder):
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        item = save(folder, {"a": {"href": f"http://127.0.0.1:{server.server_port}/all.tif", "bands": NEW}})
        try:
            cube = read_stac(item, "a", elsewhere=True)
        finally:
            server.shutdown()
    np.testing.assert_array_equal(cube.data, STORED)
    np.testing.assert_allclose(cube.wavelengths, [500, 600, 700])


def test_the_item_of_a_result_is_read_by_pystac_and_by_us(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    scene = Cube(rng.random((6, 24, 32), np.float32), wavelengths=np.linspace(450, 900, 6), **GRID)
    pair = hf.simulate(scene, ratio=4, srf="boxes:3")
    monkeypatch.chdir(tmp_path)
    write("hsi.tif", pair.hsi.replace(attributes={"start_time": "20240501T100000", "sensor": "satellite"}))
    write("msi.tif", pair.msi)
    (tmp_path / "out").mkdir()
    words = ["fuse", "hsi.tif", "msi.tif", "out/fused.tif", "--method", "regression", "--stac", "out/fused.json"]
    assert main(words) == 0
    item = pystac.Item.from_file("out/fused.json")
    pystac.validation.stac_validator.JsonSchemaSTACValidator().validate_core(
        item.to_dict(), pystac.STACObjectType.ITEM, "1.1.0"
    )
    assert [link.get_absolute_href() for link in item.get_links("derived_from")] == [
        str(tmp_path / "hsi.tif"),
        str(tmp_path / "msi.tif"),
    ]
    assert item.datetime.isoformat() == "2024-05-01T10:00:00+00:00"
    assert item.properties["hyperfuse:history"][-1]["method"] == "regression"
    expected = rasterio.warp.transform_bounds("EPSG:32633", "EPSG:4326", 364000, 5808760, 364320, 5809000)
    np.testing.assert_allclose(item.bbox, expected, atol=1e-7)
    ring = np.array(item.geometry["coordinates"][0])
    assert np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]) > 0  # counterclockwise
    cube = read_stac(item)
    np.testing.assert_array_equal(cube.data, read("out/fused.tif").data)
    np.testing.assert_allclose(item.assets["fused"].extra_fields["bands"][5]["eo:center_wavelength"], 0.9)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("fused.txt", "name a file that ends in .json"),
        ("no/fused.json", "does not exist"),
        ("item.json", "belongs to item.json:a, an input"),
        ("there.json", "exists already"),
    ],
)
def test_an_item_that_cannot_be_written_is_refused_before_the_work(folder, monkeypatch, capsys, path, said):
    monkeypatch.chdir(folder)
    save(folder, {"a": {"href": "all.tif"}})
    (folder / "there.json").write_text("{}")
    words = ["fuse", "item.json:a", "all.tif", "fused.tif", "--stac", path]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "fused.tif").exists()


def test_outputs_never_replace_an_asset(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    save(folder, {"a": {"href": "all.tif"}})
    assert main(["fuse", "item.json:a", "b0.tif", "all.tif", "--overwrite"]) == 2
    assert "belongs to item.json:a" in capsys.readouterr().err


def test_a_result_without_time_or_position_says_so(tmp_path):
    header = Cube(np.ones((1, 4, 5)), nodata=np.nan, units="reflectance").header
    with pytest.warns(HyperfuseWarning, match="no time of acquisition"):
        write_stac_item(tmp_path / "a.json", {"image": ItemAsset(tmp_path / "a.tif", "an image", header=header)})
    item = json.loads((tmp_path / "a.json").read_text())
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["assets"]["image"]["bands"] == [{"name": "band 1", "nodata": "nan", "unit": "reflectance"}]
    assert re.fullmatch(r"\d{4}-.*Z", item["properties"]["datetime"])


def asset_of(item):
    """Return the asset, where it is one still."""
    assets = item["assets"]
    found = assets.get("a") if isinstance(assets, dict) else None
    return found if isinstance(found, dict) else item


def test_an_outline_across_the_antimeridian_is_left_out_with_a_note(tmp_path):
    place = {
        "crs": "EPSG:32660",
        "transform": (100, 0, 680000, 0, -100, 6000000),
        "attributes": {"start_time": "20240501T100000"},
    }
    header = Cube(np.ones((1, 4, 900)), **place).header
    with pytest.warns(HyperfuseWarning, match="crosses the antimeridian"):
        write_stac_item(tmp_path / "a.json", {"image": ItemAsset(tmp_path / "a.tif", "an image", header=header)})
    item = json.loads((tmp_path / "a.json").read_text())
    assert item["geometry"] is None
    assert item["properties"]["proj:code"] == "EPSG:32660"


JUNK = [
    None,
    True,
    -1,
    1e308,
    float("nan"),
    "",
    "\0",
    "x" * 5000,
    "a:b",
    [],
    [[]],
    [None],
    ["x"],
    [1e400],
    {},
    {"a": {}},
]


def test_items_of_any_content_are_read_or_refused_in_one_line(folder):
    rng = np.random.default_rng(7)
    whole = {"href": "all.tif", "roles": ["data"], "bands": NEW, "raster:bands": [CODED] * 3, **PREFIXED}
    whole |= {"proj:code": "EPSG:32633", "proj:transform": [1, 0, 0, 0, -1, 0], "proj:shape": [4, 5], "unit": "1"}
    np.save(folder / "array.npy", STORED)
    said = []
    for round_ in range(400):
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": "x",
            "properties": {"datetime": "2024-05-01T10:00:00Z"},
        }
        item = json.loads(json.dumps(item | {"assets": {"a": whole | {"href": ("all.tif", "array.npy")[round_ % 2]}}}))
        for _ in range(rng.integers(1, 3)):
            at, holder = (item if rng.random() < 0.2 else asset_of(item)), None
            while isinstance(at, dict | list) and at and (holder is None or rng.random() < 0.8):
                holder, keys = at, list(at) if isinstance(at, dict) else range(len(at))
                key = keys[rng.integers(len(keys))]
                at = at[key]
            if holder is not None:
                holder[key] = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
        (folder / "item.json").write_text(json.dumps(item))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HyperfuseWarning)
            try:
                assert read_stac(folder / "item.json").shape == STORED.shape
            except InputError as error:
                said.append(str(error))
    assert 50 < len(said) < 350
    assert not any("\n" in text for text in said)
