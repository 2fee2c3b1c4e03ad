"""The purest spectra of a data set, of which all others are mixtures: end members."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._extremes import Affine, Projective, corners
from pycroclass.estimators._items import as_rows, check_finite, check_real, check_seed, positive
from pycroclass.estimators._moments import Scatter
from pycroclass.estimators._signal_subspace import SecondMoments
from pycroclass.estimators.pca import PCA
from pycroclass.operator import Items, set_field
from pycroclass.operators.abundances import FCLS, NNLS, UCLS
from pycroclass.reduction import Data, Estimator, Reduction, State
from pycroclass.spec import Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_ABUNDANCES: Final[dict[str, type[FCLS | NNLS | UCLS]]] = {"fcls": FCLS, "nnls": NNLS, "ucls": UCLS}
_WIDEST: Final = 8192
"""Features of which the matrix of second moments is still formed: half a gigabyte."""
_GROWTH: Final = 1e-9
"""A simplex that grows by less has not grown."""
_MAX_PASSES: Final = 100


@dataclass(frozen=True)
class _EndmemberEstimator(Estimator):
    """Finds end members; the parameters are those of `NFINDR`."""

    n_endmembers: int
    _: KW_ONLY
    abundances: str = "fcls"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if positive("n_endmembers", self.n_endmembers) < 2:
            raise ParameterError(f"n_endmembers must be at least 2, got {self.n_endmembers!r}")
        set_field(self, "n_endmembers", int(self.n_endmembers))
        if self.abundances not in _ABUNDANCES:
            raise ParameterError(f"abundances must be one of {tuple(_ABUNDANCES)}, got {self.abundances!r}")
        check_seed(self.seed)

    def fit(self, data: Data, spec: Spec) -> FCLS | NNLS | UCLS:
        """The operator that tells the abundances of the end members of all items."""
        check_real(spec)
        most = min(data.n_items, int(np.prod(spec.shape)))
        if self.n_endmembers > most:
            raise ParameterError(
                f"n_endmembers={self.n_endmembers} is more than {data.n_items} items of shape {spec.shape} have; take at most {most}"
            )
        index, spectra = self.found(data, spec)
        order = index.argsort()
        log.info("%s: the end members are the items %s", type(self).__name__, ", ".join(map(str, index[order])))
        return _ABUNDANCES[self.abundances](ArrayValue(spectra[order].reshape(-1, *spec.shape)), spec.axes, axes=self.axes)

    @abstractmethod
    def found(self, data: Data, spec: Spec) -> tuple[Indices, FloatArray]:
        """Indices ``(member,)`` of the purest items and the spectra ``(member, feature)`` that stand for them."""


@dataclass(frozen=True)
class NFINDR(_EndmemberEstimator):
    """End members that are the items which span the largest simplex (N-FINDR: Winter, Proc. SPIE 3753, 266, 1999).

    The volume is that in the first ``n_endmembers - 1`` principal components. From the start that `VCA` would take there, each pass over
    all items finds for each end member the item that would enlarge the volume most in its place. The best of those are swapped in,
    until no swap of any single item enlarges the volume. So nothing but a pass's winners is held in memory, and chunks make no
    difference. The end members are spectra as they were measured, with their noise, in order of their items, whose indices
    are logged. Fitting gives an `FCLS`, `NNLS` or `UCLS`.

    Parameters
    ----------
    n_endmembers : int
        See `virtual_dimension`.
    abundances : {"fcls", "nnls", "ucls"}
        How the fitted operator tells abundances: shares that sum to one; at least zero; or any.
    seed : int
        Of the directions in which the start is looked for.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are fewer items or features.
    DataError
        If the data are complex, not finite, constant, or lie in too few dimensions.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.NFINDR(4), dataset)  # doctest: +SKIP
    >>> model(dataset)["abundance"]  # doctest: +SKIP
    """

    def found(self, data: Data, spec: Spec) -> tuple[Indices, FloatArray]:
        project = PCA(self.n_endmembers - 1, seed=self.seed).fit(data, spec)
        basis = project.components.values.reshape(project.n_components, -1).T / np.sqrt(project.explained_variance[0])
        space = Affine(project.mean.values.ravel(), basis, 1.0)
        index, rows = corners(data, space, spec.title, self.seed)
        chosen = np.arange(self.n_endmembers)
        for _ in range(_MAX_PASSES):
            inverse = np.asarray(np.linalg.inv(space.points(rows[chosen])), np.float64)
            growth, new_index, new_rows = (part.numpy() for part in data.reduce(space.extremes(inverse)))
            better = growth > 1 + _GROWTH
            if not better.any():
                break
            index, rows = np.concatenate([index, new_index[better]]), np.concatenate([rows, new_rows[better]])
            chosen = _largest_simplex(space.points(rows), chosen)
        else:
            log.warning("N-FINDR stopped after %d passes while the simplex still grew", _MAX_PASSES)
        return index[chosen], rows[chosen]


@dataclass(frozen=True)
class VCA(_EndmemberEstimator):
    """End members by vertex component analysis (Nascimento and Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43, 898, 2005).

    One pass for each end member finds the item that lies farthest out along a random direction orthogonal to those found before. As the
    authors have it, items of a signal-to-noise ratio above 15 + 10 log10(n_endmembers) dB are first scaled to equal products with their
    mean, which takes away differences in intensity; others are projected on their principal components. The end members are the spectra
    of the items found, projected on the signal's subspace, which takes noise off them, in order of their items, whose indices are
    logged. Another seed may find others. Parameters and errors are those of `NFINDR`. The matrix of second moments is formed, so
    items have up to 8192 features.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.VCA(4, abundances="nnls"), dataset)  # doctest: +SKIP
    >>> model(dataset)["residual"]  # doctest: +SKIP
    """

    def found(self, data: Data, spec: Spec) -> tuple[Indices, FloatArray]:
        if (n_features := int(np.prod(spec.shape))) > _WIDEST:
            raise DataError(f"VCA takes items of up to {_WIDEST} features, got {n_features}: crop or bin them, or use NFINDR")
        state = data.reduce(Scatter())
        check_finite(spec, *state)
        moments = SecondMoments.of(state)
        mean, k = moments.mean, self.n_endmembers
        if _signal_to_noise(moments, k) >= 15 + 10 * np.log10(k):
            basis = _leading(moments.correlation, k)
            index, rows = corners(data, Projective(basis, mean @ basis), spec.title, self.seed)
            return index, rows @ basis @ basis.T
        basis = _leading(moments.covariance, k - 1)
        (radius,) = data.reduce(_Radius(torch.from_numpy(mean), torch.from_numpy(basis)))
        index, rows = corners(data, Affine(mean, basis, float(radius)), spec.title, self.seed)
        return index, (rows - mean) @ basis @ basis.T + mean


@dataclass(frozen=True)
class _Radius(Reduction):
    """The largest distance of an item from the origin, as far as it lies in a subspace."""

    origin: torch.Tensor
    basis: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        return (((as_rows(block) - self.origin.to(block.device)) @ self.basis.to(block.device)).norm(dim=1).max(),)

    def merge(self, a: State, b: State) -> State:
        return (torch.maximum(a[0], b[0]),)


def _largest_simplex(points: FloatArray, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Swap points into a simplex as long as one enlarges it; the best swap first.

    By Cramer's rule a point's barycentric coordinates are the factors by which the volume grows if it takes the place of each corner.
    """
    chosen = chosen.copy()
    while True:
        growth = np.abs(points @ np.linalg.inv(points[chosen]))
        point, corner = np.unravel_index(growth.argmax(), growth.shape)
        if growth[point, corner] <= 1 + _GROWTH:
            return chosen
        chosen[corner] = point


def _signal_to_noise(moments: SecondMoments, k: int) -> float:
    """In dB, if the signal lies in ``k`` dimensions through the mean and noise is white (Nascimento and Bioucas-Dias 2005, equation 13)."""
    offset = moments.mean @ moments.mean
    basis = _leading(moments.covariance, k)
    everything = np.trace(moments.covariance) + offset
    inside = np.trace(basis.T @ moments.covariance @ basis) + offset
    signal, noise = inside - k / len(basis) * everything, everything - inside
    if noise <= 1e-14 * everything:
        return np.inf
    return float(10 * np.log10(signal / noise)) if signal > 0 else -np.inf


def _leading(matrix: FloatArray, k: int) -> FloatArray:
    """The eigenvectors of the ``k`` largest eigenvalues as columns, the largest first, each with its largest entry positive."""
    vectors = scipy.linalg.eigh(matrix, subset_by_index=(len(matrix) - k, len(matrix) - 1))[1][:, ::-1]
    largest = vectors[np.abs(vectors).argmax(0), np.arange(k)]
    signed: FloatArray = vectors * np.where(largest < 0, -1.0, 1.0)
    return signed
