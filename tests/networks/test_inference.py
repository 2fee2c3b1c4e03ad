"""The prepared form of a network against the network itself."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pycroclass.networks import VGG, Classifier, DenseNet, HitNetwork, ImageResNet, ResNet, SpectrumResNet, UNet
from pycroclass.networks.hit import RowNorm
from pycroclass.networks.inference import NarrowConvolution, prepared
from pycroclass.networks.memory import measured_workspace

CPU = torch.device("cpu")
NETWORKS = {
    "hit": (HitNetwork, {"size": 74}, (1, 74, 74)),
    "hit of an awkward size": (HitNetwork, {"size": 93, "n_channels": 2, "n_classes": 5}, (2, 93, 93)),
    "resnet18": (ResNet, {"depth": 18, "n_classes": 4}, (3, 45, 64)),
    "grey resnet18": (ResNet, {"depth": 18, "n_classes": 2, "n_channels": 1, "dropout": 0.3}, (1, 33, 32)),
    "resnet50": (ResNet, {"depth": 50, "n_classes": 4}, (3, 33, 40)),
    "densenet121": (DenseNet, {"depth": 121, "n_classes": 4, "dropout": 0.2}, (3, 33, 40)),
    "vgg16": (VGG, {"depth": 16, "n_classes": 4, "n_channels": 1, "n_hidden": 20}, (1, 32, 40)),
    "vgg16_bn": (VGG, {"depth": 16, "n_classes": 4, "n_hidden": 20, "batch_norm": True}, (3, 32, 32)),
    "unet": (UNet, {"n_classes": 3, "width": 4}, (1, 48, 32)),
    "unet of odd sizes": (UNet, {"n_classes": 3, "width": 4, "n_channels": 2, "depth": 3}, (2, 37, 21)),
    "images": (ImageResNet, {"n_classes": 2}, (1, 21, 18)),
    "spectra": (SpectrumResNet, {"n_classes": 2, "length": 37}, (37,)),
}


def as_trained(module: nn.Module) -> nn.Module:
    """In eval mode, with weights that leave nothing out: scales of both signs, shifts, running statistics."""
    generator = torch.Generator().manual_seed(0)
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            if child.track_running_stats:
                child.running_mean.normal_(generator=generator)
                child.running_var.uniform_(0.5, 2.0, generator=generator)
            if child.affine:
                child.weight.data.normal_(generator=generator)
                child.bias.data.normal_(generator=generator)
    return module.eval()


def built(name: str) -> tuple[Classifier, torch.Tensor]:
    network, parameters, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        return as_trained(network(**parameters)), torch.randn(3, *shape)


def close(got: torch.Tensor, wanted: torch.Tensor, relative: float) -> bool:
    return got.shape == wanted.shape and (got - wanted).abs().max().item() <= relative * wanted.abs().max().item()


@pytest.mark.parametrize("name", NETWORKS)
def test_prepared_answers_as_the_plain_network(name: str) -> None:
    module, items = built(name)
    with torch.inference_mode():
        embedding, logits = prepared(module, CPU)(items)
        assert close(embedding, module.embed(items), 1e-5)
        assert close(logits, module(items), 1e-5)
        assert torch.equal(logits.argmax(1), module(items).argmax(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_half_the_bits_answer_nearly_so(name: str) -> None:
    module, items = built(name)
    with torch.inference_mode():
        embedding, logits = prepared(module, CPU, "bfloat16")(items)
        assert embedding.dtype == logits.dtype == torch.float32
        assert close(logits, module(items), 0.05)
        assert not close(logits, module(items), 1e-5), "this must have been computed in bfloat16"


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_left_that_can_be_folded(name: str) -> None:
    module, _ = built(name)
    kinds = [type(child) for child in prepared(module, CPU).modules()]
    assert nn.Dropout not in kinds
    if name.startswith("hit"):
        assert kinds.count(NarrowConvolution) == 2
        assert not {nn.Conv2d, RowNorm, nn.MaxPool2d} & set(kinds)
    if any(part in name for part in ("resnet18", "resnet50", "vgg", "unet")):
        assert nn.BatchNorm2d not in kinds


def test_the_network_given_stays_as_it_was() -> None:
    module, items = built("hit")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.train()
    prepared(module, CPU)(items)
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_narrow_convolution_equals_its_parts(data: st.DataObject) -> None:
    whole = st.integers(1, 7)
    n_in, n_out, pool = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5))
    kernel = data.draw(whole), data.draw(st.integers(3, 7))
    padding = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    height, width = (data.draw(st.integers(k + pool - 1, k + 20)) for k in kernel)
    torch.manual_seed(data.draw(st.integers(0, 99)))
    convolution = nn.Conv2d(n_in, n_out, kernel, padding=padding, bias=data.draw(st.booleans()))
    assert NarrowConvolution.is_narrow(convolution)
    norm = as_trained(RowNorm(height + 2 * padding[0] - kernel[0] + 1)) if data.draw(st.booleans()) else None
    has_relu = data.draw(st.booleans())
    items = torch.randn(2, n_in, height, width)
    with torch.inference_mode():
        wanted = convolution(items)
        wanted = wanted if norm is None else norm(wanted)
        wanted = F.relu(wanted) if has_relu else wanted
        wanted = F.max_pool2d(wanted, pool)
        got = NarrowConvolution(convolution, norm, has_relu=has_relu, pool=pool)(items)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_in", [1, 2])
@pytest.mark.parametrize("width", [4, 5, 11, 12, 13])
def test_narrow_convolution_of_pictures_as_narrow_as_its_kernel(n_in: int, width: int) -> None:
    convolution, items = nn.Conv2d(n_in, 2, (1, 4)), torch.randn(2, n_in, 9, width)
    with torch.inference_mode():
        got = NarrowConvolution(convolution, None, has_relu=False, pool=1)(items)
        torch.testing.assert_close(got, convolution(items), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(1, 4, 3, stride=2),),
        (nn.Conv2d(1, 4, 3, dilation=2),),
        (nn.Conv2d(1, 4, 3, padding="same"),),
        (nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, stride=2)),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, padding=1)),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, ceil_mode=True)),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d((2, 3))),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, dilation=2)),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)),
        (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2)),
        (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Sigmoid(), nn.MaxPool2d(2)),
        (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    ],
    ids=str,
)
def test_what_looks_alike_is_left_alone(layers: tuple[nn.Module, ...]) -> None:
    class Other(Classifier):
        def __init__(self) -> None:
            super().__init__((1, None, None), n_features=4, n_classes=2)
            self.layers = nn.Sequential(*layers)

        def embed(self, items: torch.Tensor) -> torch.Tensor:
            return self.layers(items).mean((-2, -1))

    module, items = as_trained(Other()), torch.randn(2, 1, 14, 17)
    with torch.inference_mode():
        torch.testing.assert_close(prepared(module, CPU)(items)[1], module(items), rtol=1e-5, atol=1e-6)


class Shared(Classifier):
    """One convolution, seen by two normalisations and once without: it cannot be folded into any of them."""

    def __init__(self) -> None:
        super().__init__((1, None, None), n_features=4, n_classes=2)
        self.convolution = nn.Conv2d(1, 4, 3)
        self.one, self.two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        x = self.convolution(items)
        return (self.one(x) + self.two(self.convolution(items)) + x).mean((-2, -1))


class Branching(Shared):
    """What it does depends on the values: it cannot be traced."""

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        return super().embed(-items if items.sum() < 0 else items)


@pytest.mark.parametrize("network", [Shared, Branching])
def test_shared_and_branching_networks(network: type[Classifier], caplog: pytest.LogCaptureFixture) -> None:
    module, items = as_trained(network()), torch.randn(2, 1, 14, 17)
    with torch.inference_mode(), caplog.at_level(logging.INFO):
        answer = prepared(module, CPU)
        for sign in (1, -1):
            torch.testing.assert_close(answer(sign * items)[1], module(sign * items), rtol=1e-5, atol=1e-6)
    assert ("Branching runs as it is" in caplog.text) == (network is Branching)


def test_workspace_by_hand() -> None:
    with torch.device("meta"):
        outline, half = HitNetwork(), HitNetwork(n_channels=2)
    first = 4 * 344 * 344 * 4  # bytes of the first convolution's result
    assert measured_workspace(outline, (1, 350, 350), torch.device("cuda")) == 4 * 350 * 350 + 2 * first
    assert measured_workspace(half, (2, 350, 350), torch.device("cuda")) == 2 * 4 * 350 * 350 + 2 * first


def test_workspace_of_a_narrow_convolution_is_that_of_its_tiles() -> None:
    with torch.device("meta"):
        outline = HitNetwork()
    items, tile = 4 * 350 * 350, 2 * 4 * 344 * 384 * 4  # two frames at once
    on_cpu = measured_workspace(outline, (1, 350, 350), CPU)
    assert items < on_cpu < 2 * items + tile


def test_workspace_counts_what_is_kept_for_later() -> None:
    with torch.device("meta"):
        outline = UNet(n_classes=2, width=8, depth=1)
    plane = 4 * 64 * 64
    kept, grown = 8 * plane, 16 * plane // 4
    in_merge = 16 * plane + 2 * 8 * plane  # the joined picture, and a convolution's result normalised
    assert measured_workspace(outline, (1, 64, 64), torch.device("cuda")) == plane + kept + grown + in_merge


class _Meanwhile(ImageResNet):
    """Whenever it is called, another network runs in another thread."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__(n_classes=2)
        self.call_other = lambda: other(torch.zeros(1, 3))

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as pool:
            assert isinstance(pool.submit(self.call_other).result(), torch.Tensor)
        return super().embed(items)


def test_other_threads_may_call_their_networks_while_one_is_prepared(caplog: pytest.LogCaptureFixture) -> None:
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).eval()
    with caplog.at_level(logging.INFO):
        embedding, logits = prepared(_Meanwhile(other), CPU)(torch.zeros(2, 1, 20, 20))
    assert (len(embedding), len(logits)) == (2, 2)
    assert "cannot be traced" not in caplog.text
