"""Damaged runs are refused in one line, or resume to the weights of an unbroken run; one process per run."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hyperfuse.errors import InputError
from hyperfuse.training.checkpoints import latest_checkpoint
from hyperfuse.training.examples import _unwrapped
from hyperfuse.training.loop import train
from hyperfuse.training.run_folder import run_locked


class Killed(BaseException):
    pass


def kill_after_five(fraction, message=""):
    if fraction > 5 / 12:
        raise Killed


@pytest.fixture
def broken(make, scenes, tmp_path):
    """The folder of a run that was killed after 5 of 12 steps."""
    with pytest.raises(Killed):
        train(make(), scenes, progress=kill_after_five)
    return make().output


def weights(folder):
    return load_file(latest_checkpoint(folder) / "training.safetensors")


def changed(data, rng):
    data = bytearray(data)
    match rng.integers(5):
        case 0:
            del data[int(rng.integers(max(len(data), 1))) :]
        case 1:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        case 2:
            data = rng.choice([b"[]", b"null", b'{"format": 1}', b"{" * 5000, b"\x00", b"1", b'{"step": "x"}', b"- a"])
        case 3:
            at = int(rng.integers(len(data)))
            data[at : at + 8] = b"\xff" * 8
        case _:
            numbers = [at for at, byte in enumerate(data[:4000]) if chr(byte).isdigit()]
            data[numbers[int(rng.integers(len(numbers)))]] = ord("9")
    return bytes(data)


def test_damage_of_any_file_is_refused_in_one_line_or_changes_no_weight(make, scenes, broken, tmp_path):
    shutil.copytree(broken, tmp_path / "kept")
    train(make(output=tmp_path / "whole"), scenes)
    expected = weights(tmp_path / "whole")
    files = sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file())
    assert len(files) >= 6
    rng, resumed = np.random.default_rng(7), 0
    for number in range(90):
        name = files[number % len(files)]
        shutil.rmtree(broken)
        shutil.copytree(tmp_path / "kept", broken)
        data = changed((broken / name).read_bytes(), rng)
        (broken / name).write_bytes(data)
        try:
            train(make(resume=True), scenes)
        except InputError as error:
            assert "\n" not in str(error), (name, data[:80])  # noqa: PT017
            assert len(str(error)) < 500  # noqa: PT017
        else:
            resumed += 1
            found = weights(broken)
            assert all(torch.equal(expected[key], value) for key, value in found.items()), (name, data[:80])
    assert resumed > 10


def test_the_checkpoint_before_a_damaged_one_is_resumed(make, scenes, broken):
    state = latest_checkpoint(broken) / "state.json"
    record = json.loads(state.read_text())
    state.write_text(json.dumps({**record, "step": 3}))
    with pytest.raises(InputError, match=r"cannot be read \(state\.json was changed\); remove it to resume from"):
        train(make(resume=True), scenes)
    shutil.rmtree(state.parent)
    assert train(make(resume=True), scenes).steps == 12


def test_two_processes_do_not_train_in_one_folder(make, scenes, broken, tmp_path):
    with run_locked(broken), pytest.raises(InputError, match="another process trains in it"):
        train(make(resume=True), scenes)
    (broken / ".lock").touch()  # of a process that was killed
    train(make(resume=True), scenes)
    assert not (broken / ".lock").exists()


def test_a_run_that_is_complete_says_so(make, scenes):
    notes = []
    train(make(), scenes)
    before = weights(make().output)
    result = train(make(resume=True), scenes, note=notes.append)
    assert notes == [f"{make().output} is complete"]
    assert result.best_scores == result.scores
    assert all(torch.equal(before[key], value) for key, value in weights(make().output).items())


def test_without_shared_memory_the_message_says_what_is_missing(make, scenes, monkeypatch):
    import multiprocessing.synchronize as synchronize

    def missing(*args):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(synchronize._multiprocessing, "SemLock", missing)
    with pytest.raises(InputError, match=r"need shared memory, .*: mount /dev/shm, .* or set workers=0"):
        train(make(workers=1), scenes)


def test_too_little_shared_memory_is_reported_as_such():
    def batches():
        yield 1
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. insufficient shared memory (shm)")

    found = _unwrapped(batches())
    assert next(found) == 1
    with pytest.raises(InputError, match="--shm-size"):
        next(found)
