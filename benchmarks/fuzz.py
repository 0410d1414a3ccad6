"""Damaged files and random calls: what ends in a crash, a hang, a traceback, or a part of an output.

    python benchmarks/fuzz.py --cases 300 --seed 1
    python benchmarks/fuzz.py --only envi,netcdf --keep FOLDER

Small files of every format are changed at random, text and metadata as well as bytes, and read by `info` and `fuse`;
and random calls are made with the files as they are. Every call runs in a process of its own with a limit on time and
memory, forked from one that has loaded the package. The same seed makes the same cases. Faults are printed, each with
its call, and their files are kept in --keep. Exits with 1 if there were any.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import json
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import scipy.io

import hyperfuse as hf
from hyperfuse.cli import app, main
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.tables.markdown import render_markdown
from hyperfuse.tables.table import Column, Table

Random = np.random.Generator
SECONDS, MEMORY, KILLED_SECONDS = 15, 4 * 2**30, 90
FAULTS = ("crash", "hang", "memory", "traceback", "unexpected", "partial")
NASTY = ("-1", "0", "1e9", "1e308", "nan", "inf", "-inf", "9" * 400, "65536", "4294967296", "0.5", "1e-30", "", "a",
         "[", "{}", "null", "true", "../x", "/dev/null", "é→\u202e", "\x1b[31m", "1,2,3", ":", "%s", "-0", "=1+1",
         "&a [*a]")  # fmt: skip
FORMATS = ("geotiff", "tags", "envi", "netcdf", "hdf5", "matlab5", "matlab73", "npy", "zarr", "sensor", "weights")
# Files that are read by `info` alone have the pair's HSI in them; the others change how the pair is fused.
NAMES = {"geotiff": "hsi.tif", "tags": "hsi.tif", "envi": "hsi.img", "netcdf": "hsi.nc", "hdf5": "hsi.h5:cube",
         "matlab5": "hsi.mat:cube", "matlab73": "hsi73.mat:cube", "npy": "hsi.npy", "zarr": "hsi.zarr",
         "sensor": "hsi.tif", "weights": "hsi.tif"}  # fmt: skip
COMMANDS = ("fuse", "info", "evaluate", "simulate", "methods", "batch")


def make_files(folder: Path) -> None:
    """Write a pair in every format, its sensor, and weights."""
    rng = np.random.default_rng(0)
    made = hf.simulate(rng.random((6, 24, 24), np.float32), ratio=3, srf="boxes:3")
    cube = made.hsi.replace(wavelengths=np.linspace(400, 900, 6), crs="EPSG:32633")
    hf.write(folder / "msi.tif", made.msi)
    for ending in ("tif", "img", "nc", "npy", "zarr"):
        hf.write(folder / f"hsi.{ending}", cube)
    made.sensor.save(folder / "sensor.yaml")
    bands_last = np.moveaxis(cube.data, 0, -1)
    scipy.io.savemat(folder / "hsi.mat", {"cube": bands_last, "note": "text", "cell": {"a": [1, 2]}})
    for name, values in (("hsi.h5", cube.data), ("hsi73.mat", cube.data.transpose(0, 2, 1))):
        with h5py.File(folder / name, "w", userblock_size=512 if name.endswith("mat") else 0) as file:
            stored = file.create_dataset("cube", data=values, chunks=(1, 4, 4), compression="gzip")
            stored.attrs["wavelength"] = range(400, 1000, 100)
    with (folder / "hsi73.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    base = {"method": "feinfn", "settings": {}, "guidance": True, "scale": 1.0}
    save_pretrained(hf.create_network("feinfn", hsi_bands=6, msi_bands=9, width=8), folder / "weights", base=base)


def change_bytes(path: Path, rng: Random) -> None:
    """Flip, cut, repeat or overwrite bytes of a file, most of them near its start."""
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        at = int(rng.integers(min(len(data), 512) if rng.random() < 0.6 else len(data)))
        match rng.integers(6):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                del data[at : at + int(rng.integers(1, 64))]
            case 2:
                data[at : at + 8] = rng.choice([b"\x00", b"\xff", b"\x7f"]) * 8
            case 3:
                data[at:at] = data[at : at + 64]
            case 4:
                del data[at:]
            case _:
                data[at : at + 4] = int(rng.integers(2**32)).to_bytes(4, "little")
    path.write_bytes(data)


def change_text(path: Path, rng: Random) -> None:
    """Replace a number or a word of a text file, or a line."""
    text = path.read_text("utf-8", "replace")
    found = list(re.finditer(r"[-+.\w]+", text))
    for _ in range(int(rng.integers(1, 3))):
        if found:
            match = found[int(rng.integers(len(found)))]
            text = text[: match.start()] + nasty(rng) + text[match.end() :]
            found = list(re.finditer(r"[-+.\w]+", text))
    path.write_text(text, "utf-8", "replace")


def change_tags(path: Path, rng: Random) -> None:
    """Put random JSON into the metadata that hyperfuse itself writes into a GeoTIFF."""
    with rasterio.open(path, "r+") as file:
        names = [*file.tags(), "HYPERFUSE", "wavelength_units", "AREA_OR_POINT"]
        name = str(rng.choice(names))
        file.update_tags(**{name: json.dumps(changed_json(file.tags().get(name), rng))})
        file.update_tags(int(rng.integers(1, 7)), **{str(rng.choice(["wavelength", "fwhm", "bbl"])): nasty(rng)})


def changed_json(text: str | None, rng: Random) -> Any:
    """Return a JSON value with one part replaced."""
    try:
        value = json.loads(text or "")
    except ValueError:
        value = {"transform": [1, 0, 0, 0, -1, 0], "history": [{}], "valid": True}
    new = [None, -1, 1e308, "x" * 3000, [], {}, [[[]]], {"a": {"b": 1}}, True, "\x00", [nasty(rng)] * 3, 10**30]
    part, key = value, None
    while isinstance(part, dict | list) and part and (key is None or rng.random() < 0.6):
        key = rng.choice(sorted(part)) if isinstance(part, dict) else int(rng.integers(len(part)))
        inner = part[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.4:
            part[key] = new[int(rng.integers(len(new)))]
            return value
        part = inner
    return new[int(rng.integers(len(new)))]


def nasty(rng: Random) -> str:
    """Return a value that programs do not expect."""
    return str(NASTY[int(rng.integers(len(NASTY)))])


def change(kind: str, folder: Path, rng: Random) -> None:
    """Change the file of a kind."""
    path = folder / NAMES[kind].partition(":")[0]
    if kind == "tags":
        change_tags(path, rng)
    elif kind == "sensor":
        change_text(folder / "sensor.yaml", rng)
    elif kind == "envi" and rng.random() < 0.8:
        change_text(path.with_suffix(".hdr"), rng)
    elif kind in ("zarr", "weights"):
        parts = sorted(p for p in (folder / ("weights" if kind == "weights" else "hsi.zarr")).rglob("*") if p.is_file())
        part = parts[int(rng.integers(len(parts)))]
        (change_text if part.suffix in (".json", "") and rng.random() < 0.8 else change_bytes)(part, rng)
    else:
        change_bytes(path, rng)


def words_for(kind: str, folder: Path, rng: Random) -> list[str]:
    """Return the call that reads the changed file."""
    path = str(folder / NAMES[kind])
    if kind not in ("sensor", "weights") and rng.random() < 0.6:
        return ["info", path, *(["--json"] if rng.random() < 0.3 else [])]
    how = ["--method", "bicubic"]
    if kind == "weights":
        how = ["--weights", str(folder / "weights"), "--effort", "fast", "--srf", "boxes:3"]
    words = ["fuse", path, str(folder / "msi.tif"), str(folder / "out.tif"), *how, "--no-align", "--overwrite"]
    if kind != "sensor":
        words += ["--ratio", "3", "--psf", "mtf:0.3"]
    return words + (["--tile", "12"] if rng.random() < 0.3 else [])


def random_call(folder: Path, rng: Random) -> list[str]:
    """Return a call with random options."""
    command = str(rng.choice(COMMANDS))
    files = ["hsi.tif", "msi.tif", "hsi.nc", "hsi.mat", "hsi.img", "sensor.yaml", "missing.tif", "", "weights"]
    places = {"fuse": 2, "evaluate": 2, "info": 1, "simulate": 1, "batch": 1, "methods": 0}[command]
    words = [command, *(str(folder / str(rng.choice(files))) for _ in range(places))]
    target = {"fuse": "out.tif", "simulate": "made", "batch": "made"}.get(command)
    words += [] if target is None else [str(folder / target)]
    options = sorted(set(app.options_of([command]).values()) - {"--scheduler", "--budget", "--workers", "--method"})
    if command == "fuse":
        words += ["--method", "bicubic"]
    for option in rng.choice(options, int(rng.integers(0, 4))):
        words.append(f"{option}={nasty(rng) if rng.random() < 0.8 else '3'}")
    return words


def run_case(words: list[str], folder: Path) -> tuple[str, str]:
    """Make a call in a process of its own; return how it ended, and what it wrote to stderr."""
    before = {path.name for path in folder.iterdir()}
    log = folder / "stderr.txt"
    child = os.fork()
    if child == 0:
        with log.open("wb") as errors, Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(errors.fileno(), 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(KILLED_SECONDS)
        code = 99
        try:
            code = main(words)
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, used_by = os.wait4(child, 0)
    text = log.read_text("utf-8", "replace")
    log.unlink()
    new = {path.name for path in folder.iterdir()} - before
    if os.WIFSIGNALED(status):
        return ("hang" if os.WTERMSIG(status) == signal.SIGALRM else "crash"), text
    code = os.WEXITSTATUS(status)
    if used_by.ru_utime + used_by.ru_stime > SECONDS:  # whatever else the machine does
        return "hang", text
    if "Traceback" in text or code not in (0, 1, 2):
        return "traceback", text
    if "unexpected" in text:
        return "unexpected", text
    if "not enough memory" in text:
        return "memory", text
    if any(name.startswith(".") for name in new) or (code and new):
        return "partial", f"{sorted(new)} {text}"
    return ("accepted" if code == 0 else "refused"), text


def fuzz(kind: str, cases: int, seed: int, originals: Path, keep: Path | None) -> Counter[str]:
    """Run the cases of a kind; print faults, and keep their files."""
    counts: Counter[str] = Counter()
    for number in range(cases):
        rng = np.random.default_rng([seed, number, *kind.encode()])
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "case"
            shutil.copytree(originals, folder)
            if kind == "calls":
                words = random_call(folder, rng)
            else:
                change(kind, folder, rng)
                words = words_for(kind, folder, rng)
            how, text = run_case(words, folder)
            counts[how] += 1
            if how in FAULTS:
                last = text.strip().splitlines()[-1:] or [""]
                if keep is not None:
                    shutil.copytree(folder, keep / f"{kind}-{seed}-{number}", dirs_exist_ok=True)
                    words = [word.replace(str(folder), str(keep / f"{kind}-{seed}-{number}")) for word in words]
                print(f"{how}: {kind} {number}: {' '.join(words)}: {last[0][:300]}", flush=True)
    return counts


def report(counts: dict[str, Counter[str]]) -> Table:
    """Return the table of what happened."""
    titles = ("accepted", "refused", *FAULTS)
    rows = [{"kind": kind, **{title: found[title] for title in titles}} for kind, found in counts.items()]
    return Table([Column("kind", "file"), *(Column(title, title, format="d") for title in titles)], rows)


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join((*FORMATS, "calls")), help="kinds, separated by commas")
    parser.add_argument("--keep", type=Path, help="folder for the files of faults")
    return parser.parse_args()


def run() -> int:
    """Run all kinds; return the exit code."""
    options = arguments()
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        for kind in FORMATS:  # as they are, which also loads here once what all cases need
            if main([*words_for(kind, Path(folder), np.random.default_rng(0)), "--quiet"]) != 0:
                raise SystemExit(f"{kind}: the file is refused before it is changed")
        (Path(folder) / "out.tif").unlink()
        for kind in options.only.split(","):
            counts[kind] = fuzz(kind, options.cases, options.seed, Path(folder), options.keep)
    print(render_markdown(report(counts)))
    return int(any(found[fault] for found in counts.values() for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(run())
