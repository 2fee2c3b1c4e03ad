"""Least squares with non-negative coefficients, which may have to sum to one, for many items at once."""

from __future__ import annotations

import torch

_ROUNDS_PER_MEMBER = 6
"""So many rounds for each end member end every search but those that rounding keeps from ending."""


def unconstrained(rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """The coefficients ``(item, member)`` that bring ``coefficients @ spectra`` nearest to ``rows`` ``(item, feature)``."""
    inverse: torch.Tensor = torch.linalg.pinv(spectra)
    return rows @ inverse


def nonnegative(rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """As `unconstrained`, none below zero (Lawson and Hanson 1974, chapter 23)."""
    lengths: torch.Tensor = torch.linalg.vector_norm(spectra, dim=1)
    q, r = torch.linalg.qr((spectra / lengths[:, None]).T)
    return _search(rows @ q, r, to_one=False) / lengths


def on_simplex(rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """As `nonnegative`, with sum one.

    A row of equal numbers is appended to the equations, which asks for the sum (Heinz and Chang, IEEE Trans. Geosci. Remote Sens. 39,
    529, 2001); a Lagrange multiplier makes it exact, so that the weight of the row does not matter. As coefficients sum to one, a
    common offset of rows and spectra cancels, and is taken off first.
    """
    origin = spectra.mean(0)
    centred = spectra - origin
    weight = centred.norm() if len(spectra) > 1 else centred.new_ones(())
    q, r = torch.linalg.qr(torch.cat([centred.T, weight.expand(1, len(spectra))]))
    return _search((rows - origin) @ q[:-1] + weight * q[-1], r, to_one=True)


def _search(targets: torch.Tensor, r: torch.Tensor, *, to_one: bool) -> torch.Tensor:
    """The non-negative ``x`` that bring ``x @ r.T`` nearest to ``targets``, by a primal active-set method.

    It starts from the unconstrained answer cut off at zero, so most items need no round or few. In each round an item either steps towards
    the least squares of its free coefficients until one becomes zero, or has arrived there and frees the one that gains most.
    """
    x = _least_squares(targets, r, torch.ones_like(targets, dtype=torch.bool), to_one=to_one)
    open_items = (x < 0).any(1).nonzero().squeeze(1)
    x = x.clamp(min=0)
    if to_one:
        x = x / x.sum(1, keepdim=True)
    free = x > 0
    rounding = 16 * torch.finfo(r.dtype).eps * len(r) * r.norm() * targets.norm(dim=1)
    for _ in range(_ROUNDS_PER_MEMBER * len(r)):
        if not len(open_items):
            break
        y, here, may_move = targets[open_items], x[open_items], free[open_items]
        here, may_move, blocked = _step(here, _least_squares(y, r, may_move, to_one=to_one), may_move)
        gain = (y - here @ r.T) @ r
        if to_one:  # what counts is to gain more than the free ones, which all gain the same
            gain = gain - (gain * may_move).sum(1, keepdim=True) / may_move.sum(1, keepdim=True)
        most, which = gain.masked_fill(may_move, -torch.inf).max(1)
        enters = ~blocked & (most > rounding[open_items])
        may_move[enters, which[enters]] = True
        x[open_items], free[open_items] = here, may_move
        open_items = open_items[blocked | enters]
    return x


def _step(here: torch.Tensor, best: torch.Tensor, free: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As far towards ``best`` as no coefficient becomes negative; what is free there; and whether something was in the way."""
    negative = free & (best < 0)
    reach = torch.where(negative, here / (here - best), torch.inf)
    step = reach.min(1, keepdim=True).values.clamp(max=1)
    free = free & ~(negative & (reach <= step))
    return (here + step * (best - here)).clamp(min=0) * free, free, negative.any(1)


def _least_squares(targets: torch.Tensor, r: torch.Tensor, free: torch.Tensor, *, to_one: bool) -> torch.Tensor:
    """Least squares over the free coefficients of each item, the others zero.

    By normal equations and one step of refinement, which gives back the digits that they lose (Björck 1996, section 6.6.5).
    """
    system = torch.where(free[:, :, None] & free[:, None, :], r.T @ r, 0)
    system.diagonal(dim1=1, dim2=2).add_(~free)
    factor = torch.linalg.cholesky(system)

    def solved(right: torch.Tensor) -> torch.Tensor:
        return torch.cholesky_solve((right * free)[:, :, None], factor).squeeze(2)

    x = solved(targets @ r)
    x = x + solved((targets - x @ r.T) @ r)
    if to_one:
        along = solved(torch.ones_like(x))
        x = x + along * ((1 - x.sum(1)) / along.sum(1))[:, None]
    return x
