"""AVIRIS files of a known ground: ENVI with rotated grids, LOC and GLT, and netCDF."""

import h5py
import numpy as np
from rasterio.crs import CRS

import ground

PIXEL = 20.0
CODES = {np.dtype(np.float32): 4, np.dtype(np.float64): 5, np.dtype(np.int16): 2, np.dtype(np.int32): 3}


def map_info(x, y, rotation=0.0, pixel=PIXEL, sign=" = "):
    """Return the item of a header, written as in files of AVIRIS."""
    turned = f", rotation={rotation:g}" if rotation else ""
    return f"map info{sign}{{UTM, 1, 1, {x}, {y}, {pixel}, {pixel}, 33, North, WGS-84, units=Meters{turned}}}"


def write_envi(path, values, *items, byte_order=0):
    """Write values (bands, rows, cols) by lines (bil), as the data are, with a header of more items."""
    bands, rows, cols = values.shape
    values.transpose(1, 0, 2).astype(values.dtype.newbyteorder("<" if byte_order == 0 else ">")).tofile(path)
    lines = [
        "ENVI", "description = {", "  AVIRIS data }", f"samples = {cols}", f"lines   = {rows}", f"bands   = {bands}",
        "header offset = 0", "file type = ENVI Standard", f"data type = {CODES[values.dtype]}", "interleave = bil",
        f"byte order = {byte_order}", *items,
    ]  # fmt: skip
    path.with_name(f"{path.name}.hdr").write_text("\n".join(lines) + "\n")
    return path


def spectral_items(bbl=None):
    """Return the items of the bands of the ground."""
    items = [
        "wavelength units = Nanometers",
        "wavelength = {" + ", ".join(f"{one:.2f}" for one in ground.WAVELENGTHS) + "}",
        "fwhm = {" + ", ".join(["10.0"] * len(ground.WAVELENGTHS)) + "}",
    ]
    return [*items, *([] if bbl is None else [f"bbl = {{{', '.join(map(str, bbl))}}}"])]


def rotated(path, rows=50, cols=40, rotation=29.0, values=None, items=(), pixel=PIXEL, **more):
    """Write an image on a grid that is rotated counterclockwise about the corner of the ground."""
    x, y = ground.positions(rows, cols, pixel, rotation)
    seen = ground.averaged(x, y, pixel).astype(np.float32)
    place = map_info(ground.WEST, ground.NORTH, rotation, pixel)
    return write_envi(path, seen if values is None else values(seen), place, *spectral_items(), *items, **more)


def swath(folder, granule, kind="rfl", rows=60, cols=50):
    """Write an image in sensor geometry: lines of a wobbling flight; returns it with x and y of its pixels."""
    x, y = ground.positions(rows, cols, PIXEL, -35.0)
    wobble = 15 * np.sin(np.arange(rows) / 9)[:, None]
    x, y = x + 300 + wobble, y - 300
    values = ground.averaged(x, y, PIXEL).astype(np.float32)
    values[:, 0] = -9999
    return write_envi(folder / f"{granule}_{kind}_v1_img", values, *spectral_items()), x, y


def write_loc(folder, granule, x, y):
    """Write the LOC file of an image: longitude, latitude, elevation."""
    lat, lon = ground.lat_lon(x, y)
    return write_envi(folder / f"{granule}_v1_loc", np.stack([lon, lat, 0 * lat]))


def table(x, y, pixel=PIXEL):
    """Return a lookup table on a north-up grid: sample and line of the nearest pixel, negative where it is far."""
    west, north = np.floor(x.min() / pixel) * pixel, np.ceil(y.max() / pixel) * pixel
    cols, rows = int(np.ceil((x.max() - west) / pixel)), int(np.ceil((north - y.min()) / pixel))
    px = west + pixel * (np.arange(cols) + 0.5)
    py = north - pixel * (np.arange(rows) + 0.5)
    away = np.hypot(px[None, :, None] - x.ravel(), py[:, None, None] - y.ravel())
    nearest, distance = away.argmin(axis=2), away.min(axis=2)
    sign = np.where(distance < 0.5 * pixel, 1, np.where(distance < pixel, -1, 0))
    return sign * (nearest % x.shape[1] + 1), sign * (nearest // x.shape[1] + 1), west, north


def write_glt(folder, granule, x, y):
    """Write the GLT file of an image."""
    sample, line, west, north = table(x, y)
    values = np.stack([sample, line]).astype(np.int32)
    return write_envi(folder / f"{granule}_v1_glt", values, map_info(west, north))


def write_netcdf(path, values, west, north, *, tables=None, group="reflectance", size=None):
    """Write a netCDF file of values (bands, rows, cols), with a lookup table where they are in sensor geometry."""
    rows, cols = values.shape[1:] if tables is None else tables[0].shape
    with h5py.File(path, "w") as target:
        target[f"{group}/{group}"] = values.astype(np.float32)
        target[f"{group}/{group}"].attrs["_FillValue"] = np.array([-9999], np.float32)
        target[f"{group}/wavelength"] = ground.WAVELENGTHS.astype(np.float32)
        target[f"{group}/wavelength"].attrs["units"] = "nm"
        target[f"{group}/fwhm"] = np.full(len(values), 7.5, np.float32)
        target["easting"] = west + PIXEL * (np.arange(cols) + 0.5)
        target["northing"] = north - PIXEL * (np.arange(rows) + 0.5)
        target["transverse_mercator"] = np.int8(0)
        target["transverse_mercator"].attrs["crs_wkt"] = CRS.from_epsg(32633).to_wkt()
        target["transverse_mercator"].attrs["GeoTransform"] = f"{west} {PIXEL} 0 {north} 0 {-PIXEL}"
        if tables is not None:
            target["geolocation_lookup_table/sample"], target["geolocation_lookup_table/line"] = tables
    return path
