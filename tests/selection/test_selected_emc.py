"""The frames that are kept as photons: without what the masks call unusable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pycroclass.errors import DataError
from pycroclass.geometry import CXIMask
from pycroclass.readers import read_emc
from pycroclass.selection import FrameSelection, write_selected_emc

GAIN = 130.0


def recording(path: Path, shape: tuple[int, ...], mask_shape: tuple[int, ...], dtype: str = "f4") -> tuple[np.ndarray, np.ndarray]:
    """Frames in ADU with overflows where the mask says so, and the photons in them."""
    rng = np.random.default_rng(0)
    photons = rng.poisson(0.3, shape)
    adu = photons * GAIN + rng.normal(0, 9, shape)
    mask = rng.choice([0, 0, 0, CXIMask.HOT, CXIMask.PEAK_FOR_HITFINDER], mask_shape).astype("u4")
    is_bad = np.broadcast_to(mask == CXIMask.HOT, shape)
    adu[is_bad] = np.inf if dtype == "f4" else 9999
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/data_1/data"] = adu.astype(dtype)
        file["entry_1/data_1/mask"] = mask
    return np.where(is_bad, 0, photons), adu


def selection(path: Path) -> FrameSelection:
    place = {"file": [str(path)] * 4, "dataset": ["/entry_1/data_1/data"] * 4, "index": [3, 0, 1, 5], "event": [""] * 4}
    return FrameSelection(**place, score=[1, 0, 1, 1], decision=["hit", "miss", "hit", "hit"], reason=["hit", "", "hit", "hit"])


@pytest.mark.parametrize(("shape", "mask_shape"), [((6, 8, 9), (8, 9)), ((6, 2, 8, 9), (2, 8, 9)), ((6, 2, 8, 9), (8, 9))])
@pytest.mark.parametrize("name", ["hits.emc", "hits.h5"])
def test_photons_of_the_kept_frames(tmp_path: Path, name: str, shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> None:
    photons, _ = recording(tmp_path / "run.cxi", shape, mask_shape)
    path = write_selected_emc(selection(tmp_path / "run.cxi"), tmp_path / name, gain=GAIN)
    np.testing.assert_array_equal(read_emc(path, shape=shape[1:]).compute(), photons[[3, 1, 5]])


def test_files_that_hold_photons(tmp_path: Path) -> None:
    _, adu = recording(tmp_path / "run.cxi", (6, 8, 9), (8, 9), "u2")
    with h5py.File(tmp_path / "run.cxi") as file:
        wanted = np.where(file["entry_1/data_1/mask"][()] == CXIMask.HOT, 0, adu.astype("u2"))
    path = write_selected_emc(selection(tmp_path / "run.cxi"), tmp_path / "hits.emc")
    np.testing.assert_array_equal(read_emc(path, shape=(8, 9)).compute(), wanted[[3, 1, 5]])


def test_what_is_no_photon_is_refused(tmp_path: Path) -> None:
    recording(tmp_path / "run.cxi", (6, 8, 9), (8, 9))
    with pytest.raises(DataError, match=r"frame 0 has .* wanted whole numbers"):
        write_selected_emc(selection(tmp_path / "run.cxi"), tmp_path / "hits.emc")
    with pytest.raises(DataError, match="none of its 4 frames"):
        write_selected_emc(replace(selection(tmp_path / "run.cxi"), reason=[""] * 4), tmp_path / "hits.emc", gain=GAIN)
    assert not (tmp_path / "hits.emc").exists()
