"""What an index, a citation and an environment take from the project's files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import hyperfuse

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def bounds(requirements):
    return {re.split(r"[>=\[]", name)[0]: name.partition(">=")[2] for name in requirements}


def test_links_and_pictures_of_the_page_on_an_index_are_absolute_and_lead_to_files():
    text = (ROOT / "README.md").read_text("utf-8")
    count = len(LINK.findall(text))
    for step in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(step["pattern"], step["replacement"], text)
    base = PROJECT["project"]["urls"]["Source"]
    links = LINK.findall(text)
    assert len(links) == count
    for target in links:
        assert target.startswith("https://"), target
        if target.startswith(base):
            path = re.sub(r"^/(blob|raw)/main/", "", target.removeprefix(base)).partition("#")[0]
            assert (ROOT / path).is_file(), target
            assert ("/raw/" in target) == (Path(path).suffix == ".png"), target
    assert "<!--" not in text


@pytest.mark.parametrize("name", PROJECT["project"]["urls"])
def test_addresses_of_the_project_lead_to_files(name):
    base, url = PROJECT["project"]["urls"]["Source"], PROJECT["project"]["urls"][name]
    assert url.startswith(base)
    assert (ROOT / url.removeprefix(base).removeprefix("/blob/main/")).exists()


def test_the_citation_is_of_this_version_and_names_people_in_full():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["version"] == hyperfuse.__version__
    (package,) = PROJECT["project"]["authors"]
    assert cited["authors"] == [package]
    for author in [author for one in cited["references"] for author in one["authors"]]:
        assert set(author) == {"given-names", "family-names"}


def test_the_address_of_the_project_is_one_everywhere():
    home = PROJECT["project"]["urls"]["Source"]
    host = home.removeprefix("https://").partition("/")[0]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    about = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))["about"]
    assert cited["repository-code"] == about["homepage"] == about["repository"] == home
    for name in ("pyproject.toml", "CITATION.cff", "conda/recipe.yaml"):
        for found in re.findall(rf"\S*{re.escape(host)}", (ROOT / name).read_text("utf-8")):
            assert re.fullmatch(rf".*(?:{re.escape(home)}|contributors@{re.escape(host)})", found), (name, found)


def test_the_conda_recipe_requires_what_the_project_does():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
    project, context = PROJECT["project"], recipe["context"]
    assert context["version"] == project["version"]
    assert project["requires-python"] == f">={context['python_min']}"
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert [entry] == [f"{name} = {target}" for name, target in project["scripts"].items()]
    listed = {text.partition(" ")[0]: text.partition(" >=")[2] for text in recipe["requirements"]["run"]}
    assert listed.pop("python") == "${{ python_min }}"
    listed["torch"] = listed.pop("pytorch")
    assert listed == bounds(project["dependencies"])
    host = {text for text in recipe["requirements"]["host"] if ">=" in text}
    assert {text.replace(" ", "") for text in host} == set(PROJECT["build-system"]["requires"])


def test_workflows_test_the_pythons_of_the_project_with_actions_of_fixed_commits():
    workflows = {path.stem: path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert set(workflows) == {"tests", "docs", "release"}
    matrix = yaml.safe_load(workflows["tests"])["jobs"]["test"]["strategy"]["matrix"]
    start = "Programming Language :: Python :: "
    named = [text.removeprefix(start) for text in PROJECT["project"]["classifiers"] if text.startswith(start)]
    assert matrix["python"] == named
    assert {system.partition("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}
    for name, text in workflows.items():
        uses = re.findall(r"uses: (\S+)", text)
        assert uses, name
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in uses), name
    published = yaml.safe_load(workflows["release"])["jobs"]["publish"]
    assert published["permissions"] == {"id-token": "write"}
    assert "secrets." not in workflows["release"]


def test_the_container_installs_extras_that_exist_and_copies_files_that_are_sent():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (extras,) = re.findall(r"'/package\[([\w,]+)\]'", text)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for name in line.split()[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)
    assert "\nUSER 1000\n" in text


def test_the_conda_environment_asks_for_the_versions_of_the_project():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    required = bounds(PROJECT["project"]["dependencies"])
    for name, version in bounds(one for one in listed if isinstance(one, str) and ">=" in one).items():
        assert required[name.removesuffix("-cpu").replace("pytorch", "torch")] == version
    (pip,) = [one["pip"] for one in listed if isinstance(one, dict)]
    assert set(re.findall(r"\w+", pip[0])) <= set(PROJECT["project"]["optional-dependencies"])


def test_every_target_that_make_names_has_a_rule():
    text = (ROOT / "Makefile").read_text("utf-8")
    rules = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    named = {name for line in re.findall(r'@echo "(.+)"', text) for name in re.findall(r"make ([a-z-]+)", line)}
    phony = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE).group(1).split())
    assert named <= rules
    assert phony <= rules


def test_what_a_source_distribution_holds_exists():
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (ROOT / name).exists(), name


def test_what_other_pythons_test_is_collected_without_torch():
    listed = re.findall(r"tests/\S+", (ROOT / ".ci" / "pythons").read_text("utf-8"))
    assert len(listed) > 5
    code = (
        "import sys, pytest; sys.modules.update(dict.fromkeys(['torch', 'matplotlib', 'rioxarray', 'dask', 'pyrsr'])); "
        "sys.exit(pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider', '-p', 'no:xdist', *sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *listed], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
