"""What a model asks of the items it is given: their axes, sizes, kinds and units, as a value that travels with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pycroclass.errors import AxisError
from pycroclass.operator import set_field
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_UNKNOWN_UNITS: Final = frozenset({"", "generic"})


@dataclass(frozen=True)
class ItemAxis:
    """What a bundle asks of one axis of an item.

    Parameters
    ----------
    name : str
        For messages; another name will do.
    size : int, optional
        None where any size will do.
    kind : AxisKind or str
        By default unknown: any kind will do.
    units : str
        Compared where both are known.
    limits : tuple of float, optional
        First and last position of a spectral axis, in ``units``.
    """

    name: str
    size: int | None = None
    kind: AxisKind = AxisKind.UNKNOWN
    units: str = "generic"
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        set_field(self, "kind", AxisKind(self.kind))
        if self.limits is not None:
            low, high = self.limits
            set_field(self, "limits", (float(low), float(high)))

    @classmethod
    def of(cls, axis: Axis, *, is_free: bool = False) -> Self:
        """What ``axis`` is; of any size if it is free."""
        if is_free:
            return cls(axis.name, None, axis.kind, axis.units)
        is_spectral = axis.kind is AxisKind.SPECTRAL and axis.size > 0
        return cls(axis.name, axis.size, axis.kind, axis.units, (axis.values[0], axis.values[-1]) if is_spectral else None)

    def differences(self, axis: Axis) -> list[str]:
        """In what another axis differs, in words."""
        found = []
        if self.size not in (None, axis.size):
            found.append(f"axis {axis.name!r} has {axis.size} points, wanted {self.size} ({self.name!r})")
        if self.kind not in (AxisKind.UNKNOWN, axis.kind):
            found.append(f"axis {axis.name!r} is {axis.kind}, wanted {self.kind} ({self.name!r})")
        if self.units != axis.units and not {self.units, axis.units} & _UNKNOWN_UNITS:
            found.append(f"axis {axis.name!r} is in {axis.units}, wanted {self.units}")
        if self.limits is not None and not found:
            low, high = axis.values[0], axis.values[-1]
            step = abs(self.limits[1] - self.limits[0]) / max(1, axis.size - 1)
            if max(abs(low - self.limits[0]), abs(high - self.limits[1])) > step / 2:
                wanted = f"{self.limits[0]:g} to {self.limits[1]:g}"
                found.append(f"axis {axis.name!r} runs from {low:g} to {high:g} {axis.units}, wanted {wanted}")
        return found


@dataclass(frozen=True)
class ItemSpec:
    """What one item of the data must be, before any preprocessing.

    Parameters
    ----------
    domain : Domain or str
        What makes an item: an image ``(channel, y, x)``, where one without a channel axis counts as channel 1, or a spectrum.
    axes : tuple of ItemAxis
    core : tuple of str, optional
        Names of the item's axes, where the dataset leaves a doubt.

    Examples
    --------
    >>> item = ItemSpec("spectrum", (ItemAxis("energy", 100, "spectral", "eV", (0, 99)),))
    >>> item.check(Spec((Axis("energy", 100, kind="spectral", units="keV"),), "float32"))
    Traceback (most recent call last):
    ...
    pycroclass.errors.AxisError: the data do not fit: axis 'energy' is in keV, wanted eV
    """

    domain: Domain
    axes: tuple[ItemAxis, ...]
    core: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        set_field(self, "domain", Domain(self.domain))
        set_field(self, "axes", tuple(self.axes))

    @classmethod
    def of(cls, spec: Spec, domain: Domain, core: tuple[str, ...] | None = None, *, free: tuple[str, ...] = ()) -> Self:
        """What the items of a dataset are; the axes named ``free`` may have any size."""
        axes = tuple(ItemAxis.of(axis, is_free=axis.name in free) for axis in _item(spec, domain, core))
        return cls(domain, axes, core)

    def check(self, spec: Spec) -> None:
        """Refuse a dataset with other items.

        Raises
        ------
        AxisError
            Naming all that differs: number of axes, sizes, kinds, units, limits.
        """
        axes = _item(spec, self.domain, self.core)
        if len(axes) != len(self.axes):
            wanted = ", ".join(axis.name for axis in self.axes)
            raise AxisError(f"items have the axes ({', '.join(axis.name for axis in axes)}), wanted ({wanted})")
        found = [difference for mine, axis in zip(self.axes, axes, strict=True) for difference in mine.differences(axis)]
        if found:
            raise AxisError(f"the data do not fit: {'; '.join(found)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        axes = [{name: value for name, value in vars(axis).items() if value is not None} for axis in self.axes]
        return {"domain": self.domain, "axes": axes, "core": self.core and list(self.core)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The value from its JSON."""
        return cls(data["domain"], tuple(ItemAxis(**axis) for axis in data["axes"]), data["core"] and tuple(data["core"]))


def _item(spec: Spec, domain: Domain, core: tuple[str, ...] | None) -> tuple[Axis, ...]:
    axes = spec.only(spec.core(domain, core)).axes
    if domain is Domain.IMAGE and len(axes) == 2:
        axes = (Axis("channel", 1, kind=AxisKind.CHANNEL), *axes)
    return axes
