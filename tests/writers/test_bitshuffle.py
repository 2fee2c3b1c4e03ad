"""Chunks packed with bitshuffle and LZ4, against the plug-in of HDF5 and against our own decoder."""

from __future__ import annotations

import struct

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pycroclass.readers.hdf5_filters import Pipeline
from pycroclass.readers.regions import Scratch
from pycroclass.writers import bitshuffle
from pycroclass.writers.bitshuffle import FILTER, bitshuffle_lz4

SHAPES = [(1,), (7,), (8,), (15,), (37, 41), (4096,), (4097,), (130, 131)]


def in_a_file(values: np.ndarray, packed: bytes | None) -> h5py.Dataset:
    """A dataset in memory of one chunk: packed here, or by the plug-in."""
    file = h5py.File("packed.h5", "w", driver="core", backing_store=False)
    dataset = file.create_dataset("x", values.shape, values.dtype, chunks=values.shape, **FILTER)
    if packed is None:
        dataset[...] = values
    else:
        dataset.id.write_direct_chunk((0,) * values.ndim, packed)
    return dataset


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "i4", "f8", "c8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_plug_in_reads_what_we_pack(shape: tuple[int, ...], dtype: str) -> None:
    values = np.random.default_rng(1).poisson(3, shape).astype(dtype)
    dataset = in_a_file(values, bitshuffle_lz4(values))
    np.testing.assert_array_equal(dataset[...], values)
    dataset.file.close()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_noise_that_does_not_become_shorter(dtype: str) -> None:
    """Blocks that the quick way would store as they are, which this format does not know."""
    noise = np.random.default_rng(2).integers(0, 256, 50_000, "u1").view(dtype)
    mixed = noise.copy()
    mixed[: len(mixed) // 2] = 0
    for values in (noise, mixed):
        dataset = in_a_file(values, bitshuffle_lz4(values))
        assert dataset[...].tobytes() == values.tobytes()
        dataset.file.close()


def test_both_ways_give_the_same_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).poisson(1, (200, 311)).astype("u2")
    at_once = bitshuffle_lz4(values)
    monkeypatch.setattr(bitshuffle, "_lz4_at_once", lambda data, block: None)
    plainly = bitshuffle_lz4(values)
    for packed in (at_once, plainly):
        assert struct.unpack_from(">QI", packed) == (values.nbytes, 8192)
        dataset = in_a_file(values, packed)
        np.testing.assert_array_equal(dataset[...], values)
        dataset.file.close()


@given(hnp.arrays(st.sampled_from(["u1", "u2", "i4", "f8"]), st.integers(0, 3000), elements=st.integers(0, 100)))
def test_our_reader_gives_back_what_was_packed(values: np.ndarray) -> None:
    pipeline = Pipeline.of([(32008, (0, 4, values.dtype.itemsize, 0, 2))], values.dtype)
    assert pipeline is not None
    packed = np.frombuffer(bitshuffle_lz4(values), np.uint8).copy()
    decoded = pipeline.decode(packed, values.nbytes, 0, (0, values.nbytes), Scratch())
    assert decoded.tobytes() == values.tobytes()


def test_it_is_as_small_as_the_plug_in_makes_it() -> None:
    values = np.random.default_rng(4).poisson(2, (400, 400)).astype("u2")
    dataset = in_a_file(values, None)
    theirs = dataset.id.get_storage_size()
    dataset.file.close()
    assert len(bitshuffle_lz4(values)) < 1.05 * theirs
    assert hdf5plugin.BSHUF_ID == 32008
