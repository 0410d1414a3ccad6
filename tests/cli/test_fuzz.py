"""Headers and metadata of any content: no traceback, no hang, and an output that is whole or absent.

Each example changes what describes an image and leaves its pixels alone, or cuts the file; then it is read, related to
the MSI and written again. Every few examples the whole command runs.
"""

import itertools
import json
import re

import h5py
import numpy as np
import pytest
import rasterio
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.errors import HyperfuseError
from hyperfuse.io import read, write
from hyperfuse.scenes.matching.grid import match_grids
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor

FUZZ = settings(
    max_examples=20,
    deadline=20_000,  # ms: a hang is a failure
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(width=64), st.sampled_from([0, -1, 1, 2**31, 2**63, float("inf")])
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WORDS = st.one_of(NUMBERS.map(str), TEXT, st.just(""), st.lists(NUMBERS, max_size=5).map(str))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


EVERY = 8  # one example in so many runs the command


@pytest.fixture
def command_survives(run, files):
    """Fuse a changed HSI with the MSI; return the exit code after the laws were checked."""
    out = files / "fused.tif"

    def call(hsi, *words):
        out.unlink(missing_ok=True)
        before = sorted(path.name for path in files.iterdir())
        code, _, err = run("fuse", hsi, files / "msi.tif", out, "--method", "bicubic", "--no-align", *words)
        assert code in (0, 1, 2), err
        assert "Traceback" not in err
        if code == 0:
            assert read(out).data.shape[0] > 0
        else:
            assert sum(line.startswith("error: ") for line in err.splitlines()) == 1, err
            assert sorted(path.name for path in files.iterdir()) == before
        return code

    return call


@pytest.fixture
def survives(command_survives, files, pair):
    """Read a changed HSI, with the sensor next to it, and write it; return whether that succeeded."""
    examples = itertools.count()

    def call(hsi, *words):
        try:
            cube = read(hsi)
            sensor = Sensor.load(files / "sensor.yaml") if (files / "sensor.yaml").exists() else None
            # Images of other units are related too: the command divides the MSI by what it estimates.
            match_grids(cube.header, pair.msi.header, PairGeometry(sensor=sensor, ratio=3 if words else None))
            write(files / "again.tif", cube, overwrite=True)
            assert read(files / "again.tif").data.shape == cube.data.shape
            accepted = True
        except HyperfuseError as error:
            assert "\n" not in str(error)  # noqa: PT017
            accepted = False
        if next(examples) % EVERY == 0:
            code = command_survives(hsi, *words)
            assert accepted or code != 0
        return accepted

    return call


@pytest.mark.filterwarnings("ignore")
class TestEveryReader:
    @FUZZ
    @given(data=st.data())
    def test_envi_headers(self, data, files, pair, survives):
        write(files / "scene.img", pair.hsi, overwrite=True)
        header = files / "scene.hdr"
        lines = header.read_text().splitlines()
        fields = [index for index, line in enumerate(lines) if "=" in line]
        index = data.draw(st.sampled_from(fields))
        name = lines[index].split("=")[0]
        lines[index] = f"{name}= {data.draw(WORDS)}"
        if data.draw(st.booleans()):
            lines = lines[: data.draw(st.integers(0, len(lines)))]
        header.write_text("\n".join(lines), "utf-8", errors="replace")
        survives(files / "scene.img")

    @FUZZ
    @given(data=st.data())
    def test_tags_of_geotiffs(self, data, files, pair, survives):
        path = files / "hsi.tif"
        write(path, pair.hsi, overwrite=True)
        with rasterio.open(path) as opened:
            names = [*opened.tags(), "wavelength_units", "HYPERFUSE"], [*opened.tags(1), "wavelength", "fwhm", "bbl"]
        whole, of_band = data.draw(st.sampled_from(names[0])), data.draw(st.sampled_from(names[1]))
        with rasterio.open(path, "r+") as opened:
            text = data.draw(WORDS).replace("\x00", "")
            opened.update_tags(**{re.sub(r"\W", "_", whole): text})
            opened.update_tags(1, **{of_band: text})
            if data.draw(st.booleans()):
                opened.scales = [data.draw(NUMBERS.filter(lambda v: abs(v) < 1e300))] * opened.count
        survives(path)

    @FUZZ
    @given(content=PLAIN, key=st.sampled_from(["ratio", "phase", "psf", "srf", "other"]))
    def test_sensor_files(self, content, key, files, pair, survives):
        pair.sensor.save(files / "sensor.yaml")
        values = yaml.safe_load((files / "sensor.yaml").read_text())
        values[key] = content
        (files / "sensor.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
        survives(files / "hsi.tif")

    @FUZZ
    @given(text=st.one_of(TEXT, st.binary(max_size=60)))
    def test_sensor_files_of_any_text(self, text, files, survives):
        (files / "sensor.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        survives(files / "hsi.tif")

    @FUZZ
    @given(data=st.data())
    def test_attributes_of_netcdf(self, data, files, pair, survives):
        pytest.importorskip("h5netcdf")
        write(files / "scene.nc", pair.hsi, overwrite=True)
        with h5py.File(files / "scene.nc", "r+") as opened:
            names = list(opened)
            target = opened[data.draw(st.sampled_from(names))]
            ours = [name for name in target.attrs if name.isascii() and not name.startswith("_N") and name.islower()]
            keys = [name for name in ours if name not in {"dimension_list", "reference_list"}]
            key = data.draw(st.sampled_from([*keys, "scale_factor", "_FillValue", "units"]))
            value = data.draw(
                st.one_of(NUMBERS.filter(lambda v: abs(v) < 2**62), TEXT.map(lambda t: t.replace("\0", "")))
            )
            target.attrs[key] = value
        survives(files / "scene.nc")

    @FUZZ
    @given(keep=st.floats(0, 1), name=st.sampled_from(["scene.npy", "scene.npz", "scene.img", "scene.tif"]))
    def test_files_cut_anywhere(self, keep, name, files, pair, survives):
        path = files / name
        write(path, pair.hsi, overwrite=True)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * (len(content) - 1))])
        assert not survives(path, "--ratio", "3")

    @FUZZ
    @given(
        words=st.lists(WORDS, min_size=1, max_size=2),
        option=st.sampled_from(
            ["--ratio", "--phase", "--psf", "--srf", "--nodata", "--scale", "--bands", "--dtype", "--threads", "--seed"]
        ),
    )
    def test_options(self, words, option, files, command_survives):
        command_survives(files / "hsi.tif", f"{option}={','.join(words)}")


@FUZZ
@given(content=PLAIN)
def test_histories_of_any_content(content, tmp_path_factory, pair):
    """The history in a file is untrusted text."""
    folder = tmp_path_factory.mktemp("history")
    write(folder / "a.tif", pair.hsi)
    with rasterio.open(folder / "a.tif", "r+") as opened:
        for name in list(opened.tags()):
            opened.update_tags(**{name: json.dumps(content)})
    try:
        cube = read(folder / "a.tif")
    except Exception as error:
        assert type(error).__name__ in {"InputError", "HyperfuseWarning"}  # noqa: PT017
    else:
        np.testing.assert_array_equal(cube.data.shape, pair.hsi.data.shape)
