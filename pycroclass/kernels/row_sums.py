"""Sums over rows on a CPU: their mean and spread, and the clusters that centres make of them; `row_sums_torch` is the twin.

A few rows at a time, so that they stay in the cache from their conversion to float64 to the last sum; four with four others at once, so
that sums of products stay in registers. All that is compiled stands in one file: when it changes, and only then, is what was kept on disk
compiled anew.

Spread is summed in one pass, relative to the mean of the first rows. With ``d`` how far that lies from the mean of all ``n``, the sum of
squares about the latter is that about the former less ``n d²``. The first ``t`` rows alone spread by at least ``t d²`` about the mean of
all, so that what is taken off is no more than ``n / t`` times what is left: few digits cancel, in any order of rows.

Centres are filled up to a multiple of four: each product is then made in the same way, and equals stay equal.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.kernels.compiling import compiled, compiled_sums

NDArray = npt.NDArray[Any]
_FOUR: Final = 4
"""Rows that are multiplied at once with as many others."""
_LANES: Final = 8
"""Numbers that are multiplied at once; centres are as long as a multiple of it, with zeros behind their last number."""
_N_ROWS: Final = 32
"""Rows that are converted at once for their products with centres."""
_N_FEATURES: Final = 512
"""Features over which all of these are multiplied with all centres before others are."""
_N_TRANSPOSED: Final = 512
"""Rows that are converted at once for products of their features."""
_PANEL: Final = 64
"""Features whose products with all others are made while they are in the cache."""


def as_compiled_for(rows: torch.Tensor) -> NDArray:
    """Items ``(n, *core)`` on the CPU as contiguous rows of float32 or float64; what holds other numbers is copied as float64."""
    flat = rows.flatten(1)
    return np.ascontiguousarray((flat if flat.dtype in (torch.float32, torch.float64) else flat.to(torch.float64)).numpy())


def moments(values: NDArray) -> tuple[NDArray, NDArray]:
    """Mean and sum of squared deviations of each column of ``(n, features)``, contiguous float32 or float64; zero without rows."""
    n_features = values.shape[1]
    mean, spread = np.zeros(n_features), np.zeros(n_features)
    _sum_squares(values, mean, spread)
    return mean, spread


def scatter(values: NDArray) -> tuple[NDArray, NDArray]:
    """As `moments`, with the sums of products of pairs of columns, ``(features, features)``; only the upper triangle counts."""
    n_features = values.shape[1]
    width = _padded(n_features, _FOUR)
    mean, spread = np.zeros(n_features), np.zeros((width, width))
    _sum_products(values, mean, spread)
    return mean, spread[:n_features, :n_features]


def assign(values: NDArray, origin: NDArray, centres: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """The clusters that the nearest centres make of rows, several sets of centres at once.

    Parameters
    ----------
    values : float32 or float64 array, shape (n, features)
        Contiguous.
    origin : float64 array, shape (features,)
        What ``values`` are taken relative to, and ``centres`` are.
    centres : float64 array, shape (run, cluster, features)

    Returns
    -------
    counts : float64 array, shape (run, cluster)
    sums : float64 array, shape (run, cluster, features)
        Relative to the origin.
    inertias : float64 array, shape (run,)
        Sums of squared distances from the nearest centres; of centres as near as each other the first counts.
    """
    n_runs, n_clusters, n_features = centres.shape
    filled, halves = _filled_up(centres)
    counts, sums, inertias = np.zeros((n_runs, n_clusters)), np.zeros((n_runs, n_clusters, n_features)), np.zeros(n_runs)
    _assign(values, origin, filled, halves, counts, sums, inertias)
    return counts, sums, inertias


def nearest(values: NDArray, origin: NDArray, centres: NDArray) -> tuple[NDArray, NDArray]:
    """The number of the nearest centre ``(cluster, features)`` of each row, int64, and its squared distance, float64; see `assign`."""
    filled, halves = _filled_up(centres[None])
    labels, squares = np.empty(len(values), np.int64), np.empty(len(values))
    _label(values, origin, filled, halves[0], labels, squares)
    return labels, squares


def _filled_up(centres: NDArray) -> tuple[NDArray, NDArray]:
    """The centres of all runs one behind the other, filled up with zeros, and half their squared lengths ``(run, cluster)``.

    Those that are no centres are infinitely long and thus never the nearest.
    """
    n_runs, n_clusters, n_features = centres.shape
    filled = np.zeros((n_runs, _padded(n_clusters, _FOUR), _padded(n_features, _LANES)))
    filled[:, :n_clusters, :n_features] = centres
    halves = np.full(filled.shape[:2], np.inf)
    halves[:, :n_clusters] = np.square(centres).sum(2) / 2
    return filled.reshape(-1, filled.shape[2]), halves


def _padded(size: int, to: int) -> int:
    """The next multiple."""
    return -(-size // to) * to


@compiled
def _first_mean(values: NDArray) -> NDArray:
    """The mean of the first rows, zero without rows."""
    n = min(_N_TRANSPOSED, len(values))
    total = np.zeros(values.shape[1])
    for i in range(n):
        for k in range(total.size):
            total[k] += values[i, k]
    return total / max(n, 1)


@compiled
def _sum_squares(values: NDArray, mean: NDArray, spread: NDArray) -> None:
    shift = _first_mean(values)
    total = np.zeros(mean.size)
    for i in range(len(values)):
        for k in range(mean.size):
            away = values[i, k] - shift[k]
            total[k] += away
            spread[k] += away * away
    for k in range(mean.size):
        away = total[k] / max(len(values), 1)
        mean[k] = shift[k] + away
        spread[k] -= total[k] * away


@compiled_sums
def _sum_products(values: NDArray, mean: NDArray, spread: NDArray) -> None:
    shift = _first_mean(values)
    total = np.zeros(mean.size)
    columns = np.zeros((len(spread), _N_TRANSPOSED + _LANES))  # a step of a power of two would hit the same few places of the cache
    for start in range(0, len(values), _N_TRANSPOSED):
        n = min(_N_TRANSPOSED, len(values) - start)
        for i in range(n):
            for k in range(mean.size):
                columns[k, i] = values[start + i, k] - shift[k]
        for k in range(mean.size):
            column, of_feature = columns[k], 0.0
            for i in range(n):
                of_feature += column[i]
            total[k] += of_feature
        for panel in range(0, len(spread), _PANEL):
            end = min(panel + _PANEL, len(spread))
            for i in range(0, end, _FOUR):
                for j in range(max(i, panel), end, _FOUR):
                    _add_products(columns, i, columns, j, 0, n, spread)
    for i in range(mean.size):
        away = total[i] / max(len(values), 1)
        mean[i] = shift[i] + away
        for k in range(mean.size):
            spread[i, k] -= away * total[k]


@compiled
def _assign(values: NDArray, origin: NDArray, centres: NDArray, halves: NDArray, counts: NDArray, sums: NDArray, inertias: NDArray) -> None:
    n_all, n_features = values.shape
    n_runs, n_clusters = halves.shape
    rows, products = np.zeros((_N_ROWS, centres.shape[1])), np.empty((_N_ROWS, len(centres)))
    for start in range(0, n_all, _N_ROWS):
        n = min(_N_ROWS, n_all - start)
        _fill(rows, n, values, start, origin)
        _multiply(rows, n, centres, products)
        for i in range(n):
            square = _square(rows[i])
            for run in range(n_runs):
                label, half = _nearest(products[i], run * n_clusters, halves[run])
                counts[run, label] += 1
                inertias[run] += max(square + 2 * half, 0.0)
                cluster = sums[run, label]
                for k in range(n_features):
                    cluster[k] += rows[i, k]


@compiled
def _label(values: NDArray, origin: NDArray, centres: NDArray, halves: NDArray, labels: NDArray, squares: NDArray) -> None:
    rows, products = np.zeros((_N_ROWS, centres.shape[1])), np.empty((_N_ROWS, len(centres)))
    for start in range(0, len(values), _N_ROWS):
        n = min(_N_ROWS, len(values) - start)
        _fill(rows, n, values, start, origin)
        _multiply(rows, n, centres, products)
        for i in range(n):
            labels[start + i], half = _nearest(products[i], 0, halves)
            squares[start + i] = max(_square(rows[i]) + 2 * half, 0.0)


@compiled_sums
def _square(row: NDArray) -> float:
    square = 0.0
    for k in range(row.size):
        square += row[k] * row[k]
    return square


@compiled
def _multiply(rows: NDArray, n: int, centres: NDArray, products: NDArray) -> None:
    """The products of ``n`` rows, and of a few behind them, with all centres."""
    products[:] = 0
    for first in range(0, rows.shape[1], _N_FEATURES):
        last = min(first + _N_FEATURES, rows.shape[1])
        for j in range(0, len(centres), _FOUR):
            for i in range(0, n, _FOUR):
                _add_products(rows, i, centres, j, first, last, products)


@compiled
def _nearest(products: NDArray, first: int, halves: NDArray) -> tuple[int, float]:
    """Which centre is the nearest to a row, and half its squared distance less that of the row from the origin."""
    label, least = 0, halves[0] - products[first]
    for j in range(1, halves.size):
        half = halves[j] - products[first + j]
        if half < least:
            label, least = j, half
    return label, least


@compiled
def _fill(rows: NDArray, n: int, values: NDArray, first: int, origin: NDArray) -> None:
    """Write ``n`` rows of ``values`` relative to an origin as float64."""
    for i in range(n):
        for k in range(values.shape[1]):
            rows[i, k] = values[first + i, k] - origin[k]


@compiled_sums
def _add_products(a: NDArray, i: int, b: NDArray, j: int, first: int, last: int, sums: NDArray) -> None:
    """Add to ``sums[i:i+4, j:j+4]`` the products of four rows of ``a`` with four of ``b``, over the columns from ``first`` to ``last``."""
    s00 = s01 = s02 = s03 = 0.0
    s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = 0.0
    s30 = s31 = s32 = s33 = 0.0
    p0, p1, p2, p3 = a[i, first:last], a[i + 1, first:last], a[i + 2, first:last], a[i + 3, first:last]
    q0, q1, q2, q3 = b[j, first:last], b[j + 1, first:last], b[j + 2, first:last], b[j + 3, first:last]
    for k in range(last - first):  # from zero, so that no index can be one from the end, and several are taken at once
        a0, a1, a2, a3 = p0[k], p1[k], p2[k], p3[k]
        b0, b1, b2, b3 = q0[k], q1[k], q2[k], q3[k]
        s00 += a0 * b0
        s01 += a0 * b1
        s02 += a0 * b2
        s03 += a0 * b3
        s10 += a1 * b0
        s11 += a1 * b1
        s12 += a1 * b2
        s13 += a1 * b3
        s20 += a2 * b0
        s21 += a2 * b1
        s22 += a2 * b2
        s23 += a2 * b3
        s30 += a3 * b0
        s31 += a3 * b1
        s32 += a3 * b2
        s33 += a3 * b3
    top, upper, lower, bottom = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
    top[j] += s00
    top[j + 1] += s01
    top[j + 2] += s02
    top[j + 3] += s03
    upper[j] += s10
    upper[j + 1] += s11
    upper[j + 2] += s12
    upper[j + 3] += s13
    lower[j] += s20
    lower[j + 1] += s21
    lower[j + 2] += s22
    lower[j + 3] += s23
    bottom[j] += s30
    bottom[j + 1] += s31
    bottom[j + 2] += s32
    bottom[j + 3] += s33
