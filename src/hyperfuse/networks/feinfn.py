"""FeINFN, the Fourier-enhanced implicit neural fusion network, as its paper argues for it.

Liang, Cao, Deng, Dou, Deng: Fourier-enhanced Implicit Neural Fusion Network for Multispectral and Hyperspectral
Image Fusion, NeurIPS 2024, arXiv 2404.15174.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.blocks.decoder import SFID
from hyperfuse.networks.blocks.encoder import EDSREncoder
from hyperfuse.networks.blocks.fourier import FourierFusion
from hyperfuse.networks.blocks.implicit import ImplicitFunction
from hyperfuse.networks.blocks.upsample import FixedUpsampler, PixelFunction, PixelShuffleUpsampler, resample
from hyperfuse.networks.kernels.dispatch import select_layout
from hyperfuse.networks.kernels.neighbours import AxisNeighbours, axis_neighbours, rows_of
from hyperfuse.networks.kernels.precision import compute_dtype, transform_dtype, without_autocast
from hyperfuse.networks.kernels.rows import evaluate_rows
from hyperfuse.networks.options import FeINFNOptions, NetworkOptions
from hyperfuse.networks.registry import register_network

Rows = Callable[[int, int], torch.Tensor]  # maps (start, stop) to these rows of an image, channels last


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
    """Return four times each pixel minus its four neighbours; the border is repeated, so that constants give 0."""
    height, width = latent.shape[-2:]
    latent = latent.contiguous()  # the gradient of a padded channels-last map confuses the compiler
    rows, columns = F.pad(latent, (0, 0, 1, 1), mode="replicate"), F.pad(latent, (1, 1, 0, 0), mode="replicate")
    vertical = rows.narrow(2, 0, height) + rows.narrow(2, 2, height)
    return 4 * latent - vertical - columns.narrow(3, 0, width) - columns.narrow(3, 2, width)


@register_network("feinfn")
class FeINFN(FusionNetwork):
    """Fuses any number of bands on either side, at any ratio of 1 or more, also fractional or unequal in y and x.

    ``fused = U + decoder(E_s, E_f)``: ``U`` is the LR-HSI resampled bicubically, ``E_s`` and ``E_f`` are the outputs of
    implicit functions over the four nearest LR pixels, in space and on amplitudes and phases. Nothing is clipped.

    Under ``torch.autocast``, or with ``precision="bfloat16"``, convolutions and the spatial and phase functions run in
    bfloat16; transforms, amplitudes and Gabor arguments stay float32. How layers are computed on the device at hand is
    decided in :mod:`hyperfuse.networks.kernels.dispatch`; without gradients a CPU computes rows in blocks that stay in
    cache, so that memory beyond two latent images does not grow with the image.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: sizes and switches.

    Example:
        >>> network = FeINFN(4, 2, FeINFNOptions(width=8))
        >>> network(torch.rand(1, 4, 5, 5), torch.rand(1, 2, 16, 15)).shape
        torch.Size([1, 4, 16, 15])
    """

    reference = (
        "Liang, Cao, Deng, Dou, Deng: Fourier-enhanced Implicit Neural Fusion Network for Multispectral and "
        "Hyperspectral Image Fusion, NeurIPS 2024, arXiv 2404.15174"
    )
    year = 2024
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
            return self.fuse_latents(*self.encode(hsi, msi, dtype))

    @torch.no_grad()
    def zero_output_layer(self) -> None:
        """Set the last layer to 0, so that the network adds nothing to ``U`` until it is trained (Fixup, 2019)."""
        self.decoder.output.weight.zero_()
        self.decoder.output.bias.zero_()

    def encode(
        self, hsi: torch.Tensor, msi: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ``U`` in float32 or float64 and the latents ``S`` and ``F`` in ``dtype``."""
        working = transform_dtype(hsi)
        upsampled = resample(hsi.to(working), (msi.shape[2], msi.shape[3]))
        pair = torch.cat([msi.to(working), upsampled], dim=1)
        pair, hsi = pair.to(dtype), hsi.to(dtype)
        spatial = self.spatial_encoder(pair.contiguous(memory_format=select_layout(pair)))
        spectral = self.spectral_encoder(hsi.contiguous(memory_format=select_layout(hsi)))
        return upsampled, spatial, spectral

    def fuse_latents(self, upsampled: torch.Tensor, spatial: torch.Tensor, spectral: torch.Tensor) -> torch.Tensor:
        """Map ``U``, ``S`` and ``F`` to the fused image: ``U + decoder(E_s, E_f)``."""
        batch, _, height, width = upsampled.shape
        branches = self.branches(spatial, spectral)
        base = upsampled.permute(0, 2, 3, 1)

        def block(start: int, stop: int) -> torch.Tensor:
            detail: torch.Tensor = self.decoder(*branches(start, stop), spatial.dtype)
            return rows_of(base, start, stop) + detail

        return evaluate_rows(block, base, height, batch * width, self._bytes_per_pixel(spatial)).permute(0, 3, 1, 2)

    def branches(
        self, spatial: torch.Tensor, spectral: torch.Tensor
    ) -> Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]:
        """Return a function of (start, stop) that gives these rows of ``E_s`` and ``E_f``, (B, rows, W, latent) each.

        With one branch only, both are its output.
        """
        if self.upsampler is not None:
            spectral = self.upsampler(spectral, (spatial.shape[2], spatial.shape[3]))
        neighbours = self.neighbours(spatial, spectral)
        rows: list[Rows] = []
        if self.spatial_fusion is not None:
            rows.append(self.spatial_rows(spatial, spectral, *neighbours))
        if self.frequency_fusion is not None:
            e_f: torch.Tensor = self.frequency_fusion(spectral, spatial, *neighbours)
            rows.append(partial(rows_of, e_f))

        def evaluate(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
            parts = [branch(start, stop) for branch in rows]
            return parts[0], parts[-1]

        return evaluate

    def neighbours(self, spatial: torch.Tensor, spectral: torch.Tensor) -> tuple[AxisNeighbours, AxisNeighbours]:
        """Return the LR neighbours of the rows and of the columns of ``S``."""
        real = transform_dtype(spatial)
        rows, columns = zip(spectral.shape[2:], spatial.shape[2:], strict=True)
        return (
            axis_neighbours(*rows, dtype=real, device=spatial.device),
            axis_neighbours(*columns, dtype=real, device=spatial.device),
        )

    def spatial_rows(
        self, spatial: torch.Tensor, spectral: torch.Tensor, rows: AxisNeighbours, columns: AxisNeighbours
    ) -> Rows:
        """Return ``E_s``: the implicit function of ``F``, its Laplacian and ``S``."""
        fusion = self.spatial_fusion
        assert fusion is not None
        layer = fusion.first_layer(_with_laplacian(spectral))
        pixels = spatial.permute(0, 2, 3, 1)

        def evaluate(start: int, stop: int) -> torch.Tensor:
            near, neighbours = layer.near(rows, start, stop)
            part: torch.Tensor = fusion(near, rows_of(pixels, start, stop), neighbours, columns)
            return part

        return evaluate

    def detail_at(
        self, spatial: torch.Tensor, spectral: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Return what the decoder adds to ``U`` at the crossings of some rows and columns, without the other pixels.

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
        along_y, along_x = self.neighbours(spatial, spectral)
        branches = []
        if self.spatial_fusion is not None:
            pixels = spatial.index_select(2, rows).index_select(3, columns).permute(0, 2, 3, 1)
            layer = self.spatial_fusion.first_layer(_with_laplacian(spectral))
            branches.append(self.spatial_fusion(layer, pixels, along_y.pick(rows), along_x.pick(columns)))
        if self.frequency_fusion is not None:
            whole = self.frequency_fusion(spectral, spatial, along_y, along_x)
            branches.append(whole.index_select(1, rows).index_select(2, columns))
        detail: torch.Tensor = self.decoder(branches[0], branches[-1], spatial.dtype)
        return detail.permute(0, 3, 1, 2)

    def features(self, hsi: torch.Tensor, msi: torch.Tensor) -> FeINFNFeatures:
        """Run :meth:`forward` and return its intermediate features; needs far more memory than :meth:`forward`."""
        self.check_pair(hsi, msi)
        dtype, height = compute_dtype(hsi, self.precision), msi.shape[2]
        with without_autocast(hsi):
            upsampled, spatial, spectral = self.encode(hsi, msi, dtype)
            e_s, e_f = self.branches(spatial, spectral)(0, height)
            layers = self.decoder.hidden_layers(e_s, e_f, dtype)
            detail = self.decoder(e_s, e_f, dtype).permute(0, 3, 1, 2)
        return FeINFNFeatures(
            upsampled,
            spatial,
            spectral,
            None if self.spatial_fusion is None else e_s.permute(0, 3, 1, 2),
            None if self.frequency_fusion is None else e_f.permute(0, 3, 1, 2),
            tuple(layer.permute(0, 3, 1, 2) for layer in layers),
            upsampled + detail,
        )

    def _bytes_per_pixel(self, spatial: torch.Tensor) -> int:
        """Return the memory per HR pixel of what :meth:`fuse_latents` evaluates by rows."""
        function = 0 if self.spatial_fusion is None else self.spatial_fusion.bytes_per_pixel(spatial.dtype)
        return max(function, 6 * 4 * self.decoder.output.in_features)


def _with_laplacian(spectral: torch.Tensor) -> torch.Tensor:
    """Return ``F`` and its high-pass, concatenated, channels last."""
    return torch.cat([spectral, laplacian(spectral)], dim=1).permute(0, 2, 3, 1)
