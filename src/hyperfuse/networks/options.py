"""Options of the networks: frozen, typed, refused where unknown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hyperfuse.networks.blocks.gabor import Activation
from hyperfuse.networks.blocks.upsample import Upsampler
from hyperfuse.networks.kernels.precision import Precision
from hyperfuse.settings import Settings

# Of blocks and layers, of hidden layers, and of channels: far beyond what is trained, and still built in seconds.
_MOST_LAYERS, _MOST_HIDDEN, _MOST_CHANNELS = 1000, 32, 2**16
Layers = Annotated[int, Field(gt=0, le=_MOST_LAYERS)]
Channels = Annotated[int, Field(gt=0, le=_MOST_CHANNELS)]
Gabor = Annotated[float, Field(ge=0, le=1e6)]
Ratio = Annotated[int, Field(ge=1, le=64)]


class NetworkOptions(Settings):
    """Base of every network's options."""

    @property
    def is_large(self) -> bool:
        """Whether the network may be so large that its size is to be computed before it is built."""
        return True


class FeINFNSize(NetworkOptions):
    """Widths and depths of FeINFN, and the precision of its products.

    Attributes:
        width: channels ``D`` of both encoders.
        encoder_blocks: residual blocks of each encoder.
        hidden: widths of the hidden layers of the implicit functions.
        latent: channels ``d`` of the implicit functions' output; None for the HSI's bands plus one.
        decoder_width: channels of each decoder layer.
        decoder_depth: layers of the decoder.
        gabor_frequency: initial ``w`` of each Gabor layer.
        gabor_scale: initial ``s`` of each Gabor layer.
        precision: type of the expensive products outside ``torch.autocast``; weights stay float32. On a processor
            without bfloat16 ``"bfloat16"`` means float32, ``"bfloat16-forced"`` does not.

    Example:
        >>> FeINFNSize(width=32).hidden
        (256, 128)
    """

    width: Channels = 128
    encoder_blocks: int = Field(default=4, ge=0, le=_MOST_LAYERS)
    hidden: tuple[Channels, ...] = Field(default=(256, 128), min_length=1, max_length=_MOST_HIDDEN)
    latent: Channels | None = None
    decoder_width: Channels = 128
    decoder_depth: Layers = 3
    gabor_frequency: Gabor = 30.0
    gabor_scale: Gabor = 10.0
    precision: Precision = "float32"

    @property
    def is_large(self) -> bool:
        """See :attr:`NetworkOptions.is_large`."""
        layers = (self.encoder_blocks, self.decoder_depth, len(self.hidden))
        return max(layers) > 8 or max(self.width, self.latent or 0, self.decoder_width, *self.hidden) > 512


class FeINFNOptions(FeINFNSize):
    """Options of ``feinfn``: sizes, and the switches that the paper's tables need.

    Attributes:
        domains: which branches there are; with one of them the decoder takes its output for both inputs.
        activation: of the decoder's query branch.
        upsampler: ``"implicit"`` is the network of the paper; ``"liif"`` blends neighbours by area (only with domains
            ``"spatial"``); the others resample the LR latents to the HR grid first, and plain MLPs replace the implicit
            functions.
        phase_kernel: 1, or 3 to convolve phases over neighbouring frequencies.
        shuffle_ratio: the ratio of ``"pixel-shuffle"``.
    """

    domains: Literal["spatial", "frequency", "both"] = "both"
    activation: Activation = "gabor"
    upsampler: Upsampler = "implicit"
    phase_kernel: Literal[1, 3] = 1
    shuffle_ratio: Ratio | None = None

    @model_validator(mode="after")
    def _check(self) -> FeINFNOptions:
        if self.upsampler == "liif" and self.domains != "spatial":
            raise ValueError("upsampler='liif' has no frequency branch: set domains='spatial'")
        if (self.upsampler == "pixel-shuffle") != (self.shuffle_ratio is not None):
            raise ValueError("upsampler='pixel-shuffle' and shuffle_ratio belong together: set both or neither")
        if self.phase_kernel == 3 and (self.upsampler != "implicit" or self.domains == "spatial"):
            raise ValueError("phase_kernel=3 needs upsampler='implicit' and a frequency branch")
        return self
