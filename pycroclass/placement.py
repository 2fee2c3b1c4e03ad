"""Where the detector of a dataset stands, said by its user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sidpy

from pycroclass.errors import AxisError
from pycroclass.geometry import MODULE, DetectorGeometry, PanelGeometry
from pycroclass.provenance import Provenance
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.spec import Axis, AxisKind, Domain, Spec


def with_geometry(dataset: sidpy.Dataset, geometry: DetectorGeometry, *, axes: Sequence[str] | None = None) -> sidpy.Dataset:
    """The same frames with another geometry of the detector; nothing computes.

    Parameters
    ----------
    dataset : sidpy.Dataset
    geometry : Geometry or PanelGeometry
    axes : sequence of str, optional
        Names of all axes of the dataset, where its own do not tell which are those of the detector: ``y`` and ``x``, and ``module``
        where each module is an array of its own.

    Returns
    -------
    sidpy.Dataset
        A result of it can be replayed: the geometry is in its provenance.

    Raises
    ------
    AxisError
        If the frames do not hold the panels, or their axes cannot be told.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> from pycroclass.geometry import Geometry
    >>> frames = sidpy.Dataset.from_array(np.zeros((3, 8, 8)))
    >>> with_geometry(frames, Geometry((3.5, 3.5)), axes=("frame", "y", "x")).metadata["geometry"]
    {'beam_centre': [3.5, 3.5]}
    """
    array, spec = unwrap(dataset)
    if axes is not None:
        spec = replace(spec, axes=_named(spec, axes))
    _check(spec, geometry)
    return wrap(
        array,
        replace(spec, geometry=geometry),
        provenance=Provenance(
            "with_geometry",
            {"geometry": geometry.to_dict(), "axes": None if axes is None else list(axes)},
            (provenance_of(dataset),),
        ),
        metadata=dataset.metadata,
        original_metadata=dataset.original_metadata,
        modality=dataset.modality,
        source=dataset.source,
    )


def _check(spec: Spec, geometry: DetectorGeometry) -> None:
    y, x = spec.core(Domain.IMAGE)[-2:]
    if not isinstance(geometry, PanelGeometry):
        return
    if geometry.n_modules and MODULE not in spec.names:
        raise AxisError(
            f"the panels stand on {geometry.n_modules} modules, and {spec.title!r} with the axes {spec.names} has no axis {MODULE!r}. "
            f"Name its axes with axes=(…, {MODULE!r}, 'y', 'x')."
        )
    leading = (spec[MODULE].size,) if geometry.n_modules else ()
    geometry.check((*leading, spec[y].size, spec[x].size))


def _named(spec: Spec, names: Sequence[str]) -> tuple[Axis, ...]:
    if len(names) != len(spec.axes):
        raise AxisError(f"axes must name each of the {len(spec.axes)} axes of {spec.title!r}, got {tuple(names)}")
    return tuple(
        replace(axis, name=name, kind=AxisKind.SPATIAL if name in ("y", "x") else AxisKind.UNKNOWN if name == MODULE else axis.kind)
        for axis, name in zip(spec.axes, names, strict=True)
    )
