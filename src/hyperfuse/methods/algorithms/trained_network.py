"""A trained network as a fusion method: any registered one, on a pair of any size, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch.nn.functional import pad

from hyperfuse.errors import InputError
from hyperfuse.methods.algorithms.network_blocks import OVERLAP, BlockAxis, lr_unit
from hyperfuse.methods.contract.method import Capabilities, MethodSettings, Outcome, PairTensors, never
from hyperfuse.methods.contract.registry import get_method, register_method
from hyperfuse.methods.contract.state import StoredModel
from hyperfuse.networks.base import FusionNetwork, Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork
from hyperfuse.networks.pretrained import find_pretrained, from_pretrained, read_base
from hyperfuse.networks.registry import create_network
from hyperfuse.networks.released import BuildOptions, describe_file, from_released
from hyperfuse.progress import Progress, silent
from hyperfuse.sensor.model import Sensor

# Networks are trained on values in [0, 1]; a scene whose values exceed 1 by less than this is in that unit.
_ABOVE_ONE = 1.5


class NetworkSettings(MethodSettings):
    """Settings of ``network``."""

    weights: str = Field(
        description="the network: a folder that training wrote (RUN/best), hub:OWNER/NAME, or a file of weights that"
        " authors published (.pth, .safetensors)"
    )
    network: str | None = Field(
        default=None, description="name of the network that a file of weights is of; default: the one that it fits"
    )
    peak: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="value that the network receives as 1; default: 1 for values in [0, 1], else the largest one",
    )
    block: int | None = Field(
        default=None,
        ge=16,
        description="side, in HR pixels, of the blocks that the network is applied to; default: as it asks for, 256 for"
        " most; networks whose attention spans a block give another image for another side",
    )
    overlap: int | None = Field(
        default=None,
        ge=0,
        description="HR pixels at the borders of blocks that are not used; default: as the network needs",
    )


def _margin(sensor: Sensor, settings: NetworkSettings) -> int:
    """Return the LR pixels that a window needs around it."""
    tiling = _tiling(settings, sensor)
    overlap = tiling.overlap if settings.overlap is None else settings.overlap
    if overlap is None:
        return 2 * OVERLAP
    unit = lr_unit(min(sensor.ratio), tiling.multiple)
    return unit * math.ceil((overlap / min(sensor.ratio) + 1) / unit)


def _tiling(settings: NetworkSettings, sensor: Sensor) -> Tiling:
    """Return how images are cut for a network, before it is known for which bands it is needed."""
    weights = settings.weights
    if not Path(weights).is_file():
        return from_pretrained(find_pretrained(weights)).tiling()
    found = _described(weights, Path(weights).stat().st_mtime_ns, settings.network, _whole_ratio(sensor))
    if not found:  # what is wrong with the weights is said where they are read for the bands of the pair
        return Tiling()
    with torch.device("meta"):
        built = create_network(found[0].network, hsi_bands=31, msi_bands=3, **found[0].options)
    return built.tiling()


@register_method(
    "network",
    settings=NetworkSettings,
    summary="a network that was trained on other scenes of the same bands, as it is",
    reference="the paper of the network; see `hyperfuse train`",
    cost="seconds",
    capabilities=Capabilities(weights=True, shared_model=True, by_detector=never, margin=_margin),
    listed=False,
)
@dataclass(frozen=True)
class TrainedNetworkModel(StoredModel):
    """A trained network with everything that it needs to be applied.

    Attributes:
        network: its registered name.
        bands: of HSI and of what it receives as its MSI.
        options: its own, plain values.
        weights: its own.
        base: the fusion whose image it improves, with ``method``, ``settings``, ``guidance`` and ``scale``, or None.
        peak: value that it receives as 1.
        block: side of blocks in HR pixels.
        overlap: at the borders of blocks that is not used, in HR pixels; None for blending alone.
        multiple: of HR pixels, at which blocks start and that they have.
        details: of the model, for the record.
        margin: see :class:`~hyperfuse.methods.contract.method.Model`.
    """

    network: str
    bands: tuple[int, int]
    options: dict[str, Any]
    weights: dict[str, torch.Tensor]
    base: dict[str, Any] | None
    peak: float
    block: int
    overlap: int | None
    multiple: int
    details: Mapping[str, Any]
    margin: int = 2 * OVERLAP

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], settings: NetworkSettings, progress: Progress) -> TrainedNetworkModel:
        """Read the network; nothing is fitted but the unit of the values."""
        sample = samples[0]
        network, base = _load(settings, sample.sensor, len(sample.hsi), len(sample.msi))
        largest = max(float(image.max()) for one in samples for image in (one.hsi, one.msi))
        peak = settings.peak or (1.0 if largest <= _ABOVE_ONE else largest)
        _check_bands(settings.weights, network, base, sample)
        tiling = network.tiling()
        block = settings.block or tiling.side
        details = {"network": network.name, "peak": float(f"{peak:.6g}")}
        return cls(
            network.name,
            (network.hsi_bands, network.msi_bands),
            network.options.model_dump(mode="json"),
            {name: value.detach() for name, value in network.state_dict().items()},
            None if base is None else dict(base),
            peak,
            block,
            tiling.overlap if settings.overlap is None else settings.overlap,
            tiling.multiple,
            details | ({"block": block} if tiling.spans_block else {}),
            _margin(sample.sensor, settings),
        )

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Apply the network to a window: padded to whole LR pixels, in overlapping blocks that are blended.

        A network knows regular pixels only: displaced ones are interpolated to regular positions for it.
        """
        network = self._loaded(pair.hsi)
        scaled = PairTensors(pair.hsi / self.peak, pair.msi / self.peak, pair.sensor, pair.extent)
        guidance, base = scaled.msi, None
        if self.base is not None:
            method = get_method(self.base["method"])
            base = method.fuse(scaled, method.configure(**self.base.get("settings", {}))).image
            guidance = torch.cat([guidance, base]) if self.base.get("guidance") else guidance
        regular, sampled = _at_regular_positions(pair.sensor, scaled.hsi)
        rows, cols = (
            BlockAxis.of(pair.hsi.shape[1 + axis], pair.msi.shape[1 + axis], regular, axis, self.multiple)
            for axis in (0, 1)
        )
        hsi, high = _padded(sampled, rows.lr, cols.lr), _padded(guidance, rows.hr, cols.hr)
        added = torch.zeros(len(hsi), *high.shape[1:], dtype=hsi.dtype, device=hsi.device)
        weights = torch.zeros(high.shape[1:], dtype=hsi.dtype, device=hsi.device)
        blocks = [(y, x) for y in rows.blocks(self.block, self.overlap) for x in cols.blocks(self.block, self.overlap)]
        for number, (y, x) in enumerate(blocks):
            low, fine = hsi[:, y.lr, x.lr], high[:, y.hr, x.hr]
            with torch.inference_mode():
                output = network.fuse_unit_range(low[None], fine[None])[0]
                if base is not None:  # what it adds to the interpolated HSI is added to the base instead
                    output = output - resample(low[None], (fine.shape[-2], fine.shape[-1]))[0]
            weight = y.ramp.to(hsi)[:, None] * x.ramp.to(hsi)
            added[:, y.hr, x.hr] += weight * output
            weights[y.hr, x.hr] += weight
            progress((number + 1) / len(blocks), f"block {number + 1} of {len(blocks)}")
        image = (added / weights)[:, rows.inside, cols.inside]
        if base is not None and self.base is not None:
            image = base + float(self.base.get("scale", 1.0)) * image
        return Outcome(image * self.peak)

    def _loaded(self, like: torch.Tensor) -> FusionNetwork:
        network = create_network(self.network, hsi_bands=self.bands[0], msi_bands=self.bands[1], **self.options)
        network.load_state_dict(self.weights)
        return network.to(like).eval()


def _at_regular_positions(sensor: Sensor, hsi: torch.Tensor) -> tuple[Sensor, torch.Tensor]:
    """Return a sensor of regular samples and an HSI (bands, h, w) at these: displaced ones on borders of HR pixels."""
    if sensor.displacement is None:
        return sensor, hsi
    y, x = (
        round(offset + 0.5 - ratio / 2) - 0.5 + ratio / 2
        for offset, ratio in zip(sensor.offset, sensor.ratio, strict=True)
    )
    return sensor.replace(phase=(y, x), displacement=None), sensor.at_phase(hsi, (y, x))


def _load(
    settings: NetworkSettings, sensor: Sensor, hsi_bands: int, msi_bands: int
) -> tuple[FusionNetwork, Mapping[str, Any] | None]:
    """Return the network that settings name, and the fusion whose image it improves, or None.

    Raises:
        InputError: no such weights, weights of another network, or a ratio that it does not admit.
    """
    weights, name = settings.weights, settings.network
    ratio = _whole_ratio(sensor)
    base: Mapping[str, Any] | None = None
    if Path(weights).is_file():
        network = from_released(weights, name, hsi_bands=hsi_bands, msi_bands=msi_bands, ratio=ratio)
    else:
        folder = find_pretrained(weights)
        network, base = from_pretrained(folder), read_base(folder)
        if name not in (None, network.name):
            raise InputError(f"{weights}: weights of {network.name}, not of {name}", "weights")
    if isinstance(network, ComparedNetwork):
        needed = network.options.ratio
        if ratio is None or needed not in (None, ratio):
            found = f"{sensor.ratio[0]:g}" if sensor.ratio[0] == sensor.ratio[1] else f"{sensor.ratio}"
            admitted = "a whole ratio, the same on both axes" if needed is None else f"the ratio {needed}"
            raise InputError(f"{weights}: this {network.name} is for {admitted}, the pair has {found}", "weights")
    return network, base


@lru_cache(maxsize=1)
def _described(path: str, changed: int, name: str | None, ratio: int | None) -> list[BuildOptions]:
    """Describe a file of weights; ``changed``, its time, keeps an older content from being returned for a newer one."""
    return describe_file(path, name, ratio)


def _whole_ratio(sensor: Sensor) -> int | None:
    """Return the ratio of a sensor where it is a whole number, the same on both axes."""
    return int(sensor.ratio[0]) if sensor.ratio[0] == sensor.ratio[1] and sensor.ratio[0] % 1 == 0 else None


def _check_bands(weights: str, network: FusionNetwork, base: Mapping[str, Any] | None, sample: PairTensors) -> None:
    guided = base is not None and bool(base.get("guidance"))
    expected = (network.hsi_bands, network.msi_bands - (network.hsi_bands if guided else 0))
    if expected != (len(sample.hsi), len(sample.msi)):
        raise InputError(
            f"{weights}: is for an HSI of {expected[0]} bands and an MSI of {expected[1]}, the pair has"
            f" {len(sample.hsi)} and {len(sample.msi)} that are used; select them by bands=... and msi_bands=...",
            "weights",
        )


def _padded(image: torch.Tensor, rows: tuple[int, int], cols: tuple[int, int]) -> torch.Tensor:
    """Return an image with its border repeated before and after the rows and columns."""
    return pad(image[None], (*cols, *rows), mode="replicate")[0]
