"""Runs in processes of their own: two of them together, and one that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from hyperfuse.training.checkpoints import latest_checkpoint
from hyperfuse.training.run_log import read_log


@pytest.fixture
def launch(tmp_path, made):
    """A function that starts ``hyperfuse train`` on scenes in files: the process, and the folder of the run."""
    data = tmp_path / "scenes"
    data.mkdir()
    for seed, name in enumerate(("one", "two", "three", "four")):
        np.save(data / f"{name}.npy", made.wavy(seed))
    started = []

    def start(name, *words, environment=None, **changes):
        corners = {"output": str(tmp_path / name), "data": {"folder": str(data)}}
        values = made.merged(made.merged(made.tiny, corners), changes)
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values))
        command = [sys.executable, "-m", "hyperfuse", "train", str(file), *words]
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        started.append(subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1], tmp_path / name

    yield start
    for process in started:
        process.kill()
        process.wait()


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def weights(folder):
    path = latest_checkpoint(folder)
    return load_file(path / "training.safetensors") | load_file(path / "model.safetensors")


def losses(folder):
    return [entry["loss"] for entry in read_log(folder) if "loss" in entry]


def group(count):
    """Return the environment of each of ``count`` processes of one host, as torchrun and accelerate set it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    together |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{**together, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


VARIED = {
    "data": {"validation": ["three", "four"]},
    "accumulation": 2,
    "average": {"decay": 0.9},
    "augmentation": {"symmetries": True, "random_starts": True, "mix": 0.3},
    "degradation": {"ratios": [2, 3], "phase_jitter": 0.2},
    "optimiser": {"learning_rate": 2e-3, "gradient_norm": 0.1},
}


@pytest.mark.slow
def test_two_processes_learn_what_one_does(launch, tmp_path, made):
    alone, alone_folder = launch("alone", **VARIED)
    code, _, err = finish(alone)
    assert code == 0, err
    pair = [launch("pair", environment=environment, **VARIED)[0] for environment in group(2)]
    ends = [finish(process) for process in pair]
    assert [code for code, _, _ in ends] == [0, 0], ends
    # Only the first speaks.
    assert ends[0][1].startswith(str(tmp_path / "pair" / "best"))
    assert ends[1][1] == ""
    one, two = losses(alone_folder), losses(tmp_path / "pair")
    assert len(one) == len(two) == 12
    assert two[0] == pytest.approx(one[0], rel=1e-6)
    np.testing.assert_allclose(two, one, rtol=1e-3)
    scores = [
        [entry["validation/psnr_db"] for entry in read_log(folder) if "validation/psnr_db" in entry]
        for folder in (alone_folder, tmp_path / "pair")
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02)
    # A run of two may be resumed by one.
    more, _ = launch("pair", "--resume", **VARIED)
    assert finish(more)[0] == 0


@pytest.mark.slow
def test_two_processes_train_a_network_with_parameters_that_do_nothing(launch, tmp_path):
    words = "network.name=mimo-sst", "network.options={}", "network.intermediate=true", "length=3"
    changes = {"degradation": {"ratios": [4]}}
    pair = [launch("idle", *words, environment=environment, **changes)[0] for environment in group(2)]
    ends = [finish(process) for process in pair]
    assert [code for code, _, _ in ends] == [0, 0], ends
    alone, _ = launch("same", *words, **changes)
    assert finish(alone)[0] == 0
    np.testing.assert_allclose(losses(tmp_path / "idle"), losses(tmp_path / "same"), rtol=1e-3)


@pytest.mark.slow
def test_a_batch_must_be_shared_out_evenly(launch):
    first, second = (launch("odd", environment=environment, batch=3)[0] for environment in group(2))
    for process in (first, second):
        code, _, err = finish(process)
        assert code == 2
        assert "error: a batch of 3 cannot be shared out among 2 processes evenly" in err


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(launch):
    changes = {**VARIED, "length": 60, "checkpoints": {"every": 7}, "validation": {"every": 20}}
    whole, whole_folder = launch("whole", **changes)
    killed, folder = launch("killed", **changes)
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 100
    while killed.poll() is None and time.monotonic() < deadline:
        if log.is_file() and log.read_bytes().count(b"\n") > 17:
            break
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    step = int(latest_checkpoint(folder).name.removeprefix("step-"))
    assert 14 <= step < 56
    assert len(losses(folder)) >= step
    again, _ = launch("killed", "resume=true", "--json", **changes)
    code, out, err = finish(again)
    assert code == 0, err
    assert f"resuming {folder} after step {step} of 60" in err
    assert finish(whole)[0] == 0
    expected, found = weights(whole_folder), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(folder) == losses(whole_folder)
    assert json.loads(out)["steps"] == 60
