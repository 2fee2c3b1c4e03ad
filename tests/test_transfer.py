"""Weights from elsewhere: the same answers as where they come from, or an error."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import safetensors.torch
import torch

import pycroclass as pc
from pycroclass import transfer
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError, ParameterError, ReadError
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import ImageResNet, ResNet, architecture
from pycroclass.operators import Classify
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec
from pycroclass.transfer import IMAGENET, Normalisation, pretrained

FIVE = {"n_classes": 5}


@pytest.fixture(scope="module")
def source() -> ResNet:
    """A network whose normalisations have seen data."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        module = ResNet(18, n_classes=5).train()
        with torch.no_grad():
            module(torch.randn(8, 3, 64, 64))
    return module.eval()


def built(name: str, parameters: dict[str, Any], found: transfer.Pretrained) -> torch.nn.Module:
    module = architecture(name).build(parameters)
    found.load_into(module)
    return module.eval()


@pytest.mark.parametrize("form", ["pth", "wrapped", "safetensors", "mapping"])
def test_answers_are_those_of_the_source(source: ResNet, tmp_path: Path, form: str) -> None:
    path: Any = tmp_path / "w"
    match form:
        case "pth":
            torch.save(source.state_dict(), path)
        case "wrapped":
            torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
        case "safetensors":
            safetensors.torch.save_file(source.state_dict(), path)
        case "mapping":
            path = source.state_dict()
    found = pretrained(path, "resnet18", FIVE)
    assert (found.matched, found.missing, found.licence, found.normalisation) == (1.0, (), "not stated", None)
    items = torch.randn(2, 3, 40, 51)
    with torch.inference_mode():
        assert torch.equal(built("resnet18", FIVE, found)(items), source(items))


def test_grey_images_get_the_answers_of_the_same_image_in_every_channel(source: ResNet) -> None:
    found = pretrained(source.state_dict(), "resnet18", {"n_classes": 5, "n_channels": 1}, normalisation=IMAGENET)
    grey = torch.randn(3, 1, 40, 51)
    with torch.inference_mode():
        answer = built("resnet18", {"n_classes": 5, "n_channels": 1}, found)(grey)
        torch.testing.assert_close(answer, source(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert (found.normalisation.mean, found.normalisation.std) == (pytest.approx((0.449,)), pytest.approx((0.226,)))


def test_another_number_of_classes_leaves_the_last_layer(source: ResNet) -> None:
    parameters = {"n_classes": 2}
    found = pretrained(source.state_dict(), "resnet18", parameters)
    assert (found.matched, found.missing) == (1.0, ("fc.weight", "fc.bias"))
    assert not any(name.startswith("fc.") for name in found.weights)
    module = architecture("resnet18").build(parameters)
    before = module.fc.weight.clone()
    found.load_into(module)
    assert torch.equal(module.fc.weight, before)
    with torch.inference_mode():
        items = torch.randn(2, 3, 40, 40)
        assert torch.equal(module.eval().embed(items), source.embed(items))


def test_misfits_are_errors(source: ResNet, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ParameterError, match=r"match, wanted 90%.*another architecture"):
        pretrained(source.state_dict(), "resnet34", FIVE)
    with pytest.raises(ParameterError, match=r"without a place: layer1\.2"):
        pretrained(ResNet(34, n_classes=5).state_dict(), "resnet18", FIVE)
    lost = {name: tensor for name, tensor in source.state_dict().items() if "layer1.0.bn1" not in name}
    with caplog.at_level(logging.WARNING):
        found = pretrained(lost, "resnet18", FIVE)
    assert 0.9 < found.matched < 1
    assert "missing: layer1.0.bn1.weight" in caplog.text
    with pytest.raises(ParameterError, match="for another network"):
        found.load_into(ImageResNet(n_classes=5))
    with pytest.raises(DataError, match="NaN or inf"):
        pretrained({**source.state_dict(), "bn1.weight": torch.full((64,), torch.nan)}, "resnet18", FIVE)


def test_a_bundle_is_a_source(tmp_path: Path) -> None:
    module = ImageResNet(n_classes=3, width=4)
    item = ItemSpec("image", (ItemAxis("channel", 1, pc.AxisKind.CHANNEL), ItemAxis("y"), ItemAxis("x")))
    classify = Classify("resnet_small", {"n_classes": 3, "width": 4}, module.state_dict(), classes=("a", "b", "c"))
    bundle = Bundle(pc.Pipeline((pc.ZScore(), classify)), item, classes=("a", "b", "c"), licence="CC-BY-4.0")
    path = bundle.save(tmp_path / "cells.safetensors")
    for one in (bundle, path, str(path)):
        found = pretrained(one, "resnet_small", {"n_classes": 4, "width": 4})
        assert (found.matched, found.licence, found.digest) == (1.0, "CC-BY-4.0", bundle.digest)
        assert found.missing == ("head.weight", "head.bias")
        assert np.array_equal(found.weights["trunk.0.weight"].values, module.trunk[0].weight.detach())
    with pytest.raises(ParameterError, match="no network"):
        pretrained(Bundle(pc.ZScore(), item), "resnet_small", FIVE)


def test_what_is_known_of_a_source_is_recorded(source: ResNet, tmp_path: Path) -> None:
    safetensors.torch.save_file(source.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}))
    record = pretrained(tmp_path, "resnet18", {"n_classes": 2}).record()
    assert json.loads(json.dumps(record)) == record
    assert record["licence"] == "mit"
    assert record["source"] == str(tmp_path)
    assert record["missing"] == ["fc.weight", "fc.bias"]
    assert record["normalisation"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    stated = pretrained(tmp_path, "resnet18", {"n_classes": 2}, licence="CC0-1.0", normalisation=IMAGENET)
    assert (stated.licence, stated.normalisation) == ("CC0-1.0", IMAGENET)


@pytest.mark.parametrize(
    ("asked", "address", "licence", "normalisation"),
    [
        ("micronet", "/resnet18_pretrained_microscopynet_v1.0.pth.tar", "MIT", IMAGENET),
        ("image-micronet", "/resnet18_pretrained_imagenet-microscopynet_v1.0.pth.tar", "MIT", IMAGENET),
        ("https://download.pytorch.org/models/resnet18-f37072fd.pth", "/resnet18-f37072fd.pth", "not stated", IMAGENET),
        ("https://example.org/mine.pth", "/mine.pth", "not stated", None),
    ],
)
def test_what_comes_from_the_internet(
    source: ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, address: str, licence: str, normalisation: Any
) -> None:
    torch.save(source.state_dict(), tmp_path / "w.pth")
    fetched: list[str] = []
    monkeypatch.setattr(transfer, "download", lambda at: fetched.append(at) or tmp_path / "w.pth")
    found = pretrained(asked, "resnet18", {"n_classes": 2})
    assert fetched == [found.source]
    assert found.source.endswith(address)
    assert (found.licence, found.normalisation, found.matched) == (licence, normalisation, 1.0)


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.5,), (0.1, 0.1)), ((0.5,), (0.0,))])
def test_normalisations_that_cannot_be(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ParameterError, match="one mean and one positive std"):
        Normalisation(mean, std)


def test_no_such_file() -> None:
    with pytest.raises(ReadError, match="cannot read"):
        pretrained("nowhere.pth", "resnet18", FIVE)


def test_training_begins_with_them(source: ResNet, tmp_path: Path) -> None:
    """On raw counts: they are brought to what the weights know, in a step of the bundle."""
    torch.save(source.state_dict(), tmp_path / "w.pth")
    counts = np.random.default_rng(0).poisson(900, (12, 40, 40)).astype(np.uint16)
    axes = (Axis("frame", 12, kind=AxisKind.TEMPORAL), *(Axis(name, 40, kind=AxisKind.SPATIAL) for name in "yx"))
    dataset = wrap(da.from_array(counts), Spec(axes, counts.dtype), provenance=Provenance("given", {}))
    transfer = pc.Transfer(str(tmp_path / "w.pth"), head_epochs=1, licence="CC0-1.0")
    classifier = pc.NetworkClassifier("resnet18", epochs=2, learning_rate=1e-4, transfer=transfer, validation=0.5)
    bundle = pc.train(dataset, classifier, labels=["a", "b"] * 6)
    assert bundle.training["pretrained"]["licence"] == "CC0-1.0"
    assert bundle.training["pretrained"]["missing"] == ["fc.weight", "fc.bias"]
    scale, classify = bundle.pipeline.steps()
    assert scale.transform(torch.from_numpy(counts.astype(np.float32))).std().item() == pytest.approx(1, abs=0.05)
    grey = source.conv1.weight.detach().double().sum(1, keepdim=True).float()
    np.testing.assert_allclose(classify.weights["conv1.weight"].values, grey, atol=1e-3)  # two epochs at a low rate change little
