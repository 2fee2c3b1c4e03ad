"""Taking part of a dataset by the values of its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pycroclass.errors import ParameterError
from pycroclass.operator import Selection, set_field
from pycroclass.operators._checks import number
from pycroclass.spec import Spec

Range = tuple[float | None, float | None]


@dataclass(frozen=True, init=False)
class Select(Selection):
    """Keep the part of a dataset whose axis values lie in ranges, both ends included; the rest is never read.

    Axes may be of items or of navigation; axes not named are kept whole.

    Parameters
    ----------
    **ranges : (low, high)
        By axis name, in the units of the axis; ``None`` leaves an end open.

    Raises
    ------
    ParameterError
        If no axis is named, or a range is not two numbers.
    AxisError
        If the dataset has no such axis, or nothing lies in the range.

    Examples
    --------
    >>> from pycroclass.spec import Axis
    >>> spec = Spec((Axis("x", 5), Axis("energy", 1000, units="eV", offset=100, step=0.5)), "float32")
    >>> Select(energy=(300, 310), x=(None, 2)).slices(spec)
    {'energy': slice(400, 421, None), 'x': slice(0, 3, None)}
    """

    ranges: tuple[tuple[str, Range], ...]

    def __init__(self, *, axes: tuple[str, ...] | None = None, **ranges: Range) -> None:
        set_field(self, "axes", axes)
        set_field(self, "ranges", tuple((name, _range(name, value)) for name, value in ranges.items()))
        self.__post_init__()
        if not ranges:
            raise ParameterError("Select needs at least one range, such as Select(energy=(300, 800))")

    def slices(self, spec: Spec) -> dict[str, slice]:
        return {
            name: spec[name].between(-math.inf if low is None else low, math.inf if high is None else high)
            for name, (low, high) in self.ranges
        }


def _range(name: str, value: Any) -> Range:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ParameterError(f"the range of {name} must be (low, high), got {value!r}")
    low, high = (None if end is None else number(f"the range of {name}", end) for end in value)
    if low != low or high != high:
        raise ParameterError(f"the range of {name} must not be NaN, got {value!r}")
    return low, high
