"""``hyperfuse weights convert``, and ``fuse --network NAME --weights FILE``."""

import numpy as np
import pytest
import torch

from hyperfuse.cli.app import main
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.io import read, write
from hyperfuse.networks import create_network

BANDS, MSI_BANDS = 4, 2
UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a pair of files and a checkpoint, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    state = create_network("ssrnet", hsi_bands=BANDS, msi_bands=MSI_BANDS, variant="uestc").state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 9}, "net.pth")
    generator = np.random.default_rng(0)
    hsi = generator.random((BANDS, 8, 10), dtype=np.float32)
    msi = np.kron(hsi[:MSI_BANDS], np.ones((1, 4, 4), np.float32))
    write("hsi.tif", Cube(data=hsi, transform=(40.0, 0.0, 600000.0, 0.0, -40.0, 4e6), crs="EPSG:32633"))
    write("msi.tif", Cube(data=msi, transform=UTM, crs="EPSG:32633"))
    return tmp_path


def test_a_checkpoint_as_it_is_and_converted_give_the_same_image(folder, capsys):
    fuse = ["fuse", "hsi.tif", "msi.tif"]
    assert main([*fuse, "a.tif", "--network", "ssrnet", "--weights", "net.pth"]) == 0
    assert main(["weights", "convert", "net.pth", "net.safetensors"]) == 0
    assert "net.safetensors: ssrnet for 4 + 2 bands, variant=uestc, 517 parameters" in capsys.readouterr().err
    assert main([*fuse, "b.tif", "--network", "ssrnet", "--weights", "net.safetensors"]) == 0
    assert main([*fuse, "c.tif", "--network", "net.safetensors"]) == 0
    first = read("a.tif")
    assert six_numbers(first.transform) == UTM
    assert first.history[-1]["run"] == {"network": "ssrnet", "peak": 1.0}
    for other in ("b.tif", "c.tif"):
        assert np.array_equal(read(other).data, first.data)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fuse", "hsi.tif", "msi.tif", "o.tif", "--network", "ssrnet"], "--network ssrnet needs --weights, a file"),
        (
            ["fuse", "hsi.tif", "msi.tif", "o.tif", "--network", "srsnet", "--weights", "net.pth"],
            "no network is called that; did you mean 'ssrnet'",
        ),
        (
            ["fuse", "hsi.tif", "msi.tif", "o.tif", "--network", "tfnet", "--weights", "net.pth"],
            "is not part of tfnet for 4 + 2 bands",
        ),
        (["fuse", "hsi.tif", "msi.tif", "o.tif", "--network", "tfnet", "--weights", "no.pth"], "no weights 'no.pth'"),
        (["weights", "convert", "net.pth", "net.pt"], "net.pt: name a file that ends in .safetensors"),
        (["weights", "convert", "no.pth", "a.safetensors"], "no.pth: no such file"),
        (["weights", "convert", "net.pth", "no/a.safetensors"], "no: no such folder"),
        (["weights", "convert", "hsi.tif", "a.safetensors"], "hsi.tif: not a checkpoint of plain weights"),
        (["weights", "convert", "net.pth", "a.safetensors", "--network", "tfnet"], "is not part of tfnet"),
        (["weights", "convert", "net.pth", "a.safetensors", "--hsi-bands", "5"], "not for 5 and 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, capsys, words, said):
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "a.safetensors").exists()


def test_an_existing_file_is_replaced_only_if_asked(folder, capsys):
    words = ["weights", "convert", "net.pth", "net.safetensors"]
    assert main(words) == 0
    assert main(words) == 2
    assert "net.safetensors: exists already; pass --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert main(["weights", "convert", "net.safetensors", "net.safetensors", "--overwrite"]) == 2
    assert "is the file to convert" in capsys.readouterr().err


def test_a_training_run_becomes_a_file_that_states_how_it_was_trained(folder, capsys):
    from hyperfuse.networks.pretrained import save_pretrained
    from hyperfuse.networks.released import read_training
    from hyperfuse.training.configuration import TrainingConfig, to_yaml

    network = create_network("ssrnet", hsi_bands=BANDS, msi_bands=MSI_BANDS, variant="uestc")
    save_pretrained(network, folder / "run" / "best")
    data = {"kind": "cave", "folder": "data", "train": ["paints"], "validation": ["watercolors"]}
    values = {"output": "run", "length": 5, "data": data, "degradation": {"ratios": [4]}}
    (folder / "run" / "config.yaml").write_text(to_yaml(TrainingConfig.model_validate(values)))
    (folder / "run" / "log.jsonl").write_text('{"step": 5, "patches": 20, "patches_per_second": 4.0}\n')
    assert main(["weights", "convert", "run", "run.safetensors"]) == 0
    assert read_training(folder / "run.safetensors") == {
        "patches": 20, "seconds": 5.0, "ratio": 4, "scenes": ["paints"],
    }  # fmt: skip
    assert main(["fuse", "hsi.tif", "msi.tif", "a.tif", "--network", "run.safetensors"]) == 0
    capsys.readouterr()
    assert main(["weights", "convert", "run", "b.safetensors", "--ratio", "4"]) == 2
    assert "a training run states its network, bands and ratio" in capsys.readouterr().err
    assert main(["weights", "convert", ".", "b.safetensors"]) == 2
    assert "no training run, which has the folder best" in capsys.readouterr().err
