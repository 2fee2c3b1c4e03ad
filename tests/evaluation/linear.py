"""A classifier that is a matrix: what it answers is known, and it learns in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy
import torch
from sklearn.linear_model import LogisticRegression

from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.operator import Operator, Pipeline, set_field
from pycroclass.per_item import column
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Domain, Spec

ITEM = ItemSpec("image", (ItemAxis("channel", 1, "channel"), ItemAxis("y", 1, "spatial"), ItemAxis("x", None, "spatial")))


@dataclass(frozen=True)
class LinearForTests(Operator):
    """Softmax of the pixels times a matrix."""

    domain: ClassVar[Domain] = Domain.IMAGE
    matrix: ArrayValue
    offset: ArrayValue
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("matrix", "offset"):
            value = getattr(self, name)
            set_field(self, name, value if isinstance(value, ArrayValue) else ArrayValue(np.asarray(value, np.float32)))
        set_field(self, "classes", tuple(self.classes))

    def output(self, spec: Spec) -> dict[str, Spec]:
        item = replace(spec, axes=(), dtype=np.dtype(np.float32), classes=self.classes, geometry=None)
        axis = Axis("class", len(self.classes), kind=AxisKind.SPECTRAL)
        return {
            "probability": replace(item, axes=(axis,), quantity="probability"),
            "label": replace(item, dtype=np.dtype(np.int32), quantity="label"),
            "confidence": replace(item, quantity="probability", classes=()),
        }

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        matrix, offset = (torch.tensor(value.values) for value in (self.matrix, self.offset))
        probability = (block.float().flatten(1) @ matrix + offset).softmax(1)
        confidence, label = probability.max(1)
        label = label.to(torch.int32).where(probability.isfinite().all(1), -1)
        return {"probability": probability, "label": label, "confidence": confidence}


def dataset_of(pixels: npt.NDArray[Any], classes: tuple[str, ...] = (), **metadata: Any) -> sidpy.Dataset:
    """Items with one row of pixels each."""
    stack = np.asarray(pixels, np.float32)[:, None, :]
    axes = (
        Axis("frame", len(stack), kind=AxisKind.TEMPORAL),
        Axis("y", 1, kind=AxisKind.SPATIAL),
        Axis("x", stack.shape[2], kind=AxisKind.SPATIAL),
    )
    spec = Spec(axes, stack.dtype, title="rows", classes=classes)
    return wrap(da.from_array(stack, chunks=(17, 1, -1)), spec, provenance=Provenance("given", {}), metadata=metadata)


def as_they_are(classes: tuple[str, ...]) -> Bundle:
    """A bundle whose logits are the pixels."""
    k = len(classes)
    return Bundle(Pipeline((LinearForTests(np.eye(k), np.zeros(k), classes),)), ITEM, classes=classes)


def learnt(dataset: sidpy.Dataset) -> Bundle:
    """Logistic regression on two classes."""
    classes: tuple[str, ...] = tuple(dataset.metadata["classes"])
    pixels = dataset.compute().reshape(len(dataset), -1)
    model = LogisticRegression(C=100.0).fit(np.asarray(pixels), column(dataset, "labels"))
    matrix, offset = np.stack([-model.coef_[0], model.coef_[0]], 1) / 2, np.array([-1, 1]) * model.intercept_[0] / 2
    return Bundle(Pipeline((LinearForTests(matrix, offset, classes),)), ITEM, classes=classes)


def items_of(**columns: Any) -> Mapping[str, list[Any]]:
    return {name: np.asarray(values).tolist() for name, values in columns.items()}
