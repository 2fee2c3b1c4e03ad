"""The border to sidpy: a Dataset becomes a plain dask array with its `Spec`, and back.

Past this border nobody sees a Dataset. Only ``Dimension.values`` is ever touched: arithmetic on a Dimension is unsafe with NumPy 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

import dask.array as da
import numpy as np
import sidpy

from pycroclass._version import __version__
from pycroclass.errors import AxisError
from pycroclass.geometry import DetectorGeometry, geometry_from_dict
from pycroclass.provenance import Provenance
from pycroclass.spec import Axis, AxisKind, Spec

_NO_UNITS: Final = "generic"
"""sidpy refuses empty units."""
_ATTRIBUTE: Final = "_pycroclass_provenance"
_TAKEN: Final = frozenset(name for name in dir(sidpy.Dataset) if not name.startswith("_")) | {"dim_0", "units", "title"}


def unwrap(dataset: sidpy.Dataset) -> tuple[da.Array, Spec]:
    """The dataset as a plain lazy array and its meaning; nothing computes.

    Raises
    ------
    AxisError
        If it is no `sidpy.Dataset`.
    """
    if not isinstance(dataset, sidpy.Dataset):
        if isinstance(dataset, Mapping):
            raise AxisError(f"wanted one dataset, got several by name, as read returns them; take one: {', '.join(map(repr, dataset))}")
        raise AxisError(
            f"wanted a sidpy.Dataset, got {type(dataset).__name__}. Open a file with pycroclass.read, "
            "or wrap an array with sidpy.Dataset.from_array and set its dimensions."
        )
    array = da.Array(dataset.dask, dataset.name, dataset.chunks, dtype=dataset.dtype, meta=dataset._meta)
    axes = tuple(_axis(dataset._axes[i]) for i in range(dataset.ndim))
    spec = Spec(
        _trusted_kinds(axes, dataset.data_type.name),
        dataset.dtype,
        quantity=dataset.quantity,
        units=dataset.units,
        title=dataset.title,
        geometry=geometry_of(dataset.metadata),
        classes=classes_of(dataset.metadata),
    )
    return array, spec


def wrap(
    array: da.Array,
    spec: Spec,
    *,
    provenance: Provenance,
    metadata: Mapping[str, Any] | None = None,
    original_metadata: Mapping[str, Any] | None = None,
    modality: str = "generic",
    source: str = "generic",
) -> sidpy.Dataset:
    """A Dataset around a lazy array; nothing computes.

    Its data type follows from the kinds of its axes, so that ``dataset.plot()`` works wherever sidpy can plot such data. Geometry and
    class names stand in its metadata as ``geometry`` and ``classes``.

    Raises
    ------
    AxisError
        If the shapes differ, or sidpy cannot take the name of an axis.
    """
    if array.shape != spec.shape:
        raise AxisError(f"the array has shape {array.shape}, its axes {spec.shape}: {spec.names}")
    dataset = sidpy.Dataset.from_array(array, title=spec.title, units=spec.units or _NO_UNITS, quantity=spec.quantity)
    dataset.data_type = data_type(spec)
    dataset.modality = modality
    dataset.source = source
    for i, axis in enumerate(spec.axes):
        dataset.set_dimension(i, _dimension(axis))
    dataset.metadata = deepcopy(dict(metadata or {}))
    for name, value in (("geometry", spec.geometry and spec.geometry.to_dict()), ("classes", list(spec.classes))):
        if value:
            dataset.metadata[name] = value
        else:
            dataset.metadata.pop(name, None)
    dataset.original_metadata = deepcopy(dict(original_metadata or {}))
    attach(dataset, provenance)
    return dataset


def attach(dataset: sidpy.Dataset, provenance: Provenance) -> None:
    """Remember where a dataset came from: for replay exactly, and in sidpy's own provenance for readers of the file.

    The exact record is bound to the dataset's graph and meaning, so that it is gone from anything derived by other means
    (``dataset[:100]``) and from a dataset whose axes, units or geometry were changed.
    """
    setattr(dataset, _ATTRIBUTE, (dataset.name, _meaning(dataset), provenance))
    dataset.add_provenance("pycroclass", provenance.verb, version=__version__, linked_data={"parameters": str(dict(provenance.parameters))})


def provenance_of(dataset: sidpy.Dataset) -> Provenance:
    """The record of a dataset; verb ``given`` if it came from elsewhere or was changed since."""
    name, meaning, provenance = getattr(dataset, _ATTRIBUTE, (None, None, None))
    if provenance is not None and name == dataset.name and meaning == _meaning(dataset):
        return provenance  # type: ignore[no-any-return]  # an attribute set on an untyped object
    return Provenance(
        "given",
        {
            "title": str(dataset.title),
            "shape": list(dataset.shape),
            "dtype": str(dataset.dtype),
            "reason": "not returned by pycroclass, or changed since",
        },
    )


def _meaning(dataset: sidpy.Dataset) -> Spec:
    """All that results depend on beside the values; not the title."""
    return replace(unwrap(dataset)[1], title="")


def data_type(spec: Spec) -> str:
    """The sidpy data type that fits the kinds of the axes; ``UNKNOWN`` where none does."""
    count = {kind: len(spec.of_kind(kind)) for kind in AxisKind}
    plane = max(count[AxisKind.SPATIAL], count[AxisKind.RECIPROCAL])
    match len(spec.axes):
        case 1:
            return "SPECTRUM"
        case 2 if plane == 2:
            return "IMAGE"
        case 2 if count[AxisKind.SPECTRAL] == 1:
            return "SPECTRUM"
        case 3 if plane == 2 and count[AxisKind.TEMPORAL] == 1:
            return "IMAGE_STACK"
        case 3 if plane == 2 and count[AxisKind.CHANNEL] == 1:
            return "IMAGE"
        case 4 if plane == 2 and count[AxisKind.TEMPORAL] == count[AxisKind.CHANNEL] == 1:
            return "IMAGE_STACK"
        case 3 | 4 if count[AxisKind.SPATIAL] == 2 and count[AxisKind.SPECTRAL] == len(spec.axes) - 2:
            return "SPECTRAL_IMAGE"
        case 4 if count[AxisKind.SPATIAL] == count[AxisKind.RECIPROCAL] == 2:
            return "IMAGE_4D"
    return "UNKNOWN"


def safe_name(name: str) -> str:
    """An axis name that sidpy can take: names of Dataset attributes and of nothing get a trailing ``_``, ``/`` becomes ``_``."""
    clean = name.strip().replace("/", "_").replace("\0", "_")
    return clean if clean and clean not in _TAKEN else f"{clean or 'axis'}_"


def _dimension(axis: Axis) -> sidpy.Dimension:
    if axis.name in _TAKEN or "/" in axis.name or not axis.name:
        raise AxisError(f"sidpy cannot name an axis {axis.name!r}: it would hide an attribute. Use {safe_name(axis.name)!r}.")
    return sidpy.Dimension(
        np.require(axis.values, requirements="W"),  # sidpy takes it as it is, and its owner may change it
        name=axis.name,
        quantity=axis.quantity,
        units=axis.units or _NO_UNITS,
        dimension_type=axis.kind.name,
    )


def _axis(dimension: sidpy.Dimension) -> Axis:
    return Axis.from_values(
        dimension.name,
        np.asarray(dimension.values),
        kind=AxisKind(dimension.dimension_type.name.lower()),
        quantity=dimension.quantity,
        units=dimension.units,
    )


def _trusted_kinds(axes: tuple[Axis, ...], kind_of_data: str) -> tuple[Axis, ...]:
    """Mend axis kinds that contradict the data type: several readers call the axes of an image TEMPORAL."""
    n_images = {"IMAGE": 2, "SPECTRAL_IMAGE": 2, "IMAGE_STACK": 2}.get(kind_of_data, 0)
    plane = (AxisKind.SPATIAL, AxisKind.RECIPROCAL)
    if n_images == 0 or sum(axis.kind in plane for axis in axes) >= n_images:
        return axes
    open_axes = [i for i, axis in enumerate(axes) if axis.kind not in (AxisKind.SPECTRAL, *plane)]
    if kind_of_data == "IMAGE" and len(axes) == 3:  # a colour image: the short last axis holds the colours
        colour = open_axes[-1]
        axes = tuple(replace(a, kind=AxisKind.CHANNEL) if i == colour else a for i, a in enumerate(axes))
        open_axes = open_axes[:-1]
    if kind_of_data == "IMAGE_STACK":
        open_axes = open_axes[-2:]
    image = set(open_axes[:2])
    return tuple(replace(a, kind=AxisKind.SPATIAL) if i in image else a for i, a in enumerate(axes))


def geometry_of(metadata: Mapping[str, Any]) -> DetectorGeometry | None:
    """The geometry that the metadata of a dataset hold, if any."""
    known = metadata.get("geometry")
    if isinstance(known, Mapping) and ("beam_centre" in known or isinstance(known.get("panels"), Mapping)):
        return geometry_from_dict(known)
    return None


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names that the metadata of a dataset hold."""
    names = metadata.get("classes", ())
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
