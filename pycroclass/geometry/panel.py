"""One panel of a detector: a flat rectangle of pixels, and where it stands."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from operator import index
from typing import Any

import numpy as np

from pycroclass.errors import ParameterError
from pycroclass.geometry.flat import FloatArray

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Panel:
    """A flat rectangle of pixels, in the terms of CrystFEL.

    The laboratory has z along the beam, away from the source, y upwards, and x such that the three are right-handed; the sample is at
    0. The centre of the pixel ``(ss, fs)`` stands at ``x = (corner_x + (fs - min_fs + 1/2) fs_x + (ss - min_ss + 1/2) ss_x) / res``, y
    alike, and ``z = clen + coffset + ((fs - min_fs + 1/2) fs_z + (ss - min_ss + 1/2) ss_z) / res``.

    Parameters
    ----------
    name : str
    min_fs, max_fs, min_ss, max_ss : int
        Its pixels in the array, both ends included: ``fs`` (fast scan) along the last axis, ``ss`` (slow scan) along the one before.
    corner_x, corner_y : float
        Outer corner of its first pixel from the beam, in pixels.
    fs, ss : (x, y, z)
        The step from one pixel to the next along each, in pixels; a component along z is a tilt.
    res : float
        Pixels per metre.
    clen : float, optional
        Sample to detector along the beam, in metres.
    coffset : float
        Added to ``clen``, in metres.
    module : int, optional
        Position along the first axis of an array ``(module, ss, fs)``.

    Raises
    ------
    ParameterError
        If a number is missing or not finite, the rectangle empty, or the two steps are parallel.

    Examples
    --------
    >>> Panel("p0", min_fs=0, max_fs=193, min_ss=0, max_ss=184, corner_x=10, corner_y=-20, res=9090.9).shape
    (185, 194)
    """

    name: str
    _: KW_ONLY
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    fs: Vector = (1.0, 0.0, 0.0)
    ss: Vector = (0.0, 1.0, 0.0)
    res: float
    clen: float | None = None
    coffset: float = 0.0
    module: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_fs", "max_fs", "min_ss", "max_ss", "module"):
            self._set(name, self._whole(name))
        if self.max_fs < self.min_fs or self.max_ss < self.min_ss:
            raise ParameterError(
                f"panel {self.name!r} has no pixels: fs from {self.min_fs} to {self.max_fs}, ss from {self.min_ss} to {self.max_ss}"
            )
        for name in ("corner_x", "corner_y", "res", "clen", "coffset"):
            self._set(name, self._finite(name))
        if self.res <= 0:
            raise ParameterError(f"panel {self.name!r}: res must be above zero, in pixels per metre, got {self.res!r}")
        for name in ("fs", "ss"):
            self._set(name, self._vector(name))
        if not np.any(self.normal):
            raise ParameterError(f"panel {self.name!r}: fs and ss must not be parallel, got {self.fs} and {self.ss}")

    @property
    def shape(self) -> tuple[int, int]:
        """``(ss, fs)`` in pixels."""
        return self.max_ss - self.min_ss + 1, self.max_fs - self.min_fs + 1

    @property
    def where(self) -> tuple[int | slice, ...]:
        """Its part of the array ``(ss, fs)`` or ``(module, ss, fs)``, as an index."""
        part = slice(self.min_ss, self.max_ss + 1), slice(self.min_fs, self.max_fs + 1)
        return part if self.module is None else (self.module, *part)

    @property
    def z(self) -> float | None:
        """Where its corner stands along the beam, in metres."""
        return None if self.clen is None else self.clen + self.coffset

    @property
    def normal(self) -> FloatArray:
        """``fs x ss``, perpendicular to the panel."""
        (a, b, c), (d, e, f) = self.fs, self.ss
        return np.array([b * f - c * e, c * d - a * f, a * e - b * d])

    def at(self, fs: FloatArray, ss: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(x, y, z)`` at distances from its corner, all in its pixels; z counts from the corner."""
        x, y, z = (start + fs * a + ss * b for start, a, b in zip((self.corner_x, self.corner_y, 0.0), self.fs, self.ss, strict=True))
        return x, y, z

    def cut(self, min_ss: int, min_fs: int, max_ss: int, max_fs: int) -> Panel | None:
        """What of it lies in a rectangle of the array, ends included; ``None`` where nothing does."""
        first = max(self.min_ss, min_ss), max(self.min_fs, min_fs)
        last = min(self.max_ss, max_ss), min(self.max_fs, max_fs)
        if last[0] < first[0] or last[1] < first[1]:
            return None
        ss, fs = first[0] - self.min_ss, first[1] - self.min_fs
        return replace(
            self,
            min_ss=first[0],
            min_fs=first[1],
            max_ss=last[0],
            max_fs=last[1],
            corner_x=self.corner_x + fs * self.fs[0] + ss * self.ss[0],
            corner_y=self.corner_y + fs * self.fs[1] + ss * self.ss[1],
            coffset=self.coffset + (fs * self.fs[2] + ss * self.ss[2]) / self.res,
        )

    def moved(self, ss: int, fs: int) -> Panel:
        """The same panel, elsewhere in the array."""
        return replace(self, min_ss=self.min_ss + ss, max_ss=self.max_ss + ss, min_fs=self.min_fs + fs, max_fs=self.max_fs + fs)

    def binned(self, ss: int, fs: int) -> Panel | None:
        """The panel after ``ss`` by ``fs`` pixels became one; ``None`` where its edges lie within such bins."""
        if self.min_ss % ss or (self.max_ss + 1) % ss or self.min_fs % fs or (self.max_fs + 1) % fs:
            return None
        return replace(
            self,
            min_ss=self.min_ss // ss,
            max_ss=(self.max_ss + 1) // ss - 1,
            min_fs=self.min_fs // fs,
            max_fs=(self.max_fs + 1) // fs - 1,
            corner_x=self.corner_x / fs,
            corner_y=self.corner_y / fs,
            ss=(self.ss[0] * ss / fs, self.ss[1] * ss / fs, self.ss[2] * ss / fs),
            res=self.res / fs,
        )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _whole(self, name: str) -> int | None:
        value = getattr(self, name)
        if value is None and name == "module":
            return None
        try:
            whole = index(value)
        except TypeError:
            raise ParameterError(f"panel {self.name!r}: {name} must be a whole number, got {value!r}") from None
        if whole < 0:
            raise ParameterError(f"panel {self.name!r}: {name} must not be below zero, got {value!r}")
        return whole

    def _finite(self, name: str) -> float | None:
        value = getattr(self, name)
        if value is None and name == "clen":
            return None
        return finite(f"panel {self.name!r}: {name}", value)

    def _vector(self, name: str) -> Vector:
        value = getattr(self, name)
        try:
            x, y, z = value
        except (TypeError, ValueError):
            raise ParameterError(f"panel {self.name!r}: {name} must be a vector (x, y, z), got {value!r}") from None
        what = f"panel {self.name!r}: {name}"
        return finite(what, x), finite(what, y), finite(what, z)


def centres(panel: Panel) -> tuple[FloatArray, FloatArray]:
    """Along fs and along ss, in pixels from the corner."""
    n_ss, n_fs = panel.shape
    return np.arange(n_fs, dtype=np.float64)[None, :] + 0.5, np.arange(n_ss, dtype=np.float64)[:, None] + 0.5


def finite(name: str, value: Any) -> float:
    """As a number.

    Raises
    ------
    ParameterError
        If it is none, or not finite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ParameterError(f"{name} must be finite, got {value!r}")
    return number
