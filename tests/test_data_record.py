"""The record of data tells other data apart, wherever they came from."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sidpy

from pycroclass import data_record as module
from pycroclass.data_record import data_record, digest_values
from pycroclass.per_item import take
from pycroclass.readers import read


def given(values: np.ndarray, chunks: int = 4) -> sidpy.Dataset:
    return sidpy.Dataset.from_array(values, chunks=(chunks, *values.shape[1:]))


def test_data_in_memory_are_known_by_their_values() -> None:
    values = np.random.default_rng(0).random((10, 3, 5))
    record = data_record(given(values))
    assert record == data_record(given(values.copy(), chunks=7))
    other = values.copy()
    other[6, 1, 2] += 1e-9
    records = [record, data_record(given(other)), data_record(take(given(values), [1, 2])), data_record(take(given(other), [6, 7]))]
    assert len({each["values"] for each in records}) == 4


def test_data_of_files_are_known_by_their_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 3)))
    (dataset,) = read(tmp_path / "a.npy").values()
    assert "values" not in data_record(dataset)
    assert data_record(dataset)["files"][0]["digest"].startswith("sampled:")
    assert "values" in data_record(dataset + 1)


def test_of_large_data_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WHOLE", 100)
    values = np.zeros((1000, 2))
    digests = set()
    for row in (None, 0, 999):
        changed = values.copy()
        if row is not None:
            changed[row] = 1
        digests |= {digest_values(da.from_array(changed, chunks=n)) for n in (1000, 17)}
    assert len(digests) == 3
    assert digest_values(da.zeros((5, 100))) != digest_values(da.zeros((4, 125)))
