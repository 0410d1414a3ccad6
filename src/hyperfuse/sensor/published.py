"""What is published of the PSF of hyperspectral sensors: their modulation at the Nyquist frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hyperfuse.sensor.psf import GaussianPsf, Pair, gaussian_from_mtf, ratio_pair

# The modulation of a sensor that is not published: usual in pansharpening (Aiazzi et al., 2006).
_USUAL = 0.3
# A scene may differ from what was measured elsewhere by this, in the logarithm of the width: focus, motion, resampling.
_SCENE = 0.1


@dataclass(frozen=True)
class PsfPrior:
    """What is assumed of the PSF of an HSI before its pair is looked at: a Gaussian by its modulation at Nyquist.

    Attributes:
        modulation: at the Nyquist frequency of the HSI's grid.
        log_deviation: standard deviation of the logarithm of the width; None where nothing is known of this sensor, and
            then it is assumed only where the pair shows no other.
        source: for records: which sensor, the published range, and where.
    """

    modulation: float = _USUAL
    log_deviation: float | None = None
    source: str = ""

    @property
    def width(self) -> float:
        """Standard deviation in LR pixels."""
        return gaussian_from_mtf(self.modulation, (1.0, 1.0)).sigma[0]

    def psf(self, ratio: Pair) -> GaussianPsf:
        """Return the Gaussian at a ratio."""
        return gaussian_from_mtf(self.modulation, ratio_pair(ratio))

    def __str__(self) -> str:
        published = f", published for {self.source}" if self.source else ""
        return f"a Gaussian with a modulation of {self.modulation:.2g} at Nyquist{published}"


def _published(sensor: str, low: float, high: float, source: str) -> PsfPrior:
    """Return the prior of modulations that were measured from ``low`` to ``high``."""
    modulation = math.sqrt(low * high)
    wide, narrow = (gaussian_from_mtf(value, (1.0, 1.0)).sigma[0] for value in (low, high))
    deviation = math.hypot(math.log(wide / narrow) / 2, _SCENE)
    return PsfPrior(modulation, deviation, f"{sensor}: {low:g} to {high:g} ({source})")


# By the start of the sensor's name in lower case.
_PUBLISHED = {
    "prisma": _published("PRISMA", 0.05, 0.10, "USGS Open-File Report 2021-1030-K"),
    "tanager": _published("Tanager", 0.25, 0.49, "USGS Open-File Report 2021-1030-W"),
}


def psf_prior(attributes: Mapping[str, str]) -> PsfPrior:
    """Return what is assumed of the PSF of an image, by the attribute ``sensor`` of its header.

    Example:
        >>> round(psf_prior({"sensor": "PRISMA"}).modulation, 3), psf_prior({}).modulation
        (0.071, 0.3)
    """
    name = attributes.get("sensor", "").lower()
    return next((prior for start, prior in _PUBLISHED.items() if name.startswith(start)), PsfPrior())
