"""Metrics: equal to scikit-learn's and torchmetrics', weighted too, and to closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchmetrics.classification as tm
from drawn import CLASSES, drawn, sorted_as
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pycroclass.errors import DataError, ParameterError
from pycroclass.evaluation.measures import OF_CLASS, SUMMARY, Sums, of_confusion
from pycroclass.evaluation.metrics import metrics_of
from pycroclass.evaluation.operating import OperatingPoint, measure, precision_at
from pycroclass.evaluation.predictions import Predictions
from pycroclass.evaluation.reliability import reliability_diagram, reliability_of_class

NAN = float("nan")


def by_scikit_learn(p: Predictions, weights: np.ndarray | None = None) -> dict[str, float]:
    """The plain twin."""
    given, truth, k = p.label, p.labels, range(p.n_classes)
    one_hot = np.eye(p.n_classes)[truth]
    each = {"labels": list(k), "average": None, "zero_division": np.nan, "sample_weight": weights}
    auc = [sk.roc_auc_score(one_hot[:, c], p.probability[:, c], sample_weight=weights) for c in k]
    average = [sk.average_precision_score(one_hot[:, c], p.probability[:, c], sample_weight=weights) for c in k]
    specificity = [sk.recall_score(truth != c, given != c, sample_weight=weights) for c in k]
    found = {
        "accuracy": sk.accuracy_score(truth, given, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, given, sample_weight=weights),
        "macro_f1": sk.f1_score(truth, given, average="macro", sample_weight=weights),
        "micro_f1": sk.f1_score(truth, given, average="micro", sample_weight=weights),
        "mcc": sk.matthews_corrcoef(truth, given, sample_weight=weights),
        "kappa": sk.cohen_kappa_score(truth, given, sample_weight=weights),
        "kappa_linear": sk.cohen_kappa_score(truth, given, weights="linear", sample_weight=weights),
        "kappa_quadratic": sk.cohen_kappa_score(truth, given, weights="quadratic", sample_weight=weights),
        "roc_auc": np.mean(auc),
        "average_precision": np.mean(average),
        "log_loss": sk.log_loss(truth, p.probability, sample_weight=weights),
        "brier": sk.brier_score_loss(
            one_hot[:, 1] if p.n_classes == 2 else truth, p.probability[:, 1] if p.n_classes == 2 else p.probability, sample_weight=weights
        ),
        "coverage": 1.0,
    }
    of_class = {
        "precision": sk.precision_score(truth, given, **each),
        "recall": sk.recall_score(truth, given, **each),
        "f1": sk.f1_score(truth, given, **each),
        "specificity": specificity,
        "roc_auc": auc,
        "average_precision": average,
    }
    return found | {f"{name}[{p.classes[c]}]": values[c] for name, values in of_class.items() for c in k}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 4), digits=st.sampled_from([None, 0]))
def test_equals_scikit_learn(seed: int, k: int, digits: int | None) -> None:
    predictions = drawn(150, k, seed=seed, digits=digits)
    found = metrics_of(predictions).values()
    for name, wanted in by_scikit_learn(predictions).items():
        assert found[name] == pytest.approx(wanted, abs=1e-10), name


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), digits=st.sampled_from([None, 0]))
def test_weighted_groups_equal_weighted_items(seed: int, digits: int | None) -> None:
    predictions = drawn(200, 3, seed=seed, digits=digits)
    unit = np.unique(predictions.groups, return_inverse=True)[1]
    weights = np.random.default_rng(seed).integers(1, 5, (2, unit.max() + 1)).astype(float)
    found = Sums.of(predictions, unit, unit.max() + 1).measures(weights)
    for row in (0, 1):
        for name, wanted in by_scikit_learn(predictions, weights[row, unit]).items():
            assert found[name][row] == pytest.approx(wanted, abs=1e-10), name


def test_a_resample_is_the_items_that_were_drawn() -> None:
    predictions = drawn(200, 3, digits=0)
    unit = np.unique(predictions.groups, return_inverse=True)[1]
    times = np.array([0, 2, 1, 0, 3, 1, 0])
    found = Sums.of(predictions, unit, 7).measures(times[None].astype(float))
    plain = metrics_of(predictions.take(np.concatenate([np.flatnonzero(unit == g) for g in range(7) for _ in range(times[g])]))).values()
    assert {name: values[0] for name, values in found.items()} == pytest.approx(plain, abs=1e-12)


def test_calibration_error_equals_torchmetrics() -> None:
    predictions = drawn(2000, 4, skill=2.0)
    probability, labels = torch.tensor(predictions.probability), torch.tensor(predictions.labels)
    wanted = tm.MulticlassCalibrationError(4, n_bins=15, norm="l1")(probability, labels)
    assert metrics_of(predictions).ece == pytest.approx(wanted.item(), abs=1e-6)
    diagram = reliability_diagram(predictions)
    assert diagram.ece == pytest.approx(metrics_of(predictions).ece, abs=1e-12)
    largest = tm.MulticlassCalibrationError(4, n_bins=15, norm="max")(probability, labels)
    assert diagram.largest_gap == pytest.approx(largest.item(), abs=1e-6)
    assert sum(one.support for one in diagram.bins) == 2000


def test_calibration_error_in_closed_form() -> None:
    """A hundred items at 0.9 of which 80 are right, a hundred at 0.6 of which 60 are: half of 0.1."""
    probability = np.repeat([[0.9, 0.1], [0.6, 0.4]], 100, axis=0)
    labels = np.repeat([0, 1, 0, 1], [80, 20, 60, 40])
    predictions = Predictions(probability, labels, ("a", "b"))
    assert metrics_of(predictions).ece == pytest.approx(0.05)
    assert reliability_diagram(predictions).largest_gap == pytest.approx(0.1)
    of_class = reliability_of_class(predictions, "b")
    assert [(one.support, one.confidence, one.accuracy) for one in of_class.bins if one.support] == [
        (100, pytest.approx(0.1), pytest.approx(0.2)),
        (100, pytest.approx(0.4), pytest.approx(0.4)),
    ]


def test_probabilities_that_are_true_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=200_000)
    predictions = Predictions(np.stack([1 - p, p], 1), (rng.uniform(size=len(p)) < p).astype(int), ("a", "b"))
    assert metrics_of(predictions).ece < 0.005


def test_average_precision_of_one_hit_below_one_miss_is_a_half() -> None:
    predictions = Predictions([[0.1, 0.9], [0.2, 0.8]], [0, 1], ("a", "b"))
    assert metrics_of(predictions).per_class["b"].average_precision == 0.5


def test_average_precision_does_not_depend_on_the_order_of_equal_scores() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    orders = [np.arange(5), np.arange(5)[::-1], np.array([3, 1, 4, 0, 2])]
    found = {metrics_of(Predictions(np.full((5, 2), 0.5), labels[order], ("a", "b"))).per_class["b"].average_precision for order in orders}
    assert found == {0.6}


def test_printed_confusion_of_four_classes() -> None:
    """Row shares in per mille of crystals, precipitate, clear and other, as printed, and how many items each class has.

    Accuracy 94.45 %, precisions 94.2, 94.7, 95.1 and 87.4 %, macro F1 0.905 and balanced accuracy 0.8865 follow by arithmetic.
    """
    classes = ("crystals", "precipitate", "clear", "other")
    shares = np.array([[910, 58, 17, 15, 0], [8, 961, 23, 7, 0], [2, 18, 979, 2, 0], [48, 197, 59, 696, 0]])
    counts = shares / 1000 * np.array([[6632], [23892], [16760], [3000]])
    found = {name: values[0] for name, values in of_confusion(counts[None], classes).items()}
    assert found["accuracy"] == pytest.approx(0.9445, abs=2e-4)
    assert [found[f"precision[{name}]"] for name in classes] == pytest.approx([0.942, 0.947, 0.951, 0.874], abs=5e-4)
    assert found["macro_f1"] == pytest.approx(0.905, abs=5e-5)
    assert found["balanced_accuracy"] == pytest.approx(0.8865, abs=5e-5)
    assert [found[f"recall[{name}]"] for name in classes] == pytest.approx([0.910, 0.962, 0.978, 0.696], abs=5e-4)
    whole = metrics_of(sorted_as(np.rint(counts)[:, :4].astype(int).tolist(), classes))
    assert whole.accuracy == pytest.approx(found["accuracy"], abs=2e-4)
    np.testing.assert_allclose(whole.confusion_rows, (shares / shares.sum(1, keepdims=True))[:, :4], atol=2e-4)


def test_kappa_in_closed_form() -> None:
    found = metrics_of(sorted_as([[20, 5], [10, 15]]))
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa_linear == found.kappa_quadratic == pytest.approx(0.4)  # two classes have one distance


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_equals_scikit_learn(beta: float) -> None:
    predictions = drawn(200, 3)
    wanted = sk.fbeta_score(predictions.labels, predictions.label, beta=beta, average=None)
    found = [of_class.f_beta(beta) for of_class in metrics_of(predictions).per_class.values()]
    assert found == pytest.approx(wanted)


def test_what_is_not_defined_is_nan() -> None:
    one_class = metrics_of(Predictions([[0.9, 0.1], [0.6, 0.4]], [0, 0], ("a", "b")))
    assert one_class.balanced_accuracy == 1
    assert one_class.per_class["a"].recall == 1
    for value in (one_class.roc_auc, one_class.mcc, one_class.kappa, one_class.per_class["b"].recall, one_class.per_class["b"].f_beta(1)):
        assert np.isnan(value)
    assert set(one_class.values()) == {*SUMMARY, *(f"{metric}[{c}]" for metric in OF_CLASS for c in "ab")}


def test_uncertain_items_count_as_not_found() -> None:
    found = metrics_of(sorted_as([[8, 1, 1], [0, 5, 5]]))
    assert found.accuracy == 13 / 20
    assert found.coverage == 14 / 20
    assert found.uncertain == (1, 5)
    assert found.confusion == ((8, 1), (0, 5))
    assert found.per_class["precipitate"].recall == 0.5
    assert found.per_class["precipitate"].precision == 5 / 6
    assert found.confusion_rows.sum(1).tolist() == pytest.approx([0.9, 0.5])
    assert found.micro_f1 == pytest.approx(2 * 13 / (20 + 14))
    as_a_class = sk.cohen_kappa_score([0] * 10 + [1] * 10, [0] * 8 + [1, 2] + [1] * 5 + [2] * 5)
    assert found.kappa == pytest.approx(as_a_class)


def test_predictions_tell_what_is_wrong() -> None:
    fine = drawn(10, 2)
    for change, message in (
        ({"labels": fine.labels[:4]}, "one for each item"),
        ({"labels": np.full(10, 2)}, "labels run from 2 to 2, wanted 0 to 1"),
        ({"labels": np.full(10, -1)}, "leave out"),
        ({"probability": fine.probability * 3}, "are these scores"),
        ({"probability": np.full((10, 2), NAN)}, "add up to 1"),
        ({"classes": ("a", "a")}, "each once"),
        ({"classes": ("a", "b", "c")}, r"wanted \(items, 3\)"),
    ):
        with pytest.raises(DataError, match=message):
            replace(fine, **change)
    with pytest.raises(ParameterError, match="no class 'gel': the classes are clear, precipitate"):
        fine.class_index("gel")
    with pytest.raises(ValueError, match="read-only"):
        fine.probability[0] = 0


def test_table_of_items() -> None:
    table = drawn(5, 2).table()
    assert list(table.columns) == ["name", "group", "truth", "label", "confidence", "probability[clear]", "probability[precipitate]"]
    assert table["truth"].isin(CLASSES).all()
    assert sorted_as([[0, 0, 1], [0, 1, 0]]).table()["label"].tolist() == ["uncertain", "precipitate"]


def test_one_of_each_group() -> None:
    predictions = drawn(300, 3)
    some = predictions.one_of_each_group(seed=1)
    pairs = list(zip(some.groups.tolist(), some.labels.tolist(), strict=True))
    assert len(pairs) == len(set(pairs)) == 21
    assert some.names.tolist() != predictions.one_of_each_group(seed=2).names.tolist()
    with pytest.raises(DataError, match="no groups"):
        drawn(5, n_groups=0).one_of_each_group()


def test_operating_point_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    predictions = Predictions(np.stack([1 - scores, scores], 1), [1, 1, 0, 1, 0, 0], ("miss", "hit"))
    found = measure(predictions, OperatingPoint("hit", 0.7), prior=0.1)
    assert (found.support, found.n_positive) == (6, 3)
    assert (found.sensitivity, found.specificity, found.precision, found.workload) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 1 / 2))
    assert found.precision_at_prior == pytest.approx(0.1 * 2 / (0.1 * 2 + 0.9 * 1))
    own = measure(predictions, OperatingPoint("hit", 0.7))
    assert own.precision_at_prior == pytest.approx(own.precision)
    assert measure(predictions, OperatingPoint("hit", -np.inf)).workload == 1
    assert np.isnan(measure(predictions, OperatingPoint("hit", np.inf)).precision)


def test_precision_of_each_class_at_a_prior() -> None:
    predictions = drawn(4000, 2, skill=1.5)
    found = metrics_of(predictions)
    by_point = measure(predictions, OperatingPoint("precipitate", 0.5), prior=0.05)
    assert found.precision_at_prior({"clear": 0.95, "precipitate": 0.05})["precipitate"] == pytest.approx(by_point.precision_at_prior)
    own = {name: of_class.support / found.support for name, of_class in found.per_class.items()}
    assert found.precision_at_prior(own) == pytest.approx({name: of_class.precision for name, of_class in found.per_class.items()})
    for wrong in ({"clear": 1.0}, {"clear": 0.5, "precipitate": 0.6}, {"clear": 0.5, "gel": 0.5}):
        with pytest.raises(ParameterError, match="a share for each of clear, precipitate"):
            found.precision_at_prior(wrong)


def test_precision_at_a_prior_is_that_of_a_sample_with_this_prior() -> None:
    """Items repeated until hits are one in twenty."""
    predictions = drawn(4000, 2, skill=1.5)
    point = OperatingPoint("precipitate", 0.4)
    hits, misses = (np.flatnonzero(predictions.labels == c) for c in (1, 0))
    rare = predictions.take(np.concatenate([hits, np.tile(misses, 19 * len(hits) // len(misses) + 1)[: 19 * len(hits)]]))
    assert measure(predictions, point, prior=0.05).precision_at_prior == pytest.approx(measure(rare, point).precision, abs=0.01)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        precision_at(1.5, sensitivity=1, specificity=1)
