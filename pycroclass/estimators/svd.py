"""Singular value decomposition of data of any size, by passes over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError
from pycroclass.estimators._items import check_finite, check_n_components, check_real
from pycroclass.estimators._moments import Moments
from pycroclass.estimators.pca import ComponentAnalysis, singular_vectors, with_signs
from pycroclass.estimators.projection import Project
from pycroclass.reduction import Data
from pycroclass.spec import Spec


@dataclass(frozen=True)
class SVD(ComponentAnalysis):
    """Right singular vectors of the data as they are: as `PCA`, but the mean is not taken off, so that the first is about the mean item.

    Fitting gives a `Project` with a mean of zero, whose variances are mean squares.

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
        If the data are complex, not finite, or zero everywhere.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.SVD(5), dataset)  # doctest: +SKIP
    >>> cleaned = (model | model[0].inverse)(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> Project:
        """The projection onto the singular vectors of all items."""
        check_real(spec)
        n_features = int(np.prod(spec.shape))
        check_n_components(self.n_components, data.n_items, n_features)
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        total = float(squares.sum() / n + mean.square().sum())
        if not total:
            raise DataError(f"{spec.title!r} is zero everywhere")
        values, vectors = singular_vectors(data, n_features, self.n_components, self.seed)
        return Project(
            ArrayValue(np.zeros(spec.shape)),
            ArrayValue(with_signs(vectors).reshape(-1, *spec.shape)),
            tuple((np.maximum(values, 0) / float(n)).tolist()),
            total,
            spec.axes,
            axes=self.axes,
        )
