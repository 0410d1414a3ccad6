from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.plan import Pairs, make_plan
from hyperfuse.benchmark.records import Record
from hyperfuse.metrics import METRICS, evaluate


@pytest.fixture(autouse=True)
def on_one_thread(one_thread):
    """Compute on one thread in every test of this folder."""


def write_scene(path, seed, side=24):
    """A CAVE scene as a .mat file of 16 bits: smooth spectra over waves."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / 5.0
    tilt = generator.uniform(0.3, 1.5, (4, 2, 1, 1))
    maps = 0.5 + 0.45 * np.sin(tilt[:, 0] * x + tilt[:, 1] * y + seed)
    spectra = np.cumsum(generator.uniform(0, 1, (4, 31)), axis=1)
    spectra /= spectra.sum(axis=0)
    data = np.einsum("kb,krc->rcb", spectra, maps)
    scipy.io.savemat(path, {"orig": np.rint(65535 * np.clip(data, 0, 1)).astype(np.uint16)}, do_compression=True)


@pytest.fixture(scope="session")
def cave(tmp_path_factory):
    """A folder with two tiny scenes of CAVE."""
    folder = tmp_path_factory.mktemp("cave")
    for seed, name in enumerate(("balloons", "paints")):
        write_scene(folder / f"{name}.mat", seed)
    return folder


@pytest.fixture
def plan(cave):
    """Two methods on two scenes at one ratio."""
    return make_plan([method_entry("bicubic"), method_entry("regression")], [4], Pairs("cave", cave))


def scores(psnr, **others):
    values = dict(evaluate(np.eye(12)[None], np.eye(12)[None] * 0.5, 4))
    return {**values, **dict.fromkeys(METRICS, 1.0), "psnr_db": psnr, **others}


def record(plan, entry, scene, psnr=None, failure=None, **values):
    job = next(job for job in plan.jobs if (job.entry.name, job.scene) == (entry, scene))
    found = None if psnr is None else scores(psnr, **values.pop("scores", {}))
    return Record(job, scores=found, failure=failure, **{"seconds": 1.0, "threads": 1, "at_once": 1, **values})


@pytest.fixture
def made():
    """Functions that make scenes and records."""
    return SimpleNamespace(scene=write_scene, scores=scores, record=record)
