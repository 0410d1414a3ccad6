"""HYPSO and PACE OCI files of the ground, in sensor geometry."""

import h5py
import numpy as np

import ground


def write_hypso(path, rows=24, cols=22, *, level="l1d", turn=10.0, indirect=True, single=False):
    """Write a HYPSO file of pixels of 60 m; ``single``: a variable for each band."""
    x, y = ground.positions(rows, cols, 60.0, turn)
    values = np.moveaxis(ground.averaged(x, y, 60.0), 0, 2).astype(np.float32)
    quantity, scale = ("rhot", 1.0) if level == "l1d" else ("Lt", 100.0)
    latitude, longitude = ground.lat_lon(x, y)
    with h5py.File(path, "w") as file:
        file.attrs["instrument"] = "HYPSO-2 Hyperspectral Imager"
        products = file.create_group("products")
        if single:
            for band, centre in enumerate(ground.WAVELENGTHS[::-1]):
                item = products.create_dataset(f"{quantity}_{centre:.0f}", data=scale * values[:, :, -1 - band])
                item.attrs["wavelength"], item.attrs["fwhm"] = centre, 5.0
        else:
            item = products.create_dataset(quantity, data=scale * values, chunks=(8, 8, 4))
            item.attrs["wavelengths"], item.attrs["fwhm"] = ground.WAVELENGTHS, np.full(8, 5.0)
        item.attrs["units"] = "W/m^2/micrometer/sr" if quantity == "Lt" else "1"
        for name, positions in (("latitude", latitude), ("longitude", longitude)):
            file[f"navigation/{name}"] = positions + (0.02 if indirect else 0.0)
            if indirect:
                file[f"navigation/{name}_indirect"] = positions
    return path


def write_pace(path, rows=9, cols=8, *, ground_pixel=60.0):
    """Write a PACE OCI file of pixels of 1.2 km that show the ground as pixels of 60 m would."""
    # On the corners of the grid that the pixels are put on, so that each is shown once.
    x, y = ground.positions(rows, cols, 1200.0) - np.mod([[[ground.WEST]], [[ground.NORTH]]], 1200.0)
    latitude, longitude = ground.lat_lon(x, y)
    values = ground.averaged(*ground.positions(rows, cols, ground_pixel), ground_pixel).astype(np.float32)
    values[:, 1, 2] = -32767
    with h5py.File(path, "w") as file:
        file.attrs["time_coverage_start"] = "2025-05-01T10:00:00.000Z"
        parameters = file.create_group("sensor_band_parameters")
        if ".L1B." in path.name:
            place = file.create_group("geolocation_data")
            swir = np.array([1250.0, 1250.0, 1618.0])
            parts = {"blue": (ground.WAVELENGTHS[:4], values[:4]), "red": (ground.WAVELENGTHS[4:], values[4:]),
                     "SWIR": (swir, values[:3])}  # fmt: skip
            for name, (centres, part) in parts.items():
                file.create_dataset(f"observation_data/rhot_{name}", data=part).attrs["_FillValue"] = np.float32(-32767)
                parameters[f"{name}_wavelength"] = centres.astype(np.float32)
            parameters["SWIR_bandpass"] = np.array([30.0, 30.0, 75.0], np.float32)
        else:
            place = file.create_group("navigation_data")
            codes = np.where(values < 0, -32767, np.round((values - 0.05) / 2e-5)).astype(np.int16)
            rhos = file.create_dataset("geophysical_data/rhos", data=np.moveaxis(codes, 0, 2))
            rhos.attrs.update(scale_factor=np.float32(2e-5), add_offset=np.float32(0.05), _FillValue=np.int16(-32767))
            parameters["wavelength_3d"] = ground.WAVELENGTHS
            flags = np.zeros((rows, cols), np.int32)
            flags[4, 3], flags[5, 5] = 1 << 2, 1 << 1
            item = file.create_dataset("geophysical_data/l2_flags", data=flags)
            item.attrs["flag_meanings"] = "ATMFAIL LAND CLDICE"
        place["latitude"], place["longitude"] = latitude.astype(np.float32), longitude.astype(np.float32)
    return path
