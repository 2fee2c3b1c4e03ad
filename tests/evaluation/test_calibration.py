"""Calibration and decisions: what is fitted, what the operators do with it, and that a bundle carries it along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sidpy
import torch
from drawn import drawn
from linear import as_they_are, dataset_of
from sklearn.isotonic import IsotonicRegression

from pycroclass.api import classify
from pycroclass.bundle import Bundle
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.evaluation.calibration import fit_isotonic, fit_temperature, sure_class, with_step
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.evaluation.metrics import metrics_of
from pycroclass.evaluation.of_bundle import evaluate
from pycroclass.evaluation.predictions import Predictions
from pycroclass.evaluation.thresholds import Target, operating_point
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import UNet
from pycroclass.operators import Classify, ClassThreshold, IsotonicScale, SureClass, TemperatureScale
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

CLASSES = ("clear", "precipitate", "crystal")
NAN = float("nan")


def honest(n: int, seed: int = 0, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn by their softmax; then the logits are made too large by ``sharpness``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.uniform(size=(n, 1)) > probability.cumsum(1)).sum(1)
    return sharpness * logits, labels.clip(max=2)


def predictions_of(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    probability = np.exp(logits - logits.max(1, keepdims=True))
    return Predictions(probability / probability.sum(1, keepdims=True), labels, CLASSES)


def applied(operator: TemperatureScale | IsotonicScale, predictions: Predictions) -> Predictions:
    probability = operator.transform(torch.tensor(predictions.probability))["probability"].numpy()
    return Predictions(probability, predictions.labels, predictions.classes)


def test_logits_twice_too_large_have_temperature_two() -> None:
    logits, labels = honest(5000, sharpness=2.0)
    found = fit_temperature(predictions_of(logits, labels)).temperature
    assert 1.95 < found < 2.05
    assert 0.95 < fit_temperature(predictions_of(*honest(5000))).temperature < 1.05


def test_temperature_equals_that_of_lbfgs() -> None:
    logits, labels = (torch.tensor(values) for values in honest(700, seed=1, sharpness=3.0))
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), labels)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = fit_temperature(predictions_of(logits.numpy(), labels.numpy())).temperature
    assert found == pytest.approx(log_temperature.exp().item(), rel=1e-4)


def test_temperature_mends_new_items() -> None:
    known, new = (predictions_of(*honest(3000, seed=s, sharpness=3.0)) for s in (0, 1))
    mended = applied(fit_temperature(known), new)
    before, after = metrics_of(new), metrics_of(mended)
    assert before.ece > 0.15
    assert after.ece < 0.03
    assert after.log_loss < before.log_loss
    assert (mended.label == new.label).all()


def test_temperature_of_a_softmax_is_that_of_its_logits() -> None:
    logits, _ = honest(50)
    wanted = torch.tensor(logits / 1.7).softmax(1)
    found = TemperatureScale(1.7).transform(torch.tensor(logits).softmax(1))
    torch.testing.assert_close(found["probability"], wanted)
    torch.testing.assert_close(found["confidence"], wanted.amax(1))
    assert torch.equal(found["label"].long(), wanted.argmax(1))


def test_no_temperature_is_best_where_all_are_right() -> None:
    sure = Predictions(np.eye(3)[[0, 1, 2]] * 0.97 + 0.01, [0, 1, 2], CLASSES)
    with pytest.raises(DataError, match="no temperature is best on 3 items: all are right"):
        fit_temperature(sure)
    with pytest.raises(DataError, match="guessing is better"):
        fit_temperature(Predictions(sure.probability, [1, 2, 0], CLASSES))


def test_isotonic_curves_equal_scikit_learn() -> None:
    known, new = (predictions_of(*honest(800, seed=s, sharpness=3.0)) for s in (0, 1))
    curves = [IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(known.probability[:, c], known.labels == c) for c in range(3)]
    raw = np.stack([curve.predict(new.probability[:, c]) for c, curve in enumerate(curves)], 1)
    total = raw.sum(1, keepdims=True)
    wanted = np.where(total > 0, raw / np.where(total > 0, total, 1), 1 / 3)
    found = applied(fit_isotonic(known), new)
    np.testing.assert_allclose(found.probability, wanted, atol=1e-9)


def test_isotonic_mends_what_a_temperature_cannot() -> None:
    """Squares of probabilities of one class: no power of all is right again."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        true = rng.uniform(size=6000)
        labels = (rng.uniform(size=6000) < true).astype(int)
        parts.append(Predictions(np.stack([1 - true**3, true**3], 1), labels, ("miss", "hit")))
    known, new = parts
    by_temperature, by_curve = (metrics_of(applied(fit(known), new)).log_loss for fit in (fit_temperature, fit_isotonic))
    assert by_curve < by_temperature - 0.05
    assert metrics_of(applied(fit_isotonic(known), new)).ece < 0.03


def test_isotonic_needs_every_class() -> None:
    with pytest.raises(DataError, match=r"each class needs items, got \{'clear': 2, 'precipitate': 0"):
        fit_isotonic(Predictions(np.full((2, 3), 1 / 3), [0, 0], CLASSES))


def test_answers_of_items_that_are_not_finite() -> None:
    block = torch.tensor([[NAN, NAN, NAN], [0.2, 0.3, 0.5]])
    curves = fit_isotonic(drawn(200))
    for operator in (TemperatureScale(2), curves, ClassThreshold(0, -np.inf), SureClass((0.1, 0.1, 0.1))):
        found = operator.transform(block)
        assert found["label"][0] == -1
        assert found["confidence"][0].isnan()
        assert found["probability"][0].isnan().all()
        assert found["label"][1] >= 0


def test_class_threshold() -> None:
    block = torch.tensor([[0.6, 0.1, 0.3], [0.6, 0.2, 0.2], [0.1, 0.2, 0.7]])
    item = Spec((Axis("class", 3, "spectral"),), "float32", quantity="probability", classes=CLASSES)
    found = ClassThreshold("crystal", 0.3).bind(item).transform(block)
    assert found["label"].tolist() == [2, 0, 2]
    assert found["confidence"].tolist() == pytest.approx([0.3, 0.6, 0.7])
    assert ClassThreshold(2, np.inf).transform(block)["label"].tolist() == [0, 0, 1]
    with pytest.raises(AxisError, match="no class 'gel': the classes are clear, precipitate, crystal"):
        ClassThreshold("gel", 0.5).output(item)
    with pytest.raises(ParameterError, match="must be numbers"):
        ClassThreshold("crystal", NAN)


def test_sure_class() -> None:
    block = torch.tensor([[0.5, 0.3, 0.2], [0.45, 0.45, 0.1], [0.2, 0.2, 0.6], [0.34, 0.33, 0.33]])
    found = SureClass((0.35, 0.4, 0.5)).transform(block)
    assert found["label"].tolist() == [0, 3, 2, 3]
    assert found["confidence"].tolist() == pytest.approx([0.5, 0.45, 0.6, 0.34])
    item = Spec((Axis("class", 3, "spectral"),), "float32", quantity="probability", classes=CLASSES)
    assert SureClass((0, 0, 0)).output(item)["label"].classes == (*CLASSES, "uncertain")
    with pytest.raises(AxisError, match="2 thresholds"):
        SureClass((0, 0)).output(item)


def test_operators_refuse_what_are_no_probabilities() -> None:
    counts = Spec((Axis("energy", 3, "spectral"),), "float32", quantity="intensity")
    for operator in (TemperatureScale(2), SureClass((0.5,) * 3), ClassThreshold("a", 0.5)):
        with pytest.raises(AxisError, match=r"takes the probability of each class, got intensity .* Put it behind Classify\."):
            operator.output(counts)
    two = Spec((Axis("class", 2, "spectral"),), "float32", quantity="probability", classes=("a", "b"))
    with pytest.raises(AxisError, match="3 curves for 2 classes"):
        fit_isotonic(drawn(100)).output(two)
    for wrong in (0, -1, NAN):
        with pytest.raises(ParameterError):
            TemperatureScale(wrong)
    with pytest.raises(ParameterError, match="rise from left to right"):
        IsotonicScale([[0, 1], [0, 1]], [[1, 0], [0, 1]])
    with pytest.raises(ParameterError, match="at least two points"):
        IsotonicScale([[0], [0]], [[1], [0]])


def test_sure_class_keeps_each_class_among_the_possible_ones() -> None:
    """Of each class by itself, on average over draws."""
    kept = np.zeros((60, 3))
    for i in range(60):
        known, new = (predictions_of(*honest(900, seed=2 * i + s)) for s in (0, 1))
        thresholds = np.array(sure_class(known, 0.9).thresholds)
        possible = new.probability >= thresholds
        kept[i] = [possible[new.labels == c, c].mean() for c in range(3)]
    assert (kept.mean(0) >= 0.9 - 2 * kept.std(0) / np.sqrt(60)).all()
    assert (kept.mean(0) < 0.92).all()
    with pytest.raises(DataError, match="no item is of the class crystal"):
        sure_class(known.take(known.labels < 2), 0.9)


def labelled(seed: int) -> sidpy.Dataset:
    logits, labels = honest(1500, seed=seed, sharpness=2.0)
    return dataset_of(logits, CLASSES, labels=labels.tolist())


@pytest.fixture(scope="module")
def calibration() -> Evaluation:
    return evaluate(as_they_are(CLASSES), labelled(0), n_bootstrap=0)


def test_a_bundle_is_calibrated_and_decides(calibration: Evaluation, tmp_path: Path) -> None:
    new = labelled(9)
    bundle = with_step(as_they_are(CLASSES), fit_temperature(calibration.predictions), found_on=calibration)
    better = evaluate(bundle, new, n_bootstrap=0)
    assert better.calibration.ece < calibration.calibration.ece / 3

    known = evaluate(bundle, labelled(0), n_bootstrap=0)
    point = operating_point(known.predictions, "crystal", Target("sensitivity", 0.95))
    finder = with_step(bundle, ClassThreshold("crystal", point.threshold), found_on=known)
    found = evaluate(finder, new, n_bootstrap=0)
    (measured,) = better.at([point]).operating_points
    assert found.pooled.per_class["crystal"].recall == measured.sensitivity > 0.93
    assert [(one.point.positive, one.sensitivity) for one in found.operating_points] == [("crystal", measured.sensitivity)]
    assert found.pooled.coverage == 1
    rare = evaluate(finder, new, prior=0.01, n_bootstrap=0).operating_points[0]
    assert (rare.prior, rare.sensitivity) == (0.01, measured.sensitivity)
    assert rare.precision_at_prior == better.at([point], prior=0.01).operating_points[0].precision_at_prior < measured.precision / 3
    with pytest.raises(ParameterError, match="a prior is for a bundle that ends with a ClassThreshold"):
        evaluate(bundle, new, prior=0.01)

    careful = with_step(bundle, sure_class(known.predictions, 0.9), found_on=known)
    unsure = evaluate(careful, new, n_bootstrap=0)
    assert 0.3 < unsure.pooled.coverage < 0.95
    result = classify(new, careful)
    assert result["label"].metadata["classes"] == [*CLASSES, "uncertain"]
    assert (result["label"].compute() == 3).mean() == pytest.approx(1 - unsure.pooled.coverage)
    assert [list(entry["step"][0]) for entry in careful.training["after_training"]] == [["TemperatureScale"], ["SureClass"]]
    assert type(careful).load(careful.save(tmp_path / "careful.safetensors")) == careful


def test_steps_say_what_they_were_found_on(calibration: Evaluation) -> None:
    other = as_they_are(("a", "b", "c"))
    with pytest.raises(DataError, match="the evaluation is of the bundle sha256"):
        with_step(other, TemperatureScale(2), found_on=calibration)


def test_what_decides_comes_last(calibration: Evaluation) -> None:
    bundle, new = as_they_are(CLASSES), labelled(0)
    for step in (ClassThreshold("crystal", 0.2), SureClass((0.5, 0.5, 0.5))):
        decided = with_step(bundle, step, found_on=calibration)
        with pytest.raises(DataError, match=f"decides by {type(step).__name__}, which TemperatureScale behind it would undo"):
            with_step(decided, TemperatureScale(2), found_on=evaluate(decided, new, n_bootstrap=0))
    undone = replace(bundle, pipeline=bundle.pipeline | ClassThreshold("crystal", 0.2) | TemperatureScale(1))
    found = evaluate(undone, new, n_bootstrap=0)
    assert found.operating_points == ()
    assert found.predictions.decided is None


def test_pixels_are_calibrated_too() -> None:
    """Probabilities for each pixel have their classes on an axis between others."""
    parameters = {"n_classes": 3, "width": 4, "depth": 1}
    sort = Classify("unet", parameters, UNet(**parameters).state_dict(), classes=CLASSES)
    stack = np.random.default_rng(0).normal(size=(2, 8, 9))
    axes = (Axis("frame", 2, "temporal"), Axis("y", 8, "spatial"), Axis("x", 9, "spatial"))
    dataset = wrap(da.from_array(stack), Spec(axes, stack.dtype), provenance=Provenance("given", {}))
    plain, scaled = (pipeline(dataset) for pipeline in (sort, sort | TemperatureScale(2) | SureClass((0.5, 0.5, 0.5))))
    probability = torch.tensor(plain["probability"].compute())
    assert probability.shape == (2, 8, 9, 3)
    found = torch.tensor(np.asarray(scaled["probability"].compute()))
    torch.testing.assert_close(found, (probability.log() / 2).softmax(-1))
    assert scaled["label"].shape == (2, 8, 9)
    axes_of_item = (ItemAxis("channel", 1, "channel"), ItemAxis("y", None, "spatial"), ItemAxis("x", None, "spatial"))
    with pytest.raises(DataError, match="the bundle sorts pixels"):
        evaluate(Bundle(sort, ItemSpec("image", axes_of_item), classes=CLASSES), dataset, labels=[0, 1])
