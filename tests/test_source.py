"""Tasks that read for themselves give what tasks that are given a block give, and read no more than they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import torch
from dask.highlevelgraph import HighLevelGraph
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.engine import fused, run
from pycroclass.operator import Composable, Operator, Pipeline
from pycroclass.operators import Crop, Log1p, RadialProfile, VirtualDetector, ZScore
from pycroclass.source import Load, Source, source_of
from pycroclass.spec import Axis, Domain, Spec
from pycroclass.stage import NO_ITEMS, Execution, plan

FRAMES = np.random.default_rng(0).integers(0, 999, (5, 3, 24, 26)).astype("u2")
READ: list[tuple[slice, ...]] = []


@dataclass(frozen=True)
class Recorded:
    """Frames that remember what was asked of them; a buffer that is used again, as a reader may."""

    key: int = 0

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        READ.append(part)
        return FRAMES[part].astype(">u2")

    @contextmanager
    def opened(self) -> Iterator[Load]:
        buffer = np.empty(FRAMES.shape, "u2")

        def load(part: tuple[slice, ...]) -> npt.NDArray[Any]:
            READ.append(part)
            found = FRAMES[part]
            there = buffer[tuple(slice(0, n) for n in found.shape)]
            there[...] = found
            return there

        yield load


def frames(chunks: tuple[int, int] = (2, 3)) -> tuple[da.Array, Spec]:
    source = Source(Recorded(), FRAMES.shape, np.dtype("u2"), (), (1, 1, 24, 26))
    array = source.lazy(da.core.normalize_chunks((*chunks, 24, 26), FRAMES.shape))
    axes = (Axis("run", 5, "temporal"), Axis("frame", 3, "temporal"), Axis("y", 24, "spatial"), Axis("x", 26, "spatial"))
    return array, Spec(axes, np.dtype("u2"), title="frames")


def computed(array: da.Array) -> npt.NDArray[Any]:
    """What the fused graph gives, put together from its blocks."""
    return _from(fused(array.dask), array)


def given_its_blocks(array: da.Array) -> npt.NDArray[Any]:
    """What the graph gives as it is: the plain twin."""
    return _from(array.dask, array)


def _from(graph: HighLevelGraph, array: da.Array) -> npt.NDArray[Any]:
    blocks = dask.get(graph.to_dict(), array.__dask_keys__())
    return np.block(_nested(blocks)) if array.ndim else blocks


def _nested(blocks: Any) -> Any:
    return [_nested(block) for block in blocks] if isinstance(blocks, list | tuple) else blocks


PIPELINES: list[Composable] = [
    Log1p(),
    Crop(8),
    Crop((10, 4), centre=(6, 20)) | Log1p(),
    Crop(12) | ZScore(),
    Crop(20) | Crop(6) | RadialProfile(centre=(2.5, 2.5)),
    ZScore() | Crop(8),
    VirtualDetector(np.eye(24, 26)[None], axes=("y", "x")),
]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
@settings(deadline=None, max_examples=12)
@given(chunks=st.tuples(st.integers(1, 5), st.integers(1, 3)), batch=st.sampled_from([1000, 7000, 10**6]))
def test_reading_in_the_task_changes_no_bit(pipeline: Composable, chunks: tuple[int, int], batch: int) -> None:
    array, spec = frames(chunks)
    plain, _ = run(pipeline, array, spec, Execution(device="cpu", batch_bytes=batch))[""]
    twin = given_its_blocks(plain)
    assert np.array_equal(computed(plain), twin, equal_nan=True)
    assert np.array_equal(plain.compute(scheduler="sync"), twin, equal_nan=True)


@dataclass(frozen=True)
class _Total(Operator):
    """Of float32 in float32: its last digits tell how the values lie in memory."""

    domain = Domain.IMAGE

    def output(self, spec: Spec) -> Spec:
        return replace(spec, axes=())

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return block.sum((1, 2, 3))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_window_of_a_block_in_memory_gives_the_bits_of_one_that_is_read(dtype: str) -> None:
    values = np.random.default_rng(0).random((4, 130, 140)).astype(dtype)
    stage, *_ = plan(
        Crop((100, 101)) | _Total(),
        Spec((Axis("frame", 4, "temporal"), Axis("y", 130, "spatial"), Axis("x", 140, "spatial")), values.dtype),
        Execution(device="cpu"),
    )
    read = stage.stream((4,), lambda part: values[part].copy(), NO_ITEMS)
    assert np.array_equal(stage(values, NO_ITEMS)[""], read[""])


@pytest.mark.parametrize("compute", [computed, lambda lazy: lazy.compute(scheduler="sync")], ids=["ours", "dask"])
def test_only_what_the_crop_takes_is_read_and_in_batches(compute: Callable[[da.Array], object]) -> None:
    array, spec = frames((5, 3))
    execution = Execution(device="cpu", batch_bytes=4 * 8 * 8 * 3)  # three items: one run of frames
    lazy, _ = run(Crop(8) | Log1p(), array, spec, execution)[""]
    READ.clear()
    compute(lazy)
    window = (slice(8, 16), slice(9, 17))
    assert [part[2:] for part in READ] == [window] * 5
    assert [part[0] for part in READ] == [slice(i, i + 1) for i in range(5)]


def test_blocks_are_sized_by_what_the_crop_takes() -> None:
    array, spec = frames((1, 1))
    execution = Execution(device="cpu", block_bytes=3 * 8 * 8 * 2)
    lazy, _ = run(Crop(8) | Log1p(), array, spec, execution)[""]
    assert lazy.numblocks == (5, 1, 1, 1)  # the three of a run in one block, where a whole one would be more than all of it
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), np.log1p(FRAMES[..., 8:16, 9:17]), rtol=1e-6)


def test_a_block_that_two_need_is_read_once() -> None:
    array, spec = frames()
    (first, _), (second, _) = run(Log1p(), array, spec)[""], run(Crop(8), array, spec)[""]
    both = da.concatenate([first[..., :8, :8], second])
    READ.clear()
    whole = computed(both)
    assert len(READ) == 1  # all of it is one block of the size that is wanted
    assert np.array_equal(whole, both.compute(scheduler="sync"))


def test_a_part_of_a_result_reads_that_part() -> None:
    array, spec = frames((1, 3))
    lazy, _ = run(Log1p(), array, spec, Execution(block_bytes=24 * 26 * 2 * 3))[""]
    READ.clear()
    part = lazy[3:4].compute(scheduler="sync")
    assert [read[0] for read in READ] == [slice(3, 4)]
    assert np.array_equal(part, given_its_blocks(lazy)[3:4])


def test_other_blocks_are_planned_not_rechunked() -> None:
    array, spec = frames((1, 1))
    lazy, _ = run(Pipeline((Log1p(),)), array, spec, Execution(device="cpu", block_bytes=24 * 26 * 2 * 6))[""]
    assert not any("rechunk" in name for name in lazy.dask.layers)
    assert lazy.npartitions == 15  # values one by one have no items that belong together


def test_the_source_of_an_array_is_known_as_long_as_it_is_nothing_else() -> None:
    array, _ = frames()
    assert source_of(array) is not None
    assert source_of(array + 1) is None
    assert source_of(da.from_array(FRAMES)) is None
