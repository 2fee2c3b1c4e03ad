"""How many end members a data set has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import _signal_subspace as subspace
from pycroclass.estimators._moments import Scatter
from pycroclass.passes import Nonfinite, Passes
from pycroclass.sid import unwrap
from pycroclass.spec import Domain
from pycroclass.stage import Execution

if TYPE_CHECKING:
    import sidpy

_WIDEST = 8192


@dataclass(frozen=True, eq=False)
class VirtualDimension:
    """How many spectrally different signals stand out of the noise, by two methods that may disagree.

    Parameters
    ----------
    hysime : int
        HySime: dimensions of the subspace that keeps most signal and adds least noise (Bioucas-Dias and Nascimento 2008).
    nwhfc : int
        Eigenvalues of noise-whitened data that the mean enlarges (noise-whitened Harsanyi-Farrand-Chang: Chang and Du 2004).
    errors : array, shape (n_features + 1,)
        HySime's mean squared error for 0, 1, 2, … dimensions, up to a constant, in squared units of the data; smallest at ``hysime``.
    noise_sd : array, shape (n_features,)
        Estimated standard deviation of the noise of each feature, in units of the data.
    """

    hysime: int
    nwhfc: int
    errors: npt.NDArray[np.float64] = field(repr=False)
    noise_sd: npt.NDArray[np.float64] = field(repr=False)


def virtual_dimension(
    dataset: sidpy.Dataset,
    *,
    false_alarm: float = 1e-3,
    axes: tuple[str, ...] | None = None,
    nonfinite: Nonfinite = "refuse",
    execution: Execution | None = None,
) -> VirtualDimension:
    """Estimate the number of end members, in one pass over the data.

    Both methods take noise to be additive and independent between features. Counts are neither far from it nor quite: run
    `Anscombe` first. Smoothed or interpolated spectra hide their noise from both, and the numbers are too large.

    Parameters
    ----------
    dataset : sidpy.Dataset
    false_alarm : float
        Probability with which NWHFC may take noise for a signal, for each dimension.
    axes : tuple of str, optional
        Names of the axes of one item, where the dataset leaves a doubt.
    nonfinite : {"refuse", "mask"}
    execution : Execution, optional

    Raises
    ------
    ParameterError
        If ``false_alarm`` is no probability.
    DataError
        If the data are complex or constant, hold NaN or inf, or have fewer items than features or more than 8192 features.

    Examples
    --------
    >>> import pycroclass as pc
    >>> pc.virtual_dimension(dataset)  # doctest: +SKIP
    VirtualDimension(hysime=4, nwhfc=5)
    """
    if not 0 < false_alarm < 1:
        raise ParameterError(f"false_alarm must be a probability above 0 and below 1, got {false_alarm!r}")
    array, spec = unwrap(dataset)
    if spec.dtype.kind == "c":
        raise DataError(f"{spec.title!r} holds complex values ({spec.dtype}); take their modulus or their real part first")
    passes = Passes.over(array, spec, Domain.ITEM, axes, nonfinite=nonfinite, execution=execution)
    n_features = int(np.prod(passes.item.shape))
    if not n_features < passes.n_items or n_features > _WIDEST:
        raise DataError(
            f"noise is told apart only with more items than features, of which there may be {_WIDEST}; "
            f"got {passes.n_items} items of {n_features} features. Bin or select them."
        )
    moments = subspace.SecondMoments.of(passes.reduce(Scatter()))
    if np.trace(moments.covariance) <= 1e-24 * moments.mean @ moments.mean:
        raise DataError(f"all items of {spec.title!r} are equal: there is nothing to count")
    number, errors, noise_sd = subspace.hysime(moments)
    return VirtualDimension(number, subspace.nwhfc(moments, false_alarm), errors, noise_sd)
