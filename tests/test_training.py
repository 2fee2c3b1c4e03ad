"""Training: learns what can be learnt, the same each time, and says what it did."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import sidpy
import torch
import torch.nn.functional as F

from pycroclass.api import classify, fit
from pycroclass.bundle import Bundle
from pycroclass.errors import AxisError, BundleError, DataError, ParameterError
from pycroclass.estimators import Balance, Optimisation
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.networks import architecture
from pycroclass.operators import Crop, Log1p
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec
from pycroclass.stratified import held_out
from pycroclass.training import train

CLASSES = ("blank", "spots")
SMALL = NetworkClassifier(parameters={"width": 8}, epochs=6, batch_size=8, validation=0.25)


def frames(n: int = 90, *, chunk: int = 13, seed: int = 0, labelled: bool = True) -> tuple[sidpy.Dataset, npt.NDArray[np.int64]]:
    """Poisson noise, in every third frame with bright spots."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(np.int64)
    stack = rng.poisson(4, (n, 23, 21)).astype(np.uint16)
    for i in np.flatnonzero(labels):
        stack[i, rng.integers(3, 20, 4), rng.integers(3, 18, 4)] += 60
    spec = Spec(
        (Axis("frame", n, kind=AxisKind.TEMPORAL), Axis("y", 23, kind=AxisKind.SPATIAL), Axis("x", 21, kind=AxisKind.SPATIAL)),
        stack.dtype,
        title="frames",
        classes=CLASSES if labelled else (),
    )
    metadata = {"labels": labels.tolist()} if labelled else {}
    lazy = da.from_array(stack, chunks=(chunk, 23, 21))
    return wrap(lazy, spec, provenance=Provenance("given", {}), metadata=metadata), labels


def spectra(n: int = 80) -> tuple[sidpy.Dataset, list[str]]:
    """A peak on the left or on the right."""
    rng = np.random.default_rng(0)
    names = np.array(["left", "right"])[np.arange(n) % 2]
    x = np.arange(60)
    centre = np.where(names == "left", 15, 42)[:, None] + rng.normal(0, 2, (n, 1))
    values = np.exp(-(((x - centre) / 3) ** 2)) + rng.normal(0, 0.1, (n, 60))
    axes = (
        Axis("row", 8, kind=AxisKind.SPATIAL),
        Axis("column", n // 8, kind=AxisKind.SPATIAL),
        Axis("energy", 60, kind=AxisKind.SPECTRAL, units="eV", offset=5.0),
    )
    array = da.from_array(values.reshape(8, -1, 60).astype(np.float32), chunks=(3, 4, 60))
    return wrap(array, Spec(axes, array.dtype), provenance=Provenance("given", {})), names.tolist()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return train(frames()[0], SMALL, preprocessing=Crop(16) | Log1p())


def test_learns_and_classifies_new_frames(bundle: Bundle, tmp_path: Path) -> None:
    new, labels = frames(60, seed=1, labelled=False)
    results = classify(new, bundle.save(tmp_path / "spots.safetensors"))
    assert (results["label"].compute() == labels).mean() > 0.9
    assert results["probability"].shape == (60, 2)
    assert results["label"].metadata["classes"] == list(CLASSES)
    assert bundle.metrics["validation"]["balanced_accuracy"] > 0.9


def test_fits_as_a_member_of_a_pipeline(bundle: Bundle) -> None:
    dataset, labels = frames(labelled=False)
    model = fit(Crop(16) | Log1p() | replace(SMALL, labels=labels, classes=CLASSES), dataset)
    assert model.steps() == bundle.pipeline.steps()
    kept = Bundle(model, bundle.item, classes=CLASSES)
    assert "NetworkClassifier" in str(kept.training["recipe"])


def test_record(bundle: Bundle) -> None:
    training = bundle.training
    assert training["counts"] == {"training": {"blank": 45, "spots": 23}, "validation": {"blank": 15, "spots": 7}}
    assert [epoch["epoch"] for epoch in training["history"]] == [1, 2, 3, 4, 5, 6]
    best = max(epoch["balanced_accuracy"] for epoch in training["history"])
    assert bundle.metrics["validation"]["balanced_accuracy"] == best
    assert np.sum(bundle.metrics["validation"]["confusion"]) == 22
    (step,) = training["classifier"]
    assert step["NetworkClassifier"]["seed"] == 0
    assert set(training["versions"]) == {"python", "pycroclass", "torch", "lightning", "kornia", "numpy", "scikit-learn"}
    assert [source["verb"] for source in training["sources"]] == ["given"]


def test_best_weights_are_those_of_the_metrics() -> None:
    dataset, labels = frames()
    bundle = train(dataset, SMALL)
    held = held_out(labels, fraction=0.25, seed=0)
    predicted = classify(dataset, bundle)["label"].compute()
    found = [(predicted[held & (labels == c)] == c).mean() for c in (0, 1)]
    assert bundle.metrics["validation"]["balanced_accuracy"] == pytest.approx(np.mean(found))


def test_same_seed_same_weights_for_any_chunks(bundle: Bundle) -> None:
    state = torch.random.get_rng_state()
    again = train(frames(chunk=90)[0], SMALL, preprocessing=Crop(16) | Log1p())
    assert again.pipeline == bundle.pipeline
    assert again.digest == bundle.digest
    other = train(frames()[0], replace(SMALL, seed=1), preprocessing=Crop(16) | Log1p())
    assert other.pipeline != bundle.pipeline
    assert torch.equal(state, torch.random.get_rng_state())


def test_streams_what_does_not_fit_into_a_pool() -> None:
    bundle = train(frames()[0], replace(SMALL, pool_bytes=30 * 23 * 21 * 4))
    assert bundle.metrics["validation"]["balanced_accuracy"] > 0.9
    assert bundle.pipeline == train(frames()[0], replace(SMALL, pool_bytes=30 * 23 * 21 * 4)).pipeline


def test_item_is_free_where_preprocessing_makes_it_equal(bundle: Bundle) -> None:
    assert [axis.size for axis in bundle.item.axes] == [1, None, None]
    assert [axis.size for axis in train(frames()[0], replace(SMALL, epochs=1)).item.axes] == [1, 23, 21]
    with pytest.raises(BundleError, match="two spatial or two reciprocal axes"):
        classify(spectra()[0].sum(axis=1), bundle)


def test_spectra_with_named_labels() -> None:
    dataset, names = spectra()
    bundle = train(dataset, NetworkClassifier("resnet_spectrum", epochs=5, batch_size=16), labels=names)
    assert bundle.classes == ("left", "right")
    assert bundle.metrics["validation"]["balanced_accuracy"] == 1
    assert bundle.item.axes[0].limits == (5, 64)
    assert classify(dataset, bundle)["label"].shape == (8, 10)


def test_groups_stay_together() -> None:
    dataset, _ = frames()
    groups = np.repeat(["a", "b", "c", "d", "e"], 18)
    training = train(dataset, replace(SMALL, epochs=1), groups=groups).training
    assert training["validation_groups"] in ([0], [1], [2], [3], [4])
    assert sum(training["counts"]["validation"].values()) == 18


def test_unlabelled_and_broken_items_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    dataset, labels = frames()
    labels[:10] = -1
    values = dataset.compute().astype(np.float32)
    values[20] = np.nan
    broken = wrap(
        da.from_array(values, chunks=(13, 23, 21)), replace(_spec(dataset), dtype=values.dtype), provenance=Provenance("given", {})
    )
    with pytest.raises(DataError, match="NaN or inf"):
        train(broken, SMALL, labels=labels)
    with caplog.at_level(logging.WARNING):
        bundle = train(broken, replace(SMALL, epochs=1), labels=labels, nonfinite="mask")
    assert "1 of 90 items of 'frames' hold NaN or inf" in caplog.text
    assert bundle.training["n_nonfinite"] == 1
    assert bundle.training["n_unlabelled"] == 10
    assert sum(sum(side.values()) for side in bundle.training["counts"].values()) == 79


def _spec(dataset: sidpy.Dataset) -> Spec:
    from pycroclass.sid import unwrap

    return unwrap(dataset)[1]


def test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(frames()[0], replace(SMALL, epochs=1))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_refuses_labels_that_do_not_fit() -> None:
    dataset, labels = frames(labelled=False)
    with pytest.raises(DataError, match="no labels"):
        train(dataset, SMALL)
    with pytest.raises(DataError, match=r"labels have the shape \(89,\), wanted \(90,\)"):
        train(dataset, SMALL, labels=labels[:89])
    with pytest.raises(DataError, match="class '2' occurs in 1 items"):
        train(dataset, SMALL, labels=np.where(np.arange(90) == 4, 2, labels))
    with pytest.raises(DataError, match="class '0' occurs in 1 groups"):
        train(dataset, SMALL, labels=labels, groups=labels)
    with pytest.raises(DataError, match="labels run from 0 to 5"):
        train(dataset, replace(SMALL, classes=CLASSES), labels=labels * 5)
    with pytest.raises(DataError, match="name the classes"):
        train(dataset, replace(SMALL, classes=CLASSES), labels=["blank", "ice", "spots"] * 30)
    with pytest.raises(DataError, match="at least two classes"):
        train(dataset, SMALL, labels=labels * 0)
    with pytest.raises(DataError, match="labels must be whole numbers"):
        train(dataset, SMALL, labels=labels * 0.5)
    with pytest.raises(AxisError):
        train(spectra()[0].sum(axis=2), NetworkClassifier("resnet_spectrum"))


def test_refuses_to_train_a_network_that_sorts_pixels() -> None:
    with pytest.raises(ParameterError, match="unet sorts pixels"):
        train(frames()[0], NetworkClassifier("unet", parameters={"width": 2}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"validation": 0.0},
        {"learning_rate": -1.0},
        {"augmentation": "rotate"},
        {"architecture": "resnet_spectrum", "augmentation": "dihedral"},
        {"architecture": "resnet_huge"},
        {"labels": [0.5, 1.0]},
    ],
)
def test_refuses_parameters(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        NetworkClassifier(**wrong)


def test_diverging_training_is_an_error() -> None:
    with pytest.raises(DataError, match="diverged"):
        train(frames()[0], replace(SMALL, learning_rate=1e30, epochs=3))


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_takes_no_more_than_its_share(seed: int) -> None:
    """Three items of a rare class neither make the part that is held back larger, nor are they all on one side."""
    dataset, labels = frames()
    labels[[4, 40, 70]] = 2
    classifier = replace(SMALL, epochs=1, seed=seed, validation=0.1, classes=(*CLASSES, "ice"))
    for groups in (None, np.arange(90) // 2):
        counts = train(dataset, classifier, labels=labels, groups=groups).training["counts"]
        assert sum(counts["validation"].values()) == pytest.approx(9, abs=2)
        assert min(counts["validation"]["ice"], counts["training"]["ice"]) > 0


def test_equals_a_loop_in_plain_torch() -> None:
    """The plain twin: forward, backward, step, and after each epoch the validation."""
    dataset, labels = frames()
    items, truth = torch.from_numpy(np.asarray(dataset, np.float32))[:, None], torch.from_numpy(labels)
    held = held_out(labels, fraction=0.25, seed=0)
    training, validation = np.flatnonzero(~held), torch.from_numpy(np.flatnonzero(held))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = architecture("resnet_small").build({"n_classes": 2, "width": 8})
    optimizer = torch.optim.AdamW(module.parameters(), lr=SMALL.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    weight = len(training) / (2 * torch.bincount(truth[training]))
    losses = []
    for epoch in range(3):
        module.train()
        order = np.random.default_rng((0, epoch)).permutation(training)
        for some in np.array_split(order, -(-len(order) // 8)):
            optimizer.zero_grad()
            each = F.cross_entropy(module(items[some]), truth[some], reduction="none", label_smoothing=0.1)
            (weight[truth[some]] * each).mean().backward()
            optimizer.step()
        schedule.step()
        module.eval()
        with torch.inference_mode():
            each = F.cross_entropy(module(items[validation]), truth[validation], reduction="none")
        losses.append(float(sum(each[truth[validation] == c].mean() for c in (0, 1)) / 2))
    history = train(dataset, replace(SMALL, epochs=3, optimisation=Optimisation(label_smoothing=0.1))).training["history"]
    assert [epoch["validation_loss"] for epoch in history] == pytest.approx(losses, rel=1e-3)


def test_record_says_what_was_done() -> None:
    classifier = replace(
        SMALL,
        epochs=1,
        baselines=True,
        balance={"method": "logits", "prior": {"spots": 1, "blank": 9}},  # type: ignore[arg-type]  # as a recipe has it
        augmentation={"preset": "dihedral", "noise": 0.1},
    )
    training = train(frames()[0], classifier).training
    assert training["balance"] == {"method": "logits", "prior": {"blank": 0.9, "spots": 0.1}}
    assert training["augmentation"] == {"flip": True, "turn": True, "noise": 0.1}
    assert training["split"] == {"fraction": 0.25, "seed": 0, "by_group": False}
    assert training["baselines"].keys() == {"total intensity", "logistic regression", "linear SVM", "kernel SVM", "random forest"}
    assert training["baselines"]["random forest"]["n_training"] == sum(training["counts"]["training"].values())
    assert json.loads(json.dumps(training)) == training


@pytest.mark.parametrize("method", ["weights", "sampler", "logits"])
def test_where_items_say_nothing_the_answer_is_the_stated_prior(method: str) -> None:
    dataset, labels = frames()
    shuffled = np.random.default_rng(0).permutation(labels)
    classifier = replace(SMALL, epochs=2, learning_rate=1e-3, balance=Balance(method, {"blank": 9, "spots": 1}))  # type: ignore[arg-type]
    probability = classify(dataset, train(dataset, classifier, labels=shuffled))["probability"].compute()
    assert probability[:, 1].mean() == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("method", ["none", "weights", "sampler", "logits"])
def test_learns_with_each_balance_and_augmentation(method: str) -> None:
    classifier = replace(SMALL, balance=Balance(method), augmentation="diffraction")  # type: ignore[arg-type]
    assert train(frames()[0], classifier).metrics["validation"]["balanced_accuracy"] > 0.85


def test_groups_by_the_name_of_a_column() -> None:
    dataset, _ = frames()
    dataset.metadata = {**dataset.metadata, "items": {"plate": np.repeat(["a", "b", "c", "d", "e"], 18).tolist()}}
    training = train(dataset, replace(SMALL, epochs=1), groups="plate").training
    assert len(training["validation_groups"]) == 1
    assert training["split"]["by_group"]
    with pytest.raises(ParameterError, match="no column 'well'"):
        train(dataset, SMALL, groups="well")


def test_half_precision_asks_for_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ParameterError, match="float16"):
        train(frames()[0], replace(SMALL, optimisation=Optimisation(precision="float16")))
