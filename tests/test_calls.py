"""Wrong calls of the public functions: each is one InputError that names the parameter."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hyperfuse as hf
from hyperfuse.calls import checked

RNG = np.random.default_rng(0)
WAVELENGTHS = [450, 500, 550, 600, 650, 700]
HSI = hf.Cube(RNG.random((6, 8, 8)), wavelengths=WAVELENGTHS)
MSI = hf.Cube(RNG.random((3, 16, 16)), wavelengths=[470, 550, 640])
REFERENCE = hf.Cube(RNG.random((6, 16, 16)), wavelengths=WAVELENGTHS)
SENSOR = hf.create_sensor("mtf", 2)
ONES = np.ones((2, 3, 3))


def fuse(hsi=HSI, msi=MSI, **options):
    return hf.fuse(hsi, msi, **{"method": "bicubic", **options})


def tiles(**options):
    return hf.fuse_tiles("a.tif", "m.tif", "out.tif", **{"method": "bicubic", **options})


WRONG = [
    ("hsi", lambda: fuse(None)),
    ("msi", lambda: fuse(msi=5)),
    ("hsi", lambda: fuse(np.array(["a"]))),
    ("hsi", lambda: fuse(HSI.header)),
    ("hsi", lambda: fuse(np.full((2, 4, 4), np.nan))),
    ("method", lambda: fuse(method=3)),
    ("method", lambda: fuse(method=None)),
    ("settings", lambda: fuse(settings=[1])),
    ("settings", lambda: fuse(settings="window=2")),
    ("settings", lambda: fuse(settings={1: 2})),
    ("geometry", lambda: fuse(geometry={"ratio": 2})),
    ("sensor", lambda: fuse(sensor="uestc")),
    ("srf", lambda: fuse(srf=np.ones((3, 6)))),
    ("psf", lambda: fuse(psf=5)),
    ("ratio", lambda: fuse(ratio="two")),
    ("ratio", lambda: fuse(ratio=(2, 2, 2))),
    ("ratio", lambda: fuse(ratio=float("nan"))),
    ("phase", lambda: fuse(phase="a")),
    ("align", lambda: fuse(align="no")),
    ("mask", lambda: fuse(mask=np.ones((3, 3), bool))),
    ("mask", lambda: fuse(mask=np.full((16, 16), 0.3))),
    ("device", lambda: fuse(device="gpu")),
    ("seed", lambda: fuse(seed="a")),
    ("progress", lambda: fuse(progress=3)),
    ("ration", lambda: fuse(ration=2)),
    ("path", lambda: hf.write(HSI, "x.tif")),
    ("cube", lambda: hf.write("x.tif", "y.tif")),
    ("cube", lambda: hf.write("x.tif", None)),
    ("path", lambda: hf.write(3, HSI)),
    ("options", lambda: hf.write("x.tif", HSI, {"dtype": "uint16"})),
    ("compression", lambda: hf.write("x.tif", HSI, compression="deflate")),
    ("nodata", lambda: hf.write("x.tif", HSI, nodata="a")),
    ("path", lambda: hf.read(None)),
    ("path", lambda: hf.read(HSI)),
    ("options", lambda: hf.read("a.tif", "1-2")),
    ("bands", lambda: hf.read("a.tif", bands=1.5)),
    ("bands", lambda: hf.read("a.tif", bands=[None])),
    ("nodata", lambda: hf.read("a.tif", nodata="x")),
    ("scale", lambda: hf.read("a.tif", scale="x")),
    ("axes", lambda: hf.read("a.tif", axes=3)),
    ("quality", lambda: hf.read("a.tif", quality=3)),
    ("no_data", lambda: hf.read("a.tif", no_data=0)),
    ("paths", lambda: hf.read_mosaic(3)),
    ("data", lambda: hf.Cube([[1, 2], [3]])),
    ("data", lambda: hf.Cube(ONES.astype(complex))),
    ("wavelengths", lambda: hf.Cube(ONES, wavelengths=["a", "b"])),
    ("wavelengths", lambda: hf.Cube(ONES, wavelengths=[1])),
    ("transform", lambda: hf.Cube(ONES, transform=5)),
    ("transform", lambda: hf.Cube(ONES, transform="abcdef")),
    ("crs", lambda: hf.Cube(ONES, crs=32633)),
    ("attributes", lambda: hf.Cube(ONES, attributes=5)),
    ("band_names", lambda: hf.Cube(ONES, band_names="ab")),
    ("history", lambda: hf.Cube(ONES, history=5)),
    ("nodata", lambda: hf.Cube(ONES, nodata="a")),
    ("wavelength", lambda: hf.Cube(ONES, wavelength=[1, 2])),
    ("array", lambda: hf.Cube.from_xarray(ONES)),
    ("ratio", lambda: hf.evaluate(REFERENCE, REFERENCE)),
    ("ratio", lambda: hf.evaluate(REFERENCE, REFERENCE, None)),
    ("peak", lambda: hf.evaluate(REFERENCE, REFERENCE, 4, peak="a")),
    ("clip", lambda: hf.evaluate(REFERENCE, REFERENCE, 4, clip="a")),
    ("scores", lambda: hf.metrics.aggregate([{}])),
    ("degrade", lambda: hf.evaluate_without_reference(HSI, MSI, REFERENCE, SENSOR)),
    ("peak", lambda: hf.metrics.psnr(REFERENCE, REFERENCE, peak="a")),
    ("image", lambda: SENSOR.degrade(None)),
    ("ratio", lambda: hf.simulate(REFERENCE, ratio="a", srf="boxes:2")),
    ("reference", lambda: hf.simulate(None, ratio=2, srf="boxes:2")),
    ("srf", lambda: hf.simulate(REFERENCE, ratio=2, srf=5)),
    ("seed", lambda: hf.simulate(REFERENCE, ratio=2, srf="boxes:2", seed=-1)),
    ("hsi_snr_db", lambda: hf.simulate(REFERENCE, ratio=2, srf="boxes:2", hsi_snr_db="a")),
    ("name", lambda: hf.get_method(5)),
    ("hsi", lambda: hf.get_method("bicubic")(HSI, MSI, SENSOR)),
    ("sensor", lambda: hf.get_method("bicubic")(torch.ones(2, 4, 4), torch.ones(2, 8, 8), None)),
    ("state", lambda: hf.get_method("bicubic").restore({})),
    ("hsi_bands", lambda: hf.create_network("feinfn", msi_bands=2)),
    ("folder", lambda: hf.from_pretrained(None)),
    ("folder", lambda: hf.open_dataset("cave", 5)),
    ("text", lambda: hf.create_psf(None, 4)),
    ("preset", lambda: hf.create_sensor(5, 4)),
    ("psf", lambda: hf.Sensor(ratio=4, psf=5)),
    ("path", lambda: hf.Sensor.load(5)),
    ("path", lambda: SENSOR.save("no/such/folder/sensor.yaml")),
    ("tile", lambda: tiles(tile="a")),
    ("workers", lambda: tiles(workers=1.5)),
    ("memory_gb", lambda: tiles(memory_gb="a")),
    ("scheduler", lambda: tiles(scheduler=5)),
    ("reading", lambda: tiles(reading={"nodata": 0})),
    ("hsi", lambda: hf.fuse_tiles(HSI, MSI, "out.tif")),
    ("compression", lambda: tiles(compression="deflate")),
]


@pytest.mark.parametrize(("parameter", "call"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_call_is_one_line_that_names_the_parameter(parameter, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hf.write("a.tif", HSI)
    hf.write("m.tif", MSI)
    with pytest.raises(hf.InputError) as caught:
        call()
    assert caught.value.parameter == parameter, caught.value
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "m.tif"]


@pytest.mark.filterwarnings("ignore::hyperfuse.HyperfuseWarning")
def test_images_are_cubes_arrays_tensors_dataarrays_and_files(tmp_path):
    pytest.importorskip("xarray")
    hf.write(tmp_path / "a.tif", HSI)
    hf.write(tmp_path / "m.tif", MSI)
    expected = fuse(HSI, MSI).data
    permuted = HSI.to_xarray().transpose("y", "x", "band")
    for hsi, msi in (
        (HSI.data, MSI.data),
        (torch.tensor(HSI.data), torch.tensor(MSI.data)),
        (permuted, MSI.to_xarray()),
        (tmp_path / "a.tif", str(tmp_path / "m.tif")),
    ):
        np.testing.assert_allclose(fuse(hsi, msi).data, expected, atol=1e-6)
    assert hf.evaluate(REFERENCE.to_xarray(), REFERENCE.to_xarray().transpose("x", "band", "y"), 4)["rmse"] == 0
    assert hf.evaluate(tmp_path / "a.tif", HSI.data, 4)["rmse"] < 1e-6
    hf.write(tmp_path / "array.tif", HSI.data)
    np.testing.assert_allclose(hf.read(tmp_path / "array.tif").data, HSI.data, atol=1e-6)
    assert hf.simulate(REFERENCE.data, ratio=2, srf="boxes:2").hsi.shape == (6, 8, 8)


@pytest.mark.filterwarnings("ignore::hyperfuse.HyperfuseWarning")
def test_a_mask_is_an_array_or_an_image(tmp_path):
    clouds = np.zeros((16, 16), np.bool_)
    clouds[:3] = True
    expected = fuse(mask=clouds).valid
    hf.write(tmp_path / "clouds.tif", clouds.astype(np.float32))
    for mask in (clouds.astype(np.uint8), torch.tensor(clouds), hf.Cube(clouds), tmp_path / "clouds.tif"):
        np.testing.assert_array_equal(fuse(mask=mask).valid, expected)


def test_a_sensor_degrades_arrays_and_scores_without_a_reference():
    degraded = SENSOR.degrade(torch.tensor(REFERENCE.data))
    assert torch.equal(SENSOR.degrade(REFERENCE.data), degraded)
    assert torch.equal(SENSOR.degrade(REFERENCE), degraded)
    scores = hf.evaluate_without_reference(degraded, REFERENCE.select_bands([0, 2]), REFERENCE, SENSOR.degrade)
    assert scores["d_lambda_khan"] == pytest.approx(0, abs=1e-6)


def test_settings_of_a_method_are_a_mapping_or_its_class():
    method = hf.get_method("cnmf")
    hsi, msi = torch.tensor(HSI.data), torch.tensor(MSI.data)
    sensor = SENSOR.replace(srf=hf.create_srf("boxes:3", HSI))
    settings = {"outer_iterations": 1, "endmembers": 3}
    assert torch.equal(method(hsi, msi, sensor, settings), method(hsi, msi, sensor, method.settings(**settings)))


def test_kinds_of_arguments():
    @checked
    def call(number: float = 1, count: int = 1, pair: tuple[float, float] | None = None, path: str | Path = "") -> None:
        """Do nothing."""

    call(np.float32(1), np.int64(2), [1, 2], Path("x"))
    call(np.array(1.0), pair=np.array([1, 2]))
    for wrong in ({"number": "1"}, {"count": 1.0}, {"pair": (1, 2, 3)}, {"path": 5}, {"number": None}):
        with pytest.raises(hf.InputError) as caught:
            call(**wrong)
        assert caught.value.parameter == next(iter(wrong))
