"""Where the detector stands, from a geometry file, for the datasets of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pycroclass.crystfel import CrystFELGeometry, read_crystfel
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import MODULE, DetectorGeometry, PanelGeometry
from pycroclass.placement import with_geometry
from pycroclass.sid import unwrap
from pycroclass.spec import Domain, Spec

if TYPE_CHECKING:
    import sidpy


def placed(
    datasets: Mapping[str, sidpy.Dataset], geometry: str | Path | DetectorGeometry, path: str | Path | Sequence[str | Path]
) -> dict[str, sidpy.Dataset]:
    """All datasets; those that hold the panels with this geometry. ``path`` is where they were read from.

    Raises
    ------
    ReadError
        If the geometry file cannot be understood, or needs a value that the data file has not.
    AxisError
        If no dataset holds the panels.
    """
    file = _resolved(read_crystfel(geometry), path) if isinstance(geometry, str | Path) else None
    result, refused = dict(datasets), []
    for key, dataset in datasets.items():
        spec = unwrap(dataset)[1]
        try:
            if file is None:
                result[key] = with_geometry(dataset, geometry)  # type: ignore[arg-type]  # no path: that gave a file
            else:
                data = _place(file, key)
                result[key] = with_geometry(
                    dataset, _complete(file.detector(data), spec, dataset.metadata), axes=_names(file.axes(data), spec)
                )
        except AxisError as error:
            refused.append(f"{key}: {error}")
    if len(refused) == len(datasets):
        raise AxisError(f"the geometry fits no dataset. {' '.join(refused)}")
    return result


def _resolved(file: CrystFELGeometry, path: str | Path | Sequence[str | Path]) -> CrystFELGeometry:
    if file.is_resolved:
        return file
    if not isinstance(path, str | Path) or Path(path).is_dir():
        raise ParameterError("the geometry file leaves values to the data file, and these are several files. Set them in it as numbers.")
    whole = Path(path)
    return file.resolved(whole if whole.exists() else str(path).rpartition("::")[0])


def _place(file: CrystFELGeometry, key: str) -> str | None:
    """Which of several places in the data file a dataset is."""
    if len(file.data) == 1:
        return None
    for place in file.data:
        if place is not None and place.strip("/") == key.strip("/"):
            return place
    raise AxisError(f"the panels lie at {', '.join(map(str, file.data))}. Name one of them: FILE::PATH.")


def _complete(geometry: PanelGeometry, spec: Spec, metadata: Mapping[str, object]) -> PanelGeometry:
    """With the wavelength that the data file tells, where the geometry file tells none."""
    if geometry.wavelength is not None:
        return geometry
    detector = metadata.get("detector")
    known = spec.geometry.wavelength if spec.geometry is not None else None
    return replace(geometry, wavelength=known or (detector.get("wavelength") if isinstance(detector, Mapping) else None))


def _names(axes: tuple[str, ...], spec: Spec) -> tuple[str, ...] | None:
    """What the geometry file calls the axes of a dataset, where its own names do not tell."""
    try:
        spec.core(Domain.IMAGE)
        is_told = MODULE not in axes or MODULE in spec.names
    except AxisError:
        is_told = False
    if is_told:
        return None
    of_one = tuple(name for name in axes if not name.startswith("frame"))
    return next((names for names in (axes, of_one) if len(names) == len(spec.axes)), None)
