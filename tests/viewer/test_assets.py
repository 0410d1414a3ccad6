"""The libraries of the page: those that are listed, unchanged, with their licences; nothing from elsewhere."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = files("hyperfuse.viewer") / "page"
LISTED = json.loads((PAGE / "vendor" / "assets.json").read_text("utf-8"))
FILES = {name: one for about in LISTED.values() for name, one in about["files"].items()}


def test_the_libraries_are_those_that_are_listed():
    found = {path.name for path in (PAGE / "vendor").iterdir()} - {"assets.json"}
    assert found == set(FILES)
    for name, one in FILES.items():
        assert hashlib.sha256((PAGE / "vendor" / name).read_bytes()).hexdigest() == one["sha256"], name
    for about in LISTED.values():
        assert any(name.endswith(".LICENSE") for name in about["files"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", about["version"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_npm_has_the_same_files(tmp_path):
    script = Path(__file__).parents[2] / ".ci" / "assets"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=False)
    if done.returncode and "npm" in done.stderr:
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (PAGE / "vendor" / name).read_bytes()


def test_our_own_files_name_no_other_host():
    for path in PAGE.iterdir():
        if path.is_file():
            addresses = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text("utf-8")))
            assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_page_holds_no_code_of_its_own_that_its_policy_forbids():
    text = (PAGE / "index.html").read_text("utf-8")
    assert "style=" not in text
    assert not re.search(r"\son\w+=", text)
    assert all(re.match(r" [^>]*src=", tag) for tag in re.findall(r"<script([^>]*)", text))
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert all((PAGE / name).is_file() for name in named)
