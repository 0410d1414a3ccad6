"""The plugin in QGIS itself, without windows: by ``qgis_process``, and in Debian's own Python."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import hyperfuse
from hyperfuse.io import read

pytestmark = pytest.mark.qgis
SCRIPT = Path(__file__).parents[2] / "qgis" / "checks" / "headless.py"
HOSTILE = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA"),
)


def qgis_process(environ, *words):
    # Debian's script of that name without .bin adds an option that the program does not know (qgis/QGIS#57683).
    assert shutil.which("qgis_process.bin"), "QGIS is not installed; .ci/qgis installs it"
    done = subprocess.run(
        ["qgis_process.bin", *map(str, words)], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_qgis_process_enables_the_plugin_and_fuses(profile, pair, program, tmp_path):
    environ, _ = profile
    environ["HYPERFUSE_EXECUTABLE"] = str(program)
    qgis_process(environ, "plugins", "enable", "hyperfuse_processing")
    out = tmp_path / "fused.tif"
    words = [f"HSI={pair / 'hsi.tif'}", f"MSI={pair / 'msi.tif'}", "METHOD=gsa", f"OUTPUT={out}"]
    answer = json.loads(qgis_process(environ, "--json", "run", "hyperfuse:fuse", "--", *words))
    assert answer["results"] == {"OUTPUT": str(out)}
    fused = read(out)
    assert fused.data.shape == (20, 60, 60)
    np.testing.assert_allclose(fused.wavelengths, read(pair / "hsi.tif").wavelengths)
    assert out.with_suffix(".qml").is_file()


def test_algorithms_in_a_qgis_without_windows(profile, pair, odd_names, program, tmp_path):
    environ, plugins = profile
    job = {
        "plugins": str(plugins),
        "folder": str(pair),
        "program": str(program),
        "hostile": HOSTILE,
        "odd": odd_names,
        "slow": {"EXTRA": "--tile 24 --workers 2"},
        "cancel": {"cancelled at once": 0.5, "cancelled at work": "tile 1 of"},
        "answers": str(tmp_path / "answers.json"),
    }
    (tmp_path / "job.json").write_text(json.dumps(job), "utf-8")
    done = subprocess.run(
        ["/usr/bin/python3", SCRIPT, tmp_path / "job.json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    _check_program(found)
    _check_fused(found)
    _check_odd_names(found, odd_names)
    _check_cancelled(found)
    _check_others(found)
    _check_refused(found)


def _check_program(found):
    able, why = found["without a program"]
    assert not able
    assert "pipx install hyperfuse" in why
    assert "\n" not in why
    assert found["with a setting"] == [True, ""]
    assert "gsa" in found["methods"]
    assert found["unloaded"]


def _check_fused(found):
    fuse = found["fuse"]
    assert "failure" not in fuse, fuse["failure"]
    said = fuse["said"]
    assert len(said["progress"]) > 3
    assert said["progress"] == sorted(said["progress"])
    assert said["progress"][-1] == 100
    assert any("PSF" in text for text in said["info"])
    assert len(said["command"]) == 1
    fused, error = sorted(found["layers"], key=lambda layer: layer["name"], reverse=True)
    assert (fused["name"], error["name"]) == ("hsi, fused", "hsi, expected error")
    assert fused["size"] == error["size"] == [60, 60, 20]
    assert fused["renderer"] == "multibandcolor"
    wavelengths = np.linspace(430, 890, 20)
    assert fused["bands"] == [1 + int(np.abs(wavelengths - colour).argmin()) for colour in (650, 560, 470)]
    for name, wavelength in zip(fused["band_names"], wavelengths, strict=True):
        assert re.search(r"([0-9.]+) nm", name), name
        assert float(re.search(r"([0-9.]+) nm", name)[1]) == pytest.approx(wavelength, abs=0.01)
    assert Path(fused["source"]).with_suffix(".qml").is_file()
    assert "<html" in Path(fuse["results"]["REPORT"]).read_text("utf-8")[:500]


def _check_odd_names(found, names):
    assert found["variable"] == [True, 20]
    assert "failure" not in found["odd names"], found["odd names"]["failure"]
    fused = read(names["OUTPUT"])
    np.testing.assert_allclose(fused.wavelengths, np.linspace(430, 890, 20)[[0, 1, 2, 6]])
    assert not list(Path(names["OUTPUT"]).parent.glob(".*"))


def _check_cancelled(found):
    for name in ("cancelled at once", "cancelled at work"):
        call = found[name]
        assert call["results"] == {}
        assert call["after"] < 1
        assert call["ended"], "there was no process to end"
        assert call["alive"] == []
        # QGIS writes statistics of the images that it opens.
        assert [file for file in call["new"] if not file.endswith(".aux.xml")] == []
    assert len(found["cancelled at work"]["ended"]) >= 3  # the program and its workers


def _check_others(found):
    made = found["simulate"]["results"]
    assert read(made["MSI"]).data.shape == (4, 60, 60)
    assert read(made["HSI"]).data.shape == (20, 15, 15)
    assert Path(made["SENSOR"]).is_file()
    layers = {layer["name"]: layer["bands"] for layer in found["simulated layers"]}
    assert layers["reference, simulated HSI"] == next(
        layer["bands"] for layer in found["layers"] if layer["name"] == "hsi, fused"
    )
    assert "reference, simulated MSI" in layers
    scores = found["evaluate"]["results"]
    expected = hyperfuse.evaluate(
        read(Path(found["fuse"]["results"]["OUTPUT"]).parents[1] / "reference.tif"),
        read(found["fuse"]["results"]["OUTPUT"]),
        ratio=3,
    )
    for key in ("psnr_db", "sam_degrees", "ergas", "ssim"):
        assert scores[key.upper()] == pytest.approx(expected[key])
    assert "PSNR" in Path(scores["OUTPUT"]).read_text("utf-8")
    info = found["info"]["results"]
    assert [info[name] for name in ("BANDS", "ROWS", "COLS")] == [20, 60, 60]
    assert "<td>20</td><td>890</td>" in Path(info["OUTPUT"]).read_text("utf-8")
    assert found["failure"]["failure"].startswith("--psf: no PSF 'sigma:x'")


def _check_refused(found):
    refused = found["refused"]
    assert [name for name, (accepted, _) in refused.items() if accepted] == ["as it should be", "same ground"]
    for name, says in {
        "swapped": "are the two swapped?",
        "no overlap": "do not overlap",
        "no file": "is not of a file but of wms",
        "missing": "gone.tif: is no file",
        "quote": "no closing quotation",
        "two responses": "given twice",
    }.items():
        assert says in refused[name][1]
        assert "\n" not in refused[name][1]
    assert found["no responses"][0] is False
    assert "spectral responses" in found["no responses"][1]
