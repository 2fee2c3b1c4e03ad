"""The engine: blocks, tiles, several outputs, order of axes, laziness."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dask
import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.engine import arrange, run
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Items, Operator, Selection
from pycroclass.reduction import Estimator
from pycroclass.spec import Axis, Domain, Spec
from pycroclass.stage import Execution, Stage, plan

SMALL = Execution(block_bytes=1200, batch_bytes=500)
STACK = Spec((Axis("frame", 11, "temporal"), Axis("y", 13, "spatial"), Axis("x", 17, "spatial")), np.dtype("float32"))
CUBE = Spec((Axis("y", 11, "spatial"), Axis("x", 13, "spatial"), Axis("energy", 17, "spectral", units="eV")), np.dtype("float32"))
VALUES = np.random.default_rng(0).random((11, 13, 17), dtype=np.float32)


@dataclass(frozen=True)
class _Double(Operator):
    domain = Domain.PIXEL

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return block * 2


@dataclass(frozen=True)
class _Neighbours(Operator):
    """Each value plus its left neighbour; the first one plus itself."""

    domain = Domain.IMAGE

    def halo(self) -> int:
        return 1

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return block + torch.cat([block[..., :1], block[..., :-1]], -1)


@dataclass(frozen=True)
class _SumAndTwice(Operator):
    domain = Domain.ITEM

    def output(self, spec: Spec) -> dict[str, Spec]:
        return {"sum": replace(spec, axes=()), "twice": spec}

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": block.flatten(1).sum(1), "twice": block * 2}


@dataclass(frozen=True)
class _Index(Operator):
    domain = Domain.IMAGE

    def output(self, spec: Spec) -> Spec:
        return replace(spec, axes=(), dtype=np.dtype("int64"))

    def apply(self, block: torch.Tensor, items: Items) -> torch.Tensor:
        return torch.from_numpy(items.index)


@dataclass(frozen=True)
class _Every(Selection):
    def slices(self, spec: Spec) -> dict[str, slice]:
        return {"frame": slice(2, 7)}


def chunkings(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*(st.integers(1, n) for n in shape))


@settings(max_examples=20, deadline=None)
@given(chunkings(VALUES.shape))
def test_any_chunking_gives_the_same(chunks: tuple[int, ...]) -> None:
    results = run(_Double() | _Neighbours() | _SumAndTwice(), da.from_array(VALUES, chunks=chunks), STACK, SMALL)
    expected = 2 * VALUES + np.concatenate([2 * VALUES[..., :1], 2 * VALUES[..., :-1]], -1)
    np.testing.assert_array_equal(results["twice"][0], 2 * expected)
    np.testing.assert_allclose(results["sum"][0], expected.sum((1, 2)), rtol=1e-6)
    assert results["sum"][1].names == ("frame",)


@settings(max_examples=20, deadline=None)
@given(chunkings(VALUES.shape))
def test_tiles_with_a_halo_equal_the_whole(chunks: tuple[int, ...]) -> None:
    ((result, spec),) = run(_Neighbours() | _Neighbours(), da.from_array(VALUES, chunks=chunks), STACK, SMALL).values()

    def once(a: np.ndarray) -> np.ndarray:
        return a + np.concatenate([a[..., :1], a[..., :-1]], -1)

    np.testing.assert_array_equal(result, once(once(VALUES)))
    assert spec == STACK


def test_tiles_stay_tiles() -> None:
    array = da.from_array(VALUES, chunks=(4, 7, 6))
    ((result, _),) = run(_Neighbours(), array, STACK, Execution(block_bytes=600)).values()
    assert max(result.numblocks[1:]) > 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 7), st.integers(1, 4000))
def test_blocks_that_are_too_large_are_split(sizes: list[int], width: int, n_bytes: int) -> None:
    values = np.arange(sum(sizes) * width * 3.0).reshape(-1, width, 3)
    array = da.from_array(values, chunks=(tuple(sizes), (width,), (3,)))
    spec = Spec((Axis("y", len(values)), Axis("x", width), Axis("energy", 3)), np.dtype("float64"))
    split = arrange(array, spec, ("energy",), Execution(block_bytes=n_bytes))
    np.testing.assert_array_equal(split.compute(), values)
    assert all(24 * np.prod([max(c) for c in part]) <= max(2 * n_bytes, 24) for part in [split.chunks[:2]])


def test_blocks_of_what_is_in_memory_are_views_of_it() -> None:
    values = np.zeros((4000, 5))
    spec = Spec((Axis("item", 4000), Axis("energy", 5)), np.dtype("float64"))
    split = arrange(da.from_array(values, chunks=-1), spec, ("energy",), Execution(block_bytes=10_000))
    blocks = dask.get(split.__dask_graph__(), split.__dask_keys__())
    assert len(blocks) > 10
    assert all(np.shares_memory(block[0], blocks[0][0].base) for block in blocks)


def test_surviving_axes_keep_their_order() -> None:
    array = da.from_array(VALUES, chunks=(4, 5, 6))
    ((result, spec),) = run(_Neighbours(), array, CUBE, SMALL).values()
    assert spec == CUBE
    shifted = np.concatenate([VALUES[:, :1], VALUES[:, :-1]], 1)
    np.testing.assert_array_equal(result, VALUES + shifted)


def test_items_know_their_index() -> None:
    array = da.from_array(np.zeros((3, 5, 4, 4), np.float32), chunks=(2, 2, 4, 4))
    spec = Spec((Axis("a", 3), Axis("b", 5), Axis("y", 4, "spatial"), Axis("x", 4, "spatial")), np.dtype("float32"))
    ((result, _),) = run(_Index(), array, spec, Execution(block_bytes=256)).values()
    assert result.npartitions > 1
    np.testing.assert_array_equal(result, np.arange(15).reshape(3, 5))


def test_a_selection_reads_nothing_else() -> None:
    asked = []

    def load(block_id: tuple[int, ...]) -> np.ndarray:
        asked.append(block_id[0])
        return VALUES[block_id[0] : block_id[0] + 1]

    array = da.map_blocks(load, chunks=((1,) * 11, (13,), (17,)), dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    ((result, spec),) = run(_Every() | _Double(), array, STACK).values()
    np.testing.assert_array_equal(result, 2 * VALUES[2:7])
    assert sorted(asked) == [2, 3, 4, 5, 6]
    assert spec["frame"].values.tolist() == [2, 3, 4, 5, 6]


def test_nothing_computes_before_it_must() -> None:
    def scheduler(*_: object, **__: object) -> None:
        raise AssertionError("something computed")

    with dask.config.set(scheduler=scheduler):
        run(_Every() | _Double() | _Neighbours() | _SumAndTwice(), da.from_array(VALUES), STACK)


def test_outputs_share_their_tasks() -> None:
    calls = []

    def load(block_id: tuple[int, ...]) -> np.ndarray:
        calls.append(block_id)
        return np.ones((4, 13, 17), np.float32)

    array = da.map_blocks(load, chunks=((4, 4), (13,), (17,)), dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    spec = STACK.with_axes(Axis("frame", 8, "temporal"))
    results = run(_SumAndTwice(), array, spec, Execution(block_bytes=4000))
    dask.compute(*(lazy for lazy, _ in results.values()))
    assert len(calls) == 2


def test_consecutive_operators_are_one_stage() -> None:
    stages = plan(_Double() | _Neighbours() | _Double() | _SumAndTwice(), STACK)
    assert len(stages) == 1
    assert isinstance(stages[0], Stage)
    assert stages[0].core == ("y", "x")


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", ">u2", "u4", "i8", ">f4", "f8", "c8"])
def test_dtypes_of_files(dtype: str) -> None:
    values = (VALUES * 100).astype(dtype)
    spec = replace(STACK, dtype=np.dtype(dtype).newbyteorder("="))
    ((result, _),) = run(_Double(), da.from_array(values, chunks=(3, 13, 17)), spec, SMALL).values()
    assert result.dtype == result.compute().dtype == spec.dtype
    if dtype not in ("bool", "u1"):
        np.testing.assert_allclose(result, values.astype(spec.dtype) * 2)


def test_axes_that_do_not_fit() -> None:
    spec = Spec((Axis("a", 11), Axis("b", 13), Axis("c", 17)), np.dtype("float32"))
    with pytest.raises(AxisError, match=r"axes=\(y, x\)"):
        run(_Neighbours(), da.from_array(VALUES), spec)
    ((result, _),) = run(_Neighbours(axes=("b", "c")), da.from_array(VALUES), spec).values()
    assert result.shape == VALUES.shape


def test_an_estimator_must_be_fitted() -> None:
    @dataclass(frozen=True)
    class _Learner(Estimator):
        def fit(self, data: object, spec: Spec) -> Operator:
            return _Double()

    with pytest.raises(ParameterError, match=r"pycroclass\.fit"):
        run(_Learner(), da.from_array(VALUES), STACK)


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    ((result, _),) = run(_Double(), da.from_array(VALUES), STACK, Execution(device="cuda")).values()
    with pytest.raises(ParameterError, match="no CUDA device"):
        result.compute()
