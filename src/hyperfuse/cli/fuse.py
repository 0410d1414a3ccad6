"""``hyperfuse fuse``: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.inputs import name_of, naming, read_image, read_mask, sensor_next_to
from hyperfuse.cli.options import (
    COMMON,
    INPUT,
    MSI_INPUT,
    OUTPUT,
    TILES,
    CommonOptions,
    InputOptions,
    MsiInputOptions,
    OutputOptions,
    TileOptions,
    parse_duration,
    parse_pair,
    parse_settings,
)
from hyperfuse.cli.outputs import check_output, describe_output
from hyperfuse.cli.reporting import check_report, sensor_source, shown_content, write_fusion_report
from hyperfuse.cli.session import Session
from hyperfuse.cli.staging import on_disk
from hyperfuse.cli.tiles import fuse_in_tiles, in_tiles, too_large
from hyperfuse.errors import InputError
from hyperfuse.scenes import DEFAULT_METHOD

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.sensor import Sensor

# What an image is written with, uncompressed: little of a budget, and known only roughly.
_BYTES_A_SECOND = 150e6


def fuse(
    hsi: str,
    msi: str,
    out: str,
    /,
    *,
    method: str = DEFAULT_METHOD,
    effort: str | None = None,
    budget: str | None = None,
    weights: str | None = None,
    best_so_far: bool = False,
    uncertainty: str | None = None,
    report: str | None = None,
    reference: str | None = None,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", help="A setting of the method, NAME=VALUE; repeat for more."),
    ] = (),
    sensor: str | None = None,
    srf: str | None = None,
    psf: str | None = None,
    ratio: str | None = None,
    phase: str | None = None,
    no_align: bool = False,
    mask: str | None = None,
    device: str = "auto",
    seed: int = 0,
    reading: InputOptions = INPUT,
    msi_reading: MsiInputOptions = MSI_INPUT,
    writing: OutputOptions = OUTPUT,
    tiles: TileOptions = TILES,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Fuse an LR-HSI with an HR-MSI into one image that has both resolutions.

    A file may name a variable (scene.mat:cube); a quoted pattern ('tile_*.tif') is a set of tiles, merged.

    Args:
        hsi: Hyperspectral image of low resolution.
        msi: Multispectral or panchromatic image of high resolution, of the same place.
        out: Image to write; its extension is its format.
        method: How to fuse; `hyperfuse methods` lists them.
        effort: How long the method works: fast, normal or best. Normal unless given.
        budget: Wall time of the whole command, such as 30s or 2min, in place of an effort.
        weights: Network trained on other scenes that the fit starts from: a name that ships or a folder (RUN/best);
            with --effort fast it is taken as it is.
        best_so_far: On Ctrl-C while a network is fitted, end with the best found so far instead of nothing.
        uncertainty: Image to write beside OUT: the error to be expected of every pixel and band (standard deviation).
        sensor: YAML file with ratio, phase, PSF and SRF; sensor.yaml beside HSI unless given.
        srf: Spectral responses of the MSI: sentinel-2a, nikon-d700, boxes:6, gaussian:450/60,550/60, a table.
        psf: Blur of the HSI in MSI pixels: sigma:1.5, fwhm:3, mtf:0.3, box.
        ratio: MSI pixels an HSI pixel, such as 3 or 3.2, or 4,2 for y,x; from the files unless given.
        phase: Centre of the first HSI pixel in MSI pixels, one number or y,x; from the files unless given.
        no_align: Believe the positions that the files tell; a shift between the two is not looked for.
        mask: One-band image on the MSI's grid; pixels that are not 0 (clouds) are not used and become gaps.
        device: Where to compute: auto, cpu, cuda, cuda:1.
        report: HTML page to write: what went in, the result, its quality and uncertainty, and how it was made.
        reference: Image to score the result against in the report, on the grid of the result.
        set_: Settings of the method.
        seed: Seed of methods that draw random numbers.
        reading: How HSI is read.
        msi_reading: How MSI is read.
        writing: How OUT is written.
        tiles: How a large scene is fused.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.io import write
    from hyperfuse.scenes.fuse import fuse_in_full

    if reference is not None and report is None:
        raise InputError("--reference is for the report; give --report, or use `hyperfuse evaluate`")
    inputs = [path for path in (hsi, msi, mask, sensor, reference) if path is not None]
    written = check_output(out, writing, inputs=inputs)
    beside = None if uncertainty is None else _check_beside(uncertainty, out, written, writing, inputs)
    if report is not None:
        check_report(report, written, inputs, writing.overwrite)
    settings = {**parse_settings(set_), **_asked_of(method, effort, budget, weights, best_so_far)}
    if uncertainty is not None:
        settings["uncertainty"] = True
    grid = {"ratio": parse_pair(ratio, "--ratio"), "phase": parse_pair(phase, "--phase")}
    _check_settings(method, settings)

    described = _sensor(sensor, hsi, session)
    named = {"hsi": name_of(hsi), "msi": name_of(msi)} | ({} if mask is None else {"mask": name_of(mask)})
    job: dict[str, Any] = {
        "method": method,
        "sensor": described,
        "srf": srf,
        "psf": psf,
        **grid,
        "align": not no_align,
        "device": device,
        "seed": seed,
        "settings": settings,
    }
    hsi_reading, msi_how = reading.keywords(), msi_reading.keywords(reading)
    told = {
        "hsi_name": name_of(hsi),
        "msi_name": name_of(msi),
        "fused_name": name_of(out),
        "sensor_source": sensor_source(sensor, hsi, (srf, psf, ratio, phase)),
        "uncertainty_name": "expected error (standard deviation)",
    }
    hsi_cube = msi_cube = None
    tiled = in_tiles(hsi, msi, out, tiles, hsi_reading, msi_how)
    if not tiled:
        hsi_cube, msi_cube = read_image(hsi, **hsi_reading), read_image(msi, prefix="msi_", **msi_how)
        given = {name: job[name] for name in ("sensor", "srf", "psf", "ratio", "phase")}
        tiled = too_large(hsi_cube, msi_cube, out, tiles, given, needs_whole=budget is not None)
    if tiled:
        if budget is not None:
            raise InputError("--budget is for a scene that is fused whole, not in tiles; give --effort")
        settings.pop("uncertainty", None)  # told by the file that it goes to
        pair = [("hsi", hsi, hsi_reading, hsi_cube), ("msi", msi, msi_how, msi_cube)]
        with on_disk(out, pair, session, resume=tiles.resume) as ((low, low_reading), (high, high_reading)):
            del hsi_cube, msi_cube, pair
            files = {"mask": mask, "reading": low_reading, "msi_reading": high_reading}
            result = fuse_in_tiles(
                low, high, out, {**job, **files}, tiles, writing, named, session,
                uncertainty=uncertainty, show=report is not None,
            )  # fmt: skip
        _tell(result.outline, session)
        session.note(describe_output(out, written, result.outline, session.seconds))
        if uncertainty is not None and beside is not None and result.uncertain is not None:
            session.note(describe_output(uncertainty, beside, result.uncertain, session.seconds))
        if report is not None and result.shown is not None:
            session.note(f"note: {result.shown.told}")
            content = shown_content(result, out, uncertainty)
            truth = None if reference is None else result.shown.of(reference)
            write_fusion_report(report, session, truth, {**content, **told})
        return
    assert hsi_cube is not None
    assert msi_cube is not None
    truth = None if reference is None else read_image(reference)
    distrusted = None if mask is None else read_mask(mask, msi_cube, "MSI")
    if budget is not None:
        images = 1 if uncertainty is None else 2
        settings["budget_seconds"] = _left(settings["budget_seconds"], session, hsi_cube, msi_cube, images)
    with session.progress("fusing") as tell, naming(hsi, msi):
        fusion = fuse_in_full(hsi_cube, msi_cube, **job, mask=distrusted, progress=tell)
    fused = _with_inputs(fusion.image, named)
    _tell(fused, session)
    write(out, fused, dtype=writing.dtype, compress=writing.compress, overwrite=writing.overwrite)
    session.note(describe_output(out, written, fused, session.seconds))
    uncertain = None if fusion.uncertainty is None else _with_inputs(fusion.uncertainty, named)
    if uncertainty is not None and uncertain is not None and beside is not None:
        write(uncertainty, uncertain, compress=writing.compress, overwrite=writing.overwrite)
        session.note(describe_output(uncertainty, beside, uncertain, session.seconds))
    if report is not None:
        write_fusion_report(
            report,
            session,
            truth,
            {
                "hsi": fusion.match.pair.hsi,
                "msi": fusion.match.pair.msi,
                "fused": fused,
                "sensor": fusion.match.pair.sensor,
                "alignment": fusion.match.alignment,
                "whole_hsi": hsi_cube,
                "whole_msi": msi_cube,
                "sensor_notes": fusion.match.pair.notes,
                "uncertainty": uncertain,
                **told,
            },
        )


def _asked_of(
    method: str, effort: str | None, budget: str | None, weights: str | None, best_so_far: bool
) -> dict[str, Any]:
    """Return the settings that the options of their own stand for, where the method has them."""
    from hyperfuse.methods import get_method
    from hyperfuse.networks.pretrained import find_pretrained

    if effort is not None and budget is not None:
        raise InputError("--effort and --budget both say how long to work; give one of them")
    asked: dict[str, Any] = {} if effort is None else {"effort": effort}
    if budget is not None:
        asked["budget_seconds"] = parse_duration(budget, "--budget")
    if weights is not None:
        asked["weights"] = weights
    if best_so_far:
        asked["keep_best"] = True
    options = {
        "effort": "--effort: it works until it is done",
        "budget_seconds": "--budget: it works until it is done",
        "weights": "--weights: it has no network; feinfn does",
        "keep_best": "--best-so-far: it works until it is done",
    }
    for name in asked:
        if name not in get_method(method).settings.model_fields:
            raise InputError(f"the method {method} takes no {options[name]}")
    if weights is not None:
        find_pretrained(weights)  # refused before files are read
    return asked


def _check_settings(method: str, settings: dict[str, Any]) -> None:
    """Refuse a wrong name or setting before files are read."""
    from hyperfuse.methods import get_method

    chosen = get_method(method)
    if "uncertainty" in settings and not chosen.capabilities.uncertainty:
        raise InputError(f"the method {method} does not tell how uncertain it is; feinfn does")
    chosen.configure(**settings)


def _check_beside(
    path: str, out: str, written: Sequence[Path], writing: OutputOptions, inputs: Sequence[str]
) -> list[Path]:
    files = check_output(path, replace(writing, dtype="float32"), inputs=inputs)
    if {file.absolute() for file in files} & {file.absolute() for file in written}:
        raise InputError(f"{path}: is also OUT ({out}); name another file")
    return files


def _left(budget: float, session: Session, hsi: Cube, msi: Cube, images: int) -> float:
    """Return what is left of a budget for fusing, when the writing of the result is taken off."""
    size = 4 * hsi.bands * msi.rows * msi.cols * images
    return max(0.1, budget - session.seconds - size / _BYTES_A_SECOND)


def _tell(fused: Cube, session: Session) -> None:
    """Note what was decided, for those who do not read the history."""
    step = fused.history[-1]
    for note in step["notes"]:
        session.note(f"note: {note}")
    end = step.get("run", {}).get("end")
    if end == "interrupted":
        session.note(f"note: interrupted after {step['run']['steps']} steps; this is the best so far")
    if end == "no time":
        session.note("note: the budget left no time to fit the network; this is the linear part alone")


def _sensor(path: str | None, hsi: str, session: Session) -> Sensor | None:
    from hyperfuse.sensor import Sensor

    if path is not None:
        return Sensor.load(path)
    beside = sensor_next_to(hsi)
    if beside is None:
        return None
    session.note(f"sensor: {beside}")
    return Sensor.load(beside)


def _with_inputs(fused: Cube, named: dict[str, str]) -> Cube:
    """Return the image with the names of its inputs in the last step of its history."""
    *earlier, last = fused.history
    step: dict[str, Any] = {**last, "inputs": named}
    return fused.replace(history=(*earlier, step))
