"""Non-negative amounts of given components in many items at once: least squares, and the maximum likelihood of counts."""

from __future__ import annotations

from typing import Final

import torch

_VALUES: Final = 1 << 22
"""How many numbers a slice of items may need, so that memory does not grow with a block."""
_CHANCES: Final = 3
_ROUNDING: Final = 1e-12
_RIDGE: Final = 1e-11
_MOST_STEPS: Final = 50
_STILL: Final = 1e-6
_CODED: Final = 53


def least_squares(gram: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """``x >= 0`` that minimises ``x G x / 2 - x b`` for each row ``b`` of ``products`` (item, component), exactly.

    Block principal pivoting (Kim and Park, SIAM J. Sci. Comput. 33, 3261, 2011): the set of components above zero is guessed, solved
    for, and mended until both the amounts and the gradient have the right sign.

    Parameters
    ----------
    gram : tensor, shape (component, component) or (item, component, component)
        Symmetric and positive semidefinite: products of the components, the same for all items or one each.
    products : tensor, shape (item, component)
    """
    size = max(1, _VALUES // products.shape[1] ** 2)
    parts = [
        _pivoted(gram if gram.ndim == 2 else gram[start : start + size], products[start : start + size])
        for start in range(0, len(products), size)
    ]
    return torch.cat(parts) if parts else products


def _pivoted(gram: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    n, k = products.shape
    amounts, gradient = torch.zeros_like(products), -products
    above = torch.zeros_like(products, dtype=torch.bool)
    fewest = torch.full((n,), k + 1, device=products.device)
    chances = torch.full((n,), _CHANCES, device=products.device)
    least = -_ROUNDING * products.abs().amax(1, keepdim=True)
    for _ in range(10 * (k + _CHANCES)):
        wrong = torch.where(above, amounts < -_ROUNDING * amounts.abs().amax(1, keepdim=True), gradient < least)
        count = wrong.sum(1)
        rows = count.nonzero()[:, 0]
        if not len(rows):
            break
        better = count < fewest
        fewest, chances = torch.where(better, count, fewest), torch.where(better, _CHANCES, chances - 1)
        last = wrong & (wrong.flip(1).cumsum(1).flip(1) == 1)  # one at a time cannot cycle (Murty 1974)
        above[rows] ^= torch.where(chances[:, None] >= 0, wrong, last)[rows]
        mine = gram if gram.ndim == 2 else gram[rows]
        amounts[rows] = _solved(mine, products[rows], above[rows])
        gradient[rows] = _times(mine, amounts[rows]) - products[rows]
    return amounts.clamp(min=0)


def _regular(gram: torch.Tensor) -> torch.Tensor:
    """The same, which can be inverted where components are absent or equal."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    return gram + torch.diag_embed(torch.where(diagonal > 0, _RIDGE * diagonal, 1.0))


def _solved(gram: torch.Tensor, products: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """The least-squares amounts of the components that are ``above`` zero, and zero of the others."""
    sets, which = (above, None) if gram.ndim == 3 else _different(above)
    pairs = sets[:, :, None] & sets[:, None, :]
    one = torch.eye(products.shape[1], dtype=gram.dtype, device=gram.device)
    inverse = torch.linalg.inv(torch.where(pairs, _regular(gram), one))
    inverse = inverse if which is None else inverse[which]
    amounts = _times(inverse, products * above) * above
    left = (products - _times(gram, amounts)) * above  # one refinement gives back the digits that the inverse loses
    return amounts + _times(inverse, left) * above


def _times(gram: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    return amounts @ gram if gram.ndim == 2 else (gram @ amounts[:, :, None])[..., 0]


def _different(sets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The different rows of ``sets``, and which of them each row is: there are far fewer than items."""
    k = sets.shape[1]
    if k > _CODED:  # more bits than a float64 holds
        rows, which = torch.unique(sets, dim=0, return_inverse=True)
        return rows, which
    codes = sets.to(torch.float64) @ (2.0 ** torch.arange(k, dtype=torch.float64, device=sets.device))
    found, which = torch.unique(codes, return_inverse=True)
    bits = found.to(torch.int64)[:, None] >> torch.arange(k, device=sets.device)
    return (bits & 1).to(torch.bool), which


def poisson(rows: torch.Tensor, components: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """``w >= 0`` that minimises the Kullback-Leibler divergence of each row of counts from ``w @ components``, plus ``penalty @ w``.

    Fisher scoring, which is least squares with the weights ``1 / (w @ components)`` (Green, J. R. Stat. Soc. B 46, 149, 1984); where
    such a step does not lower the divergence, a multiplicative one, which always does (Lee and Seung, NIPS 13, 2001).

    Parameters
    ----------
    rows : tensor, shape (item, feature)
    components : tensor, shape (component, feature)
    penalty : tensor, shape (component,)
    """
    size = max(1, _VALUES // (rows.shape[1] + len(components) ** 2))
    parts = [_scored(rows[start : start + size], components, penalty) for start in range(0, len(rows), size)]
    return torch.cat(parts) if parts else rows.new_zeros(0, len(components))


def _scored(rows: torch.Tensor, components: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    k = len(components)
    pairs = (components[:, None] * components[None]).flatten(0, 1).T
    scale = (components.sum(1) + penalty).clamp(min=1e-300)
    amounts = (rows.sum(1) / components.sum().clamp(min=1e-300))[:, None].repeat(1, k)
    left = torch.arange(len(rows), device=rows.device)
    counts, old, expected = rows, amounts.clone(), mixture(rows, amounts, components)
    cost = _cost(counts, expected) + old @ penalty
    for _ in range(_MOST_STEPS):
        products = (counts / expected) @ components.T
        new = least_squares(((1 / expected) @ pairs).view(-1, k, k), products - penalty)
        better = mixture(counts, new, components)
        now = _cost(counts, better) + new @ penalty
        worse = (now > cost).nonzero()[:, 0]
        if len(worse):
            new[worse] = old[worse] * products[worse] / scale
            better[worse] = mixture(counts[worse], new[worse], components)
            now[worse] = _cost(counts[worse], better[worse]) + new[worse] @ penalty
        amounts[left] = new
        moved = ((new - old).abs().amax(1) > _STILL * new.amax(1)).nonzero()[:, 0]
        if not len(moved):
            break
        left, counts, old, expected, cost = left[moved], counts[moved], new[moved], better[moved], now[moved]
    return amounts


def _cost(counts: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The divergence of each row less what does not depend on what is expected."""
    return (expected - counts * expected.log()).sum(1)


def mixture(counts: torch.Tensor, amounts: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """``amounts @ components``, kept above zero so that it can be divided by."""
    least = (1e-12 * counts.mean(1, keepdim=True)).clamp(min=1e-100)
    return (amounts @ components).maximum(least)


def divergence(counts: torch.Tensor, amounts: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """The Kullback-Leibler divergence of each row of counts from its mixture, shape (item,): half the deviance of Poisson counts."""
    expected = mixture(counts, amounts, components)
    return (torch.xlogy(counts, counts / expected) - counts + expected).sum(1)
