"""Fusion of a pair: of two cubes, or of files of any size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions, WriteKeywords, WriteOptions
from hyperfuse.io.files import ImageLike, as_cube
from hyperfuse.methods import DEFAULT_METHOD, get_method
from hyperfuse.progress import Progress, part, showing, silent
from hyperfuse.runtime.devices import find_device
from hyperfuse.runtime.optional import check_installed
from hyperfuse.scenes.execution import SHARPENED, TilingRequest, fuse_files, fuse_whole
from hyperfuse.scenes.files import PairFiles, as_excluded
from hyperfuse.scenes.images import ImageFiles, MsiImage, Paths, hsi_cube
from hyperfuse.scenes.job import FusionJob, Settings, as_mapping, configure, predicts_uncertainty, specified_geometry
from hyperfuse.scenes.pipeline import Fusion
from hyperfuse.scenes.resume import refuse_finished
from hyperfuse.scenes.several import (
    is_several,
    msi_cubes,
    msi_files,
    refuse_msi_psf,
    sharpening_job,
    stacked_cube,
    to_finest,
)
from hyperfuse.scenes.source import PairSource
from hyperfuse.scenes.targets import Outputs
from hyperfuse.scenes.tiling.memory import check_workers, default_memory_gb
from hyperfuse.scenes.tiling.store import TileStore
from hyperfuse.sensor.displacement_map import DisplacementMap
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import Srf

Number = float | tuple[float, float]
Bools = NDArray[np.bool_]
AnyPsf = GaussianPsf | BoxPsf | KernelPsf


@overload
def fuse(
    hsi: ImageLike, msi: ImageLike | Sequence[ImageLike], *, return_details: Literal[True], **options: Any
) -> Fusion[Cube]: ...
@overload
def fuse(
    hsi: ImageLike, msi: ImageLike | Sequence[ImageLike], *, return_details: Literal[False] = False, **options: Any
) -> Cube: ...
@checked  # type: ignore[misc]  # the options of an overload are those below
def fuse(
    hsi: ImageLike,
    msi: ImageLike | Sequence[ImageLike],
    *,
    method: str = DEFAULT_METHOD,
    geometry: PairGeometry | None = None,
    sensor: Sensor | None = None,
    srf: Srf | str | None = None,
    psf: AnyPsf | str | None = None,
    ratio: Number | None = None,
    phase: Number | None = None,
    align: bool = True,
    same_ground: bool = False,
    msi_psf: AnyPsf | str | None = None,
    displacement: DisplacementMap | str | Path | None = None,
    search: float | None = None,
    mask: ImageLike | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Settings | None = None,
    return_details: bool = False,
    progress: Progress | bool = silent,
) -> Cube | Fusion[Cube]:
    """Fuse an LR-HSI with an HR-MSI.

    Args:
        hsi: LR-HSI, (bands, h, w): a :class:`Cube`, a ``DataArray``, a file, or an array or tensor without metadata.
        msi: HR-MSI of the same area in the same unit, (msi_bands, H, W), likewise; one band is a panchromatic image.
            Or several, with pixels of several sizes: those of the finest are the result's, and coarser bands are first
            fused to them. The bands of a Sentinel-2 product of 10 m and of 20 m are used so.
        method: name of a registered method.
        geometry: what is known about how the two relate; or its fields, which follow. What is not specified is taken
            from transforms and sizes, else estimated.
        sensor: the whole forward model.
        srf: spectral responses of the MSI, an ``Srf`` or text (see ``create_srf``).
        psf: blur of the HSI, or text (see ``create_psf``).
        ratio: HR pixels per LR pixel; must agree with the transforms where there are any.
        phase: HR position of the first LR sample.
        align: estimate the shift between the two images where neither ``sensor`` nor ``phase`` states their position.
        same_ground: the two images cover the same ground although only one of them states its position.
        msi_psf: of several MSIs: blur of the coarser ones in pixels of the finest; default: estimated.
        displacement: where the HSI's pixels lie against the headers, as :attr:`Fusion.displacement` of another fusion
            of the scene says, or its file; nothing is estimated of the position then.
        search: how far off the headers the HSI may lie, in metres; default: 350.
        mask: bool (H, W), or an image of one band that is not 0, where the MSI must not be used (clouds, water): gaps
            in the result.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1``.
        seed: of methods that draw random numbers.
        settings: of the method: a mapping, or its settings class.
        return_details: return a :class:`Fusion`: the image with its uncertainty (setting ``uncertainty``), how the
            two images relate, the fitted model and notes.
        progress: called with the fraction done and a short message; True shows a bar on the terminal or in a notebook.

    Returns:
        The fused image on the MSI's grid, cut to the common extent: float32 (bands, rows, cols) with the HSI's bands
        and the MSI's CRS and transform (where it has none, those that follow from the HSI's). A gap in either input
        is a gap here; bands that are empty or marked as bad are not fused: they stay empty and marked. The last step
        of its history states method, settings, sensor, what was decided, and bands outside the spectral coverage of
        the MSI.

    Raises:
        InputError: a pair, a name or a setting that does not fit; the message says what to do.

    Example:
        >>> import numpy as np
        >>> hsi, msi = Cube(data=np.ones((4, 6, 6))), Cube(data=np.ones((2, 12, 12)))
        >>> fuse(hsi, msi).data.shape
        (4, 12, 12)
    """
    chosen = get_method(method)
    options = configure(chosen, settings, seed)
    if predicts_uncertainty(chosen, options) and not return_details:
        raise InputError("the uncertainty is returned with return_details=True", parameter="settings")
    job = FusionJob(
        method=chosen,
        settings=options,
        geometry=specified_geometry(
            geometry,
            sensor=sensor,
            srf=srf,
            psf=psf,
            ratio=ratio,
            phase=phase,
            align=align,
            same_ground=same_ground,
            msi_psf=msi_psf,
            displacement=displacement,
            search=search,
        ),
        device=find_device(device),
        seed=seed,
    )
    with showing(progress, "fusing") as report:
        if is_several(msi):
            images = msi_cubes(msi)
            cube, offsets = hsi_cube(hsi, images[0].header)
            msi_cube, excluded, notes = _one_msi(images, cube, mask, job, part(report, 0.0, SHARPENED))
            job, report = replace(job, notes=notes), part(report, SHARPENED, 1.0)
        else:
            refuse_msi_psf(job.geometry)
            msi_cube = as_cube(msi, "msi")
            cube, offsets = hsi_cube(hsi, msi_cube.header)
            excluded = None if mask is None else as_excluded(mask, msi_cube.header)
        fusion = fuse_whole(PairSource.of_cubes(cube, msi_cube, excluded, offsets), job, return_details, report)
    return fusion if return_details else fusion.image


def _one_msi(
    images: list[MsiImage[Cube]], hsi: Cube, mask: ImageLike | None, job: FusionJob, progress: Progress
) -> tuple[Cube, Bools | None, tuple[str, ...]]:
    """Return several MSIs as one, where it is excluded, and notes."""
    excluded = None if mask is None else as_excluded(mask, images[0].header)
    own = sharpening_job(job)

    def sharpen(
        image: MsiImage[Cube], finer: Sequence[MsiImage[Cube]], progress: Progress
    ) -> tuple[Cube, Sequence[str]]:
        source = PairSource.of_cubes(image.image, stacked_cube(finer), excluded)
        fusion = fuse_whole(source, own, False, progress)
        return fusion.image, fusion.notes

    used, notes = to_finest(images, hsi.header, sharpen, progress)
    return stacked_cube(used), excluded, tuple(notes)


@checked
def fuse_tiles(
    hsi: Paths,
    msi: Paths,
    out: str | Path,
    *,
    method: str = DEFAULT_METHOD,
    geometry: PairGeometry | None = None,
    sensor: Sensor | None = None,
    srf: Srf | str | None = None,
    psf: AnyPsf | str | None = None,
    ratio: Number | None = None,
    phase: Number | None = None,
    align: bool = True,
    same_ground: bool = False,
    msi_psf: AnyPsf | str | None = None,
    displacement: DisplacementMap | str | Path | None = None,
    search: float | None = None,
    mask: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Settings | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    workers: int = 1,
    memory_gb: float | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    keep_tiles: bool = True,
    uncertainty: str | Path | None = None,
    preview: int | None = None,
    reading: ReadOptions | None = None,
    msi_reading: ReadOptions | None = None,
    inputs: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Progress | bool = silent,
    **writing: Unpack[WriteKeywords],
) -> Fusion[CubeHeader]:
    """Fuse files of any size: whole where that fits into memory, else tile by tile.

    Tiles are whole LR pixels, read with an overlap and blended with weights that sum to 1. What holds for the whole
    scene is computed once, on samples of it. That and finished tiles are kept in ``.NAME.tiles`` next to ``out`` until
    the image is complete; a job that was killed is resumed with ``resume`` and gives the same image. Tiles without
    data are neither read nor fused. An input of which windows cannot be read is copied to ``.NAME.inputs`` meanwhile.

    Args:
        hsi: file of the LR-HSI (bands, h, w), or several that are merged.
        msi: file of the HR-MSI (msi_bands, H, W) of the same area in the same unit, or several: tiles or bands on one
            grid are merged; of files with other pixels the finest are the result's, as for :func:`fuse`.
        out: image to write; GeoTIFF (COG with ``cog=True``), ENVI or Zarr where it is fused in tiles.
        method: as for :func:`fuse`, as are geometry, sensor, srf, psf, ratio, phase, align, same_ground, msi_psf,
            displacement and search.
        geometry: see there.
        sensor: see there.
        srf: see there.
        psf: see there.
        ratio: see there.
        phase: see there.
        align: see there.
        same_ground: see there.
        msi_psf: see there.
        displacement: see there.
        search: see there.
        mask: file of one band on the MSI's grid, not 0 where the MSI must not be used.
        device: see :func:`fuse`.
        seed: see there.
        settings: see there.
        tile: side of a tile without overlap, in HR pixels; default: as memory allows.
        overlap: LR pixels that are read around a tile; default: what the method needs.
        workers: processes of this machine that fuse tiles.
        memory_gb: memory of all processes together in GB, each worker of a scheduler may take it. Default: half of
            this machine's for a scene that is fused whole, 2 in tiles.
        scheduler: address of a dask.distributed scheduler to run the tiles on, in place of ``workers``.
        resume: resume an interrupted job, if there is one.
        keep_tiles: keep finished tiles of a job that is interrupted or fails, for ``resume``.
        uncertainty: image to write in addition: the standard deviation of the expected error.
        preview: return a part of about this many HR pixels per side.
        reading: how the HSI is read.
        msi_reading: how the MSI is read; errors name its fields ``msi_nodata`` and so on.
        inputs: names of the inputs for the history.
        overwrite: replace an existing ``out``.
        progress: called with the fraction done and a short message; True shows a bar on the terminal or in a notebook.
        **writing: fields of ``WriteOptions``: dtype, compress, nodata and options of the format.

    Returns:
        What is known about the result; ``image`` and ``uncertainty`` are headers of what was written.

    Raises:
        InputError: files, names or settings that do not fit; the message says what to do.
        HyperfuseError: no space left, or workers that are killed.
    """
    started = time.monotonic()
    chosen = get_method(method)
    values = {**as_mapping(settings), **({"uncertainty": True} if uncertainty is not None else {})}
    options = configure(chosen, values, seed)
    if predicts_uncertainty(chosen, options) and uncertainty is None:
        raise InputError("the uncertainty is written to a file; name it by uncertainty=...", parameter="settings")
    _check_tiling(tile, workers, memory_gb, scheduler)
    store = TileStore.next_to(out)
    resumed = resume and store.folder.exists()
    images = Outputs(out, uncertainty, WriteOptions(**writing), overwrite, resumed)
    job = FusionJob(
        method=chosen,
        settings=options,
        geometry=specified_geometry(
            geometry,
            sensor=sensor,
            srf=srf,
            psf=psf,
            ratio=ratio,
            phase=phase,
            align=align,
            same_ground=same_ground,
            msi_psf=msi_psf,
            displacement=displacement,
            search=search,
        ),
        device=find_device(device),
        seed=seed,
        overlap=overlap,
        memory_gb=default_memory_gb() if memory_gb is None else memory_gb,
        workers=workers,
        images=len(images.files),
        inputs=inputs,
        started=started,
    )
    files = PairFiles(
        ImageFiles.of("hsi", hsi, reading),
        msi_files(msi, msi_reading),
        None if mask is None else ImageFiles.of("mask", mask),
    ).on_msi_grid()
    if isinstance(files.msi, ImageFiles):
        refuse_msi_psf(job.geometry)
    if resume and not resumed and not overwrite:
        refuse_finished(images.out, files, job)
    images.check([path for image in files.images for path in image.paths])
    tiling = TilingRequest(tile, workers, memory_gb, scheduler, resume, keep_tiles)
    with files.named(), showing(progress, "fusing") as report:
        return fuse_files(files, images, job, tiling, preview, report)


def _check_tiling(tile: int | None, workers: int, memory_gb: float | None, scheduler: str | None) -> None:
    for name, value in (("workers", workers), ("tile", tile)):
        if value is not None and value < 1:
            raise InputError(f"{name} is 1 or more, got {value}", parameter=name)
    if memory_gb is not None and not memory_gb > 0:
        raise InputError(f"memory_gb is more than 0, got {memory_gb:g}", parameter="memory_gb")
    check_workers(workers)
    if scheduler is not None and workers != 1:
        raise InputError("workers are processes of this machine, scheduler is a cluster; pass one of them")
    if scheduler is not None:
        check_installed("distributed", "fusion on a dask cluster")
