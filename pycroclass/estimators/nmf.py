"""Non-negative matrix factorisation of data of any size, by passes over it."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators import _nonnegative
from pycroclass.estimators._behind import Behind
from pycroclass.estimators._items import as_rows, check_n_components, positive
from pycroclass.estimators._moments import nonnegative_mean
from pycroclass.estimators.amounts import NonnegativeFit, PoissonFit
from pycroclass.estimators.pca import ComponentAnalysis, singular_vectors
from pycroclass.estimators.poisson_pca import PoissonScale
from pycroclass.operator import Items, set_field
from pycroclass.reduction import Data, Reduction, State
from pycroclass.spec import Axis, Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_LOOK_BACK: Final = 5
_LEAST_STEP: Final = 0.1


@dataclass(frozen=True)
class _Factorisation(ComponentAnalysis):
    _: KW_ONLY
    l1: float = 0.0
    max_iterations: int = 500
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "max_iterations", positive("max_iterations", self.max_iterations))
        for name in ("l1", "tolerance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ParameterError(f"{name} must be zero or a positive number, got {value!r}")

    def fitted(self, data: Data, spec: Spec) -> _Course:
        """The best components of all items, shape (component, feature), as they come."""
        n_features = int(np.prod(spec.shape))
        check_n_components(self.n_components, data.n_items, n_features)
        start = self.start(data, spec, float(nonnegative_mean(data, spec).mean()))
        l1_items = torch.full((self.n_components,), self.l1 * n_features, dtype=torch.float64)

        def step(components: torch.Tensor) -> _Step:
            return self.step(data, components, l1_items, self.l1 * data.n_items)

        return _descend(step, torch.from_numpy(start), tolerance=self.tolerance, max_iterations=self.max_iterations)

    def start(self, data: Data, spec: Spec, mean: float) -> FloatArray:
        """Components to start from, shape (component, feature); ``mean`` is that of all values."""
        return _signed_parts(data, int(np.prod(spec.shape)), self.n_components, self.seed, mean)

    @abstractmethod
    def step(self, data: Data, components: torch.Tensor, l1_items: torch.Tensor, l1_components: float) -> _Step:
        """The best amounts for these components in one pass, what that leaves, and better components for these amounts."""

    def _parts(self, course: _Course, spec: Spec) -> tuple[ArrayValue, ArrayValue, float, int, tuple[Axis, ...]]:
        """The parameters of the fitted operator: components that sum to 1, from the largest share to the smallest."""
        components, totals = course.best.components.numpy(), course.best.totals.numpy()
        sums = components.sum(1)
        order = np.argsort(-totals * sums, kind="stable")
        absent = int(np.count_nonzero(totals * sums == 0))
        if absent:
            log.warning("%d of %d components of %r are absent from all items: ask for fewer", absent, self.n_components, spec.title)
        scale = np.where(sums > 0, sums, 1.0)[order]
        n_features = components.shape[1]
        return (
            ArrayValue((components[order] / scale[:, None]).reshape(-1, *spec.shape)),
            ArrayValue(self.l1 * n_features / scale),
            course.best.objective,
            course.n_iterations,
            spec.axes,
        )


@dataclass(frozen=True)
class NMF(_Factorisation):
    """Components and amounts of them, none below zero, whose sums are nearest to the items in least squares.

    Amounts ``W`` and components ``H`` minimise ``|X - W H|² / 2 + l1 * (n_features * sum(W) + n_items * sum(H))``, as scikit-learn's
    ``NMF(alpha_W=l1, l1_ratio=1)`` does, by alternating non-negative least squares: each pass over the data solves for the amounts in
    each block anew, so that memory does not grow with the number of items, and sums what the components follow from. Steps are
    extrapolated as long as the objective falls. Starts from the singular vectors (NNDSVDa), so that equal data give equal components;
    they are a local optimum, as of every method. Fitting gives a `NonnegativeFit`; its components sum to 1, in order of falling share.

    Parameters
    ----------
    n_components : int
    seed : int
        Of the search for singular vectors; without effect on items of up to 2048 features.
    l1 : float
        Weight of the penalty, in the units of the data: more of it makes amounts and components sparser.
    max_iterations : int
        Passes over the data at most.
    tolerance : float
        Ends when five passes lower the objective by less than this share of it.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more components than features or items.
    DataError
        If the data are complex, not finite, zero everywhere or anywhere negative.

    References
    ----------
    J. Kim, Y. He and H. Park, J. Glob. Optim. 58, 285 (2014); C. Boutsidis and E. Gallopoulos, Pattern Recognit. 41, 1350 (2008), the
    start; A. M. S. Ang and N. Gillis, Neural Comput. 31, 417 (2019), the extrapolation.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.NMF(4), dataset)  # doctest: +SKIP
    >>> amounts = model(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> NonnegativeFit:
        """The non-negative components of all items."""
        return NonnegativeFit(*self._parts(self.fitted(data, spec), spec), axes=self.axes)

    def step(self, data: Data, components: torch.Tensor, l1_items: torch.Tensor, l1_components: float) -> _Step:
        residual, gram, products, totals = data.reduce(_SquaresPass(components, l1_items))
        objective = float(residual + totals @ l1_items + l1_components * components.sum())
        return _Step(components, objective, totals, _nonnegative.least_squares(gram, (products - l1_components).T).T)


@dataclass(frozen=True)
class PoissonNMF(_Factorisation):
    """Components and amounts of them, none below zero, whose sums are the most likely origin of counts.

    Amounts ``W`` and components ``H`` minimise the Kullback-Leibler divergence ``sum(X log(X / W H) - X + W H)`` plus ``l1 * (n_features *
    sum(W) + n_items * sum(H))``: scikit-learn's ``NMF(solver="mu", beta_loss="kullback-leibler", alpha_W=l1, l1_ratio=1)``. Where counts
    are few this sees more than `NMF`, because it knows that strong channels are noisy. Each pass over the data solves for the amounts in
    each block anew and moves the components by a step of Fisher scoring, extrapolated as long as the divergence falls; where such a step
    fails, by a multiplicative one, which cannot. Memory does not grow with the number of items. Starts from the singular vectors
    (NNDSVDa) of the data weighted as by `PoissonScale`. Fitting gives a `PoissonFit`; its components sum to 1, in order of falling
    share, so that an amount is a number of counts.

    Parameters
    ----------
    n_components : int
    seed : int
        Of the search for singular vectors; without effect on items of up to 2048 features.
    l1 : float
        Weight of the penalty: more of it makes amounts and components sparser.
    max_iterations : int
        Passes over the data at most.
    tolerance : float
        Ends when five passes lower the objective by less than this share of it.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more components than features or items.
    DataError
        If the data are complex, not finite, zero everywhere or anywhere negative.

    References
    ----------
    D. D. Lee and H. S. Seung, Adv. Neural Inf. Process. Syst. 13, 556 (2001), the multiplicative step; P. J. Green, J. R. Stat. Soc. B 46,
    149 (1984), scoring.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PoissonNMF(4), dataset)  # doctest: +SKIP
    >>> counts = model(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> PoissonFit:
        """The non-negative components of all items."""
        return PoissonFit(*self._parts(self.fitted(data, spec), spec), axes=self.axes)

    def start(self, data: Data, spec: Spec, mean: float) -> FloatArray:
        weigh = PoissonScale().fit(data, spec)
        root = np.sqrt(weigh.mean.values.ravel())
        parts = _signed_parts(Behind(weigh, data), len(root), self.n_components, self.seed, float(root.mean()))
        start: FloatArray = parts * root
        return start

    def step(self, data: Data, components: torch.Tensor, l1_items: torch.Tensor, l1_components: float) -> _Step:
        divergence, grams, ratios, totals = data.reduce(_CountsPass(components, l1_items))
        objective = float(divergence + totals @ l1_items + l1_components * components.sum())
        k = self.n_components
        scored = _nonnegative.least_squares(grams.view(-1, k, k), (ratios - l1_components).T).T
        multiplied = components * ratios / (totals + l1_components).clamp(min=1e-300)[:, None]
        return _Step(components, objective, totals, scored, multiplied)


@dataclass(frozen=True)
class _SquaresPass(Reduction):
    """Half the squared residual, and sums over items of ``w w``, ``w x`` and ``w`` for their best amounts ``w``."""

    components: torch.Tensor
    penalty: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows, components, penalty = as_rows(block), self.components.to(block.device), self.penalty.to(block.device)
        amounts = _nonnegative.least_squares(components @ components.T, rows @ components.T - penalty)
        residual = (rows - amounts @ components).square().sum() / 2
        return residual, amounts.T @ amounts, amounts.T @ rows, amounts.sum(0)


@dataclass(frozen=True)
class _CountsPass(Reduction):
    """The divergence, and sums over items of ``w w / e`` (feature, pair), ``w x / e`` and ``w``, with the counts ``e`` that their best
    amounts ``w`` let expect."""

    components: torch.Tensor
    penalty: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows, components, penalty = as_rows(block), self.components.to(block.device), self.penalty.to(block.device)
        amounts = _nonnegative.poisson(rows, components, penalty)
        divergence = _nonnegative.divergence(rows, amounts, components).sum()
        expected = _nonnegative.mixture(rows, amounts, components)
        pairs = (amounts[:, :, None] * amounts[:, None]).flatten(1)
        return divergence, (1 / expected).T @ pairs, amounts.T @ (rows / expected), amounts.sum(0)


@dataclass(frozen=True)
class _SignedSquares(Reduction):
    """Sums of squares of what is above and what is below zero of the items' products with some vectors, each (vector,)."""

    vectors: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        products = as_rows(block) @ self.vectors.to(block.device).T
        return products.clamp(min=0).square().sum(0), products.clamp(max=0).square().sum(0)


def _signed_parts(data: Data, n_features: int, k: int, seed: int, mean: float) -> FloatArray:
    """Components to start from: the singular vectors, of each the part of one sign that weighs more, gaps filled with the mean."""
    squares, vectors = singular_vectors(data, n_features, k, seed)
    singular = np.sqrt(np.maximum(squares, 0))
    above, below = (np.sqrt(part.numpy()) for part in data.reduce(_SignedSquares(torch.from_numpy(vectors.copy()))))
    sides = []
    for sign, length in ((1, above), (-1, below)):
        part = np.maximum(sign * vectors, 0)
        size = np.linalg.norm(part, axis=1)
        sides.append((part, size, length / np.maximum(singular, 1e-300)))
    (up, up_size, up_length), (down, down_size, down_length) = sides
    is_up = up_size * up_length >= down_size * down_length
    part = np.where(is_up[:, None], up, down)
    size, length = np.where(is_up, up_size, down_size), np.where(is_up, up_length, down_length)
    start: FloatArray = part * np.sqrt(singular * length / np.maximum(size, 1e-300))[:, None]
    return np.where(start > 0, start, mean)


@dataclass(frozen=True)
class _Step:
    """Components with their objective and the totals of their amounts, and better components that follow.

    If ``better`` may fail to lower the objective, ``safe`` are some that do.
    """

    components: torch.Tensor
    objective: float
    totals: torch.Tensor
    better: torch.Tensor
    safe: torch.Tensor | None = None


@dataclass(frozen=True)
class _Course:
    best: _Step
    n_iterations: int


def _descend(step: Callable[[torch.Tensor], _Step], start: torch.Tensor, *, tolerance: float, max_iterations: int) -> _Course:
    """Follow steps that never raise the objective, and extrapolate them (Nesterov) as long as it falls.

    Where an extrapolation went too far it goes on from the last step itself (O'Donoghue and Candes, Found. Comput. Math. 15, 715, 2015).
    """
    best = step(start)
    previous, speed, fallen = start, 1.0, [best.objective]
    for n in range(2, max_iterations + 1):
        faster = (1 + math.sqrt(1 + 4 * speed**2)) / 2
        ahead = best.better + (speed - 1) / faster * (best.better - previous)
        found = step(torch.maximum(ahead, _LEAST_STEP * best.better))
        if found.objective <= best.objective:
            previous, best, speed = best.better, found, faster
            fallen.append(best.objective)
            log.debug("pass %d: objective %.9g", n, best.objective)
            if len(fallen) > _LOOK_BACK and fallen[-1 - _LOOK_BACK] - best.objective <= tolerance * best.objective:
                return _Course(best, n)
        elif speed > 1:
            previous, speed = best.better, 1.0
        elif best.safe is not None:
            best = replace(best, better=best.safe, safe=None)
            previous = best.better
        else:  # not even a step that cannot: that is rounding
            return _Course(best, n)
    log.warning("NMF stopped after %d passes and was still improving: raise max_iterations or tolerance", max_iterations)
    return _Course(best, max_iterations)
