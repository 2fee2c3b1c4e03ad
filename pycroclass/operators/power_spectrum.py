"""Power spectra of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.operator import Operator
from pycroclass.operators._checks import check_evenly_spaced
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Axis, AxisKind, Domain, Spec


@dataclass(frozen=True)
class PowerSpectrum(Operator):
    """Squared modulus of the Fourier transform of each image under a Hann window, frequency zero in the middle.

    ``P(f) = |sum over r of w(r) I(r) exp(-2 pi i f r)|²``, ``w`` the product of ``0.5 - 0.5 cos(2 pi n / (N - 1))`` along y and x, which
    keeps the image's border from drawing a cross. ``(channel, y, x)`` becomes ``(channel, frequency_y, frequency_x)`` of the same shape,
    each channel on its own, in cycles per unit of y and x. For a logarithmic one put `Log1p` behind.

    Raises
    ------
    AxisError
        If the positions along y or x are not evenly spaced.

    Examples
    --------
    >>> wave = torch.cos(torch.arange(64) * 2 * torch.pi / 8).expand(1, 1, 64, 64)
    >>> power = PowerSpectrum().transform(wave)[0, 0]
    >>> power[32].argsort()[-2:].sort().values.tolist()  # 64 / 8 = 8 periods: 8 steps from the middle
    [24, 40]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    def output(self, spec: Spec) -> Spec:
        y, x = spec.axes[-2:]
        check_evenly_spaced(self, y, x)
        return replace(
            spec,
            axes=(*spec.axes[:-2], _reciprocal(y), _reciprocal(x)),
            dtype=real_dtype(spec.dtype),
            quantity="power spectrum",
            units=spec.units if spec.units == "generic" else f"({spec.units})^2",
            geometry=None,
        )

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        rows, columns = (torch.hann_window(n, periodic=False, dtype=block.real.dtype, device=block.device) for n in block.shape[-2:])
        amplitude = torch.fft.fftshift(torch.fft.fft2(block * rows[:, None] * columns), dim=(-2, -1))
        power: torch.Tensor = amplitude.real.square() + amplitude.imag.square()
        return power


def _reciprocal(axis: Axis) -> Axis:
    step = 1 / (axis.size * axis.step)
    return Axis(
        f"frequency_{axis.name}",
        axis.size,
        kind=AxisKind.SPATIAL if axis.kind is AxisKind.RECIPROCAL else AxisKind.RECIPROCAL,
        quantity="spatial frequency",
        units=_inverse(axis.units),
        offset=-(axis.size // 2) * step,
        step=step,
    )


def _inverse(units: str) -> str:
    if units == "generic":
        return "1/px"
    return units.removeprefix("1/") if units.startswith("1/") else f"1/{units}"
