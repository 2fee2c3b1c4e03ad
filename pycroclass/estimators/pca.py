"""Principal component analysis of data of any size, by passes over it."""

from __future__ import annotations

import logging
from dataclasses import KW_ONLY, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError
from pycroclass.estimators._items import as_rows, check_finite, check_n_components, check_real, positive
from pycroclass.estimators._moments import Moments, Scatter
from pycroclass.estimators.projection import Project
from pycroclass.operator import Items, set_field
from pycroclass.reduction import Estimator, Reducible, Reduction, State
from pycroclass.spec import Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_WIDE: Final = 2048
"""More features than this and the covariance matrix is never formed."""
_OVERSAMPLING: Final = 10
_BASIS_VALUES: Final = 1 << 25
"""How many numbers the basis may hold before the iteration restarts from the best of it."""
_RESIDUAL: Final = 1e-5
_NO_VARIANCE: Final = 1e-9
_MAX_PASSES: Final = 200


@dataclass(frozen=True)
class ComponentAnalysis(Estimator):
    """What estimators of components share."""

    n_components: int
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "n_components", positive("n_components", self.n_components))


@dataclass(frozen=True)
class PCA(ComponentAnalysis):
    """Principal components: the directions in which items vary most.

    The covariance of all items is summed in float64 in one pass and diagonalised, as scikit-learn does it in memory. Items of more
    than 2048 features (images) take one pass for the mean, then one for each step of a block Krylov iteration on the covariance, which
    is never formed, until each residual is below 1e-5 of its variance. The largest entry of each component is positive.
    Fitting gives a `Project`.

    Parameters
    ----------
    n_components : int
    seed : int
        Of the iteration's start; without effect on items of up to 2048 features.

    Raises
    ------
    ParameterError
        If there are more components than features or items.
    DataError
        If the data are complex, constant, not finite, or a single item.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(2), dataset)  # doctest: +SKIP
    >>> scores = model(dataset)  # doctest: +SKIP
    """

    def passes_once(self, spec: Spec) -> bool:
        return int(np.prod(spec.shape)) <= _WIDE

    def fit(self, data: Reducible, spec: Spec) -> Project:
        """The projection onto the principal components of all items."""
        check_real(spec)
        n_features = int(np.prod(spec.shape))
        if data.n_items < 2:
            raise DataError(f"PCA needs at least two items, got {data.n_items}")
        check_n_components(self.n_components, data.n_items, n_features)
        if self.passes_once(spec):
            n, mean, scatter = data.reduce(Scatter())
            check_finite(spec, mean, scatter)
            total = float(scatter.trace() / (n - 1))
            _check_varies(spec, total, mean)
            variance, components = largest_eigenvectors(scatter.numpy() / (float(n) - 1), self.n_components)
        else:
            n, mean, squares = data.reduce(Moments())
            check_finite(spec, mean, squares)
            total = float(squares.sum() / (n - 1))
            _check_varies(spec, total, mean)
            variance, components = iterated_eigenvectors(data, mean, float(n), self.n_components, self.seed)
        return Project(
            ArrayValue(mean.numpy().reshape(spec.shape)),
            ArrayValue(with_signs(components).reshape(-1, *spec.shape)),
            tuple(np.maximum(variance, 0).tolist()),
            total,
            spec.axes,
            axes=self.axes,
        )


@dataclass(frozen=True)
class _CovarianceTimes(Reduction):
    """The scatter matrix times some vectors, shape (features, vectors)."""

    mean: torch.Tensor
    vectors: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows = as_rows(block) - self.mean.to(block.device)
        return (rows.T @ (rows @ self.vectors.to(block.device)),)


def largest_eigenvectors(matrix: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """The ``k`` largest eigenvalues of a symmetric matrix, falling, and their eigenvectors as rows; looks at the upper triangle."""
    n = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, lower=False, subset_by_index=(n - k, n - 1))
    return values[::-1], vectors[:, ::-1].T


def iterated_eigenvectors(data: Reducible, mean: torch.Tensor, n: float, k: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """As `largest_eigenvectors` of the covariance, by restarted block Lanczos iteration with Rayleigh-Ritz (Saad 2011, 6.4 and 7.3)."""
    n_features = len(mean)
    width = min(k + _OVERSAMPLING, n_features)
    start = np.random.default_rng(seed).standard_normal((n_features, width))
    new = np.linalg.qr(start)[0]
    basis, image = np.empty((n_features, 0)), np.empty((n_features, 0))
    for n_passes in range(1, _MAX_PASSES + 1):
        (product,) = data.reduce(_CovarianceTimes(mean, torch.from_numpy(new)))
        basis, image = np.hstack([basis, new]), np.hstack([image, product.numpy() / (n - 1)])
        small = basis.T @ image
        values, rotation = largest_eigenvectors(small, width)
        ritz, ritz_image = basis @ rotation.T, image @ rotation.T
        residual = ritz_image - ritz * values
        weight = np.maximum(values[:k], _NO_VARIANCE * values[0])
        error = float((np.linalg.norm(residual[:, :k], axis=0) / weight).max())
        log.debug("pass %d: relative residual %.1e", n_passes, error)
        if error <= _RESIDUAL:
            break
        if basis.size + 2 * ritz.size > max(_BASIS_VALUES, 5 * ritz.size):
            basis, image = ritz, ritz_image
        new = _orthonormal(residual, basis)
    else:
        log.warning("PCA stopped after %d passes at a relative residual of %.1e: components may be too alike", _MAX_PASSES, error)
    return values[:k], ritz[:, :k].T


def _orthonormal(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """Orthonormal vectors that span, with the basis, what both span; directions already in the basis are left out."""
    vectors = vectors / np.linalg.norm(vectors, axis=0).max()
    for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
        vectors = vectors - basis @ (basis.T @ vectors)
        left, size, _ = np.linalg.svd(vectors, full_matrices=False)
        vectors = left[:, size > 1e-8]
    return vectors


def singular_vectors(data: Reducible, n_features: int, k: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Of the items as rows, mean and all: the ``k`` largest singular values squared, falling, and their right singular vectors as rows."""
    if n_features <= _WIDE:
        n, mean, scatter = (part.numpy() for part in data.reduce(Scatter()))
        return largest_eigenvectors(scatter + n * np.outer(mean, mean), k)
    return iterated_eigenvectors(data, torch.zeros(n_features, dtype=torch.float64), 2.0, k, seed)


def with_signs(components: FloatArray) -> FloatArray:
    """The components with their largest entry positive, as in scikit-learn."""
    largest = np.abs(components).argmax(1)
    return components * np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)[:, None]


def _check_varies(spec: Spec, total: float, mean: torch.Tensor) -> None:
    if total <= 1e-24 * float(mean.square().sum()):
        raise DataError(f"all items of {spec.title!r} are equal: there is no variance to explain")
