from .agreement import (
    cohen_kappa,
    consistency,
    fleiss_kappa,
    krippendorff_alpha,
    pairwise_agreement,
    reliability_of_scorer,
    specific_agreement,
)
from .bootstrap import Interval
from .calibration import fit_isotonic, fit_temperature, sure_class, with_step
from .ceiling import HumanCeiling, human_ceiling
from .evaluation import Evaluation, evaluation_of
from .gap import Gap, gaps
from .judgements import Judgements
from .metrics import ClassMetrics, Metrics, metrics_of
from .of_bundle import evaluate
from .of_people import judgements_of
from .operating import OperatingMetrics, OperatingPoint, measure, precision_at
from .predictions import Predictions
from .protocols import CrossRun, Fold, first_groups, group_folds, leave_one_group_out
from .reliability import Reliability, ReliabilityBin, reliability_diagram, reliability_of_class
from .thresholds import Target, operating_point, threshold_for

__all__ = [
    "ClassMetrics",
    "CrossRun",
    "Evaluation",
    "Fold",
    "Gap",
    "HumanCeiling",
    "Interval",
    "Judgements",
    "Metrics",
    "OperatingMetrics",
    "OperatingPoint",
    "Predictions",
    "Reliability",
    "ReliabilityBin",
    "Target",
    "cohen_kappa",
    "consistency",
    "evaluate",
    "evaluation_of",
    "first_groups",
    "fit_isotonic",
    "fit_temperature",
    "fleiss_kappa",
    "gaps",
    "group_folds",
    "human_ceiling",
    "judgements_of",
    "krippendorff_alpha",
    "leave_one_group_out",
    "measure",
    "metrics_of",
    "operating_point",
    "pairwise_agreement",
    "precision_at",
    "reliability_diagram",
    "reliability_of_class",
    "reliability_of_scorer",
    "specific_agreement",
    "sure_class",
    "threshold_for",
    "with_step",
]
