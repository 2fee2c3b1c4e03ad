"""Axes of HDF5 datasets: from attached scales, NeXus axes, units, or by their number alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import h5py

from pycroclass.readers.hdf5_file import is_numeric, plain, text
from pycroclass.sid import safe_name
from pycroclass.spec import Axis, AxisKind

_KINDS: Final = {
    AxisKind.SPECTRAL: ("ev", "kev", "mev", "v", "mv", "hz", "khz", "mhz", "1/cm", "cm-1", "cm^-1", "1/m"),
    AxisKind.TEMPORAL: ("s", "ms", "us", "µs", "ns", "fs", "ps", "min", "minutes", "h", "seconds"),
    AxisKind.SPATIAL: ("m", "mm", "um", "µm", "micron", "nm", "pm", "angstrom", "a", "pixel", "pixels", "px"),
    AxisKind.RECIPROCAL: ("1/nm", "nm-1", "1/a", "a-1", "1/angstrom", "mrad"),
}
_TEMPORAL: Final = ("FRAME", "TIME", "STACK")
"""What sidpy takes as well for ``TEMPORAL``."""
_BY_UNITS: Final = {unit: kind for kind, units in _KINDS.items() for unit in units}


def kind_of(units: str) -> AxisKind:
    """What an axis counts, told by its units; ``UNKNOWN`` where they tell nothing.

    Examples
    --------
    >>> kind_of("eV"), kind_of("pixels"), kind_of("arb.")
    (<AxisKind.SPECTRAL: 'spectral'>, <AxisKind.SPATIAL: 'spatial'>, <AxisKind.UNKNOWN: 'unknown'>)
    """
    return _BY_UNITS.get(units.strip().lower(), AxisKind.UNKNOWN)


def image_axes(shape: tuple[int, ...], leading: tuple[str, ...] = ("frame",)) -> tuple[Axis, ...]:
    """Axes of an array that says nothing: the last two are an image, those before have the names ``leading`` as far as they go.

    Examples
    --------
    >>> [(axis.name, axis.kind.value) for axis in image_axes((4, 8, 5, 7), ("frame", "module"))]
    [('frame', 'temporal'), ('module', 'unknown'), ('y', 'spatial'), ('x', 'spatial')]
    """
    if len(shape) == 1:
        return (Axis("index", shape[0]),)
    plane = tuple(Axis(name, n, AxisKind.SPATIAL, units="pixel") for name, n in zip("yx", shape[-2:], strict=True))
    names = leading + tuple(f"axis_{i}" for i in range(len(leading), len(shape)))
    kinds = [AxisKind.TEMPORAL if name == "frame" else AxisKind.UNKNOWN for name in names]
    return (*(Axis(name, n, kind) for name, n, kind in zip(names, shape[:-2], kinds)), *plane)


def scale_axis(dataset: h5py.Dataset, i: int, default: Axis) -> Axis:
    """Axis ``i`` from the scale attached to it; ``default``, with the label of the dimension as its name, where there is none that fits."""
    dimension = dataset.dims[i]
    scales = [scale for scale in (dimension[k] for k in range(len(dimension))) if is_numeric(scale) and scale.shape == (dataset.shape[i],)]
    if not scales:
        return replace(default, name=safe_name(dimension.label)) if dimension.label else default
    scale = scales[0]
    name = text(scale, "name") or dimension.label or scale.name.rpartition("/")[2]
    return axis_from(name, scale, default=default)


def nxdata_axes(group: h5py.Group, default: tuple[Axis, ...], declared: str = "") -> tuple[Axis, ...]:
    """Axes of the signal of an NXdata group as its attribute ``axes`` names them; those of ``default`` where it does not.

    ``declared`` is that attribute of the signal itself, where old files have it: ``"time:y:x"``.
    """
    names = plain(group.attrs.get("axes", declared))
    names = names.strip("[]").replace(",", ":").split(":") if isinstance(names, str) else list(names)
    axes = list(default)
    for i, name in enumerate(names[: len(axes)]):
        values = group.get(name) if name else None
        if is_numeric(values) and values.shape == (axes[i].size,):
            axes[i] = axis_from(name, values, default=axes[i])
    return distinct(tuple(axes))


def axis_from(name: str, values: h5py.Dataset, *, default: Axis) -> Axis:
    """An axis whose positions stand in a dataset of one axis, with its attributes ``units``, ``quantity`` and ``dimension_type``."""
    units = text(values, "units", "generic")
    quantity = text(values, "quantity", "generic")
    return Axis.from_values(safe_name(name), values[()], kind=_kind(values, units, default), quantity=quantity, units=units)


def _kind(values: h5py.Dataset, units: str, default: Axis) -> AxisKind:
    named = text(values, "dimension_type").upper()
    if named in AxisKind.__members__:
        return AxisKind[named]
    if named in _TEMPORAL:
        return AxisKind.TEMPORAL
    by_units = kind_of(units)
    return default.kind if by_units is AxisKind.UNKNOWN else by_units


def distinct(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes with names that differ: the second ``x`` is ``x_2``."""
    taken: dict[str, None] = {}
    for axis in axes:
        name, n = axis.name, 1
        while name in taken:
            n += 1
            name = f"{axis.name}_{n}"
        taken[name] = None
    return tuple(replace(axis, name=name) for axis, name in zip(axes, taken))
