"""How probably an item belongs to each of several Gaussian clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators._items import as_rows, check_item, label_spec, stack_axis, stack_spec
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.spec import Axis, AxisKind, Domain, Spec


@dataclass(frozen=True)
class GaussianMembership(Operator):
    """The probability of each cluster of a Gaussian mixture, all answers in one pass.

    ``probability`` (float32, axis ``cluster``) is ``w_k N(x; m_k, C_k) / sum_j w_j N(x; m_j, C_j)``, ``label`` the number of the most
    probable cluster (int32), ``confidence`` its probability. ``log_density`` is the logarithm of that sum: it is low for an item that is
    like none of the fitted ones, however sure its label. An item that holds NaN or inf gets label -1 and NaN everywhere else. Made by
    `GaussianMixture.fit`.

    Parameters
    ----------
    weights : array, shape (n_clusters,)
        Share of each cluster.
    means : array, shape (n_clusters, *core)
    whitening : array
        Matrices W with ``W @ W.T`` the inverse of a covariance: shape (n_clusters, features, features), (1, features, features) if all
        clusters share one, or their diagonals (n_clusters, features).
    log_likelihood : float
        Mean logarithm of the density of the fitted items.
    n_items : int
        That were fitted.
    n_iterations : int
        Passes over them.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> axis = Axis("energy", 1)
    >>> mixture = GaussianMembership([0.5, 0.5], [[0.0], [4.0]], [[1.0], [1.0]], -2.0, 100, 7, (axis,))
    >>> answer = mixture.transform(torch.tensor([[0.0], [2.0], [5.0]]))
    >>> answer["label"].tolist(), answer["confidence"].round(decimals=3).tolist()
    ([0, 0, 1], [1.0, 0.5, 1.0])
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-5

    weights: ArrayValue
    means: ArrayValue
    whitening: ArrayValue
    log_likelihood: float
    n_items: int
    n_iterations: int
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("weights", "means", "whitening"):
            set_field(self, name, ArrayValue(getattr(self, name)))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        k, p = self.weights.shape[0] if self.weights.shape else 0, math.prod(shape)
        fits = self.whitening.shape in ((k, p, p), (1, p, p), (k, p))
        if not k or self.weights.shape != (k,) or self.means.shape != (k, *shape) or not fits:
            raise ParameterError(
                f"items of shape {shape} need means of (n_clusters, *{shape}), as many weights, and whitening of "
                f"([n_clusters,] {p}, {p}) or (n_clusters, {p}); got {self.means.shape}, {self.weights.shape} and {self.whitening.shape}"
            )

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return self.weights.shape[0]

    @property
    def covariances(self) -> npt.NDArray[np.float64]:
        """Covariance matrices, or variances, of the clusters; shaped like ``whitening``, in squared units of the data."""
        whitening = self.whitening.values.astype(np.float64)
        if whitening.ndim == 2:
            return 1 / whitening**2
        covariances: npt.NDArray[np.float64] = np.linalg.inv(whitening @ whitening.transpose(0, 2, 1)).astype(np.float64)
        return covariances

    @property
    def n_parameters(self) -> int:
        """Number of free parameters of the mixture."""
        k, p = self.n_clusters, math.prod(self.means.shape[1:])
        of_covariance = k * p if len(self.whitening.shape) == 2 else self.whitening.shape[0] * p * (p + 1) // 2
        return k - 1 + k * p + of_covariance

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz, Ann. Stat. 6, 461, 1978): ``n_parameters ln(n) - 2 ln L``; the smaller the better."""
        return self.n_parameters * math.log(self.n_items) - 2 * self.n_items * self.log_likelihood

    @property
    def aic(self) -> float:
        """Akaike's information criterion: ``2 n_parameters - 2 ln L``; the smaller the better."""
        return 2 * self.n_parameters - 2 * self.n_items * self.log_likelihood

    def described_centres(self) -> tuple[npt.NDArray[np.float32], Spec]:
        """The means, shape (n_clusters, *core), float32, and what they are: a stack of spectra or images to plot."""
        axis = stack_axis("cluster", self.n_clusters, self.item, first=0)
        return self.means.values.astype(np.float32), stack_spec(axis, self.item, "cluster centres")

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_item(spec, self.means.shape[1:], "GaussianMembership")
        label = label_spec(spec, self.n_clusters)
        value = replace(label, dtype=np.dtype(np.float32), quantity="probability", title="confidence", classes=())
        cluster = Axis("cluster", self.n_clusters, kind=AxisKind.SPECTRAL, quantity="cluster")
        return {
            "probability": replace(value, axes=(cluster,), title="probability", classes=label.classes),
            "label": label,
            "confidence": value,
            "log_density": replace(value, quantity="log density", title="log_density"),
        }

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = as_rows(block)
        weights, means, whitening = (as_tensor(value, rows) for value in (self.weights, self.means, self.whitening))
        joint = log_joint(rows, weights, means.flatten(1), whitening)
        log_density = joint.logsumexp(1)
        is_finite = rows.isfinite().all(1)
        joint = joint.where(is_finite[:, None], torch.nan)
        probability = (joint - log_density[:, None]).exp().to(torch.float32)
        _, label = joint.max(1)
        return {
            "probability": probability,
            "label": label.to(torch.int32).where(is_finite, -1),
            "confidence": probability.amax(1),
            "log_density": log_density.where(is_finite, torch.nan).to(torch.float32),
        }


def log_joint(rows: torch.Tensor, weights: torch.Tensor, means: torch.Tensor, whitening: torch.Tensor) -> torch.Tensor:
    """Logarithm of weight times density of each cluster, shape (item, cluster); means ``(cluster, feature)``."""
    squares = []
    for number, mean in enumerate(means):
        factor = whitening[number % len(whitening)]
        away = rows - mean
        white = away * factor if factor.ndim == 1 else away @ factor
        squares.append(white.square().sum(1))
    diagonal = whitening if whitening.ndim == 2 else whitening.diagonal(dim1=1, dim2=2)
    constant = weights.log() + diagonal.log().sum(1) - 0.5 * rows.shape[1] * math.log(2 * math.pi)
    return constant - 0.5 * torch.stack(squares, 1)
