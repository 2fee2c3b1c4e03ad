"""The meaning of several arrays shaped like one item: components, centres, end members."""

from __future__ import annotations

import numpy as np

from pycroclass.spec import Axis, AxisKind, Spec


def stack_axis(name: str, size: int, item: tuple[Axis, ...], first: int) -> Axis:
    """The axis that counts several arrays shaped like one item, of a kind that lets sidpy plot them: a stack of images or of spectra."""
    plane = sum(axis.kind in (AxisKind.SPATIAL, AxisKind.RECIPROCAL) for axis in item)
    kind = AxisKind.TEMPORAL if plane == 2 else AxisKind.CHANNEL
    return Axis(name, size, kind=kind, quantity=name, offset=first)


def stack_spec(axis: Axis, item: tuple[Axis, ...], title: str) -> Spec:
    """What float32 arrays shaped like one item are, stacked along ``axis``."""
    return Spec((axis, *item), np.dtype(np.float32), title=title)
