"""Datasets of HDF5 read from the bytes of the file, against HDF5 itself."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pycroclass.errors import ReadError
from pycroclass.readers import hdf5_chunks
from pycroclass.readers.hdf5_chunks import Layout
from pycroclass.readers.hdf5_file import Hdf5Array

FILTERS: Final[dict[str, Mapping[str, Any]]] = {
    "none": {},
    "deflate": {"compression": "gzip"},
    "shuffle": {"shuffle": True},
    "shuffle deflate": {"compression": "gzip", "shuffle": True},
    "shuffle deflate fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "fletcher32": {"fletcher32": True},
    "lzf": {"compression": "lzf"},
    "shuffle lzf": {"compression": "lzf", "shuffle": True},
    "zstd": hdf5plugin.Zstd(),
    "shuffle zstd": {**hdf5plugin.Zstd(), "shuffle": True},
    "lz4": hdf5plugin.LZ4(),
    "lz4 small blocks": hdf5plugin.LZ4(nbytes=128),
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle lz4 small blocks": hdf5plugin.Bitshuffle(nelems=16, cname="lz4"),
    "bitshuffle zstd small blocks": hdf5plugin.Bitshuffle(nelems=16, cname="zstd"),
    **{f"blosc {coder}": hdf5plugin.Blosc(cname=coder) for coder in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")},
    "blosc bitshuffle": hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.BITSHUFFLE),
}
LEFT_TO_HDF5: Final[dict[str, Mapping[str, Any]]] = {
    "blosc snappy": hdf5plugin.Blosc(cname="snappy"),
    "blosc2": hdf5plugin.Blosc2(),
    "scale offset": {"scaleoffset": 0},
    "two compressors": {**hdf5plugin.Zstd(), "shuffle": True},
}
DTYPES: Final = ("u1", "<u2", ">u2", "<i4", ">i4", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", "?")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_chunks, "SMALLEST", 0)


def is_direct(path: Path, name: str = "data") -> bool:
    with h5py.File(path, "r") as file:
        return Layout.of(str(path), file[name]) is not None


def by_hdf5(path: Path, region: tuple[slice, ...] = (), name: str = "data") -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file[name][region]


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype.newbyteorder("=")
    assert found.dtype.isnative
    assert found.shape == wanted.shape
    assert found.tobytes() == wanted.astype(found.dtype).tobytes()


def values(shape: tuple[int, ...], dtype: str, n_levels: int, seed: int = 0) -> np.ndarray:
    """Any bits where there are many levels, and compressible counts where there are few."""
    rng = np.random.default_rng(seed)
    if n_levels == 0 and dtype != "?":
        return np.frombuffer(rng.bytes(math.prod(shape) * np.dtype(dtype).itemsize), dtype).reshape(shape)
    return rng.integers(0, n_levels or 2, shape).astype(dtype)


@st.composite
def stored(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[slice, ...]]]:
    """Shape of a dataset, shape of its chunks, and regions."""
    shape = tuple(draw(st.lists(st.integers(1, 23), min_size=1, max_size=4)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape)
    assume(math.prod(-(-n // c) for n, c in zip(shape, chunks)) < 50)
    regions = []
    for _ in range(3):
        ends = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in shape]
        regions.append(tuple(slice(a, b) for a, b in ends))
    return shape, chunks, regions


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
@given(stored(), st.sampled_from(DTYPES), st.sampled_from([0, 2, 40]), st.booleans(), st.randoms(use_true_random=False))
def test_as_hdf5_reads_it(tmp_path: Path, name: str, case: Any, dtype: str, n_levels: int, is_full: bool, random: Any) -> None:
    shape, chunks, regions = case
    path = tmp_path / "a.h5"
    fill = None if "c" in dtype else 1  # h5py cannot write a complex one
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", shape, dtype, chunks=chunks, fillvalue=fill, **FILTERS[name])
        everything = values(shape, dtype, n_levels)
        for start in itertools.product(*(range(0, n, c) for n, c in zip(shape, chunks))):
            if is_full or random.random() < 0.5:  # the others are never written
                part = tuple(slice(a, a + c) for a, c in zip(start, chunks))
                data[part] = everything[part]
    assert is_direct(path)
    load = Hdf5Array(str(path), "data")
    with load.opened() as read:
        for region in [*regions, (), *regions]:
            assert_same(read(region), by_hdf5(path, region))
    assert_same(load(regions[0]), by_hdf5(path, regions[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
@given(stored(), st.sampled_from([0, 64, 1 << 20]), st.sampled_from([1, 64, 1 << 20]))
def test_one_piece(tmp_path: Path, dtype: str, case: Any, gap: int, run: int) -> None:
    shape, _, regions = case
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values(shape, dtype, 0))
    assert is_direct(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_chunks, "_GAP", gap)
        patch.setattr(hdf5_chunks, "_RUN", run)
        with Hdf5Array(str(path), "data").opened() as read:
            for region in [*regions, ()]:
                assert_same(read(region), by_hdf5(path, region))


def write_plain(file: h5py.File) -> None:
    file["data"] = values((5, 6, 7), "u2", 0)


def write_unallocated(file: h5py.File) -> None:
    file.create_dataset("data", (5, 6), "f4", fillvalue=2.5)


def write_without_fill(file: h5py.File) -> None:
    file.create_dataset("data", (5, 6), "f4", chunks=(2, 3), fill_time="never")


def write_filters_left_out(file: h5py.File) -> None:
    data = file.create_dataset("data", (4, 600), "<u2", chunks=(1, 600), compression="gzip", shuffle=True)
    data[:2] = values((2, 600), "<u2", 0)  # deflate makes these longer, and is left out
    data[2] = 7
    data.id.write_direct_chunk((3, 0), np.arange(600, dtype="<u2").tobytes(), filter_mask=0b11)


def write_grown_and_cut(file: h5py.File) -> None:
    data = file.create_dataset("data", (5, 6), "i4", chunks=(2, 4), maxshape=(None, None), compression="lzf")
    data[:] = values((5, 6), "i4", 0)
    data.resize((9, 5))


DIRECT: Final[list[Callable[[h5py.File], None]]] = [
    write_plain,
    write_unallocated,
    write_without_fill,
    write_filters_left_out,
    write_grown_and_cut,
]


@pytest.mark.parametrize("write", DIRECT, ids=lambda write: write.__name__)
@pytest.mark.parametrize("version", ["earliest", "latest"])  # of the structures that say where chunks are
def test_read_directly(tmp_path: Path, write: Callable[[h5py.File], None], version: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=version) as file:
        write(file)
    assert is_direct(path)
    assert_same(Hdf5Array(str(path), "data")(()), by_hdf5(path))
    assert_same(Hdf5Array(str(path), "data")((slice(1, 3), slice(2, 5))), by_hdf5(path, np.s_[1:3, 2:5]))


def write_external(file: h5py.File) -> None:
    raw = Path(file.filename).with_suffix(".raw")
    values((5, 6), "u2", 0).tofile(raw)
    file.create_dataset("data", (5, 6), "u2", external=[(raw.name, 0, h5py.h5f.UNLIMITED)])


def write_virtual(file: h5py.File) -> None:
    file["part"] = values((5, 6), "u2", 0)
    layout = h5py.VirtualLayout((2, 5, 6), "u2", maxshape=(2, 5, 6))
    layout[1] = h5py.VirtualSource(file["part"])
    file.create_virtual_dataset("data", layout, fillvalue=3)


def write_compact(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    low = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, h5py.h5s.create_simple((5, 6)), plist)
    h5py.Dataset(low)[...] = values((5, 6), "u2", 0)


def write_twelve_bits(file: h5py.File) -> None:
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    low = h5py.h5d.create(file.id, b"data", kind, h5py.h5s.create_simple((5, 6)))
    h5py.Dataset(low)[...] = values((5, 6), "u2", 4000)


def write_bfloat16(file: h5py.File) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    low = h5py.h5d.create(file.id, b"data", kind, h5py.h5s.create_simple((5, 6)))
    h5py.Dataset(low).write_direct(values((5, 6), "f4", 40))


OTHERS: Final[list[Callable[[h5py.File], None]]] = [write_external, write_virtual, write_compact, write_twelve_bits, write_bfloat16]


@pytest.mark.parametrize("write", OTHERS, ids=lambda write: write.__name__)
def test_left_to_hdf5(tmp_path: Path, write: Callable[[h5py.File], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        write(file)
    assert not is_direct(path)
    assert_same(Hdf5Array(str(path), "data")(()), by_hdf5(path))
    assert_same(Hdf5Array(str(path), "data")((slice(1, 2), slice(2, 5))), by_hdf5(path, np.s_[1:2, 2:5]))


@pytest.mark.parametrize("options", LEFT_TO_HDF5.values(), ids=list(LEFT_TO_HDF5))
def test_filters_left_to_hdf5(tmp_path: Path, options: Mapping[str, Any]) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        low = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if options is LEFT_TO_HDF5["two compressors"]:
            low.set_chunk((2, 30))
            low.set_deflate(1)
            low.set_filter(32015, h5py.h5z.FLAG_MANDATORY, (3,))
            space = h5py.h5s.create_simple((5, 60))
            h5py.Dataset(h5py.h5d.create(file.id, b"data", h5py.h5t.STD_I32BE, space, low))[...] = values((5, 60), "i4", 9)
        else:
            file.create_dataset("data", data=values((5, 60), "i4", 9), chunks=(2, 30), **options)
    assert not is_direct(path)
    assert_same(Hdf5Array(str(path), "data")(()), by_hdf5(path))


def test_a_user_block(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["data"] = values((5, 6), "u2", 0)
        file.create_dataset("chunked", data=values((5, 6), "u2", 0), chunks=(2, 3))
    for name in ("data", "chunked"):
        assert_same(Hdf5Array(str(path), name)(()), values((5, 6), "u2", 0))


def test_a_group_in_another_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["entry/data"] = values((5, 6), "u2", 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry"] = h5py.ExternalLink("other.h5", "/entry")
    assert_same(Hdf5Array(str(tmp_path / "a.h5"), "/entry/data")(()), values((5, 6), "u2", 0))


def test_a_file_that_this_process_is_writing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values((5, 6), "u2", 0)
        file["data"][2] = 9  # not yet on disk
        assert Hdf5Array(str(tmp_path / "a.h5"), "data")((slice(2, 3),)).tolist() == [[9] * 6]


def test_chunks_too_small_to_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values((5, 6), "u2", 0), chunks=(1, 6), compression="gzip")
    monkeypatch.setattr(hdf5_chunks, "SMALLEST", 4096)
    assert not is_direct(path)
    assert_same(Hdf5Array(str(path), "data")(()), values((5, 6), "u2", 0))
