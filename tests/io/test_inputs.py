"""No output replaces a file that is read, or one that belongs to it."""

import errno

import numpy as np
import pytest
import rasterio

from hyperfuse import fuse_tiles
from hyperfuse.cli.app import main
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import check_output, write
from hyperfuse.io.inputs import refuse_inputs

SMALL = Cube(data=np.ones((2, 4, 4)))


@pytest.fixture
def folder(tmp_path):
    """An ENVI file with all that may lie next to it, and a virtual raster of a TIFF."""
    write(tmp_path / "x.img", SMALL)
    for ending in (".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"x.img{ending}").write_text("belongs")
    write(tmp_path / "part.tif", SMALL)
    with rasterio.open(tmp_path / "part.tif") as part:
        rasterio.shutil.copy(part, tmp_path / "x.vrt", driver="VRT")
    write(tmp_path / "x.zarr", SMALL)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("x.img", "x.bsq"), ("x.hdr", "x.bsq"), ("x.img", "x.img"), ("x.hdr", "x.img"), ("x.img", "x.hdr"),
        ("x.vrt", "part.tif"), ("x.zarr", "x.zarr"), ("x.zarr:cube", "x.zarr"), ("x.img", "link.img"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("overwrite", [True, False])
def test_an_output_that_is_an_input(folder, name, output, overwrite):
    (folder / "link.img").symlink_to(folder / "x.img")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(
        InputError, match=r"(is an input|belongs to .*, an input) of this call; write|is that of x\.img; give another"
    ):
        check_output(folder / output, overwrite=overwrite, inputs=[folder / name])
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("ending", [".hdr", ".aux.xml", ".ovr", ".msk"])
def test_every_side_file_belongs_to_its_image(folder, ending):
    side = folder / ("x.hdr" if ending == ".hdr" else f"x.img{ending}")
    with pytest.raises(InputError, match=r"belongs to .*x\.img, an input"):
        refuse_inputs([side], [folder / "x.img"])


def test_other_files_of_the_folder_are_none_of_it(folder):
    refuse_inputs([folder / name for name in ("y.img", "y.hdr", "x.tif", "part2.tif")], [folder / "x.img"])
    check_output(folder / "y.bsq", inputs=[folder / "x.img", folder / "x.vrt", folder / "absent.tif"])


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_header_of_another_image_is_never_replaced(folder, overwrite):
    header = (folder / "x.hdr").read_bytes()
    for output in ("x.bsq", "x.dat"):
        with pytest.raises(InputError, match=r"its header x\.hdr is that of x\.img; give another name"):
            write(folder / output, SMALL, overwrite=overwrite)
    assert (folder / "x.hdr").read_bytes() == header
    write(folder / "x.img", SMALL, overwrite=True)


def test_fuse_keeps_the_header_of_its_input(folder, capsys):
    write(folder / "m.tif", Cube(data=np.ones((2, 8, 8))))
    header = (folder / "x.hdr").read_bytes()
    words = ["fuse", str(folder / "x.img"), str(folder / "m.tif"), str(folder / "x.bsq"), "--overwrite"]
    assert main([*words, "--method", "bicubic"]) == 2
    assert "x.hdr: belongs to" in capsys.readouterr().err
    for options in ({"method": "bicubic"}, {"method": "feinfn", "uncertainty": folder / "x.bsq"}):
        out = folder / ("y.tif" if "uncertainty" in options else "x.bsq")
        with pytest.raises(InputError, match=r"its header x\.hdr is that of x\.img; give another name"):
            fuse_tiles(folder / "x.img", folder / "m.tif", out, overwrite=True, **options)
    report = [str(folder / name) for name in ("x.img", "m.tif", "y.tif")]
    assert main(["fuse", *report, "--overwrite", "--report", str(folder / "x.hdr")]) == 2
    assert (folder / "x.hdr").read_bytes() == header


SCENE = "LC09_L2SP_193024_20220724_20230407_02_T1"


@pytest.mark.parametrize("named", ["", f"{SCENE}_MTL.txt"])
def test_files_of_a_product_belong_to_it(tmp_path, named):
    folder = tmp_path / SCENE
    (folder / "GRANULE" / "IMG").mkdir(parents=True)
    for ending in ("MTL.txt", "SR_B1.TIF", "QA_PIXEL.TIF"):
        (folder / f"{SCENE}_{ending}").write_text("x")
    for output in (f"{SCENE}_SR_B1.TIF", f"{SCENE}_QA_PIXEL.TIF", "GRANULE/IMG/a.tif"):
        with pytest.raises(InputError, match=r"belongs to .*, an input of this call"):
            refuse_inputs([folder / output], [folder / named])
    (folder / "results").mkdir()
    others = [folder / "fused.tif", folder / "results" / "fused.tif", tmp_path / "fused.tif"]
    refuse_inputs(others, [folder / named])


def test_nothing_is_written_into_an_input_that_is_a_folder(folder):
    with pytest.raises(InputError, match=r"belongs to .*x\.zarr, an input"):
        refuse_inputs([folder / "x.zarr" / "a.tif"], [folder / "x.zarr"])


def test_no_message_names_the_scratch_of_the_check(folder, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(folder / "m.tif", Cube(data=np.ones((2, 8, 8))))
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hyperfuse.io.formats.geotiff.GeoTiffTarget._create", full)
    assert main(["fuse", "x.img", "m.tif", "out.tif", "--method", "bicubic"]) == 1
    assert capsys.readouterr().err.strip() == "error: out.tif: no space left on the disk; free some or write elsewhere"
