"""Operators map blocks of items to blocks of items; pipelines chain them."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError
from pycroclass.spec import Domain, Spec

if TYPE_CHECKING:
    import sidpy
    import torch

WHOLE: Final = -1
"""`Operator.halo` of an operator that needs its whole item at once."""


@dataclass(frozen=True)
class Items:
    """Which items a block holds.

    Parameters
    ----------
    index : int64 array, shape (batch,)
        Number of each item in the dataset, counted over its navigation axes in C order.
    values : mapping of str to array, each of shape (batch,)
        Companions: one value for each item, such as its label.
    """

    index: npt.NDArray[np.int64]
    values: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class Composable:
    """What operators, estimators and pipelines share: ``a | b`` chains them, ``a(dataset)`` runs them lazily."""

    def steps(self) -> tuple[Composable, ...]:
        """The operators and estimators that this is made of, in order."""
        return (self,)

    def __or__(self, other: Composable) -> Pipeline:
        if not isinstance(other, Composable):
            return NotImplemented
        return Pipeline((*self.steps(), *other.steps()), getattr(self, "fitted", None) or getattr(other, "fitted", None))

    def __call__(self, dataset: sidpy.Dataset) -> Any:
        """Run lazily on a dataset: the same as ``pycroclass.run(self, dataset)``."""
        from pycroclass.api import run  # the one step against the layers, so that users can write Crop(350)(dataset)

        return run(self, dataset)


@dataclass(frozen=True)
class Operator(Composable, ABC):
    """Maps blocks of items to blocks of items; a frozen value that is registered under its class name.

    A subclass is a frozen dataclass. It sets ``domain`` and overrides `transform` (or `apply`, where the answer depends on which
    items these are) and, where they change, `output`, `halo` and `bind`.

    Parameters
    ----------
    axes : tuple of str, optional, keyword only
        Names of the axes of one item, where the dataset leaves a doubt.
    """

    domain: ClassVar[Domain]
    tolerance: ClassVar[float] = 1e-6
    """Largest relative difference that another chunking or device may make."""
    takes_any_dtype: ClassVar[bool] = False
    """Whether it moves values or converts them itself: then it gets them in the dtype of the file, else as floating point."""

    axes: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hidden = [name for name in vars(cls).get("__annotations__", {}) if callable(getattr(Operator, name, None))]
        if hidden:
            raise ParameterError(f"the parameters {hidden} of {cls.__name__} would hide methods of Operator; choose other names")
        if cls.__module__ != __name__:
            register(cls)

    def __post_init__(self) -> None:
        if self.axes is not None:
            set_field(self, "axes", (self.axes,) if isinstance(self.axes, str) else tuple(self.axes))

    def bind(self, spec: Spec) -> Operator:
        """This operator with all that it takes from the data filled in, such as the beam centre; ``spec`` is that of one item."""
        return self

    def output(self, spec: Spec) -> Spec | dict[str, Spec]:
        """What comes out of items of ``spec`` (core axes only; an image always has its channel axis): one result, or several named."""
        return spec

    def halo(self) -> int:
        """How many neighbours on each side a value depends on; `WHOLE` if on the whole item."""
        return 0 if self.domain is Domain.PIXEL else WHOLE

    def part_taken(self, spec: Spec) -> tuple[slice, ...]:
        """The part of each item that is taken, for an operator that only does this; the rest is then never read."""
        raise NotImplementedError(f"{type(self).__name__} is no operator that takes a part of each item")

    def workspace(self, spec: Spec, device: torch.device) -> int:
        """Bytes that one item of ``spec`` needs on ``device`` while it is computed: twice its input and output as float32."""
        output = self.output(spec)
        results = output.values() if isinstance(output, dict) else (output,)
        return 8 * (math.prod(spec.shape) + sum(math.prod(result.shape) for result in results))

    def transform(self, block: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Map ``(batch, *core)`` to ``(batch, *core_out)`` without modifying the block; keys and order as in `output`."""
        raise NotImplementedError(f"{type(self).__name__} must override transform or apply")

    def apply(self, block: torch.Tensor, items: Items) -> torch.Tensor | dict[str, torch.Tensor]:
        """As `transform`, for an operator that asks which items these are."""
        return self.transform(block)


@dataclass(frozen=True)
class Selection(Operator, ABC):
    """An operator that only takes part of the data, along any axes, navigation included: the rest is never read."""

    domain: ClassVar[Domain] = Domain.PIXEL

    def slices(self, spec: Spec) -> dict[str, slice]:
        """What to keep of each named axis of the whole dataset; axes not named are kept whole."""
        raise NotImplementedError(f"{type(self).__name__} must override slices")


@dataclass(frozen=True)
class Unfolding(Operator, ABC):
    """An operator that repeats values, as windows that overlap do: its results are views, made block by block and never all at once.

    It is for images. The last four axes of its result are the places of the windows along two axes, and the two axes inside a window.
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    takes_any_dtype: ClassVar[bool] = True

    def views(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of items ``(…, *core)`` what `transform` gives, ``(…, *core_out)``, without a copy."""
        raise NotImplementedError(f"{type(self).__name__} must override views")


@dataclass(frozen=True)
class Pipeline(Composable):
    """Operators (and estimators still to be fitted) in the order in which they run.

    It goes on from the first named output of an operator that has several.

    Examples
    --------
    >>> from pycroclass.operators import Crop, Log1p
    >>> len((Crop(350) | Log1p()).steps())
    2
    """

    members: tuple[Composable, ...]
    fitted: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """How its fitted operators were learned: recipe and source, for the record."""

    def __post_init__(self) -> None:
        set_field(self, "members", tuple(self.members))
        for member in self.members:
            if not isinstance(member, Composable):
                raise ParameterError(f"a pipeline is made of operators and estimators, got {member!r}")

    def steps(self) -> tuple[Composable, ...]:
        return self.members

    def __iter__(self) -> Iterator[Composable]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, key: int) -> Composable: ...
    @overload
    def __getitem__(self, key: slice) -> Pipeline: ...
    def __getitem__(self, key: int | slice) -> Composable:
        return Pipeline(self.members[key]) if isinstance(key, slice) else self.members[key]


REGISTRY: Final[dict[str, type[Composable]]] = {}
"""Operators and estimators by class name: the only ones that a file may name."""


def register(cls: type[Composable]) -> None:
    """Make a class known under its name; names that start with ``_`` stay private.

    Raises
    ------
    ParameterError
        If another class has that name.
    """
    known = REGISTRY.get(cls.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ParameterError(f"{cls.__module__}.{cls.__name__} has the name of {known.__module__}.{known.__name__}")
    if not cls.__name__.startswith("_"):
        REGISTRY[cls.__name__] = cls


def set_field(instance: object, name: str, value: object) -> None:
    """Normalise a field of a frozen dataclass; for use in ``__post_init__`` only."""
    object.__setattr__(instance, name, value)
