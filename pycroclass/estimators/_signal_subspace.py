"""In how many dimensions a signal lies under additive noise, from moments alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.stats

from pycroclass.reduction import State

FloatArray = npt.NDArray[np.float64]

_RIDGE = 1e-10
_NOISE_FLOOR = 1e-5


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """What is known of ``n`` items.

    Parameters
    ----------
    n : float
    mean : array, shape (feature,)
    covariance : array, shape (feature, feature)
        About the mean, divided by ``n``.
    """

    n: float
    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def of(cls, state: State) -> SecondMoments:
        """Of the sums of `Scatter`."""
        n, mean, upper = (part.numpy() for part in state)
        return cls(float(n), mean, (np.triu(upper) + np.triu(upper, 1).T) / float(n))

    @property
    def correlation(self) -> FloatArray:
        """Mean product of each pair of features."""
        return self.covariance + np.outer(self.mean, self.mean)


def noise_variance(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance of what the other features do not tell about a feature, and the matrix that keeps only this of an item.

    Multiple regression of each feature on all others (Roger and Arnold, Int. J. Remote Sens. 17, 951, 1996): its residuals and their
    variances stand in the inverse of the matrix of second moments.
    """
    ridge = _RIDGE * np.trace(matrix) / len(matrix)
    inverse = scipy.linalg.inv(matrix + ridge * np.eye(len(matrix)))
    variance = 1 / np.diag(inverse)
    return variance, inverse * variance[:, None]


def hysime(moments: SecondMoments) -> tuple[int, FloatArray, FloatArray]:
    """HySime (Bioucas-Dias and Nascimento, IEEE Trans. Geosci. Remote Sens. 46, 2435, 2008).

    The subspace of dimension ``k`` that keeps most of the signal and adds least noise: the number of eigenvectors of the estimated
    signal along which twice the power of the noise is less than that of the data.

    Returns
    -------
    int
    errors : array, shape (feature + 1,)
        Mean squared error of the projection on each number of dimensions, up to a constant; smallest at the number.
    noise_sd : array, shape (feature,)
    """
    data = moments.correlation
    variance, to_noise = noise_variance(data)
    to_signal = np.eye(len(data)) - to_noise
    signal = to_signal @ data @ to_signal.T
    _, vectors = scipy.linalg.eigh((signal + signal.T) / 2)
    noise = variance + _NOISE_FLOOR * np.trace(signal) / len(data)
    power = np.einsum("ij,ij->j", vectors, data @ vectors)
    cost = np.sort(2 * np.einsum("ij,i,ij->j", vectors, noise, vectors) - power)
    errors = power.sum() + np.concatenate([[0.0], np.cumsum(cost)])
    return int((cost < 0).sum()), errors, np.sqrt(variance)


def nwhfc(moments: SecondMoments, false_alarm: float) -> int:
    """Noise-whitened Harsanyi-Farrand-Chang (Chang and Du, IEEE Trans. Geosci. Remote Sens. 42, 608, 2004).

    Counts the dimensions in which the eigenvalues of second moments with the mean exceed those without it by more than noise would
    make them, by a Neyman-Pearson test for each.
    """
    variance, _ = noise_variance(moments.covariance)
    scale = 1 / np.sqrt(np.outer(variance, variance))
    with_mean = scipy.linalg.eigvalsh(moments.correlation * scale)[::-1]
    without = scipy.linalg.eigvalsh(moments.covariance * scale)[::-1]
    spread = np.sqrt(2 * (with_mean**2 + without**2) / moments.n)
    return int((with_mean - without > scipy.stats.norm.isf(false_alarm) * spread).sum())
