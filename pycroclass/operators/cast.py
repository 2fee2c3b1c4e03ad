"""Changing the number type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class Cast(Operator):
    """Change the number type, as ``numpy.ndarray.astype`` does: fractions are cut off towards zero.

    Values that the new type cannot hold have no defined result; put `Clip` before. Operators after it compute in floating point again.

    Parameters
    ----------
    dtype : numpy dtype or its name

    Raises
    ------
    ParameterError
        If torch has no such number type.
    AxisError
        If complex data would lose their imaginary part.

    Examples
    --------
    >>> Cast("int16").transform(torch.tensor([1.9, -1.9])).tolist()
    [1, -1]
    """

    domain: ClassVar[Domain] = Domain.PIXEL
    takes_any_dtype: ClassVar[bool] = True

    dtype: npt.DTypeLike

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            set_field(self, "dtype", np.dtype(self.dtype).newbyteorder("="))
            _torch_dtype(np.dtype(self.dtype))
        except TypeError:
            raise ParameterError(f"dtype must be a number type such as 'float32' or 'uint16', got {self.dtype!r}") from None

    def output(self, spec: Spec) -> Spec:
        dtype = np.dtype(self.dtype)
        if spec.dtype.kind == "c" and dtype.kind != "c":
            raise AxisError(f"Cast from {spec.dtype} to {dtype} would lose the imaginary part. Take the modulus or the phase first.")
        return replace(spec, dtype=dtype)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return block.to(_torch_dtype(np.dtype(self.dtype)))


def _torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
