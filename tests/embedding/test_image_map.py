"""A collection in one call: kinds that differ are told apart, and what comes out can be named, learned from and computed again."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from collections_of_images import KINDS, pictures, stack
from sklearn.metrics import pairwise_distances

import pycroclass as pc
from pycroclass.embedding import ImageMap, cluster_agreement, map_images, name_clusters
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.replay import Verdict

IMAGES, KIND = pictures()


@pytest.fixture(scope="module")
def found() -> ImageMap:
    return map_images(stack(IMAGES), clustering=pc.KMeans(3, seed=0), layout=pc.TSNE(max_iterations=250))


def test_kinds_are_told_apart(found: ImageMap) -> None:
    assert cluster_agreement(found.label, KIND).ami == 1
    assert found.sizes == {0: 30, 1: 30, 2: 30}
    assert found.features.shape == (90, 617)
    assert found.scores.shape == (90, 50)
    assert found.places.shape == (90, 2)
    assert np.isfinite(found.coordinates).all()


def test_other_images_are_sorted_into_the_same_clusters(found: ImageMap) -> None:
    others, kind = pictures(30, seed=1)
    name = dict(zip(KIND[:3].tolist(), found.labels[:3].tolist()))
    assert found.sorter(stack(others)).compute().tolist() == [name[k] for k in kind.tolist()]


def test_margin_equals_its_definition(found: ImageMap) -> None:
    rows = np.asarray(found.scores.compute(), np.float64)
    distances = pairwise_distances(rows, [rows[found.labels == k].mean(0) for k in range(3)])
    own = distances[np.arange(90), found.labels]
    other = np.where(np.arange(3) == found.labels[:, None], np.inf, distances).min(1)
    np.testing.assert_allclose(found.margin, (other - own) / np.maximum(own, other))
    members = found.members(1, 4)
    items = np.flatnonzero(found.labels == 1)
    assert members["typical"].tolist() == items[np.argsort(own[items])][:4].tolist()
    assert members["outlying"][0] == items[own[items].argmax()] or own[items].argmax() in np.searchsorted(items, members["border"])
    shown = np.concatenate(list(members.values()))
    assert len(set(shown.tolist())) == len(shown) == 12
    assert set(found.labels[shown]) == {1}
    with pytest.raises(ParameterError, match="cluster 7 has no item; there are 0, 1, 2"):
        found.members(7)


@pytest.mark.parametrize("chunk", [7, 90])
def test_chunks_do_not_matter(found: ImageMap, chunk: int) -> None:
    again = map_images(stack(IMAGES, chunk), clustering=pc.KMeans(3, seed=0), layout=pc.PCA(2))
    np.testing.assert_array_equal(again.labels, found.labels)


def test_any_reduction_and_layout_will_do() -> None:
    found = map_images(stack(IMAGES), "hog", reduction=pc.PCA(4), clustering=pc.KMeans(2, seed=0), layout=pc.PCA(2))
    assert found.scores.shape == (90, 4)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(np.asarray(found.scores.compute())[:, :2]), atol=1e-4)
    with pytest.raises(ParameterError, match=r"two coordinates for each item, got the shape \(90, 3\)"):
        map_images(stack(IMAGES), "hog", layout=pc.PCA(3))
    with pytest.raises(ParameterError, match="one whole number for each item"):
        map_images(stack(IMAGES), "hog", clustering=pc.PCA(3), layout=pc.PCA(2))


def test_an_image_with_nan_is_an_error_or_has_no_cluster() -> None:
    broken = IMAGES.copy()
    broken[4, 3, 3] = np.nan
    with pytest.raises(DataError, match="hold NaN or inf"):
        map_images(stack(broken), "hog")
    found = map_images(stack(broken), "hog", clustering=pc.KMeans(3, seed=0), layout=pc.TSNE(max_iterations=250), nonfinite="mask")
    assert np.flatnonzero(found.labels < 0).tolist() == [4]
    assert np.flatnonzero(np.isnan(found.margin)).tolist() == [4]
    assert np.flatnonzero(np.isnan(found.coordinates).any(1)).tolist() == [4]
    assert 4 not in np.concatenate([items for number in found.sizes for items in found.members(number).values()])
    assert sum(found.sizes.values()) == 89


def test_clusters_with_names_are_labels_to_learn_from(found: ImageMap) -> None:
    of_kind = {name: int(found.labels[i]) for i, name in enumerate(KINDS)}
    images = stack(IMAGES, files=[f"{i}.png" for i in range(90)])
    named = name_clusters(images, found.label, {of_kind["spot"]: "spot", of_kind["stripes"]: "stripes"})
    assert named.metadata["classes"] == ["spot", "stripes"]
    assert named.metadata["labels"][:4] == [1, 0, -1, 1]
    assert named.metadata["files"] == images.metadata["files"]
    together = name_clusters(images, found.label, {of_kind["spot"]: "thing", of_kind["stripes"]: "thing", of_kind["noise"]: "nothing"})
    assert np.bincount(together.metadata["labels"]).tolist() == [60, 30]
    bundle = pc.train(named, pc.NetworkClassifier(epochs=1, seed=0))
    assert bundle.classes == ("spot", "stripes")


def test_names_that_cannot_be(found: ImageMap) -> None:
    with pytest.raises(ParameterError, match=r"the clusters \[5\] have no item; there are \[0, 1, 2\]"):
        name_clusters(stack(IMAGES), found.label, {5: "spot"})
    with pytest.raises(ParameterError, match="wanted names"):
        name_clusters(stack(IMAGES), found.label, {0: ""})
    with pytest.raises(AxisError, match="one label for each of 3 items"):
        name_clusters(stack(IMAGES[:3]), found.label, {0: "spot"})


def test_what_is_written_can_be_computed_again(tmp_path: Path) -> None:
    for i, image in enumerate(IMAGES[:24]):
        imageio.imwrite(tmp_path / f"{i:02}.png", (60 * (image - image.min()) / np.ptp(image)).astype(np.uint8))
    images = pc.read(sorted(tmp_path.glob("*.png")))["image"]
    found = map_images(images, clustering=pc.KMeans(3, seed=0), layout=pc.TSNE(max_iterations=250))
    pc.write({"features": found.features, "label": found.label, "places": found.places}, tmp_path / "map.h5")
    assert {one.verdict for one in pc.replay(tmp_path / "map.h5")} <= {Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE}


def test_items_must_lie_in_a_stack() -> None:
    with pytest.raises(AxisError, match="wanted one row of numbers"):
        map_images(stack(IMAGES), pc.ZScore())
