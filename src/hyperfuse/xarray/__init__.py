"""``import hyperfuse.xarray``: the accessor ``.hyperfuse`` of ``DataArray`` and ``Dataset``.

    import xarray as xr
    import hyperfuse.xarray

    hsi = xr.open_dataset("enmap.tif", engine="hyperfuse")
    msi = xr.open_dataset("sentinel2.tif", engine="hyperfuse", chunks={})
    fused = hsi.hyperfuse.fuse(msi, method="local-regression")

Arrays that dask has not computed yet are fused lazily, in tiles.
"""

from __future__ import annotations

from hyperfuse.runtime.optional import require

require("xarray", "hyperfuse.xarray")

from hyperfuse.xarray.accessor import ArrayAccessor, DatasetAccessor, SimulatedArrays, register  # noqa: E402  (after the check)
from hyperfuse.xarray.lazy import fuse_lazily  # noqa: E402

__all__ = ["ArrayAccessor", "DatasetAccessor", "SimulatedArrays", "fuse_lazily"]

register()
