"""Features of a stack: those of the network or the formula that was asked for, whatever the chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from collections_of_images import pictures, stack
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import pycroclass as pc
from pycroclass.embedding import backbone, embed
from pycroclass.errors import AxisError, BundleError, ParameterError
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import ImageResNet, ResNet

IMAGES, _ = pictures(24)


@pytest.fixture(scope="module")
def module() -> ImageResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ImageResNet(n_classes=2).eval()


@pytest.fixture(scope="module")
def bundle(module: ImageResNet) -> pc.Bundle:
    axes = (ItemAxis("channel", 1, "channel"), ItemAxis("y", kind="spatial"), ItemAxis("x", kind="spatial"))
    classify = pc.Classify("resnet_small", {"n_classes": 2}, module.state_dict(), classes=("a", "b"))
    return pc.Bundle(pc.ZScore() | classify, ItemSpec("image", axes), ("a", "b"), licence="MIT")


def test_of_a_bundle_what_its_network_knows(bundle: pc.Bundle, module: ImageResNet, tmp_path: Path) -> None:
    scaled = (IMAGES - IMAGES.mean((1, 2), keepdims=True)) / IMAGES.std((1, 2), keepdims=True)
    with torch.inference_mode():
        wanted = module.embed(torch.from_numpy(scaled)[:, None]).numpy()
    path = bundle.save(tmp_path / "ab.safetensors")
    for by in (bundle, path, str(path), bundle.pipeline):
        found = embed(stack(IMAGES), by)
        assert found.shape == (24, module.n_features)
        np.testing.assert_allclose(found.compute(), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_of_a_bundle_for_other_data(bundle: pc.Bundle) -> None:
    with pytest.raises(BundleError, match="made for other data"):
        embed(stack(np.zeros((3, 16, 16, 3), np.uint8)), bundle)


def test_backbone_is_the_network_without_its_last_layer() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet(18, n_classes=1000, n_channels=1).eval()
    with torch.inference_mode():
        wanted = network.embed(torch.from_numpy(IMAGES[:4])[:, None]).numpy()
    found = embed(stack(IMAGES[:4]), backbone(network.state_dict(), "resnet18")).compute()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_backbone_that_lacks_a_layer_is_refused() -> None:
    weights = ResNet(18, n_classes=1000).state_dict()
    name = next(name for name in weights if name.startswith("layer4") and name.endswith("conv2.weight"))
    with pytest.raises(ParameterError, match="lacks weights of resnet18: layer4"):
        backbone({key: value for key, value in weights.items() if key != name}, "resnet18")


def test_patches_equal_scikit_learn_on_all_of_them() -> None:
    size, step, n = 8, 4, 5
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES, (size, size), axis=(1, 2))[:, ::step, ::step]
    reference = PCA(n).fit(windows.reshape(-1, size**2).astype(np.float64))
    scores = reference.transform(windows.reshape(-1, size**2)).reshape(*windows.shape[:3], n)
    wanted = np.sqrt((scores**2).mean((1, 2)))
    found = embed(stack(IMAGES, chunk=7), pc.PatchPCA(n, n_cells=1)).compute()
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert embed(stack(IMAGES), "patches").shape == (24, 64)


@settings(max_examples=6)
@given(chunk=st.integers(1, 24), by=st.sampled_from(["classical", "patches"]))
def test_chunks_do_not_matter(chunk: int, by: str) -> None:
    found, wanted = (np.asarray(embed(stack(IMAGES, chunk=c), by).compute()) for c in (chunk, 24))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_colours_are_seen() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 1)).astype(np.uint8)
    red = np.concatenate([grey, grey // 2, grey // 4], 3)
    found = np.asarray(embed(stack(red), "quantiles").compute())
    assert found.shape == (4, 21)
    np.testing.assert_allclose(found[:, 7:14], found[:, :7] / 2, atol=1)


@pytest.mark.parametrize("by", ["sift", 3])
def test_what_is_not_understood(by: object) -> None:
    with pytest.raises(ParameterError, match="by must be one of classical, quantiles, radial, lbp, hog, patches"):
        embed(stack(IMAGES), by)  # type: ignore[arg-type]  # what the test is about


def test_one_row_for_each_image_is_wanted() -> None:
    with pytest.raises(AxisError, match=r"wanted one row of numbers for each item of a stack"):
        embed(stack(IMAGES), pc.ZScore())
    with pytest.raises(AxisError, match="hold no patch"):
        embed(stack(IMAGES[:, :6, :6]), "patches")
