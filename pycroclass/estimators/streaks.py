"""The streak that a jet throws across all frames of a run."""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators._items import check_finite, check_real
from pycroclass.estimators._moments import Moments
from pycroclass.geometry import DetectorGeometry
from pycroclass.operator import set_field
from pycroclass.operators._checks import finite, positive
from pycroclass.operators.mask_pixels import MaskPixels
from pycroclass.operators.radial_snr import RadialSNR
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_SD_PER_MAD: Final = 1.4826
_CLIP: Final = 5.0
"""Standard deviations of its ring that a pixel counts at most: one that is bright says little of its direction."""
_FEWEST: Final = 8


@dataclass(frozen=True)
class StreakMask(Estimator):
    """The directions through the beam along which the background stands out: the streak of a liquid jet, as a mask, in one pass.

    A jet, or the edge of an aperture, scatters along one line through the beam, in all frames of a run. Noise is larger there than
    elsewhere on a ring, and peak finders take it for peaks.

    The mean of each pixel over all frames is counted in standard deviations ``s`` of its ring, at most five of them (`RadialSNR`).
    The pixels of each direction, an angle around the beam modulo 180 degrees, are summed up:

        ``z(φ) = Σ s / √n(φ)``

    over its ``n(φ)`` pixels, which is of unit spread where these differ by independent noise. A direction belongs to a streak where
    ``z`` exceeds the median of all directions by more than ``threshold`` times their spread, the larger of ``1.4826 * MAD`` and 1. What
    varies smoothly with the angle, such as the polarisation of the background, moves all directions and is none.

    Pixels that never change, as masked ones, do not count. Fitting gives a `MaskPixels`, which leaves all pixels good where there is no
    streak.

    Parameters
    ----------
    threshold : float
        Robust standard deviations.
    n_directions : int
        That 180 degrees are divided into; at least 8.
    most : float
        Largest share of the directions that is masked, those that stand out most; above 0, below 0.5.
    fill : "interpolate" or float
        What `MaskPixels` puts in place of the streak. NaN is left out by radial operators and peak finders.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    AxisError
        If the geometry of the dataset is not known.
    DataError
        If the data are complex or not finite, or all frames are equal.

    Notes
    -----
    Bragg peaks are bright, and the mean over few frames holds them in full. In a run with many hits, put ``RadialSNR(clip=(-5, 5))``
    before, so that a peak in one frame counts little; `pycroclass.hits.run_mask` does.

    Examples
    --------
    >>> import sidpy
    >>> import pycroclass as pc
    >>> y, x = np.mgrid[-50:51, -50:51]
    >>> streak = np.abs(np.sin(np.arctan2(y, x) - np.radians(30))) < 0.05
    >>> photons = np.random.default_rng(0).poisson(5 + 3 * streak, (20, 101, 101))
    >>> frames = pc.with_geometry(sidpy.Dataset.from_array(photons), pc.Geometry((50, 50)), axes=("frame", "y", "x"))
    >>> mask = pc.fit(pc.StreakMask(), frames)[-1].mask.values
    >>> bool(mask[streak].mean() > 0.9), bool(mask[~streak].mean() < 0.02)
    (True, True)
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    _: KW_ONLY
    threshold: float = 8.0
    n_directions: int = 180
    most: float = 0.1
    fill: float | str = math.nan

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "threshold", positive("threshold", self.threshold))
        if not isinstance(self.n_directions, int) or self.n_directions < _FEWEST:
            raise ParameterError(f"n_directions must be a whole number of at least {_FEWEST}, got {self.n_directions!r}")
        set_field(self, "most", finite("most", self.most))
        if not 0 < self.most < 0.5:
            raise ParameterError(f"most is a share of the directions above 0 and below 0.5, got {self.most!r}")
        if self._n_most < 1:
            raise ParameterError(f"most={self.most:g} of n_directions={self.n_directions} is not one direction: nothing could be masked")
        set_field(self, "fill", MaskPixels(ArrayValue([[False]]), fill=self.fill).fill)

    @property
    def _n_most(self) -> int:
        return int(self.most * self.n_directions)

    def passes_once(self, spec: Spec) -> bool:
        return True

    def fit(self, data: Data, spec: Spec) -> MaskPixels:
        """The mask of the streak, True where bad."""
        check_real(spec)
        if spec.geometry is None:
            raise AxisError(
                f"a streak goes through the beam, and where it hits {spec.title!r} is not known. "
                "Say it with pycroclass.with_geometry(frames, pycroclass.Geometry((y, x)))."
            )
        _, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        if not squares.any():
            raise DataError(f"all {data.n_items} frames of {spec.title!r} are equal: there is nothing to tell a streak by")
        image = mean.where(squares > 0, torch.nan).reshape(spec.shape)
        direction = self._direction(spec.geometry, spec.shape)
        snr = RadialSNR(clip=(-_CLIP, _CLIP), geometry=spec.geometry).transform(image[None])[0].numpy()
        good = ~image.isnan().numpy() & (direction >= 0)
        bad = np.stack([self._streak(*pair, direction) for pair in zip(snr, good, strict=True)])
        return MaskPixels(ArrayValue(bad[0] if len(bad) == 1 else bad), fill=self.fill, axes=self.axes)

    def _direction(self, geometry: DetectorGeometry, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Number of the direction of each pixel ``(y, x)``; -1 in gaps between panels."""
        azimuth = geometry.azimuth((shape[-2], shape[-1]))
        number = np.floor(np.where(np.isnan(azimuth), 0, azimuth) / math.pi * self.n_directions).astype(np.int64) % self.n_directions
        return np.where(np.isnan(azimuth), -1, number)

    def _streak(self, snr: FloatArray, good: npt.NDArray[np.bool_], direction: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The pixels ``(y, x)`` of directions that stand out."""
        n = np.bincount(direction[good], minlength=self.n_directions)
        sums = np.bincount(direction[good], snr[good], self.n_directions)
        seen = n > 0
        z = sums[seen] / np.sqrt(n[seen])
        above = np.zeros(self.n_directions)
        above[seen] = (z - np.median(z)) / max(1.0, _SD_PER_MAD * float(np.median(np.abs(z - np.median(z)))))
        strongest = np.argsort(-above, kind="stable")[: self._n_most]
        chosen = np.sort(strongest[above[strongest] > self.threshold])
        angles = ", ".join(f"{angle:.0f}" for angle in (chosen + 0.5) * 180 / self.n_directions)
        log.info("%d of %d directions through the beam stand out%s", len(chosen), self.n_directions, angles and f": {angles} degrees")
        return np.isin(direction, chosen)
