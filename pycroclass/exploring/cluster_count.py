"""How many clusters there are, by several criteria side by side, and how far they can be believed."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import sidpy
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture

from pycroclass.errors import DataError, ParameterError
from pycroclass.exploring import cluster_pictures
from pycroclass.passes import Nonfinite, Passes
from pycroclass.sid import unwrap
from pycroclass.spec import Domain
from pycroclass.stage import Execution

FloatArray = npt.NDArray[np.float64]
Doubt = Literal["low", "moderate", "high"]

_N_INIT: Final = 10
_N_INIT_AGAIN: Final = 3
"""Starts of k-means where it is repeated many times."""
_N_REFERENCES: Final = 10
_ITEMS_PER_PARAMETER: Final = 5
"""A mixture with fewer items than this for each of its parameters says nothing."""
_STABLE: Final = 0.9
_UNSTABLE: Final = 0.75
"""Hennig, Comput. Stat. Data Anal. 52, 258, 2007, calls clusters below 0.75 doubtful."""
_CLEAR: Final = 0.5
_NO_STRUCTURE: Final = 0.25
"""Silhouettes by Kaufman and Rousseeuw, Finding Groups in Data, 1990, table 4 of chapter 2."""


@dataclass(frozen=True)
class CountMeasures:
    """What speaks for one number of clusters.

    Parameters
    ----------
    n_clusters : int
    inertia : float
        Sum of squared distances to the centres, of the sample.
    silhouette : float
        From -1 to 1, the larger the better (Rousseeuw, J. Comput. Appl. Math. 20, 53, 1987); as the next two NaN for one cluster.
    calinski_harabasz : float
        The larger the better (Commun. Stat. 3, 1, 1974).
    davies_bouldin : float
        The smaller the better (IEEE Trans. PAMI 1, 224, 1979).
    gap, gap_error : float
        How far the logarithm of the inertia lies below that of data without clusters (Tibshirani, Walther and Hastie, J. R. Stat. Soc. B
        63, 411, 2001), and its standard error.
    bic : float
        Of a mixture of Gaussians with full covariances, the smaller the better; NaN where the sample is too small for it.
    stability, stability_error : float
        Mean adjusted Rand index of the labels by two fits to two bootstrap samples (Fang and Wang, Comput. Stat. Data Anal. 56, 468,
        2012), and its standard error; NaN for one cluster.
    smallest : float
        Share of the items in the smallest cluster.
    """

    n_clusters: int
    inertia: float
    silhouette: float
    calinski_harabasz: float
    davies_bouldin: float
    gap: float
    gap_error: float
    bic: float
    stability: float
    stability_error: float
    smallest: float


@dataclass(frozen=True)
class ClusterCount:
    """How many clusters several criteria want, what follows from that, and how doubtful it is.

    Parameters
    ----------
    measures : tuple of CountMeasures
        For 1, 2, ... clusters.
    n_sampled : int
        Items that they were computed from.
    n_items : int
        Items there are.
    seed : int

    Examples
    --------
    >>> import pycroclass as pc
    >>> found = pc.cluster_count(scores)  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    >>> found.figure().savefig("count.png")  # doctest: +SKIP
    """

    measures: tuple[CountMeasures, ...]
    n_sampled: int
    n_items: int
    seed: int

    @property
    def votes(self) -> dict[str, int]:
        """The number of clusters that each criterion wants, by its name."""
        several = self.measures[1:]
        best = {
            "silhouette": max(several, key=lambda m: m.silhouette),
            "calinski_harabasz": max(several, key=lambda m: m.calinski_harabasz),
            "davies_bouldin": min(several, key=lambda m: m.davies_bouldin),
            "gap": _by_gap(self.measures),
            "stability": _by_stability(several),
        }
        if known := [m for m in self.measures if not math.isnan(m.bic)]:
            best["bic"] = min(known, key=lambda m: m.bic)
        return {name: measure.n_clusters for name, measure in best.items()}

    @property
    def recommended(self) -> int:
        """The number that most criteria want; of equals the more stable one.

        It is 1 where both criteria that can say so, gap and BIC, do.
        """
        votes = self.votes
        if votes["gap"] == votes.get("bic") == 1:
            return 1
        counts = Counter(votes.values())
        return max(counts, key=lambda k: (counts[k], np.nan_to_num(self.measures[k - 1].stability, nan=-1), -k))

    @property
    def doubt(self) -> Doubt:
        """How doubtful the recommendation is.

        ``high`` where clusters are not stable (below 0.75), not separated (silhouette up to 0.25), or the gap statistic sees none; ``low``
        where two thirds of the criteria agree on clusters that are stable (from 0.9 on) and separated (silhouette above 0.5), and more
        clusters were tried; else ``moderate``.
        """
        k = self.recommended
        if k == 1:
            return "low" if max(m.silhouette for m in self.measures[1:]) <= _NO_STRUCTURE else "moderate"
        found = self.measures[k - 1]
        if found.stability < _UNSTABLE or found.silhouette <= _NO_STRUCTURE or self.votes["gap"] == 1:
            return "high"
        is_agreed = 3 * self._n_agree >= 2 * len(self.votes)
        is_clear = found.stability >= _STABLE and found.silhouette > _CLEAR
        return "low" if is_agreed and is_clear and k < len(self.measures) else "moderate"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the doubt rests on, in sentences."""
        k, votes = self.recommended, self.votes
        others = ", ".join(f"{name} {n}" for name, n in votes.items() if n != k)
        said = [f"{self._n_agree} of {len(votes)} criteria want {k}{f'; others: {others}' if others else ''}."]
        found = self.measures[k - 1]
        if k == 1:
            said.append("Neither the gap statistic nor BIC finds more than one cluster.")
        else:
            said.append(f"Stability {found.stability:.2f}: what remains of the labels when it is fitted to other samples of such items.")
            said.append(f"Silhouette {found.silhouette:.2f}: {_structure(found.silhouette)}.")
            if found.stability < _STABLE and (stable := votes["stability"]) != k:
                said.append(f"{stable} clusters are more stable: {self.measures[stable - 1].stability:.2f}.")
            if votes["gap"] == 1:
                said.append("The gap statistic sees no more structure than in one cloud without clusters.")
        if k == len(self.measures):
            said.append(f"{k} is the largest number that was tried: try more.")
        if "bic" not in votes:
            said.append("No BIC: too many features for the items of the sample. Reduce them with PCA first.")
        return tuple(said)

    @property
    def table(self) -> pd.DataFrame:
        """All measures, a row for each number of clusters."""
        return pd.DataFrame([asdict(measure) for measure in self.measures]).set_index("n_clusters")

    def figure(self) -> Figure:
        """Each criterion against the number of clusters, with what it wants and what is recommended."""
        return cluster_pictures.criteria(self.table, self.votes, self.recommended, f"{self.recommended} clusters, doubt: {self.doubt}")

    def __str__(self) -> str:
        table = self.table.to_string(float_format=lambda value: f"{value:.4g}", na_rep="")
        of = "all" if self.n_sampled == self.n_items else f"a sample of {self.n_sampled} of the"
        heading = f"{self.recommended} clusters, doubt: {self.doubt} ({of} {self.n_items} items)"
        return "\n".join((heading, *self.reasons, "", table))

    @property
    def _n_agree(self) -> int:
        return sum(n == self.recommended for n in self.votes.values())


def cluster_count(
    dataset: sidpy.Dataset,
    *,
    largest: int = 10,
    n_items: int = 3000,
    n_resamples: int = 20,
    seed: int = 0,
    nonfinite: Nonfinite = "refuse",
    axes: tuple[str, ...] | None = None,
    execution: Execution | None = None,
) -> ClusterCount:
    """How many clusters a dataset has, by six criteria, and how doubtful that is.

    Each number of clusters from 1 on is fitted by k-means to a sample of items that index and seed choose; one by a Gaussian mixture.

    Parameters
    ----------
    dataset : sidpy.Dataset
        The features that are to be clustered, best a few of them: spectra or images behind `PCA`.
    largest : int
        Number of clusters to try, at least 2.
    n_items : int
        In the sample.
    n_resamples : int
        Pairs of bootstrap samples that the stability is the mean of.
    seed : int
    nonfinite : {"refuse", "mask"}
        Whether an item with NaN or inf is an error or left out.
    axes : tuple of str, optional
        Names of the axes of one item, where the dataset leaves a doubt.
    execution : Execution, optional

    Returns
    -------
    ClusterCount
        With ``recommended``, ``doubt``, ``reasons``, ``table`` and ``figure()``; printed, it is a report.

    Raises
    ------
    ParameterError
        If a number cannot be used.
    DataError
        If the data are complex, or the sample has too few different items.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> centres = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 40, axis=0)
    >>> points = centres + np.random.default_rng(0).standard_normal((120, 2))
    >>> found = cluster_count(sidpy.Dataset.from_array(points), largest=4, n_resamples=3, axes=("b",))
    >>> found.recommended, found.doubt
    (3, 'low')
    """
    for name, value, least in (("largest", largest, 2), ("n_items", n_items, 2), ("n_resamples", n_resamples, 2)):
        if not isinstance(value, int) or value < least:
            raise ParameterError(f"{name} must be a whole number of at least {least}, got {value!r}")
    array, spec = unwrap(dataset)
    if spec.dtype.kind == "c":
        raise DataError(f"{spec.title!r} holds complex values ({spec.dtype}); take their modulus or their real part first")
    data = Passes.over(array, spec, Domain.ITEM, axes, nonfinite=nonfinite, execution=execution)
    sample = data.sample(n_items, seed)
    rows = sample.reshape(len(sample), -1).astype(np.float64)
    n_different = len(np.unique(rows, axis=0))
    if n_different <= largest:
        raise DataError(f"the sample has {n_different} different items, too few for {largest} clusters. Try fewer, or sample more.")
    rows = rows - rows.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        measures = tuple(_measured(rows, k, n_resamples, seed) for k in range(1, largest + 1))
    return ClusterCount(measures, len(rows), data.n_total, seed)


def _measured(rows: FloatArray, k: int, n_resamples: int, seed: int) -> CountMeasures:
    fitted = KMeans(k, n_init=_N_INIT, random_state=seed).fit(rows)
    labels = fitted.labels_
    gap, gap_error = _gap(rows, k, float(fitted.inertia_), seed)
    stability, stability_error = _stability(rows, k, n_resamples, seed) if k > 1 else (math.nan, math.nan)
    return CountMeasures(
        n_clusters=k,
        inertia=float(fitted.inertia_),
        silhouette=float(silhouette_score(rows, labels)) if k > 1 else math.nan,
        calinski_harabasz=float(calinski_harabasz_score(rows, labels)) if k > 1 else math.nan,
        davies_bouldin=float(davies_bouldin_score(rows, labels)) if k > 1 else math.nan,
        gap=gap,
        gap_error=gap_error,
        bic=_bic(rows, k, seed),
        stability=stability,
        stability_error=stability_error,
        smallest=float(np.bincount(labels).min() / len(rows)),
    )


def _gap(rows: FloatArray, k: int, inertia: float, seed: int) -> tuple[float, float]:
    """Against data spread evenly over a box along the principal axes, the same box and data for each ``k``."""
    along = rows @ np.linalg.svd(rows, full_matrices=False)[2].T
    low, high = along.min(0), along.max(0)
    logs = []
    for number in range(_N_REFERENCES):
        reference = np.random.default_rng((seed, number)).uniform(low, high, along.shape)
        logs.append(math.log(KMeans(k, n_init=_N_INIT_AGAIN, random_state=seed).fit(reference).inertia_))
    return float(np.mean(logs)) - math.log(inertia), float(np.std(logs)) * math.sqrt(1 + 1 / _N_REFERENCES)


def _bic(rows: FloatArray, k: int, seed: int) -> float:
    n, p = rows.shape
    n_parameters = k - 1 + k * p + k * p * (p + 1) // 2
    if n < _ITEMS_PER_PARAMETER * n_parameters:
        return math.nan
    floor = 1e-6 * float(rows.var(0).mean())
    return float(GaussianMixture(k, reg_covar=floor, n_init=_N_INIT_AGAIN, random_state=seed).fit(rows).bic(rows))


def _stability(rows: FloatArray, k: int, n_resamples: int, seed: int) -> tuple[float, float]:
    found = []
    for number in range(n_resamples):
        random = np.random.default_rng((seed, number))
        first, second = (_labels_by(rows[random.integers(len(rows), size=len(rows))], rows, k, int(random.integers(2**31))) for _ in "ab")
        found.append(adjusted_rand_score(first, second))
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(n_resamples))


def _labels_by(resample: FloatArray, rows: FloatArray, k: int, seed: int) -> npt.NDArray[Any]:
    labels: npt.NDArray[Any] = KMeans(k, n_init=_N_INIT_AGAIN, random_state=seed).fit(resample).predict(rows)
    return labels


def _by_gap(measures: Sequence[CountMeasures]) -> CountMeasures:
    """The smallest number whose gap is not below that of the next by more than its error (Tibshirani et al., equation 6)."""
    for this, more in pairwise(measures):
        if this.gap >= more.gap - more.gap_error:
            return this
    return measures[-1]


def _by_stability(measures: Sequence[CountMeasures]) -> CountMeasures:
    """The largest number that is as stable as the most stable one, within its error."""
    best = max(measures, key=lambda m: m.stability)
    least = best.stability - max(best.stability_error, 0.01)
    return max((m for m in measures if m.stability >= least), key=lambda m: m.n_clusters)


def _structure(silhouette: float) -> str:
    if silhouette > 0.7:
        return "clusters far apart"
    if silhouette > _CLEAR:
        return "clusters that are well apart"
    return "clusters that touch" if silhouette > _NO_STRUCTURE else "no clusters that are apart"
