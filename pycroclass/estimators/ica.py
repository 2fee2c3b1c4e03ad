"""Independent component analysis: sources that are not Gaussian, found behind principal components."""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._behind import Behind
from pycroclass.estimators._held import held
from pycroclass.estimators._items import as_rows, positive
from pycroclass.estimators.pca import PCA, ComponentAnalysis, with_signs
from pycroclass.estimators.projection import Project
from pycroclass.operator import Items, set_field
from pycroclass.reduction import Data, Reducible, Reduction, State
from pycroclass.spec import Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_NO_VARIANCE = 1e-10


@dataclass(frozen=True)
class ICA(ComponentAnalysis):
    """Components whose scores are as independent as can be: the blind separation of sources that are mixed in each item.

    FastICA with ``log cosh`` as contrast, all components at once (symmetric), on whitened principal components: one pass for the
    covariance, then one for each step, over the scores alone, which are held in memory as long as they are no more than 2**25 numbers.
    Sources that are Gaussian cannot be told apart. Components have length 1 and a positive largest entry, and come in order of falling
    variance. Fitting gives a `Project` with filters of its own.

    Parameters
    ----------
    n_components : int
        As many principal components are kept; more of them bring noise.
    seed : int
        Of the start.
    max_iterations : int
    tolerance : float
        Ends when no component turns by more: ``1 - |cos|`` of the angle, in the whitened space. With a larger one it may end on a
        plateau, in sources that are still mixed; steps over the scores are cheap.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more components than features or items.
    DataError
        If the data are complex, constant, not finite, or vary in fewer directions than components are asked for.

    References
    ----------
    A. Hyvärinen, IEEE Trans. Neural Netw. 10, 626 (1999).

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.ICA(4, seed=0), dataset)  # doctest: +SKIP
    >>> sources = model(dataset)  # doctest: +SKIP
    """

    _: KW_ONLY
    max_iterations: int = 1000
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "max_iterations", positive("max_iterations", self.max_iterations))
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise ParameterError(f"tolerance must be a number above zero, got {self.tolerance!r}")

    def fit(self, data: Data, spec: Spec) -> Project:
        """The independent components of all items."""
        project = PCA(self.n_components, seed=self.seed).fit(data, spec)
        variance = np.array(project.explained_variance)
        if variance[-1] <= _NO_VARIANCE * variance[0]:
            rank = int(np.count_nonzero(variance > _NO_VARIANCE * variance[0]))
            raise DataError(f"{spec.title!r} varies in {rank} directions only: ask for n_components={rank} or fewer")
        scores = held(Behind(project, data), self.n_components)
        rotation, n_iterations = self._rotation(scores, np.sqrt(variance))
        return _rotated(project, rotation, n_iterations, self.axes)

    def _rotation(self, scores: Reducible, sd: FloatArray) -> tuple[FloatArray, int]:
        """The orthogonal matrix (source, component) after which whitened scores are independent, and the number of steps to it."""
        k = self.n_components
        rotation = _orthogonal(np.random.default_rng(self.seed).standard_normal((k, k)))
        for n_iterations in range(1, self.max_iterations + 1):
            products, slopes, n = (part.numpy() for part in scores.reduce(_Contrast(torch.from_numpy(sd), torch.from_numpy(rotation))))
            new = _orthogonal(products / n - (slopes / n)[:, None] * rotation)
            turned = float(np.abs(np.abs(np.einsum("ij,ij->i", new, rotation)) - 1).max())
            rotation = new
            log.debug("step %d: turned by %.1e", n_iterations, turned)
            if turned <= self.tolerance:
                return rotation, n_iterations
        log.warning(
            "ICA stopped after %d steps and was still turning by %.1e: some sources may be Gaussian. Ask for fewer components.",
            self.max_iterations,
            turned,
        )
        return rotation, n_iterations


@dataclass(frozen=True)
class _Contrast(Reduction):
    """Sums of ``tanh(y) z`` (source, component) and ``1 - tanh(y)²`` (source,) for sources ``y`` of white scores ``z``; and the count."""

    sd: torch.Tensor
    rotation: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        white = as_rows(block) / self.sd.to(block.device)
        bent = torch.tanh(white @ self.rotation.T.to(block.device))
        return bent.T @ white, (1 - bent.square()).sum(0), torch.tensor(float(len(white)), dtype=torch.float64)


def _orthogonal(matrix: FloatArray) -> FloatArray:
    """The orthogonal matrix nearest to a square one: ``(M Mᵀ)^(-1/2) M``."""
    left, _, right = np.linalg.svd(matrix)
    nearest: FloatArray = left @ right
    return nearest


def _rotated(project: Project, rotation: FloatArray, n_iterations: int, axes: tuple[str, ...] | None) -> Project:
    """The projection onto rotated whitened components, each of length 1 and with a positive largest entry, by falling variance."""
    directions = project.components.values.reshape(project.n_components, -1)
    sd = np.sqrt(np.array(project.explained_variance))
    components = with_signs((rotation * sd) @ directions)
    lengths = np.linalg.norm(components, axis=1)
    order = np.argsort(-lengths, kind="stable")
    components = components[order] / lengths[order, None]
    filters = (rotation / sd)[order] @ directions * lengths[order, None]
    filters *= np.sign(np.einsum("ij,ij->i", filters, components))[:, None]
    shape = project.components.shape
    return Project(
        project.mean,
        ArrayValue(components.reshape(shape)),
        tuple((lengths[order] ** 2).tolist()),
        project.total_variance,
        project.item,
        ArrayValue(filters.reshape(shape)),
        n_iterations,
        axes=axes,
    )
