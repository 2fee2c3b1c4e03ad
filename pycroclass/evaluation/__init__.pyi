from .bootstrap import Interval
from .evaluation import Evaluation, evaluation_of
from .metrics import ClassMetrics, Metrics, metrics
from .of_bundle import evaluate
from .operating import OperatingMetrics, OperatingPoint, measure, precision_at
from .predictions import Predictions
from .reliability import Reliability, ReliabilityBin, reliability, reliability_of

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Interval",
    "Metrics",
    "OperatingMetrics",
    "OperatingPoint",
    "Predictions",
    "Reliability",
    "ReliabilityBin",
    "evaluate",
    "evaluation_of",
    "measure",
    "metrics",
    "precision_at",
    "reliability",
    "reliability_of",
]
