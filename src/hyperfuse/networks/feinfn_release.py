"""FeINFN as the authors released it: equal to their program number for number, so that its weights can be used.

Where the program departs from the paper's text, this module follows the program and
:mod:`hyperfuse.networks.feinfn` the paper. The departures: phases go through 1x1 and depthwise 3x3 convs on a
reinterpreted array, a code of the pixel's raster number is added to the spatial offsets, the "high-pass" kernel passes
the mean, neighbours beyond the border are zero (their coordinates too), transforms are unnormalised and of the full
plane, and the inverse is an absolute value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch.nn import functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks.blocks.released import (
    PaddedImplicitFunction,
    PaddedNeighbours,
    ReleasedFourierFusion,
    padded_neighbours,
)
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.feinfn import FeINFN, Rows
from hyperfuse.networks.kernels.neighbours import rows_of
from hyperfuse.networks.kernels.precision import transform_dtype
from hyperfuse.networks.options import FeINFNOptions, FeINFNSize, NetworkOptions
from hyperfuse.networks.registry import register_network

RASTER_CODES = 4096

# (pattern of the released name, our name); a name that no pattern matches is refused.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"(spatial|spectral)_encoder\.head\.0\.", r"\1_encoder.head."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.body\.0\.", r"\1_encoder.blocks.\2.conv1."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.body\.2\.", r"\1_encoder.blocks.\2.conv2."),
    (r"(spatial|spectral)_encoder\.body\.(\d+)\.(?=weight|bias)", r"\1_encoder.tail."),
    (r"imnet\.layers\.(\d+)\.", r"spatial_fusion.layers.{half}."),
    (r"freq_query\.imnet1\.layers\.(\d+)\.", r"frequency_fusion.amplitude.layers.{half}."),
    (r"freq_query\.imnet2\.layers\.(\d+)\.0\.", r"frequency_fusion.phase.pointwise.{half}."),
    (r"freq_query\.imnet2\.layers\.(\d+)\.1\.", r"frequency_fusion.phase.depthwise.{half}."),
    (r"decoder\.K\.(\d+)\.0\.", r"decoder.keys.\1."),
    (r"decoder\.Q\.(\d+)\.0\.", r"decoder.queries.\1."),
    (r"decoder\.Q\.(\d+)\.1\.omega_0", r"decoder.activations.\1.frequency"),
    (r"decoder\.Q\.(\d+)\.1\.scale_0", r"decoder.activations.\1.scale"),
    (r"decoder\.last_layer\.", r"decoder.output."),
)
_IGNORED = re.compile(r"(.*\.)?(sub_mean|add_mean)\..*|hp\.kernel|(freq_query\.)?pe\.pe")


def mean_passing_filter(latent: torch.Tensor) -> torch.Tensor:
    """Return each pixel minus its four neighbours, (B, C, h, w), zeros beyond the border: the program's "high-pass"."""
    x = F.pad(latent, (1, 1, 1, 1))
    neighbours = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
    return latent - neighbours


@register_network("feinfn-release")
class FeINFNRelease(FeINFN):
    """The released program's network; see the module's text for what differs from :class:`FeINFN`.

    Only even whole ratios: at odd ones rounding decides which LR pixel is nearest to the centre pixel.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: sizes and precision.

    Example:
        >>> network = FeINFNRelease(31, 3)
        >>> sum(p.numel() for p in network.parameters())
        3164816
    """

    program = "the program that the paper's authors released"
    needs = "an even whole ratio"
    options_class: ClassVar[type[NetworkOptions]] = FeINFNSize
    spatial_fusion: PaddedImplicitFunction
    raster_codes: torch.Tensor

    def __init__(self, hsi_bands: int, msi_bands: int, options: FeINFNSize | None = None) -> None:
        size = options or FeINFNSize()
        super().__init__(hsi_bands, msi_bands, FeINFNOptions(**size.model_dump()))
        self.options = size  # type: ignore[assignment]
        latent = size.latent or hsi_bands + 1
        self.spatial_fusion = PaddedImplicitFunction(size.width, size.width, size.width, size.hidden, latent)
        self.frequency_fusion = ReleasedFourierFusion(size.width, size.hidden, latent)  # type: ignore[assignment]
        number = torch.arange(RASTER_CODES, dtype=torch.float32)
        self.register_buffer("raster_codes", torch.stack([number.sin(), number.cos()])[None], persistent=False)

    def check_pair(self, hsi: torch.Tensor, msi: torch.Tensor) -> None:
        """As :meth:`FusionNetwork.check_pair`; also refuses ratios that the released program does not define."""
        super().check_pair(hsi, msi)
        for axis, what in ((2, "rows"), (3, "columns")):
            if msi.shape[axis] % (2 * hsi.shape[axis]):
                raise InputError(
                    f"feinfn-release needs an even whole ratio, but {what} go from {hsi.shape[axis]} to "
                    f"{msi.shape[axis]}; use the network 'feinfn'"
                )

    def encode(
        self, hsi: torch.Tensor, msi: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As :meth:`FeINFN.encode`; at some sizes in the default memory layout, with the rounding that goes with it.

        The bins of a spectrum that are their own conjugate lie on the cut of the phase. Where all sides of both images
        are powers of two, their imaginary part in ``fft2`` is exactly 0; elsewhere its sign depends on the last digits
        of the latents, and only convolutions in the program's own layout round equally.
        """
        sides = (*hsi.shape[2:], *msi.shape[2:])
        if not torch.compiler.is_compiling() and all(side & (side - 1) == 0 for side in sides):
            return super().encode(hsi, msi, dtype)
        working = transform_dtype(hsi)
        upsampled = resample(hsi.to(working), (msi.shape[2], msi.shape[3]))
        pair = torch.cat([msi.to(working), upsampled], dim=1).to(dtype)
        return upsampled, self.spatial_encoder(pair), self.spectral_encoder(hsi.to(dtype))

    def neighbours(  # type: ignore[override]
        self, spatial: torch.Tensor, spectral: torch.Tensor
    ) -> tuple[PaddedNeighbours, PaddedNeighbours, torch.Tensor]:
        """As :meth:`FeINFN.neighbours`, in maps that are surrounded by zeros; also the offsets, (2, H, 2, W, 2)."""
        real = transform_dtype(spatial)
        rows, columns = (
            padded_neighbours(size_in, size_out, dtype=real, device=spatial.device)
            for size_in, size_out in zip(spectral.shape[2:], spatial.shape[2:], strict=True)
        )
        return rows, columns, rows.offsets(columns)

    def spatial_rows(  # type: ignore[override]
        self,
        spatial: torch.Tensor,
        spectral: torch.Tensor,
        rows: PaddedNeighbours,
        columns: PaddedNeighbours,
        offsets: torch.Tensor,
    ) -> Rows:
        """As :meth:`FeINFN.spatial_rows`, with the program's filter, border and raster code."""
        height, width = spatial.shape[-2:]
        maps = torch.cat([spectral, mean_passing_filter(spectral)], dim=1)
        layer = self.spatial_fusion.first_layer(maps.permute(0, 2, 3, 1))
        pixels = spatial.permute(0, 2, 3, 1)
        codes = F.interpolate(self.raster_codes, size=height * width, mode="linear", align_corners=False)
        code = codes.view(1, 2, height, width).permute(0, 2, 3, 1)

        def evaluate(start: int, stop: int) -> torch.Tensor:
            part, from_four = rows.part(start, stop), rows_of(offsets, start, stop)
            here, here_code = rows_of(pixels, start, stop), rows_of(code, start, stop)
            return self.spatial_fusion.evaluate(layer, here, part, columns, from_four, here_code)

        return evaluate

    def load_released_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Load weights saved by the released program.

        Args:
            state_dict: its state dict; mean shifts, the fixed filter and the code table in it are ignored.

        Raises:
            InputError: for a name that is not the program's, one that is missing or a shape that does not fit.
        """
        own = self.state_dict()
        renamed: dict[str, torch.Tensor] = {}
        for name, value in state_dict.items():
            if _IGNORED.fullmatch(name):
                continue
            ours = released_name(name)
            if ours not in own:
                raise InputError(
                    f"weights: {name!r} is not part of this feinfn-release network (bands, depth or width?)"
                )
            # The decoder's 1x1 convs are Linear layers here.
            value = (
                value.flatten(1) if value.dim() == 4 and own[ours].dim() == 2 and value.shape[2:] == (1, 1) else value
            )
            if value.shape != own[ours].shape:
                raise InputError(
                    f"weights: {name!r} is {tuple(value.shape)}, this network has {tuple(own[ours].shape)}"
                )
            renamed[ours] = value
        missing = sorted(own.keys() - renamed.keys())
        if missing:
            raise InputError(f"weights: {len(missing)} are missing, the first is {missing[0]!r}")
        self.load_state_dict(renamed)


def released_name(name: str) -> str:
    """Translate a name of the released program's state dict to ours; a name it does not know comes back as it is."""
    for pattern, ours in _RENAMES:
        match = re.match(pattern, name)
        if match:
            # The program's Sequential holds a ReLU between layers: its layer 2 is our layer 1.
            number = int(match.group(1)) // 2 if "{half}" in ours else 0
            return match.expand(ours.replace("{half}", str(number))) + name[match.end() :]
    return name
