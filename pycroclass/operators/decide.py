"""From probabilities to labels by thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import set_field
from pycroclass.operators._answer import AnswerOperator
from pycroclass.spec import Spec


@dataclass(frozen=True)
class ClassThreshold(AnswerOperator):
    """Gives an item a class where its probability is at least a threshold, else the most probable of the others.

    Stands behind `Classify`. `pycroclass.evaluation.operating_point` finds the threshold for a target, such as a sensitivity.
    ``confidence`` is the probability of the class that is given.

    Parameters
    ----------
    positive : str or int
        Name of the class, or its number.
    threshold : float
        ``-inf`` for every item, ``inf`` for none.

    Raises
    ------
    ParameterError
        If the threshold is not a number.
    AxisError
        If the data are no probabilities of classes, or no class has the name.

    Examples
    --------
    >>> from pycroclass.spec import Axis, Spec
    >>> decide = ClassThreshold("hit", 0.3).bind(Spec((Axis("class", 2, kind="spectral"),), "float32", classes=("miss", "hit")))
    >>> decide.transform(torch.tensor([[0.6, 0.4], [0.8, 0.2]]))["label"].tolist()
    [1, 0]
    """

    positive: str | int
    threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "threshold", _threshold("threshold", self.threshold))

    def bind(self, spec: Spec) -> ClassThreshold:
        return replace(self, positive=self._number(spec.classes))

    def check(self, classes: tuple[str, ...]) -> None:
        self._number(classes)

    def label(self, probability: torch.Tensor) -> torch.Tensor:
        positive = int(self.positive)
        others = probability.clone()
        others[:, positive] = -1
        return torch.where(probability[:, positive] >= self.threshold, positive, others.argmax(1))

    def _number(self, classes: tuple[str, ...]) -> int:
        names: dict[str | int, int] = {name: number for number, name in enumerate(classes)}
        known = names | {number: number for number in range(len(classes))}
        if self.positive not in known:
            raise AxisError(f"no class {self.positive!r}: the classes are {', '.join(classes)}")
        return known[self.positive]


@dataclass(frozen=True)
class SureClass(AnswerOperator):
    """Gives an item a class where it is the only one with a probability of at least its threshold; else the item is uncertain.

    Stands behind `Classify`. `pycroclass.evaluation.sure_class` finds thresholds with which a stated share of the items of each class
    keeps its class among those that remain possible (split conformal prediction by class: Vovk, Gammerman and Shafer, 2005, section
    4.5). ``uncertain`` is one label more, behind the classes; its ``confidence`` is the largest probability.

    Parameters
    ----------
    thresholds : tuple of float
        For each class.
    uncertain : str
        Name of the label.

    Raises
    ------
    ParameterError
        If a threshold is not a number.
    AxisError
        If the data are no probabilities of as many classes, or one has the name of the label.

    Examples
    --------
    >>> SureClass((0.7, 0.7)).transform(torch.tensor([[0.6, 0.4], [0.2, 0.8]]))["label"].tolist()
    [2, 1]
    """

    thresholds: tuple[float, ...]
    uncertain: str = "uncertain"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "thresholds", tuple(_threshold("thresholds", value) for value in self.thresholds))

    def check(self, classes: tuple[str, ...]) -> None:
        if len(self.thresholds) != len(classes) or self.uncertain in classes:
            raise AxisError(f"there are {len(self.thresholds)} thresholds and the label {self.uncertain!r} for the classes {classes}")

    def label_classes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        return (*classes, self.uncertain)

    def label(self, probability: torch.Tensor) -> torch.Tensor:
        is_possible = probability >= torch.tensor(self.thresholds, dtype=probability.dtype, device=probability.device)
        return torch.where(is_possible.sum(1) == 1, is_possible.int().argmax(1), probability.shape[1])


def _threshold(name: str, value: float) -> float:
    if not isinstance(value, int | float) or math.isnan(value):
        raise ParameterError(f"{name} must be numbers, got {value!r}")
    return float(value)
