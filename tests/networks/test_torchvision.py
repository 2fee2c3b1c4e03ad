"""Our networks against torchvision's, where torchvision can be imported."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from published import PARAMETERS, outline

from pycroclass.networks import architecture

try:
    from torchvision import models
except (ImportError, RuntimeError) as error:  # beside a torch of another build it fails while it is imported
    models, WHY = None, str(error)
else:
    WHY = ""

LAID_OUT = {
    "resnet18": "84fb10d9c6905a1c",
    "resnet34": "28f9096d51307499",
    "resnet50": "d7e4f8bb0a536344",
    "resnet101": "02c0f34f4842751f",
    "densenet121": "aa0fd9923b0003b8",
    "densenet161": "82d337d48f910d3a",
    "densenet169": "e2d0f02d9c0ce650",
    "densenet201": "0d234ad7e9a31b95",
    "vgg16": "35c4623e0cd4a39d",
    "vgg16_bn": "347371586a8ea365",
    "vgg19": "4723255af8f6c485",
    "vgg19_bn": "fc3ff6fab2b5cc09",
}
"""First digits of the SHA-256 of the names and shapes of torchvision 0.28, in order."""


def layout(module: torch.nn.Module) -> str:
    lines = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in module.state_dict().items())
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", PARAMETERS)
def test_names_order_and_number_of_weights(name: str) -> None:
    module = outline(name)
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]
    assert layout(module) == LAID_OUT[name]


def with_statistics(module: Any) -> Any:
    """With weights that leave nothing out, and normalisations that fit them: answers are neither zero nor huge."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_()
            norm.momentum = None
    with torch.no_grad():
        module.train()(torch.randn(4, 3, 64, 96))
    return module.eval()


@pytest.mark.slow
@pytest.mark.skipif(models is None, reason=f"torchvision cannot be imported: {WHY}")
@pytest.mark.parametrize("name", PARAMETERS)
def test_equals_torchvision(name: str) -> None:
    theirs = with_statistics(getattr(models, name)(weights=None))
    ours = architecture(name).build({"n_classes": 1000})
    assert layout(theirs) == layout(ours) == LAID_OUT[name]
    ours.load_state_dict(theirs.state_dict(), strict=True)
    items = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        got, wanted = ours.eval()(items), theirs(items)
    assert wanted.abs().max() > 1e-3
    assert torch.equal(got, wanted)
