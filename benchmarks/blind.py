"""What is lost where the sensor is estimated from the pair, and what the estimate finds for a real pair.

    python benchmarks/blind.py DATA
    python benchmarks/blind.py DATA --part shifts

DATA holds the folders that benchmarks/scenes.py names; Indian Pines comes with the package tensorly. Every part is
written to benchmarks/results/blind-PART.md. Scores do not depend on threads or load.
"""
# ruff: noqa: E402  (the number of threads must be set before any numeric library is loaded)

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, os.environ.get("OMP_NUM_THREADS", "2"))

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

import hyperfuse as hf
from hyperfuse.datasets.indian_pines import load_indian_pines
from hyperfuse.scenes.matching.align import estimate_alignment, pair_part
from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.sensor.estimation.sampling import PairPart, lr_positions, sample_through
from hyperfuse.sensor.estimation.sensor import SensorEstimate, estimate_sensor
from hyperfuse.sensor.estimation.views import Motion
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from recording import made_by
from scenes import CAVE, REMOTE, read_cave, read_enmap, read_paris, read_remote

# The bands that the pair over Paris keeps of Hyperion's 242, whose nominal centres are evenly spaced in each detector.
_VNIR_BANDS, _VNIR_START, _VNIR_STEP, _SWIR_START, _SWIR_STEP = 70, 355.59, 10.173, 851.92, 10.09
# ALI, multispectral: published limits in nm (Beck, EO-1 user guide, 2003).
_ALI = {
    "MS-1'": (433, 453),
    "MS-1": (450, 515),
    "MS-2": (525, 605),
    "MS-3": (630, 690),
    "MS-4": (775, 805),
    "MS-4'": (845, 890),
    "MS-5'": (1200, 1300),
    "MS-5": (1550, 1750),
    "MS-7": (2080, 2350),
}
_SHIFTS = (((0.3, -0.3), 0.0), ((1.3, -0.7), 0.0), ((5.0, -2.4), 0.0), ((-0.3, 0.45), 0.5))


def scenes(folder: Path) -> Iterator[tuple[str, hf.Cube, int, str, str]]:
    """Give name, image, ratio, preset and responses of every scene, without unusable bands and georeferencing."""
    for name in CAVE:
        cube = read_cave(folder, name)
        yield name, cube.crop(0, 0, 256, 256), 4, "uestc", "nikon-d700"
    for name in REMOTE:
        yield name, read_remote(folder / "remote" / f"{name}.mat"), 4, "mtf", "boxes:6"
    enmap = read_enmap(folder)
    plain = enmap.select_bands(enmap.usable_bands).replace(transform=None, crs=None)
    yield "enmap_potsdam", plain, 3, "mtf", "sentinel-2a"
    yield "indian_pines", load_indian_pines(), 4, "mtf", "sentinel-2a"


def estimated(pair: hf.Pair) -> SensorEstimate:
    """Estimate everything but the ratio."""
    assumed = hf.create_sensor("mtf", pair.sensor.ratio)
    part = PairPart(torch.from_numpy(pair.hsi.data), torch.from_numpy(pair.msi.data), assumed)
    return estimate_sensor([part], wavelengths=pair.hsi.wavelengths)


def score(pair: hf.Pair, sensor: hf.Sensor, method: str, msi: hf.Cube | None = None) -> float:
    """Return the PSNR of a method with ``sensor``."""
    fused = hf.fuse(pair.hsi, pair.msi if msi is None else msi, method=method, sensor=sensor)
    return float(hf.evaluate(pair.reference, fused, pair.sensor.mean_ratio)["psnr_db"])


def sensor_part(folder: Path) -> Iterator[str]:
    """Compare the true sensor with the estimated one, scene by scene, clean and noisy."""
    yield "# PSNR with the true sensor and with the one estimated from the pair"
    yield ""
    yield (
        "Phase, PSF and responses are all estimated; only the ratio is specified. Pairs: CAVE 256x256, preset `uestc`,"
        " ratio 4, Nikon D700; airborne scenes, preset `mtf`, ratio 4, `boxes:6`; EnMAP (ratio 3) and"
        " Indian Pines (ratio 4), preset `mtf`, Sentinel-2A. `cnmf` needs the responses; `local-regression`"
        " only PSF and phase. PSNR in dB."
    )
    for snr in (None, 30.0):
        yield ""
        yield f"## {'Without noise' if snr is None else f'Both images with noise at {snr:g} dB'}"
        yield ""
        yield (
            "| scene | `local-regression`, true | estimated | lost | `cnmf`, true | estimated | lost | PSF, HR pixels |"
            " phase error | SRF error | seconds |"
        )
        yield "|" + " --- |" * 11
        lost: dict[str, list[float]] = {"local-regression": [], "cnmf": []}
        for name, cube, ratio, preset, srf in scenes(folder):
            pair = hf.simulate(cube, ratio=ratio, preset=preset, srf=srf, hsi_snr_db=snr, msi_snr_db=snr)
            start = time.perf_counter()
            found = estimated(pair)
            seconds = time.perf_counter() - start
            corrected = pair.msi.replace(data=found.correct(torch.from_numpy(pair.msi.data)).numpy())
            cells = [name]
            for method in lost:
                true, blind = score(pair, pair.sensor, method), score(pair, found.sensor, method, corrected)
                lost[method].append(true - blind)
                cells += [f"{true:.2f}", f"{blind:.2f}", f"{true - blind:.2f}"]
            assert pair.sensor.srf is not None
            differences = np.abs(found.srf.matrix - pair.sensor.srf.matrix).sum(axis=1) / 2
            error = np.abs(np.array(found.sensor.offset) - np.array(pair.sensor.offset)).max()
            cells += [f"{psf_text(pair.sensor)} / {psf_text(found.sensor)}", f"{error:.3f}"]
            cells += [f"{np.median(differences):.2f}", f"{seconds:.1f}"]
            print(cells, flush=True)
            yield "| " + " | ".join(cells) + " |"
        medians = {method: statistics.median(values) for method, values in lost.items()}
        worst = {method: max(values) for method, values in lost.items()}
        yield ""
        yield (
            "Lost at the median: "
            + "; ".join(f"`{method}` {medians[method]:.2f} dB (maximum {worst[method]:.2f} dB)" for method in lost)
            + ". SRF error: fraction of the weight that lies on other bands, the median over MSI bands."
        )


def psf_text(sensor: hf.Sensor) -> str:
    """Return kind and width along y of a PSF."""
    psf = sensor.psf
    if isinstance(psf, GaussianPsf):
        return f"sigma {psf.sigma[0]:.2f}"
    return f"box {psf.width[0]:.2f}" if isinstance(psf, BoxPsf) else "kernel"


def shifted(cube: hf.Cube, ratio: int, srf: str, motion: Motion, snr: float | None) -> hf.Pair:
    """Simulate a pair whose HSI lies where ``motion`` puts it; its sensor states the grid before that."""
    still = hf.simulate(cube, ratio=ratio, srf=srf, msi_snr_db=snr)
    pixels = np.argwhere(np.ones((still.hsi.rows, still.hsi.cols), np.bool_))
    image = torch.from_numpy(still.reference.data).double()
    moved = sample_through(image, motion.apply(lr_positions(still.sensor, pixels)), still.sensor.psf).T
    data = moved.reshape(still.hsi.data.shape)
    if snr is not None:
        level = np.sqrt(np.square(data).mean(axis=(1, 2), keepdims=True) * 10 ** (-snr / 10))
        data = data + level * np.random.default_rng(1).standard_normal(data.shape)
    return hf.Pair(still.hsi.replace(data=data.astype(np.float32)), still.msi, still.sensor, still.reference)


def shift_part(folder: Path) -> Iterator[str]:
    """Recover shifts and a rotation that are not specified."""
    yield "# Shifts and rotations that are not specified, and what is found"
    yield ""
    yield (
        "Preset `mtf`; MSI `boxes:6`, Sentinel-2A for EnMAP and Indian Pines, Nikon D700 for CAVE. The error is the"
        " mean over the LR pixels of the distance between where they lie and where they are found to lie, in HR pixels;"
        " the PSF is specified, or assumed 30 % too narrow and estimated alternately."
    )
    yield ""
    yield "| scene | shift (y,x), rotation | noise | found | rotation found | error | error, PSF not known | accepted |"
    yield "|" + " --- |" * 8
    errors: list[float] = []
    blind: list[float] = []
    chosen = ("indian_pines", "jasper_ridge", "abu-airport-2", "enmap_potsdam", "fake_and_real_sushi")
    for name, cube, ratio, _, srf in scenes(folder):
        if name not in chosen:
            continue
        for shift, degrees in _SHIFTS:
            for snr in (None, 30.0, 20.0):
                centre = ((cube.rows // ratio * ratio - 1) / 2, (cube.cols // ratio * ratio - 1) / 2)
                motion = Motion(shift, np.radians(degrees), 0.0, centre)
                pair = shifted(cube, ratio, srf, motion, snr)
                pixels = np.argwhere(np.ones((pair.hsi.rows, pair.hsi.cols), np.bool_))
                positions = lr_positions(pair.sensor, pixels)
                narrow = pair.sensor.replace(psf=GaussianPsf(sigma=(0.35 * ratio, 0.35 * ratio)))
                found = estimate_alignment([pair_part(MatchedPair(pair.hsi, pair.msi, pair.sensor))])
                guessed = estimate_alignment([pair_part(MatchedPair(pair.hsi, pair.msi, narrow))], known_psf=False)
                truth = motion.apply(positions)
                distances = [
                    float(np.linalg.norm(one.motion.apply(positions) - truth, axis=1).mean())
                    for one in (found, guessed)
                ]
                errors.append(distances[0])
                blind.append(distances[1])
                cells = [name, f"{shift[0]:g},{shift[1]:g}" + (f", {degrees:g} degrees" if degrees else "")]
                cells += ["none" if snr is None else f"{snr:g} dB", f"{found.shift_y:.2f},{found.shift_x:.2f}"]
                cells += [f"{found.rotation_degrees:.2f}", f"{distances[0]:.3f}", f"{distances[1]:.3f}"]
                cells += ["yes" if found.accepted else f"no: {found.doubt}"]
                print(cells, flush=True)
                yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        f"PSF specified: median {statistics.median(errors):.3f}, maximum {max(errors):.3f} HR pixels. PSF not known:"
        f" median {statistics.median(blind):.3f}, maximum {max(blind):.3f}."
    )


def paris_part(folder: Path) -> Iterator[str]:
    """State what the pair over Paris shows of ALI, next to what is published."""
    hyperion, ali = read_paris(folder)
    kept = hf.read(f"{folder / 'remote' / 'paris_hyperion_ali.mat'}:non_del_bands").data.ravel().astype(int)
    centres = np.where(
        kept <= _VNIR_BANDS,
        _VNIR_START + _VNIR_STEP * (kept - 1),
        _SWIR_START + _SWIR_STEP * (kept - _VNIR_BANDS - 1),
    )
    order = np.argsort(centres)
    assumed = hf.create_sensor("mtf", 3)
    hsi = assumed.degrade(torch.from_numpy(hyperion.data))
    found = estimate_sensor([PairPart(hsi, torch.from_numpy(ali.data), assumed)], wavelengths=centres)
    yield "# Hyperion and ALI over Paris: a pair of two real sensors"
    yield ""
    yield (
        "Hyperion (128 bands, nominal centres) reduced by 3 (preset `mtf`, which is not specified), ALI as it is."
        " Found: the wavelengths between which 90 % of the response lies, and its centre. Hyperion's bands leave out"
        " 920 to 970, 1107 to 1160, 1330 to 1490 and 1780 to 2090 nm."
    )
    yield ""
    yield "| ALI band | published, nm | found, nm | centre, nm | gain | offset | variance explained | accepted |"
    yield "|" + " --- |" * 8
    for k, (name, (low, high)) in enumerate(_ALI.items()):
        row = found.srf.matrix[k][order]
        first, last = np.interp([0.05, 0.95], np.cumsum(row), centres[order])
        cells = [name, f"{low} to {high}", f"{first:.0f} to {last:.0f}", f"{row @ centres[order]:.0f}"]
        cells += [f"{found.gain[k]:.3f}", f"{found.offset[k]:.3f}", f"{found.explained[k]:.4f}"]
        cells += ["yes" if found.accepted[k] else "no"]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    y, x = (now - before for now, before in zip(found.sensor.offset, assumed.offset, strict=True))
    assert found.position is not None
    yield (
        f"PSF found: {psf_text(found.sensor)} HR pixels (made with {psf_text(assumed)}). Shift found: {y:.2f},{x:.2f}"
        f" pixels of 30 m (standard errors {found.position.errors[0]:.2f},{found.position.errors[1]:.2f}). At it"
        f" Hyperion explains {found.position.after:.2%} of ALI, at the assumed position {found.position.before:.2%}."
        " The notes:"
    )
    yield ""
    yield from (f"- {note}" for note in found.notes)
    yield ""
    low = hf.Cube(data=hsi.numpy())
    still = hf.fuse(low, ali, sensor=assumed, method="local-regression")
    moved = hf.fuse(low, ali, sensor=assumed.replace(phase=found.sensor.offset), method="local-regression")
    # The result lies on ALI's grid: for the comparison with Hyperion it is resampled onto Hyperion's.
    back = ndimage.shift(moved.data, (0, -y, -x), order=3, mode="nearest")
    scores = [
        hf.evaluate(hyperion.crop(3, 3, 66, 66), image.crop(3, 3, 66, 66), 3)
        for image in (still, hf.Cube(data=back.astype(np.float32)))
    ]
    yield (
        "`local-regression` against Hyperion (without three pixels along the border):"
        f" {scores[0]['psnr_db']:.2f} dB / {scores[0]['sam_degrees']:.2f} degrees at the"
        f" assumed position, {scores[1]['psnr_db']:.2f} dB / {scores[1]['sam_degrees']:.2f} degrees at the shift"
        " found (the result, which lies on ALI's grid, taken back onto Hyperion's by cubic splines, which"
        " costs some of the gain)."
    )


PARTS = {"sensor": sensor_part, "shifts": shift_part, "paris": paris_part}


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; default: all")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        for name in options.part or PARTS:
            lines = list(PARTS[name](options.data))
            lines += made_by(f"python benchmarks/blind.py DATA --part {name}", os.environ["OMP_NUM_THREADS"])
            (options.output / f"blind-{name}.md").write_text("\n".join(lines) + "\n", "utf-8")
            print("\n".join(lines))
    except hf.InputError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
