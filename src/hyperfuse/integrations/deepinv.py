"""The forward model of a pair as physics of deepinv 0.5, and every method of hyperfuse as one of its reconstructors.

    physics = FusionPhysics(sensor, img_size=(bands, H, W))
    y = physics(x)                                     # TensorList: HSI (B, bands, h, w), MSI (B, msi_bands, H, W)
    x = FusionReconstructor("local-regression")(y, physics)

deepinv needs torchvision, of the version and the build (CPU or CUDA) that the installed torch has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.methods import DEFAULT_METHOD, get_method
from hyperfuse.runtime.optional import require
from hyperfuse.scenes.fuse import fuse
from hyperfuse.scenes.job import Settings
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import convolution_psf
from hyperfuse.sensor.srf.srf import Srf

try:
    from deepinv.models import Reconstructor
    from deepinv.physics import LinearPhysics, Pansharpen, StackedLinearPhysics, ZeroNoise
except ImportError:

    class _Absent:
        """Stands where a class of deepinv would: making one says what is missing."""

        def __init__(self, *_: Any, **__: Any) -> None:
            require("deepinv", "hyperfuse.integrations.deepinv")

    Reconstructor = LinearPhysics = Pansharpen = StackedLinearPhysics = ZeroNoise = _Absent

Shape = tuple[int, int]

_SUM_TOLERANCE = 1e-4


class HsiDegradation(LinearPhysics):  # type: ignore[misc]  # deepinv states no types
    """``Sensor.degrade`` and its adjoint: (B, bands, H, W) to (B, bands, h, w).

    Args:
        sensor: the forward model.
        img_size: (bands, H, W).
        lr_size: (h, w); default: the LR pixels that lie wholly on the image.
        **options: of ``LinearPhysics``, such as ``noise_model``.
    """

    def __init__(
        self, sensor: Sensor, img_size: tuple[int, int, int], *, lr_size: Shape | None = None, **options: Any
    ) -> None:
        super().__init__(img_size=img_size, **options)
        self.pair_sensor = sensor
        self.hr_size: Shape = (img_size[1], img_size[2])
        self.lr_size = sensor.lr_shape(self.hr_size) if lr_size is None else lr_size

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Blur and sample."""
        return self.pair_sensor.degrade(x, self.lr_size)

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        """Apply the transpose."""
        return self.pair_sensor.degrade_adjoint(y, self.hr_size)


class SpectralResponse(LinearPhysics):  # type: ignore[misc]
    """``Sensor.respond`` and its adjoint: (B, bands, H, W) to (B, msi_bands, H, W); takes what HsiDegradation does.

    Raises:
        InputError: the responses of the sensor are not known.
    """

    def __init__(self, sensor: Sensor, img_size: tuple[int, int, int], **options: Any) -> None:
        super().__init__(img_size=img_size, **options)
        if sensor.srf is None:
            raise InputError("the sensor has no spectral responses; give it some: sensor.replace(srf=...)", "sensor")
        if sensor.srf.hsi_bands != img_size[0]:
            raise InputError(
                f"the spectral responses are for {sensor.srf.hsi_bands} bands, img_size has {img_size[0]}", "img_size"
            )
        self.pair_sensor = sensor

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Apply the responses."""
        return self.pair_sensor.respond(x)

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        """Apply the transpose."""
        return self.pair_sensor.respond_adjoint(y)


class FusionPhysics(StackedLinearPhysics):  # type: ignore[misc]
    """The forward model of a pair: measurements are a ``TensorList`` of the HSI (B, bands, h, w) and the MSI.

    Any PSF, ratio and phase of a :class:`~hyperfuse.sensor.model.Sensor`, any number of MSI bands. The adjoint is exact
    to rounding, and gradients flow.

    Args:
        sensor: the forward model, with responses. (``Physics.sensor`` is deepinv's name of another thing: here it is
            ``pair_sensor``.)
        img_size: (bands, H, W) of the image.
        noise_hsi: noise model of the HSI; default: none.
        noise_msi: noise model of the MSI; default: none.
        lr_size: (h, w); default: the LR pixels that lie wholly on the image.
        solver, max_iter, tol: of least squares, see ``LinearPhysics``.
        device: of the noise models.

    Raises:
        InputError: a sensor without responses, or for another number of bands.
    """

    def __init__(
        self,
        sensor: Sensor,
        img_size: tuple[int, int, int],
        *,
        noise_hsi: torch.nn.Module | None = None,
        noise_msi: torch.nn.Module | None = None,
        lr_size: Shape | None = None,
        device: torch.device | str = "cpu",
        **solving: Any,
    ) -> None:
        size = (int(img_size[0]), int(img_size[1]), int(img_size[2]))
        noises = [ZeroNoise() if noise is None else noise for noise in (noise_hsi, noise_msi)]
        degradation = HsiDegradation(sensor, size, lr_size=lr_size, noise_model=noises[0], device=device)
        response = SpectralResponse(sensor, size, noise_model=noises[1], device=device)
        super().__init__([degradation, response])
        # deepinv keeps the parts in a list, which moves no noise model to a device, and passes no option on.
        self.degradation, self.response = degradation, response
        self.pair_sensor, self.img_size = sensor, size
        unknown = set(solving) - {"solver", "max_iter", "tol"}
        if unknown:
            raise InputError(f"FusionPhysics takes no {sorted(unknown)[0]}=...", sorted(unknown)[0])
        self.set_ls_solver(solving.get("solver", "lsqr"), solving.get("max_iter"), solving.get("tol"))
        self.to(device)


class FusionReconstructor(Reconstructor):  # type: ignore[misc]
    """A method of hyperfuse as a reconstructor of deepinv: the result is that of :func:`hyperfuse.fuse`.

    No gradient flows through it.

    Args:
        method: name of a registered method.
        settings: of the method.
        device: to compute on, see :func:`hyperfuse.fuse`.
        seed: of methods that draw random numbers.
        **specified: fields of :class:`hyperfuse.PairGeometry` that hold where no physics is given, such as ``srf``;
            ``align`` is False unless it is given, so that the result has the size of the MSI.

    Raises:
        InputError: no such method.
    """

    def __init__(
        self,
        method: str = DEFAULT_METHOD,
        settings: Settings | None = None,
        *,
        device: str = "auto",
        seed: int = 0,
        **specified: Any,
    ) -> None:
        super().__init__()
        self.method, self.settings, self.seed = get_method(method).name, settings, seed
        self.computes_on, self.specified = device, {"align": False, **specified}

    def forward(self, y: Any, physics: Any = None, **_: Any) -> torch.Tensor:
        """Fuse measurements.

        Args:
            y: ``TensorList`` or sequence of the HSI (B, bands, h, w) and the MSI (B, msi_bands, H, W), or both without
                B: a pair that ``NBUDataset(return_pan=True)`` gives.
            physics: a :class:`FusionPhysics`, a ``Pansharpen``, or None: estimated from the pair.

        Returns:
            Fused images (B, bands, H, W), or (bands, H, W), on the device of ``y``.

        Raises:
            InputError: measurements or physics of another kind.
        """
        if (
            isinstance(y, torch.Tensor)
            or len(y) != 2
            or not all(isinstance(one, torch.Tensor) and one.ndim in (3, 4) for one in y)
        ):
            raise InputError("the measurements are two tensors, HSI and MSI, of (B, bands, rows, cols) each", "y")
        sensor = _sensor_of(physics, tuple(y[1].shape[-2:]))
        given = self.specified if sensor is None else {"sensor": sensor}
        hsi, msi = (one if one.ndim == 4 else one[None] for one in y)
        if len(hsi) != len(msi):
            raise InputError(f"the measurements are of {len(hsi)} HSI and {len(msi)} MSI", "y")
        images = [
            fuse(
                Cube(low.detach().cpu().numpy()),
                Cube(high.detach().cpu().numpy()),
                method=self.method,
                settings=self.settings,
                device=self.computes_on,
                seed=self.seed,
                **given,
            ).data
            for low, high in zip(hsi, msi, strict=True)
        ]
        fused = torch.from_numpy(np.stack(images)).to(y[1])
        return fused if y[1].ndim == 4 else fused[0]


def from_pansharpen(physics: Pansharpen) -> FusionPhysics:
    """Return the physics of a ``Pansharpen`` of deepinv as one of hyperfuse, with its noise models.

    Its border is one of ``circular`` and ``valid``, which have the same operator here.

    Raises:
        InputError: another kind of physics, a border that has none here, or a filter that differs between bands.
    """
    sensor, img_size, lr_size = _pansharpening(physics)
    return FusionPhysics(
        sensor,
        img_size,
        noise_hsi=physics.physics_list[0].noise_model,
        noise_msi=physics.physics_list[1].noise_model,
        lr_size=lr_size,
        solver=physics.solver,
        max_iter=physics.max_iter,
        tol=physics.tol,
    )


def _sensor_of(physics: Any, fine: Shape) -> Sensor | None:
    if physics is None:
        return None
    if isinstance(physics, FusionPhysics):
        return physics.pair_sensor
    if isinstance(physics, Pansharpen):
        return _pansharpening(physics)[0]
    raise InputError(
        f"physics is a {type(physics).__name__}; pass a FusionPhysics, a Pansharpen, or None to estimate it", "physics"
    )


def _pansharpening(physics: Any) -> tuple[Sensor, tuple[int, int, int], Shape]:
    """Return sensor, (bands, H, W) and (h, w) of a ``Pansharpen``."""
    if not isinstance(physics, Pansharpen):
        raise InputError(f"physics is a {type(physics).__name__}, no Pansharpen", "physics")
    sampling = physics.downsampling
    kernel = np.ones((1, 1)) if sampling.filter is None else sampling.filter.detach().cpu().double().numpy()
    if kernel.size != kernel.shape[-2] * kernel.shape[-1]:
        raise InputError(f"the filter of the physics differs between bands or images: {kernel.shape}", "physics")
    kernel = kernel.reshape(kernel.shape[-2:])
    if abs(kernel.sum() - 1) > _SUM_TOLERANCE:
        raise InputError(f"the filter of the physics sums to {kernel.sum():g}, not to 1", "physics")
    valid = sampling.padding == "valid" and sampling.filter is not None
    if not valid and sampling.padding != "circular" and kernel.size > 1:
        raise InputError(
            f"the border {sampling.padding!r} of the physics has no operator here; use padding='circular' or 'valid'",
            "physics",
        )
    bands, rows, cols = sampling.imsize
    factor = int(sampling.factor)
    lost = [size - 1 if valid else 0 for size in kernel.shape]
    lr_size = (math.ceil((rows - lost[0]) / factor), math.ceil((cols - lost[1]) / factor))
    # Of a kernel with an even number of rows deepinv puts the centre on the row before the symmetric one.
    y, x = ((size - 1) / 2 if valid else (size + 1) % 2 / 2 for size in kernel.shape)
    response = physics.decolorize.srf.detach().cpu().double().numpy().reshape(1, -1)
    sensor = Sensor(
        ratio=(factor, factor),
        phase=(y, x),
        psf=convolution_psf(kernel),
        srf=Srf(response / response.sum(), source="deepinv"),
        boundary="circular",
    )
    return sensor, (int(bands), int(rows), int(cols)), lr_size
