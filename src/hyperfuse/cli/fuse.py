"""``hyperfuse fuse``: fuse a pair of files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.failures import with_options_in_text
from hyperfuse.cli.inputs import files_named, name_of, prefixed, sensor_next_to
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
    Whole,
    parse_duration,
    parse_pair,
    parse_settings,
)
from hyperfuse.cli.outputs import check_output, check_outputs_differ, describe_output, write_style
from hyperfuse.cli.reporting import PREVIEW_SIDE, check_report, open_reference, sensor_source, write_fusion_report
from hyperfuse.cli.session import Session
from hyperfuse.cli.stac import check_item, write_item
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.progress import part

if TYPE_CHECKING:
    from hyperfuse.sensor.model import Sensor

# Of the time from the start of the process to the fusion: what ending the process takes, and writing a report.
_ENDING, _REPORTING = 0.1, 0.6
# Of the progress of a command that writes a report too.
_FUSING = 0.95


def fuse(
    hsi: str,
    msi: str,
    out: str,
    /,
    *more: Annotated[str, Parameter(show=False)],
    method: str | None = None,
    effort: str | None = None,
    budget: str | None = None,
    weights: str | None = None,
    network: str | None = None,
    best_so_far: bool = False,
    uncertainty: str | None = None,
    report: str | None = None,
    reference: str | None = None,
    stac: str | None = None,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", help="A setting of the method, NAME=VALUE; repeat for more."),
    ] = (),
    sensor: str | None = None,
    srf: str | None = None,
    psf: str | None = None,
    ratio: str | None = None,
    phase: str | None = None,
    msi_psf: str | None = None,
    displacement: str | None = None,
    displacement_from: str | None = None,
    search: float | None = None,
    no_align: bool = False,
    same_ground: bool = False,
    mask: str | None = None,
    device: str = "auto",
    seed: Whole = 0,
    reading: InputOptions = INPUT,
    msi_reading: MsiInputOptions = MSI_INPUT,
    writing: OutputOptions = OUTPUT,
    tiles: TileOptions = TILES,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Fuse an LR-HSI with an HR-MSI into one image that has both resolutions.

    A file may name a variable (scene.mat:cube); a quoted pattern ('tile_*.tif', '*_B[1-7].tif') is one
    image in several files: its tiles, or its bands.

    Several MSIs may be named before OUT, `fuse HSI MSI1 MSI2 OUT`: bands with pixels of several sizes, such as a
    panchromatic and a multispectral image. The finest pixels are those of OUT; coarser bands are first fused to them.

    Args:
        hsi: Hyperspectral image of low resolution.
        msi: Multispectral or panchromatic image of high resolution, of the same area; or several, see above.
        out: Image to write; its extension is its format.
        method: How to fuse; `hyperfuse methods` lists them and names the default.
        effort: How long the method works: fast, normal or best. Default: normal.
        budget: Wall time of the whole command, such as 30s or 2min, in place of an effort.
        weights: Network trained on other scenes that the fit starts from: a folder (RUN/best) or hub:OWNER/NAME; with
            --effort fast it is used as it is. With --network NAME: its weights, a folder or a file.
        network: Network to fuse with as it is, trained for these bands: a folder that training wrote (RUN/best), or a
            name of `hyperfuse methods` with --weights.
        best_so_far: On Ctrl-C while a network is fitted, end with the best found so far instead of nothing.
        uncertainty: Image to write in addition: the expected error of every pixel and band (standard deviation).
        sensor: YAML file with ratio, phase, PSF and SRF. Default: sensor.yaml in the folder of HSI.
        srf: Spectral responses of the MSI: sentinel-2a, nikon-d700, boxes:6, gaussian:450/60,550/60, a table.
        psf: Blur of the HSI in MSI pixels: sigma:1.5, fwhm:3, mtf:0.3, box.
        ratio: MSI pixels per HSI pixel, such as 3 or 3.2, or 4,2 for y,x. Default: from the files.
        phase: Centre of the first HSI pixel in MSI pixels, one number or y,x. Default: from the files.
        msi_psf: Of several MSIs, blur of the coarser ones in pixels of the finest; see --psf. Default: estimated.
        displacement: Map to write (GeoTIFF): how far the HSI's pixels lie off, along rows and columns, in metres.
        displacement_from: Map that --displacement or `hyperfuse align` wrote, of this scene: used in place of an
            estimate.
        search: How far off the files' positions HSI may lie, in metres. Default: 350.
        more: The last one is OUT.
        no_align: Use the positions that the files state; a shift between the two is not estimated.
        same_ground: HSI and MSI cover the same ground, corner to corner, although only one of them is georeferenced.
        mask: One-band image on the MSI's grid; pixels that are not 0 (clouds) are not used and become gaps.
        device: Where to compute: auto, cpu, cuda, cuda:1.
        report: HTML page to write: what went in, the result, its quality and uncertainty, and how it was made.
        reference: Image to score the result against in the report, on the grid of the result.
        stac: STAC item to write (JSON): where the result is, its bands, how it was made and of what.
        set_: Settings of the method.
        seed: Seed of methods that draw random numbers.
        reading: How HSI is read.
        msi_reading: How MSI is read.
        writing: How OUT is written.
        tiles: How a large scene is fused.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.cli.app import options_of
    from hyperfuse.io import ReadOptions
    from hyperfuse.methods import DEFAULT_METHOD
    from hyperfuse.scenes.fuse import fuse_tiles
    from hyperfuse.sensor.geometry import PairGeometry

    words = [msi, out, *more]
    msis, out = words[:-1], words[-1]
    setting = next((word for word in more if "=" in word and set_), None)
    if setting is not None:
        raise InputError(f"{setting}: is no file; write --set before each name=value")
    if reference is not None and report is None:
        raise InputError("reference=... is for the report; give report=..., or use `hyperfuse evaluate`")
    named: dict[str, Any] = {}
    if network is not None:
        if method is not None:
            raise InputError("--network is a method of its own; leave out --method")
        method, weights, named = "network", *_network_of(network, weights)
    chosen = DEFAULT_METHOD if method is None else method
    settings = {**parse_settings(set_), **_settings_of(chosen, effort, budget, weights, best_so_far), **named}
    sensor_file = None if sensor is not None else sensor_next_to(hsi)
    listed = (mask, sensor, reference, displacement_from, None if sensor_file is None else str(sensor_file))
    others = [path for path in listed if path is not None]
    msi_files = [file for name in msis for file in files_named(name)]
    inputs = [*files_named(hsi), *msi_files, *others]
    # Whether an output that exists is that of the job to resume shows when the job is known.
    checked = replace(writing, overwrite=writing.overwrite or tiles.resume)
    images = [(out, check_output(out, checked, inputs=inputs))]
    if uncertainty is not None:
        images.append((uncertainty, check_output(uncertainty, replace(checked, dtype="float32"), inputs=inputs)))
    if displacement is not None:
        images.append(
            (displacement, check_output(displacement, replace(checked, dtype="float64", style=None), inputs=inputs))
        )
    check_outputs_differ(images)
    if report is not None:
        check_report(report, [file for _, files in images for file in files], inputs, writing.overwrite)
    if stac is not None:
        check_item(stac, [*(file for _, files in images for file in files), report], inputs, writing.overwrite)
    truth = None if reference is None else open_reference(reference)
    geometry = PairGeometry(
        sensor=_sensor(sensor, hsi, session),
        srf=srf,
        psf=psf,
        ratio=parse_pair(ratio, "--ratio"),
        phase=parse_pair(phase, "--phase"),
        align=not no_align,
        same_ground=same_ground,
        msi_psf=msi_psf,
        displacement=displacement_from,
        search=search,
    )
    with prefixed("msi_"):
        msi_options = ReadOptions(**msi_reading.keywords(reading, msi_files[0]))
    if budget is not None:
        # Starting shows how fast the machine is at present; ending, and writing a report, take a part of its time.
        ending = (_ENDING + (0 if report is None else _REPORTING)) * session.spent()
        settings["budget_seconds"] = max(0.1, settings["budget_seconds"] - session.spent() - ending)
    names = {"hsi": name_of(hsi), "msi": ", ".join(map(name_of, msis))} | (
        {} if mask is None else {"mask": name_of(mask)}
    )
    with session.progress("fusing") as progress:
        fusion = fuse_tiles(
            files_named(hsi),
            msi_files,
            out,
            method=chosen,
            geometry=geometry,
            mask=mask,
            device=device,
            seed=seed,
            settings=settings,
            tile=tiles.tile,
            workers=tiles.workers,
            memory_gb=tiles.memory,
            scheduler=tiles.scheduler,
            resume=tiles.resume,
            keep_tiles=tiles.keep_tiles,
            uncertainty=uncertainty,
            preview=None if report is None else PREVIEW_SIDE,
            reading=ReadOptions(**reading.keywords()),
            msi_reading=msi_options,
            inputs=names,
            overwrite=writing.overwrite,
            progress=progress if report is None else part(progress, 0.0, _FUSING),
            dtype=writing.dtype,
            compress=writing.compress,
        )
        for path in (out, uncertainty):
            if path is not None:
                write_style(path, writing)
        if report is not None:
            progress(_FUSING, "writing the report")
    options = options_of(["fuse"])
    for note in fusion.notes:
        session.note(f"note: {with_options_in_text(note, options)}")
    found = fusion.displacement
    if displacement is not None and found is not None:
        found.write(displacement, overwrite=checked.overwrite)
    for path, files in images:
        written = fusion.image if path != displacement or found is None else found.to_cube().header
        session.wrote(*files)
        session.note(describe_output(path, files, written, session.seconds))
    if report is not None:
        origin = sensor_source(sensor, hsi, (srf, psf, ratio, phase))
        write_fusion_report(report, session, fusion, truth, {**names, "fused": name_of(out)}, origin)
    if stac is not None:
        made = {"fused": out, "uncertainty": uncertainty, "report": report}
        write_item(stac, session, fusion, made, [*files_named(hsi), *msi_files], writing)


def _network_of(network: str, weights: str | None) -> tuple[str, dict[str, Any]]:
    """Return the weights of ``--network``, a folder or a name with ``--weights``, and the setting that names it."""
    from hyperfuse.networks import list_networks, network_class
    from hyperfuse.networks.pretrained import fixed_name

    if network not in list_networks():
        if weights is not None:
            raise InputError(
                f"--network {network} with --weights: no network is called that{nearest_name(network, list_networks())}"
            )
        return network if Path(network).is_file() else fixed_name(network), {}
    if weights is None:
        published = network_class(network).published
        where = f" (published: {published})" if published else ""
        raise InputError(
            f"--network {network} needs --weights, a file or a folder{where}; `hyperfuse train` makes them from "
            f"configs/{network}-cave-x4.yaml"
        )
    return weights, {"network": network}


def _settings_of(
    method: str, effort: str | None, budget: str | None, weights: str | None, best_so_far: bool
) -> dict[str, Any]:
    """Return the settings that options stand for, where the method has them."""
    from hyperfuse.methods import get_method, list_methods
    from hyperfuse.networks.pretrained import fixed_name

    if effort is not None and budget is not None:
        raise InputError("--effort and --budget both say how long to work; give one of them")
    known = get_method(method).capabilities
    for able, options in (
        (known.effort, {"--effort": effort, "--best-so-far": best_so_far or None}),
        (known.budget, {"--budget": budget}),
    ):
        for option, value in options.items():
            if value is not None and not able:
                raise InputError(f"the method {method} takes no {option}: it works until it is done")
    if weights is not None and not known.weights:
        others = " or ".join([one.name for one in list_methods() if one.capabilities.weights] + ["--network"])
        raise InputError(f"the method {method} takes no --weights: it has no network; choose {others}")
    if weights is not None and not (method == "network" and Path(weights).is_file()):
        weights = fixed_name(weights)  # refused before files are read
    settings = {
        "effort": effort,
        "budget_seconds": None if budget is None else parse_duration(budget, "--budget"),
        "weights": weights,
        "keep_best": best_so_far or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _sensor(path: str | None, hsi: str, session: Session) -> Sensor | None:
    from hyperfuse.sensor.model import Sensor

    if path is not None:
        return Sensor.load(path)
    found = sensor_next_to(hsi)
    if found is None:
        return None
    session.note(f"sensor: {found}")
    return Sensor.load(found)
