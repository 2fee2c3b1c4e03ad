"""What is noted of the data that something was learned from or measured on."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.sid import provenance_of, unwrap
from pycroclass.source import source_of

_WHOLE: Final = 64 << 20
"""Up to so many bytes are looked at as a whole."""
_N_ROWS: Final = 64


def data_record(dataset: sidpy.Dataset) -> dict[str, Any]:
    """Where a dataset came from, with digests of its files; where it is not from files alone, with a digest of its ``values``.

    Returns
    -------
    dict
        As of `Provenance.to_dict`; JSON-ready. Equal for equal data.
    """
    origin = provenance_of(dataset).digested("sampled")
    record = origin.to_dict()
    return record if origin.is_replayable else record | {"values": digest_values(unwrap(dataset)[0])}


def digest_values(array: da.Array) -> str:
    """A digest of shape, dtype and values, for any chunks: ``sampled:`` and the SHA-256 of all of up to 64 MiB.

    Of a larger array it sees the first, the last and 62 evenly spaced positions of the first axis.
    """
    sha = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    rows = np.unique(np.linspace(0, len(array) - 1, _N_ROWS).astype(int))
    values = array.compute() if array.nbytes <= _WHOLE else _rows(array, rows)
    sha.update(np.ascontiguousarray(values).data)
    return f"sampled:{sha.hexdigest()}"


def _rows(array: da.Array, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Some positions of the first axis: from where they lie, if that is known, or else out of their chunks, each computed once."""
    source = source_of(array)
    if source is None:
        return np.asarray(array[rows].compute())
    rest = tuple(slice(0, n) for n in array.shape[1:])
    return np.concatenate([source.load((slice(row, row + 1), *rest)) for row in rows.tolist()]).astype(source.dtype, copy=False)
