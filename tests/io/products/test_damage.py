"""Products of which a file is cut off or holds something else: an InputError, never another exception."""

import contextlib
import shutil

import numpy as np
import pytest

import product_files
import swath_files
from hyperfuse.errors import InputError
from hyperfuse.io import read

PACE = "PACE_OCI.20250501T100000.L2.SFREFL.V3_0.nc"
WRITERS = {
    "neon": lambda folder: product_files.write_neon(folder, 16),
    "hyperion": lambda folder: product_files.write_hyperion(folder, 6),
    "wyvern": lambda folder: product_files.write_wyvern(folder, 12),
    "desis": lambda folder: product_files.write_desis(folder, 12),
    "planetscope": lambda folder: product_files.write_planetscope(folder, 16),
    "worldview": lambda folder: product_files.write_worldview(folder, 16),
    "sentinel2_l1c": lambda folder: product_files.write_sentinel2_l1c(folder, 12),
    "hypso": lambda folder: swath_files.write_hypso(folder / "hypso2_scene_l1d.nc"),
    "pace": lambda folder: swath_files.write_pace(folder / PACE),
}
FEW = 4  # files of a product that are damaged, one after the other


@pytest.mark.parametrize("product", WRITERS)
@pytest.mark.filterwarnings("ignore::hyperfuse.errors.HyperfuseWarning")
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_damaged_files_are_refused_or_harmless(tmp_path, product):
    source = tmp_path / "whole"
    source.mkdir()
    named = WRITERS[product](source).relative_to(source)
    assert np.isfinite(read(source / named).data).any()
    files = sorted(path for path in source.rglob("*") if path.is_file())
    refused = []
    for number, file in enumerate(dict.fromkeys([*files[: FEW - 2], *files[-2:]])):
        for fraction in (0.0, 0.6):
            folder = tmp_path / f"{number}-{fraction}"
            shutil.copytree(source, folder)
            target = folder / file.relative_to(source)
            raw = target.read_bytes()
            target.write_bytes(raw[: int(fraction * len(raw))] or b"nothing of the kind")
            with contextlib.suppress(InputError):
                read(folder / named)
                continue
            refused.append(target)
    assert refused
