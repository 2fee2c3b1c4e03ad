"""Architectures: their shapes, what they are invariant to, and the registry."""

from __future__ import annotations

import pytest
import torch

from pycroclass.errors import ParameterError
from pycroclass.networks import Classifier, HitNetwork, ImageResNet, ResNet, SpectrumResNet, UNet, architecture, architectures, network
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


def sizes(module: torch.nn.Module) -> list[int]:
    """Number of weights of each layer that has some of its own."""
    own = (sum(p.numel() for p in child.parameters(recurse=False)) for child in module.modules())
    return [n for n in own if n]


def test_hit_network_is_that_of_the_report() -> None:
    # convolution 7 x 7 x 4, its 344 rows; the same of 4 channels, 62 rows; 576 to 16, its normalisation; 16 to 2
    head, *trunk = sizes(HitNetwork())
    assert trunk == [7 * 7 * 4 + 4, 688, 7 * 7 * 4 * 4 + 4, 124, 576 * 16 + 16, 32]
    assert head == 16 * 2 + 2
    assert HitNetwork()(torch.randn(2, 1, 350, 350)).min() >= 0  # the last ReLU


def test_hit_network_normalises_rows() -> None:
    norm = HitNetwork(size=70).trunk[2].train()
    items = torch.randn(3, 4, 64, 9) * torch.arange(1, 65)[:, None] + 5
    rows = norm(items).transpose(1, 2).flatten(2)
    assert rows.shape == (3, 64, 36)
    torch.testing.assert_close(rows.mean((0, 2)), torch.zeros(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.var((0, 2), correction=0), torch.ones(64), atol=1e-3, rtol=0)


def test_smallest_hit_network() -> None:
    assert HitNetwork(size=61)(torch.randn(2, 1, 61, 61)).shape == (2, 2)
    with pytest.raises(ParameterError, match="at least 61"):
        HitNetwork(size=60)


def torchvision_names() -> list[str]:
    """Keys of the state dict of ``torchvision.models.resnet18``, in order."""

    def norm(name: str) -> list[str]:
        return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    names = ["conv1.weight", *norm("bn1")]
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            names += [f"{at}.conv1.weight", *norm(f"{at}.bn1"), f"{at}.conv2.weight", *norm(f"{at}.bn2")]
            if layer > 1 and block == 0:
                names += [f"{at}.downsample.0.weight", *norm(f"{at}.downsample.1")]
    return [*names, "fc.weight", "fc.bias"]


def test_resnet18_is_that_of_torchvision() -> None:
    module = ResNet(18, n_classes=1000)
    assert sum(parameter.numel() for parameter in module.parameters()) == 11_689_512
    assert list(module.state_dict()) == torchvision_names()
    assert module.state_dict()["layer4.0.downsample.0.weight"].shape == (512, 256, 1, 1)


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (32, 48)])
def test_unet_answers_for_every_pixel(size: tuple[int, int]) -> None:
    module = UNet(n_classes=3, n_channels=2, width=4).eval()
    assert module(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_unet_sees_far_but_not_everything() -> None:
    torch.manual_seed(0)
    module = UNet(n_classes=2, width=8, depth=2).eval()
    items = torch.randn(1, 1, 96, 96, requires_grad=True)
    module(items)[0, 0, 48, 48].backward()
    seen = items.grad[0, 0].nonzero()
    # two 3 x 3 convolutions at sizes 1, 2 and 4, on the way down and up again: at most 4 + 8 + 8 pixels and the rest of a cell of 4
    assert 8 < (seen - 48).abs().max() <= 4 + 8 + 8 + 4


def test_outline_needs_no_memory_and_has_the_same_names() -> None:
    known = architecture("resnet_small")
    outline, module = known.outline({"n_classes": 2}), known.build({"n_classes": 2})
    assert {tensor.device.type for tensor in outline.state_dict().values()} == {"meta"}
    assert outline.state_dict().keys() == module.state_dict().keys()


def test_registry() -> None:
    assert {"hit_network", "resnet18", "resnet_small", "resnet_spectrum", "unet"} <= set(architectures())
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
