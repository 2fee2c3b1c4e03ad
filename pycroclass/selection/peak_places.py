"""Where peaks of a table stand: on which panel, in which array of the file, at which resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError
from pycroclass.geometry import FloatArray, PanelGeometry

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PeakPlaces:
    """Turns positions in a frame, whose modules stand one below the other, into those of a detector.

    Parameters
    ----------
    geometry : PanelGeometry
        Of the file. Modules have as many rows as their panels need.
    """

    geometry: PanelGeometry

    @property
    def n_rows(self) -> int:
        """Of one module."""
        return self.geometry.slab_shape[-2]

    @cached_property
    def _stacked(self) -> PanelGeometry:
        return self.geometry.stacked(self.n_rows) if self.geometry.n_modules else self.geometry

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int32]:
        height, width = self._stacked.slab_shape
        return self._stacked.panel_numbers((height, width))

    def panels(self, fs: FloatArray, ss: FloatArray) -> Integers:
        """Number of the panel of each position in pixels, an integer being the centre of a pixel; -1 where there is none."""
        column, row = np.rint(fs).astype(np.int64), np.rint(ss).astype(np.int64)
        height, width = self._numbers.shape
        is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        numbers = self._numbers[np.where(is_inside, row, 0), np.where(is_inside, column, 0)]
        return np.where(is_inside, numbers, -1).astype(np.int64)

    def first_rows(self) -> Integers:
        """For each panel the row of the frame at which its module begins."""
        return np.array([(panel.module or 0) * self.n_rows for panel in self.geometry.panels])

    def resolution(self, fs: FloatArray, ss: FloatArray, panels: Integers) -> FloatArray:
        """``1/d`` in 1/nm: ``|n - z| / wavelength``, with ``n`` the direction from the sample and ``z`` that of the beam.

        Raises
        ------
        ParameterError
            If the wavelength or a panel's ``clen`` is not known.
        """
        if self.geometry.wavelength is None or not self.geometry.is_calibrated:
            raise ParameterError(
                "1/d needs the wavelength and the clen of each panel, and the geometry leaves one to the data file, or does not know it. "
                "Complete it: geometry.resolved(file), or dataclasses.replace."
            )
        away = np.full(fs.shape, np.nan)
        for number in np.unique(panels[panels >= 0]).tolist():
            panel, here = self._stacked.panels[number], panels == number
            x, y, dz = panel.at(fs[here] - panel.min_fs + 0.5, ss[here] - panel.min_ss + 0.5)
            z = (panel.z or 0.0) * panel.res + dz
            r = np.sqrt(x * x + y * y + z * z)
            away[here] = np.sqrt(x * x + y * y + (z - r) ** 2) / r
        return away / self.geometry.wavelength * 1e-9
