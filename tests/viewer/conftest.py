"""Images that are viewed, and a client of the application without a network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient

import hyperfuse as hf
from hyperfuse.io import ReadOptions
from hyperfuse.viewer.app import create_app
from hyperfuse.viewer.guard import Guard
from hyperfuse.viewer.image import open_cube, open_file
from hyperfuse.viewer.replies import Replies
from hyperfuse.viewer.scene import Named, ViewedScene, name_of, role_of
from viewed import PORT, TOKEN, smooth

UTM = {"crs": "EPSG:32633"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of pyramids."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HYPERFUSE_CACHE", str(folder))
    return folder


@pytest.fixture
def cube():
    """12 bands of 30 x 40 pixels of 10 m, with a gap and a bad band."""
    data = smooth(12, 30, 40)
    valid = np.ones(data.shape, bool)
    valid[:, 3, 5] = False
    good = np.ones(12, bool)
    good[7] = False
    where = {"transform": (10, 0, 500000, 0, -10, 5000000), **UTM}
    return hf.Cube(data, valid=valid, wavelengths=np.linspace(450, 900, 12), good_bands=good, nodata=-1, **where)


@pytest.fixture
def coarse(cube):
    """An HSI of the same ground with pixels of 40 m, one pixel further east."""
    where = {"transform": (40, 0, 500040, 0, -40, 5000000), **UTM}
    return hf.Cube(smooth(20, 7, 9, seed=1), wavelengths=np.linspace(420, 950, 20), **where)


@pytest.fixture
def serve():
    """Return a function that gives a client of some images: files, or cubes with a role each."""
    closing = []

    def start(*images, allowed=True, framed=False, **roles):
        named = []
        for role, image in [*(("image", one) for one in images), *roles.items()]:
            is_cube = isinstance(image, hf.Cube)
            opening = open_cube(image) if is_cube else open_file(image, ReadOptions())
            named.append(
                Named(
                    "cube" if is_cube else name_of(image), opening, role if role != "image" else role_of(opening.header)
                )
            )
        scene, executor = ViewedScene(named), ThreadPoolExecutor(2)
        closing.append((scene, executor))
        app = Guard(create_app(Replies(scene), executor), token=TOKEN, port=PORT, framed=framed)
        client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
        client.scene = scene
        if allowed:
            client.cookies.set(f"hyperfuse-{PORT}", TOKEN)
        return client

    yield start
    for scene, executor in closing:
        scene.stop()
        executor.shutdown()
        scene.close()


@pytest.fixture
def run(capsys):
    """Run the command line in this process; return its exit code and what it wrote to stdout and stderr."""
    from hyperfuse.cli import main

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call
