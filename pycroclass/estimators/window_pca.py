"""Cleaning images by the principal components of their windows."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from functools import reduce
from typing import ClassVar, Final

import torch
from torch.nn.functional import conv2d, conv_transpose2d

from pycroclass.errors import AxisError, ParameterError
from pycroclass.estimators._items import check_real, positive
from pycroclass.estimators.pca import PCA
from pycroclass.estimators.projection import Project
from pycroclass.operator import Composable, Items, Operator, set_field
from pycroclass.operators._checks import integers
from pycroclass.operators._tensor import as_tensor, floating, real_dtype
from pycroclass.operators.windows import Windows
from pycroclass.reduction import Data, Estimator, Reducible, Reduction, State
from pycroclass.spec import Domain, Spec

_BAND_VALUES: Final = 1 << 21
"""About how many values of windows are made at once."""


@dataclass(frozen=True)
class WindowFilter(Operator):
    """Each image from its windows on a few components: every window is projected and reconstructed, and those that overlap are averaged.

    What the components cannot describe, most of the noise, is gone. ``(channel, y, x)`` keeps its shape, each channel on its own;
    float32, or float64 where the data are. Where the last window would stick out, the image is continued by its reflection. Made by
    `WindowPCA.fit`.

    Parameters
    ----------
    project : Project
        On the components of windows.
    step : (y, x)
        From one window to the next, in pixels.

    Raises
    ------
    ParameterError
        If ``project`` is not of windows.
    AxisError
        If an image is smaller than a window, or complex.

    Examples
    --------
    >>> import pycroclass as pc
    >>> (clean,) = pc.fit(pc.WindowPCA(16, n_components=8), image)  # doctest: +SKIP
    >>> clean.project.explained_variance_ratio  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    project: Project
    step: tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.project.steps() if isinstance(self.project, Composable) else ()
        if len(steps) != 1 or not isinstance(steps[0], Project) or len(steps[0].mean.shape) != 2:
            raise ParameterError(f"project must be a Project fitted on windows (y, x), got {self.project!r}")
        set_field(self, "project", steps[0])
        set_field(self, "step", _without_gaps(self.step, self.size))

    @property
    def size(self) -> tuple[int, int]:
        """Of a window, in pixels."""
        rows, columns = self.project.mean.shape
        return rows, columns

    def output(self, spec: Spec) -> Spec:
        check_real(spec)
        if any(axis.size < n for axis, n in zip(spec.axes[-2:], self.size, strict=True)):
            raise AxisError(f"an image of {spec.shape[-2:]} has no window of {self.size} pixels, on which this was fitted")
        return replace(spec, dtype=real_dtype(spec.dtype))

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return (2 + self.project.n_components) * super().workspace(spec, device)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        images = floating(block).flatten(0, 1)[:, None]
        height, width = block.shape[-2:]
        level = float(self.project.mean.values.mean())  # taken off first: a sum of large numbers loses its small ones
        mean = as_tensor(self.project.mean, images)[None, None] - level
        components = as_tensor(self.project.components, images)[:, None]
        wide = _up_to_whole(_up_to_whole(images - level, -2, self.size[0], self.step[0]), -1, self.size[1], self.step[1])
        scores = conv2d(wide, components, stride=self.step) - (components * mean).sum((-3, -2, -1))[:, None, None]
        sums = conv_transpose2d(scores, components, stride=self.step)
        ones = torch.ones_like(scores[:1, :1])
        mean_sums, counts = (conv_transpose2d(ones, kernel, stride=self.step) for kernel in (mean, torch.ones_like(mean)))
        clean = (sums + mean_sums) / counts + level
        return clean[..., :height, :width].reshape(block.shape)


@dataclass(frozen=True)
class WindowPCA(Estimator):
    """Cleans images by the principal components of their windows, which is also known as SVD cleaning.

    All windows of all images are items of a `PCA`, in float64 and in passes over the images: the result is exact and does not depend
    on how the data are chunked. A crystal lattice or a texture needs few components, noise needs all. Fitting gives a `WindowFilter`.

    Parameters
    ----------
    size : int or (y, x)
        Of a window, in pixels; larger than the structure that repeats.
    n_components : int
        Too few blur what is rare, such as a defect: look at the difference of image and result, where only noise should be seen.
    step : int or (y, x)
        From one window to the next, in pixels, at most ``size``; 1 cleans best.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    AxisError
        If an image is smaller than a window.
    DataError
        If the data are complex, constant or not finite.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.WindowPCA(16, n_components=8), image)  # doctest: +SKIP
    >>> clean = model(image)  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    size: int | tuple[int, int]
    n_components: int
    _: KW_ONLY
    step: int | tuple[int, int] = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "size", integers("size", self.size))
        set_field(self, "step", _without_gaps(self.step, integers("size", self.size)))
        set_field(self, "n_components", positive("n_components", self.n_components))

    def fit(self, data: Data, spec: Spec) -> WindowFilter:
        """The principal components of all windows."""
        check_real(spec)
        windows = Windows(self.size, self.step)
        unfolded = windows.output(spec)
        of_windows = _Windowed(data, windows, math.prod(unfolded.shape[:-2]))
        project = PCA(self.n_components, seed=self.seed).fit(of_windows, unfolded.only(unfolded.names[-2:]))
        return WindowFilter(project, integers("step", self.step), axes=self.axes)


@dataclass(frozen=True)
class _Windowed:
    """The windows of images as items that reductions pass over."""

    data: Reducible
    windows: Windows
    n_windows: int
    """Of one image, in all its channels."""

    @property
    def n_items(self) -> int:
        return self.data.n_items * self.n_windows

    def reduce(self, reduction: Reduction) -> State:
        return self.data.reduce(_OverWindows(reduction, self.windows))


@dataclass(frozen=True)
class _OverWindows(Reduction):
    """A reduction of windows as one of the images that they are cut from."""

    reduction: Reduction
    windows: Windows

    def partial(self, block: torch.Tensor, items: Items) -> State:
        images = self.windows.transform(block).flatten(0, 1)  # (image, y, x, window_y, window_x), views
        rows = max(1, _BAND_VALUES // images[0, 0].numel())
        bands = (band for image in images for band in image.split(rows))
        return reduce(self.reduction.merge, (self.reduction.partial(band.flatten(0, 1), items) for band in bands))

    def merge(self, a: State, b: State) -> State:
        return self.reduction.merge(a, b)


def _without_gaps(step: int | tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    rows, columns = integers("step", step)
    if rows > size[0] or columns > size[1]:
        raise ParameterError(f"step={step} leaves gaps between windows of {size} pixels; take at most their size")
    return rows, columns


def _up_to_whole(images: torch.Tensor, dim: int, size: int, step: int) -> torch.Tensor:
    """The images continued by their reflection at the end of an axis, so that a whole number of steps fits."""
    n = images.shape[dim]
    rest = -(n - size) % step
    return torch.cat([images, images.narrow(dim, n - rest, rest).flip(dim)], dim) if rest else images
