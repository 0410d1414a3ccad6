"""The displacement of a pair as a file: written by one command, used by the next."""

import numpy as np
import pytest

from hyperfuse.io import read

pytestmark = pytest.mark.usefixtures("quick")
JOB = ("--method", "regression", "--psf", "mtf:0.3")


def test_a_map_is_written_and_used_again(run, fails, files):
    hsi, msi, out, field = (files / f"{name}.tif" for name in ("hsi", "msi", "out", "field"))
    code, _, err = run("fuse", hsi, msi, out, *JOB, "--displacement", field)
    assert code == 0, err
    assert f"wrote {field}: 8 rows, 12 columns, 2 bands, " in err
    shown = read(field)
    assert (shown.bands, shown.rows, shown.cols, shown.units) == (2, 8, 12, "m")
    assert shown.transform == read(hsi).transform
    assert np.abs(shown.data).max() < 3.0  # the pair fits
    code, _, err = run("fuse", hsi, msi, files / "again.tif", *JOB, "--displacement-from", field)
    assert code == 0, err
    assert "note: the HSI's pixels lie where the displacement says: " in err
    np.testing.assert_allclose(read(files / "again.tif").data, read(out).data, atol=1e-5)
    assert fails("fuse", hsi, msi, files / "c.tif", *JOB, "--displacement", field)[1].startswith(
        f"{field}: exists already"
    )
    assert fails("fuse", hsi, msi, files / "c.tif", *JOB, "--displacement", files / "c.tif")[1].endswith(
        "name another file"
    )
    code, message = fails("fuse", hsi, msi, files / "c.tif", *JOB, "--displacement-from", msi)
    assert code == 2
    assert message.startswith(f"--displacement-from: {msi}: holds no displacement")
    assert fails("fuse", hsi, msi, files / "c.tif", *JOB, "--displacement-from", "none.tif")[0] == 2
    assert not (files / "c.tif").exists()
