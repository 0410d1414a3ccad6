"""The commands and the code of the page of questions run, block after block, as they stand."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import hyperfuse as hf
from hyperfuse.cli import main
from scenes import georeferenced_scene

PAGE = Path(__file__).parents[1] / "docs" / "faq.md"
# Blocks of ```console are not run: what they install or open is tested elsewhere.
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
# What the page answers, by the questions that were asked of other programs.
ASKED = {
    "rasterio/rasterio/issues/3375", "corteva/rioxarray/issues/81", "EnMAP-Box/enmap-box/issues/266",
    "aicip/uSDN/issues/2", "J-FHu/Fusformer/issues/3", "EnMAP-Box/enmap-box/issues/1066", "qgis/QGIS/issues/67319",
    "opengeos/HyperCoast/issues/92", "opengeos/leafmap/issues/1027", "deepinv/deepinv/issues/289",
}  # fmt: skip


def test_every_question_is_answered():
    text = PAGE.read_text("utf-8")
    assert {asked for asked in ASKED if f"https://github.com/{asked})" in text} == ASKED
    for section in text.split("\n## ")[1:]:
        assert "```" in section, section.splitlines()[0]


@pytest.mark.filterwarnings("ignore::hyperfuse.HyperfuseWarning")
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scene = georeferenced_scene().replace(wavelengths=np.linspace(430, 890, 24))
    pair = hf.simulate(scene, ratio=3, srf="gaussian:480/60,560/60,660/60,840/80")
    hf.write("hsi.tif", pair.hsi)
    hf.write("msi.tif", pair.msi)
    names = {}
    assert len(BLOCKS) >= 8
    for number, (language, block) in enumerate(BLOCKS):
        if language == "python":
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            command, *words = shlex.split(line, comments=True)
            assert command == "hyperfuse", line
            assert main(words) == 0, f"{line}\n{capsys.readouterr().err}"
    fused = hf.read("fused.tif")
    np.testing.assert_allclose(fused.wavelengths, scene.wavelengths)
    assert fused.shape == scene.shape
    assert names["srf"].matrix.shape == (3, 24)
