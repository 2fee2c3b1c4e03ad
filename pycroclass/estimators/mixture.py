"""Gaussian mixtures of data of any size, by passes over it."""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Final

import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import as_rows, check_finite, check_real, check_seed, positive
from pycroclass.estimators._lloyd import labels_of
from pycroclass.estimators._moments import Moments
from pycroclass.estimators._order import by_size
from pycroclass.estimators.kmeans import KMeans
from pycroclass.estimators.membership import GaussianMembership, log_joint
from pycroclass.operator import Items, set_field
from pycroclass.reduction import Data, Estimator, Reduction, State
from pycroclass.spec import Spec

log = logging.getLogger(__name__)

_COVARIANCES: Final = ("full", "tied", "diagonal")
_WIDE: Final = 2048
"""More features than this, and covariance matrices are too large to hold."""


@dataclass(frozen=True)
class GaussianMixture(Estimator):
    """Clusters as a sum of Gaussians, fitted by expectation maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1, 1977).

    Each pass over all items takes the membership of every item and sums what the next means and covariances are made of, in float64, so
    that memory does not grow with the data. Each start begins at a k-means of another seed, and ends when a pass raises the mean
    log-likelihood by less than ``tolerance``, as in scikit-learn. The start with the largest likelihood wins. Clusters are numbered from
    the largest to the smallest weight. Fitting gives a `GaussianMembership`, which knows its BIC and AIC.

    Parameters
    ----------
    n_clusters : int
    covariance : {"full", "tied", "diagonal"}
        A matrix for each cluster, one matrix for all of them, or a variance for each feature of each cluster. For many features, put
        `PCA` before.
    seed : int
        Of the first k-means; the next ones take the numbers behind it.
    n_init : int
        Number of starts.
    max_iterations : int
        Passes of each start at most.
    tolerance : float
        In natural units of the logarithm, for each item.
    regularisation : float
        Added to the variance of each feature in each cluster, in units of its variance among all items.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, there are more clusters than items, or the items are too large for covariance matrices.
    DataError
        If the data are complex, not finite, have fewer different items than clusters, or a cluster collapses.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(5) | pc.GaussianMixture(4, seed=0), dataset)  # doctest: +SKIP
    >>> maps = model(dataset)  # doctest: +SKIP
    >>> maps["label"], maps["confidence"], maps["probability"]  # doctest: +SKIP
    """

    n_clusters: int
    covariance: str = "full"
    _: KW_ONLY
    seed: int = 0
    n_init: int = 3
    max_iterations: int = 200
    tolerance: float = 1e-3
    regularisation: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_clusters", "n_init", "max_iterations"):
            set_field(self, name, positive(name, getattr(self, name)))
        if self.covariance not in _COVARIANCES:
            raise ParameterError(f"covariance must be one of {_COVARIANCES}, got {self.covariance!r}")
        check_seed(self.seed)
        for name in ("tolerance", "regularisation"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ParameterError(f"{name} must be zero or a positive number, got {getattr(self, name)!r}")

    def fit(self, data: Data, spec: Spec) -> GaussianMembership:
        """The mixture of all items."""
        check_real(spec)
        n_features = math.prod(spec.shape)
        if self.covariance != "diagonal" and n_features > _WIDE:
            raise ParameterError(
                f"items of {n_features} features are too large for a covariance matrix (at most {_WIDE}): "
                "reduce them with PCA first, or take covariance='diagonal'"
            )
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        floor = self.regularisation * squares / n
        fits = [self._from(data, spec, floor, number) for number in range(self.n_init)]
        return max(fits, key=lambda fit: fit.log_likelihood)

    def _from(self, data: Data, spec: Spec, floor: torch.Tensor, number: int) -> GaussianMembership:
        """Where a start ends."""
        kmeans = KMeans(self.n_clusters, seed=(self.seed + number) % 2**32, n_init=1)
        means = torch.from_numpy(kmeans.fit(data, spec).centres.values.reshape(self.n_clusters, -1).copy())
        state = data.reduce(_OfNearest(means, self.covariance))
        mixture = self._maximised(state, means, floor, spec)
        n, before = state[0].sum(), -math.inf
        for n_passes in range(1, self.max_iterations + 1):
            state = data.reduce(_OfMixture(mixture.means, self.covariance, mixture))
            likelihood = float(state[-1] / n)
            if likelihood - before < self.tolerance:
                break
            if n_passes == self.max_iterations:
                log.warning("GaussianMixture stopped after %d passes before it converged: raise max_iterations", n_passes)
                break
            before, mixture = likelihood, self._maximised(state, mixture.means, floor, spec)
        return self._operator(mixture, likelihood, round(float(n)), n_passes, spec)

    def _maximised(self, state: State, means: torch.Tensor, floor: torch.Tensor, spec: Spec) -> _Mixture:
        """The mixture whose weights, means and covariances are those of the items by their membership."""
        counts, sums, products, _ = state
        n = counts + 10 * torch.finfo(torch.float64).eps
        steps = sums / n[:, None]
        if self.covariance == "diagonal":
            return _Mixture(n / n.sum(), means + steps, _whitening_of_variances(products / n[:, None] - steps.square() + floor, spec))
        outer = steps[:, :, None] * steps[:, None, :]
        if self.covariance == "tied":
            covariances = ((products - (n[:, None, None] * outer).sum(0)) / n.sum())[None]
        else:
            covariances = products / n[:, None, None] - outer
        return _Mixture(n / n.sum(), means + steps, _whitening(covariances + floor.diag(), spec))

    def _operator(self, mixture: _Mixture, likelihood: float, n_items: int, n_iterations: int, spec: Spec) -> GaussianMembership:
        order = by_size(mixture.weights.numpy(), mixture.means.numpy())
        whitening = mixture.whitening if len(mixture.whitening) != len(order) else mixture.whitening[order]
        return GaussianMembership(
            ArrayValue(mixture.weights[order].numpy()),
            ArrayValue(mixture.means[order].numpy().reshape(-1, *spec.shape)),
            ArrayValue(whitening.numpy()),
            likelihood,
            n_items,
            n_iterations,
            spec.axes,
            axes=self.axes,
        )


@dataclass(frozen=True)
class _Mixture:
    """Weights ``(cluster,)``, means ``(cluster, feature)`` and `GaussianMembership.whitening` as tensors."""

    weights: torch.Tensor
    means: torch.Tensor
    whitening: torch.Tensor

    def on(self, device: torch.device) -> _Mixture:
        return replace(self, weights=self.weights.to(device), means=self.means.to(device), whitening=self.whitening.to(device))


@dataclass(frozen=True)
class _OfNearest(Reduction):
    """Counts, sums and sums of products of the items of each cluster, weighted by their share in it, and the log-likelihood of all.

    Items are taken relative to ``means``, so that no digits cancel. An item belongs wholly to the nearest mean.
    """

    means: torch.Tensor
    covariance: str

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows, means = as_rows(block), self.means.to(block.device)
        shares, log_likelihood = self.shares(rows)
        sums, products = [], []
        for mean, share in zip(means, shares.T, strict=True):
            away = rows - mean
            sums.append(share @ away)
            products.append(share @ away.square() if self.covariance == "diagonal" else (away * share[:, None]).T @ away)
        of_all = torch.stack(products)
        return shares.sum(0), torch.stack(sums), of_all.sum(0) if self.covariance == "tied" else of_all, log_likelihood

    def shares(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The share of each item in each cluster, shape (item, cluster), and the log-likelihood of the items."""
        means = self.means.to(rows.device)
        labels = labels_of(rows, means)
        return torch.nn.functional.one_hot(labels, len(means)).to(rows.dtype), rows.new_zeros(())


@dataclass(frozen=True)
class _OfMixture(_OfNearest):
    """As `_OfNearest`, where the share of an item is the probability that it belongs to the cluster."""

    mixture: _Mixture

    def shares(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mixture = self.mixture.on(rows.device)
        joint = log_joint(rows, mixture.weights, mixture.means, mixture.whitening)
        log_density = joint.logsumexp(1)
        return (joint - log_density[:, None]).exp(), log_density.sum()


def _whitening(covariances: torch.Tensor, spec: Spec) -> torch.Tensor:
    """The inverses of the transposed Cholesky factors of ``covariances``."""
    factors, failed = torch.linalg.cholesky_ex(covariances)
    if bool(failed.any()):
        raise _collapsed(spec)
    identity = torch.eye(covariances.shape[-1], dtype=covariances.dtype)
    inverse: torch.Tensor = torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)
    return inverse.mT.contiguous()


def _whitening_of_variances(variances: torch.Tensor, spec: Spec) -> torch.Tensor:
    if not bool((variances > 0).all()):
        raise _collapsed(spec)
    return variances.rsqrt()


def _collapsed(spec: Spec) -> DataError:
    return DataError(
        f"a cluster of {spec.title!r} has no extent in some direction, so that it has no density. Ask for fewer clusters, "
        "put PCA before, or raise regularisation."
    )
