"""The programs of the pages on many pairs and on clusters run as they stand, as files of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hyperfuse as hf

pytest.importorskip("joblib")
pytest.importorskip("distributed")

DOCS = Path(__file__).parents[1] / "docs"


def programs(page):
    blocks = re.findall(
        r"^```python\n# (\w+\.py)\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return dict(blocks)


def run(folder, name, text):
    (folder / name).write_text(text, "utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def save_pair(folder, seed, rows=32, cols=64):
    folder.mkdir(parents=True, exist_ok=True)
    scene = np.random.default_rng(seed).random((5, rows // 8, cols // 8), np.float32).repeat(8, 1).repeat(8, 2)
    pair = hf.simulate(scene, ratio=4, srf="boxes:3")
    hf.write(folder / "hsi.tif", pair.hsi)
    hf.write(folder / "msi.tif", pair.msi)


def test_pairs_are_fused_by_joblib_as_one_by_one(tmp_path):
    for seed in range(2):
        save_pair(tmp_path / "pairs" / f"p{seed}", seed)
    (tmp_path / "pairs" / "p2").mkdir()
    ((name, text),) = programs("many-pairs.md").items()
    lines = run(tmp_path, name, text)
    assert lines[:2] == ["p0: done", "p1: done"]
    assert re.fullmatch(r"p2: .*[hm]si\.tif: does not exist", lines[2])
    pair = tmp_path / "pairs" / "p1"
    alone = hf.fuse(pair / "hsi.tif", pair / "msi.tif", method="local-regression")
    np.testing.assert_allclose(hf.read(tmp_path / "results" / "p1.tif").data, alone.data, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fuse_on_cluster.py", r"fused in tiles, \d+ of \d+ with data"),
        ("lose_a_worker.py", r"killed 1 worker, largest difference (0|\de-0[6-9]|\de-1\d)"),
    ],
)
def test_tiles_are_fused_on_a_cluster_of_this_machine(tmp_path, name, said):
    save_pair(tmp_path, 3, rows=64, cols=160)
    lines = run(tmp_path, name, programs("clusters.md")[name])
    assert re.fullmatch(said, lines[-1]), lines
