"""What runs on one block: bound operators that share their core axes, as one picklable callable.

Planning is pure: it looks at a pipeline and a `Spec`, never at data. `engine` is what puts stages into a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.device import batch_size, on_device
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import MODULE, DetectorGeometry, PanelGeometry
from pycroclass.networks.inference import Precision, computing_in
from pycroclass.operator import WHOLE, Composable, Items, Operator, Selection, Unfolding
from pycroclass.profile import timed
from pycroclass.reduction import Estimator
from pycroclass.source import Load
from pycroclass.spec import Axis, AxisKind, Domain, Spec
from pycroclass.threads import single_threaded

NDArray = npt.NDArray[Any]
CHANNEL: Final = Axis("channel", 1, kind=AxisKind.CHANNEL)
"""The channel axis that an image without one is given inside an operator."""
_DTYPES: Final = frozenset(
    f"{kind}{bits}"
    for kind, sizes in (("int", (8, 16, 32, 64)), ("uint", (8, 16, 32, 64)), ("float", (16, 32, 64)), ("complex", (64, 128)))
    for bits in sizes
) | {"bool"}
NO_ITEMS: Final = Items(np.empty(0, np.int64))
"""For operators that do not ask which items they are given."""


@dataclass(frozen=True)
class Execution:
    """How to run, never what.

    Parameters
    ----------
    device : str
        ``auto`` is a GPU where the worker has one, else the CPU; or a torch device such as ``cpu`` or ``cuda:1``.
    block_bytes : int
        About how much data one task carries.
    batch_bytes : int, optional
        How much of a block is computed at once, as float32. By default what stays in the cache of a CPU, and what the memory of a GPU
        holds.
    precision : {"float32", "bfloat16"}
        Number type in which networks compute; `pycroclass.precision.choose` finds out whether the faster one gives the same labels.
    """

    device: str = "auto"
    block_bytes: int = 32 << 20
    batch_bytes: int | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        try:
            kind = "cpu" if self.device == "auto" else torch.device(self.device).type
        except RuntimeError:
            kind = None
        if kind not in ("cpu", "cuda"):
            raise ParameterError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:<number>', got {self.device!r}")
        if self.precision not in get_args(Precision):
            raise ParameterError(f"precision must be one of {get_args(Precision)}, got {self.precision!r}")
        if self.block_bytes <= 0 or (self.batch_bytes is not None and self.batch_bytes <= 0):
            raise ParameterError(f"block_bytes and batch_bytes must be positive, got {self.block_bytes} and {self.batch_bytes}")

    def resolve(self) -> torch.device:
        """The device on the machine that calls; a device that is not there is an error, never another one."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(self.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ParameterError(f"device {self.device!r} was asked for, but no CUDA device is available; use 'cpu' or 'auto'")
        return device

    def device_name(self) -> str:
        """The device with its model, for equal ones give equal bits: ``cuda (NVIDIA H100)``, ``cpu (AVX512)``."""
        device = self.resolve()
        model = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
        return f"{device} ({model})"

    def batch(self, item_bytes: int, workspace: Callable[[], int]) -> int:
        """How many items are computed at once, given the bytes of one as float32 and what it needs while it is computed."""
        if self.batch_bytes is not None:
            return max(1, self.batch_bytes // max(1, item_bytes))
        return batch_size(self.resolve(), item_bytes, workspace)


@dataclass(frozen=True)
class Cut:
    """A selection, done on the graph before anything is read."""

    slices: tuple[slice, ...]
    result: Spec


@dataclass(frozen=True)
class Step:
    """An operator bound to its items."""

    operator: Operator
    adds_channel: bool
    outputs: Mapping[str, Spec]
    """Specs of what comes out, without the channel axis where it was added."""

    def given(self, item: Spec) -> Spec:
        """The item as the operator sees it: an image with its channel axis."""
        return replace(item, axes=(CHANNEL, *item.axes)) if self.adds_channel else item

    def __call__(self, block: torch.Tensor, items: Items) -> dict[str, torch.Tensor]:
        if self.adds_channel:
            block = block.unsqueeze(1)
        result = self.operator.apply(block, items)
        results = result if isinstance(result, dict) else {"": result}
        if results.keys() != self.outputs.keys():
            raise ParameterError(f"{type(self.operator).__name__} declares {list(self.outputs)} but returned {list(results)}")
        return {
            name: tensor.squeeze(1) if self.adds_channel and tensor.ndim == len(self.outputs[name].axes) + 2 else tensor
            for name, tensor in results.items()
        }


@dataclass(frozen=True)
class Stage:
    """Consecutive operators on the same items: one task, one transfer to the device and one back for each block."""

    source: Spec
    core: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    execution: Execution = field(default_factory=Execution)

    @property
    def navigation(self) -> tuple[str, ...]:
        """Names of the axes that count items."""
        return tuple(name for name in self.source.names if name not in self.core)

    @property
    def item(self) -> Spec:
        """What comes out for one item; the first output where there are several."""
        return next(iter(self.steps[-1].outputs.values())) if self.steps else self.source.only(self.core)

    @property
    def outputs(self) -> dict[str, Spec]:
        """What comes out for all items: navigation axes, then those of the result."""
        navigation = self.source.only(self.navigation).axes
        last = self.steps[-1].outputs if self.steps else {"": self.item}
        return {name: replace(spec, axes=navigation + spec.axes) for name, spec in last.items()}

    @property
    def result(self) -> Spec:
        """The first of `outputs`."""
        return next(iter(self.outputs.values()))

    @property
    def asks_items(self) -> bool:
        """Whether an operator wants to know which items it is given."""
        return any(type(step.operator).apply is not Operator.apply for step in self.steps)

    @property
    def unfolding(self) -> Unfolding | None:
        """The one operator of a stage that does not compute but unfold."""
        operator = self.steps[-1].operator if self.steps else None
        return operator if isinstance(operator, Unfolding) else None

    @property
    def halo(self) -> int:
        """How many neighbours a value depends on through all operators; `WHOLE` if on the whole item."""
        halos = [step.operator.halo() for step in self.steps]
        item = self.source.only(self.core)
        same_place = all((out.names, out.shape) == (item.names, item.shape) for step in self.steps for out in step.outputs.values())
        return sum(halos) if WHOLE not in halos and same_place else WHOLE

    def joined(self, operator: Operator) -> Stage | None:
        """This stage with one more operator, or None where that one needs other axes."""
        if operator.domain is Domain.PIXEL:
            return self._with(operator)
        wanted = self.result.core(operator.domain, operator.axes)
        if wanted == self.item.names:
            return self._with(operator)
        if self.core:
            return None
        stage: Stage | None = replace(self, core=wanted, steps=())  # so far only values one by one: they may as well come as items
        for done in (*(step.operator for step in self.steps), operator):
            stage = stage and stage.joined(done)
        return stage

    def _with(self, operator: Operator) -> Stage:
        item = self.item
        adds_channel = operator.domain is Domain.IMAGE and len(item.axes) == 2
        if operator.domain is Domain.IMAGE and len(item.axes) not in (2, 3):
            raise AxisError(f"{type(operator).__name__} takes images (y, x) or (channel, y, x), got an item of axes {item.names}")
        if adds_channel:
            item = replace(item, axes=(CHANNEL, *item.axes))
        bound = operator.bind(item)
        declared = bound.output(item)
        outputs = declared if isinstance(declared, dict) else {"": declared}
        if adds_channel:
            outputs = {k: replace(s, axes=s.axes[1:]) if s.axes[:1] == (CHANNEL,) else s for k, s in outputs.items()}
        return replace(self, steps=(*self.steps, Step(bound, adds_channel, outputs)))

    @property
    def window(self) -> tuple[slice, ...] | None:
        """The part of each item that the first operator takes, and nothing else happens to it: the rest need not be read."""
        first = self.steps[0] if self.steps else None
        if first is None or type(first.operator).part_taken is Operator.part_taken:
            return None
        return first.operator.part_taken(first.given(self.source.only(self.core)))[-len(self.core) :]

    @property
    def behind_window(self) -> Stage:
        """What is left to do for those who have been given the window alone."""
        cropped = next(iter(self.steps[0].outputs.values()))
        navigation = self.source.only(self.navigation).axes
        return replace(self, source=replace(cropped, axes=navigation + cropped.axes), steps=self.steps[1:])

    def __call__(self, block: NDArray, items: Items) -> dict[str, NDArray]:
        """Map ``(*navigation, *core)`` to ``(*navigation, *core_out)`` for each output; the same call wherever it runs."""
        return self.stream(block.shape[: len(self.navigation)], lambda part: block[part], items)

    def stream(self, navigation: tuple[int, ...], read: Load, items: Items) -> dict[str, NDArray]:
        """As a call, on a block that ``read`` gives piece by piece: slabs of a few items, and of those only what is needed."""
        device = self.execution.resolve()
        window = self.window or (slice(None),) * len(self.core)
        n_batch = self.batch
        n_slab = n_batch if device.type == "cpu" else max(1, math.prod(navigation))
        answer: dict[str, NDArray] = {}
        with single_threaded(), torch.inference_mode(), computing_in(self.execution.precision):
            for rows, batches in slabs(navigation, n_slab):
                with timed("read"):
                    slab = read((rows, *(slice(None),) * (len(navigation) - 1), *window) if navigation else window)
                flat = np.ascontiguousarray(slab).reshape(-1, *slab.shape[len(navigation) :])  # in another layout sums round otherwise
                first = batches[0][0]
                for a, b in batches:
                    for name, values in self._compute(flat[a - first : b - first], _some(items, a, b), device, n_batch).items():
                        if name not in answer:
                            answer[name] = np.empty((math.prod(navigation), *values.shape[1:]), values.dtype)
                        answer[name][a:b] = values
        return {name: values.reshape((*navigation, *values.shape[1:])) for name, values in answer.items()}

    @property
    def batch(self) -> int:
        """How many items are computed at once."""
        window = self.window or (slice(None),) * len(self.core)
        size = 4 * math.prod(len(range(axis.size)[s]) for s, axis in zip(window, self.source.only(self.core).axes, strict=True))
        return self.execution.batch(size, lambda: self.workspace)

    @cached_property
    def workspace(self) -> int:
        """Bytes that one item needs while it is computed: those of the operator that needs most."""
        item, device = self.source.only(self.core), self.execution.resolve()
        needed = [0]
        for step in self.steps:
            needed.append(step.operator.workspace(step.given(item), device))
            item = next(iter(step.outputs.values()))
        return max(needed if self.window is None else needed[2:], default=0)

    def _compute(self, slab: NDArray, items: Items, device: torch.device, n_batch: int) -> dict[str, NDArray]:
        steps = self.steps if self.window is None else self.steps[1:]
        dtypes = {name: spec.dtype for name, spec in self.steps[-1].outputs.items()}

        def forward(tensor: torch.Tensor, a: int, b: int) -> dict[str, torch.Tensor]:
            results = {"": tensor}
            for step in steps:
                tensor = next(iter(results.values()))
                results = step(tensor if step.operator.takes_any_dtype else computable(tensor), _some(items, a, b))
            return results

        results = on_device(to_tensor(slab), forward, device, n_batch)
        return {name: values.astype(dtypes[name], copy=False) for name, values in results.items()}


def slabs(navigation: tuple[int, ...], n: int) -> Iterator[tuple[slice, list[tuple[int, int]]]]:
    """A block's items in their order: rows along its first axis, each with the batches of at most ``n`` items in them, about equal.

    Batches depend on the block alone, not on who reads it, so that equal blocks give equal bits.

    Examples
    --------
    >>> list(slabs((3, 4), 8))
    [(slice(0, 1, None), [(0, 4)]), (slice(1, 3, None), [(4, 12)])]
    >>> list(slabs((2, 4), 3))
    [(slice(0, 1, None), [(0, 2), (2, 4)]), (slice(1, 2, None), [(4, 6), (6, 8)])]
    """
    n_rows, row = (navigation or (1,))[0], math.prod(navigation[1:])
    for start, stop in _parts(n_rows, max(1, n // max(1, row))):
        yield slice(start, stop), [(start * row + a, start * row + b) for a, b in _parts((stop - start) * row, n)]


def _parts(size: int, at_most: int) -> list[tuple[int, int]]:
    """Where equal parts begin and end, to one: a small rest costs as much as a batch."""
    n_parts = -(-size // at_most)
    return [(size * i // n_parts, size * (i + 1) // n_parts) for i in range(n_parts)]


def plan(pipeline: Composable, spec: Spec, execution: Execution | None = None) -> tuple[Stage | Cut, ...]:
    """What will run on data of ``spec``, in order. Nothing is read or computed.

    Raises
    ------
    AxisError
        If an operator does not fit the axes it would meet.
    ParameterError
        If an estimator is not fitted.
    """
    if spec.dtype.name not in _DTYPES:
        raise AxisError(f"{spec.title!r} holds {spec.dtype}, which no operator can take; convert it to float64 with .astype('float64')")
    stages: list[Stage | Cut] = []
    for operator in pipeline.steps():
        if isinstance(operator, Estimator):
            raise ParameterError(
                f"{type(operator).__name__} is not fitted. Fit first: model = pycroclass.fit(pipeline, dataset); model(dataset)"
            )
        if not isinstance(operator, Operator):
            raise ParameterError(f"{operator!r} is not an operator")
        last = stages[-1] if stages else None
        spec = last.result if last else spec
        if isinstance(operator, Selection):
            stages.append(cut(operator, spec))
            continue
        stands_alone = isinstance(operator, Unfolding) or (isinstance(last, Stage) and last.unfolding is not None)
        joined = last.joined(operator) if isinstance(last, Stage) and not stands_alone else None
        if joined is None:
            joined = Stage(spec, spec.core(operator.domain, operator.axes), execution=execution or Execution()).joined(operator)
            if joined is None:
                raise AxisError(f"{type(operator).__name__} cannot run on the axes {spec.names}")
            stages.append(joined)
        else:
            stages[-1] = joined
    return tuple(stages)


def cut(operator: Selection, spec: Spec) -> Cut:
    """A selection bound to a dataset; the geometry moves with its image axes."""
    chosen = operator.slices(spec)
    slices = tuple(chosen.get(axis.name, slice(None)) for axis in spec.axes)
    axes = tuple(axis[s] for axis, s in zip(spec.axes, slices, strict=True))
    geometry = _cut_geometry(spec, dict(zip(spec.names, slices, strict=True)), chosen, operator.axes)
    return Cut(slices, replace(spec, axes=axes, geometry=geometry))


def _cut_geometry(spec: Spec, slices: Mapping[str, slice], chosen: Iterable[str], core: tuple[str, ...] | None) -> DetectorGeometry | None:
    geometry = spec.geometry
    if geometry is not None and any(name in chosen for name in spec.of_kind(AxisKind.SPATIAL, AxisKind.RECIPROCAL)):
        names = spec.core(Domain.IMAGE, core)[-2:]
        y, x = (slices[name].start or 0 for name in names)
        height, width = (len(range(spec[name].size)[slices[name]]) for name in names)
        geometry = geometry.cropped(y, x, (height, width))
    if isinstance(geometry, PanelGeometry) and geometry.n_modules and MODULE in chosen:
        geometry = geometry.of_modules(range(spec[MODULE].size)[slices[MODULE]])
    return geometry


def to_tensor(array: NDArray) -> torch.Tensor:
    """A tensor of the same bytes where torch knows the dtype; native byte order, half-precision complex refused by torch itself."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array)


def computable(tensor: torch.Tensor) -> torch.Tensor:
    """Floating point for arithmetic: float32 for integers of up to 32 bits, float64 for longer ones; floating and complex stay.

    Integers above 2**24 are rounded to the nearest float32.
    """
    if tensor.is_complex() or tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.to(torch.float64 if tensor.dtype in (torch.int64, torch.uint64) else torch.float32)


def _some(items: Items, a: int, b: int) -> Items:
    return Items(items.index[a:b], {name: values[a:b] for name, values in items.values.items()})
