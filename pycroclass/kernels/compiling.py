"""How kernels are compiled: without the interpreter's lock, so that tasks run beside each other, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function when it is first called; one thread, division as in NumPy."""
    return _compile(function, fastmath=False)


def compiled_sums(function: Function) -> Function:
    """As `compiled`, for a loop that adds up floats: they may be added in any order, several at once. NaN and inf keep their meaning."""
    return _compile(function, fastmath={"reassoc", "nsz", "contract"})


def _compile(function: Function, fastmath: bool | set[str]) -> Function:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return cast("Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder of this user or of the package can be written to: each process then compiles for itself
        return cast("Function", numba.njit(**options)(function))
