"""Rasters are opened by drivers that read nothing but the file that is named; what GDAL says is one line."""

import contextlib
import gc
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read
from hyperfuse.io.formats.gdal import open_raster

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SECRET = "secret.tif"


@pytest.fixture
def folder(tmp_path):
    """A folder ``here`` with a raster, and a raster outside of it."""
    (tmp_path / "here" / "below").mkdir(parents=True)
    for file in (tmp_path / SECRET, tmp_path / "here" / "own.tif", tmp_path / "here" / "below" / "own.tif"):
        with rasterio.open(file, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as target:
            target.write(np.full((1, 4, 4), 7, np.uint8))
    return tmp_path / "here"


def vrt(source, relative=1, more=""):
    name = f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{name}</SimpleSource></VRTRasterBand>'
    return f'<VRTDataset rasterXSize="4" rasterYSize="4">{band}{more}</VRTDataset>'


@pytest.mark.parametrize("source", ["own.tif", "below/own.tif", "inner.vrt"])
def test_a_vrt_reads_files_in_its_own_folder(folder, source):
    (folder / "inner.vrt").write_text(vrt("below/own.tif"))
    (folder / "a.vrt").write_text(vrt(source))
    assert (read(folder / "a.vrt").data == 7).all()
    (folder / "a.vrt").write_text(vrt(folder / source, relative=0))
    assert (read(folder / "a.vrt").data == 7).all()


@pytest.mark.parametrize(
    "source",
    [
        "../secret.tif", "{outside}", "/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "/etc/passwd",
        "below/../../secret.tif", "link.tif", "inner.vrt", "/vsigzip/own.tif", "NETCDF:own.tif:x", "absent.tif",
        "&lt;GDAL_WMS&gt;&lt;/GDAL_WMS&gt;", "wms.tif", "text.tif",
    ],
)  # fmt: skip
def test_a_vrt_reads_nothing_else(folder, source):
    (folder / "link.tif").symlink_to(folder.parent / SECRET)
    (folder / "inner.vrt").write_text(vrt("../secret.tif"))
    (folder / "text.tif").write_text(vrt("../secret.tif"))
    (folder / "wms.tif").write_text(
        "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service>"
    )
    (folder / "a.vrt").write_text(vrt(source.format(outside=folder.parent / SECRET)))
    with pytest.raises(InputError, match=r"a\.vrt: "):
        read(folder / "a.vrt")


@pytest.mark.parametrize(
    "more",
    [
        "<OverviewFile>/etc/passwd</OverviewFile>",
        '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">../secret.tif</MDI></Metadata>',
        "<VRTRasterBand><PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTRasterBand>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    ],
)
def test_a_vrt_with_other_references(folder, more):
    (folder / "a.vrt").write_text(vrt("own.tif", more=more))
    with pytest.raises(InputError, match=r"a\.vrt: "):
        read(folder / "a.vrt")


@pytest.mark.parametrize("name", ["a.tif", "a.img", "a.png", "a", "a.foo", "a.jp2"])
def test_other_drivers_are_not_chosen_by_content(folder, name):
    for text in (vrt("own.tif"), "<GDAL_WMS><Service name='TMS'/></GDAL_WMS>", '{"type": "FeatureCollection"}'):
        (folder / name).write_text(text)
        with pytest.raises(InputError, match="is not a raster that GDAL can open"):
            read(folder / name)


def test_side_files_that_lead_elsewhere(folder):
    for ending in (".ovr", ".msk"):
        side = folder / f"own.tif{ending}"
        side.write_text(vrt("../secret.tif"))
        with pytest.raises(InputError, match=rf"own\.tif: has a side file own\.tif\{ending} that is no TIFF"):
            read(folder / "own.tif")
        side.unlink()
    (folder / "own.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">../secret.tif</MDI></Metadata></PAMDataset>'
    )
    with pytest.raises(InputError, match="names a file of overviews in its metadata"):
        read(folder / "own.tif")


@pytest.mark.parametrize("text", [b"<PAMDataset><Meta\xffdata></PAMDataset>", b"<PAMDataset><Metadata>"])
def test_damaged_metadata_is_reported_in_one_line(folder, text, capfd):
    (folder / "own.tif.aux.xml").write_bytes(text)
    with pytest.warns(HyperfuseWarning, match=r"own\.tif: GDAL could not read all of its metadata"):
        assert (read(folder / "own.tif").data == 7).all()
    assert capfd.readouterr().err == ""


def test_a_name_that_is_not_utf8(folder):
    odd = folder / b"a\xff.tif".decode("utf-8", "surrogateescape")
    shutil.copy(folder / "own.tif", odd)
    with pytest.raises(InputError, match="has a name that is not UTF-8, which GDAL cannot open; rename it"):
        read(odd)


def test_many_bands_are_read_in_linear_time(tmp_path):
    values = np.arange(4000, dtype=np.uint16).reshape(-1, 1, 1)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=1, height=1, count=4000, dtype="uint16") as file:
        file.write(values)
    source = open_raster(tmp_path / "a.tif")
    assert list(source.indexes) == list(range(1, 4001))
    assert isinstance(source.indexes, range)  # rasterio looks every band up in it
    source.close()
    assert np.array_equal(read(tmp_path / "a.tif").data, values)


def test_the_header_of_a_lone_file_is_asked_for(tmp_path):
    (tmp_path / "line.rfl").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"line\.rfl: .*; an ENVI file needs its header \(\.hdr\) next to it"):
        read(tmp_path / "line.rfl")


def test_hooks_of_the_process_are_as_before(folder):
    hooks = sys.unraisablehook, sys.excepthook
    with ThreadPoolExecutor(4) as pool:
        assert all((cube.data == 7).all() for cube in pool.map(read, [folder / "own.tif"] * 20))
    assert (sys.unraisablehook, sys.excepthook) == hooks


@pytest.mark.parametrize("text", [b"\xff", b"\xc3(", b"&", b"PIXE\\"])
@pytest.mark.parametrize("at", ["<VRTDataset ", "<VRTRasterBand ", "<SourceFilename", "INTERLEAVE"])
def test_bytes_that_are_no_text_in_a_vrt(folder, text, at, capfd):
    more = "<Metadata domain='IMAGE_STRUCTURE'><MDI key='INTERLEAVE'>PIXEL</MDI></Metadata>"
    whole = vrt("own.tif", more=more).encode()
    (folder / "a.vrt").write_bytes(whole.replace(at.encode(), at.encode() + text))
    with contextlib.suppress(InputError):
        read(folder / "a.vrt")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", [b"\xff", b"\xc3(", b"\x80"])
def test_bytes_that_are_no_text_in_the_metadata_of_a_tiff(tmp_path, text, capfd):
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as file:
        file.update_tags(key="abcdefgh")
        file.write(np.ones((1, 4, 4), np.uint8))
    raw = (tmp_path / "a.tif").read_bytes()
    for part in (b"abcdefgh", b"GDALMetadata", b"<Item"):
        assert part in raw
        (tmp_path / "a.tif").write_bytes(raw.replace(part, text + part[len(text) :], 1))
        with warnings.catch_warnings(action="ignore", category=HyperfuseWarning), contextlib.suppress(InputError):
            read(tmp_path / "a.tif")
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_file_of_a_driver_that_gives_no_transform(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 255 " + bytes([1, 2, 3, 4, 5, 6]))
    image = read(tmp_path / "a.ppm")
    assert (image.data.tolist(), image.transform) == ([[[1, 4]], [[2, 5]], [[3, 6]]], None)
    (tmp_path / "a.wld").write_text("10\n0\n0\n-10\n400005\n5599995\n")
    assert read(tmp_path / "a.ppm").transform[:6] == (10, 0, 400000, 0, -10, 5600000)
