"""Files of Dragonfly's photons: read against files made by hand, written against numpy.fromfile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
from hypothesis import given, settings
from hypothesis import strategies as st

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError, PycroclassError, ReadError, WriteError
from pycroclass.per_item import take
from pycroclass.provenance import Provenance
from pycroclass.readers import detect, read, read_emc
from pycroclass.replay import Verdict
from pycroclass.sid import unwrap, wrap
from pycroclass.spec import Axis, Spec
from pycroclass.writers import write_emc

SHAPE = (6, 7)
PHOTONS = np.random.default_rng(0).choice([0, 0, 0, 1, 1, 2, 9, 70000], (11, *SHAPE)).astype("i4")
PHOTONS[3] = 0
PHOTONS[4] = 1


def dataset(values: np.ndarray, chunks: int = 3) -> sidpy.Dataset:
    names = ("frame", "module", "y", "x") if values.ndim == 4 else ("frame", "y", "x")
    kinds = ("temporal", *["unknown"] * (values.ndim - 3), "spatial", "spatial")
    axes = tuple(Axis(name, n, kind) for name, n, kind in zip(names, values.shape, kinds, strict=True))
    array = da.from_array(values, chunks=(chunks, *values.shape[1:]))
    return wrap(array, Spec(axes, values.dtype, units="photons"), provenance=Provenance("given", {}))


def by_hand(frames: np.ndarray) -> bytes:
    """The layout, written down number by number."""
    flat = frames.reshape(len(frames), -1)
    ones = [np.flatnonzero(frame == 1) for frame in flat]
    multi = [np.flatnonzero(frame > 1) for frame in flat]
    counts = [frame[pixels] for frame, pixels in zip(flat, multi)]
    numbers = [len(flat), flat.shape[1], 0, *[0] * 253, *map(len, ones), *map(len, multi)]
    return np.concatenate([numbers, *ones, *multi, *counts]).astype("<i4").tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i4", "u8", "f4", "f8", "bool"])
@pytest.mark.parametrize("chunks", [1, 3, 11])
def test_the_file_is_what_the_format_says(tmp_path: Path, chunks: int, dtype: str) -> None:
    frames = np.minimum(PHOTONS, 255 if dtype != "bool" else 1).astype(dtype)
    path = write_emc(dataset(frames, chunks), tmp_path / "a.emc")
    assert path.read_bytes() == by_hand(frames)
    assert [found.name for found in tmp_path.iterdir()] == ["a.emc"]


@pytest.mark.parametrize("ending", ["emc", "h5"])
def test_read_gives_back_what_was_written(tmp_path: Path, ending: str) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / f"a.{ending}")
    found = read_emc(path, shape=SHAPE)
    assert (found.dtype, found.shape, found.units) == (np.int32, PHOTONS.shape, "photons")
    np.testing.assert_array_equal(found.compute(), PHOTONS)
    assert [axis.name for axis in found._axes.values()] == ["frame", "y", "x"]
    np.testing.assert_array_equal(found[2:9, 1:4].compute(), PHOTONS[2:9, 1:4])
    np.testing.assert_array_equal(take(found, [7, 0, 4]).compute(), PHOTONS[[7, 0, 4]])


def test_a_binary_file_does_not_know_the_shape(tmp_path: Path) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.emc")
    assert detect(path).name == "EMC"
    found = read(path)["photons"]
    assert [axis.name for axis in found._axes.values()] == ["frame", "pixel"]
    np.testing.assert_array_equal(found.compute(), PHOTONS.reshape(11, -1))
    (named,) = read(f"{path}::6x7").values()
    np.testing.assert_array_equal(named.compute(), PHOTONS)


def test_hdf5_by_the_format(tmp_path: Path) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.h5")
    assert detect(path).name == "EMC HDF5"
    with h5py.File(path, "r") as file:
        assert file["num_pix"][()].tolist() == [42]
        for i, frame in enumerate(PHOTONS.reshape(11, -1)):
            np.testing.assert_array_equal(file["place_ones"][i], np.flatnonzero(frame == 1))
            np.testing.assert_array_equal(file["place_multi"][i], np.flatnonzero(frame > 1))
            np.testing.assert_array_equal(file["count_multi"][i], frame[frame > 1])
        assert all(h5py.check_vlen_dtype(file[name].dtype) == np.int32 for name in ("place_ones", "place_multi", "count_multi"))
    np.testing.assert_array_equal(read(path)["photons"].compute(), PHOTONS)


def test_modules(tmp_path: Path) -> None:
    frames = PHOTONS.reshape(11, 2, 3, 7)
    for name in ("a.emc", "a.h5"):
        found = read_emc(write_emc(dataset(frames), tmp_path / name), shape=(2, 3, 7))
        np.testing.assert_array_equal(found.compute(), frames)
        assert [axis.name for axis in found._axes.values()] == ["frame", "module", "y", "x"]


@pytest.mark.parametrize(("kind", "dtype"), [(1, "<i4"), (2, "<f8")])
def test_dense_files(tmp_path: Path, kind: int, dtype: str) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = 11, 42, kind
    (tmp_path / "a.emc").write_bytes(header.tobytes() + PHOTONS.astype(dtype).tobytes())
    found = read_emc(tmp_path / "a.emc", shape=SHAPE)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.compute(), PHOTONS)
    np.testing.assert_array_equal(found[4:6].compute(), PHOTONS[4:6])


@settings(max_examples=15)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=1, max_size=8), st.integers(1, 8))
    )
)
def test_any_photons_in_any_chunks(tmp_path_factory: pytest.TempPathFactory, case: tuple[list[list[int]], int]) -> None:
    rows, chunks = case
    values = np.array(rows)[:, None]
    folder = tmp_path_factory.mktemp("emc")
    for name in ("a.emc", "a.h5"):
        path = write_emc(dataset(values, chunks), folder / name)
        np.testing.assert_array_equal(read_emc(path, shape=values.shape[1:]).compute(), values)
    assert (folder / "a.emc").read_bytes() == by_hand(values)


def test_results_of_operators(tmp_path: Path) -> None:
    adu = dataset((PHOTONS[:, :, :] % 100 * 130.0 + 20).astype("f4"))
    path = write_emc(pc.ToPhotons(130)(adu), tmp_path / "a.emc")
    np.testing.assert_array_equal(read_emc(path, shape=SHAPE).compute(), PHOTONS % 100)


@pytest.mark.parametrize("wrong", [-1.0, 0.5, np.nan, np.inf, 3e9])
def test_what_is_no_count_is_refused_and_named(tmp_path: Path, wrong: float) -> None:
    values = PHOTONS.astype("f8")
    values[7, 2, 3] = wrong
    with pytest.raises(DataError, match=r"frame 7 has .* photons in pixel 17\b"):
        write_emc(dataset(values), tmp_path / "a.emc")
    assert not list(tmp_path.iterdir())


def test_negative_integers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="frame 0 has -1 photons in pixel 0"):
        write_emc(dataset(np.full((2, 1, 2), -1, "i2")), tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_what_are_no_frames_is_refused(tmp_path: Path) -> None:
    image = take(dataset(PHOTONS), [0])
    array, spec = unwrap(image)
    one = wrap(array[0], spec.only(("y", "x")), provenance=Provenance("given", {}))
    with pytest.raises(AxisError, match="first axis"):
        write_emc(one, tmp_path / "a.emc")
    with pytest.raises(AxisError, match="real photons"):
        write_emc(dataset(PHOTONS.astype("c8")), tmp_path / "a.emc")


def test_an_existing_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.emc"
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_emc(dataset(PHOTONS), path)
    assert path.read_bytes() == b"precious"
    write_emc(dataset(PHOTONS), path, overwrite=True)
    assert path.read_bytes() == by_hand(PHOTONS)


def cut(content: bytes) -> bytes:
    return content[:-4]


def no_counts(content: bytes) -> bytes:
    return content[:1030]


def outside(content: bytes) -> bytes:
    numbers = np.frombuffer(content, "<i4").copy()
    numbers[256 + 2 * 11] = 42
    return numbers.tobytes()


def negative(content: bytes) -> bytes:
    numbers = np.frombuffer(content, "<i4").copy()
    numbers[257] = -1
    return numbers.tobytes()


def other_kind(content: bytes) -> bytes:
    return content[:8] + b"\7\0\0\0" + content[12:]


def short(content: bytes) -> bytes:
    return b"notes on EMC"


@pytest.mark.parametrize("damage", [cut, no_counts, outside, negative, other_kind, short])
def test_damaged_files(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.emc"
    path.write_bytes(damage(by_hand(PHOTONS)))
    with pytest.raises(ReadError, match=r"a\.emc"):
        read(path)["photons"].compute()


def test_damaged_hdf5(tmp_path: Path) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["count_multi"]
    with pytest.raises(ReadError, match="no count_multi"):
        read(path)


@pytest.mark.parametrize("shape", [(5, 7), (6, 7, 1, 1), (42,), (-6, -7)])
def test_a_shape_that_does_not_fit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.emc")
    with pytest.raises(ParameterError, match="frame"):
        read_emc(path, shape=shape)


def test_results_can_be_replayed(tmp_path: Path) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.emc")
    pc.write({"binned": pc.Bin(2)(read_emc(path, shape=SHAPE))}, tmp_path / "out.h5")
    assert [report.verdict for report in pc.replay(tmp_path / "out.h5")] == [Verdict.IDENTICAL]
    with pytest.raises(PycroclassError):
        read(path, key="7")


def test_hdf5_is_known_whatever_its_name(tmp_path: Path) -> None:
    path = write_emc(dataset(PHOTONS), tmp_path / "a.h5").rename(tmp_path / "b.emc")
    assert detect(path).name == "EMC HDF5"
    np.testing.assert_array_equal(read(path)["photons"].compute(), PHOTONS)


@pytest.mark.shared
def test_real_frames_of_a_pnccd(shared: Path, tmp_path: Path) -> None:
    """Overflows are refused by their place; without bad pixels what is stored are the photons that a line of numpy counts."""
    folder, gain = shared / "diffraction" / "spi", 120.0
    adu, bad = np.load(folder / "test_adu.npy"), np.load(folder / "mask.npy") == 0
    photons = pc.ToPhotons(gain)(dataset(adu))
    frame, pixel = next((i, int(np.flatnonzero(np.isinf(one))[0])) for i, one in enumerate(adu) if np.isinf(one).any())
    with pytest.raises(DataError, match=f"frame {frame} has nan photons in pixel {pixel},"):
        write_emc(photons, tmp_path / "a.emc")
    bad |= np.isinf(adu).any(0)
    path = write_emc(pc.MaskPixels(bad, fill=0)(photons), tmp_path / "a.emc")
    with np.errstate(invalid="ignore"):
        wanted = np.where(bad | (adu < gain / 2), 0, np.floor(adu / np.float32(gain) + 0.5))
    np.testing.assert_array_equal(read_emc(path, shape=(260, 257)).compute(), wanted)
    assert path.stat().st_size < 0.5 * wanted.size * 4
