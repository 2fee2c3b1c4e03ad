"""Images by the small patterns that they are made of, which are learned from the images themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.estimators._items import check_real, positive
from pycroclass.estimators.pca import PCA
from pycroclass.operator import Items, Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.reduction import Data, Estimator, Reduction, State
from pycroclass.spec import Axis, AxisKind, Domain, Spec


@dataclass(frozen=True)
class PatchStrength(Operator):
    """How strong each of several patterns is in each part of an image, wherever in that part it stands.

    ``(channel, y, x)``, of any size from that of the patterns on, becomes ``(feature,)``, float32: for each component and each of
    ``n_cells`` x ``n_cells`` parts of the image the root of the mean square of ``(patch - mean) . component`` over its patches, which
    overlap by half. Of colours the mean is taken. Made by `PatchPCA.fit`.

    Parameters
    ----------
    mean : array, shape (size, size)
    components : array, shape (n_components, size, size)
        Orthonormal.
    n_cells : int

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an image is smaller than a patch, or complex.

    Notes
    -----
    An image that holds NaN or inf gets NaN.

    Examples
    --------
    >>> strength = PatchStrength(np.zeros((2, 2)), [[[0.5, -0.5], [0.5, -0.5]]], 1)  # edges from top to bottom
    >>> image = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    >>> strength.transform(torch.stack([image, torch.ones(2, 3)])[:, None]).tolist()
    [[1.0], [0.0]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-4

    mean: ArrayValue
    components: ArrayValue
    n_cells: int

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mean", ArrayValue(self.mean))
        set_field(self, "components", ArrayValue(self.components))
        set_field(self, "n_cells", positive("n_cells", self.n_cells))
        shape = self.mean.shape
        if len(shape) != 2 or shape[0] != shape[1] or self.components.shape[1:] != shape or self.components.shape[:1] in ((), (0,)):
            raise ParameterError(
                f"wanted a mean of (size, size) and components of (n_components, size, size), got {shape} and {self.components.shape}"
            )

    def output(self, spec: Spec) -> Spec:
        check_patches_fit(spec, self.mean.shape[0])
        n = self.components.shape[0] * self.n_cells**2
        feature = Axis("feature", n, kind=AxisKind.SPECTRAL, quantity="feature")
        return replace(spec, axes=(feature,), dtype=np.dtype(np.float32), quantity="feature", geometry=None, classes=())

    def workspace(self, spec: Spec, device: torch.device) -> int:
        n_scores = 4 * self.components.shape[0] * math.prod(spec.shape[1:]) // self.mean.shape[0] ** 2
        return 8 * math.prod(spec.shape) + 12 * n_scores

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        is_finite = torch.isfinite(block).flatten(1).all(1)
        grey = block.where(is_finite[:, None, None, None], 0).float().mean(1, keepdim=True)
        components, mean = (as_tensor(value, grey) for value in (self.components, self.mean))
        of_mean = (components * mean).sum((1, 2))[:, None, None]
        scores = F.conv2d(grey, components[:, None], stride=step_of(self.mean.shape[0])) - of_mean
        strength = F.adaptive_avg_pool2d(scores.square(), self.n_cells).flatten(1).sqrt()
        return strength.where(is_finite[:, None], torch.nan)


@dataclass(frozen=True)
class PatchPCA(Estimator):
    """The patterns in which small patches of images differ most: principal components of all patches of all images, exact, in one pass.

    Patches overlap by half. Fitting gives a `PatchStrength`, which describes an image by how strong each pattern is in it: textures,
    edges of a certain width, grains of a certain size.

    Parameters
    ----------
    n_components : int
    size : int
        Of a patch, in pixels.
    n_cells : int
        Into so many parts along y and along x the image is cut, each described by itself; 1 forgets where a pattern stands.

    Raises
    ------
    ParameterError
        If there are more components than pixels in a patch.
    AxisError
        If the images are smaller than a patch.
    DataError
        If the images are complex, constant or not finite.

    Examples
    --------
    >>> import pycroclass as pc
    >>> features = pc.fit(pc.PatchPCA(), images)(images)  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    n_components: int = 16
    _: KW_ONLY
    size: int = 8
    n_cells: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_components", "size", "n_cells"):
            set_field(self, name, positive(name, getattr(self, name)))
        if self.n_components > self.size**2:
            raise ParameterError(f"n_components={self.n_components} is more than the {self.size**2} pixels of a patch")

    def fit(self, data: Data, spec: Spec) -> PatchStrength:
        """The patterns of all patches."""
        check_real(spec)
        check_patches_fit(spec, self.size)
        pixels = Axis("pixel", self.size**2, kind=AxisKind.SPECTRAL)
        project = PCA(self.n_components).fit(_Patches(data, spec, self.size), replace(spec, axes=(pixels,)))
        shape = (self.size, self.size)
        mean, components = project.mean.values.reshape(shape), project.components.values.reshape(-1, *shape)
        return PatchStrength(ArrayValue(mean), ArrayValue(components), self.n_cells, axes=self.axes)


@dataclass(frozen=True)
class _Patches:
    """All patches of images as `Data` to be passed over."""

    images: Data
    spec: Spec
    size: int

    @property
    def n_items(self) -> int:
        n_y, n_x = ((length - self.size) // step_of(self.size) + 1 for length in self.spec.shape[1:])
        return self.images.n_items * n_y * n_x

    def reduce(self, reduction: Reduction) -> State:
        return self.images.reduce(_OfPatches(reduction, self.size))

    def sample(self, n: int, seed: int) -> npt.NDArray[Any]:
        raise NotImplementedError("patches are passed over as a whole")

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        raise NotImplementedError("patches are passed over as a whole")


@dataclass(frozen=True)
class _OfPatches(Reduction):
    """A reduction of the patches of images."""

    reduction: Reduction
    size: int

    def partial(self, block: torch.Tensor, items: Items) -> State:
        grey = block.float().mean(1, keepdim=True)
        patches = F.unfold(grey, self.size, stride=step_of(self.size)).transpose(1, 2).flatten(0, 1)
        return self.reduction.partial(patches, Items(np.arange(len(patches))))

    def merge(self, a: State, b: State) -> State:
        return self.reduction.merge(a, b)


def step_of(size: int) -> int:
    """From one patch to the next, in pixels."""
    return max(1, size // 2)


def check_patches_fit(spec: Spec, size: int) -> None:
    """Refuse images that are smaller than a patch.

    Raises
    ------
    AxisError
        If they are.
    """
    check_real(spec)
    if min(spec.shape[1:]) < size:
        raise AxisError(f"images of {spec.shape[1]} x {spec.shape[2]} pixels hold no patch of {size} x {size}. Take a smaller size.")
