"""Weights find their place whatever their names, and never the wrong one."""

from __future__ import annotations

from collections.abc import Callable

import published
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published import State, behind, outline, with_last_layer

from pycroclass.networks import VGG, DenseNet, ImageResNet, ResNet, SpectrumResNet, UNet
from pycroclass.networks.key_names import fit

RESNET, DENSENET = ResNet(18, n_classes=7), DenseNet(121, n_classes=7)
WRITTEN: dict[str, tuple[torch.nn.Module, Callable[[State], State]]] = {
    "as they are": (RESNET, dict),
    "DataParallel": (RESNET, behind("module.")),
    "compiled, in parallel, in a wrapper": (RESNET, behind("_orig_mod.module.model.")),
    "encoder": (RESNET, behind("encoder.")),
    "two wrappers": (RESNET, behind("model.backbone.")),
    "features in parallel": (DENSENET, published.in_parallel),
    "old DenseNet": (DENSENET, published.as_old_densenet),
    "MONAI DenseNet": (DENSENET, published.as_monai_densenet),
    "transformers": (RESNET, published.as_transformers_resnet),
    "transformers, bottlenecks": (ResNet(50, n_classes=7), published.as_transformers_resnet),
    "timm VGG": (VGG(16, n_classes=7, n_hidden=12), published.as_timm_vgg),
    "timm VGG, normalised": (VGG(16, n_classes=7, n_hidden=12, batch_norm=True), published.as_timm_vgg),
    "Cadene": (RESNET, with_last_layer("last_linear")),
    "head": (DENSENET, with_last_layer("head", "classifier")),
    "own small one": (ImageResNet(n_classes=7), behind("module.")),
    "own for spectra": (SpectrumResNet(n_classes=7, length=50), behind("network.")),
    "own for pixels": (UNet(n_classes=7, width=4), behind("net.")),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_every_weight_is_found_however_it_is_written(way: str) -> None:
    module, write = WRITTEN[way]
    state = module.state_dict()
    found = fit(write(state), module)
    assert (found.matched, found.missing, found.unused) == (1.0, (), ())
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.items())


def test_an_encoder_comes_without_decoder_and_last_layer() -> None:
    found = fit(published.as_encoder(RESNET.state_dict()), RESNET)
    assert (found.matched, found.missing, found.unused) == (1.0, ("fc.weight", "fc.bias"), ())


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("resnet34", "resnet18"),  # each weight of the smaller one is there, with its shape
        ("resnet18", "resnet34"),
        ("resnet101", "resnet50"),
        ("resnet50", "resnet101"),
        ("densenet201", "densenet121"),
        ("densenet201", "densenet169"),
        ("vgg19", "vgg16"),
        ("vgg16", "vgg16_bn"),
        ("resnet18", "densenet121"),
    ],
)
def test_another_network_does_not_match(have: str, want: str) -> None:
    assert fit(outline(have).state_dict(), outline(want)).matched < 0.9


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_matched_counts_what_is_lost(data: st.DataObject) -> None:
    state = RESNET.state_dict()
    body = [name for name in state if not name.startswith("fc.") and not name.endswith("num_batches_tracked")]
    lost = data.draw(st.sets(st.sampled_from(body[1:]), max_size=20))
    order = data.draw(st.permutations([name for name in state if name not in lost]))
    found = fit({f"x.{name}": state[name] for name in order}, RESNET)
    assert found.matched == pytest.approx(1 - len(lost) / len(body), abs=1e-12)
    assert set(found.missing) == lost


def test_a_weight_of_another_shape_is_missing() -> None:
    state = {**RESNET.state_dict(), "layer1.0.bn1.weight": torch.ones(3)}
    found = fit(state, RESNET)
    assert (found.missing, found.unused) == (("layer1.0.bn1.weight",), ("layer1.0.bn1.weight",))
    assert 0.98 < found.matched < 1


def test_number_types_become_the_networks() -> None:
    state = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in RESNET.state_dict().items()}
    found = fit(state, RESNET)
    assert found.matched == 1
    assert {name: tensor.dtype for name, tensor in found.tensors.items()} == {k: v.dtype for k, v in RESNET.state_dict().items()}


def test_weights_without_counters_and_others_of_nothing() -> None:
    state = {name: tensor for name, tensor in RESNET.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert (fit(state, RESNET).matched, fit(state, RESNET).missing) == (1.0, ())
    assert fit({}, RESNET).matched == 0
    assert fit({"weight": torch.ones(2)}, RESNET).matched == 0


@pytest.mark.parametrize(("have", "want"), [(3, 1), (1, 3), (3, 2)])
def test_first_convolution_of_other_channels_answers_the_same_where_channels_are_alike(have: int, want: int) -> None:
    """Whole numbers, so that sums are exact."""
    source = ResNet(18, n_classes=2, n_channels=have)
    source.conv1.weight.data = torch.randint(-8, 9, source.conv1.weight.shape).float() * 6
    found = fit(source.state_dict(), ResNet(18, n_classes=2, n_channels=want))
    assert found.matched == 1
    grey = torch.randint(0, 256, (2, 1, 30, 41)).float()
    convolved = [
        torch.nn.functional.conv2d(grey.expand(-1, n, -1, -1).double(), weight.double(), stride=2, padding=3)
        for n, weight in ((have, source.conv1.weight), (want, found.tensors["conv1.weight"]))
    ]
    assert torch.equal(*convolved)
