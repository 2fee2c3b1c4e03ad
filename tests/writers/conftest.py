"""Small datasets that come from files, as `read` makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import sidpy

from pycroclass.provenance import FileStamp, Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

Make = Callable[..., sidpy.Dataset]

AXES = (
    Axis("row", 7, kind="spatial", quantity="distance", units="nm", offset=-2.0, step=0.5),
    Axis("col", 5, kind="spatial", quantity="distance", units="nm"),
    Axis("bias", 11, kind="spectral", quantity="voltage", units="V", explicit=np.linspace(-1, 1, 11) ** 3),
    Axis("cycle", 3, kind="spectral", quantity="cycle", units="1"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that stands for what was read."""
    path = tmp_path / "source.raw"
    path.write_bytes(bytes(range(256)))
    return path


@pytest.fixture
def make(source: Path) -> Make:
    """Build a lazy dataset of 1 to 4 axes, whose chunks do not divide it."""
    stamp = FileStamp.of(source)

    def build(values: npt.NDArray[Any] | da.Array, title: str = "µ-current/forward", **rest: Any) -> sidpy.Dataset:
        array = values if isinstance(values, da.Array) else da.from_array(values, chunks=3)
        spec = Spec(AXES[: array.ndim], array.dtype, quantity="current", units="nA", title=title)
        provenance = rest.pop("provenance", None) or Provenance("read", {"path": str(source), "key": "image"}, files=(stamp,))
        return wrap(array, spec, provenance=provenance, **rest)

    return build
