"""From the raw slab of a detector of panels to an image in which each pixel stands at its place, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import MODULE, Geometry, PanelGeometry
from pycroclass.geometry.assembly import Plane, Table, image_pixels, slab_pixels
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import finite, holds, integers
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Lookup = tuple[torch.Tensor, torch.Tensor]
"""For each pixel of the result the one that it is taken from, flat; and which of them are gaps."""


@dataclass(frozen=True)
class Assemble(Operator):
    """Frames of a detector of panels as images of the whole detector, each pixel at its place.

    A pixel of the image gets the value of the detector's pixel in which its centre lies, nothing is interpolated; where panels overlap,
    the first one counts. Pixels of the image are as large as those of the first panel and go through the centre of its first pixel; the
    image lies on the plane that `PanelGeometry.radius` counts on. Rows go along y, upwards, columns along x: show it with
    ``origin="lower"`` to look towards the source. ``(channel, ss, fs)`` becomes ``(channel, y, x)``, positions count from the beam in m,
    and the geometry is that of a flat detector.

    Parameters
    ----------
    fill : float, optional
        Value of pixels that lie on no panel. By default NaN; integers then become float32.
    geometry : PanelGeometry, optional
        Instead of the dataset's.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood.
    AxisError
        If there are no panels, they are not those of these images, or the dtype cannot hold ``fill``.

    Examples
    --------
    >>> from pycroclass.geometry import Panel, PanelGeometry
    >>> top = Panel("top", min_fs=0, max_fs=1, min_ss=0, max_ss=0, corner_x=-1, corner_y=1, res=1e4)
    >>> below = Panel("below", min_fs=0, max_fs=1, min_ss=1, max_ss=1, corner_x=1, corner_y=-1, fs=(-1, 0, 0), res=1e4)
    >>> Assemble(fill=0, geometry=PanelGeometry((top, below))).transform(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[4, 3], [0, 0], [1, 2]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    fill: float | None = None
    geometry: PanelGeometry | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fill(self)
        if self.geometry is not None:
            _check_panels(self.geometry)

    def bind(self, spec: Spec) -> Assemble:
        geometry = self.geometry or spec.geometry
        if not isinstance(geometry, PanelGeometry):
            raise AxisError(
                f"Assemble needs a detector of panels, the dataset has {'a flat one' if geometry else 'no geometry'}. "
                "Read it with read(..., geometry='file.geom'), or give geometry=PanelGeometry(...)."
            )
        geometry.check(spec.shape[-2:])
        return replace(self, geometry=geometry)

    def output(self, spec: Spec) -> Spec:
        geometry = _bound(self.bind(spec).geometry)
        _check_holds(self, spec)
        plane = Plane.of(geometry)
        flat = plane.geometry(geometry)
        axes = (_placed(axis, i, plane, flat) for i, axis in enumerate(spec.axes[-2:]))
        return replace(spec, axes=(*spec.axes[:-2], *axes), dtype=_dtype(self, spec), geometry=flat)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        table = _slab_pixels(_bound(self.geometry), (block.shape[-2], block.shape[-1]), block.device)
        return _taken(block, table, self.fill)


@dataclass(frozen=True)
class Disassemble(Operator):
    """Images of the whole detector, as `Assemble` makes them, back as what the detector writes.

    A pixel of the detector gets the value of the image's pixel that `Assemble` fills from it: assembling again gives the same image.
    Where panels are rotated, `Assemble` leaves some pixels of the detector out; they get the nearest value. ``(channel, y, x)`` becomes
    ``(channel, ss, fs)``, positions are in pixels.

    Parameters
    ----------
    geometry : PanelGeometry
    shape : (ss, fs), optional
        Of the result; by default the smallest that holds all panels.
    fill : float, optional
        Value of pixels in gaps. By default NaN; integers then become float32.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood.
    AxisError
        If the images have another shape than `Assemble` gives, the panels do not fit into ``shape``, or the dtype cannot hold ``fill``.

    Examples
    --------
    >>> from pycroclass.geometry import Panel, PanelGeometry
    >>> turned = Panel("0", min_fs=0, max_fs=1, min_ss=0, max_ss=0, corner_x=1, corner_y=0, fs=(-1, 0, 0), res=1e4)
    >>> Disassemble(PanelGeometry((turned,))).transform(torch.tensor([[[[1.0, 2.0]]]])).tolist()
    [[[[2.0, 1.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    geometry: PanelGeometry
    shape: tuple[int, int] | None = None
    fill: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fill(self)
        _check_panels(self.geometry)
        if self.shape is not None:
            set_field(self, "shape", integers("shape", self.shape))
        self.geometry.check(self.slab)

    @property
    def slab(self) -> tuple[int, int]:
        """``(ss, fs)`` of the result."""
        ss, fs = self.shape or self.geometry.slab_shape
        return ss, fs

    def output(self, spec: Spec) -> Spec:
        wanted = Plane.of(self.geometry).shape
        if spec.shape[-2:] != wanted:
            raise AxisError(f"images assembled with these panels have {wanted} pixels, these {spec.shape[-2:]}. Do not crop or bin before.")
        _check_holds(self, spec)
        axes = (
            Axis(axis.name, size, kind=AxisKind.SPATIAL, quantity="pixel", units="px")
            for axis, size in zip(spec.axes[-2:], self.slab, strict=True)
        )
        return replace(spec, axes=(*spec.axes[:-2], *axes), dtype=_dtype(self, spec), geometry=self.geometry)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return _taken(block, _image_pixels(self.geometry, self.slab, block.device), self.fill)


@dataclass(frozen=True)
class StackModules(Operator):
    """Modules of a detector, each an array of its own, as one image, one below the other: ``(module, y, x)`` becomes ``(module * y, x)``.

    Put it before operators that look at the whole detector, as radial ones do and `Assemble`. The geometry follows.

    Parameters
    ----------
    axes : (module, y, x)
        Names of these axes.

    Raises
    ------
    AxisError
        If there are no such axes.

    Examples
    --------
    >>> StackModules().transform(torch.arange(4).reshape(1, 2, 1, 2)).tolist()
    [[[0, 1], [2, 3]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    axes: tuple[str, ...] | None = field(default=(MODULE, "y", "x"), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axes is None or len(self.axes) != 3:
            raise ParameterError(f"axes must name three axes (module, y, x), got {self.axes!r}")

    def output(self, spec: Spec) -> Spec:
        module, y, x = spec.axes
        stacked = Axis(y.name, module.size * y.size, kind=AxisKind.SPATIAL, quantity="pixel", units="px")
        across = Axis(x.name, x.size, kind=AxisKind.SPATIAL, quantity="pixel", units="px")
        geometry = spec.geometry
        if isinstance(geometry, PanelGeometry) and geometry.n_modules:
            geometry.check(spec.shape)
            geometry = geometry.stacked(y.size)
        elif geometry is not None:
            geometry = None  # of one module alone
        return replace(spec, axes=(stacked, across), geometry=geometry)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return block.flatten(1, 2)


@lru_cache(maxsize=4)
def _slab_pixels(geometry: PanelGeometry, slab: tuple[int, int], device: torch.device) -> Lookup:
    return _lookup(slab_pixels(geometry, slab), device)


@lru_cache(maxsize=4)
def _image_pixels(geometry: PanelGeometry, slab: tuple[int, int], device: torch.device) -> Lookup:
    return _lookup(image_pixels(geometry, slab), device)


def _lookup(table: Table, device: torch.device) -> Lookup:
    pixels = torch.from_numpy(table).to(device)
    return pixels.flatten().clamp(min=0), pixels < 0


def _taken(block: torch.Tensor, lookup: Lookup, fill: float | None) -> torch.Tensor:
    """Pixels of ``(batch, channel, y, x)`` as the lookup says, and ``fill`` in gaps."""
    index, is_gap = lookup
    flat = block.flatten(2)
    is_whole = not (flat.is_complex() or flat.is_floating_point())
    bits = flat.view(_BITS[flat.element_size()]) if is_whole else flat  # torch has no arithmetic of uint16
    taken = bits.index_select(2, index).reshape(*block.shape[:2], *is_gap.shape)
    if fill is None:
        return floating(taken.view(flat.dtype)).masked_fill_(is_gap, torch.nan)
    value = torch.tensor(int(fill) if is_whole else fill, dtype=flat.dtype, device=flat.device).view(bits.dtype)
    return taken.masked_fill_(is_gap, value).view(flat.dtype)


def _bound(geometry: PanelGeometry | None) -> PanelGeometry:
    if geometry is None:
        raise AxisError("Assemble must be bound to a dataset first: Assemble(...).bind(spec)")
    return geometry


def _placed(axis: Axis, i: int, plane: Plane, flat: Geometry) -> Axis:
    """An axis of the assembled image: metres from the beam."""
    step = (flat.pixel_size or (1.0, 1.0))[i]
    return Axis(axis.name, plane.shape[i], kind=AxisKind.SPATIAL, quantity="position", units="m", offset=plane.first[i] * step, step=step)


def _check_fill(operator: Assemble | Disassemble) -> None:
    if operator.fill is not None:
        set_field(operator, "fill", finite("fill", operator.fill))


def _check_panels(geometry: Any) -> None:
    if not isinstance(geometry, PanelGeometry):
        raise ParameterError(f"geometry must be a PanelGeometry, got {geometry!r}")
    if geometry.n_modules:
        raise ParameterError("geometry must be that of one image (ss, fs), not of modules: take geometry.stacked(n_rows)")


def _check_holds(operator: Assemble | Disassemble, spec: Spec) -> None:
    if operator.fill is not None and not holds(spec.dtype, operator.fill):
        raise AxisError(
            f"images of {spec.dtype} cannot hold fill={operator.fill!r}. Leave fill out for NaN, or put Cast('float32') before."
        )


def _dtype(operator: Assemble | Disassemble, spec: Spec) -> np.dtype[Any]:
    return floating_dtype(spec.dtype) if operator.fill is None else spec.dtype
