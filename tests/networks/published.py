"""Networks that others publish weights for, and how others write the names of weights."""

from __future__ import annotations

import re

import torch

from pycroclass.networks import Classifier, architecture

PARAMETERS = {  # as torchvision's own documentation states them
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
}

State = dict[str, torch.Tensor]


def outline(name: str, **parameters: int) -> Classifier:
    return architecture(name).outline({"n_classes": 1000, **parameters})


def as_old_densenet(state: State) -> State:
    """torchvision before 0.3."""
    return {re.sub(r"(denselayer\d+\.)(norm|conv)([12])", r"\1\2.\3", name): tensor for name, tensor in state.items()}


def as_monai_densenet(state: State) -> State:
    names = {name: re.sub(r"(denselayer\d+\.)", r"\1layers.", name).replace("classifier.", "class_layers.out.") for name in state}
    return {names[name]: tensor for name, tensor in state.items()}


def as_timm_vgg(state: State) -> State:
    """Hidden layers are convolutions over 7 x 7 and 1 x 1 positions."""
    renamed = {}
    for name, tensor in state.items():
        name = (
            name.replace("classifier.0.", "pre_logits.fc1.")
            .replace("classifier.3.", "pre_logits.fc2.")
            .replace("classifier.6.", "head.fc.")
        )
        if name == "pre_logits.fc1.weight":
            tensor = tensor.unflatten(1, (-1, 7, 7))
        if name == "pre_logits.fc2.weight":
            tensor = tensor[..., None, None]
        renamed[name] = tensor
    return renamed


def as_transformers_resnet(state: State) -> State:
    renamed = {}
    for name, tensor in state.items():
        if match := re.match(r"layer(\d)\.(\d+)\.(.+)", name):
            inner = re.sub(r"^conv(\d)", lambda m: f"layer.{int(m[1]) - 1}.convolution", match[3])
            inner = re.sub(r"^bn(\d)", lambda m: f"layer.{int(m[1]) - 1}.normalization", inner)
            inner = inner.replace("downsample.0", "shortcut.convolution").replace("downsample.1", "shortcut.normalization")
            name = f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.{inner}"
        name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
        name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
        renamed[re.sub(r"^fc\.", "classifier.1.", name)] = tensor
    return renamed


def as_encoder(state: State) -> State:
    """Of segmentation-models-pytorch: without the last layer, beside a decoder."""
    kept = {f"encoder.{name}": tensor for name, tensor in state.items() if not name.startswith(("fc.", "classifier."))}
    return {**kept, "decoder.blocks.0.conv1.0.weight": torch.zeros(4, 4, 3, 3), "segmentation_head.0.bias": torch.zeros(1)}


def in_parallel(state: State) -> State:
    """Only the features ran on several GPUs."""
    return {name.replace("features.", "features.module."): tensor for name, tensor in state.items()}


def behind(prefix: str) -> object:
    return lambda state: {f"{prefix}{name}": tensor for name, tensor in state.items()}


def with_last_layer(other: str, own: str = "fc") -> object:
    return lambda state: {re.sub(rf"^{own}\.", f"{other}.", name): tensor for name, tensor in state.items()}
