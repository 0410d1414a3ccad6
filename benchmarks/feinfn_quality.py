"""What bfloat16 and tiling cost a trained `feinfn`, measured on a real scene.

    python benchmarks/feinfn_quality.py scene.mat:orig --scale 0.00390625 --offset 0.001953125 --minutes 6

Trains on random crops of the scene (its `uestc` x4 pair with the Nikon D700 as the camera), then fuses the whole scene
in float32, in bfloat16 and as four tiles, and prints scores and differences. It is the training scene that is scored:
the figures compare ways of computing, not methods.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import hyperfuse as hf
from hyperfuse.metrics import psnr
from hyperfuse.networks import create_network
from hyperfuse.networks.feinfn import FeINFN

RATIO, PATCH = 4, 64


def train(network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor, reference: torch.Tensor, minutes: float) -> int:
    """Train on random 64x64 crops, four a step, L1 loss, for some minutes; return the number of steps."""
    network.precision = "bfloat16"
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    small, start, steps = PATCH // RATIO, time.monotonic(), 0
    limits = (hsi.shape[1] - small + 1, hsi.shape[2] - small + 1)
    while (spent := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 5e-4 * (1 - spent) + 1e-5
        corners = [[int(torch.randint(n, (1,), generator=generator)) for n in limits] for _ in range(4)]
        lr_crops = torch.stack([hsi[:, y : y + small, x : x + small] for y, x in corners])
        windows = [(slice(RATIO * y, RATIO * y + PATCH), slice(RATIO * x, RATIO * x + PATCH)) for y, x in corners]
        hr_crops = torch.stack([msi[:, rows, columns] for rows, columns in windows])
        targets = torch.stack([reference[:, rows, columns] for rows, columns in windows])
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(network(lr_crops, hr_crops), targets).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps += 1
    network.precision = "float32"
    return steps


def fuse(network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
    """Fuse one pair, unclipped."""
    with torch.no_grad():
        return network(hsi[None], msi[None])[0]


def in_tiles(network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
    """Fuse the four quarters apart and put them together."""
    h, w = hsi.shape[1] // 2, hsi.shape[2] // 2
    rows = []
    for y in (slice(0, h), slice(h, None)):
        tiles = []
        for x in (slice(0, w), slice(w, None)):
            top, left = y.start * RATIO, x.start * RATIO
            bottom = None if y.stop is None else y.stop * RATIO
            right = None if x.stop is None else x.stop * RATIO
            tiles.append(fuse(network, hsi[:, y, x], msi[:, top:bottom, left:right]))
        rows.append(torch.cat(tiles, dim=2))
    return torch.cat(rows, dim=1)


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", help="an image of 31 bands from 400 to 700 nm, as FILE or FILE:VARIABLE")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--offset", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    stored = hf.read(args.scene)
    cube = hf.Cube(data=np.asarray(stored.data) * args.scale + args.offset)
    pair = hf.simulate(cube, ratio=RATIO, preset="uestc", srf="nikon-d700")
    hsi, msi = (torch.as_tensor(np.asarray(c.data), dtype=torch.float32) for c in (pair.hsi, pair.msi))
    reference = torch.as_tensor(cube.data[:, : msi.shape[1], : msi.shape[2]], dtype=torch.float32)
    network = create_network("feinfn", hsi_bands=hsi.shape[0], msi_bands=msi.shape[0])
    assert isinstance(network, FeINFN)
    steps = train(network, hsi, msi, reference, args.minutes)

    whole, tiled = fuse(network, hsi, msi), in_tiles(network, hsi, msi)
    network.precision = "bfloat16"
    rounded = fuse(network, hsi, msi)
    fixed = torch.nn.functional.interpolate(hsi[None], size=msi.shape[1:], mode="bicubic", align_corners=False)[0]
    results = {"float32": whole, "bfloat16": rounded, "four tiles": tiled, "bicubic alone": fixed}
    print(f"{args.scene}: {steps} steps in {args.minutes} minutes")
    print("| computed | PSNR, dB | largest difference from float32 | root mean square difference |")
    print("| --- | --- | --- | --- |")
    for name, fused in results.items():
        score = psnr(reference.numpy(), fused.clamp(0, 1).numpy())
        difference = fused - whole
        print(f"| {name} | {score:.3f} | {difference.abs().max():.2e} | {difference.square().mean().sqrt():.2e} |")
    height, width = msi.shape[1:]
    reach = (network.spatial_encoder.reach + 2) * RATIO  # LR pixels of the encoders, in HR pixels, and the cells beyond
    far = (tiled - whole)[:, : height // 2 - reach, : width // 2 - reach]
    print(f"tiles differ beyond {reach} pixels of a cut by {far.abs().max():.2e} at most (the transform's support)")


if __name__ == "__main__":
    main()
