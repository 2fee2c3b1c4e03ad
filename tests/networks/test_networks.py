"""Architectures: their shapes, what they are invariant to, and the registry."""

from __future__ import annotations

import pytest
import torch

from pycroclass.errors import ParameterError
from pycroclass.networks import Classifier, ImageResNet, SpectrumResNet, architecture, architectures, network
from pycroclass.spec import Domain


@pytest.mark.parametrize("n_channels", [1, 3, 7])
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 40)])
@pytest.mark.parametrize("width", [1, 5, 16])
def test_images_of_any_channels_and_size(n_channels: int, size: tuple[int, int], width: int) -> None:
    module = architecture("resnet_small").build({"n_classes": 4, "n_channels": n_channels, "width": width}).eval()
    items = torch.randn(2, n_channels, *size)
    assert module(items).shape == (2, 4)
    assert module.embed(items).shape == (2, module.n_features)


@pytest.mark.parametrize("length", [1, 7, 16, 129, 350, 2048])
def test_spectra_of_any_length(length: int) -> None:
    module = architecture("resnet_spectrum").build({"n_classes": 5, "length": length}).eval()
    items = torch.randn(3, length)
    assert module(items).shape == (3, 5)
    assert module.embed(items).shape == (3, module.n_features)


@pytest.mark.parametrize("module", [ImageResNet(n_classes=3), SpectrumResNet(n_classes=3, length=64)])
def test_forward_is_head_of_embedding_and_every_weight_learns(module: Classifier) -> None:
    items = torch.randn(4, *(size or 24 for size in module.item_shape))
    module(items).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    module.eval()
    assert torch.equal(module(items), module.head(module.embed(items)))


def test_outline_needs_no_memory_and_has_the_same_names() -> None:
    known = architecture("resnet_small")
    outline, module = known.outline({"n_classes": 2}), known.build({"n_classes": 2})
    assert {tensor.device.type for tensor in outline.state_dict().values()} == {"meta"}
    assert outline.state_dict().keys() == module.state_dict().keys()


def test_registry() -> None:
    assert {"resnet_small", "resnet_spectrum"} <= set(architectures())
    assert architecture("resnet_small").domain is Domain.IMAGE
    assert architecture("resnet_spectrum").domain is Domain.SPECTRUM
    with pytest.raises(ParameterError, match=r"is that of pycroclass.networks.resnet.resnet_small already"):
        network("resnet_small", domain=Domain.IMAGE)(lambda **_: ImageResNet(n_classes=2))
    with pytest.raises(ParameterError, match="known are"):
        architecture("transformer")


@pytest.mark.parametrize(
    "parameters", [{"n_classes": 0}, {"n_classes": 2.0}, {"n_classes": 2, "width": -1}, {}, {"n_classes": 2, "depth": 3}]
)
def test_wrong_parameters(parameters: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        architecture("resnet_small").build(parameters)
