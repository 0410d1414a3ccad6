import json

import h5py
import numpy as np
import pytest
import yaml

from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.training import base_images

CONFIG = {
    "output": "run",
    "length": 4,
    "device": "cpu",
    "network": {"options": {"width": 4, "encoder_blocks": 1, "hidden": [8], "latent": 4, "decoder_width": 4}},
    "data": {
        "kind": "folder",
        "folder": "scenes",
        "train": ["one", "two"],
        "validation": ["three"],
        "test": ["four"],
        "patch": 12,
        "stride": 6,
        "srf": "boxes:2",
    },
    "degradation": {"preset": "uestc", "ratios": [2]},
    "log": {"every": 1, "tensorboard": False},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: ``train.yaml`` and ``scenes/`` with four of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    generator = np.random.default_rng(0)
    for name in ("one", "two", "three", "four"):
        np.save(tmp_path / "scenes" / f"{name}.npy", generator.random((3, 24, 20), np.float32))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_a_run_is_trained_and_told(run, folder):
    code, out, err = run("train", "train.yaml", "batch=2", "optimiser.learning_rate=1e-3", "--threads", 1)
    assert code == 0, err
    assert out.startswith("run/best: step ")
    assert " dB, SAM " in out
    assert err.splitlines()[0] == "feinfn: 2 scenes to learn from, 1 others to validate on"
    saved = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert (saved["batch"], saved["optimiser"]["learning_rate"]) == (2, 1e-3)
    assert (saved["data"]["train"], saved["data"]["test"]) == (["one", "two"], ["four"])
    assert from_pretrained(folder / "run" / "best").hsi_bands == 3


def test_resume_overwrite_and_json(run, fails, folder):
    code, out, _ = run("train", "train.yaml", "--quiet", "--json", "--threads", 1)
    assert code == 0
    first = json.loads(out)
    assert first["steps"] == 4
    assert first["best"] == "run/best"
    code, message = fails("train", "train.yaml", "--threads", 1)
    assert code == 2
    assert message.startswith("run holds a run already; --resume resumes it, --overwrite starts it again")
    for words in (["--resume"], ["resume=true"], ["--overwrite"]):
        code, out, err = run("train", "train.yaml", *words, "--quiet", "--json", "--threads", 1)
        assert code == 0, err
        assert json.loads(out)["scores"] == first["scores"]
        assert err == ""


def test_splits_of_names_in_files_and_all(run, fails, folder):
    for name, scenes in (("first", "one\ntwo  # both"), ("second", "three"), ("third", "four\n"), ("wrong", "three\n")):
        (folder / f"{name}.txt").write_text(scenes)
    words = ["data.train=first.txt", "data.validation=second.txt", "data.test=third.txt", "--threads", 1]
    assert run("train", "train.yaml", *words)[0] == 0
    saved = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert saved["data"]["train"] == ["one", "two"]
    code, message = fails("train", "train.yaml", *words, "data.test=wrong.txt", "--overwrite")
    assert (code, message) == (
        2,
        "'three' is both in data.validation and in data.test; name it once",
    )
    assert run("train", "train.yaml", "data.train=all", "--overwrite", "--threads", 1)[0] == 0
    saved = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert saved["data"]["train"] == ["one", "two"]


def test_a_patch_file(run, fails, folder):
    generator = np.random.default_rng(0)
    with h5py.File(folder / "train.h5", "w") as file:
        file["GT"] = generator.random((10, 3, 12, 12), np.float32)
        file["LRHSI"] = generator.random((10, 3, 6, 6), np.float32)
        file["RGB"] = generator.random((10, 2, 12, 12), np.float32)
    words = ["data={kind: patches, folder: train.h5, train: all, hold_out: 0.2, patch: 12, srf: boxes:2}"]
    stored = "degradation={preset: stored, ratios: [2]}"
    assert run("train", "train.yaml", *words, "--threads", 1)[0] == 0
    assert run("train", "train.yaml", *words, stored, "--threads", 1, "--overwrite")[0] == 0
    assert yaml.safe_load((folder / "run" / "config.yaml").read_text())["data"]["validation"] == ["patch-8", "patch-9"]
    code, message = fails("train", "train.yaml", *words, "data.train=[paints]", "--overwrite")
    assert (code, message[:45]) == (2, "of a patch file all patches are taken as they")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.yaml"], "none.yaml: cannot be read (no such file or directory)"),
        (["train.yaml", "lenght=3"], "train.yaml: no key 'lenght'; did you mean 'length'?"),
        (["train.yaml", "data.folder=none"], "none does not exist; "),
        (["train.yaml", "data.train=[won]"], "the scene won is not in scenes; "),
        (["train.yaml", "data.kind=cav"], "no kind of dataset 'cav'; did you mean 'cave'?"),
        (["train.yaml", "network.name=feinf"], "no network is called 'feinf'; did you mean 'feinfn'?"),
        (["train.yaml", "network.options.widht=3"], "network 'feinfn': no option 'widht'; did you mean 'width'?"),
        (["train.yaml", "data.srf=boxis:2"], "'boxis:2' is no SRF"),
        (["train.yaml", "data.patch=64"], "the scene one has 24x20 pixels for training, fewer than a patch of"),
        (["train.yaml", "degradation.ratios=[2.5]"], "the preset uestc is defined for whole ratios"),
        (["train.yaml", "network.weights=none"], "no weights 'none'; specify a folder that training wrote"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_before_anything_is_written(fails, folder, words, told):
    code, message = fails("train", *words)
    assert code == 2
    assert message.startswith(told)
    assert not (folder / "run").exists()


def test_other_processes_are_silent(run, folder, monkeypatch):
    # Without WORLD_SIZE it does not wait for the first process of a group: only what it says is looked at here.
    monkeypatch.setenv("RANK", "1")
    code, out, err = run("train", "train.yaml", "--threads", 1)
    assert (code, out, err) == (0, "", "")


def test_images_of_the_base_are_prepared_and_found_by_the_run(run, fails, folder, monkeypatch):
    monkeypatch.setenv("HYPERFUSE_CACHE", str(folder / "cache"))
    assert fails("train", "train.yaml", "--prepare") == (
        2, "train.yaml: names no base, so that there is nothing to prepare",
    )  # fmt: skip
    base = {"method": "regression", "versions": 2}
    (folder / "train.yaml").write_text(yaml.safe_dump(CONFIG | {"base": base, "batch": 1}))
    code, out, err = run("train", "train.yaml", "--prepare", "--json", "--progress", "json")
    assert code == 0, err
    first = json.loads(out)
    # Two scenes in two versions each, which are equal without augmentation, and one to validate on.
    assert (first["images"], first["made"], first["found"]) == (5, 3, 2)
    assert first["bytes"] == 3 * 3 * 24 * 20 * 4
    assert len(list((folder / "cache" / "bases").glob("*.npy"))) == 3
    assert json.loads(err.splitlines()[-2])["progress"] == 1
    assert not (folder / "run").exists()
    code, out, _ = run("train", "train.yaml", "--prepare")
    assert code == 0
    assert out.startswith("base regression: 5 images, 0 made and 5 found, 0.0 MB in ")
    monkeypatch.setattr(base_images.BaseImages, "_store", lambda *arguments: pytest.fail("made again"))
    code, _, err = run("train", "train.yaml", "--threads", 1)
    assert code == 0, err
    assert fails("train", "train.yaml", "--prepare", "base.cache=false")[0] == 2
