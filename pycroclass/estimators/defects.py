"""Bad pixels of a detector, found from all frames of a run."""

from __future__ import annotations

import logging
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import median_filter, uniform_filter

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import check_finite, check_real
from pycroclass.estimators._moments import Moments
from pycroclass.geometry import DetectorGeometry
from pycroclass.operator import set_field
from pycroclass.operators._checks import finite
from pycroclass.operators.background import RadialMedian
from pycroclass.operators.mask_pixels import MaskPixels
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_SD_PER_MAD: Final = 1.4826
_MAX_STILL: Final = 0.05


@dataclass(frozen=True)
class DefectMask(Estimator):
    """Pixels that are hot, noisy or dead, from the mean and variance of each pixel over all frames, in one pass.

    A pixel is *hot* where its mean, and *noisy* where its standard deviation, exceeds the median of the ``window * window`` pixels
    around it by more than ``threshold`` times their spread. The spread is the larger of ``1.4826 * MAD`` and the root mean square of
    the excesses of the others, none of which counts more than the 99 per cent percentile of all. Where the geometry of the dataset is
    known, the radial median is taken off first, so that defects on powder rings are seen as well.

    A pixel is *dead* where it never changes. Where more than 5 per cent of the neighbours of changing pixels never change, too few
    photons fell to tell, and none is called dead. Fitting gives a `MaskPixels`.

    Parameters
    ----------
    threshold : float
        Robust standard deviations.
    window : int
        Odd, at least 3.
    fill : "interpolate" or float
        What `MaskPixels` puts in place of bad pixels.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    DataError
        If the data are complex or not finite, or there are fewer than three different frames.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.DefectMask() | pc.RadialSNR(), run)  # doctest: +SKIP
    >>> bad = model[0].mask.values  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    _: KW_ONLY
    threshold: float = 8.0
    window: int = 7
    fill: float | str = "interpolate"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "threshold", finite("threshold", self.threshold))
        if self.threshold <= 0:
            raise ParameterError(f"threshold must be above zero, got {self.threshold!r}")
        if not isinstance(self.window, int) or self.window < 3 or self.window % 2 == 0:
            raise ParameterError(f"window must be an odd number of at least 3 pixels, got {self.window!r}")
        MaskPixels(ArrayValue([[False]]), fill=self.fill)  # refuses a wrong fill before any pass

    def fit(self, data: Data, spec: Spec) -> MaskPixels:
        """The mask of bad pixels, True where bad."""
        check_real(spec)
        if data.n_items < 3:
            raise DataError(f"DefectMask needs at least three frames to see a spread, got {data.n_items}")
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        if not squares.any():
            raise DataError(f"all {data.n_items} frames of {spec.title!r} are equal: which pixels are dead cannot be told")
        deviation = np.sqrt(squares.numpy() / (float(n) - 1)).reshape(spec.shape)
        kinds = {
            "hot": self._stands_out(mean.numpy().reshape(spec.shape), spec.geometry),
            "noisy": self._stands_out(deviation, spec.geometry),
            "dead": _dead(deviation),
        }
        log.info("of %d pixels: %s", len(mean), ", ".join(f"{np.count_nonzero(bad)} {kind}" for kind, bad in kinds.items()))
        bad = np.logical_or.reduce(list(kinds.values()))
        return MaskPixels(ArrayValue(bad[0] if len(bad) == 1 else bad), fill=self.fill, axes=self.axes)

    def _stands_out(self, image: FloatArray, geometry: DetectorGeometry | None) -> npt.NDArray[np.bool_]:
        """Where an image ``(channel, y, x)`` lies above its surroundings."""
        if geometry is not None:
            background = RadialMedian(geometry=geometry).transform(torch.from_numpy(image)[None])[0].numpy()
            image = np.where(np.isnan(background), 0, image - background)  # in gaps between panels nothing stands out
        excess = image - _median(image, self.window)
        spread = np.maximum(_SD_PER_MAD * _median(np.abs(excess), self.window), _rms(excess, self.window))
        stands_out: npt.NDArray[np.bool_] = excess > self.threshold * spread
        return stands_out


def _median(image: FloatArray, window: int) -> FloatArray:
    """The median of the window around each pixel, for each channel."""
    median: FloatArray = median_filter(image, size=(1, window, window), mode="nearest")
    return median


def _rms(excess: FloatArray, window: int) -> FloatArray:
    """The root mean square of the others in the window around each pixel; where counts are few the MAD alone would be zero."""
    squares = np.minimum(np.square(excess), np.percentile(np.square(excess), 99))
    n = window * window
    others = (n * uniform_filter(squares, size=(1, window, window), mode="nearest") - squares) / (n - 1)
    rms: FloatArray = np.sqrt(others.clip(min=0))
    return rms


def _dead(deviation: FloatArray) -> npt.NDArray[np.bool_]:
    """Pixels that never change, unless this is common beside pixels that do."""
    still = deviation == 0
    beside_changing = uniform_filter(still.astype(np.float64), size=(1, 3, 3), mode="nearest")[~still]
    return still if beside_changing.mean() <= _MAX_STILL else np.zeros_like(still)
