"""``hyperfuse batch``: fuse a folder of pairs, one after the other, as ``hyperfuse fuse`` does."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import CycloptsError, Parameter

from hyperfuse.cli.failures import describe_failure, describe_misuse
from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import HyperfuseError, InputError

_NAME = "{name}"
_KINDS = re.compile(r"hsi|msi|msi[2-9]")
# Sidecar files of images.
_SIDECARS = (".hdr", ".xml", ".yaml", ".ovr", ".msk", ".txt", ".json")
# Options of `fuse` that name a file of one pair.
_OF_ONE_PAIR = ("--report", "--uncertainty", "--reference", "--mask", "--stac")


@dataclass(frozen=True)
class FoundPair:
    """Two images of one area.

    Attributes:
        name: of the pair in its folder.
        hsi: files found of the LR-HSI; a pair that can be fused has one.
        msi: files found of the HR-MSI; likewise.
        more: files found of further MSIs (msi2, msi3) with pixels of other sizes; likewise of each.
    """

    name: str
    hsi: tuple[Path, ...]
    msi: tuple[Path, ...]
    more: tuple[Path, ...] = ()

    @property
    def fault(self) -> str | None:
        """Why it cannot be fused, or None."""
        if len(self.hsi) == len(self.msi) == 1:
            kinds = [_kind(file) for file in self.more]
            twice = next((kind for at, kind in enumerate(kinds) if kind in kinds[:at]), None)
            return None if twice is None else f"several {twice} are there; one is needed"
        return f"{len(self.hsi)} HSI and {len(self.msi)} MSI are there; one of each is needed"


def batch(
    pairs: Path,
    out: Path,
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)],
    extension: Literal["tif", "img", "nc", "zarr", "npy", "mat"] = "tif",
    resume: bool = False,
    json: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Fuse every pair of a folder into another folder.

    A pair is a subfolder with hsi.EXT and msi.EXT (as `hyperfuse simulate` makes them), or two files NAME_hsi.EXT and
    NAME_msi.EXT; further MSIs with other pixels are msi2.EXT, msi3.EXT. A pair that fails is reported in one line and
    does not stop the others; the exit code is 1 if any failed. All further options are those of `hyperfuse fuse`;
    {name} in one of them stands for the name of the pair, as in --report 'reports/{name}.html'.

    Args:
        pairs: Folder of pairs.
        out: Folder of the results, NAME.tif each; created if needed.
        options: Options of `hyperfuse fuse`, for every pair.
        extension: Format of the results.
        resume: Skip pairs that are done, and resume large ones that were interrupted.
        json: Print the state of every pair as JSON.
        common: Options of every command.
        session: Where results and notes go.
    """
    found = find_pairs(pairs)
    _check(found, options)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for index, pair in enumerate(found):
        target = out / f"{pair.name}.{extension}"
        session.note(f"pair {index + 1} of {len(found)}: {pair.name}")
        start, error = time.monotonic(), pair.fault
        done = resume and target.exists()
        if not (done or error):
            words = _words(pair, target, options, resume, common)
            error = _fuse(words, session, session.nested(words, index / len(found), (index + 1) / len(found)))
        state = "done before" if done else "failed" if error else "fused"
        if error:
            session.note_always(f"failed: {pair.name}: {error}")
        seconds = round(time.monotonic() - start, 1)
        results.append({"pair": pair.name, "out": str(target), "state": state, "seconds": seconds, "error": error})
    if json:
        session.result_json(results)
    failed = [result["pair"] for result in results if result["state"] == "failed"]
    if failed:
        raise HyperfuseError(f"{len(failed)} of {len(found)} pairs failed: {', '.join(failed)}")


def find_pairs(folder: Path) -> list[FoundPair]:
    """Return the pairs of a folder by name.

    Raises:
        InputError: no such folder, or nothing in it that could be of a pair.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that holds pairs")
    images: dict[tuple[str, str], list[Path]] = {}
    for parent in [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.suffix != ".zarr")]:
        for file in sorted(parent.iterdir()):
            if file.name.startswith(".") or file.suffix.lower() in _SIDECARS:
                continue
            name, kind = file.stem.lower().rpartition("_")[0], _kind(file)
            if not _KINDS.fullmatch(kind) or bool(name) == (parent != folder):
                continue
            known = parent.name if parent != folder else file.stem[: len(name)]
            images.setdefault((known, kind), []).append(file)
    if not images:
        raise InputError(
            f"{folder}: holds no pairs, which are subfolders with hsi.EXT and msi.EXT, or NAME_hsi.EXT and NAME_msi.EXT"
        )
    names = sorted({name for name, _ in images})
    kinds = sorted({kind for _, kind in images} - {"hsi", "msi"}, key=lambda kind: int(kind.removeprefix("msi")))
    return [
        FoundPair(
            name,
            tuple(images.get((name, "hsi"), ())),
            tuple(images.get((name, "msi"), ())),
            tuple(file for kind in kinds for file in images.get((name, kind), ())),
        )
        for name in names
    ]


def _kind(file: Path) -> str:
    """Return the word of a file's name that says which image of a pair it is."""
    return file.stem.lower().rpartition("_")[2]


def _check(pairs: Sequence[FoundPair], options: Sequence[str]) -> None:
    """Refuse options that `fuse` does not take, or by which pairs would write to one file."""
    from hyperfuse.cli.app import parse_words

    for word, value in itertools.pairwise([*options, ""]):
        option, equals, given = word.partition("=")
        if option in _OF_ONE_PAIR and len(pairs) > 1 and _NAME not in (given if equals else value):
            raise InputError(f"{option} names one file for all pairs; write {_NAME} in it, for the name of the pair")
    try:
        parse_words(["fuse", "hsi", "msi", "out.tif", *options])
    except CycloptsError as error:
        raise InputError(describe_misuse(error)) from error


def _words(pair: FoundPair, target: Path, options: Sequence[str], resume: bool, common: CommonOptions) -> list[str]:
    words = ["fuse", *map(str, (pair.hsi[0], pair.msi[0], *pair.more, target))]
    words += [option.replace(_NAME, pair.name) for option in options]
    if resume and target.with_name(f".{target.name}.tiles").exists():
        words.append("--resume")
    if common.threads is not None:
        words += ["--threads", str(common.threads)]
    return words + [f"--{name}" for name in ("quiet", "debug") if getattr(common, name)]


def _fuse(words: list[str], session: Session, own: Session) -> str | None:
    """Fuse one pair in its own session; return why it failed, or None."""
    from hyperfuse.cli.app import run_words

    with warnings.catch_warnings():
        warnings.showwarning = own.show_warning
        try:
            run_words(words, own)
        except Exception as error:
            if session.debug:
                session.traceback()
            return describe_failure(error)[1]
        finally:
            session.wrote(*own.files)
    return None
