import pkgutil
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import rasterio

import product_files
from hyperfuse.cli import main
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, read_mosaic, write
from hyperfuse.io.products import PRODUCTS, find_product, members, names

DESIS = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220"
XML = """<hsi_doc><base><level>L2A</level><temporalCoverage><startTime>2022-04-04T19:32:59Z</startTime>
</temporalCoverage></base><specific><bandCharacterisation>
<band><bandNumber>1</bandNumber><wavelengthCenterOfBand>401.9</wavelengthCenterOfBand><wavelengthWidthOfBand>2.9
</wavelengthWidthOfBand><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>
</bandCharacterisation></specific></hsi_doc>"""


@pytest.fixture
def scene(tmp_path, raster):
    """A DESIS scene of one band: the smallest of all products."""
    folder = tmp_path / "scene"
    raster(folder / f"{DESIS}-SPECTRAL_IMAGE.tif", np.full((4, 5), 2500, np.int16))
    (folder / f"{DESIS}-METADATA.xml").write_text(XML)
    return folder


def test_every_product_has_its_reader_and_confirmation(tmp_path):
    names = ["x-METADATA.XML", "x-SPECTRAL_IMAGE.TIF", "x.he5", "x.nc"]
    for name in names:
        (tmp_path / name).write_bytes(b"<other/>")
    for product in PRODUCTS:
        assert callable(pkgutil.resolve_name(product.function("open")))
        assert product.hints is None or callable(pkgutil.resolve_name(product.function("is")))
        assert not any(product.confirms(tmp_path / name) for name in names)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z-METADATA.XML", "EnMAP L2A"),
        ("enmap01-x-spectral_image_swir_cog.tif", "EnMAP L2A"),
        (f"{DESIS}-METADATA.xml", "DESIS L2A"),
        ("PRS_L1_STD_OFFL_20200813103056_20200813103100_0001.he5", "PRISMA"),
        ("EMIT_L2A_RFL_001_20230316T045133_2307503_005.nc", "EMIT L2A"),
        ("EMIT_L1B_RAD_001_20230316T045133_2307503_005.nc", "EMIT L2A"),
        ("MTD_MSIL1C.xml", "Sentinel-2"),
        ("LC09_L2SP_193023_20220724_20230406_02_T1_MTL.txt", "Landsat 8/9 Collection 2 Level 2"),
        ("MTL.json", "Landsat 8/9 Collection 2 Level 2"),
        ("MTD_TL.xml", None),
        ("ENMAP01-x-QL_QUALITY_CLOUD.TIF", None),
        ("EMIT_L2A_MASK_001_20230316T045133_2307503_005.nc", None),
    ],
)
def test_products_are_recognised_by_the_names_of_their_files(name, product):
    assert [one.name for one in PRODUCTS if members.match(one.files, name)] == ([product] if product else [])


def test_parts_of_names():
    assert members.match(names.DLR_FILE, f"{DESIS}-SPECTRAL_IMAGE.tif")["scene"] == DESIS
    assert members.match(names.DLR_FILE, "METADATA.XML").groupdict() == {"scene": None, "image": None}
    reflectance = members.match(names.EMIT_REFLECTANCE, "EMIT_L2A_RFL_001_20230316T045133_2307503_005.nc")
    assert reflectance.groupdict() == {"version": "001", "scene": "20230316T045133_2307503_005"}


def test_info_describes_a_product(scene, capsys):
    assert main(["info", str(scene)]) == 0
    lines = {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}
    assert lines["size"] == "4 rows, 5 columns, 1 band, float32"
    assert lines["wavelengths"] == "401.9 to 401.9 nm, 2.9 to 2.9 nm wide"
    assert lines["values"] == "0.25 to 0.25, mean 0.25 reflectance"
    assert lines["coded as"] == "0.0001 * stored + 0 (applied)"
    assert lines["start_time"] == "2022-04-04T19:32:59Z"
    assert lines["step 1"].startswith(
        f'step read, product DESIS L2A, scene {DESIS}, quality standard, gaps ["no data"]'
    )


def test_an_error_is_one_line_of_the_command(scene, capsys):
    (scene / f"{DESIS}-SPECTRAL_IMAGE.tif").unlink()
    assert main(["info", str(scene)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {scene}: the file {DESIS}-SPECTRAL_IMAGE.TIF is missing in {scene}")


def test_tiles_that_are_products_are_merged(scene, tmp_path, raster):
    east = tmp_path / "east"
    raster(east / f"{DESIS}-SPECTRAL_IMAGE.tif", np.full((4, 5), 5000, np.int16), west=364095 + 150)
    (east / f"{DESIS}-METADATA.xml").write_text(XML)
    merged = read_mosaic([scene, east])
    assert merged.data[0, 0].tolist() == pytest.approx([0.25] * 5 + [0.5] * 5)


def test_quality_and_axes_where_they_mean_nothing(scene, tmp_path):
    write(tmp_path / "plain.tif", Cube(data=np.ones((1, 2, 2))))
    with pytest.raises(InputError, match=r"plain\.tif: quality is for products \(EnMAP L2A, .*\), and this is none"):
        read(tmp_path / "plain.tif", quality="clear")
    with pytest.raises(InputError, match="quality='cleer' is not known; did you mean 'clear'"):
        read(scene, quality="cleer")
    with pytest.raises(InputError, match="is DESIS L2A, which states its axes; leave out axes"):
        read(scene, axes="rows,cols,bands")


def test_what_is_no_product_is_read_as_before(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: is a folder; name a file in it"):
        read(tmp_path / "empty")
    with pytest.raises(InputError, match="nowhere: does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / f"{DESIS}-SPECTRAL_IMAGE.tif").touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        read(tmp_path / f"{DESIS}-SPECTRAL_IMAGE.tif")
    with h5py.File(tmp_path / "plain.he5", "w") as target:
        target["HDFEOS/SWATHS/OTHER/Data Fields/values"] = np.ones((2, 3, 4))
    assert read(tmp_path / "plain.he5").bands == 2
    write(tmp_path / "x-SPECTRAL_IMAGE.tif", Cube(data=np.ones((1, 2, 2))))
    (tmp_path / "x-METADATA.xml").write_text("<other/>")
    assert read(tmp_path / "x-SPECTRAL_IMAGE.tif").history == ()


def test_several_products_in_a_folder(scene):
    (scene / "LC08_L2SP_1_MTL.txt").write_text("END\n")
    with pytest.raises(InputError, match=r"holds several products \(DESIS L2A, Landsat .*\); name one of them"):
        read(scene)
    assert read(scene / f"{DESIS}-METADATA.xml").bands == 1


def test_archives(scene, tmp_path, assert_same):
    cube = read(scene)
    with tarfile.open(tmp_path / "desis.tar", "w") as archive:
        for file in scene.iterdir():
            archive.add(file, f"./{DESIS}/{file.name}")
    assert_same(read(tmp_path / "desis.tar"), cube)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(InputError, match=r"is an archive without a product that is read from archives \(EnMAP L2A, "):
        read(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "prisma.zip", "w") as archive:
        archive.writestr("PRS_L2D_STD_1.he5", b"x")
    with pytest.raises(InputError, match=r"holds PRS_L2D_STD_1\.he5, which is not read from an archive; unpack it"):
        read(tmp_path / "prisma.zip")
    (tmp_path / "landsat.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="is a compressed archive; unpack it"):
        read(tmp_path / "landsat.tar.gz")


def test_metadata_that_unpacks_into_too_much(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(members, "LARGEST_TEXT", 1 << 16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{DESIS}-METADATA.xml", "<x>" + " " * (1 << 24) + "</x>")
    with pytest.raises(InputError, match=r"METADATA\.xml has more than 0 MB; that is no metadata file"):
        read(tmp_path / "bomb.zip")


def test_an_image_that_claims_to_be_huge(scene):
    side = 2**18
    with rasterio.open(
        scene / f"{DESIS}-SPECTRAL_IMAGE.tif", "w", driver="GTiff", width=side, height=side, count=1, dtype="int16",
        tiled=True, blockxsize=2**14, blockysize=2**14, sparse_ok=True, bigtiff="YES",
    ):  # fmt: skip
        pass
    with pytest.raises(InputError, match="has 262144 x 262144 pixels; no scene of a product has"):
        read(scene)


def test_a_virtual_raster_under_the_name_of_an_image(scene):
    (scene / f"{DESIS}-SPECTRAL_IMAGE.tif").write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Int16" band="1"/></VRTDataset>'
    )
    with pytest.raises(InputError, match="is not a raster that GDAL can open"):
        read(scene)


def test_zarr_folders_are_not_searched(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "MTD_MSIL2A.xml").touch()
    assert find_product(tmp_path / "a.zarr") is None


def test_a_member_whose_name_begins_with_nul(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("XX-METADATA.XML", "<a/>")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"XX-META", b"\0X-META"))
    with pytest.raises(InputError, match=r"a\.zip: is an archive without a product"):
        read(tmp_path / "a.zip")


def test_folders_of_orders_have_other_files_next_to_the_product(tmp_path, assert_same):
    inner = product_files.write_planetscope(tmp_path / "order", 8)
    (tmp_path / "order" / "manifest.json").write_text("{}")
    (tmp_path / "order" / "other").mkdir()
    assert_same(read(tmp_path / "order"), read(inner))
    product_files.write_worldview(tmp_path / "order", 8)
    message = r"order: holds several products \(014670314010_01_P003_MUL: WorldView, PSScene: PlanetScope\); name the"
    with pytest.raises(InputError, match=message):
        read(tmp_path / "order")
