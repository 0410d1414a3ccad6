"""What results state of themselves, and how they are read again: no benchmark, but what the scripts here share.

Every results file ends with the version of the package, the commit of its source, and the call that made it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import torch

import hyperfuse as hf

RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parents[1]


def source() -> str:
    """Return version and commit: that of the last change of ``src``, and whether files differ from it."""
    commit = _git("log", "-1", "--format=%h", "--abbrev=10", "--", "src")
    changed = " with changes" if _git("status", "--porcelain", "--", "src") else ""
    return f"hyperfuse {hf.__version__}" + (f" ({commit}{changed})" if commit else "")


def made_by(call: str, threads: int | str | None = None, more: str = "") -> list[str]:
    """Return the last lines of a results file."""
    used = "" if threads is None else f", {threads} thread" + ("" if int(threads) == 1 else "s")
    made = f"{source()}, torch {torch.__version__}{used}. {more}".rstrip()
    return ["", f"{made} Made by", "", f"    {call}"]


def read_tables(path: Path) -> list[list[dict[str, str]]]:
    """Return the tables of a Markdown file: rows as cells by title."""
    tables: list[list[dict[str, str]]] = []
    titles: list[str] = []
    for line in [*path.read_text("utf-8").splitlines(), ""]:
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            titles = []
        elif not titles:
            titles = cells
            tables.append([])
        elif not set(line) <= set("|- "):
            tables[-1].append(dict(zip(titles, cells, strict=True)))
    return tables


def read_source(path: Path) -> str:
    """Return what :func:`source` wrote into a results file."""
    found = re.search(r"^(hyperfuse [\d.]+(?: \([^)]*\))?)", path.read_text("utf-8"), re.MULTILINE)
    return found.group(1) if found else "an unknown version"


def read_call(path: Path) -> str:
    """Return the call that made a results file."""
    found = re.search(r"^    (python .+|bash .+)$", path.read_text("utf-8"), re.MULTILINE)
    assert found, f"{path}: names no call"
    return found.group(1)


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
