"""Features of images: each against what another wrote, or against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog

from pycroclass.errors import ParameterError
from pycroclass.operators import ImageFeatures
from pycroclass.operators.image_features import FEATURES, binary_patterns, oriented_gradients, quantiles, radial_means


def test_local_binary_patterns_equal_their_plain_twin() -> None:
    image = np.random.default_rng(0).integers(0, 9, (1, 12, 15)).astype(np.float32)
    padded = np.pad(image[0], 1, mode="edge")
    found = binary_patterns(torch.from_numpy(image)[:, None]).numpy()[0]
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    counts = np.zeros(10)
    for row in range(12):
        for column in range(15):
            bits = [padded[row + 1 + dy, column + 1 + dx] >= image[0, row, column] for dy, dx in ring]
            n_changes = sum(bits[i] != bits[i - 1] for i in range(8))
            counts[sum(bits) if n_changes <= 2 else 9] += 1
    np.testing.assert_allclose(found, counts / counts.sum(), rtol=1e-6)
    assert binary_patterns(torch.zeros(1, 1, 12, 15)).numpy()[0].tolist() == [0.0] * 8 + [1.0, 0.0]


def test_oriented_gradients_agree_with_scikit_image() -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)
    images = np.stack([np.sin(0.3 * x), np.sin(0.3 * y), np.sin(0.2 * (x + y)), np.hypot(y - 32, x - 32)])
    ours = oriented_gradients(torch.from_numpy(images)[:, None]).numpy().reshape(4, 9, 8, 8)
    for image, mine in zip(images, ours, strict=True):
        theirs = hog(image, pixels_per_cell=(8, 8), cells_per_block=(1, 1), feature_vector=False, block_norm="L2")[:, :, 0, 0]
        inner = (slice(1, 7), slice(1, 7))
        np.testing.assert_array_equal(mine.transpose(1, 2, 0)[inner].argmax(-1) % 9, theirs[inner].argmax(-1) % 9)


def test_radial_profile_of_a_ring() -> None:
    y, x = np.mgrid[:61, :61] - 30.0
    radius = np.hypot(y, x)
    profile = radial_means(torch.from_numpy(((radius > 14) & (radius < 16)).astype(np.float32))[None, None]).numpy()[0]
    assert profile.argmax() == pytest.approx(15 / np.hypot(30, 30) * 24, abs=1)
    constant = radial_means(torch.full((1, 1, 9, 14), 3.0)).numpy()[0]
    assert set(constant.round(5)) <= {0.0, 3.0}


def test_quantiles_equal_those_of_numpy() -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 9, 14)).astype(np.float32)
    wanted = np.quantile(images.reshape(3, 2, -1), (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99), axis=2).transpose(1, 2, 0)
    np.testing.assert_allclose(quantiles(torch.from_numpy(images)).numpy(), wanted.reshape(3, -1), rtol=1e-5, atol=1e-6)


def test_an_image_that_is_not_finite_spoils_itself_alone() -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    broken = images.clone()
    broken[1, 0, 3, 4] = torch.nan
    found, wanted = ImageFeatures().transform(broken), ImageFeatures().transform(images)
    assert torch.isnan(found[1]).all()
    torch.testing.assert_close(found[[0, 2]], wanted[[0, 2]], rtol=0, atol=0)


def test_kinds_come_in_the_order_asked_for() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = ImageFeatures(("lbp", "quantiles")).transform(images)
    torch.testing.assert_close(found, torch.cat([binary_patterns(images), quantiles(images)], 1))


def test_standardised_kinds_can_weigh_alike() -> None:
    features = ImageFeatures(("lbp", "quantiles", "hog"))
    rows = np.random.default_rng(0).normal(size=(50, 10 + 21 + 576))
    weighed = (rows - rows.mean(0)) / rows.std(0) * features.equal_weights(rows.shape[1])
    totals = [part.var(0).sum() for part in np.split(weighed, (10, 31), axis=1)]
    np.testing.assert_allclose(totals, 1)
    with pytest.raises(ParameterError, match="no 600 features"):
        ImageFeatures(("lbp", "hog")).equal_weights(600)


@pytest.mark.parametrize("kinds", [(), ("hog", "hog"), ("sift",)])
def test_what_cannot_be_asked_for(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError, match=", ".join(FEATURES)):
        ImageFeatures(kinds)
