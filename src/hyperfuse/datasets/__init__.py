"""Scenes for training, trials and benchmarks; each is read on demand."""

from hyperfuse.datasets.dataset import Dataset
from hyperfuse.datasets.indian_pines import INDIAN_PINES_SOURCE, load_indian_pines
from hyperfuse.datasets.packed import read_packed, write_packed
from hyperfuse.datasets.patch_files import PatchFile, open_patch_file
from hyperfuse.datasets.registry import get_dataset, list_datasets, open_dataset
from hyperfuse.datasets.scenes import Scenes
from hyperfuse.datasets.split_files import list_splits, read_split

__all__ = [
    "INDIAN_PINES_SOURCE",
    "Dataset",
    "PatchFile",
    "Scenes",
    "get_dataset",
    "list_datasets",
    "list_splits",
    "load_indian_pines",
    "open_dataset",
    "open_patch_file",
    "read_packed",
    "read_split",
    "write_packed",
]
