"""Training that begins with weights from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sidpy
import torch
from test_training import SMALL, frames
from test_training_resume import CutOffError, Cutter

from pycroclass.api import classify
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError
from pycroclass.estimators import Balance, NetworkClassifier, Session, Transfer
from pycroclass.networks import architecture
from pycroclass.operators import Classify
from pycroclass.training import train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict for grey images of three classes, as torch saves it."""
    torch.manual_seed(3)
    module = architecture("resnet_small").build({"n_classes": 3, "width": 4})
    module.train()
    module(torch.randn(64, 1, 20, 20))  # statistics of normalisation
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(module.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def data() -> sidpy.Dataset:
    return frames(60)[0]


def classifier(source: Path, **changes: Any) -> NetworkClassifier:
    transfer = Transfer(str(source), **{"head_epochs": 2, "head_rate": 1e-2, "layer_decay": 0.5, **changes})
    return replace(SMALL, parameters={"width": 4}, epochs=4, transfer=transfer)


def weights(bundle: Bundle) -> dict[str, np.ndarray]:
    (step,) = (step for step in bundle.pipeline if isinstance(step, Classify))
    return {name: value.values for name, value in step.weights.items()}


def test_the_head_learns_first_then_all(data: sidpy.Dataset, source: Path) -> None:
    before = {name: tensor.numpy() for name, tensor in torch.load(source, weights_only=True).items()}
    head_alone = weights(train(data, replace(classifier(source), epochs=3), session=Session(max_seconds=0)))
    assert {name for name, value in head_alone.items() if not np.array_equal(value, before[name])} >= {"head.weight", "head.bias"}
    trunk = [name for name in before if name.startswith("trunk")]
    assert len(trunk) > 10
    assert all(np.array_equal(head_alone[name], before[name]) for name in trunk)
    bundle = train(data, classifier(source, freeze_norm=False))
    after = weights(bundle)
    if bundle.metrics["validation"]["epoch"] > 2:
        assert not any(np.array_equal(after[name], before[name]) for name in trunk if name.endswith("weight"))
    record = bundle.training["pretrained"]
    assert record["matched"] == 1
    assert record["source"] == str(source)
    assert record["missing"] == ["head.weight", "head.bias"]


def test_a_last_layer_that_comes_along_begins_as_it_was(data: sidpy.Dataset, source: Path, tmp_path: Path) -> None:
    """With a rate that moves nothing and a prior that is far from even."""
    first = train(data, replace(SMALL, parameters={"width": 4}, epochs=1))
    still = replace(SMALL, parameters={"width": 4}, epochs=1, learning_rate=1e-12, balance=Balance(prior={"blank": 0.01, "spots": 0.99}))
    along = train(data, replace(still, transfer=Transfer(str(first.save(tmp_path / "first.safetensors")), head_epochs=0)))
    np.testing.assert_allclose(weights(along)["head.bias"], weights(first)["head.bias"], atol=1e-6)
    new = weights(train(data, replace(still, transfer=Transfer(str(source), head_epochs=0))))["head.bias"]  # of three classes: left out
    assert new[1] - new[0] == pytest.approx(np.log(99), abs=1)


def test_few_items_in_a_batch_leave_normalisation_alone(data: sidpy.Dataset, source: Path) -> None:
    before = torch.load(source, weights_only=True)
    statistics = [name for name in before if name.endswith("running_mean")]
    for freezes in (True, False):
        after = weights(train(data, classifier(source, head_epochs=0, freeze_norm=freezes)))
        assert all(np.array_equal(after[name], before[name].numpy()) == freezes for name in statistics)


def test_first_layers_learn_most_slowly(data: sidpy.Dataset, source: Path) -> None:
    """AdamW moves each weight by about its rate, whatever the gradient."""
    before = torch.load(source, weights_only=True)
    one_step = replace(classifier(source, head_epochs=0, layer_decay=0.1), epochs=1, batch_size=1000, learning_rate=1e-3)
    after = weights(train(data, one_step))
    moved = {
        name: float(np.abs(after[name] - before[name].numpy()).max()) for name in before if name.startswith("trunk") and "conv" in name
    }
    ordered = sorted(moved)
    assert moved[ordered[-1]] > 5 * moved[ordered[0]] > 0


def test_images_are_standardised_for_networks_that_want_it(data: sidpy.Dataset) -> None:
    deep = NetworkClassifier("resnet18", epochs=1, batch_size=16, validation=0.25)
    bundle = train(data, deep)
    assert [type(step).__name__ for step in bundle.pipeline] == ["Scale", "Classify"]
    scale = bundle.pipeline.steps()[0]
    values = np.asarray(data, np.float64)
    assert float(scale.offset.values) == pytest.approx(values.mean(), rel=0.02)  # type: ignore[attr-defined]
    assert 1 / float(scale.factor.values) == pytest.approx(values.std(), rel=0.05)  # type: ignore[attr-defined]
    brighter = data * 3 + 7  # the same images in other units
    again = train(brighter, deep, labels=data.metadata["labels"])
    found, expected = (classify(each, model)["probability"].compute() for each, model in ((brighter, again), (data, bundle)))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    colours = sidpy.Dataset.from_array(np.random.default_rng(0).normal([0, 5, 9], [1, 2, 3], (40, 20, 22, 3)).astype(np.float32))
    for number, (name, kind) in enumerate((("i", "temporal"), ("y", "spatial"), ("x", "spatial"), ("colour", "channel"))):
        colours.set_dimension(number, sidpy.Dimension(np.arange(colours.shape[number]), name=name, units="a", dimension_type=kind))
    bundle = train(colours, deep, labels=np.arange(40) % 2)
    assert bundle.pipeline.steps()[0].offset.values.ravel() == pytest.approx([0, 5, 9], abs=0.1)  # type: ignore[attr-defined]
    assert classify(colours, bundle)["label"].compute().shape == (40,)


def test_goes_on_after_a_cut_in_either_phase(data: sidpy.Dataset, source: Path, tmp_path: Path) -> None:
    whole = train(data, classifier(source))
    for after in (2, 4):
        session = Session(checkpoint=tmp_path / "c", checkpoint_seconds=0, progress=Cutter(after))
        with pytest.raises(CutOffError):
            train(data, classifier(source), session=session)
    again = train(data, classifier(source), session=Session(checkpoint=tmp_path / "c"))
    assert again.digest == whole.digest


def test_other_weights_are_another_training(data: sidpy.Dataset, source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "weights.pth"
    mine.write_bytes(source.read_bytes())
    with pytest.raises(CutOffError):
        train(data, classifier(mine), session=Session(checkpoint=tmp_path / "c", checkpoint_seconds=0, progress=Cutter(2)))
    state = torch.load(source, weights_only=True)
    torch.save({name: tensor + 0.01 if tensor.is_floating_point() else tensor for name, tensor in state.items()}, mine)
    with pytest.raises(DataError, match="pretrained"):
        train(data, classifier(mine), session=Session(checkpoint=tmp_path / "c"))
