"""Learning a network that sorts items into classes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.augmentation import Augmentation
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._batches import LabelledItems, standardised
from pycroclass.estimators._descent import begin_at_prior
from pycroclass.estimators.baselines import score_baselines
from pycroclass.estimators.session import Session
from pycroclass.estimators.settings import Balance, Optimisation, Transfer, group
from pycroclass.networks import Classifier, ImageClassifier, PixelClassifier, architecture
from pycroclass.operator import Composable, Pipeline, set_field
from pycroclass.operators.network import Classify
from pycroclass.reduction import Data, Estimator
from pycroclass.serialize import to_dict
from pycroclass.spec import Domain, Spec
from pycroclass.stratified import Integers, held_out
from pycroclass.transfer import Pretrained, pretrained

_INPUT_SIZE: Final = {Domain.IMAGE: "n_channels", Domain.SPECTRUM: "length"}


@dataclass(frozen=True)
class LearnedNetwork:
    """What `NetworkClassifier.learn` gives.

    Parameters
    ----------
    pipeline : Pipeline
        `Classify` with the weights of the best epoch; before it, where the network was made for standardised images and does not bring
        others there itself, what standardises them by the training images.
    training : dict
        Split, class counts, and the curve by epoch; JSON-ready.
    metrics : dict
        On the validation items, of the best epoch; JSON-ready.
    """

    pipeline: Pipeline
    training: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Start:
    """A network before it is trained, and what it was pretrained on."""

    module: Classifier
    pretrained: Pretrained | None


@dataclass(frozen=True)
class NetworkClassifier(Estimator):
    """Trains a network to tell classes apart: AdamW with a cosine schedule on the cross entropy.

    A part of the items is held back; after each epoch the loss on them is measured, each class counting by the prior that is stated
    (alike by default), and the weights of the epoch with the lowest are kept. Equal data, parameters and seed give equal weights on the
    same machine with as many threads, whatever the chunks, as long as the data fit into ``pool_bytes``.

    Parameters
    ----------
    architecture : str
        Registered name, such as ``resnet_small`` for images or ``resnet_spectrum`` for spectra.
    parameters : mapping
        Of the architecture, such as ``width`` or ``dropout``; number of classes and channels or length follow from the data.
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
    balance : Balance
        What is done about rare classes.
    augmentation : Augmentation, str or mapping
        Such as ``"dihedral"``, ``"micrograph"``, ``"drop"``, ``"diffraction"``, ``"spectrum"``, or ``{"preset": "drop", "mixup": 0.2}``.
    optimisation : Optimisation
        Label smoothing, early stopping, average of the weights, accumulated gradients, number type.
    transfer : Transfer, optional
        Weights to begin with.
    baselines : bool
        Whether to train simple methods on the same items beside the network; see `pycroclass.estimators.baselines`.
    seed : int
    pool_bytes : int
        Data up to this size are held in memory; of larger data, shuffled blocks of that size, read anew in each epoch. The weights depend
        on the blocks then, and so on the chunks of the data and on the block sizes of the execution.

    Raises
    ------
    ParameterError
        If a parameter cannot be used.

    Examples
    --------
    >>> NetworkClassifier(augmentation="micrograph", balance={"method": "sampler"}, optimisation={"patience": 5}).balance.method
    'sampler'
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
    balance: Balance = field(default_factory=Balance)
    augmentation: Augmentation | str | Mapping[str, Any] = field(default_factory=Augmentation)
    optimisation: Optimisation = field(default_factory=Optimisation)
    transfer: Transfer | None = None
    baselines: bool = False
    seed: int = 0
    pool_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "domain", architecture(self.architecture).domain)
        set_field(self, "parameters", dict(self.parameters))
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        for name in ("labels", "groups"):
            set_field(self, name, _whole_numbers(name, getattr(self, name)))
        set_field(self, "balance", group(Balance, self.balance))
        set_field(self, "optimisation", group(Optimisation, self.optimisation))
        set_field(self, "augmentation", Augmentation.of(self.augmentation))
        if self.transfer is not None:
            set_field(self, "transfer", group(Transfer, self.transfer))
        self._check()

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "pool_bytes"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.validation <= 0.5:
            raise ParameterError(f"validation must be a fraction in (0, 0.5], got {self.validation}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ParameterError(f"learning_rate must be positive, got {self.learning_rate}")
        Augmentation.of(self.augmentation).check(self.domain)
        if self.transfer is not None and self.transfer.head_epochs >= self.epochs:
            raise ParameterError(
                f"transfer trains the head alone for {self.transfer.head_epochs} of {self.epochs} epochs; leave some for the rest: "
                "lower head_epochs or raise epochs"
            )

    def fit(self, data: Data, spec: Spec) -> Composable:
        return self.learn(data, spec).pipeline

    def learn(self, data: Data, spec: Spec, session: Session | None = None, about: Mapping[str, Any] | None = None) -> LearnedNetwork:
        """As `fit`, with the record of the training.

        Parameters
        ----------
        data : Data
        spec : Spec
            Of one item.
        session : Session, optional
        about : mapping, optional
            What else makes a checkpoint that of this training, such as the sources of the data; JSON-ready.

        Raises
        ------
        DataError
            If labels are missing or do not fit the data, a class has too few items, the training diverges, or the checkpoint of the
            session is that of another training.
        ParameterError
            If the network sorts pixels.
        """
        from pycroclass.estimators import _fitting  # Lightning takes seconds to import

        session = session or Session()
        deadline = math.inf if session.max_seconds is None else time.monotonic() + session.max_seconds
        labels, groups = self._targets()
        parameters = {**self.parameters, "n_classes": len(self.classes), _INPUT_SIZE[self.domain]: spec.shape[0]}
        if isinstance(architecture(self.architecture).outline(parameters), PixelClassifier):
            raise ParameterError(f"{self.architecture} sorts pixels; only networks that sort whole items can be trained here")
        items = LabelledItems.over(data, labels, self.pool_bytes)
        if len(items.index) and items.index[-1] >= len(labels):
            raise DataError(f"the data have an item {items.index[-1]}, the labels are {len(labels)}: one label for each item is needed")
        index = items.index[labels[items.index] >= 0]
        held = self._held_out(labels[index], None if groups is None else groups[index])
        training = self._record(items, index, held, groups)
        if self.baselines:
            training["baselines"] = score_baselines(items, index[~held], index[held], self.classes, seed=self.seed)
        start = self._start(parameters, list(training["balance"]["prior"].values()))
        if start.pretrained is not None:
            training["pretrained"] = start.pretrained.record()
        wants_standardised = isinstance(start.module, ImageClassifier) and start.module.wants_standardised
        scale = standardised(items, index[~held], spec.names) if wants_standardised else None
        items = replace(items, scale=scale)
        about = {**to_dict(self)[0][0], "n_usable": training["n_usable"], "torch": torch.__version__, **(about or {})}
        about |= {"blocks": items.blocks} | {name: training[name] for name in ("pretrained",) if name in training}
        task = _fitting.Task(start.module, items, index[~held], index[held], self, session=session, about=about, deadline=deadline)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            fitted = _fitting.fit(task)
        classify = Classify(self.architecture, parameters, fitted.weights, classes=self.classes, axes=self.axes)
        training |= {"history": list(fitted.history), **({"stopped": fitted.stopped} if fitted.stopped else {})}
        return LearnedNetwork(Pipeline((classify,) if scale is None else (scale, classify)), training, {"validation": fitted.best})

    def _held_out(self, labels: Integers, groups: Integers | None) -> npt.NDArray[np.bool_]:
        """True for the items to validate with; each class is on both sides."""
        what, members = ("items", np.arange(len(labels))) if groups is None else ("groups", groups)
        for number, name in enumerate(self.classes):
            if (n := len(np.unique(members[labels == number]))) < 2:
                raise DataError(f"class {name!r} occurs in {n} {what}; at least 2 are needed, one to learn from and one to validate with")
        return held_out(labels, groups, fraction=self.validation, seed=self.seed)

    def _start(self, parameters: Mapping[str, Any], prior: Sequence[float]) -> _Start:
        """The network with the weights to begin with: random ones, over which come those that were learned elsewhere."""
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.seed)
            module = architecture(self.architecture).build(parameters)
        begin_at_prior(module, np.array(prior))  # before a last layer that comes along, which has its own
        begin = self.transfer
        found = pretrained(begin.source, self.architecture, parameters, licence=begin.licence) if begin else None
        if found is not None:
            found.load_into(module)
        return _Start(module, found)

    def _record(self, items: LabelledItems, index: Integers, held: npt.NDArray[np.bool_], groups: Integers | None) -> dict[str, Any]:
        """What was learned from, and how; JSON-ready."""
        labels = items.labels
        counts = np.bincount(labels[index[~held]], minlength=len(self.classes))
        prior = self.balance.stated(counts, self.classes)
        record = {
            "n_usable": len(items.index),
            "n_unlabelled": len(items.index) - len(index),
            "counts": {side: self._counts(labels[index[chosen]]) for side, chosen in (("training", ~held), ("validation", held))},
            "split": {"fraction": self.validation, "seed": self.seed, "by_group": groups is not None},
            "validation_items": ArrayValue(index[held]).digest,
            "balance": {"method": self.balance.method, "prior": dict(zip(self.classes, prior.tolist(), strict=True))},
            "augmentation": {name: value for name, value in vars(self.augmentation).items() if value},
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }
        if groups is not None:
            record["validation_groups"] = np.unique(groups[index[held]]).tolist()
        return record

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
