"""Cutting a window out of images, and padding images to a size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_evenly_spaced, finite, holds, integers, number
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class Crop(Operator):
    """Cut a window of ``size`` pixels around ``centre`` out of each image.

    The first pixel kept is ``ceil(centre - size / 2)``, which for the middle of the image is ``(n - size) // 2``; no pixel is interpolated.
    ``(channel, y, x)`` becomes ``(channel, *size)``; axes and geometry follow.

    Parameters
    ----------
    size : int or (y, x)
        Of the window, in pixels.
    centre : (y, x) or "beam", optional
        Pixels, an integer is the centre of a pixel; ``"beam"`` is the beam centre of the dataset's geometry. By default the middle of
        the image.

    Raises
    ------
    ParameterError
        If size or centre cannot be understood.
    AxisError
        If the window sticks out of the image or has no panel, or the beam centre is not known.

    Examples
    --------
    >>> Crop(2).transform(torch.arange(16).reshape(1, 1, 4, 4)).tolist()
    [[[[5, 6], [9, 10]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    size: int | tuple[int, int]
    centre: tuple[float, float] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "size", integers("size", self.size))
        if self.centre is not None and self.centre != "beam":
            set_field(self, "centre", _point(self.centre))

    def bind(self, spec: Spec) -> Crop:
        """The crop with its centre in pixels."""
        if self.centre is None:
            height, width = spec.shape[-2:]
            return replace(self, centre=((height - 1) / 2, (width - 1) / 2))
        if self.centre == "beam":
            if spec.geometry is None:
                raise AxisError("centre='beam' needs a dataset whose geometry is known. Give centre=(y, x) in pixels.")
            if not isinstance(spec.geometry, Geometry):
                raise AxisError("centre='beam' needs a flat detector, and this one has panels. Put Assemble before it.")
            return replace(self, centre=spec.geometry.beam_centre)
        return self

    def output(self, spec: Spec) -> Spec:
        rows, columns = self.bind(spec)._window(*spec.shape[-2:])
        y, x = spec.axes[-2:]
        size = rows.stop - rows.start, columns.stop - columns.start
        geometry = spec.geometry and spec.geometry.cropped(rows.start, columns.start, size)
        return replace(spec.with_axes(y[rows], x[columns]), geometry=geometry)

    def part_taken(self, spec: Spec) -> tuple[slice, ...]:
        return (*(slice(None),) * (len(spec.axes) - 2), *self._window(*spec.shape[-2:]))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows, columns = self._window(*block.shape[-2:])
        return block[..., rows, columns]

    def _window(self, height: int, width: int) -> tuple[slice, slice]:
        if isinstance(self.centre, str):
            raise AxisError("centre='beam' must be bound to a dataset first: Crop(...).bind(spec)")
        centre = self.centre or ((height - 1) / 2, (width - 1) / 2)
        size = integers("size", self.size)
        y, x = (math.ceil(c - s / 2) for c, s in zip(centre, size, strict=True))
        if y < 0 or x < 0 or y + size[0] > height or x + size[1] > width:
            raise AxisError(
                f"a window of {size} pixels around {centre} sticks out of an image of {(height, width)}. "
                f"Make it smaller, move it, or put Pad before it."
            )
        return slice(y, y + size[0]), slice(x, x + size[1])


@dataclass(frozen=True)
class Pad(Operator):
    """Surround each image with pixels of one value: up to ``size`` (the image in the middle), or by ``width`` on each side.

    ``Crop`` to the former size takes the padding off again. ``(channel, y, x)`` becomes ``(channel, *size)``; axes and beam centre follow.

    Parameters
    ----------
    size : int or (y, x), optional
        Of the padded image, in pixels.
    width : int or (y, x), optional
        Pixels added on each side. Give either this or ``size``.
    fill : float
        Value of the new pixels.

    Raises
    ------
    ParameterError
        If not exactly one of size and width is given, or they cannot be understood.
    AxisError
        If the image is larger than ``size``, its axes are not evenly spaced, or its dtype cannot hold ``fill``.

    Examples
    --------
    >>> Pad(size=(1, 4), fill=9).transform(torch.zeros(1, 1, 1, 1)).tolist()
    [[[[9.0, 0.0, 9.0, 9.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    size: int | tuple[int, int] | None = None
    width: int | tuple[int, int] | None = None
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "fill", number("fill", self.fill))
        if (self.size is None) == (self.width is None):
            raise ParameterError(f"Pad takes either size or width, got size={self.size!r} and width={self.width!r}")
        for name, least in (("size", 1), ("width", 0)):
            if getattr(self, name) is not None:
                set_field(self, name, integers(name, getattr(self, name), least=least))

    def output(self, spec: Spec) -> Spec:
        if not holds(spec.dtype, self.fill):
            raise AxisError(f"images of {spec.dtype} cannot hold fill={self.fill!r}. Put Cast('float32') before Pad.")
        y, x = spec.axes[-2:]
        check_evenly_spaced(self, y, x)
        (top, bottom), (left, right) = self._widths(y.size, x.size)
        size = top + y.size + bottom, left + x.size + right
        geometry = spec.geometry and spec.geometry.cropped(-top, -left, size)
        return replace(spec.with_axes(_extended(y, top, bottom), _extended(x, left, right)), geometry=geometry)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        (top, bottom), (left, right) = self._widths(*block.shape[-2:])
        return torch.nn.functional.pad(block, (left, right, top, bottom), value=self.fill)

    def _widths(self, *shape: int) -> list[tuple[int, int]]:
        """Pixels to add before and after y, and before and after x."""
        if self.width is not None:
            return [(width, width) for width in integers("width", self.width, least=0)]
        missing = [wanted - n for wanted, n in zip(integers("size", self.size), shape, strict=True)]
        if min(missing) < 0:
            raise AxisError(f"an image of {shape} cannot be padded to {self.size}. Put Crop before Pad, or take a larger size.")
        return [(n // 2, n - n // 2) for n in missing]


def _point(value: Any) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ParameterError(f"centre must be (y, x) in pixels, 'beam' or None, got {value!r}")
    return finite("centre", value[0]), finite("centre", value[1])


def _extended(axis: Axis, before: int, after: int) -> Axis:
    return replace(axis, size=before + axis.size + after, offset=axis.offset - before * axis.step)
