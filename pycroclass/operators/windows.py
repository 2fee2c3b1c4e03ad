"""Images as the small windows that they are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import AxisError
from pycroclass.operator import Unfolding, set_field
from pycroclass.operators._checks import check_evenly_spaced, integers
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class Windows(Unfolding):
    """All windows of ``size`` pixels of each image, ``step`` pixels apart: its local structure, to be decomposed and clustered.

    ``(channel, y, x)`` becomes ``(channel, y, x, window_y, window_x)``: y and x are where the middle of a window lies, window_y and
    window_x are distances from it, all in the units of the image. The first window begins at the first pixel; a rest that holds no
    whole window is left out. It is ``numpy.lib.stride_tricks.sliding_window_view(image, size)[::step, ::step]`` and as lazy: windows
    are views of their image, made block by block where they are needed. An image is held whole meanwhile.

    With `PowerSpectrum` behind it each window becomes its power spectrum under a Hann window, which does not depend on where in the
    window the structure lies.

    Parameters
    ----------
    size : int or (y, x)
        Of a window, in pixels.
    step : int or (y, x)
        From one window to the next, in pixels.

    Raises
    ------
    ParameterError
        If size or step cannot be understood.
    AxisError
        If an image is smaller than a window, or its axes are not evenly spaced.

    Examples
    --------
    >>> Windows(2, step=2).transform(torch.arange(8).reshape(1, 1, 2, 4)).tolist()
    [[[[[[0, 1], [4, 5]], [[2, 3], [6, 7]]]]]]
    >>> import pycroclass as pc
    >>> local = pc.Windows(32, step=8) | pc.PowerSpectrum() | pc.Log1p() | pc.PCA(8) | pc.KMeans(4)
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    size: int | tuple[int, int]
    step: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "size", integers("size", self.size))
        set_field(self, "step", integers("step", self.step))

    def output(self, spec: Spec) -> Spec:
        *channel, y, x = spec.axes
        check_evenly_spaced(self, y, x)
        size, step = integers("size", self.size), integers("step", self.step)
        if y.size < size[0] or x.size < size[1]:
            raise AxisError(f"an image of {(y.size, x.size)} has no window of {size} pixels. Take a smaller size.")
        middles = (_middles(axis, n, s) for axis, n, s in zip((y, x), size, step, strict=True))
        insides = (_inside(axis, n) for axis, n in zip((y, x), size, strict=True))
        return replace(spec, axes=(*channel, *middles, *insides), geometry=None)

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 0  # views

    def views(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (step_y, step_x) = integers("step", self.step)
        windows = np.lib.stride_tricks.sliding_window_view(images, integers("size", self.size), axis=(-2, -1))
        return windows[..., ::step_y, ::step_x, :, :]

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        (rows, columns), (step_y, step_x) = integers("size", self.size), integers("step", self.step)
        return block.unfold(-2, rows, step_y).unfold(-2, columns, step_x)


def _middles(axis: Axis, size: int, step: int) -> Axis:
    """Where the middles of the windows lie."""
    offset = axis.offset + axis.step * (size - 1) / 2
    return replace(axis, size=(axis.size - size) // step + 1, offset=offset, step=axis.step * step)


def _inside(axis: Axis, size: int) -> Axis:
    """Distances from the middle of a window."""
    return replace(axis, name=f"window_{axis.name}", size=size, offset=-axis.step * (size - 1) / 2)
