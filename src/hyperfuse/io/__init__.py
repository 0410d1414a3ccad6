"""Reading and writing of cubes: GeoTIFF, COG, ENVI, netCDF, MATLAB, NumPy and Zarr."""

from hyperfuse.io.describe import OVERVIEW_SIDE, header_summary, summary
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, parse_bands
from hyperfuse.io.files import axes_are_free, check_output, is_product, read, write
from hyperfuse.io.formats.registry import FORMATS, Format, format_of, split_variable
from hyperfuse.io.mosaic import read_mosaic
from hyperfuse.io.qgis_style import write_qgis_style

__all__ = [
    "FORMATS",
    "OVERVIEW_SIDE",
    "Format",
    "ReadOptions",
    "WriteOptions",
    "axes_are_free",
    "check_output",
    "format_of",
    "header_summary",
    "is_product",
    "parse_bands",
    "read",
    "read_mosaic",
    "split_variable",
    "summary",
    "write",
    "write_qgis_style",
]
