"""A panel as a geometry file has it: where it stands, where its data lie, and which of its pixels do not count."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final

from pycroclass.crystfel.quantity import Quantity
from pycroclass.errors import ParameterError
from pycroclass.geometry import Panel

Dims = tuple[str | int, ...]

SHARED: Final = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss", "res", "coffset")
"""What a file says of a panel as `Panel` does."""

_RESERVED: Final = ("bad", "group", "rigid_group")


@dataclass(frozen=True)
class PixelMask:
    """Where a mask of bits lies, and what its bits mean: a pixel is bad unless it has all ``good_bits`` and none of ``bad_bits``.

    Parameters
    ----------
    number : int
        0 to 7.
    data, file : str, optional
        Path in the HDF5 file, and the file where it is not that of the frames.
    good_bits, bad_bits : int
    """

    number: int
    data: str | None = None
    file: str | None = None
    good_bits: int = 0
    bad_bits: int = 0


@dataclass(frozen=True)
class BadRegion:
    """Pixels that do not count: a rectangle of the data, or of the laboratory.

    Parameters
    ----------
    name : str
        Begins with ``bad``.
    fs, ss : (int, int), optional
        First and last pixel in the data.
    x, y : (float, float), optional
        From and to, in pixels from the beam. Either these, or ``fs`` and ``ss``.
    panel : str, optional
        The only one that it is on.

    Raises
    ------
    ParameterError
        If it is neither the one nor the other.
    """

    name: str
    fs: tuple[int, int] | None = None
    ss: tuple[int, int] | None = None
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    panel: str | None = None

    def __post_init__(self) -> None:
        known = tuple(axis for axis in ("fs", "ss", "x", "y") if getattr(self, axis) is not None)
        if known not in (("fs", "ss"), ("x", "y")):
            raise ParameterError(f"bad region {self.name!r} needs min and max of fs and ss, or of x and y; it has {known or 'none'}")


@dataclass(frozen=True)
class CrystFELPanel:
    """A panel, and where its data lie in a file. See `Panel` for its place.

    Parameters
    ----------
    name : str
    min_fs, max_fs, min_ss, max_ss, corner_x, corner_y, fs, ss, res, coffset
        As of `Panel`.
    clen : Quantity, optional
    data : str, optional
        Path of the frames in an HDF5 file.
    dims : tuple
        What each axis of them is: ``"%"`` counts frames, a number is a module, then ``"ss"`` and ``"fs"``.
    masks : tuple of PixelMask
    no_index : bool
        The whole panel is bad.
    mask_edge_pixels : int
        Width of its edge that is bad.
    adu_per_photon, adu_per_eV, max_adu : float, optional
    other : tuple of (str, str)
        What else the file says of it, as it stands there.

    Raises
    ------
    ParameterError
        If ``dims`` or the name cannot be.
    """

    name: str
    _: KW_ONLY
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    fs: tuple[float, float, float] = (1.0, 0.0, 0.0)
    ss: tuple[float, float, float] = (0.0, 1.0, 0.0)
    res: float
    coffset: float = 0.0
    clen: Quantity | None = None
    data: str | None = None
    dims: Dims = ("ss", "fs")
    masks: tuple[PixelMask, ...] = ()
    no_index: bool = False
    mask_edge_pixels: int = 0
    adu_per_photon: float | None = None
    adu_per_eV: float | None = None
    max_adu: float | None = None
    other: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.name.startswith(_RESERVED) or not self.name or set(self.name) & set("/=; \t\n"):
            raise ParameterError(f"a panel cannot be named {self.name!r}: it must not begin with {', '.join(_RESERVED)}, nor hold / = ;")
        plane = tuple(dim for dim in self.dims if dim in ("ss", "fs"))
        if plane != ("ss", "fs"):
            raise ParameterError(f"panel {self.name!r}: dims must hold ss and behind it fs, once, got {self.dims}")
        if len([dim for dim in self.dims if isinstance(dim, int)]) > 1:
            raise ParameterError(f"panel {self.name!r}: dims may hold one number, that of the module, got {self.dims}")
        self.place  # noqa: B018  # refuses what no panel can be

    @property
    def place(self) -> Panel:
        """Where it stands; without ``clen`` where that stands in a data file."""
        return Panel(
            self.name,
            **{name: getattr(self, name) for name in SHARED},
            clen=None if self.clen is None else self.clen.standard,
            module=next((dim for dim in self.dims if isinstance(dim, int)), None),
        )
