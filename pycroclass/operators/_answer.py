"""What operators on the probabilities of classes share: they take `Classify`'s answer and give one of the same form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.errors import AxisError
from pycroclass.operator import Operator
from pycroclass.spec import Domain, Spec

_NO_CLASS: Final = -1


@dataclass(frozen=True)
class AnswerOperator(Operator, ABC):
    """Makes another answer of the probability of each class: probability, label and confidence."""

    domain: ClassVar[Domain] = Domain.SPECTRUM
    tolerance: ClassVar[float] = 1e-5

    def output(self, spec: Spec) -> dict[str, Spec]:
        if spec.quantity != "probability" or len(spec.classes) != spec.shape[0]:
            raise AxisError(
                f"{type(self).__name__} takes the probability of each class, got {spec.quantity} with {len(spec.classes)} class names on "
                f"{spec.shape[0]} values. Put it behind Classify."
            )
        self.check(spec.classes)
        one = replace(spec, axes=(), units="generic")
        return {
            "probability": spec,
            "label": replace(one, dtype=np.dtype(np.int32), quantity="label", classes=self.label_classes(spec.classes)),
            "confidence": replace(one, classes=()),
        }

    def check(self, classes: tuple[str, ...]) -> None:
        """Refuse classes that the parameters do not fit."""

    def label_classes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the labels."""
        return classes

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        probability = self.probability(block.double())
        label = self.label(probability)
        given = label.clamp_max(probability.shape[1] - 1).unsqueeze(1)
        is_certain = label < probability.shape[1]
        confidence = probability.gather(1, given).squeeze(1).where(is_certain, probability.amax(1))
        is_answered = probability.isfinite().all(1)
        return {
            "probability": probability.to(block.dtype),
            "label": label.to(torch.int32).where(is_answered, _NO_CLASS),
            "confidence": confidence.where(is_answered, torch.nan).to(block.dtype),
        }

    def probability(self, given: torch.Tensor) -> torch.Tensor:
        """The probability of each class, (batch, classes), float64."""
        return given

    @abstractmethod
    def label(self, probability: torch.Tensor) -> torch.Tensor:
        """Number of the class of each item; that behind the last for uncertain."""
