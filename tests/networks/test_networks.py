"""Architectures: their shapes, what they are invariant to, and the registry."""

from __future__ import annotations

import pytest
import torch
from published import PARAMETERS

from pycroclass.errors import ParameterError
from pycroclass.networks import (
    VGG,
    Classifier,
    DenseNet,
    HitNetwork,
    ImageClassifier,
    ImageResNet,
    ResNet,
    SpectrumResNet,
    UNet,
    architecture,
    architectures,
    network,
)
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


EVERY = {
    "hit_network": {"size": 74},
    "resnet_small": {"n_classes": 3, "width": 4},
    "resnet_spectrum": {"n_classes": 3, "length": 50, "width": 4},
    "unet": {"n_classes": 3, "width": 4, "depth": 2},
    **{name: {"n_classes": 3} for name in PARAMETERS},
}


@pytest.mark.parametrize("name", EVERY)
def test_groups_by_depth_hold_each_weight_once_and_the_last_layer_last(name: str) -> None:
    module = architecture(name).outline(EVERY[name])
    groups = module.depth_groups()
    prefixes = [(number, prefix) for number, group in enumerate(groups) for prefix in group]
    depths = []
    for weight, _ in module.named_parameters():
        (depth,) = [number for number, prefix in prefixes if f"{weight}.".startswith(f"{prefix}.")]
        depths.append(depth)
    assert set(depths) == set(range(len(groups))), "no group is empty"
    (last,) = groups[-1]
    assert module.get_submodule(last).weight.shape[0] == module.n_classes
    assert module.n_features == module.get_submodule(last).weight.shape[1]
    without_head = [depth for depth in depths if depth < len(groups) - 1]
    assert name == "unet" or without_head == sorted(without_head), "from the input on"


def test_groups_by_depth_of_a_network_that_says_nothing() -> None:
    class Plain(Classifier):
        def __init__(self) -> None:
            super().__init__((None,), n_features=3, n_classes=2)
            self.scale = torch.nn.Parameter(torch.ones(3))
            self.body = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())

        def embed(self, items: torch.Tensor) -> torch.Tensor:
            return self.body(items * self.scale)

    module = Plain()
    assert module.depth_groups() == [["scale"], ["body"], ["head"]]
    with pytest.raises(ParameterError, match="no filters to show"):
        module.first_filters()


SMALL = [
    (HitNetwork(size=74), (1, 74, 74)),
    (ImageResNet(n_classes=3, n_channels=2), (2, 33, 47)),
    (ResNet(34, n_classes=3), (3, 65, 40)),
    (DenseNet(121, n_classes=3, n_channels=1), (1, 65, 40)),
    (VGG(16, n_classes=3, n_hidden=10), (3, 65, 40)),
]


@pytest.mark.parametrize(("module", "shape"), SMALL, ids=lambda value: type(value).__name__)
def test_embedding_is_made_of_the_feature_map(module: ImageClassifier, shape: tuple[int, ...]) -> None:
    module.eval()
    items = torch.randn(2, *shape)
    feature_map = module.feature_map(items)
    assert feature_map.ndim == 4
    assert feature_map[0, 0].numel() < items[0, 0].numel()
    assert torch.equal(module.pool(feature_map), module.embed(items))
    assert torch.equal(module.logits(module.pool(feature_map)), module(items))


@pytest.mark.parametrize(("module", "shape"), SMALL, ids=lambda value: type(value).__name__)
def test_first_filters_are_those_that_see_the_image(module: ImageClassifier, shape: tuple[int, ...]) -> None:
    filters = module.first_filters()
    assert filters.shape[1] == shape[0]
    assert not filters.requires_grad
    seen = []
    hooks = [
        layer.register_forward_hook(lambda layer, *_: seen.append(layer))
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    module.eval()(torch.randn(2, *shape))
    for hook in hooks:
        hook.remove()
    assert torch.equal(seen[0].weight, filters)


def test_first_filters_of_a_unet_are_not_its_last_layer() -> None:
    assert UNet(n_classes=2, n_channels=5, width=4).first_filters().shape == (4, 5, 3, 3)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "unet"])
def test_dropout_is_of_the_last_layer_and_of_training(name: str) -> None:
    parameters = {"n_classes": 3, **EVERY[name]} | {"dropout": 0.5}
    module = architecture(name).outline(parameters)
    drawn = [layer.p for layer in module.modules() if isinstance(layer, torch.nn.Dropout)]
    assert drawn
    assert set(drawn) == {0.5}
    plain = architecture(name).outline(EVERY[name])
    assert list(plain.state_dict()) == list(module.state_dict())


def test_dropout_drops_features_before_they_are_judged() -> None:
    module = ImageResNet(n_classes=2, dropout=0.5)
    torch.nn.init.ones_(module.head.weight)
    torch.nn.init.zeros_(module.head.bias)
    ones = torch.ones(500, module.n_features)
    assert torch.equal(module.eval().logits(ones), torch.full((500, 2), float(module.n_features)))
    sums = module.train().logits(ones)[:, 0]
    assert sums.mean().item() == pytest.approx(module.n_features, rel=0.05)
    assert sums.std().item() == pytest.approx(module.n_features**0.5, rel=0.15)  # binomial, doubled
    with pytest.raises(ParameterError, match="dropout"):
        ImageResNet(n_classes=2, dropout=1.0)


def test_no_dropout_draws_no_random_numbers() -> None:
    module = ImageResNet(n_classes=2).train()
    before = torch.get_rng_state()
    module(torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("network", "depth"), [(ResNet, 20), (DenseNet, 18), (VGG, 11)])
def test_networks_of_other_depths(network: type[ImageClassifier], depth: int) -> None:
    with pytest.raises(ParameterError, match=f"got {depth}"):
        network(depth, n_classes=2)


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
