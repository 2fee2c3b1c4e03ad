"""Datasets of HDF5 read from the bytes of the file, against HDF5 itself."""

from __future__ import annotations

import itertools
import math
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import h5py
import hdf5plugin
import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pycroclass.errors import ReadError
from pycroclass.readers import hdf5_chunks
from pycroclass.readers import regions as reading_regions
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
    "shuffle bitshuffle lz4": {**hdf5plugin.Bitshuffle(nelems=16, cname="lz4"), "shuffle": True},
    "bitshuffle lz4 fletcher32": {**hdf5plugin.Bitshuffle(nelems=16, cname="lz4"), "fletcher32": True},
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
@given(stored(), st.sampled_from([0, 64, 1 << 20]), st.sampled_from([16, 64, 1 << 20]))
def test_one_piece(tmp_path: Path, dtype: str, case: Any, gap: int, run: int) -> None:
    shape, _, regions = case
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values(shape, dtype, 0))
    assert is_direct(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pycroclass.readers.regions._GAP", gap)
        patch.setattr("pycroclass.readers.regions._RUN", run)
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


def chunked(
    path: Path, options: Mapping[str, Any], shape: tuple[int, ...] = (4, 40, 50), chunks: tuple[int, ...] = (1, 40, 50)
) -> np.ndarray:
    """Write a dataset of counts."""
    counts = values(shape, "u2", 40)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=counts, chunks=chunks, **options)
    return counts


def place(path: Path, number: int) -> tuple[int, int]:
    """Offset and size of a chunk."""
    with h5py.File(path, "r") as file:
        found = file["data"].id.get_chunk_info(number)
    return found.byte_offset, found.size


COMPRESSED: Final = [name for name in FILTERS if name not in ("none", "shuffle", "bitshuffle")]
CHECKED: Final = [name for name in COMPRESSED if "fletcher32" in name or "deflate" in name]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("name", COMPRESSED)
def test_damage_is_an_error_where_a_decoder_can_tell(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS[name])
    offset, size = place(path, 2)
    overwrite(path, offset, b"\xf5" * size)
    load = Hdf5Array(str(path), "data")
    assert_same(load((slice(0, 2),)), counts[:2])
    with pytest.raises(ReadError, match="damaged"):
        load((slice(2, 3),))


@pytest.mark.parametrize("name", CHECKED)
def test_one_wrong_byte_is_seen_by_checksums(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    chunked(path, FILTERS[name])
    offset, size = place(path, 2)
    old = path.read_bytes()[offset + size // 2]
    overwrite(path, offset + size // 2, bytes([old ^ 0x10]))
    with pytest.raises(ReadError, match="damaged"):
        Hdf5Array(str(path), "data")((slice(2, 3),))


@pytest.mark.parametrize("name", COMPRESSED)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
@given(st.binary(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_no_damage_crashes_or_gives_other_sizes(tmp_path: Path, name: str, noise: bytes, where: float, cut: float) -> None:
    path = tmp_path / "a.h5"
    chunked(path, FILTERS[name], (2, 40, 50))
    with h5py.File(path, "r") as file:
        mask, chunk = file["data"].id.read_direct_chunk((0, 0, 0))
    at = int(where * len(chunk))
    broken = (chunk[:at] + noise + chunk[at + len(noise) :])[: int((1 - cut / 2) * len(chunk))]
    with h5py.File(path, "r+") as file:
        file["data"].id.write_direct_chunk((0, 0, 0), broken, mask)
    load = Hdf5Array(str(path), "data")
    for region in ((slice(0, 1),), (slice(0, 1), slice(10, 20), slice(3, 9))):
        try:
            assert load(region).shape == by_hdf5_shape(region)
        except ReadError as error:
            assert "damaged" in str(error)  # noqa: PT017  # either is right


def by_hdf5_shape(region: tuple[slice, ...]) -> tuple[int, ...]:
    return np.empty((2, 40, 50))[region].shape


@pytest.mark.parametrize("name", ["none", "deflate", "bitshuffle lz4"])
def test_a_file_cut_while_it_is_open(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS[name])
    with Hdf5Array(str(path), "data").opened() as read:
        assert_same(read((slice(0, 1),)), counts[:1])
        os.truncate(path, place(path, 3)[0] + 10)
        with pytest.raises(ReadError, match=r"the file ends at byte \d+, wanted \d+ more"):
            read((slice(3, 4),))


def test_a_chunk_of_the_wrong_size(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (2, 100), "u2", chunks=(1, 100))
        data.id.write_direct_chunk((0, 0), b"\1" * 150)
    with pytest.raises(ReadError, match="150 bytes"):
        Hdf5Array(str(path), "data")(())


def test_a_region_outside_says_that_the_file_changed(tmp_path: Path) -> None:
    chunked(tmp_path / "a.h5", {})
    with pytest.raises(ReadError, match=r"the dataset has shape \(4, 40, 50\), wanted .*slice\(3, 5"):
        Hdf5Array(str(tmp_path / "a.h5"), "data")((slice(3, 5),))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been written a minute ago."""
    monkeypatch.setattr(hdf5_chunks, "_SETTLED", 0.0)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", ["none", "shuffle deflate", "bitshuffle lz4", "lzf", "zstd"])
def test_nothing_waits_for_the_lock_of_hdf5(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS[name])
    load = Hdf5Array(str(path), "data")
    load((slice(0, 1),))  # learns where the chunks lie
    with ThreadPoolExecutor(1) as pool, h5py._objects.phil:
        assert_same(pool.submit(load, ()).result(timeout=60), counts)


def test_hdf5_itself_waits_for_its_lock(tmp_path: Path) -> None:
    """That the test above can fail."""
    path = tmp_path / "a.h5"
    chunked(path, LEFT_TO_HDF5["blosc2"])
    with ThreadPoolExecutor(1) as pool:
        with h5py._objects.phil:
            waiting = pool.submit(Hdf5Array(str(path), "data"), ())
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        waiting.result(timeout=60)


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files whose layout was looked up."""
    found: list[str] = []
    look_up = hdf5_chunks._look_up
    monkeypatch.setattr(hdf5_chunks, "_look_up", lambda path, *rest: (found.append(path), look_up(path, *rest))[1])
    return found


def test_the_place_of_chunks_is_looked_up_again_when_the_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    load = Hdf5Array(str(path), "data")
    monkeypatch.setattr(hdf5_chunks, "_SETTLED", 0.0)
    chunked(path, FILTERS["lzf"])
    load(())
    monkeypatch.undo()
    counts = chunked(path, FILTERS["deflate"], (6, 40, 50))
    assert_same(load(()), counts)  # changed just now
    monkeypatch.setattr(hdf5_chunks, "_SETTLED", 0.0)
    assert_same(load(()), counts)
    assert_same(load(()), counts)


def in_order(path: Path, order: Iterable[int]) -> None:
    """Four frames whose chunks lie in the file in this order; the time of change is set, as copying programs do."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (4, 128, 128), "u2", chunks=(1, 128, 128))
        for i in order:
            data[i] = i + 1
    os.utime(path, (1e9, 1e9))


@pytest.mark.usefixtures("settled")
def test_a_file_rewritten_with_its_old_size_and_time(tmp_path: Path, looked_up: list[str]) -> None:
    path = tmp_path / "a.h5"
    load = Hdf5Array(str(path), "data")
    for order in (range(4), reversed(range(4))):
        in_order(path, order)
        for _ in range(3):
            assert load(())[:, 0, 0].tolist() == [1, 2, 3, 4]
        time.sleep(0.02)  # longer than a tick of the file system's clock
    assert len(looked_up) == 2


def test_a_time_in_the_future_is_not_new_for_ever(tmp_path: Path, looked_up: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS["lzf"])
    os.utime(path, (time.time() + 3600,) * 2)
    later = time.time() + 60
    monkeypatch.setattr(hdf5_chunks, "time", SimpleNamespace(time=lambda: later))
    for _ in range(3):
        assert_same(Hdf5Array(str(path), "data")(()), counts)
    assert len(looked_up) == 1


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_file_put_in_the_place_of_one_just_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The bytes of one and the places of the other must not be put together."""
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    in_order(path, range(4))
    in_order(other, reversed(range(4)))
    monkeypatch.setattr(hdf5_chunks, "_SETTLED", seconds)
    look_up = hdf5_chunks._look_up

    def replaced(*arguments: Any) -> Any:
        if other.exists():
            other.rename(path)
        return look_up(*arguments)

    monkeypatch.setattr(hdf5_chunks, "_look_up", replaced)
    load = Hdf5Array(str(path), "data")
    with pytest.raises(ReadError, match="another file was put in its place"):
        load(())
    assert load(())[:, 0, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.usefixtures("settled")
def test_listing_the_chunks_of_one_file_stops_no_reader_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, ready = tmp_path / "slow.h5", tmp_path / "ready.h5"
    counts = {path: chunked(path, FILTERS["lzf"]) for path in (slow, ready)}
    Hdf5Array(str(ready), "data")(())
    listing, go_on = threading.Event(), threading.Event()
    look_up = hdf5_chunks._look_up

    def held(*arguments: Any) -> Any:
        listing.set()
        assert go_on.wait(60)
        return look_up(*arguments)

    monkeypatch.setattr(hdf5_chunks, "_look_up", held)
    monkeypatch.setattr(hdf5_chunks, "hash", lambda key: key[0] == str(ready), raising=False)  # not the same of the few locks by chance
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(Hdf5Array(str(slow), "data"), ())
        assert listing.wait(60)
        try:
            assert_same(pool.submit(Hdf5Array(str(ready), "data"), ()).result(timeout=60), counts[ready])
        finally:
            go_on.set()
        assert_same(waiting.result(timeout=60), counts[slow])


@pytest.mark.usefixtures("settled")
def test_many_threads_read_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS["shuffle deflate"], (24, 40, 50), (5, 40, 50))
    load = Hdf5Array(str(path), "data")

    def each(start: int) -> bool:
        with load.opened() as read:
            return all(np.array_equal(read((slice(i, i + 1),))[0], counts[i]) for i in range(start, 24, 2))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(each, [0, 1] * 8))


class Counted:
    """Counts the bytes that a pipeline decodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        decode = hdf5_chunks.Pipeline.decode

        def counting(*arguments: Any) -> Any:
            self.calls += 1
            return decode(*arguments)

        monkeypatch.setattr(hdf5_chunks.Pipeline, "decode", counting)


def test_a_chunk_of_many_frames_is_decoded_once_more_than_once_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS["shuffle deflate"], (32, 40, 50), (16, 20, 50))
    decoded = Counted(monkeypatch)
    with Hdf5Array(str(path), "data").opened() as read:
        for i in range(32):
            assert_same(read((slice(i, i + 1),)), counts[i : i + 1])
    assert decoded.calls <= 4 + 2  # the first two are decoded again before it is clear that chunks are asked for twice


def test_kept_chunks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS["lzf"], (8, 40, 50), (8, 20, 50))
    monkeypatch.setattr(hdf5_chunks, "_KEPT", 8 * 20 * 50 * 2)  # one of the two chunks
    with Hdf5Array(str(path), "data").opened() as read:
        for i in range(8):
            assert_same(read((slice(i, i + 1),)), counts[i : i + 1])
        assert len(read.__closure__[0].cell_contents._kept) == 1


def test_only_blocks_under_the_region_are_decoded(tmp_path: Path) -> None:
    """The others are overwritten with bytes that no decoder takes."""
    path = tmp_path / "a.h5"
    counts = chunked(path, FILTERS["bitshuffle lz4"], (1, 400, 300), (1, 400, 300))  # 30 blocks of 13.65 rows
    offset, _ = place(path, 0)
    content, at, lengths = path.read_bytes(), offset + 12, []
    for _ in range(30):
        lengths.append(int.from_bytes(content[at : at + 4], "big"))
        at += 4 + lengths[-1]
    starts = offset + 12 + np.cumsum([0, *(4 + n for n in lengths)])
    for i in (*range(10), *range(20, 30)):
        overwrite(path, int(starts[i]) + 4, b"\xff" * lengths[i])
    load = Hdf5Array(str(path), "data")
    assert_same(load((slice(0, 1), slice(140, 270), slice(5, 290))), counts[:, 140:270, 5:290])
    with pytest.raises(ReadError, match="damaged"):
        load((slice(0, 1), slice(130, 270)))


def test_reading_a_few_rows_reads_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = values((10, 300, 300), "u2", 0)
    fetched: list[int] = []
    fetch = reading_regions.fetch
    monkeypatch.setattr(reading_regions, "fetch", lambda file, offset, out: (fetched.append(len(out)), fetch(file, offset, out)))
    region = np.s_[2:4, 100:110, 50:90]
    assert_same(Hdf5Array(str(path), "data")(region), by_hdf5(path, region))
    assert fetched == [(9 * 300 + 40) * 2] * 2


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_block_that_lz4_neither_shrinks_nor_grows(tmp_path: Path, number: int) -> None:
    """HDF5's own LZ4 format, whose decoder is borrowed, would take it as not compressed."""
    rng = np.random.default_rng(0)
    sizes = [128, 128, 120]
    size = sizes[number]
    starts = ((rng.bytes(60), n) for n in range(4, 12))
    tries = (start + start[:n] + rng.bytes(size - 60 - n) for start, n in starts)  # what is found again saves what the lengths cost
    blocks = [imagecodecs.lz4_encode(bytes(n), header=False) for n in sizes]
    blocks[number] = next(packed for raw in tries if len(packed := imagecodecs.lz4_encode(raw, header=False)) == size)
    chunk = struct.pack(">QI", sum(sizes), 128) + b"".join(struct.pack(">I", len(one)) + one for one in blocks)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (376,), "u1", chunks=(376,), **hdf5plugin.Bitshuffle(nelems=128, cname="lz4"))
        data.id.write_direct_chunk((0,), chunk)
    assert_same(Hdf5Array(str(path), "data")(()), by_hdf5(path))


def test_a_chunk_that_is_too_short_when_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (2, 100), "u2", chunks=(1, 100), compression="gzip")
        data.id.write_direct_chunk((1, 0), zlib.compress(bytes(100)))
    message = r"a\.h5: dataset 'data' .*the chunk of shape \(1, 100\) from index \(1, 0\) on is damaged: it gives 100 bytes, wanted 200"
    with pytest.raises(ReadError, match=message):
        Hdf5Array(str(path), "data")(())
