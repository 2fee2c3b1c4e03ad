"""Which pixel of the raw slab stands where in an image of the whole detector, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError
from pycroclass.geometry.flat import FloatArray, Geometry
from pycroclass.geometry.panel import Panel, centres
from pycroclass.geometry.panels import PanelGeometry

Table = npt.NDArray[np.int32]

_SLACK: Final = 1e-6
"""Of a pixel: where centres lie on edges, all go the same way, however they are rounded."""


@dataclass(frozen=True)
class Plane:
    """The image of a detector of panels: square pixels on the plane that radii are counted on.

    Its pixels are as large as those of the first panel, and go through the centre of its first pixel; rows go along y, columns along x.

    Parameters
    ----------
    first : (y, x)
        Centre of the first pixel from the beam, in pixels.
    shape : (y, x)
        In pixels.
    """

    first: tuple[float, float]
    shape: tuple[int, int]

    @classmethod
    def of(cls, geometry: PanelGeometry) -> Plane:
        """The smallest that holds all panels."""
        panel = geometry.panels[0]
        middle = np.array([0.5])
        origin = np.array([float(value[0]) for value in geometry.on_plane(panel, middle, middle)])
        ends = np.concatenate([np.stack(geometry.on_plane(panel, *_corners(panel)), axis=1) for panel in geometry.panels])
        least = np.floor(ends.min(0) - origin + 0.5 + _SLACK)
        most = np.maximum(np.ceil(ends.max(0) - origin - 0.5 - _SLACK), least)
        (x, y), (width, height) = origin + least, (most - least + 1).astype(int)
        return cls((float(y), float(x)), (int(height), int(width)))

    def geometry(self, geometry: PanelGeometry) -> Geometry:
        """Of the image, as of a flat detector."""
        distance = geometry.distance if all(panel.clen is not None for panel in geometry.panels) else None
        return Geometry((-self.first[0], -self.first[1]), geometry.pixel_size, distance, geometry.wavelength)


def slab_pixels(geometry: PanelGeometry, slab: tuple[int, int]) -> Table:
    """For each pixel of the image the pixel of the slab, counted in C order, in which its centre lies; -1 where there is none."""
    geometry.check(slab)
    plane = Plane.of(geometry)
    table = np.full(plane.shape, -1, np.int32)
    for panel in geometry.panels:
        x, y = geometry.on_plane(panel, *_corners(panel))
        rows, columns = _range(y - plane.first[0], plane.shape[0]), _range(x - plane.first[1], plane.shape[1])
        fs, ss = _on_panel(
            geometry,
            panel,
            plane.first[1] + np.arange(columns.start, columns.stop)[None, :],
            plane.first[0] + np.arange(rows.start, rows.stop)[:, None],
        )
        (i, j), (n_ss, n_fs) = (np.floor(fs + _SLACK).astype(np.int64), np.floor(ss + _SLACK).astype(np.int64)), panel.shape
        is_here = (i >= 0) & (i < n_fs) & (j >= 0) & (j < n_ss) & (table[rows, columns] < 0)
        pixels = (panel.min_ss + j) * slab[1] + panel.min_fs + i
        table[rows, columns][is_here] = pixels[is_here]
    return table


def image_pixels(geometry: PanelGeometry, slab: tuple[int, int]) -> Table:
    """For each pixel of the slab one of the image, counted in C order; -1 in gaps, and where none lies near it.

    It is the nearest one that `slab_pixels` fills from this pixel; where there is none, as some pixels of rotated panels have none, the
    nearest one that is filled at all.
    """
    plane, filled_from = Plane.of(geometry), slab_pixels(geometry, slab).ravel()
    table = np.full(slab, -1, np.int32)
    for panel in geometry.panels:
        x, y = geometry.on_plane(panel, *centres(panel))
        row, column = np.rint(y - plane.first[0]).astype(np.int64), np.rint(x - plane.first[1]).astype(np.int64)
        is_inside = (row >= 0) & (row < plane.shape[0]) & (column >= 0) & (column < plane.shape[1])
        near = np.where(is_inside, row * plane.shape[1] + column, 0)
        table[panel.where] = np.where(is_inside & (filled_from[near] >= 0), near, -1)
    flat = table.ravel()
    filled = np.flatnonzero(filled_from >= 0)[::-1]  # the first of several is written last, and stays
    sources = filled_from[filled]
    is_own = (flat >= 0) & (filled_from[flat] == np.arange(flat.size))
    missing = ~is_own[sources]
    flat[sources[missing]] = filled[missing]
    return flat.reshape(slab)


def _corners(panel: Panel) -> tuple[FloatArray, FloatArray]:
    """Outer corners of the panel along fs and along ss, in pixels from the first one."""
    n_ss, n_fs = panel.shape
    return np.array([0.0, n_fs, 0, n_fs]), np.array([0.0, 0, n_ss, n_ss])


def _range(places: FloatArray, size: int) -> slice:
    """All pixels of an axis that may lie between places."""
    return slice(max(0, int(np.floor(places.min()))), min(size, int(np.ceil(places.max())) + 1))


def _on_panel(geometry: PanelGeometry, panel: Panel, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where rays from the sample to places ``(x, y)`` of the plane meet a panel: along fs and ss, in pixels from its corner."""
    first = geometry.panels[0]
    if first.z is None or panel.z is None or any(other.clen is None for other in geometry.panels):
        scale = panel.res / first.res
        dx, dy = x * scale - panel.corner_x, y * scale - panel.corner_y
        determinant = panel.fs[0] * panel.ss[1] - panel.fs[1] * panel.ss[0]
        if not determinant:
            raise ParameterError(f"panel {panel.name!r} stands along the beam: without its clen it has no place in an image")
        return (dx * panel.ss[1] - dy * panel.ss[0]) / determinant, (dy * panel.fs[0] - dx * panel.fs[1]) / determinant
    corner, normal = np.array([panel.corner_x, panel.corner_y, panel.z * panel.res]), panel.normal
    along_fs, along_ss = np.cross(panel.ss, normal) / (normal @ normal), np.cross(normal, panel.fs) / (normal @ normal)
    z = first.z * first.res
    reach = (corner @ normal) / (x * normal[0] + y * normal[1] + z * normal[2])
    dx, dy, dz = reach * x - corner[0], reach * y - corner[1], reach * z - corner[2]
    return dx * along_fs[0] + dy * along_fs[1] + dz * along_fs[2], dx * along_ss[0] + dy * along_ss[1] + dz * along_ss[2]
