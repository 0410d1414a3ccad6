"""Several images that together are the MSI: bands with coarser pixels are fused to those of the finest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io import read
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.files import as_cube
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.formats.stack import same_grid, stack
from hyperfuse.io.mosaic import merge
from hyperfuse.io.products import find_product
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.stacked import pixel_corner
from hyperfuse.methods import get_method
from hyperfuse.progress import Progress, part
from hyperfuse.scenes.images import BandFiles, BandRank, ImageFiles, MsiImage, Paths, stack_images
from hyperfuse.scenes.job import FusionJob, configure
from hyperfuse.sensor.displacement_map import metres_per_pixel
from hyperfuse.sensor.geometry import PairGeometry

# The method that makes finer pixels of coarser bands. By measurement (benchmarks/several.py) the best of those that
# take seconds where one panchromatic band sharpens it, and within 0.6 dB of the best where four do.
SHARPENING = "local-regression"
# Pixels are of one size within this factor: nothing can be sharpened between them.
_SAME_SIZE = 1.1

Image = TypeVar("Image")
# From an image and those with finer pixels before it, at those, it makes the image at those pixels, and notes.
Sharpen = Callable[[MsiImage[Image], Sequence[MsiImage[Image]], Progress], tuple[Image, Sequence[str]]]


def msi_files(paths: Paths, options: ReadOptions | None) -> ImageFiles | BandFiles:
    """Return the MSI in one file or in several.

    Files with pixels of one size on one grid are one image, of bands or tiles; see :func:`~hyperfuse.io.read_mosaic`.
    Others are images of their own, as are the bands of 10 m and of 20 m of a Sentinel-2 product.

    Raises:
        InputError: a file that is named twice, or one that cannot be read.
    """
    whole = ImageFiles.of("msi", paths, options)
    parts = [_parts_of(path, whole.options) for path in whole.paths]
    if (len(parts) == 1 and len(parts[0]) == 1) or whole.options.stack is False:
        return whole
    _refuse_twice(whole.paths)
    found = []
    for number, (path, several) in enumerate(zip(whole.paths, parts, strict=True)):
        for how, bands in several:
            image = ImageFiles("msi", (path,), how)
            found.append(MsiImage(image, image.header(), path, BandRank(number, bands)))
    groups = _groups(found)
    if len(groups) == 1:
        return replace(whole, options=_options(groups[0], whole.options))
    for name in ("bands", "wavelengths"):
        if len(whole.paths) > 1 and getattr(whole.options, name) is not None:
            raise InputError(
                f"msi_{name}=... is of one image, and the MSI is {len(groups)} of them; leave it out, or write files"
                " that hold what is meant",
                f"msi_{name}",
            )
    images = []
    for number, group in enumerate(groups, 1):
        first = group[0]
        image = ImageFiles(f"msi-{number}", tuple(one.label for one in group), _options(group, first.image.options))
        images.append(replace(first, image=image))
    return BandFiles(tuple(images))


def is_several(msi: Any) -> bool:
    """Return whether what a caller passes as MSI is several images, or a product with pixels of several sizes."""
    if isinstance(msi, str | Path):
        return len(_parts_of(str(msi), ReadOptions())) > 1
    kinds = (str, Path, Cube)
    return isinstance(msi, list | tuple) and any(isinstance(one, kinds) or hasattr(one, "dims") for one in msi)


def msi_cubes(images: Any) -> list[MsiImage[Cube]]:
    """Return the images that callers pass as one MSI, the finest first; those on one grid are one.

    Raises:
        InputError: an image that is passed twice, or what :func:`~hyperfuse.io.files.as_cube` refuses.
    """
    listed = images if isinstance(images, list | tuple) else [images]
    _refuse_twice([str(one) for one in listed if isinstance(one, str | Path)])
    if any(one is other for at, one in enumerate(listed) for other in listed[:at]):
        raise InputError("an image of the MSI is passed twice", "msi")
    found = []
    for number, image in enumerate(listed):
        label = str(image) if isinstance(image, str | Path) else f"msi[{number}]"
        parts = _parts_of(label, ReadOptions()) if isinstance(image, str | Path) else [(None, None)]
        for how, bands in parts:
            cube = as_cube(image, label) if len(parts) == 1 else read(label, how)
            found.append(MsiImage(cube, cube.header, label, BandRank(number, bands)))
    return [_merged(group) for group in _groups(found)]


def to_finest(
    images: Sequence[MsiImage[Image]], hsi: CubeHeader, sharpen: Sharpen[Image], progress: Progress
) -> tuple[list[MsiImage[Image]], list[str]]:
    """Bring images to the pixels of the first.

    Args:
        images: the finest first.
        hsi: header of the HSI that they will be fused with.
        sharpen: does it for one.
        progress: called with the fraction done.

    Returns:
        Those that are used, at the pixels of the first (or nearly: these are resampled when they are stacked), and
        notes.

    Raises:
        InputError: an image that is no finer than the HSI, or does not overlap with the first.
    """
    sizes = pixel_sizes([one.header for one in images])
    stated = (images[0].header.transform is None) == (hsi.transform is None)
    coarsest = pixel_sizes([images[0].header, hsi])[1] if stated else math.inf
    used, notes = [replace(images[0], fine=images[0].image)], list[str]()
    for number, (image, size) in enumerate(zip(images[1:], sizes[1:], strict=True), 1):
        text = f"{image.label}: its pixels of {size:.4g} are no finer than the HSI's of {coarsest:.4g}"
        if size * _SAME_SIZE > coarsest:
            if image.rank.bands is None:
                raise InputError(f"{text}, so it adds nothing; leave it out", "msi")
            notes.append(f"{text}, so its bands are not used")
            continue
        finest = images[0].label
        if size <= _SAME_SIZE * sizes[0]:
            used.append(replace(image, fine=image.image))
            first = images[0].header
            grid = Grid(first.rows, first.cols, first.transform, first.crs)
            if pixel_corner(grid, image.header) is None:
                notes.append(f"{image.label}: resampled (cubic) to the pixels of {finest}")
            continue
        own = part(progress, (number - 1) / (len(images) - 1), number / (len(images) - 1))
        try:
            sharp, more = sharpen(image, used, own)
        except InputError as error:
            raise InputError(
                f"{image.label} cannot be brought to the pixels of {finest} (it is the HSI here): {error}",
                error.parameter,
            ) from error
        used.append(replace(image, fine=sharp))
        notes.append(
            f"{image.label}: {_count(image.header.bands)} with pixels of {size:.4g} fused ({SHARPENING}) to those of"
            f" {finest}, {sizes[0]:.4g}"
        )
        notes += [f"{image.label}: {note}" for note in more]
    return used, notes


def stacked_cube(images: Sequence[MsiImage[Cube]]) -> Cube:
    """Return the bands of images that have the pixels of the first as one cube."""
    source = stack_images([MemorySource(one.fine) for one in images if one.fine is not None], images)
    return source.read(Window(0, 0, source.header.rows, source.header.cols))


def sharpening_job(job: FusionJob) -> FusionJob:
    """Return the job that makes finer pixels of coarser bands, of the job that needs them."""
    method = get_method(SHARPENING)
    geometry = PairGeometry(psf=job.geometry.msi_psf, align=job.geometry.align)
    return FusionJob(
        method=method,
        settings=configure(method, None, job.seed),
        geometry=geometry,
        device=job.device,
        seed=job.seed,
        memory_gb=job.memory_gb,
        workers=job.workers,
        images=1,
    )


def refuse_msi_psf(geometry: PairGeometry) -> None:
    """Refuse a PSF of coarser MSIs where there is one MSI.

    Raises:
        InputError: it is specified.
    """
    if geometry.msi_psf is not None:
        raise InputError(
            "msi_psf=... is the blur of coarser bands of the MSI, and its bands have pixels of one size; leave it out",
            "msi_psf",
        )


def pixel_sizes(headers: Sequence[CubeHeader]) -> list[float]:
    """Return the pixel size of images in metres; of such without a position as a fraction of their height.

    Raises:
        InputError: some state their position and some do not.
    """
    stated = [header.transform is not None for header in headers]
    if not any(stated):
        return [1 / header.rows for header in headers]
    if not all(stated):
        raise InputError(
            "some of the images are georeferenced and some are not, so how their pixels relate is not known;"
            " georeference them",
            "msi",
        )
    return [_metres(header) for header in headers]


def _metres(header: CubeHeader) -> float:
    sizes = metres_per_pixel(header) or header.resolution
    assert sizes is not None  # it states its position
    return math.sqrt(sizes[0] * sizes[1])


def _parts_of(path: str, options: ReadOptions) -> list[tuple[ReadOptions, tuple[int, ...] | None]]:
    """Return how the bands of each pixel size of a file are read, and where they stand in it; one of most files."""
    file, variable = split_variable(path)
    try:
        found = find_product(file, variable)
    except InputError:  # reported when it is read
        found = None
    sizes = () if found is None or options.pixel_size is not None else found[0].pixel_sizes
    if len(set(sizes)) < 2:
        return [(options, None)]
    index = options.band_index(len(sizes))
    chosen = list(range(len(sizes))) if index is None else index
    parts: list[tuple[ReadOptions, tuple[int, ...] | None]] = []
    for size in sorted({sizes[band] for band in chosen}):
        ranks = tuple(rank for rank, band in enumerate(chosen) if sizes[band] == size)
        bands = [chosen[rank] for rank in ranks]
        centres = options.wavelengths
        if centres is not None and not isinstance(centres, str):
            centres = [centres[at] for at in (bands if len(centres) == len(sizes) else ranks)]
        parts.append((replace(options, bands=bands, wavelengths=centres, pixel_size=size), ranks))
    return parts if len(parts) > 1 else [(options, None)]


def _groups(found: Sequence[MsiImage[Image]]) -> list[list[MsiImage[Image]]]:
    """Return images by their pixels, the finest first: bands or tiles of one image, in the order of the call."""
    sizes = pixel_sizes([one.header for one in found])
    groups: list[list[MsiImage[Image]]] = []
    largest: list[float] = []
    for size, one in sorted(zip(sizes, found, strict=True), key=lambda item: item[0]):
        for group, limit in zip(groups, largest, strict=True):
            first = group[0].header
            # Tiles off the grid of the first stay with it: they are refused when they are merged.
            if same_grid(first, one.header) or (size <= limit and _same_bands(first, one.header)):
                group.append(one)
                break
        else:
            groups.append([one])
            largest.append(_SAME_SIZE * size)
    # Sizes that differ by rounding alone are in the order of the call.
    for group in groups:
        group.sort(key=lambda one: (one.rank.file, one.rank.bands or ()))
    return groups


def _same_bands(first: CubeHeader, second: CubeHeader) -> bool:
    """Return whether two images may be tiles of one."""
    pairs = ((first.wavelengths, second.wavelengths), (first.band_names, second.band_names))
    same = (one is None or other is None or list(one) == list(other) for one, other in pairs)
    return first.bands == second.bands and all(same)


def _merged(group: Sequence[MsiImage[Cube]]) -> MsiImage[Cube]:
    """Return images on one grid as one: bands where they cover the same pixels, else tiles."""
    if len(group) == 1:
        return group[0]
    cubes, labels = [one.image for one in group], [one.label for one in group]
    cube = stack(cubes, labels) if _cover_the_same(group) else merge(cubes, labels, certain=False)
    return MsiImage(cube, cube.header, labels[0], group[0].rank)


def _cover_the_same(group: Sequence[MsiImage[Image]]) -> bool:
    return all(same_grid(first.header, second.header) for first, second in pairwise(group))


def _options(group: Sequence[MsiImage[ImageFiles]], options: ReadOptions) -> ReadOptions:
    """Return how files on one grid are read: those of other bands than the first are no tiles."""
    single = all(one.header.bands == 1 for one in group)  # decided, with a warning, when they are read
    tiles = single or all(_same_bands(group[0].header, one.header) for one in group) or not _cover_the_same(group)
    return options if tiles or options.stack is not None else replace(options, stack=True)


def _refuse_twice(paths: Sequence[str]) -> None:
    resolved = [(file.resolve(), variable) for file, variable in map(split_variable, paths)]
    twice = next((path for at, path in enumerate(paths) if resolved[at] in resolved[:at]), None)
    if twice is not None:
        raise InputError(f"{twice}: is named twice as MSI", "msi")


def _count(bands: int) -> str:
    return f"{bands} band{'' if bands == 1 else 's'}"
