"""Pages name files, commands, options and public names that exist."""

import pkgutil
import re
from pathlib import Path

import pytest

import hyperfuse
from hyperfuse.cli.app import COMMANDS, options_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`")


def names(pages=PAGES):
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


@pytest.mark.parametrize("page", names())
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


@pytest.mark.parametrize("page", names())
def test_files_of_the_repository_exist(page):
    for code in CODE.findall(page.read_text("utf-8")):
        for word in re.findall(r"(?:python )?((?:src|tests|benchmarks|docs|configs)/[\w./-]+)", code):
            if "NAME" not in word and "DATA" not in word and not word.startswith("benchmarks/results/default-"):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", names())
def test_public_names_and_commands_exist(page):
    text = page.read_text("utf-8")
    for name in re.findall(r"\bhf\.(\w+)", text):
        assert name in hyperfuse.__all__, name
    for command in re.findall(r"(?:^|`|\$ )hyperfuse (\w+)", text, re.MULTILINE):
        assert command in COMMANDS, command


@pytest.mark.parametrize("page", names())
def test_options_of_commands_exist(page):
    text = page.read_text("utf-8").replace("\\\n", " ")
    for line in re.findall(r"(?:^|`|\$ )hyperfuse (.+?)(?:`|#|$)", text, re.MULTILINE):
        command, *words = line.split()
        known = {option for name in (command, "fuse") for option in options_of([name]).values()}
        for word in words:
            if re.match(r"--[a-z]", word):
                assert word.split("=")[0] in known | {"--help", "--version"}, line


@pytest.mark.parametrize("page", names())
def test_names_of_modules_resolve(page):
    text = page.read_text("utf-8")
    for name in re.findall(r"\bhyperfuse(?:\.[a-zA-Z_]\w*)+", text):
        assert pkgutil.resolve_name(name)
    for module, listed in re.findall(
        r"^from (hyperfuse[\w.]*) import ([\w, ]+)$", page.read_text("utf-8"), re.MULTILINE
    ):
        for name in listed.split(", "):
            assert hasattr(pkgutil.resolve_name(module), name), f"{module}.{name}"
