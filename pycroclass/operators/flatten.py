"""Flattening of scans: taking away the tilt of the sample, and the offsets of scan lines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import ClassVar, Final

import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts, check_real
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Domain, Spec

_MOST: Final = 9
"""A polynomial of higher degree follows the noise, and its normal equations lose their digits."""


@dataclass(frozen=True)
class _Flatten(Operator):
    """What plane and line flattening share: a polynomial that is fitted to the pixels that are not masked."""

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    degree: int = 1
    mask: ArrayValue | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            set_field(self, "degree", index(self.degree))
        except TypeError:
            raise ParameterError(f"degree must be a whole number, got {self.degree!r}") from None
        if not 0 <= self.degree <= _MOST:
            raise ParameterError(f"degree must be from 0 to {_MOST}, got {self.degree}")
        if self.mask is not None:
            set_field(self, "mask", ArrayValue(ArrayValue(self.mask).values != 0))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        if self.mask is not None:
            check_broadcasts("mask", self.mask, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 5 * super().workspace(spec, device)  # float64, its weights and one product

    def used(self, block: torch.Tensor) -> torch.Tensor:
        """Which values the fit sees: finite ones outside the mask."""
        finite = torch.isfinite(block)
        return finite if self.mask is None else finite & ~torch.from_numpy(self.mask.values.copy()).to(block.device)


@dataclass(frozen=True)
class FlattenPlane(_Flatten):
    """Each image less the plane, or polynomial surface, that fits it best: ``I - sum of c_ij x^i y^j, i + j <= degree``.

    Least squares in float64 over all finite pixels outside the mask. ``(channel, y, x)`` keeps its shape, each channel on its own, and
    its mean over the fitted pixels becomes 0; float32, or float64 where the data are.

    Parameters
    ----------
    degree : int
        0 takes off the mean, 1 a plane, 2 also the bow of a scanner; up to 9.
    mask : array_like, shape (y, x), optional
        Nonzero where a pixel must not count, such as on particles that stand above a substrate. They are flattened with the rest.

    Raises
    ------
    ParameterError
        If the degree is not from 0 to 9.
    AxisError
        If the data are complex, or the mask does not fit the images.

    Examples
    --------
    >>> y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    >>> FlattenPlane().transform((7 + 2 * x - y)[None, None]).abs().max().item() < 1e-5
    True
    """

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        y, x = (torch.linspace(-1, 1, n, dtype=torch.float64, device=block.device) for n in block.shape[-2:])
        powers = [(i, j) for i in range(self.degree + 1) for j in range(self.degree + 1 - i)]
        basis = torch.stack([(y**j)[:, None] * x**i for i, j in powers]).flatten(1)
        return _less_fit(block.flatten(-2), self.used(block).flatten(-2), basis).reshape(block.shape)


@dataclass(frozen=True)
class FlattenLines(_Flatten):
    """Each scan line less the polynomial that fits it best: ``I[y] - sum of c_i x^i, i <= degree``, with c of each line its own.

    A line is a row along x, the fast axis of a scan; for a scan that was fast along y give ``axes=("x", "y")``. Least squares in
    float64 over the finite pixels of a line outside the mask. ``(channel, y, x)`` keeps its shape, each channel on its own; float32,
    or float64 where the data are. A line of which no pixel may count stays as it is.

    Parameters
    ----------
    degree : int
        0 takes off the mean of each line, 1 its tilt too; up to 9.
    mask : array_like, shape (y, x), optional
        Nonzero where a pixel must not count. Without it a particle draws its lines down.

    Raises
    ------
    ParameterError
        If the degree is not from 0 to 9.
    AxisError
        If the data are complex, or the mask does not fit the images.

    Examples
    --------
    >>> FlattenLines(0).transform(torch.tensor([[[[1.0, 3.0], [6.0, 6.0]]]])).tolist()
    [[[[-1.0, 1.0], [0.0, 0.0]]]]
    """

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        x = torch.linspace(-1, 1, block.shape[-1], dtype=torch.float64, device=block.device)
        basis = torch.stack([x**i for i in range(self.degree + 1)])
        return _less_fit(block, self.used(block), basis)


@dataclass(frozen=True)
class AlignLines(Operator):
    """Each scan line less its offset, so that the median step from one line to the next becomes zero.

    The offset of line ``y`` is the sum of ``median over x of I[y] - I[y - 1]`` over all lines up to it, less the mean of all offsets,
    so that the image keeps its level. A median hardly sees particles, which draw a mean down; what slope the surface has along y goes
    too. NaN does not count, and stays. ``(channel, y, x)`` keeps its shape, each channel on its own; float32, or float64 where the
    data are. For a scan that was fast along y give ``axes=("x", "y")``.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> AlignLines().transform(torch.tensor([[[[1.0, 9.0, 2.0], [5.0, 6.0, 6.0]]]])).tolist()
    [[[[3.0, 11.0, 4.0], [3.0, 4.0, 4.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        steps = _median((block[..., 1:, :] - block[..., :-1, :]).to(torch.float64))
        offsets = torch.cat([steps.new_zeros(*steps.shape[:-1], 1), steps.cumsum(-1)], -1)
        offsets = offsets - offsets.mean(-1, keepdim=True)
        return (block - offsets[..., None]).to(block.dtype)


def _less_fit(values: torch.Tensor, used: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """``values (…, n)`` less the combination of ``basis (k, n)`` that is nearest to those that are used."""
    weight = used.to(torch.float64)
    products = [[((weight * first) @ second) for second in basis] for first in basis]
    gram = torch.stack([torch.stack(row, -1) for row in products], -2)
    right = torch.where(used, values, 0).to(torch.float64) @ basis.T
    coefficients = (torch.linalg.pinv(gram, hermitian=True) @ right[..., None])[..., 0]
    less: torch.Tensor = values - coefficients @ basis
    return less.to(values.dtype)


def _median(rows: torch.Tensor) -> torch.Tensor:
    """The median along the last axis of values that are not NaN; 0 where there is none."""
    n = torch.isfinite(rows).sum(-1, keepdim=True)
    ordered = rows.masked_fill(~torch.isfinite(rows), torch.inf).sort(-1).values
    low, high = (ordered.gather(-1, ((n - k) // 2).clamp(0, rows.shape[-1] - 1)) for k in (1, 0))
    median: torch.Tensor = torch.where(n > 0, (low + high) / 2, 0)[..., 0]
    return median
