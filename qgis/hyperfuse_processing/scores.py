"""The scores of an evaluation. Needs no QGIS."""

from __future__ import annotations

# The keys of `hyperfuse evaluate --json` are outputs of their names in capitals; QGIS has to know them before the call.
SCORES = {
    "psnr_db": "PSNR in dB",
    "sam_degrees": "SAM in degrees",
    "sam_bright_degrees": "SAM of bright pixels in degrees",
    "ergas": "ERGAS",
    "ssim": "SSIM",
    "rmse": "RMSE",
    "uiqi": "UIQI",
    "cc": "Correlation coefficient",
}
