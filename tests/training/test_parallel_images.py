"""Images of a base made by parallel processes: those that one process makes, also after an interruption."""

import os
from contextlib import suppress

import numpy as np
import psutil
import pytest
import torch

from hyperfuse.errors import HyperfuseError
from hyperfuse.methods import base_image
from hyperfuse.runtime.workers import WorkersKilledError
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.training import base_images
from hyperfuse.training.base_images import BaseImages, Inputs
from hyperfuse.training.loop import train
from hyperfuse.training.sections import BaseSection
from parallel_tasks import enlarged

SENSOR = create_sensor("uestc", 2, Srf(np.full((2, 3), 1 / 3)))


def pairs(count):
    generator = torch.Generator().manual_seed(0)
    return [
        Inputs(torch.rand(3, 4, 5, generator=generator), torch.rand(2, 8, 10, generator=generator), SENSOR)
        for _ in range(count)
    ]


def two(inputs):
    return 2


def running_workers():
    """Children of this process that make images; one that has ended may not have been waited for."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie among them
            if "hyperfuse.runtime.workers" in child.cmdline():
                found.append(child)
    return found


def without_process(image):
    image = image.clone()
    image[0, 0, 0] = 0
    return image


def test_parallel_processes_make_what_one_makes_in_the_same_order(tmp_path):
    inputs = pairs(5)
    images = BaseImages("method", enlarged, tmp_path, two)
    found = images.all([*inputs, inputs[1]])
    assert (images.made, images.found) == (5, 1)
    processes = {int(image[0, 0, 0]) for image in found}
    assert os.getpid() not in processes
    assert len(processes) == 2
    for one, image in zip([*inputs, inputs[1]], found, strict=True):
        assert torch.equal(without_process(image), without_process(enlarged(*one)))
    later = BaseImages("method", None, tmp_path, two)
    assert all(torch.equal(one, other) for one, other in zip(later.all(inputs), found, strict=False))
    assert (later.made, later.found) == (0, 5)


def test_what_was_made_before_an_interruption_is_found(tmp_path):
    inputs, first = pairs(6), BaseImages("method", enlarged, tmp_path, two)

    def interrupt():
        if first.made == 3:
            raise KeyboardInterrupt

    first.report = interrupt
    with pytest.raises(KeyboardInterrupt):
        first.all(inputs)
    assert not running_workers()
    assert len(list(tmp_path.iterdir())) == 3
    second = BaseImages("method", enlarged, tmp_path)
    found = second.all(inputs)
    assert (second.made, second.found) == (3, 3)
    for one, image in zip(inputs, found, strict=True):
        assert torch.equal(without_process(image), without_process(enlarged(*one)))


def test_what_another_process_makes_in_the_meantime_is_not_made_again(tmp_path, monkeypatch):
    """Of two processes that train together each starts at its half; here the other one has made all but the first."""
    inputs = pairs(4)
    alone = BaseImages("method", enlarged, tmp_path)
    alone.all(inputs)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        path.unlink()
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    images = BaseImages("method", enlarged, tmp_path, two)
    key = images._key(*inputs[0])
    reported = []

    def others():
        reported.append(images.made + images.found)
        for name, data in made.items():
            if name != f"{key}.npy":
                (tmp_path / name).write_bytes(data)

    images.report = others
    images.all(inputs)
    assert reported == [1, 2, 3, 4]
    # Both workers started, at the third and the fourth; of what was left only the first was not there.
    assert images.made <= 3
    assert images.found >= 1


def test_processes_that_are_killed_again_and_again_are_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    def killed(*arguments, **options):
        raise WorkersKilledError("the worker processes are killed again and again (killed by SIGKILL)")

    monkeypatch.setattr(base_images, "run_in_workers", killed)
    with pytest.raises(HyperfuseError, match=r"\(killed by SIGKILL\); images that were made are kept: free memory"):
        BaseImages("method", enlarged, tmp_path, two).all(pairs(2))


def test_there_are_as_many_processes_as_cores_and_memory_admit(monkeypatch):
    base = base_image.create_base(BaseSection(method="regression"), parallel=True)
    (one,) = pairs(1)
    workers = base.image._workers
    monkeypatch.setattr(base_image, "usable_threads", lambda: 16)
    monkeypatch.setattr(base_image, "free_bytes", lambda: 1e12)
    assert workers(one) == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers(one) == 4
    monkeypatch.setattr(base_image, "free_bytes", lambda: 2.2e9)  # half of it holds three processes
    assert workers(one) == 3
    monkeypatch.setattr(base_image, "free_bytes", lambda: 0.0)
    assert workers(one) == 1
    # Processes import the main script, so that Python gets them on request only.
    monkeypatch.setattr(base_image, "free_bytes", lambda: 1e12)
    assert base_image.create_base(BaseSection(method="regression")).image._workers(one) == 1


def test_a_run_is_the_same_with_images_of_parallel_processes(make, scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERFUSE_CACHE", str(tmp_path / "cache"))
    section = {"method": "local-regression", "versions": 2, "cache": False}
    weights = []
    for cores in (1, 2):
        monkeypatch.setattr(base_image, "usable_threads", lambda cores=cores: cores)
        config = make(output=tmp_path / str(cores), length=3, base=section, augmentation={"gain": 0.2})
        base = base_image.create_base(config.base, parallel=True)
        weights.append((train(config, scenes, base=base).best / "model.safetensors").read_bytes())
        assert base.image.made == 2 * 2 + 1
    assert weights[0] == weights[1]
