"""The sources of the site: no page is left out, public names are listed, scripts and notebooks are fit to be shown."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

import hyperfuse

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))
from mermaid_pictures import FENCE, THEMES, picture_of  # noqa: E402

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```|^\.\. toctree::\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def files(paths):
    return [pytest.param(path, id=path.name) for path in paths]


def entries(page):
    """The paths that a page's tables of contents list, from the root of the repository."""
    found = []
    for block in TOCTREE.findall(page.read_text("utf-8")):
        for line in filter(None, map(str.strip, "".join(block).splitlines())):
            if not line.startswith(":"):
                target = line.partition("<")[2].rstrip(">") or line
                found.append(target.removeprefix("/") if target.startswith("/") else f"docs/{target}")
    return found


def code_of(notebook):
    return ["".join(cell["source"]) for cell in json.loads(notebook.read_text("utf-8"))["cells"]]


def test_every_page_is_in_one_table_of_contents():
    listed = [entry for page in DOCS.glob("*.md") for entry in entries(page)]
    assert len(listed) == len(set(listed))
    pages = {f"docs/{page.stem}" for page in DOCS.glob("*.md")} - {"docs/index"}
    left_out = pages - set(listed)
    assert not left_out, "list them in docs/guide.md, docs/research.md or docs/project.md"
    for entry in set(listed) - {"docs/gallery/index"}:
        assert [*ROOT.glob(f"{entry}.md")], entry


def test_every_public_name_is_in_the_interface():
    text = (DOCS / "api.md").read_text("utf-8")
    listed = set(re.findall(r"^   (\w+)$", text, re.MULTILINE))
    missing = set(hyperfuse.__all__) - listed - {"metrics", "__version__"}
    assert not missing, "list them in docs/api.md"
    for name in listed:
        assert hasattr(hyperfuse, name) or hasattr(hyperfuse.metrics, name), name
    assert {name for name in hyperfuse.metrics.__all__ if name.islower()} <= listed


def test_diagrams_have_their_pictures():
    texts = [text for page in DOCS.glob("*.md") for text in FENCE.findall(page.read_text("utf-8"))]
    pictures = {picture_of(text, theme) for text in texts for theme in THEMES}
    assert pictures == set((DOCS / "images").glob("mermaid-*.svg")), "make diagrams"
    for picture in pictures:
        assert not re.search(r"https?://(?!www\.w3\.org/)", picture.read_text("utf-8"))


def test_there_are_enough_scripts_and_notebooks():
    assert len(SCRIPTS) >= 8
    assert len(NOTEBOOKS) == 3
    listed = set(entries(ROOT / "examples" / "GALLERY_HEADER.rst"))
    assert listed == {f"notebooks/{notebook.stem}" for notebook in NOTEBOOKS}


@pytest.mark.parametrize("script", files(SCRIPTS))
def test_a_script_has_a_title_text_and_pictures(script):
    text = script.read_text("utf-8")
    title, underline, *_ = ast.get_docstring(ast.parse(text)).splitlines()
    assert underline == "=" * len(title)
    assert re.match(r"\d\d_\w+$", script.stem)
    assert text.count("\n# %%\n") >= 2
    assert "plt." in text


@pytest.mark.parametrize("path", files([*SCRIPTS, *NOTEBOOKS]))
def test_names_exist_and_nothing_is_downloaded(path):
    text = path.read_text("utf-8") if path.suffix == ".py" else "\n".join(code_of(path))
    for name in re.findall(r"\bhf\.(\w+)", text):
        assert name in hyperfuse.__all__, name
    assert not re.search(r"urllib|requests|urlopen|wget|curl", text)


@pytest.mark.parametrize("notebook", files(NOTEBOOKS))
def test_a_notebook_is_stored_without_outputs(notebook):
    stored = json.loads(notebook.read_text("utf-8"))
    for cell in stored["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "remove the outputs: jupyter nbconvert --clear-output --inplace"
            assert cell["execution_count"] is None
    assert "widgets" not in stored["metadata"]
    assert "".join(stored["cells"][0]["source"]).startswith("# ")
    for target in re.findall(r"\]\((?!http)([^)\s#]+)", "\n".join(code_of(notebook))):
        assert (notebook.parent / target).exists(), target
