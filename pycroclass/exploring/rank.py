"""How many principal components stand out of the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import sidpy
from scipy.integrate import quad
from scipy.optimize import brentq

from pycroclass.errors import DataError
from pycroclass.estimators._moments import Scatter
from pycroclass.operator import set_field
from pycroclass.passes import Nonfinite, Passes
from pycroclass.sid import unwrap
from pycroclass.spec import Domain
from pycroclass.stage import Execution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FEATURES: Final = 4096


@dataclass(frozen=True)
class Scree:
    """Variances of all principal components, and which of them noise alone would not give.

    Parameters
    ----------
    variances : tuple of float
        Of the components, falling, in squared units of the data; those that must be zero are left out.
    n_items : int
    n_features : int
        That vary at all.

    Examples
    --------
    >>> scree = Scree((90.0, 1.2, 1.1, 1.0, 1.0, 0.9, 0.8), 10_000, 7)
    >>> scree.rank, round(scree.noise_variance, 2)
    (1, 1.0)
    """

    variances: tuple[float, ...]
    n_items: int
    n_features: int

    def __post_init__(self) -> None:
        set_field(self, "variances", tuple(float(value) for value in self.variances))

    @property
    def aspect(self) -> float:
        """The smaller number of items and features over the larger."""
        return min(self.n_items - 1, self.n_features) / max(self.n_items - 1, self.n_features)

    @property
    def noise_variance(self) -> float:
        """Variance of the noise of one value, from the median of all components; right if the noise is white."""
        larger = max(self.n_items - 1, self.n_features)
        return float(np.median(self.variances)) / median_of_noise(self.aspect) * (self.n_items - 1) / larger

    @property
    def threshold(self) -> float:
        """What the variance of a component must exceed to be kept."""
        return float(np.median(self.variances)) * hard_threshold(self.aspect) ** 2 / median_of_noise(self.aspect)

    @property
    def rank(self) -> int:
        """Number of components above the threshold of Gavish and Donoho, which is optimal for white noise of unknown strength."""
        return int(np.count_nonzero(np.array(self.variances) > self.threshold))

    @property
    def explained_variance_ratio(self) -> tuple[float, ...]:
        """Share of the total variance that each component explains."""
        total = sum(self.variances)
        return tuple(value / total for value in self.variances)

    def plot(self, n_components: int = 30) -> Figure:
        """The variances of the first components over their number, with the threshold."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.add_subplot()
        shown = self.variances[:n_components]
        axes.semilogy(range(1, len(shown) + 1), shown, "o-", markersize=4)
        axes.axhline(self.threshold, linestyle="--", color="0.4", label=f"noise: {self.rank} components above")
        axes.set_xlabel("component")
        axes.set_ylabel("variance")
        axes.legend()
        return figure


def scree(
    dataset: sidpy.Dataset,
    *,
    axes: tuple[str, ...] | None = None,
    nonfinite: Nonfinite = "refuse",
    mask: npt.ArrayLike | None = None,
    execution: Execution | None = None,
) -> Scree:
    """The variances of all principal components, from one pass over the data, and how many stand out of the noise.

    The noise has to be white: alike in all features, and independent. Counts are made so by `Anscombe` or `PoissonScale` before; a
    detector that spreads a count over several channels cannot be, and its rank comes out too high.

    Parameters
    ----------
    dataset : sidpy.Dataset
    axes : tuple of str, optional
        Names of the axes of one item.
    nonfinite, mask, execution
        As of `fit`.

    Raises
    ------
    DataError
        If items have more than 4096 features, there are fewer than three items, or they are complex or all equal.

    References
    ----------
    M. Gavish and D. L. Donoho, IEEE Trans. Inf. Theory 60, 5040 (2014).

    Examples
    --------
    >>> import pycroclass as pc
    >>> pc.scree(pc.Anscombe()(dataset)).rank  # doctest: +SKIP
    3
    """
    array, spec = unwrap(dataset)
    data = Passes.over(array, spec, Domain.ITEM, axes, nonfinite=nonfinite, mask=mask, execution=execution)
    n_features = math.prod(data.item.shape)
    if spec.dtype.kind == "c":
        raise DataError(f"{spec.title!r} holds complex values ({spec.dtype}); take their modulus or their real part first")
    if n_features > _MOST_FEATURES:
        raise DataError(f"items of {n_features} features are too large, at most {_MOST_FEATURES} can be: put Bin, Crop or Select before")
    n, _, scatter = (part.numpy() for part in data.reduce(Scatter()))
    varying = np.diagonal(scatter) > 0
    if n < 3 or not varying.any():
        raise DataError(f"{spec.title!r} has {int(n)} items, of which {int(varying.sum())} features vary: there is nothing to decompose")
    covariance = scatter[np.ix_(varying, varying)] / (n - 1)
    values = np.linalg.eigvalsh(covariance, UPLO="U")[::-1][: int(n) - 1]
    return Scree(tuple(np.maximum(values, 0).tolist()), int(n), int(varying.sum()))


def hard_threshold(aspect: float) -> float:
    """What a singular value must exceed, in units of the noise times the root of the larger side (Gavish and Donoho 2014, equation 11).

    Examples
    --------
    >>> round(hard_threshold(1.0), 4)
    2.3094
    """
    return math.sqrt(2 * (aspect + 1) + 8 * aspect / (aspect + 1 + math.sqrt(aspect**2 + 14 * aspect + 1)))


@cache
def median_of_noise(aspect: float) -> float:
    """The median of the Marchenko-Pastur distribution: of the squared singular values of white noise, over the larger side.

    Examples
    --------
    >>> round(hard_threshold(1.0) / median_of_noise(1.0) ** 0.5, 3)
    2.858
    """
    low, high = (1 - math.sqrt(aspect)) ** 2, (1 + math.sqrt(aspect)) ** 2
    middle, half = (low + high) / 2, (high - low) / 2

    def below(angle: float) -> float:
        """The share of values below ``middle - half * cos(angle)``."""
        return float(quad(lambda t: (half * math.sin(t)) ** 2 / max(middle - half * math.cos(t), 1e-300), 0, angle)[0]) / (
            2 * math.pi * aspect
        )

    angle = float(brentq(lambda t: below(t) - 0.5, 0, math.pi))
    return middle - half * math.cos(angle)
