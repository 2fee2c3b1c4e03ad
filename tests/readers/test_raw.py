"""Plain arrays: mapped where the file is local, read elsewhere, with the same values."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycroclass import files
from pycroclass.errors import ReadError
from pycroclass.readers import read
from pycroclass.readers.raw import RawArray

OFFSET = 13


def stored(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Write an array behind a header of odd length."""
    values = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 200, shape).astype(dtype)
    path.write_bytes(bytes(OFFSET) + values.tobytes())
    return values


@pytest.mark.parametrize("dtype", ["?", "u1", "<u2", ">u2", ">f8", "<c8"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted), min_size=0, max_size=3), st.sampled_from([0, 64, 1 << 20]))
def test_read_is_mapped(tmp_path: Path, dtype: str, order: tuple[int, ...], bounds: list[list[int]], run: int) -> None:
    path = tmp_path / "a.raw"
    values = stored(path, (6, 7, 8), dtype).transpose(order)
    load = RawArray.of(path, offset=OFFSET, stored=(6, 7, 8), dtype=dtype, order=order)
    part = tuple(slice(*pair) for pair in bounds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pycroclass.readers.regions._RUN", run)
        for is_local in (True, False):
            patch.setattr("pycroclass.readers.raw.is_local", lambda _, known=is_local: known)
            np.testing.assert_array_equal(load(part), values[part])
            with load.opened() as opened:
                for _ in range(2):
                    np.testing.assert_array_equal(opened(part), values[part])


@pytest.fixture
def on_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file lay on a server; a memory map would end the process."""
    monkeypatch.setattr("pycroclass.readers.raw.is_local", lambda _: False)
    monkeypatch.setattr(np, "memmap", None)


@pytest.mark.usefixtures("on_a_network")
def test_cut_off_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(90_000.0).reshape(9, 100, 100))
    (dataset,) = read(path).values()
    load = RawArray.of(path, offset=128, stored=(9, 100, 100), dtype="f8")
    with load.opened() as opened:
        assert opened((slice(8, 9),))[0, 99, 99] == 89_999
        os.truncate(path, 300_000)
        assert opened((slice(0, 2),))[1, 99, 99] == 19_999
        with pytest.raises(ReadError, match=r"a\.npy.*the file ends at byte 300000.*changed after it was opened"):
            opened((slice(3, 5),))
    with pytest.raises(ReadError, match="the file ends"):
        dataset.compute()


@pytest.mark.usefixtures("on_a_network")
def test_an_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((9, 9)))
    (dataset,) = read(path).values()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pycroclass.readers.regions.fetch", fail)
    with pytest.raises(ReadError, match=r"a\.npy.*Input/output error"):
        dataset.compute()


@pytest.mark.parametrize(
    ("kind", "is_local"), [("ext4", True), ("xfs", True), ("nfs4", False), ("lustre", False), ("fuse.sshfs", False), ("gpfs", False)]
)
def test_local_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_local: bool) -> None:
    device = os.stat(tmp_path).st_dev
    mine = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:999 / /proc rw - proc proc rw\n29 1 {mine} / /data\\040x rw shared:1 master:2 - {kind} server:/x rw\n")
    monkeypatch.setattr(files, "_MOUNTS", str(mounts))
    files._is_local.cache_clear()
    try:
        assert files.is_local(tmp_path) == is_local
    finally:
        files._is_local.cache_clear()


def test_a_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOUNTS", str(tmp_path / "none"))
    files._is_local.cache_clear()
    try:
        assert not files.is_local(tmp_path)
    finally:
        files._is_local.cache_clear()
