"""Learning on some simulated runs, calibrating to another without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sidpy
from sklearn.linear_model import LogisticRegression

import pycroclass as pc
from pycroclass.errors import BundleError, DataError, OutOfDomainError, ParameterError
from pycroclass.hits.training import fit_logistic
from pycroclass.replay import Verdict
from pycroclass.simulate import CSPAD, SETTINGS, draw_run, simulate_run
from pycroclass.writers import write_cxi

EXPERIMENT = replace(CSPAD, detector=replace(CSPAD.detector, shape=(200, 200)))
QUICK = pc.NetworkClassifier("resnet_small", {"width": 4}, classes=("miss", "hit"), epochs=16, batch_size=16, augmentation="dihedral")
Simulated = dict[str, sidpy.Dataset]


def simulated(seed: int, n_frames: int, hit_rate: float = 0.35) -> Simulated:
    """A run with hot pixels that no mask names, in memory."""
    made = simulate_run(draw_run(seed=seed, hit_rate=hit_rate, experiment=EXPERIMENT, setting=SETTINGS["S3"]), n_frames)
    return {"image": made["image"].persist(), "mask": made["mask"].persist(), "label": made["label"].persist()}


@pytest.fixture(scope="module")
def known() -> list[Simulated]:
    return [simulated(seed, 60) for seed in (11, 12)]


@pytest.fixture(scope="module")
def bundle(known: list[Simulated]) -> pc.Bundle:
    return pc.train_hits([run["image"] for run in known], masks=[run["mask"] for run in known], network=QUICK)


@pytest.fixture(scope="module")
def other() -> Simulated:
    return simulated(14, 60)


def test_another_run_is_sorted(bundle: pc.Bundle, other: Simulated) -> None:
    calibrated = pc.calibrate_hits(bundle, other["image"], mask=other["mask"])
    evaluation = pc.evaluate(calibrated, other["image"], n_bootstrap=0)
    assert evaluation.pooled.balanced_accuracy > 0.9
    answers = pc.classify(other["image"], calibrated)
    assert list(answers) == ["probability", "label", "confidence", "score"]
    assert answers["label"].metadata["classes"] == ["miss", "hit"]


def test_labels_of_the_run_are_not_looked_at(bundle: pc.Bundle, other: Simulated) -> None:
    without = other["image"].copy()
    without.metadata = {name: value for name, value in other["image"].metadata.items() if name != "labels"}
    pipelines = [pc.calibrate_hits(bundle, image, mask=other["mask"]).pipeline for image in (other["image"], without)]
    assert pipelines[0] == pipelines[1]


def test_record_says_what_was_learned_where(bundle: pc.Bundle, other: Simulated, tmp_path: Path) -> None:
    calibrated = pc.calibrate_hits(bundle, other["image"], mask=other["mask"])
    again = pc.Bundle.load(calibrated.save(tmp_path / "run.safetensors"))
    assert again == calibrated
    assert again.training["run"]["bundle"] == bundle.digest
    assert again.training["run"]["n_frames"] == 60
    assert again.training["run"]["n_masked"] > np.count_nonzero(np.asarray(other["mask"]))
    assert len(again.training["sources"]) == 2
    assert again.training["combined"]["n_frames"] == 48
    np.testing.assert_array_equal(*(np.asarray(pc.classify(other["image"], one)["score"]) for one in (again, calibrated)))


def test_result_is_replayed(bundle: pc.Bundle, other: Simulated, tmp_path: Path) -> None:
    write_cxi({name: other[name] for name in ("image", "mask", "label")}, tmp_path / "run.cxi")
    frames = pc.read(tmp_path / "run.cxi")
    calibrated = pc.calibrate_hits(bundle, frames["image"], mask=frames["mask"])
    pc.write(pc.classify(frames["image"], calibrated), tmp_path / "hits.h5")
    assert [found.verdict for found in pc.replay(tmp_path / "hits.h5")] == [Verdict.IDENTICAL] * 4


def test_steps_behind_the_model_stay_and_a_new_calibration_replaces_the_old(
    bundle: pc.Bundle, other: Simulated, known: list[Simulated]
) -> None:
    decided = replace(bundle, pipeline=bundle.pipeline | pc.ClassThreshold("hit", 0.2))
    first = pc.calibrate_hits(decided, known[0]["image"], mask=known[0]["mask"])
    second = pc.calibrate_hits(first, other["image"], mask=other["mask"])
    assert second.pipeline == pc.calibrate_hits(decided, other["image"], mask=other["mask"]).pipeline
    assert second.pipeline[-1] == pc.ClassThreshold("hit", 0.2)


def test_runs_that_cannot_be_judged_are_refused(bundle: pc.Bundle, other: Simulated) -> None:
    image = other["image"]
    with pytest.raises(DataError, match="at least 20"):
        pc.calibrate_hits(bundle, pc.take(image, np.arange(10)), mask=other["mask"])
    all_hits = simulated(14, 40, hit_rate=1.0)
    with pytest.raises(OutOfDomainError, match=r"room|would be hits"):
        pc.calibrate_hits(bundle, all_hits["image"], mask=all_hits["mask"])
    with pytest.raises(OutOfDomainError, match="would be hits"):
        pc.calibrate_hits(bundle, image, mask=other["mask"], most_hits=0.05)


def test_bundles_of_other_kinds_are_refused(other: Simulated) -> None:
    quick = replace(QUICK, epochs=1)
    some = pc.take(other["image"], np.arange(30))
    with pytest.raises(BundleError, match=r"Bin \| Classify, wanted HitFeatures"):
        pc.calibrate_hits(pc.train(some, quick, preprocessing=pc.Bin(10)), some)


def test_bad_input(known: list[Simulated]) -> None:
    runs = [run["image"] for run in known]
    with pytest.raises(ParameterError, match="no runs"):
        pc.train_hits([])
    with pytest.raises(ParameterError, match="1 masks for 2 runs"):
        pc.train_hits(runs, masks=[None])
    for labels in ([0, 1], np.full(60, 0.5), np.full(60, 2)):
        with pytest.raises(DataError, match="labels must be 60 numbers"):
            pc.train_hits(runs, labels=[labels, labels])


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.2).astype(np.int64)
    features = rng.normal(size=(300, 3)) + 1.5 * labels[:, None]
    theirs = LogisticRegression(C=1 / 3, class_weight="balanced", tol=1e-10, max_iter=10_000).fit(features, labels)
    weights, bias = fit_logistic(features, labels, penalty=3)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-3)
    assert bias == pytest.approx(theirs.intercept_[0], rel=1e-3)


def test_no_weight_is_negative() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(300) < 0.4).astype(np.int64)
    features = rng.normal(size=(300, 2)) + labels[:, None] * [2.0, -2.0]
    weights, _ = fit_logistic(features, labels)
    alone, _ = fit_logistic(features[:, :1], labels)
    assert weights[1] == 0
    np.testing.assert_allclose(weights[0], alone[0], rtol=1e-4)
    with pytest.raises(DataError, match="each class"):
        fit_logistic(features, np.zeros(300, np.int64))
