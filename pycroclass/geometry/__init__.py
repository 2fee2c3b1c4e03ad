"""Where the pixels of a detector stand: flat, or of panels, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycroclass.geometry.bad_pixels import CXIMask, bad_pixels
from pycroclass.geometry.flat import FloatArray, Geometry
from pycroclass.geometry.panel import Panel
from pycroclass.geometry.panels import MODULE, PanelGeometry

DetectorGeometry = Geometry | PanelGeometry
"""What a dataset of detector frames may have."""

__all__ = ["MODULE", "CXIMask", "DetectorGeometry", "FloatArray", "Geometry", "Panel", "PanelGeometry", "bad_pixels", "geometry_from_dict"]


def geometry_from_dict(known: Mapping[str, Any]) -> DetectorGeometry:
    """The geometry of which ``to_dict`` gave this.

    Raises
    ------
    ParameterError
        If its values cannot be understood.

    Examples
    --------
    >>> geometry_from_dict(Geometry((1, 2), distance=0.1).to_dict())
    Geometry(beam_centre=(1.0, 2.0), pixel_size=None, distance=0.1, wavelength=None)
    """
    if "panels" in known:
        return PanelGeometry.from_dict(known)
    names = ("beam_centre", "pixel_size", "distance", "wavelength")
    return Geometry(**{name: known[name] for name in names if known.get(name) is not None})
