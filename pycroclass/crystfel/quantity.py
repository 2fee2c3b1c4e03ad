"""Numbers of a geometry file, which may stand in a data file instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import h5py

from pycroclass.errors import ParameterError
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_file import number

UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "clen": {"m": 1.0, "mm": 1e-3},
    "wavelength": {"m": 1.0, "A": 1e-10},
    "photon_energy": {"eV": 1.0, "keV": 1e3, "MeV": 1e6},
    "electron_voltage": {"V": 1.0, "kV": 1e3},
    "detector_shift_x": {"m": 1.0, "mm": 1e-3},
    "detector_shift_y": {"m": 1.0, "mm": 1e-3},
}
"""Units of each quantity, the first where none stands there; a ``clen`` in a data file is then in mm."""
BEAMS: Final = ("wavelength", "photon_energy", "electron_voltage")


@dataclass(frozen=True)
class Quantity:
    """A number, or the place in a data file where it stands.

    Parameters
    ----------
    name : str
        ``clen``, ``wavelength``, ``photon_energy``, ``electron_voltage``, ``detector_shift_x`` or ``detector_shift_y``.
    value : float or str
        A string is a path in an HDF5 file.
    unit : str
        As in the file; empty where none stands there.

    Examples
    --------
    >>> Quantity("clen", 560, "mm").standard, Quantity("photon_energy", "/LCLS/photon_energy_eV").standard
    (0.56, None)
    """

    name: str
    value: float | str
    unit: str = ""

    def __post_init__(self) -> None:
        if self.unit and self.unit not in UNITS[self.name]:
            raise ParameterError(f"{self.name} is in {' or '.join(UNITS[self.name])}, got {self.unit!r}")
        if not isinstance(self.value, str):
            object.__setattr__(self, "value", float(self.value))
            if not math.isfinite(self.value):
                raise ParameterError(f"{self.name} must be finite, got {self.value!r}")

    @property
    def standard(self) -> float | None:
        """In m, eV or V; ``None`` where it stands in a data file."""
        return None if isinstance(self.value, str) else self.value * self._factor

    def resolved(self, file: h5py.File) -> Quantity:
        """The number that stands in a file, the median of several."""
        if not isinstance(self.value, str):
            return self
        if "%" in self.value:
            raise failure(file.filename, f"{self.name} is at {self.value}, elsewhere for each frame", "Set it in the geometry as a number.")
        found = number(file.get(self.value))
        if found is None:
            raise failure(file.filename, f"has no number at {self.value}, where {self.name} shall be", "Set it in the geometry.")
        return Quantity(self.name, found * self._factor)

    @property
    def _factor(self) -> float:
        units = UNITS[self.name]
        if not self.unit and self.name == "clen" and isinstance(self.value, str):
            return units["mm"]
        return units[self.unit or next(iter(units))]
