"""Bragg peaks of diffraction frames."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry
from pycroclass.kernels import peakfinder8, peakfinder8_torch
from pycroclass.kernels.peak_tables import COLUMNS, PeakSearch, PeakTables, peak_tables
from pycroclass.operator import set_field
from pycroclass.operators._checks import check_real, finite, integers, positive
from pycroclass.operators._panels import panel_bounds, panels_of, panels_value
from pycroclass.operators._rings import _RadialOperator
from pycroclass.spec import Axis, AxisKind, Spec

_PER_RING: Final = 100
"""Pixels of each ring that are looked at first in the fast form."""
_PER_PIXEL: Final = 160
"""Bytes that the twin on a GPU needs: the frame and its rings as float64, and what is made of them."""
_COMPILED_FOR: Final = ("uint16", "uint32", "int16", "int32", "float32", "float64")


@dataclass(frozen=True)
class PeakFinder8(_RadialOperator):
    """Finds Bragg peaks: pixels that stand out of their ring, and their groups out of what is around them.

    The peakfinder8 of serial crystallography (Barty et al., J. Appl. Cryst. 47, 1118, 2014). With ``r`` the distance of a pixel from the
    beam centre in pixels and ``rint(r)`` its ring:

    1. Mean ``m`` and standard deviation ``s`` of each ring, five times over, each time without values outside
       ``[m - min_snr s, max(m + min_snr s, threshold))`` of the time before.
    2. Pixels above ``max(m + min_snr s, threshold)`` that touch, side by side or corner to corner, on one panel, are a group. Groups that
       lie on the outermost pixels of the panel alone, or of fewer than ``min_pixels`` or more than ``max_pixels`` pixels, are dropped.
    3. The local background is that of all pixels not above their threshold at offsets ``-R … R - 1`` from the centroid of ``|I - m|``,
       on a disc of radius ``R = 2 local_background_radius``, on the panel: mean ``o``, standard deviation ``σ``. Without such pixels
       ``o`` is ``m`` and ``σ`` 0.01.
    4. ``intensity = Σ (I - o)`` and ``snr = intensity / σ`` over the group. It is a peak where ``snr >= min_snr`` and no pixel of the
       background is brighter than its maximum. Its position is the centroid of ``I``.

    ``(channel, y, x)`` becomes ``n_peaks``, an int32 for each channel, and ``peaks`` ``(channel, peak, column)``, float32: the strongest
    ``max_peaks`` peaks, the strongest first, NaN behind the last. ``n_peaks`` counts all that were found, also those for which the table
    is too short. The columns, whose names are the ``classes`` of ``peaks``, are ``fs`` and ``ss``, the position along x and y in pixels
    where an integer is the centre of a pixel; ``panel``, the number of the panel; ``intensity``, ``max`` (the brightest pixel as it was
    recorded) and ``sigma``, in the units of the data; ``snr``; ``n_pixels``.

    Parameters
    ----------
    threshold : float
        In the units of the data, such as ADU: no pixel below belongs to a peak.
    min_snr : float
    min_pixels, max_pixels : int
    local_background_radius : int
        In pixels.
    min_radius, max_radius : float, optional
        Pixels are used where ``min_radius <= r < max_radius``, in pixels; by default all are.
    panels : array_like, optional
        ``(ss, fs)``, the size of modules that tile the frame, or a row ``(ss_start, ss_stop, fs_start, fs_stop)`` for each panel; pixels
        between panels are not used. By default those of the geometry, else the frame is one panel. All panels share the rings.
    max_peaks : int
        Length of the table.
    fast : bool
        For runs with many pixels above ``threshold``, such as counts of photons, and few hits, up to twice as fast. There, 100 pixels of
        each ring, chosen by a hash of their number and thus the same in each frame, give a first ``m`` and ``s``; a ring is measured on
        all its pixels only where neighbours stand out of that by ``0.7 min_snr s``. A peak is lost where the sample makes that more than
        the true threshold. Where few pixels lie above ``threshold`` the result is exact, and as fast without.
    centre : (y, x) or "middle", optional
        Of the rings, in pixels; an integer is the centre of a pixel. By default the beam centre of the dataset's geometry.
    mask : array, shape (y, x), optional
        Bad pixels are nonzero. Pixels that are NaN or inf are bad too.
    geometry : Geometry, optional
        Instead of the dataset's.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood, or no pixel is left to be used.
    AxisError
        If there is no centre, mask or panels do not fit the images, or the data are complex.

    Notes
    -----
    A pipeline goes on from ``n_peaks``: ``PeakFinder8(150) | PeakCountRule()``. Frames are taken in the number type of the file. On a CPU
    the work is done by compiled code, one frame after the other on one core for each task; on other devices by PyTorch.

    Examples
    --------
    >>> from pycroclass.geometry import Geometry
    >>> frame = torch.zeros(1, 1, 20, 20, dtype=torch.int32)
    >>> frame[0, 0, 5, 6:9] = torch.tensor([30, 60, 30])
    >>> frame[0, 0, ::3, ::3] += 1
    >>> found = PeakFinder8(20, geometry=Geometry((12, 12))).transform(frame)
    >>> found["n_peaks"].item(), dict(zip(COLUMNS, found["peaks"][0, 0, 0].tolist()))["fs"]
    (1, 7.0)
    """

    tolerance: ClassVar[float] = 1e-5
    takes_any_dtype: ClassVar[bool] = True

    threshold: float
    _: KW_ONLY
    min_snr: float = 5.0
    min_pixels: int = 2
    max_pixels: int = 200
    local_background_radius: int = 3
    min_radius: float = 0.0
    max_radius: float | None = None
    panels: ArrayValue | None = None
    max_peaks: int = 500
    fast: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "threshold", finite("threshold", self.threshold))
        set_field(self, "min_snr", positive("min_snr", self.min_snr))
        for name in ("min_pixels", "max_pixels", "local_background_radius", "max_peaks"):
            set_field(self, name, integers(name, getattr(self, name))[0])
        if self.min_pixels > self.max_pixels:
            raise ParameterError(f"min_pixels={self.min_pixels} is more than max_pixels={self.max_pixels}: no peak has such a size")
        set_field(self, "min_radius", finite("min_radius", self.min_radius))
        if self.max_radius is not None:
            set_field(self, "max_radius", positive("max_radius", self.max_radius))
        if self.min_radius < 0 or (self.max_radius is not None and self.min_radius >= self.max_radius):
            raise ParameterError(f"wanted 0 <= min_radius < max_radius, got {self.min_radius} and {self.max_radius}")
        if self.panels is not None:
            set_field(self, "panels", panels_value(self.panels))
        set_field(self, "fast", bool(self.fast))

    def bind(self, spec: Spec) -> PeakFinder8:
        bound = super().bind(spec)
        bound = bound if bound.panels is not None else replace(bound, panels=panels_of(bound.geometry))
        bound.tables((spec.shape[-2], spec.shape[-1]))  # refuses panels and masks that do not fit before anything runs
        return bound

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_real(self, spec)
        self.geometry_of(spec)
        one = replace(spec, axes=spec.axes[:-2], units="generic", geometry=None, classes=())
        count = replace(one, dtype=np.dtype(np.int32), quantity="count", title="n_peaks")
        axes = (Axis("peak", self.max_peaks, quantity="peak"), Axis("column", len(COLUMNS), AxisKind.CHANNEL, quantity="column"))
        table = replace(count, axes=(*count.axes, *axes), dtype=np.dtype(np.float32), quantity="peak", title="peaks", classes=COLUMNS)
        return {"n_peaks": count, "peaks": table}

    def workspace(self, spec: Spec, device: torch.device) -> int:
        n_pixels = math.prod(spec.shape)
        return spec.dtype.itemsize * n_pixels if device.type == "cpu" else _PER_PIXEL * n_pixels

    def tables(self, shape: tuple[int, int]) -> PeakTables:
        """Which pixels of frames ``(y, x)`` lie on which ring and panel; worked out once in a process.

        Raises
        ------
        AxisError
            If the operator is not bound, or panels do not fit.
        ParameterError
            If no pixel is left.
        """
        if self.geometry is None:
            raise AxisError("PeakFinder8 must be bound to a dataset first: PeakFinder8(...).bind(spec)")
        radii = (self.min_radius, math.inf if self.max_radius is None else self.max_radius)
        return _tables(self.geometry, self.mask, self.panels, radii, shape, _PER_RING if self.fast else None)

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        images = block.flatten(0, 1)
        tables = self.tables((block.shape[-2], block.shape[-1]))
        search = PeakSearch(self.threshold, self.min_snr, self.min_pixels, self.max_pixels, 2 * self.local_background_radius)
        if block.device.type == "cpu":
            count, peaks = map(torch.from_numpy, peakfinder8.find_peaks(_as_compiled_for(images), tables, search, self.max_peaks))
        else:
            count, peaks = peakfinder8_torch.find_peaks(images, tables, search, self.max_peaks)
        return {"n_peaks": count.reshape(block.shape[:2]), "peaks": peaks.reshape(*block.shape[:2], *peaks.shape[1:])}


def _as_compiled_for(images: torch.Tensor) -> npt.NDArray[np.generic]:
    """The values as they are, contiguous; those of rare number types as float64."""
    values = np.ascontiguousarray(images.numpy())
    return values if values.dtype.name in _COMPILED_FOR else values.astype(np.float64)


@lru_cache(maxsize=8)
def _tables(
    geometry: DetectorGeometry,
    mask: ArrayValue | None,
    panels: ArrayValue | None,
    radii: tuple[float, float],
    shape: tuple[int, int],
    per_ring: int | None,
) -> PeakTables:
    radius = geometry.radius(shape)
    good = (radius >= radii[0]) & (radius < radii[1])
    if mask is not None:
        good &= mask.values == 0
    tables = peak_tables(radius, good, panel_bounds(panels, shape), per_ring)
    if not tables.members.size:
        raise ParameterError(f"mask, panels, min_radius and max_radius leave no pixel of frames of {shape} pixels")
    return tables
