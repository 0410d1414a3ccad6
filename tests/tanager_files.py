"""Tanager files as HDF-EOS5: the grid of ortho products, the latitudes and longitudes of basic ones."""

import h5py
import numpy as np

import ground

GOOD = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
METADATA = """GROUP=GridStructure
\tGROUP=GRID_1
\t\tGridName="HYP"
\t\tXDim={cols}
\t\tYDim={rows}
\t\tUpperLeftPointMtrs=({west:.6f},{north:.6f})
\t\tLowerRightMtrs=({east:.6f},{south:.6f})
\t\tProjection=HE5_GCTP_UTM
\t\tZoneCode={zone}
\t\tSphereCode=12
\tEND_GROUP=GRID_1
END_GROUP=GridStructure
END
"""


def write_tanager(path, rows=14, cols=13, *, turn=0.0, origin=(300.0, -300.0)):
    """Write a file of the ground at 30 m, as its name states it: ortho or basic, radiance or reflectance."""
    ortho, reflectance = "_ortho_" in path.name, "_sr_" in path.name
    x, y = ground.positions(rows, cols, 30.0, 0.0 if ortho else turn)
    x, y = x + origin[0], y + origin[1]
    values = ground.averaged(x, y, 30.0).astype(np.float32) * (1 if reflectance else 200)
    values[:, 0, 0] = -9999
    if reflectance:
        values[3] = -0.01  # a band that is flagged holds numbers
    with h5py.File(path, "w") as target:
        group = target.create_group(f"HDFEOS/{'GRIDS' if ortho else 'SWATHS'}/HYP")
        fields = group.create_group("Data Fields")
        cube = fields.create_dataset("surface_reflectance" if reflectance else "toa_radiance", data=values)
        cube.attrs["wavelengths"], cube.attrs["fwhm"] = ground.WAVELENGTHS, np.full(len(values), 5.5)
        cube.attrs["wavelengths_units"] = cube.attrs["fwhm_units"] = "nm"
        cube.attrs["_FillValue"] = np.float32(-9999)
        if reflectance:
            cube.attrs["good_wavelengths"] = GOOD.astype(np.uint8)
            fields["surface_reflectance_uncertainty"] = np.full_like(values, 0.01)
        else:
            cube.attrs["Unit"] = "W/(m^2 sr um)"
        for number, name in enumerate(("nodata_pixels", "beta_cloud_mask", "beta_cirrus_mask")):
            mask = np.zeros((rows, cols), np.uint8)
            mask[number + 1, number + 2] = 1
            fields[name] = mask
        if ortho:
            group.attrs["epsg_code"] = np.int64(32633)
            west, north = ground.WEST + origin[0], ground.NORTH + origin[1]
            text = METADATA.format(
                rows=rows, cols=cols, west=west, north=north, east=west + 30 * cols, south=north - 30 * rows, zone=33
            )
            target.create_dataset("HDFEOS INFORMATION/StructMetadata.0", data=np.bytes_(text))
        else:
            latitude, longitude = ground.lat_lon(x, y)
            group["Geolocation Fields/Latitude"], group["Geolocation Fields/Longitude"] = latitude, longitude
    return path


def name(kind, quantity):
    """Return the name of a file."""
    return f"20250511_074311_00_4001_{kind}_{quantity}_hdf5.h5"
