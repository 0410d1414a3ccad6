"""EMIT L2A files in the structure of the user guide: reflectance in sensor geometry, latitude and longitude, GLT."""

import h5py
import numpy as np

import ground

SCENE = "20230316T045133_2307503_005"
PIXEL = 60.0
GEOTRANSFORM = [13.0, 0.000542232520256367, 0.0, 52.45, 0.0, -0.000542232520256367]
CRS = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)


def write_emit(path, values, wavelengths, *, lat_lon=None, tables=None, good=None):
    """Write an EMIT file of values (downtrack, crosstrack, bands), with latitude and longitude or lookup tables."""
    with h5py.File(path, "w") as target:
        target["reflectance"] = values
        target["reflectance"].attrs["_FillValue"] = np.array([-9999], np.float32)
        bands = target.create_group("sensor_band_parameters")
        bands["wavelengths"] = np.asarray(wavelengths, np.float32)
        bands["wavelengths"].attrs["units"] = np.bytes_("nm")
        bands["fwhm"] = np.full(len(wavelengths), 8.5, np.float32)
        bands["good_wavelengths"] = np.ones(len(wavelengths), np.uint8) if good is None else np.asarray(good, np.uint8)
        for name, found in zip(("lat", "lon"), lat_lon or (), strict=False):
            target[f"location/{name}"] = found
        for name, found in zip(("glt_x", "glt_y"), tables or (), strict=False):
            target[f"location/{name}"] = found
        target.attrs["geotransform"] = np.array(GEOTRANSFORM)
        target.attrs["spatial_ref"] = CRS
        target.attrs["time_coverage_start"] = np.bytes_("2023-03-16T04:51:33+0000")
    return path


def granule(path, rows=40, cols=36, start=(0, 0), turn=20.0, origin=(600.0, -300.0)):
    """Write a granule of the ground, seen from an orbit that crosses the grid by ``turn`` degrees."""
    x, y = ground.positions(rows, cols, PIXEL, turn, start)
    x, y = x + origin[0], y + origin[1]
    values = ground.averaged(x, y, PIXEL).transpose(1, 2, 0).astype(np.float32)
    return write_emit(path, values, ground.WAVELENGTHS, lat_lon=ground.lat_lon(x, y))
