"""What an array means: its axes, their units, and which of them make one item."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pycroclass.array_value import frozen
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry

FloatArray = npt.NDArray[np.float64]
_PIECE: Final = 1 << 20


class AxisKind(StrEnum):
    """What an axis counts; the values are sidpy's dimension types in lower case."""

    UNKNOWN = "unknown"
    SPATIAL = "spatial"
    RECIPROCAL = "reciprocal"
    SPECTRAL = "spectral"
    TEMPORAL = "temporal"
    CHANNEL = "channel"
    POINT_CLOUD = "point_cloud"


class Domain(StrEnum):
    """What one item of an operator is; all other axes are navigation.

    ``PIXEL``: one value. ``SPECTRUM``: one axis. ``IMAGE``: ``(channel, y, x)``. ``ITEM``: a spectrum where the dataset has a
    spectral axis, else an image.
    """

    PIXEL = "pixel"
    SPECTRUM = "spectrum"
    IMAGE = "image"
    ITEM = "item"


def _is_even(array: FloatArray, step: float) -> bool:
    """Whether values are evenly spaced, to 1e-6 of a step; piece by piece, as an axis may count very many items."""
    for start in range(0, array.size, _PIECE):
        part = array[start : start + _PIECE]
        away = np.arange(start, start + part.size, dtype=np.float64)
        away *= step
        away += array[0]
        away -= part
        if not max(away.max(), -away.min()) <= 1e-6 * abs(step):  # false for NaN too
            return False
    return True


@dataclass(frozen=True, eq=False)
class Axis:
    """One named axis of an array.

    Its positions are ``offset + step * index``, or ``explicit`` values where they are not evenly spaced.

    Parameters
    ----------
    name : str
    size : int
    kind : AxisKind or str
    quantity, units : str
    offset, step : float
    explicit : array of float64, shape (size,), optional

    Examples
    --------
    >>> energy = Axis("energy", 2048, kind="spectral", quantity="energy loss", units="eV", offset=100.0, step=0.5)
    >>> energy.values[:3].tolist()
    [100.0, 100.5, 101.0]
    >>> energy.between(110, 120)
    slice(20, 41, None)
    """

    name: str
    size: int
    kind: AxisKind = AxisKind.UNKNOWN
    quantity: str = "generic"
    units: str = "generic"
    offset: float = 0.0
    step: float = 1.0
    explicit: FloatArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", AxisKind(self.kind))
        object.__setattr__(self, "size", int(self.size))
        if self.explicit is not None:
            values = frozen(self.explicit, np.float64)
            object.__setattr__(self, "explicit", values)
            if values.shape != (self.size,):
                raise ParameterError(f"axis {self.name!r} of {self.size} needs as many values, got shape {values.shape}")

    @classmethod
    def from_values(cls, name: str, values: npt.ArrayLike, **meaning: Any) -> Self:
        """An axis through ``values``: linear where they are evenly spaced (to 1e-6 of a step), else explicit.

        ``meaning`` is forwarded to `Axis` (kind, quantity, units).
        """
        array = np.asarray(values, dtype=np.float64).ravel()
        step = (array[-1] - array[0]) / (array.size - 1) if array.size > 1 else 1.0
        if array.size and step != 0 and _is_even(array, step):
            return cls(name, array.size, offset=float(array[0]), step=float(step), **meaning)
        return cls(name, array.size, explicit=array, **meaning)

    @property
    def values(self) -> FloatArray:
        """Position of each index, shape (size,), in ``units``."""
        if self.explicit is not None:
            return self.explicit
        values = np.arange(self.size, dtype=np.float64)
        values *= self.step
        values += self.offset
        return values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        same = (self.name, self.size, self.kind, self.quantity, self.units)
        if same != (other.name, other.size, other.kind, other.quantity, other.units):
            return False
        is_one_line = self.explicit is None and other.explicit is None and (self.offset, self.step) == (other.offset, other.step)
        return is_one_line or np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.name, self.size, self.kind, self.quantity, self.units))

    def __getitem__(self, key: slice) -> Axis:
        """The axis of the sliced array."""
        start, stop, stride = key.indices(self.size)
        size = len(range(start, stop, stride))
        if self.explicit is not None:
            return replace(self, size=size, explicit=self.explicit[key])
        return replace(self, size=size, offset=self.offset + start * self.step, step=self.step * stride)

    def binned(self, factor: int) -> Axis:
        """The axis after each ``factor`` neighbours became one; a rest that does not fill a bin is dropped."""
        size = self.size // factor
        if self.explicit is not None:
            return replace(self, size=size, explicit=self.explicit[: size * factor].reshape(size, factor).mean(1))
        return replace(self, size=size, offset=self.offset + self.step * (factor - 1) / 2, step=self.step * factor)

    def between(self, low: float, high: float) -> slice:
        """The indices whose positions lie in ``[low, high]``, both ends included.

        Raises
        ------
        AxisError
            If no position lies there.
        """
        low, high = min(low, high), max(low, high)
        slack = 1e-9 * max(abs(self.step), 1e-300)
        inside = np.flatnonzero((self.values >= low - slack) & (self.values <= high + slack))
        if inside.size == 0:
            raise AxisError(
                f"axis {self.name!r} runs from {self.values.min():g} to {self.values.max():g} {self.units}; "
                f"nothing lies between {low:g} and {high:g}"
            )
        if inside[-1] - inside[0] + 1 != inside.size:
            raise AxisError(f"axis {self.name!r} is not monotonic: the range {low:g} to {high:g} is not one piece of it")
        return slice(int(inside[0]), int(inside[-1]) + 1)


@dataclass(frozen=True)
class Spec:
    """What an array is: axes in order, dtype, quantity and units of its values.

    Parameters
    ----------
    axes : tuple of Axis
    dtype : numpy dtype
    quantity, units, title : str
    geometry : Geometry or PanelGeometry, optional
        Of the detector, where the image axes are detector pixels.
    classes : tuple of str
        Names of the classes that integer values stand for, or of the positions of a class axis.
    """

    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]
    quantity: str = "generic"
    units: str = "generic"
    title: str = "generic"
    geometry: DetectorGeometry | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "classes", tuple(str(c) for c in self.classes))
        if len(set(self.names)) != len(self.names):
            raise AxisError(f"axis names must differ, got {self.names}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes, in order."""
        return tuple(axis.size for axis in self.axes)

    def __getitem__(self, name: str) -> Axis:
        """The axis of that name.

        Raises
        ------
        AxisError
            If there is none.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise AxisError(f"no axis {name!r}: the axes are {', '.join(self.names) or 'none'}")

    def of_kind(self, *kinds: AxisKind) -> tuple[str, ...]:
        """Names of the axes of these kinds, in order."""
        return tuple(axis.name for axis in self.axes if axis.kind in kinds)

    def with_axes(self, *changed: Axis) -> Spec:
        """The same with axes replaced by those of equal name."""
        new = {axis.name: axis for axis in changed}
        return replace(self, axes=tuple(new.get(axis.name, axis) for axis in self.axes))

    def only(self, names: tuple[str, ...]) -> Spec:
        """The same with these axes alone, in this order."""
        return replace(self, axes=tuple(self[name] for name in names))

    def core(self, domain: Domain, axes: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Names of the axes that make one item of ``domain``.

        ``axes`` names them where the dataset is ambiguous. An image is ``(y, x)``, or ``(channel, y, x)`` where there is a channel
        axis; with both real-space and reciprocal axes (4-D STEM) the image is the reciprocal one; with two pairs of one kind (windows of
        an image) it is the second. Axes stored as ``x, y`` are taken as ``(y, x)`` by their names.

        Raises
        ------
        AxisError
            If the axes cannot be told.
        """
        if axes is not None:
            return tuple(self[name].name for name in axes)
        match domain:
            case Domain.PIXEL:
                return ()
            case Domain.SPECTRUM:
                return self._spectrum_axes()
            case Domain.IMAGE:
                return self._image_axes()
            case Domain.ITEM:
                return self._spectrum_axes() if self._has_spectrum() else self._image_axes()

    def _has_spectrum(self) -> bool:
        return bool(self.of_kind(AxisKind.SPECTRAL)) or len(self.axes) == 1

    def _spectrum_axes(self) -> tuple[str, ...]:
        names = self.of_kind(AxisKind.SPECTRAL)
        if not names and len(self.axes) == 1:
            names = self.names
        if len(names) != 1:
            raise AxisError(self._ambiguous("one spectral axis", names, "(name,)"))
        return names

    def _image_axes(self) -> tuple[str, ...]:
        plane = self._last_pair(AxisKind.RECIPROCAL) or self._last_pair(AxisKind.SPATIAL)
        if not plane:
            raise AxisError(self._ambiguous("two spatial or two reciprocal axes", plane, "(y, x) or (channel, y, x)"))
        if plane[0].lower().endswith("x") and plane[1].lower().endswith("y"):
            plane = plane[::-1]  # stored (x, y): an image is (y, x) by name, whatever its place in the array
        channel = self.of_kind(AxisKind.CHANNEL)
        return (*channel[:1], *plane) if len(channel) == 1 else plane

    def _last_pair(self, kind: AxisKind) -> tuple[str, ...]:
        """The two axes of a kind, or the second pair of them: the windows of an image have a pair for their places and one inside."""
        names = self.of_kind(kind)
        return names[-2:] if len(names) in (2, 4) else ()

    def _ambiguous(self, wanted: str, found: tuple[str, ...], form: str) -> str:
        axes = ", ".join(f"{a.name} ({a.kind}, {a.size})" for a in self.axes)
        return f"wanted {wanted}, found {len(found)} among the axes {axes}. Name the item's axes with axes={form}."
