"""Fusion methods, classical and learned, registered by name."""

from hyperfuse.methods.algorithms import bicubic, cnmf, gsa, local_regression, mtf_glp_hs, regression
from hyperfuse.methods.contract.registry import Method, MethodSettings, Progress, get_method, list_methods
from hyperfuse.methods.feinfn import method as _feinfn  # noqa: F401  (registers it)

__all__ = [
    "Method",
    "MethodSettings",
    "Progress",
    "bicubic",
    "cnmf",
    "get_method",
    "gsa",
    "list_methods",
    "local_regression",
    "mtf_glp_hs",
    "regression",
]
