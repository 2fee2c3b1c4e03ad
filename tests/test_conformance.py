"""What every operator promises, tried on each line of `cases`."""

from __future__ import annotations

import json
import pickle
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import CASES, Case
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass import engine, operators
from pycroclass.operator import Items, Operator, Selection
from pycroclass.provenance import Provenance
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import unwrap, wrap
from pycroclass.spec import Axis, Domain, Spec
from pycroclass.stage import Execution

Results = dict[str, tuple[npt.NDArray[Any], Spec]]
SMALL = Execution(device="cpu", block_bytes=2000, batch_bytes=1500)
"""Several blocks and batches even of data as small as these."""

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_computing_case = pytest.mark.parametrize("case", [c for c in CASES if not isinstance(c.operator, Selection)], ids=str)


def through_engine(case: Case, chunks: tuple[int, ...] | None = None, execution: Execution = SMALL) -> Results:
    array = da.from_array(case.values, chunks=chunks or case.values.shape)
    lazy = engine.run(case.operator, array, case.spec, execution)
    computed = dask.compute({name: array for name, (array, _) in lazy.items()}, scheduler="synchronous")[0]
    return {name: (computed[name], spec) for name, (_, spec) in lazy.items()}


def plainly(case: Case) -> Results:
    """The plain twin of the engine: one item after the other, no dask, no batches."""
    operator, spec = case.operator, case.spec
    core = spec.core(operator.domain, operator.axes)
    navigation = tuple(name for name in spec.names if name not in core)
    items = case.values.transpose([spec.names.index(name) for name in (*navigation, *core)])
    shape = items.shape[: len(navigation)]
    bound, item = bind(operator, spec.only(core))
    declared = bound.output(item)
    outputs = declared if isinstance(declared, dict) else {"": declared}
    answers: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in outputs}
    for number, where in enumerate(np.ndindex(shape)):
        block = torch.from_numpy(items[where].reshape(1, *item.shape).copy())
        answer = bound.apply(block, Items(np.array([number])))
        for name, tensor in (answer if isinstance(answer, dict) else {"": answer}).items():
            answers[name].append(tensor[0].numpy())
    return {name: arranged(answers[name], shape, navigation, spec, out) for name, out in outputs.items()}


def bind(operator: Operator, item: Spec) -> tuple[Operator, Spec]:
    if operator.domain is Domain.IMAGE and len(item.axes) == 2:
        item = Spec((Axis("channel", 1, "channel"), *item.axes), item.dtype, item.quantity, item.units, item.title, item.geometry)
    return operator.bind(item), item


def arranged(
    answers: list[npt.NDArray[Any]], shape: tuple[int, ...], navigation: tuple[str, ...], spec: Spec, out: Spec
) -> tuple[npt.NDArray[Any], Spec]:
    """Answers of all items as one array: a channel that was added goes, old axes stand where they were, new ones follow."""
    array = np.array(answers).reshape(*shape, *answers[0].shape)
    axes = [*(spec[name] for name in navigation), *out.axes]
    if "channel" in out.names and "channel" not in spec.names:
        array = array.squeeze(len(shape) + out.names.index("channel"))
        axes = [axis for axis in axes if axis.name != "channel"]
    order = sorted(range(len(axes)), key=lambda i: spec.names.index(axes[i].name) if axes[i].name in spec.names else len(spec.names))
    return array.transpose(order), spec.only(()) if not axes else Spec(tuple(axes[i] for i in order), out.dtype)


def assert_same(got: Results, wanted: Results, tolerance: float) -> None:
    assert list(got) == list(wanted)
    for name, (array, spec) in wanted.items():
        assert got[name][1].axes == spec.axes
        if array.dtype.kind in "biu":
            np.testing.assert_array_equal(got[name][0], array)
        else:
            largest = np.abs(array, where=np.isfinite(array), out=np.zeros(array.shape)).max(initial=0)
            np.testing.assert_allclose(got[name][0], array, rtol=tolerance, atol=tolerance * largest)


def test_every_operator_has_a_case() -> None:
    assert {type(case.operator).__name__ for case in CASES} == set(operators.__all__)


@each_case
@settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_chunking_gives_the_same(case: Case, data: st.DataObject) -> None:
    chunks = data.draw(st.tuples(*(st.integers(-(-n // 4), n) for n in case.values.shape)))
    assert_same(through_engine(case, chunks), through_engine(case), case.operator.tolerance)


@each_computing_case
def test_engine_equals_its_plain_twin(case: Case) -> None:
    assert_same(through_engine(case), plainly(case), case.operator.tolerance)


@each_case
def test_equal_blocks_give_equal_bits(case: Case) -> None:
    chunks = tuple(-(-n // 2) for n in case.values.shape)
    first, second = through_engine(case, chunks), through_engine(case, chunks)
    for name, (array, _) in first.items():
        assert array.tobytes() == second[name][0].tobytes()


@each_case
def test_result_is_what_was_declared(case: Case) -> None:
    for array, spec in through_engine(case).values():
        assert (array.shape, array.dtype) == (spec.shape, spec.dtype)


@each_computing_case
def test_transform_keeps_its_word_and_its_input(case: Case) -> None:
    operator, item = bind(case.operator, case.spec.only(case.spec.core(case.operator.domain, case.operator.axes)))
    values = np.resize(case.values, (3, *item.shape))
    block = torch.from_numpy(values.copy())
    answer, declared = operator.apply(block, Items(np.arange(3))), operator.output(item)
    np.testing.assert_array_equal(block.numpy(), values)
    answers = answer if isinstance(answer, dict) else {"": answer}
    outputs = declared if isinstance(declared, dict) else {"": declared}
    assert {k: (tuple(t.shape), t.numpy().dtype) for k, t in answers.items()} == {k: ((3, *s.shape), s.dtype) for k, s in outputs.items()}


@each_case
def test_nothing_computes_before_it_must(case: Case) -> None:
    def fail(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        raise AssertionError("computed too early")

    array = da.from_array(case.values, chunks=3).map_blocks(fail, dtype=case.values.dtype, meta=np.empty((0,) * case.values.ndim))
    for result, _ in engine.run(case.operator, array, case.spec, SMALL).values():
        with pytest.raises(AssertionError, match="computed too early"):
            result.compute(scheduler="synchronous")


@each_case
def test_runs_on_a_sidpy_dataset(case: Case) -> None:
    dataset = wrap(da.from_array(case.values, chunks=4), case.spec, provenance=Provenance("given", {}))
    results = case.operator(dataset)
    for name, result in (results if isinstance(results, dict) else {"": results}).items():
        array, spec = unwrap(result)
        wanted, declared = through_engine(case)[name]
        assert (spec.names, spec.shape, spec.dtype, spec.units) == (declared.names, declared.shape, declared.dtype, declared.units)
        np.testing.assert_allclose(array.compute(scheduler="synchronous"), wanted, rtol=1e-4, atol=1e-4 * np.nanmax(np.abs(wanted)))


@each_case
def test_pickle_and_json_give_it_back(case: Case) -> None:
    assert pickle.loads(pickle.dumps(case.operator)) == case.operator
    steps, arrays = to_dict(case.operator)
    (back,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert back == case.operator
    assert (to_dict(back)[0], hash(back)) == (steps, hash(case.operator))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_case
def test_gpu_equals_cpu(case: Case) -> None:
    on_gpu = through_engine(case, execution=Execution(device="cuda", block_bytes=2000, batch_bytes=1500))
    assert_same(on_gpu, through_engine(case), case.operator.tolerance)
