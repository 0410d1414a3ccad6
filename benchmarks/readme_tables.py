"""Write the tables of README.md and docs/ from the files of benchmarks/results; `make tables` calls this.

    python benchmarks/readme_tables.py
    python benchmarks/readme_tables.py --check

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; what is between the two is replaced. Below
each stand the call that measures it and the source it was measured at. With --check nothing is written, and the exit
code is 1 where a page differs from the results.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recording import RESULTS, read_call, read_source, read_tables

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "methods.md")
_BLOCK = re.compile(r"<!-- table: ([\w-]+) -->\n(.*?)<!-- end of table -->", re.DOTALL)
_PAIRS = {
    "cave-x4": "CAVE, `uestc` x4",
    "cave-x8": "CAVE, `uestc` x8",
    "remote-x4": "`mtf` x4",
    "enmap-x4": "EnMAP, `mtf` x4",
    "paris-x3": "Hyperion and ALI over Paris, x3",
}
_SCORES = (("psnr_db", ".2f"), ("sam_degrees", ".3f"), ("ergas", ".3f"), ("ssim", ".4f"))


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table."""
    return [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]


def default() -> list[str]:
    """The default, its linear part alone, and the best of the others on every scene."""
    rows, sources = [], {"default": set[str](), "linear": set[str](), "classical": set[str]()}
    for name, pair in _PAIRS.items():
        stored = json.loads((RESULTS / f"default-{name}.json").read_text("utf-8"))
        for scene, row in stored.items():
            for part, found in sources.items():
                found |= {row[part]["source"]} if part in row else set()
            best = [f"{row['classical'][key][0]:{form}} ({row['classical'][key][1]})" for key, form in _BEST]
            rows.append([pair, scene, *(_scores(row.get(part)) for part in ("default", "linear")), *best])
    titles = [
        "pair",
        "scene",
        "`feinfn`",
        "its linear part alone (`--effort fast`)",
        "best other PSNR",
        "best other SAM",
    ]
    lines = [
        *markdown(titles, rows),
        "",
        "PSNR in dB / SAM in degrees / ERGAS / SSIM.",
        *_measured("python benchmarks/default.py DATA --features FOLDER"),
    ]
    if len(set.union(*sources.values())) == 1:
        return [*lines, f"at {_listed(sources['default'])}."]
    lines += [
        f"at {_listed(sources['default'])}; the linear part at {_listed(sources['linear'])}, the others at "
        f"{_listed(sources['classical'])}."
    ]
    if sources["default"] != sources["linear"]:
        lines += ["Since these differ, the difference between the two columns is not the gain of the regression alone."]
    return lines


_BEST = (("psnr", ".2f"), ("sam", ".3f"))


def _scores(part: dict[str, Any] | None) -> str:
    return "-" if part is None else " / ".join(format(part[key], form) for key, form in _SCORES)


def _listed(sources: set[str]) -> str:
    return ", ".join(sorted(sources)) or "no source"


def _measured(call: str, source: str = "") -> list[str]:
    return [f"Measured by `{call}`", *([f"at {source}."] if source else [])]


def enmap() -> list[str]:
    """Every classical method on EnMAP."""
    file = RESULTS / "enmap-x3.md"
    titles = ["method", "PSNR (dB)", "SAM (degrees)", "ERGAS", "SSIM"]
    rows = sorted(read_tables(file)[1], key=lambda row: float(row["PSNR (dB)"]))
    return [
        *markdown(titles, [[row[title] for title in titles] for row in rows]),
        "",
        *_measured(read_call(file), read_source(file)),
    ]


def cave() -> list[str]:
    """Every classical method on the CAVE scenes that networks are tested on."""
    file = RESULTS / "cave-x4.md"
    scores = {(row["scene"], row["method"]): row for row in read_tables(file)[1]}
    scenes = [scene for scene in dict.fromkeys(scene for scene, _ in scores) if scene != "cloth_half"]
    mean = {
        method: statistics.mean(float(scores[scene, method]["PSNR (dB)"]) for scene in scenes)
        for method in dict.fromkeys(method for _, method in scores)
    }
    keys = ("PSNR (dB)", "SAM (degrees)", "ERGAS", "SSIM")
    rows = [
        [method, *(" / ".join(scores[scene, method][key] for key in keys) for scene in scenes)]
        for method in sorted(mean, key=lambda name: mean[name])
    ]
    return [*markdown(["method", *scenes], rows), "", *_measured(read_call(file), read_source(file))]


def calibration() -> list[str]:
    """Fractions of errors within the expected error, over the scenes."""
    file = RESULTS / "calibration.md"
    rows = []
    found = read_tables(file)[0]
    for noise in dict.fromkeys(row["noise"] for row in found):
        chosen = [row for row in found if row["noise"] == noise]
        fractions = zip(*([float(value) for value in row["all"].split(",")] for row in chosen), strict=True)
        met = [int(row["met of 50"]) for row in chosen]
        cells = [f"{min(one):.0f} to {max(one):.0f}, median {statistics.median(one):.0f}" for one in (*fractions, met)]
        rows.append([noise, str(len(chosen)), *cells])
    titles = ["noise of both images", "pairs", "errors within 1 sigma (%)", "within 1.96 sigma (%)", "aims met of 50"]
    return [*markdown(titles, rows), "", *_measured(read_call(file), read_source(file))]


TABLES: dict[str, Callable[[], list[str]]] = {
    "default": default,
    "enmap": enmap,
    "cave": cave,
    "calibration": calibration,
}


def filled(text: str) -> str:
    """Return a page with its tables made again."""
    return _BLOCK.sub(
        lambda found: "\n".join([f"<!-- table: {found[1]} -->", *TABLES[found[1]](), "<!-- end of table -->"]), text
    )


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page differs")
    options = parser.parse_args()
    differ = [page for page in PAGES if filled(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in differ:
        print(f"{'differs' if options.check else 'written'}: {page.relative_to(ROOT)}")
        if not options.check:
            page.write_text(filled(page.read_text("utf-8")), "utf-8")
    return 1 if differ and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
