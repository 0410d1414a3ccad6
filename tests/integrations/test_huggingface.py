"""Networks on a small hub on this machine, through huggingface_hub itself; and the card of a network."""

import base64
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
import torch
import yaml

import hyperfuse as hf
from hyperfuse.errors import InputError, MissingDependencyError
from hyperfuse.networks.pretrained import find_pretrained, save_pretrained
from hyperfuse.training.configuration import TrainingConfig, to_yaml

hub = pytest.importorskip("huggingface_hub")
from hyperfuse.integrations.huggingface import (  # noqa: E402
    HubNetwork,
    MeasuredScores,
    model_card,
    write_model_card,
)

BASE = {"method": "feinfn", "settings": {"steps": 0}, "guidance": True, "scale": 0.01}


def build():
    torch.manual_seed(3)
    return hf.create_network("feinfn", hsi_bands=4, msi_bands=2, width=8)


class SmallHub(http.server.BaseHTTPRequestHandler):
    """The requests by which huggingface_hub makes a repository, commits to it and reads from it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts, files = self.path.strip("/").split("/"), self.server.files
        self.server.seen.append(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            self.server.private[name] = asked.get("private", asked.get("visibility") == "private")
            self.answer(200, {"url": f"http://{self.headers['Host']}/{name}", "name": name})
        elif parts[-2] == "preupload":
            listed = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer(200, {"files": listed})
        elif parts[-2] == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    name = f"{parts[2]}/{parts[3]}"
                    files[name, line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                200,
                {
                    "commitUrl": f"http://{self.headers['Host']}/{parts[2]}/{parts[3]}/commit/1",
                    "commitOid": "1" * 40,
                    "success": True,
                },
            )
        else:
            self.answer(200, {"errors": [], "warnings": []})

    def do_GET(self):
        owner, name, _, revision, *path = [*self.path.strip("/").split("/"), "", "", ""][:7]
        found = self.server.files.get((f"{owner}/{name}", "/".join(part for part in path if part)))
        if revision not in ("main", "1" * 40):
            return self.answer(404, {"error": "revision"}, X_Error_Code="RevisionNotFound")
        if found is None:
            known = any(repository == f"{owner}/{name}" for repository, _ in self.server.files)
            code = "EntryNotFound" if known else "RepoNotFound"
            return self.answer(404, {"error": code}, X_Error_Code=code, X_Repo_Commit="1" * 40)
        return self.answer(200, found, ETag=f'"{hashlib.sha1(found).hexdigest()}"', X_Repo_Commit="1" * 40)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls


@pytest.fixture
def small_hub():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SmallHub) as server:
        server.files, server.private, server.seen = {}, {}, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(code, folder, **environment):
    """Run Python with its own environment: huggingface_hub reads it once, when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {"HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


UPLOAD = """
import torch, hyperfuse as hf
from hyperfuse.integrations.huggingface import HubNetwork, MeasuredScores
from hyperfuse.networks.pretrained import push_to_hub
torch.manual_seed(3)
network = hf.create_network("feinfn", hsi_bands=4, msi_bands=2, width=8)
scores = [MeasuredScores("Indian Pines", {"psnr_db": 41.5}, 4)]
HubNetwork(network).push_to_hub("me/first", private=True, model_card_kwargs={"scores": scores, "licence": "apache-2.0"})
print(push_to_hub(network, "folder", "me/second"))
"""
READ = """
import numpy as np, torch, hyperfuse as hf
from hyperfuse.cli import main
from hyperfuse.integrations.huggingface import HubNetwork
first = HubNetwork.from_pretrained("me/first", revision="main")
second = hf.from_pretrained("hub:me/second@main")
for (name, one), other in zip(first.network.state_dict().items(), second.state_dict().values(), strict=True):
    assert torch.equal(one, other), name
print(float(first.network.state_dict()[name].sum()))
pair = hf.simulate(np.random.default_rng(0).random((4, 32, 32), np.float32), ratio=4, srf="boxes:2")
hf.write("hsi.tif", pair.hsi)
hf.write("msi.tif", pair.msi)
assert main(["fuse", "hsi.tif", "msi.tif", "fused.tif", "--network", "hub:me/first@main", "--quiet"]) == 0
assert hf.read("fused.tif").history[-1]["settings"]["weights"] == "hub:me/first@" + "1" * 40
for name in ("hub:me/absent", "hub:me/other", "hub:me/first@older", "hub:nonsense", "hub:a/b/c"):
    try:
        hf.from_pretrained(name)
    except hf.InputError as error:
        print(error)
"""
OFFLINE = """
import hyperfuse as hf
from hyperfuse.integrations.huggingface import HubNetwork
networks = hf.from_pretrained("hub:me/first@main"), HubNetwork.from_pretrained("folder").network
print(*(type(network).__name__ for network in networks))
for read in (lambda: hf.from_pretrained("hub:me/absent"), lambda: HubNetwork.from_pretrained("me/absent")):
    try:
        read()
    except hf.InputError as error:
        print(error)
"""


def test_upload_download_and_offline_through_a_hub_on_this_machine(tmp_path, small_hub):
    address = f"http://127.0.0.1:{small_hub.server_port}"
    online = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret"}
    code, out, err = run(UPLOAD, tmp_path, **online)
    assert code == 0, err
    assert out.strip().endswith("/me/second/commit/1")
    assert set(small_hub.seen) == {"Bearer hf_secret"}
    assert small_hub.private == {"me/first": True, "me/second": True}
    names = {name for repository, name in small_hub.files if repository == "me/first"}
    assert names == {"README.md", "config.json", "model.safetensors"}
    head = yaml.safe_load(small_hub.files["me/first", "README.md"].decode().split("---")[1])
    assert head["model-index"][0]["results"][0]["metrics"] == [{"type": "psnr", "value": 41.5, "name": "PSNR (dB)"}]
    small_hub.files["me/other", "README.md"] = b"another library's"
    code, out, err = run(READ, tmp_path, **online)
    assert code == 0, err
    total, absent, other, revision, nonsense, deep = out.splitlines()
    assert float(total) == pytest.approx(float(list(build().state_dict().values())[-1].sum()))
    assert absent == "hub:me/absent: no such repository on the hub, or a private one: log in (hf auth login)"
    assert other == "hub:me/other: holds no config.json, so it is no network that hyperfuse saved"
    assert revision == "hub:me/first: the repository has no such revision"
    assert nonsense == "hub:nonsense: write hub:OWNER/NAME"
    assert deep == "hub:a/b/c: is no name of a repository; write OWNER/NAME"
    before = len(small_hub.seen)
    code, out, err = run(OFFLINE, tmp_path, **online, HF_HUB_OFFLINE="1")
    assert code == 0, err
    kinds, *refused = out.splitlines()
    assert kinds == "FeINFN FeINFN"
    said = "config.json is not in the cache, and HF_HUB_OFFLINE is set; download it first"
    assert refused == [f"hub:me/absent: {said}"] * 2
    assert len(small_hub.seen) == before


def test_a_hub_network_is_saved_in_our_own_format_with_a_card(tmp_path):
    model = HubNetwork(build(), BASE)
    model.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["format"] == 1
    again = HubNetwork.from_pretrained(tmp_path / "saved")
    assert again.base == BASE
    images = torch.rand(1, 4, 4, 4), torch.rand(1, 2, 16, 16)
    assert torch.equal(again(*images), model.eval()(*images))
    with pytest.raises(InputError, match="weights_only is no option"):
        HubNetwork.from_pretrained(tmp_path / "saved", weights_only=False)
    (tmp_path / "saved" / "config.json").write_text("[")
    with pytest.raises(InputError, match="not readable JSON"):
        HubNetwork.from_pretrained(tmp_path / "saved")


@pytest.fixture
def training_run(tmp_path):
    config = TrainingConfig(
        output=tmp_path / "run",
        length="20 steps",
        data={"kind": "cave", "folder": "/data/private", "train": ["paints", "sponges"], "validation": ["balloons"]},
        degradation={"ratios": [4, 8]},
    )
    save_pretrained(build(), tmp_path / "run" / "best")
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(config))
    scores = {"step": 12, "psnr_db": 40, "x4/psnr_db": 44.25, "x4/sam_degrees": 2.5, "x8/psnr_db": 39.5}
    (tmp_path / "run" / "best" / "scores.json").write_text(json.dumps(scores))
    return tmp_path / "run"


def test_the_card_states_what_was_measured_and_recorded(training_run):
    tested = MeasuredScores("CAVE, uestc-test", {"psnr_db": 46.7, "ssim": 0.991}, 4, "hyperfuse benchmark")
    path = write_model_card(
        training_run / "best", scores=[tested], licence="apache-2.0", data_terms="CAVE is for research."
    )
    card = hub.ModelCard.load(path)
    data = card.data.to_dict()
    assert data["library_name"] == "hyperfuse"
    assert data["license"] == "apache-2.0"
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert found == {
        ("CAVE, uestc-test, x4", "psnr"): 46.7,
        ("CAVE, uestc-test, x4", "ssim"): 0.991,
        ("cave, balloons, x4", "psnr"): 44.25,
        ("cave, balloons, x4", "sam"): 2.5,
        ("cave, balloons, x8", "psnr"): 39.5,
    }
    for text in (
        "paints, sponges",
        "balloons",
        "44.25",
        "46.70",
        "chose the weights",
        "CAVE is for research.",
        "x4, x8",
    ):
        assert text in card.text, text
    assert "/data/private" not in card.content
    assert f"{sum(one.numel() for one in build().parameters()):,} parameters" in card.text


def test_a_card_fills_nothing_in_and_warns_of_scores_that_flatter(training_run):
    alone = model_card(build())
    assert "None were measured." in alone
    assert "none stated" in alone
    assert "eval_results" not in alone
    assert "model-index" not in alone
    assert "so that they flatter" in model_card(build(), training_run)
    with pytest.raises(InputError, match=r"holds no config.yaml"):
        model_card(build(), training_run / "best")
    with pytest.raises(InputError, match="'psnr' is none of psnr_db"):
        MeasuredScores("CAVE", {"psnr": 46.7}, 4)


def test_a_name_of_the_hub_needs_its_package_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert type(hf.from_pretrained(save_pretrained(build(), tmp_path))).__name__ == "FeINFN"
    with pytest.raises(MissingDependencyError, match=r"hyperfuse\[hub\]"):
        find_pretrained("hub:owner/name")
