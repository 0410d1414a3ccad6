from contextlib import contextmanager

import pytest

from hyperfuse.cli import main
from hyperfuse.io import write
from hyperfuse.scenes.simulate import simulate
from scenes import georeferenced_scene

RATIO = 3


@pytest.fixture
def run(capsys):
    """Run the command line in this process; return its exit code and what it wrote to stdout and stderr."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def fails(run):
    """Run a command line that has to fail; return its exit code and its only line on stderr that is no note."""

    def call(*words):
        code, out, err = run(*words)
        lines = err.splitlines()
        assert out == ""
        assert lines[-1].startswith("error: ")
        assert sum(line.startswith("error: ") for line in lines) == 1
        assert "Traceback" not in err
        return code, lines[-1].removeprefix("error: ")

    return call


@pytest.fixture(scope="session")
def scene():
    return georeferenced_scene()


@pytest.fixture(scope="session")
def pair(scene):
    return simulate(scene, ratio=RATIO, preset="mtf", srf="gaussian:480/60,560/60,660/60,840/80")


@pytest.fixture
def files(tmp_path, pair):
    """A folder with reference.tif, hsi.tif and msi.tif, and no sensor.yaml."""
    folder = tmp_path / "scene"
    folder.mkdir()
    for name, cube in (("reference", pair.reference), ("hsi", pair.hsi), ("msi", pair.msi)):
        write(folder / f"{name}.tif", cube)
    return folder


@pytest.fixture
def interrupt_after_a_tile(monkeypatch):
    """Return a context in which Ctrl-C comes when the first tile is done."""
    from hyperfuse.scenes.windows import FuseTile

    @contextmanager
    def interrupting():
        fuse_one, done = FuseTile.__call__, []

        def until(task, tile):
            if done:
                raise KeyboardInterrupt
            done.append(fuse_one(task, tile))
            return done[-1]

        with monkeypatch.context() as patch:
            patch.setattr(FuseTile, "__call__", until)
            yield

    return interrupting
