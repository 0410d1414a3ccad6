"""``hyperfuse data pack``."""

import numpy as np
import pytest

from hyperfuse.datasets import open_dataset


@pytest.fixture
def folder(tmp_path):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        np.savez(scenes / f"{name}.npz", data=generator.random((3, 16, 16)))
    return scenes


def test_scenes_are_packed(run, folder, tmp_path):
    code, out, err = run("data", "pack", folder, tmp_path / "all.pack", "--kind", "folder", "--error", "1e-3")
    assert code == 0
    assert "2 scenes" in out
    assert "a: error" in err
    assert open_dataset("folder", tmp_path / "all.pack").names == ("a", "b")


@pytest.mark.parametrize(
    ("target", "message"),
    [("scenes", "name a file"), ("all.pack", "--overwrite"), ("none/all.pack", "does not exist")],
)
def test_what_is_there_is_not_replaced(run, folder, tmp_path, target, message):
    (tmp_path / "all.pack").write_text("kept")
    code, _, err = run("data", "pack", folder, tmp_path / target, "--kind", "folder")
    assert code == 2
    assert message in err
    assert (tmp_path / "all.pack").read_text() == "kept"
