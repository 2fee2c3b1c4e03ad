"""Probabilities that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import set_field
from pycroclass.operators._answer import AnswerOperator
from pycroclass.operators._checks import finite

_LEAST: Final = 1e-38
"""Of a float32 probability that is not 0; a softmax that says 0 means about this."""


@dataclass(frozen=True)
class TemperatureScale(AnswerOperator):
    """Divides the logits of a classifier by a temperature: probabilities become ``p^(1/T) / Σ p^(1/T)``, labels stay.

    Stands behind `Classify`. `pycroclass.evaluation.fit_temperature` finds the temperature (Guo et al., ICML 2017).

    Parameters
    ----------
    temperature : float
        Above 1 where the network is too sure of itself.

    Raises
    ------
    ParameterError
        If the temperature is not positive.
    AxisError
        If the data are no probabilities of classes.

    Examples
    --------
    >>> TemperatureScale(2).transform(torch.tensor([[0.9, 0.1]]))["probability"]
    tensor([[0.7500, 0.2500]])
    """

    temperature: float

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "temperature", finite("temperature", self.temperature))
        if self.temperature <= 0:
            raise ParameterError(f"temperature must be positive, got {self.temperature}")

    def probability(self, given: torch.Tensor) -> torch.Tensor:
        return (given.clamp_min(_LEAST).log() / self.temperature).softmax(1)

    def label(self, probability: torch.Tensor) -> torch.Tensor:
        return probability.argmax(1)


@dataclass(frozen=True)
class IsotonicScale(AnswerOperator):
    """Maps the probability of each class by a rising curve and makes their sum 1 again (Zadrozny and Elkan, KDD 2002).

    Stands behind `Classify`. `pycroclass.evaluation.fit_isotonic` finds the curves. Between its points a curve is straight, beyond them
    flat. Labels can change. Where all curves say 0, all classes are equally probable.

    Parameters
    ----------
    scores : array, shape (n_classes, n_points)
        Rising along each row.
    values : array, shape (n_classes, n_points)
        Probability that an item with such a score is of the class, never falling.

    Raises
    ------
    ParameterError
        If shapes differ, or a curve falls or leaves 0 to 1.
    AxisError
        If the data are no probabilities of as many classes.

    Examples
    --------
    >>> halves = IsotonicScale([[0, 1], [0, 1]], [[0, 0.5], [0.5, 1]])
    >>> halves.transform(torch.tensor([[0.9, 0.1]]))["probability"]
    tensor([[0.4500, 0.5500]])
    """

    scores: ArrayValue
    values: ArrayValue

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scores", "values"):
            set_field(self, name, _curves(name, getattr(self, name)))
        if self.scores.shape != self.values.shape or self.scores.values.ndim != 2 or self.scores.shape[1] < 2:
            raise ParameterError(
                f"scores and values must be alike, (classes, at least two points), got {self.scores.shape} and {self.values.shape}"
            )

    def check(self, classes: tuple[str, ...]) -> None:
        if len(classes) != self.scores.shape[0]:
            raise AxisError(f"there are {self.scores.shape[0]} curves for {len(classes)} classes {classes}: one for each is needed")

    def probability(self, given: torch.Tensor) -> torch.Tensor:
        x, y = (torch.from_numpy(value.values.copy()).to(given.device) for value in (self.scores, self.values))
        by_class = given.T.contiguous()
        left = (torch.searchsorted(x, by_class, right=True) - 1).clamp(0, x.shape[1] - 2)
        x0, x1, y0, y1 = (table.gather(1, left + step) for table in (x, y) for step in (0, 1))
        along = ((by_class - x0) / (x1 - x0).where(x1 > x0, 1.0)).clamp(0, 1)
        mapped = (y0 + along * (y1 - y0)).T.where(given.isfinite(), torch.nan)
        total = mapped.sum(1, keepdim=True)
        return (mapped / total).where(total != 0, 1 / x.shape[0])

    def label(self, probability: torch.Tensor) -> torch.Tensor:
        return probability.argmax(1)


def _curves(name: str, given: Any) -> ArrayValue:
    values = np.asarray(given.values if isinstance(given, ArrayValue) else given, np.float64)
    if not ((values >= 0) & (values <= 1)).all() or (np.diff(values, axis=-1) < 0).any():
        raise ParameterError(f"{name} must rise from left to right between 0 and 1, got {values}")
    return ArrayValue(values)
