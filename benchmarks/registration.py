"""How well a displaced pair is registered, and what that is worth: warped scenes, a real pair, pairs that are none.

    python benchmarks/registration.py DATA
    python benchmarks/registration.py DATA --part pavia

DATA holds the folders that benchmarks/scenes.py names, and registration/reg_pavia_dataset.mat. The MSI's coordinates
are warped by a smooth field (cubic splines, once), the truth is degraded unwarped. Results go to
benchmarks/results/registration.md. Scores do not depend on threads or load.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from scipy import ndimage

import hyperfuse as hf
from detectors import detectors_part
from hyperfuse.scenes.matching.align import estimate_alignment, pair_part, place
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.sensor.estimation.sampling import PairPart
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.register import register
from hyperfuse.sensor.registration.splines import SplineGrid
from recording import RESULTS, made_by
from scenes import CAVE, read_cave, read_enmap, read_remote

Array = NDArray[np.float64]

# Scene, ratio and responses of the MSI; correlation length of the fields in LR pixels, and their largest displacements.
_SCENES = (
    ("jasper_ridge", 4, "boxes:6"),
    ("abu-urban-5", 4, "boxes:6"),
    ("enmap", 3, "sentinel-2a"),
    ("cloth_half", 4, "nikon-d700"),
)
# Of a scene of 128x128 LR pixels, only pairs with clouds and change.
_LARGE = ("paints", 4, "nikon-d700")
_LENGTH = 40.0
# Noise, clouds and change, and the largest displacements in LR pixels tried with them.
_CONDITIONS: tuple[tuple[str, float | None, bool, tuple[float, ...]], ...] = (
    ("none", None, False, (0.0, 0.1, 0.3, 1.0, 2.0, 6.0)),
    ("30 dB", 30.0, False, (0.0, 1.0)),
    ("30 dB, clouds, another date", 30.0, True, (1.0, 2.0)),
)
_FUSED = ("cloth_half", "jasper_ridge")
_CLEAR = 0.05  # fraction of clouds, through the PSF, below which a position counts as outside of them
_WITHIN = 0.1  # LR pixels
_BORDER = 2.0  # LR pixels from the border of the truth that are not scored
_TOP_LEFT = (500_000.0, 4_000_000.0)  # UTM, 10 m


@dataclass(frozen=True, eq=False)
class Warped:
    """A pair whose MSI is warped: cubes with georeferencing as if it were not, the sensor of the pair that is not.

    ``clouds`` (H, W) is the fraction of the MSI's radiance that is that of clouds, ``changed`` (H, W) where the ground
    is another.
    """

    hsi: hf.Cube
    msi: hf.Cube
    sensor: Sensor
    truth: Array
    move: Array
    displacement: Array
    clouds: Array
    changed: NDArray[np.bool_]

    @property
    def on_msi(self) -> NDArray[np.bool_]:
        """LR pixels (h, w) that lie on the MSI."""
        true = self._positions
        last = np.reshape(self.msi.data.shape[1:], (2, 1, 1)) - 1
        return np.asarray(((true >= 0) & (true <= last)).all(axis=0))

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Those of them that do not lie under clouds."""
        seen = ndimage.gaussian_filter(self.clouds, 0.5 * self.sensor.mean_ratio)
        return self.on_msi & (ndimage.map_coordinates(seen, self._positions, order=1, mode="nearest") < _CLEAR)

    @property
    def _positions(self) -> Array:
        return self.sensor.positions(self.displacement.shape[1:]) + self.displacement

    @property
    def inner(self) -> NDArray[np.bool_]:
        """HR pixels (H, W) that show ground which the HSI covers."""
        rows, cols = self.move.shape[1:]
        y, x = np.mgrid[:rows, :cols] + self.move
        border = _BORDER * self.sensor.mean_ratio
        return (y >= border) & (y <= rows - 1 - border) & (x >= border) & (x <= cols - 1 - border)


def read_scene(folder: Path, name: str) -> hf.Cube:
    """Return a scene without bands that cannot be used, and without georeferencing."""
    cube = read_cave(folder, name) if name in CAVE else None
    if name == "enmap":
        cube = read_enmap(folder)
    if cube is None:
        cube = read_remote(folder / "remote" / f"{name}.mat")
    return cube.select_bands(cube.usable_bands).replace(transform=None, crs=None)


def smooth_field(shape: tuple[int, int], largest: float, length: float, seed: int) -> Array:
    """Return a Gaussian random field (2, H, W) with a covariance of exp(-r^2 / (2 length^2)), scaled."""
    pad = int(3 * length)
    noise = np.random.default_rng(seed).standard_normal((2, shape[0] + 2 * pad, shape[1] + 2 * pad))
    field = np.stack([ndimage.gaussian_filter(one, length / np.sqrt(2), mode="wrap") for one in noise])
    field = field[:, pad:-pad, pad:-pad]
    field -= field.mean(axis=(1, 2), keepdims=True)
    return np.asarray(largest * field / np.abs(field).max())


def warped(image: NDArray[np.float32], move: Array) -> Array:
    """Return an image (bands, H, W) of which pixel u shows what lay at ``u + move``."""
    at = np.mgrid[: image.shape[1], : image.shape[2]] + move
    return np.stack([ndimage.map_coordinates(band.astype(float), at, order=3, mode="mirror") for band in image])


def make(folder: Path, scene: tuple[str, int, str], amplitude: float, snr: float | None, change: bool) -> Warped:
    """Warp the MSI of a scene by a field of some amplitude in LR pixels; noise, clouds and change after that."""
    name, ratio, srf = scene
    pair = hf.simulate(read_scene(folder, name), ratio=ratio, srf=srf, hsi_snr_db=snr)
    shape = pair.msi.data.shape[1:]
    move = smooth_field(shape, amplitude * ratio, _LENGTH * ratio, 100) if amplitude else np.zeros((2, *shape))
    msi = warped(pair.msi.data, move)
    generator = np.random.default_rng(7)
    clouds, changed = np.zeros(shape), np.zeros(shape, np.bool_)
    if change:
        msi, clouds, changed = another_date(msi, generator, ratio)
    if snr is not None:
        power = np.sqrt(np.square(msi).mean(axis=(1, 2), keepdims=True) * 10 ** (-snr / 10))
        msi = msi + power * generator.standard_normal(msi.shape)
    grid = (10.0, 0.0, _TOP_LEFT[0], 0.0, -10.0, _TOP_LEFT[1])
    side = 10.0 * ratio
    y, x = (10 * (offset + 0.5 - ratio / 2) for offset in pair.sensor.offset)
    low = (side, 0.0, _TOP_LEFT[0] + x, 0.0, -side, _TOP_LEFT[1] - y)
    return Warped(
        pair.hsi.replace(transform=low, crs="EPSG:32633"),
        hf.Cube(msi.astype(np.float32), transform=grid, crs="EPSG:32633"),
        pair.sensor,
        warped(pair.reference.data, move),
        move,
        true_displacement(move, pair.sensor, pair.hsi.data.shape[1:]),
        clouds,
        changed,
    )


def another_date(msi: Array, generator: np.random.Generator, ratio: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return an MSI with other gains and offsets, a tenth of it changed and a tenth under clouds; these and that."""
    bands, *shape = msi.shape
    gain, offset = generator.uniform(0.7, 1.4, bands), generator.uniform(-0.05, 0.05, bands) * msi.max()
    haze = smooth_field((shape[0], shape[1]), 0.2, _LENGTH * ratio, 5)[0]
    msi = msi * gain[:, None, None] * (1 + haze) + offset[:, None, None]
    blobs = [ndimage.gaussian_filter(generator.standard_normal(shape), size * ratio) for size in (3, 6)]
    changed = blobs[0] > np.quantile(blobs[0], 0.9)
    msi = np.where(changed, 0.8 * msi[generator.permutation(bands)], msi)
    cloud = np.clip((blobs[1] - np.quantile(blobs[1], 0.9)) / (0.2 * blobs[1].std()), 0, 1)
    return np.asarray(msi * (1 - cloud) + 1.2 * np.quantile(msi, 0.99) * cloud), cloud, changed


def true_displacement(move: Array, sensor: Sensor, lr_shape: tuple[int, ...]) -> Array:
    """Return how far the LR pixels (2, h, w) lie from their regular positions in a warped MSI, in HR pixels."""
    rows, cols = lr_shape
    regular = sensor.positions((rows, cols))
    at = regular.copy()
    for _ in range(60):
        at = regular - np.stack([ndimage.map_coordinates(one, at, order=3, mode="nearest") for one in move])
    return at - regular


def true_sensor(pair: Warped) -> Sensor:
    """Return the sensor with the true displacement."""
    lr_shape = pair.displacement.shape[1:]
    rows, cols = (np.arange(size, dtype=np.float64) for size in lr_shape)
    field = SplineGrid.over((lr_shape[0], lr_shape[1]), 5).fit(pair.displacement, np.ones(lr_shape), rows, cols, 1e-9)
    return pair.sensor.replace(displacement=field.displacement((1.0, 1.0)))


def position_errors(pair: Warped, found: hf.Sensor, first: tuple[int, int], start: tuple[int, int]) -> Array:
    """Return how far the positions of a sensor lie from the true ones (h, w), in LR pixels.

    ``first`` is its first LR pixel and ``start`` its first HR pixel in the whole images.
    """
    lr_shape = pair.hsi.data.shape[1:]
    whole = found.window((-first[0], -first[1]), tuple(
        offset + begin - ratio * index
        for offset, begin, ratio, index in zip(found.offset, start, found.ratio, first, strict=True)
    ))  # fmt: skip
    true = pair.sensor.positions(lr_shape) + pair.displacement
    return np.asarray(np.hypot(*((whole.positions(lr_shape) - true) / pair.sensor.mean_ratio)))


def psnr(pair: Warped, image: hf.Cube, start: tuple[int, int] = (0, 0)) -> float:
    """Return the PSNR over the inner pixels of a fused image whose first pixel is ``start``."""
    rows, cols = image.data.shape[1:]
    window = (slice(start[0], start[0] + rows), slice(start[1], start[1] + cols))
    inner = pair.inner[window] & np.isfinite(image.data).all(axis=0)
    truth = pair.truth[(slice(None), *window)]
    return float(hf.metrics.psnr(truth[:, inner][:, None], image.data[:, inner].astype(np.float64)[:, None]))


def warps_part(folder: Path) -> Iterator[str]:
    """Position errors of warped scenes through the whole pipeline."""
    yield "## Warped scenes: positions"
    yield ""
    yield (
        f"MSI warped by smooth fields of a correlation length of {_LENGTH:g} HSI pixels; the amplitude is the largest"
        " displacement. Errors in HSI pixels over all HSI pixels that lie on the MSI; the PSF is not known. Clouds and"
        f" change cover a tenth of the MSI each, and gain varies by a fifth. Within {_WITHIN:g}: the fraction of the"
        " positions, of all of them and of those outside the clouds, under which the field is interpolated."
    )
    yield ""
    yield (
        f"| scene | amplitude | noise | model | error (rms) | median | 95 % | largest | within {_WITHIN:g} |"
        " outside clouds | not registered (rms) | s |"
    )
    yield "| --- " * 12 + "|"
    for scene in (*_SCENES, _LARGE):
        for condition, snr, change, amplitudes in _CONDITIONS[-1:] if scene is _LARGE else _CONDITIONS:
            for amplitude in amplitudes:
                pair = make(folder, scene, amplitude, snr, change)
                begin = time.process_time()
                match = hf.fuse(pair.hsi, pair.msi, method="bicubic", return_details=True).match
                seconds = time.process_time() - begin
                errors = position_errors(pair, match.sensor, match.hsi[:2], match.msi[:2])
                off, clear = errors[pair.on_msi], errors[pair.clear]
                plain = position_errors(pair, pair.sensor, (0, 0), (0, 0))[pair.on_msi]
                model = match.registration.model if match.registration.accepted else "refused"
                values = [rms(off), np.median(off), np.quantile(off, 0.95), off.max(), rms(plain)]
                within = [f"{np.mean(one < _WITHIN):.1%}" for one in (off, clear)]
                cells = [scene[0], f"{amplitude:g}", condition, model, *(f"{value:.4f}" for value in values[:-1])]
                yield "| " + " | ".join([*cells, *within, f"{values[-1]:.4f}", f"{seconds:.1f}"]) + " |"
    yield ""


def fusion_part(folder: Path) -> Iterator[str]:
    """What registration is worth to `local-regression`."""
    yield "## Warped scenes: fused"
    yield ""
    yield (
        "PSNR in dB of `local-regression` over the pixels whose ground the HSI covers, the PSF known: without"
        " registration, with one shift, registered, with the true field; and of the pair without a warp."
    )
    yield ""
    yield "| scene | amplitude | noise | none | one shift | registered | true field | no warp | loss |"
    yield "| --- " * 9 + "|"
    for scene in [scene for scene in _SCENES if scene[0] in _FUSED]:
        for condition, snr, _, amplitudes in _CONDITIONS[:2]:
            for amplitude in amplitudes[1:]:
                pair, still = (make(folder, scene, one, snr, False) for one in (amplitude, 0.0))
                free = {"method": "local-regression", "psf": pair.sensor.psf, "return_details": True}
                part = pair_part(MatchedPair(pair.hsi, pair.msi, pair.sensor.replace(srf=None)))
                shifted = place(estimate_alignment([part], affine=False), part.sensor, part.lr_shape).sensor
                scores = []
                for sensor in (pair.sensor, shifted):
                    specified = {"sensor": sensor, "phase": sensor.offset}
                    scores.append(psnr(pair, hf.fuse(pair.hsi, pair.msi, method="local-regression", **specified)))
                found = hf.fuse(pair.hsi, pair.msi, **free)
                scores.append(psnr(pair, found.image, found.match.msi[:2]))
                for one, sensor in ((pair, true_sensor(pair)), (still, pair.sensor)):
                    image = hf.fuse(one.hsi, one.msi, method="local-regression", sensor=sensor)
                    inner = pair if one is pair else Warped(**{**vars(still), "move": pair.move})
                    scores.append(psnr(inner, image))
                cells = [scene[0], f"{amplitude:g}", condition, *(f"{score:.2f}" for score in scores)]
                yield "| " + " | ".join([*cells, f"{scores[3] - scores[2]:+.2f}"]) + " |"
    yield ""


def pavia_part(folder: Path) -> Iterator[str]:
    """A pair with a known affine map, which other authors registered."""
    stored = scipy.io.loadmat(folder / "registration" / "reg_pavia_dataset.mat")
    hsi, rgb = (stored[name].transpose(2, 0, 1).astype(np.float32) for name in ("I1", "rgb1"))
    (rows, cols), (height, width) = hsi.shape[1:], rgb.shape[1:]
    i, j = np.mgrid[:rows, :cols] + 0.5
    along_x, along_y = stored["s"].ravel()
    x, y, _ = np.tensordot(stored["T"], np.stack([along_x * j, along_y * i, np.ones_like(i)]), 1)
    ratio = 4.5
    centred = ((height - 1 - ratio * (rows - 1)) / 2, (width - 1 - ratio * (cols - 1)) / 2)
    yield "## reg_pavia (Zhou, Rangarajan, Gader)"
    yield ""
    yield "Told only that the ratio is near 4.5: 10 degrees of rotation, ratios 4.5 and 4.4. Errors in HSI pixels."
    yield ""
    yield "| | mean | largest |"
    yield "| --- | --- | --- |"
    yield "| the authors, as stored with their data | 0.024 | 0.054 |"
    yield "| mutual information, as they report it | 0.027 | 0.064 |"
    for name, psf in (
        ("PSF as stated", GaussianPsf(sigma=(2.25, 2.25))),
        ("PSF assumed", hf.create_sensor("mtf", 4.5).psf),
    ):
        sensor = Sensor(ratio=(ratio, ratio), psf=psf, phase=centred)
        pair = PairComponents.of(PairPart(torch.from_numpy(hsi), torch.from_numpy(rgb), sensor))
        found = register(pair, 20.0, np.arange(-15, 15.1, 2.5).tolist())
        assert found.field is not None
        at = sensor.positions((rows, cols)) + ratio * found.field.at(np.arange(rows) + 0.0, np.arange(cols) + 0.0)
        off = np.hypot(*(at - np.stack([y, x]) + 0.5)) / np.sqrt(along_x * along_y)
        result = f"{found.model}, {found.doubt or 'accepted'}"
        yield f"| {name}: {result} | {off.mean():.3f} | {off.max():.3f} |"
    yield ""


def controls_part(folder: Path) -> Iterator[str]:
    """Pairs that do not belong together: none may be accepted."""
    yield "## Pairs that are none"
    yield ""
    names = [scene for scene in _SCENES if scene[0] != "cloth_half"]
    tried, accepted = 0, []
    for scene in names:
        pair = make(folder, scene, 1.0, 40.0, False)
        msi = pair.msi.data
        others = {
            "mirrored": msi[:, :, ::-1],
            "upside down": msi[:, ::-1],
            "transposed corner": msi[:, : min(msi.shape[1:]), : min(msi.shape[1:])].swapaxes(1, 2),
            "noise": np.random.default_rng(0).random(msi.shape),
            **{f"of {other[0]}": elsewhere(folder, other, msi.shape) for other in names if other is not scene},
        }
        for what, image in others.items():
            rows, cols = (size // int(pair.sensor.ratio[0]) for size in image.shape[1:])
            part = PairPart(
                torch.from_numpy(pair.hsi.data[:, :rows, :cols].copy()),
                torch.from_numpy(np.ascontiguousarray(image, np.float32)),
                pair.sensor.replace(srf=None),
            )
            found = register(PairComponents.of(part), 12.0)
            tried += 1
            accepted += [f"{scene[0]}, {what} ({found.model})"] if found.accepted else []
    yield f"MSI mirrored, upside down, of another scene, noise: {len(accepted)} of {tried} accepted."
    yield from (f"- {one}" for one in accepted)
    yield ""


def elsewhere(folder: Path, scene: tuple[str, int, str], shape: tuple[int, ...]) -> Array:
    """Return the MSI of another scene, tiled by mirroring to a size."""
    msi = make(folder, scene, 0.0, None, False).msi.data
    pads = [(0, max(0, size - have)) for size, have in zip(shape[1:], msi.shape[1:], strict=True)]
    return np.asarray(np.pad(msi, ((0, 0), *pads), mode="symmetric")[:, : shape[1], : shape[2]])


def time_part(folder: Path) -> Iterator[str]:
    """Seconds of a pair of 1000x1000 and 3000x3000 pixels, of paints mirrored to that size."""
    yield "## Time"
    yield ""
    image = read_scene(folder, "paints").data[::6]
    image = np.pad(image, ((0, 0), (0, 3000 - 512), (0, 3000 - 512)), mode="symmetric")
    sensor = hf.create_sensor("mtf", 3)
    move = smooth_field((3000, 3000), 9.0, 40.0 * 3, 3)
    msi = warped(image[[1, 3, 5]], move).astype(np.float32)
    generator = torch.Generator().manual_seed(0)
    hsi = sensor.degrade(torch.from_numpy(image))
    hsi = hsi + 0.01 * hsi.std() * torch.randn(hsi.shape, generator=generator)
    begin, wall = time.process_time(), time.monotonic()
    found = register(PairComponents.of(PairPart(hsi, torch.from_numpy(msi), sensor)), 12.0)
    used, elapsed = time.process_time() - begin, time.monotonic() - wall
    assert found.field is not None
    displacement = true_displacement(move, sensor, (1000, 1000))
    off = np.hypot(*(found.field.at(np.arange(1000.0), np.arange(1000.0)) - displacement / 3))[8:-8, 8:-8]
    yield (
        f"1000x1000 HSI (6 bands) and 3000x3000 MSI (3 bands), field of 3 HSI pixels at most: {used:.0f} s of processor"
        f" time, {elapsed:.0f} s elapsed; model {found.model}, error {rms(off):.4f} HSI pixels rms."
    )
    yield ""


def rms(values: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(values).mean()))


PARTS = {
    "warps": warps_part,
    "fusion": fusion_part,
    "pavia": pavia_part,
    "controls": controls_part,
    "detectors": detectors_part,
    "time": time_part,
}


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; default: all")
    parser.add_argument("--output", type=Path, default=RESULTS / "registration.md", help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    lines = ["# Registration of displaced pairs", ""]
    try:
        for name in options.part or PARTS:
            for line in PARTS[name](options.data):
                print(line, flush=True)
                lines.append(line)
    except hf.InputError as error:
        parser.error(str(error))
    chosen = "".join(f" --part {name}" for name in options.part or ())
    lines += made_by(f"python benchmarks/registration.py DATA{chosen}", os.environ["OMP_NUM_THREADS"])
    options.output.write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
