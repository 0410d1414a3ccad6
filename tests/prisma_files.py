"""PRISMA files of a known ground: L2D on its grid, L2C and L2B in sensor geometry, each with its PAN image."""

import h5py
import numpy as np

import ground

TIMES = "20200813103056_20200813103100"
RATIO = 6
SCALE = 0.8
# The VNIR detector sees the first five bands, the SWIR detector the last four: they overlap in one.
VNIR, SWIR = ground.WAVELENGTHS[:5], ground.WAVELENGTHS[4:]


def codes(values):
    """Return reflectance as the files store it."""
    return np.round(values / SCALE * 65535).astype(np.uint16)


def write_prisma(path, rows=24, cols=22, *, turn=0.0, pan_edges=False, positions=True):
    """Write a file of the level that its name states; its first HSI pixel has its centre at (300, -300) of the ground.

    With ``pan_edges`` the edges of the PAN are those of the HSI, else the centre of its first pixel is that of the
    first HSI pixel; ``positions``: the PAN of L2D has latitudes and longitudes.
    """
    level = path.name.split("_")[1]
    hsi = [one + move for one, move in zip(ground.positions(rows, cols, 30.0, turn), (285.0, -285.0), strict=True)]
    start = (0, 0) if pan_edges or level != "L2D" else (2.5, 2.5)
    pan = ground.positions(rows * RATIO, cols * RATIO, 5.0, turn, start)
    pan = [one + move for one, move in zip(pan, (285.0, -285.0), strict=True)]
    with h5py.File(path, "w") as target:
        swaths = target.create_group("HDFEOS/SWATHS")
        fields = {one: swaths.create_group(f"PRS_{level}_{one}/Data Fields") for one in ("HCO", "PCO")}
        for name, centres in (("Vnir", VNIR), ("Swir", SWIR)):
            falling = centres[::-1]
            cube = codes(ground.averaged(*hsi, 30.0, falling)).transpose(1, 0, 2)
            fields["HCO"][f"{name.upper()}_Cube"] = cube
            fields["HCO"][f"{name.upper()}_PIXEL_L2_ERR_MATRIX"] = np.zeros(cube.shape, np.uint8)
            target.attrs[f"List_Cw_{name}"] = falling.astype(np.float32)
            target.attrs[f"List_Fwhm_{name}"] = np.full(len(falling), 11.0, np.float32)
        fields["PCO"]["Cube"] = codes(ground.averaged(*pan, 5.0).mean(axis=0))
        fields["PCO"]["PIXEL_L2_ERR_MATRIX"] = np.zeros(pan[0].shape, np.uint8)
        for name in ("Vnir", "Swir", "Pan"):
            target.attrs[f"L2Scale{name}Min"], target.attrs[f"L2Scale{name}Max"] = np.float32(0), np.float32(SCALE)
        for name, (x, y) in (("HCO", hsi), ("PCO", pan)):
            if level != "L2D" or positions:
                place = swaths.create_group(f"PRS_{level}_{name}/Geolocation Fields")
                place["Latitude"], place["Longitude"] = ground.lat_lon(x, y)
        target.attrs["Epsg_Code"] = np.int64(32633)
        target.attrs["Product_StartTime"] = np.bytes_("2020-08-13T10:30:56.510")
        for name, (row, col) in {"UL": (0, 0), "UR": (0, -1), "LL": (-1, 0), "LR": (-1, -1)}.items():
            target.attrs[f"Product_{name}corner_easting"] = hsi[0][row, col]
            target.attrs[f"Product_{name}corner_northing"] = hsi[1][row, col]
    return path


def write_clouds(folder, mask):
    """Write the L1 file of the acquisition with its cloud mask."""
    path = folder / f"PRS_L1_STD_OFFL_{TIMES}_0001.he5"
    with h5py.File(path, "w") as target:
        target["HDFEOS/SWATHS/PRS_L1_HCO/Data Fields/Cloud_Mask"] = np.asarray(mask, np.uint8)
    return path
