"""Learning a network that sorts items into classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._batches import LabelledItems
from pycroclass.estimators._split import is_validation
from pycroclass.networks import PixelClassifier, architecture
from pycroclass.operator import set_field
from pycroclass.operators.network import Classify
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec

_AUGMENTATIONS: Final = ("none", "dihedral")
_INPUT_SIZE: Final = {Domain.IMAGE: "n_channels", Domain.SPECTRUM: "length"}


@dataclass(frozen=True)
class LearnedNetwork:
    """What `NetworkClassifier.learn` gives.

    Parameters
    ----------
    operator : Classify
        With the weights of the best epoch.
    training : dict
        Split, class counts, and the curve by epoch; JSON-ready.
    metrics : dict
        On the validation items, of the best epoch; JSON-ready.
    """

    operator: Classify
    training: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class NetworkClassifier(Estimator):
    """Trains a network to tell classes apart: AdamW with a cosine schedule on the cross entropy.

    A part of the items is held back; after each epoch the loss on them is measured, each class counting alike, and the weights of the
    epoch with the lowest are kept. Equal data, parameters and seed give equal weights on the same machine with as many threads.

    Parameters
    ----------
    architecture : str
        Registered name, such as ``resnet_small`` for images or ``resnet_spectrum`` for spectra.
    parameters : mapping
        Of the architecture, such as ``width``; number of classes and channels or length follow from the data.
    labels : array of int, shape (n_items,), optional
        Class of each item, counted over the navigation axes in C order; -1 is none. `pycroclass.train` takes them from the dataset.
    classes : tuple of str
        Names of the classes that the labels count.
    groups : array of int, shape (n_items,), optional
        Items of one group (a run, a sample, a patient) are held back together.
    validation : float
        Fraction to hold back.
    epochs, batch_size : int
    learning_rate : float
    balanced : bool
        Whether each class weighs the same however many items it has.
    augmentation : {"none", "dihedral"}
        ``dihedral`` mirrors and turns images at random, where orientation means nothing.
    seed : int
    pool_bytes : int
        Data up to this size are held in memory; of larger data, shuffled blocks of that size, read anew in each epoch.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    """

    domain: ClassVar[Domain] = Domain.ITEM

    architecture: str = "resnet_small"
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    labels: ArrayValue | None = None
    classes: tuple[str, ...] = ()
    groups: ArrayValue | None = None
    validation: float = 0.2
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 5e-3
    balanced: bool = True
    augmentation: str = "none"
    seed: int = 0
    pool_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "domain", architecture(self.architecture).domain)
        set_field(self, "parameters", dict(self.parameters))
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        for name in ("labels", "groups"):
            set_field(self, name, _whole_numbers(name, getattr(self, name)))
        for name in ("epochs", "batch_size", "pool_bytes"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.validation <= 0.5:
            raise ParameterError(f"validation must be a fraction in (0, 0.5], got {self.validation}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ParameterError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.augmentation not in _AUGMENTATIONS:
            raise ParameterError(f"augmentation must be one of {_AUGMENTATIONS}, got {self.augmentation!r}")
        if self.augmentation != "none" and self.domain is not Domain.IMAGE:
            raise ParameterError(f"augmentation {self.augmentation!r} turns images, but {self.architecture} takes items of another kind")

    def fit(self, data: Data, spec: Spec) -> Classify:
        return self.learn(data, spec).operator

    def learn(self, data: Data, spec: Spec) -> LearnedNetwork:
        """As `fit`, with the record of the training.

        Raises
        ------
        DataError
            If labels are missing or do not fit the data, a class has too few items, or the training diverges.
        ParameterError
            If the network sorts pixels.
        """
        from pycroclass.estimators import _fitting  # Lightning takes seconds to import

        labels, groups = self._targets()
        parameters = {**self.parameters, "n_classes": len(self.classes), _INPUT_SIZE[self.domain]: spec.shape[0]}
        if isinstance(architecture(self.architecture).outline(parameters), PixelClassifier):
            raise ParameterError(f"{self.architecture} sorts pixels; only networks that sort whole items can be trained here")
        items = LabelledItems.over(data, labels, self.pool_bytes)
        if len(items.index) and items.index[-1] >= len(labels):
            raise DataError(f"the data have an item {items.index[-1]}, the labels are {len(labels)}: one label for each item is needed")
        index = items.index[labels[items.index] >= 0]
        held = is_validation(
            labels[index], None if groups is None else groups[index], fraction=self.validation, seed=self.seed, classes=self.classes
        )
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.seed)
            module = architecture(self.architecture).build(parameters)
            fitted = _fitting.fit(module, items, index[~held], index[held], self)
        operator = Classify(self.architecture, parameters, fitted.weights, classes=self.classes, axes=self.axes)
        training = {
            "n_usable": len(items.index),
            "n_unlabelled": len(items.index) - len(index),
            "counts": {side: self._counts(labels[index[chosen]]) for side, chosen in (("training", ~held), ("validation", held))},
            "validation_items": ArrayValue(index[held]).digest,
            "device": "cuda" if torch.cuda.is_available() else "cpu",
            "history": list(fitted.history),
        }
        if groups is not None:
            training["validation_groups"] = np.unique(groups[index[held]]).tolist()
        return LearnedNetwork(operator, training, {"validation": fitted.best})

    def _targets(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        if self.labels is None or len(self.classes) < 2:
            raise DataError(
                f"a classifier needs the label of each item and the names of at least two classes, got {self.labels} and {self.classes}. "
                "Read a folder per class, or give labels and classes."
            )
        labels = self.labels.values
        if labels.max(initial=-1) >= len(self.classes) or labels.min(initial=-1) < -1:
            raise DataError(
                f"labels run from {labels.min()} to {labels.max()}, wanted -1 (none) to {len(self.classes) - 1} for {self.classes}"
            )
        if self.groups is None:
            return labels, None
        if self.groups.shape != labels.shape:
            raise DataError(f"{self.groups.shape} groups for {labels.shape} labels: one group for each item is needed")
        return labels, self.groups.values

    def _counts(self, labels: npt.NDArray[np.int64]) -> dict[str, int]:
        return dict(zip(self.classes, np.bincount(labels, minlength=len(self.classes)).tolist(), strict=True))


def _whole_numbers(name: str, value: Any) -> ArrayValue | None:
    if value is None:
        return None
    array = ArrayValue(value)
    if array.values.dtype.kind not in "iu":
        raise ParameterError(f"{name} must be whole numbers, got dtype {array.values.dtype}")
    return ArrayValue(array.values.astype(np.int64).ravel())
