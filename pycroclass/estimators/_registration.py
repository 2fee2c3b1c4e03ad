"""How far one image lies from another, to a fraction of a pixel, and what many such measurements say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch

FloatArray = npt.NDArray[np.float64]
Vector = tuple[float, float]

_SMALLEST: Final = 100 * float(np.finfo(np.float64).eps)
"""Amplitudes below this, relative to the largest, are rounding errors: their phase says nothing."""
_N_REWEIGHTED: Final = 30
_CAUCHY: Final = 2.385
_SD_PER_MAD: Final = 1.4826


class Image(NamedTuple):
    """An image ``(y, x)`` and half of its Fourier transform, as `Correlator` made it."""

    values: torch.Tensor
    spectrum: torch.Tensor


@dataclass(frozen=True)
class Correlator:
    """Measures shifts between images of one shape: the peak of their cross-correlation, found by upsampling around it.

    The peak of the inverse Fourier transform gives whole pixels; a matrix Fourier transform of ``1.5 * upsample`` points on each side
    gives the rest (Guizar-Sicairos, Thurman and Fienup, Opt. Lett. 33, 156, 2008). It is
    ``skimage.registration.phase_cross_correlation`` with a radius in which to search, on half of the spectrum.

    A taper stands still while the images move under it, and draws the peak towards zero. So images that lie whole pixels apart are
    measured once more, each on the part of it that the other shows too.

    Parameters
    ----------
    shape : (y, x)
    upsample : int
        Shifts are multiples of ``1 / upsample`` pixels.
    is_phase : bool
        Whether all frequencies weigh the same.
    tapers : bool
        Whether a Hann window takes away the borders, which do not move.
    """

    shape: tuple[int, ...]
    upsample: int
    is_phase: bool
    tapers: bool

    def prepared(self, values: torch.Tensor) -> Image:
        """What `shift` wants to know of an image ``(y, x)``."""
        image = values.to(torch.float64)
        if self.tapers:
            y, x = (torch.hann_window(n, periodic=False, dtype=torch.float64) for n in self.shape)
            weight = y[:, None] * x
            image = (image - (image * weight).sum() / weight.sum()) * weight
        spectrum = torch.fft.rfft2(image)
        size = spectrum.abs()
        scale = size.clamp(min=_SMALLEST * size.max()) if self.is_phase else size.max()
        return Image(values, (spectrum / scale.clamp(min=torch.finfo(torch.float64).tiny)).to(torch.complex64))

    def shift(self, reference: Image, moving: Image, around: Vector = (0.0, 0.0), radius: float = math.inf) -> Vector:
        """The shift (y, x) in pixels that brings one image onto the other, no farther than ``radius`` from ``around``."""
        product = reference.spectrum * moving.spectrum.conj()
        whole = self._whole(product, around, radius)
        overlap = [n - abs(s) for n, s in zip(self.shape, whole, strict=True)]
        if not self.tapers or whole == (0, 0) or any(4 * left < n for left, n in zip(overlap, self.shape, strict=True)):
            return self._refined(product, whole)
        shown = replace(self, shape=tuple(overlap))
        parts = (_part(reference.values, whole), _part(moving.values, (-whole[0], -whole[1])))
        first, second = (shown.prepared(part).spectrum for part in parts)
        product = first * second.conj()
        rest = shown._refined(product, shown._whole(product, (around[0] - whole[0], around[1] - whole[1]), radius))
        return whole[0] + rest[0], whole[1] + rest[1]

    def _whole(self, product: torch.Tensor, around: Vector, radius: float) -> tuple[int, int]:
        """The highest pixel of the correlation."""
        correlation = torch.fft.irfft2(product, s=self.shape)
        y, x = (_places(n, middle) for n, middle in zip(self.shape, around, strict=True))
        if math.isfinite(radius):
            distance = torch.hypot((y - around[0])[:, None], (x - around[1])[None])
            correlation = correlation.masked_fill(distance > max(radius, float(distance.min())), -torch.inf)
        row, column = divmod(int(correlation.argmax()), self.shape[1])
        return int(y[row]), int(x[column])

    def _refined(self, product: torch.Tensor, whole: tuple[int, int]) -> Vector:
        """The peak on a grid of ``1 / upsample`` pixels, up to 3/4 of a pixel from a whole one."""
        height, width = self.shape
        reach = math.ceil(0.75 * self.upsample) if self.upsample > 1 else 0
        fine = torch.arange(-reach, reach + 1, dtype=torch.float64) / self.upsample
        rows, columns = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.rfftfreq(width, dtype=torch.float64)
        twice = torch.full((len(columns),), 2.0, dtype=torch.float64)  # for the half of the spectrum that is not stored
        twice[0] = 1.0
        if width % 2 == 0:
            twice[-1] = 1.0
        left = torch.exp(2j * math.pi * (fine + whole[0])[:, None] * rows).to(torch.complex64)
        right = (twice[:, None] * torch.exp(2j * math.pi * columns[:, None] * (fine + whole[1]))).to(torch.complex64)
        row, column = divmod(int((left @ product @ right).real.argmax()), len(fine))
        return whole[0] + float(fine[row]), whole[1] + float(fine[column])


def _part(image: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    """The part of an image that another one, moved by ``shift`` onto it, covers."""
    y, x = (slice(max(0, s), n + min(0, s)) for s, n in zip(shift, image.shape, strict=True))
    return image[y, x]


def _places(n: int, middle: float) -> torch.Tensor:
    """The shift that each point of a periodic correlation stands for: of all it may be, the one nearest to ``middle``."""
    shifts: torch.Tensor = torch.fft.fftfreq(n, d=1 / n, dtype=torch.float64)
    nearest: torch.Tensor = shifts + n * torch.round((middle - shifts) / n)
    return nearest


@dataclass(frozen=True)
class Pair:
    """One measurement: the shift that brings frame ``second`` onto frame ``first``."""

    first: int
    second: int
    shift: Vector


def positions(pairs: Sequence[Pair], n: int, least_spread: float) -> FloatArray:
    """The shifts (n, 2) that bring each frame onto frame 0, which agree best with all pairs.

    Least squares, repeated with weights ``1 / (1 + (r / c)²)`` of the residuals r, ``c`` 2.385 times their robust spread: a pair that was
    measured wrong, such as by a lattice vector, does not count (Holland and Welsch, Commun. Stat. A6, 813, 1977).

    Parameters
    ----------
    pairs : sequence of Pair
        With one between each frame and the next.
    n : int
        Number of frames.
    least_spread : float
        What residuals are expected at least, in pixels.
    """
    first, second = (np.array([getattr(pair, name) for pair in pairs]) for name in ("first", "second"))
    measured = np.array([pair.shift for pair in pairs])
    weights = np.ones(len(pairs))
    for _ in range(_N_REWEIGHTED):
        found = _least_squares(first, second, measured, weights, n)
        residuals = np.linalg.norm(found[second] - found[first] - measured, axis=1)
        spread = max(_SD_PER_MAD * float(np.median(residuals)), least_spread)
        weights = 1 / (1 + (residuals / (_CAUCHY * spread)) ** 2)
    return found


def _least_squares(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], measured: FloatArray, weights: FloatArray, n: int
) -> FloatArray:
    """The normal equations, a band as wide as the largest lag, with frame 0 held at 0."""
    n_bands = int((second - first).max()) + 1
    band = np.zeros((n_bands, n))
    right = np.zeros((n, 2))
    np.add.at(band[0], first, weights)
    np.add.at(band[0], second, weights)
    np.add.at(band, (second - first, first), -weights)
    np.add.at(right, second, weights[:, None] * measured)
    np.add.at(right, first, -weights[:, None] * measured)
    free: FloatArray = scipy.linalg.solveh_banded(band[: max(1, min(n_bands, n - 1)), 1:], right[1:], lower=True)
    return np.vstack([np.zeros((1, 2)), free])
