"""Metrics of a fused image, with a reference and without one: pure functions on arrays, which need numpy only.

Images are (bands, rows, cols): arrays, torch tensors or cubes. :func:`evaluate` gathers the metrics.
"""

from __future__ import annotations

from hyperfuse.metrics.evaluate import (
    MAIN_COLUMNS,
    METRIC_COLUMNS,
    METRICS,
    Convention,
    Scores,
    aggregate,
    evaluate,
)
from hyperfuse.metrics.full_reference import (
    cross_correlation,
    cross_correlation_per_band,
    ergas,
    psnr,
    psnr_per_band,
    rmse,
    rmse_per_band,
    sam_degrees,
    sam_map,
)
from hyperfuse.metrics.no_reference import (
    NoReferenceScores,
    d_lambda,
    d_lambda_khan,
    d_s,
    evaluate_without_reference,
    hqnr,
    qnr,
)
from hyperfuse.metrics.windowed import ssim, ssim_per_band, uiqi, uiqi_per_band

__all__ = [
    "MAIN_COLUMNS",
    "METRICS",
    "METRIC_COLUMNS",
    "Convention",
    "NoReferenceScores",
    "Scores",
    "aggregate",
    "cross_correlation",
    "cross_correlation_per_band",
    "d_lambda",
    "d_lambda_khan",
    "d_s",
    "ergas",
    "evaluate",
    "evaluate_without_reference",
    "hqnr",
    "psnr",
    "psnr_per_band",
    "qnr",
    "rmse",
    "rmse_per_band",
    "sam_degrees",
    "sam_map",
    "ssim",
    "ssim_per_band",
    "uiqi",
    "uiqi_per_band",
]
