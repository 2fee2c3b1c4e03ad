"""One array of a file that had to be loaded whole, with all that its file says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pycroclass.spec import Spec


@dataclass(frozen=True, eq=False)
class Channel:
    """A loaded array and its meaning.

    Parameters
    ----------
    array : numpy array
        Read-only, in native byte order.
    spec : Spec
        Axes, units and title.
    metadata, original_metadata : mapping
        What the reader understood, and all that the file says.
    modality, source : str
        As in `sidpy.Dataset`.
    """

    array: npt.NDArray[Any]
    spec: Spec
    metadata: Mapping[str, Any]
    original_metadata: Mapping[str, Any]
    modality: str = "generic"
    source: str = "generic"
