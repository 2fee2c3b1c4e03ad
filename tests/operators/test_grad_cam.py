"""Grad-CAM: against its closed form, against plain autograd with hooks, and against captum where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pycroclass.errors import AxisError, ParameterError
from pycroclass.networks import architecture
from pycroclass.operators import Bin, Classify, GradCAM, Log1p
from pycroclass.operators.grad_cam import with_grad_cam
from pycroclass.spec import Axis, Spec

CLASSES = ("clear", "crystal", "other")
ITEM = Spec((Axis("channel", 2, "channel"), Axis("y", 37, "spatial"), Axis("x", 45, "spatial")), np.dtype("float32"))


def module(name: str, **parameters: Any) -> Any:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        built = architecture(name).build({"n_classes": 3, "n_channels": 2, **parameters}).eval()
        for layer in built.modules():
            if isinstance(layer, torch.nn.BatchNorm2d) and layer.affine:
                layer.running_mean.normal_()
                layer.bias.data.normal_()
    return built


def grad_cam(name: str, target: str | None = None, **parameters: Any) -> GradCAM:
    parameters = {"n_classes": 3, "n_channels": 2, **parameters}
    return GradCAM(name, parameters, module(name, **parameters).state_dict(), classes=CLASSES, target=target)


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 2, 37, 45, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["resnet18", "resnet_small"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_is_the_weighted_sum_of_maps_where_the_head_is_linear_in_their_means() -> None:
    """Zhou et al., CVPR 2016: there the gradient is the weight of the last layer over the number of places."""
    network, block = module("resnet18"), images()
    with torch.no_grad():
        maps = network.feature_map(block)
    largest = 0.0
    for c, target in enumerate(CLASSES):
        weights = network.fc.weight[c].detach()
        wanted = (maps * weights[:, None, None]).sum(1).clamp(min=0) / maps[0, 0].numel()
        grown = F.interpolate(wanted[:, None], size=(37, 45), mode="bilinear")[:, 0]
        torch.testing.assert_close(grad_cam("resnet18", target).transform(block), grown, rtol=1e-4, atol=1e-6)
        largest = max(largest, float(wanted.max()))
    assert largest > 0


@pytest.mark.parametrize("name", ["resnet18", "resnet_small", "densenet121"])
def test_equals_plain_autograd_through_the_whole_network(name: str) -> None:
    """The plain twin: one item after the other, gradients by a hook on what leaves the last map, in one graph."""
    network, block = module(name), images()
    answers = []
    for item in block:
        kept: list[torch.Tensor] = []
        original = network.feature_map

        def watched(items: torch.Tensor, original: Any = original, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(original(items))
            kept[0].retain_grad()
            return kept[0]

        network.feature_map = watched
        logits = network(item[None])
        logits[0, logits[0].argmax()].backward()
        network.feature_map = original
        weight = kept[0].grad.mean((-2, -1), keepdim=True)
        evidence = (weight * kept[0]).sum(1, keepdim=True).relu()
        answers.append(F.interpolate(evidence, size=item.shape[-2:], mode="bilinear")[0, 0].detach())
    torch.testing.assert_close(grad_cam(name).transform(block), torch.stack(answers), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer4"), ("resnet_small", "trunk")])
def test_equals_captum(name: str, layer: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network, block = module(name), images()
    explainer = attr.LayerGradCam(network, network.get_submodule(layer))
    for c, target in enumerate(CLASSES):
        evidence = explainer.attribute(block, target=c)
        wanted = attr.LayerAttribution.interpolate(evidence.relu(), (37, 45), interpolate_mode="bilinear")[:, 0]
        torch.testing.assert_close(grad_cam(name, target).transform(block), wanted.detach(), rtol=1e-4, atol=1e-6)


def test_asks_by_default_about_what_each_item_is_called(name: str) -> None:
    block = images(8)
    called = module(name)(block).argmax(1)
    by_class = [grad_cam(name, target).transform(block) for target in CLASSES]
    wanted = torch.stack([by_class[c][i] for i, c in enumerate(called.tolist())])
    torch.testing.assert_close(grad_cam(name).transform(block), wanted, rtol=1e-5, atol=1e-7)


def test_a_network_made_where_gradients_are_off_can_be_asked() -> None:
    operator = grad_cam("resnet_small", width=5)
    with torch.inference_mode():
        inside = operator.transform(images())
    assert not inside.requires_grad
    assert inside.max() > 0
    torch.testing.assert_close(inside, operator.transform(images()))


def test_an_item_that_is_not_finite_has_no_evidence_and_leaves_the_others_alone() -> None:
    block = images()
    wanted = grad_cam("resnet_small").transform(block)
    block[1, 0, 3, 3] = torch.nan
    got = grad_cam("resnet_small").transform(block)
    assert got[1].isnan().all()
    torch.testing.assert_close(got[[0, 2, 3]], wanted[[0, 2, 3]])


def test_output_lies_where_the_image_does() -> None:
    declared = grad_cam("resnet_small").output(ITEM)
    assert declared.axes == ITEM.axes[1:]
    with pytest.raises(AxisError, match="takes items of shape"):
        grad_cam("resnet_small").output(Spec((Axis("channel", 1, "channel"), *ITEM.axes[1:]), ITEM.dtype))


def test_takes_the_place_of_the_network() -> None:
    network = Classify("resnet_small", {"n_classes": 3, "n_channels": 2}, module("resnet_small").state_dict(), classes=CLASSES)
    pipeline = with_grad_cam(Bin(2) | network, "other")
    assert pipeline.steps() == (Bin(2), GradCAM.of(network, "other"))
    with pytest.raises(ParameterError, match="no step of the pipeline is a Classify: Log1p"):
        with_grad_cam(Log1p())


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ParameterError, match="no class 'ice'"):
        grad_cam("resnet_small", "ice")
    unet = architecture("unet").build({"n_classes": 3, "width": 4})
    with pytest.raises(ParameterError, match="whole images"):
        GradCAM("unet", {"n_classes": 3, "width": 4}, unet.state_dict(), classes=CLASSES)
    spectrum = architecture("resnet_spectrum").build({"n_classes": 3, "length": 30})
    with pytest.raises(ParameterError, match="whole images"):
        GradCAM("resnet_spectrum", {"n_classes": 3, "length": 30}, spectrum.state_dict(), classes=CLASSES)
    with pytest.raises(ParameterError, match="3 classes"):
        GradCAM("resnet_small", {"n_classes": 3, "n_channels": 2}, module("resnet_small").state_dict(), classes=("a", "b"))
