"""Arrays as parameters: values that can be compared, hashed and named by a digest."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError


def frozen(values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """A copy that cannot be written to.

    Examples
    --------
    >>> frozen([0, 1], bool).flags.writeable
    False
    """
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


class ArrayValue:
    """An array that does not change, equal to another by content.

    Parameters
    ----------
    values : array_like
        Copied, in native byte order; a lazy dataset is computed.

    Raises
    ------
    ParameterError
        If the values are not numbers.

    Examples
    --------
    >>> mask = ArrayValue([[0, 1], [0, 0]])
    >>> mask == ArrayValue(np.array([[0, 1], [0, 0]]))
    True
    >>> mask.digest[:10]
    'sha256:339'
    """

    def __init__(self, values: npt.ArrayLike | ArrayValue) -> None:
        array = np.array(values.values if isinstance(values, ArrayValue) else values, order="C")
        if array.dtype.kind not in "biufc":
            raise ParameterError(f"an array parameter must hold numbers, got dtype {array.dtype}")
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        array.setflags(write=False)
        self.values: npt.NDArray[Any] = array

    @cached_property
    def digest(self) -> str:
        """``sha256:`` and the hash of dtype, shape and bytes."""
        sha = hashlib.sha256(f"{self.values.dtype.str} {self.values.shape} ".encode())
        sha.update(self.values.data if self.values.size else b"")
        return f"sha256:{sha.hexdigest()}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayValue) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"ArrayValue(shape={self.shape}, dtype={self.values.dtype}, digest={self.digest[:15]}…)"
