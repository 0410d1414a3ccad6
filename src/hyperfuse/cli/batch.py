"""``hyperfuse batch``: fuse a folder of pairs, one after the other, as ``hyperfuse fuse`` does."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import CycloptsError, Parameter

from hyperfuse.cli.failures import describe_failure, describe_misuse
from hyperfuse.cli.options import COMMON, CommonOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.integrations.hif_benchmarking import LAYOUT, HifPair, find_hif_pairs, stored_scale, write_result

_NAME = "{name}"
_KINDS = re.compile(r"hsi|msi|msi[2-9]")
# Sidecar files of images.
_SIDECARS = (".hdr", ".xml", ".yaml", ".ovr", ".msk", ".txt", ".json")
# Options of `fuse` that a layout decides, and that name a file of one pair.
_OF_THE_LAYOUT = ("--dtype", "--compress", "--scale", "--offset", "--msi-scale", "--msi-offset")
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
    out: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)],
    layout: Literal["pairs", "hif-benchmarking"] = "pairs",
    extension: Literal["tif", "img", "nc", "zarr", "npy", "mat"] | None = None,
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

    With --layout hif-benchmarking the folder is the data of that benchmark: HS/SET/SCALE/NAME.mat and MS/SET/NAME.mat
    are fused to SR/METHOD/SET/SCALE/NAME.mat, uint16, or to OUT/SET/SCALE/NAME.mat.

    Args:
        pairs: Folder of pairs.
        out: Folder of the results, NAME.tif each; created if needed.
        options: Options of `hyperfuse fuse`, for every pair.
        layout: How the folder is arranged; see above.
        extension: Format of the results. Default: tif.
        resume: Skip pairs that are done, and resume large ones that were interrupted.
        json: Print the state of every pair as JSON.
        common: Options of every command.
        session: Where results and notes go.
    """
    if out is not None and out.startswith("-"):
        options, out = (out, *options), None
    jobs = _hif_jobs(pairs, out, options, extension) if layout == LAYOUT else _jobs(pairs, out, extension or "tif")
    _check(jobs, options)
    if layout == "pairs":
        _make_folder(Path(str(out)))
    call = _Call(options, resume, common, session)
    results: list[dict[str, Any]] = []
    for index, job in enumerate(jobs):
        session.note(f"pair {index + 1} of {len(jobs)}: {job.name}")
        start, error = time.monotonic(), job.fault
        done = resume and job.target.exists()
        if not (done or error):
            error = _run(job, call, (index / len(jobs), (index + 1) / len(jobs)))
        state = "done before" if done else "failed" if error else "fused"
        if error:
            session.note_always(f"failed: {job.name}: {error}")
        seconds = round(time.monotonic() - start, 1)
        results.append({"pair": job.name, "out": str(job.target), "state": state, "seconds": seconds, "error": error})
    if json:
        session.result_json(results)
    failed = [result["pair"] for result in results if result["state"] == "failed"]
    if failed:
        raise HyperfuseError(f"{len(failed)} of {len(jobs)} pairs failed: {', '.join(failed)}")


@dataclass(frozen=True)
class _Job:
    """What is done with a pair.

    Attributes:
        name: of the pair.
        inputs: HSI, then MSIs.
        target: the result.
        fault: why it cannot be fused, or None.
        hif: the pair of hif-benchmarking that it is, or None.
    """

    name: str
    inputs: tuple[Path, ...]
    target: Path
    fault: str | None
    hif: HifPair | None = None


def _jobs(pairs: Path, out: str | None, extension: str) -> list[_Job]:
    found = find_pairs(pairs)
    if out is None:
        raise InputError("OUT is missing: name the folder of the results")
    folder = Path(out)
    return [
        _Job(one.name, (*one.hsi[:1], *one.msi[:1], *one.more), folder / f"{one.name}.{extension}", one.fault)
        for one in found
    ]


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _hif_jobs(data: Path, out: str | None, options: Sequence[str], extension: str | None) -> list[_Job]:
    given = next((word for word in options if word.partition("=")[0] in _OF_THE_LAYOUT), None)
    if extension is not None or given is not None:
        option = "--extension" if given is None else given.partition("=")[0]
        raise InputError(f"{option}: the layout {LAYOUT} states how results are stored; leave it out")
    folder = data / "SR" / _method_of(options) if out is None else Path(out)
    return [_Job(one.name, (one.hsi, one.msi), one.target(folder), one.fault, one) for one in find_hif_pairs(data)]


def _method_of(options: Sequence[str]) -> str:
    """Return the name of the method, or of the network, that options choose."""
    from hyperfuse.methods import DEFAULT_METHOD

    for word, value in itertools.pairwise([*options, ""]):
        option, equals, given = word.partition("=")
        if option in ("--method", "--network"):
            return Path(given if equals else value).name
    return DEFAULT_METHOD


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


def _check(pairs: Sequence[_Job], options: Sequence[str]) -> None:
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


class _Call(NamedTuple):
    """What holds for every pair of a call."""

    options: Sequence[str]
    resume: bool
    common: CommonOptions
    session: Session

    def words(self, job: _Job, inputs: Sequence[str | Path], target: Path, more: Sequence[str] = ()) -> list[str]:
        """Return the words of `fuse` for a pair."""
        words = ["fuse", *map(str, (*inputs, target)), *more]
        words += [option.replace(_NAME, job.name) for option in self.options]
        if self.resume and target.with_name(f".{target.name}.tiles").exists():
            words.append("--resume")
        if self.common.threads is not None:
            words += ["--threads", str(self.common.threads)]
        return words + [f"--{name}" for name in ("quiet", "debug") if getattr(self.common, name)]


def _run(job: _Job, call: _Call, portion: tuple[float, float]) -> str | None:
    """Fuse a pair, which is a portion of all; return why it failed, or None."""
    if job.hif is not None:
        return _run_hif(job, job.hif, call, portion)
    words = call.words(job, job.inputs, job.target)
    own = call.session.nested(words, *portion)
    error = _fuse(words, call.session, own)
    call.session.wrote(*own.files)
    return error


def _run_hif(job: _Job, pair: HifPair, call: _Call, portion: tuple[float, float]) -> str | None:
    """Fuse a pair of hif-benchmarking, as fractions, and write the result as it has results."""
    overwrite, session = "--overwrite" in call.options, call.session
    # Fused to a file of the values, next to the result, in which they are then coded.
    fused = job.target.with_name(f".{job.target.stem}.tif")
    try:
        if job.target.exists() and not overwrite:
            raise InputError(f"{job.target}: exists; pass --overwrite to replace it, or --resume to skip it")
        scales = {"scale": stored_scale(pair.hsi, "hsi"), "msi-scale": stored_scale(pair.msi, "msi")}
        job.target.parent.mkdir(parents=True, exist_ok=True)
        more = [f"--{name}={scale!r}" for name, scale in scales.items()] + ([] if overwrite else ["--overwrite"])
        words = call.words(job, (f"{pair.hsi}:hsi", f"{pair.msi}:msi"), fused, more)
        own = session.nested(words, *portion)
        error = _fuse(words, session, own)
        if error is None:
            note = write_result(fused, job.target, overwrite=overwrite)
            if note is not None:
                session.note(f"note: {note}")
            session.wrote(job.target)
        session.wrote(*(file for file in own.files if Path(file) != fused))
        return error
    except HyperfuseError as error:
        return describe_failure(error)[1]
    finally:
        fused.unlink(missing_ok=True)


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
    return None
