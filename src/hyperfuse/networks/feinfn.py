"""FeINFN, the Fourier-enhanced implicit neural fusion network, as its paper argues for it.

Liang, Cao, Deng, Deng, Dou, Deng: Fourier-enhanced Implicit Neural Fusion Network for Multispectral and Hyperspectral
Image Fusion, NeurIPS 2024, arXiv 2404.15174.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.blocks.decoder import SFID
from hyperfuse.networks.blocks.encoder import STRIP_PIXELS, EDSREncoder
from hyperfuse.networks.blocks.fourier import FourierFusion
from hyperfuse.networks.blocks.implicit import ImplicitFunction
from hyperfuse.networks.blocks.upsample import FixedUpsampler, PixelFunction, PixelShuffleUpsampler, resample
from hyperfuse.networks.kernels.neighbours import AxisCells, axis_cells
from hyperfuse.networks.kernels.precision import compute_dtype, transform_dtype, without_autocast
from hyperfuse.networks.kernels.rows import evaluate_rows, rows_at_once
from hyperfuse.networks.options import FeINFNOptions, NetworkOptions
from hyperfuse.networks.registry import register_network


@dataclass(frozen=True)
class FeINFNFeatures:
    """Intermediate features of one forward pass, for analysis.

    Attributes:
        upsampled: ``U``, (B, hsi_bands, H, W).
        spatial_latent: ``S``, (B, width, H, W).
        spectral_latent: ``F``, (B, width, h, w).
        spatial: ``E_s``, (B, latent, H, W), or None without a spatial branch.
        frequency: ``E_f``, (B, latent, H, W), or None without a frequency branch.
        decoder: ``q_0, q_1, ...``, (B, decoder_width, H, W) each.
        fused: the output, (B, hsi_bands, H, W).
    """

    upsampled: torch.Tensor
    spatial_latent: torch.Tensor
    spectral_latent: torch.Tensor
    spatial: torch.Tensor | None
    frequency: torch.Tensor | None
    decoder: tuple[torch.Tensor, ...]
    fused: torch.Tensor


def laplacian(latent: torch.Tensor) -> torch.Tensor:
    """Return four times each pixel less its four neighbours; the border is repeated, so constants give 0."""
    x = torch.cat([latent[:, :, :1], latent, latent[:, :, -1:]], 2)
    x = torch.cat([x[..., :1], x, x[..., -1:]], 3)
    middle = x[:, :, 1:-1, 1:-1]
    vertical = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1]
    return 4 * middle - vertical - x[:, :, 1:-1, :-2] - x[:, :, 1:-1, 2:]


@register_network("feinfn")
class FeINFN(FusionNetwork):
    """Fuses any number of bands on either side at any ratio of 1 or more, also a non-whole one, also unlike in y and x.

    ``fused = U + decoder(E_s, E_f)``: ``U`` is the LR-HSI resampled bicubically, ``E_s`` and ``E_f`` come from implicit
    functions over the four LR cells around each pixel, in space and on amplitudes and phases. Nothing is clipped.

    Without gradients the image is worked off in strips that stay in cache, so that memory beyond two latent images does
    not grow with its size. Under ``torch.autocast``, or with ``precision="bfloat16"``, convolutions and the spatial and
    phase functions run in bfloat16; transforms, amplitudes and Gabor arguments stay float32.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: sizes and switches.

    Example:
        >>> network = FeINFN(4, 2, FeINFNOptions(width=8))
        >>> network(torch.rand(1, 4, 5, 5), torch.rand(1, 2, 16, 15)).shape
        torch.Size([1, 4, 16, 15])
    """

    options_class: ClassVar[type[NetworkOptions]] = FeINFNOptions
    options: FeINFNOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: FeINFNOptions | None = None) -> None:
        options = options or FeINFNOptions()
        super().__init__(hsi_bands, msi_bands, options)
        width, hidden = options.width, options.hidden
        latent = options.latent or hsi_bands + 1
        self.precision = options.precision
        self.spatial_encoder = EDSREncoder(hsi_bands + msi_bands, width, options.encoder_blocks)
        self.spectral_encoder = EDSREncoder(hsi_bands, width, options.encoder_blocks)
        self.upsampler: nn.Module | None = None
        if options.upsampler == "pixel-shuffle":
            self.upsampler = PixelShuffleUpsampler(width, options.shuffle_ratio or 1)
        elif options.upsampler in ("bilinear", "bicubic"):
            self.upsampler = FixedUpsampler(options.upsampler)
        function = ImplicitFunction if self.upsampler is None else PixelFunction
        self.spatial_fusion: ImplicitFunction | None = None
        self.frequency_fusion: FourierFusion | None = None
        if options.upsampler == "liif":
            self.spatial_fusion = ImplicitFunction(width, width, width, hidden, latent, ensemble="area")
        elif options.domains != "frequency":
            self.spatial_fusion = function(width, width, width, hidden, latent)
        if options.domains != "spatial":
            self.frequency_fusion = FourierFusion(width, hidden, latent, options.phase_kernel, function)
        self.decoder = SFID(
            latent,
            options.decoder_width,
            options.decoder_depth,
            hsi_bands,
            options.activation,
            options.gabor_frequency,
            options.gabor_scale,
        )

    def forward(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Fuse a batch of pairs.

        Args:
            hsi: (B, hsi_bands, h, w), usually in [0, 1].
            msi: (B, msi_bands, H, W), H >= h and W >= w, in the same units.

        Returns:
            (B, hsi_bands, H, W), float32 (float64 for float64 input), unclipped.

        Raises:
            InputError: where the pair does not fit this network.
        """
        if not torch.compiler.is_compiling():
            self.check_pair(hsi, msi)
        dtype = compute_dtype(hsi, self.precision)
        with without_autocast(hsi):
            upsampled, spatial, spectral = self.encode(hsi, msi, dtype)
            return self.fuse_latents(upsampled, spatial, spectral)

    @torch.no_grad()
    def begin_with_nothing(self) -> None:
        """Set the last layer to 0, so that the network adds nothing to ``U`` until it is trained."""
        self.decoder.output.weight.zero_()
        self.decoder.output.bias.zero_()

    def encode(
        self, hsi: torch.Tensor, msi: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ``U`` in float32 or float64 and the latents ``S`` and ``F`` in ``dtype``."""
        working = transform_dtype(hsi)
        upsampled = resample(hsi.to(working), (msi.shape[2], msi.shape[3]))
        strip = None
        if not torch.compiler.is_compiling():
            strip = rows_at_once(msi.shape[0] * msi.shape[3], STRIP_PIXELS)
        pair = torch.cat([msi.to(working), upsampled], dim=1).to(dtype, memory_format=torch.channels_last)
        spatial = self.spatial_encoder(pair, strip)
        spectral = self.spectral_encoder(hsi.to(dtype, memory_format=torch.channels_last), strip)
        return upsampled, spatial, spectral

    def fuse_latents(
        self,
        upsampled: torch.Tensor,
        spatial: torch.Tensor,
        spectral: torch.Tensor,
        trace: dict[str, list[torch.Tensor]] | None = None,
    ) -> torch.Tensor:
        """Map ``U``, ``S`` and ``F`` to the fused image; ``trace`` collects ``E_s``, ``E_f`` and decoder layers."""
        height, width = spatial.shape[-2:]
        if self.upsampler is not None:
            spectral = self.upsampler(spectral, (height, width))
        frequency: torch.Tensor | None = None
        if self.frequency_fusion is not None:
            frequency = self.frequency_fusion(spectral, spatial)
        fuse_rows = None if self.spatial_fusion is None else self.spatial_rows(spectral, spatial)
        base = upsampled.permute(0, 2, 3, 1)
        layers: list[torch.Tensor] | None = None if trace is None else trace.setdefault("decoder", [])

        def block(start: int, stop: int) -> torch.Tensor:
            by_frequency = None if frequency is None else frequency[:, start:stop]
            by_space = by_frequency if fuse_rows is None else fuse_rows(start, stop)
            guide = by_space if by_frequency is None else by_frequency
            assert by_space is not None  # the options leave at least one branch
            assert guide is not None
            if trace is not None and fuse_rows is not None:
                trace["spatial"] = [by_space]
            detail: torch.Tensor = self.decoder(by_space, guide, spatial.dtype, layers)
            return base[:, start:stop] + detail

        fused = evaluate_rows(block, height, width * spatial.shape[0], whole=trace is not None)
        if trace is not None and frequency is not None:
            trace["frequency"] = [frequency]
        return fused.permute(0, 3, 1, 2)

    def spatial_rows(self, spectral: torch.Tensor, spatial: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
        """Return a function of (start, stop) that evaluates these rows of ``E_s``, (B, stop - start, W, latent)."""
        assert self.spatial_fusion is not None
        fusion = self.spatial_fusion
        rows, columns = _cells(spectral, spatial)
        table = fusion.table(_with_laplacian(spectral))
        pixels = spatial.permute(0, 2, 3, 1)

        def block(start: int, stop: int) -> torch.Tensor:
            first, last = rows.span(start, stop)
            cells = rows.part(start, stop).counted_from(first)
            part: torch.Tensor = fusion(table[:, first:last], pixels[:, start:stop], cells, columns)
            return part

        return block

    def detail_at(
        self, spatial: torch.Tensor, spectral: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Return what the decoder adds to ``U`` where some rows and columns cross: the rest is not evaluated.

        Implicit functions and the decoder act on each pixel alone; a frequency branch still transforms the whole.

        Args:
            spatial: ``S``, (B, width, H, W).
            spectral: ``F``, (B, width, h, w).
            rows: int64 (R,).
            columns: int64 (K,).

        Returns:
            (B, hsi_bands, R, K).
        """
        if self.upsampler is not None:
            spectral = self.upsampler(spectral, (spatial.shape[2], spatial.shape[3]))
        by_frequency = by_space = None
        if self.frequency_fusion is not None:
            whole = self.frequency_fusion(spectral, spatial)
            by_frequency = whole.index_select(1, rows).index_select(2, columns)
        if self.spatial_fusion is not None:
            along_y, along_x = _cells(spectral, spatial)
            pixels = spatial.index_select(2, rows).index_select(3, columns).permute(0, 2, 3, 1)
            table = self.spatial_fusion.table(_with_laplacian(spectral))
            by_space = self.spatial_fusion(table, pixels, along_y.pick(rows), along_x.pick(columns))
        branches = [branch for branch in (by_space, by_frequency) if branch is not None]
        detail: torch.Tensor = self.decoder(branches[0], branches[-1], spatial.dtype)
        return detail.permute(0, 3, 1, 2)

    def features(self, hsi: torch.Tensor, msi: torch.Tensor) -> FeINFNFeatures:
        """Run :meth:`forward` and keep what it computes in between; needs far more memory than :meth:`forward`."""
        self.check_pair(hsi, msi)
        dtype = compute_dtype(hsi, self.precision)
        trace: dict[str, list[torch.Tensor]] = {}
        with without_autocast(hsi):
            upsampled, spatial, spectral = self.encode(hsi, msi, dtype)
            fused = self.fuse_latents(upsampled, spatial, spectral, trace)

        def image(key: str) -> torch.Tensor | None:
            return trace[key][0].permute(0, 3, 1, 2) if key in trace else None

        decoder = tuple(layer.permute(0, 3, 1, 2) for layer in trace["decoder"])
        return FeINFNFeatures(upsampled, spatial, spectral, image("spatial"), image("frequency"), decoder, fused)


def _cells(spectral: torch.Tensor, spatial: torch.Tensor) -> tuple[AxisCells, AxisCells]:
    """Return the cells of ``F`` around the rows and the columns of ``S``."""
    real = transform_dtype(spatial)
    rows = axis_cells(spectral.shape[2], spatial.shape[2], dtype=real, device=spatial.device)
    return rows, axis_cells(spectral.shape[3], spatial.shape[3], dtype=real, device=spatial.device)


def _with_laplacian(spectral: torch.Tensor) -> torch.Tensor:
    """Return ``F`` and its high-pass side by side, channels last."""
    return torch.cat([spectral, laplacian(spectral)], dim=1).permute(0, 2, 3, 1)
