"""What a geometry file of CrystFEL says, as a frozen value.

After the description of the format, https://www.desy.de/~twhite/crystfel/manual-crystfel_geometry.html.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.crystfel.panel import SHARED, BadRegion, CrystFELPanel, Dims, PixelMask
from pycroclass.crystfel.quantity import Quantity
from pycroclass.crystfel.text import as_text
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.files import refuse_existing, write_whole
from pycroclass.geometry import MODULE, Panel, PanelGeometry, bad_pixels
from pycroclass.geometry.panel import centres
from pycroclass.readers.detector import H_TIMES_C
from pycroclass.readers.hdf5_file import open_hdf5

_ELEMENTARY_CHARGE: Final = 1.602176634e-19
_PLANCK: Final = 6.62607015e-34
_ELECTRON_MASS: Final = 9.1093837015e-31
_LIGHT: Final = 299792458.0


@dataclass(frozen=True)
class CrystFELGeometry:
    """What a geometry file of CrystFEL says: panels and where their data lie, bad pixels, beam.

    Read one with `read_crystfel`. `detector` is what a dataset needs; ``read(file, geometry="file.geom")`` does it all.

    Parameters
    ----------
    panels : tuple of CrystFELPanel
    beam : Quantity, optional
        Wavelength, photon energy or electron voltage.
    bad_regions : tuple of BadRegion
    shift : tuple of Quantity
        ``detector_shift_x`` and ``detector_shift_y``, where given.
    groups : tuple of (str, tuple of str)
        ``group_…``, ``rigid_group_…`` and ``rigid_group_collection_…`` with their members.
    other : tuple of (str, str)
        What else the file says, as it stands there.

    Raises
    ------
    ParameterError
        If there is no panel, or a bad region is on none.

    Examples
    --------
    >>> text = '''
    ... photon_energy = 9.5 keV
    ... clen = 0.1 m
    ... res = 10000
    ... p0/min_fs = 0
    ... p0/max_fs = 3
    ... p0/min_ss = 0
    ... p0/max_ss = 2
    ... p0/corner_x = -2
    ... p0/corner_y = 0
    ... '''
    >>> from pycroclass.crystfel.parsing import parse
    >>> geometry = parse(text)
    >>> geometry.detector().radius((3, 4))[0].round(2).tolist()
    [1.58, 0.71, 0.71, 1.58]
    >>> parse(geometry.to_text()) == geometry
    True
    """

    panels: tuple[CrystFELPanel, ...]
    _: KW_ONLY
    beam: Quantity | None = None
    bad_regions: tuple[BadRegion, ...] = ()
    shift: tuple[Quantity, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    other: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.panels:
            raise ParameterError("a geometry needs at least one panel")
        names = {panel.name for panel in self.panels}
        for region in self.bad_regions:
            if region.panel is not None and region.panel not in names:
                raise ParameterError(f"bad region {region.name!r} is on {region.panel!r}, which is no panel")

    @classmethod
    def of(cls, geometry: PanelGeometry, *, data: str | None = None, mask: PixelMask | None = None) -> CrystFELGeometry:
        """The file for a detector, to be written.

        Parameters
        ----------
        geometry : PanelGeometry
        data : str, optional
            Path of the frames in their HDF5 file: a stack ``(frame, ss, fs)`` or ``(frame, module, ss, fs)``.
        mask : PixelMask, optional

        Raises
        ------
        ParameterError
            If the format cannot hold the name of a panel.
        """

        first = geometry.panels[0].clen

        def of_panel(panel: Panel) -> CrystFELPanel:
            values = {name: getattr(panel, name) for name in SHARED}
            clen = None if panel.clen is None or first is None else Quantity("clen", first, "m")  # a file has one for all panels
            if panel.clen is not None and first is not None and panel.clen != first:
                values["coffset"] = panel.coffset + (panel.clen - first)
            dims: Dims = ("%", "ss", "fs") if panel.module is None else ("%", panel.module, "ss", "fs")
            return CrystFELPanel(panel.name, **values, clen=clen, data=data, dims=dims, masks=() if mask is None else (mask,))

        beam = None if geometry.wavelength is None else Quantity("wavelength", geometry.wavelength, "m")
        return cls(tuple(of_panel(panel) for panel in geometry.panels), beam=beam)

    @property
    def wavelength(self) -> float | None:
        """In metres; ``None`` where it is not known, or stands in a data file."""
        value = None if self.beam is None else self.beam.standard
        if self.beam is None or value is None or value <= 0:
            return None
        if self.beam.name == "wavelength":
            return value
        energy = value * _ELEMENTARY_CHARGE
        if self.beam.name == "photon_energy":
            return H_TIMES_C / energy
        return _PLANCK / math.sqrt(2 * _ELECTRON_MASS * energy * (1 + energy / (2 * _ELECTRON_MASS * _LIGHT**2)))

    @property
    def data(self) -> tuple[str | None, ...]:
        """Where the frames lie in their HDF5 file; one place for all panels, as a rule."""
        return tuple(dict.fromkeys(panel.data for panel in self.panels))

    def axes(self, data: str | None = None) -> tuple[str, ...]:
        """Names of the axes of the frames: ``frame``, ``module`` where each is an array of its own, ``y`` and ``x``."""
        named = tuple(MODULE if isinstance(dim, int) else {"%": "frame", "ss": "y", "fs": "x"}[dim] for dim in self._at(data)[0].dims)
        return tuple(name if named.index(name) == i else f"{name}_{i}" for i, name in enumerate(named))

    def resolved(self, file: str | os.PathLike[str]) -> CrystFELGeometry:
        """The same with what stands in an HDF5 file as numbers; the median where there is one for each frame.

        Raises
        ------
        ReadError
            If the file cannot be read, or has no number there.
        """
        asked = {quantity for quantity in (self.beam, *self.shift, *(panel.clen for panel in self.panels)) if quantity is not None}
        with open_hdf5(Path(file)) as opened:
            known = {quantity: quantity.resolved(opened) for quantity in asked}
        return replace(
            self,
            panels=tuple(panel if panel.clen is None else replace(panel, clen=known[panel.clen]) for panel in self.panels),
            beam=None if self.beam is None else known[self.beam],
            shift=tuple(known[quantity] for quantity in self.shift),
        )

    @property
    def is_resolved(self) -> bool:
        """Whether all of it is numbers, and nothing stands in a data file."""
        return all(quantity.standard is not None for quantity in (*self.shift, self.beam, *(p.clen for p in self.panels)) if quantity)

    def detector(self, data: str | None = None) -> PanelGeometry:
        """Its panels; distances and the wavelength only where they are numbers: see `resolved`.

        Parameters
        ----------
        data : str, optional
            The place of the frames, where panels lie in several.

        Raises
        ------
        ParameterError
            If panels lie in several places and none is named, or it cannot be a detector: see `PanelGeometry`.
        """
        panels = self._at(data)
        if len({tuple("number" if isinstance(dim, int) else dim for dim in panel.dims) for panel in panels}) > 1:
            raise ParameterError("the dims of the panels differ: they do not lie in one array")
        shift = {quantity.name[-1]: quantity.standard for quantity in self.shift}
        if None in shift.values():
            raise ParameterError("detector_shift stands in a data file. Get it with resolved(file).")
        dx, dy = (shift.get(name) or 0.0 for name in "xy")
        places = [panel.place for panel in panels]
        if dx or dy:
            places = [replace(p, corner_x=p.corner_x + dx * p.res, corner_y=p.corner_y + dy * p.res) for p in places]
        return PanelGeometry(tuple(places), self.wavelength)

    def bad_pixels(
        self,
        shape: Sequence[int] | None = None,
        *,
        masks: Mapping[str, npt.ArrayLike] | npt.ArrayLike | None = None,
        data: str | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which pixels do not count: gaps, bad regions and panels, edges, and what masks say.

        Rules on the values of each frame (``flag_lessthan`` and so on) are not among them. A pixel lies in a region of the laboratory
        where its centre does.

        Parameters
        ----------
        shape : (ss, fs) or (module, ss, fs), optional
            Of the frames; by default the smallest that holds all panels.
        masks : array of integers, or mapping of str to such, optional
            The masks that the file names, by their place in the HDF5 file; one array where it names one. Without them only what the file
            itself says counts.
        data : str, optional
            As in `detector`.

        Returns
        -------
        array of bool, of ``shape``
            True where bad, as `MaskPixels` takes it.

        Raises
        ------
        AxisError
            If panels or masks do not fit ``shape``.
        DataError
            If a mask does not hold integers, is missing, or there is one and the file names none.
        """
        detector = self.detector(data)
        size = detector.slab_shape if shape is None else tuple(shape)
        detector.check(size)
        arrays = self._masks(masks, size, data)
        bad = np.ones(size, bool)
        for panel, place in zip(self._at(data), detector.panels, strict=True):
            part = self._bad_on(panel, place)
            for mask in panel.masks if masks is not None else ():
                if mask.data is not None:
                    part |= bad_pixels(arrays[mask.data][place.where], good=mask.good_bits, bad=mask.bad_bits)
            bad[place.where] = part
        return bad

    def to_text(self) -> str:
        """As the text of a file; reading it gives an equal value."""
        return as_text(self)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a geometry file.

        Raises
        ------
        WriteError
            If the file exists or cannot be written.
        """
        target = Path(path)
        refuse_existing(target, overwrite=overwrite)
        write_whole(target, self.to_text().encode())
        return target

    def _at(self, data: str | None) -> tuple[CrystFELPanel, ...]:
        """The panels of one place."""
        if data is None and len(self.data) > 1:
            raise ParameterError(f"the panels lie in several places; name one with data=: {', '.join(map(str, self.data))}")
        found = tuple(panel for panel in self.panels if data is None or panel.data == data)
        if not found:
            raise ParameterError(f"no panel lies at {data!r}; they lie at {', '.join(map(str, self.data))}")
        return found

    def _bad_on(self, panel: CrystFELPanel, place: Panel) -> npt.NDArray[np.bool_]:
        bad = np.full(place.shape, panel.no_index)
        edge = panel.mask_edge_pixels
        if edge > 0:
            bad[:edge] = bad[-edge:] = bad[:, :edge] = bad[:, -edge:] = True
        ss = np.arange(place.min_ss, place.max_ss + 1)[:, None]
        fs = np.arange(place.min_fs, place.max_fs + 1)[None, :]
        x, y, _ = place.at(*centres(place))
        for region in self.bad_regions:
            if region.panel not in (None, panel.name):
                continue
            if region.fs is not None and region.ss is not None:
                bad |= _between(fs, region.fs) & _between(ss, region.ss)
            elif region.x is not None and region.y is not None:
                bad |= _between(x, region.x) & _between(y, region.y)
        return bad

    def _masks(self, masks: Any, shape: tuple[int, ...], data: str | None) -> dict[str, npt.NDArray[Any]]:
        """The masks that are needed, by their place."""
        needed = list(dict.fromkeys(mask.data for panel in self._at(data) for mask in panel.masks if mask.data is not None))
        if masks is None:
            return {}
        if not needed:
            raise DataError("masks are given, and the geometry names none: what their bits mean is not known. Use pycroclass.bad_pixels.")
        if not isinstance(masks, Mapping):
            masks = {needed[0]: masks} if len(needed) == 1 else {}
        if missing := [place for place in needed if place not in masks]:
            raise DataError(f"the geometry names the masks {', '.join(needed)}; give them by name, these are missing: {', '.join(missing)}")
        arrays = {place: np.asarray(masks[place]) for place in needed}
        for place, array in arrays.items():
            if array.shape != shape:
                raise AxisError(f"the mask {place} has shape {array.shape}, the frames {shape}")
        return arrays


def _between(values: npt.NDArray[Any], ends: tuple[float, float]) -> npt.NDArray[np.bool_]:
    between: npt.NDArray[np.bool_] = (values >= ends[0]) & (values <= ends[1])
    return between
