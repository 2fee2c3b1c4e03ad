"""Pictures of a collection: what they show is of the items and clusters that it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from collections_of_images import pictures, stack
from matplotlib.offsetbox import AnnotationBbox

import pycroclass as pc
from pycroclass.embedding import ImageMap, draw_map, draw_members, map_images
from pycroclass.embedding.figures import cluster_colours
from pycroclass.embedding.small_pictures import small_pictures

IMAGES, _ = pictures(45)


@pytest.fixture(scope="module")
def found() -> ImageMap:
    return map_images(stack(IMAGES), clustering=pc.KMeans(3, seed=0), layout=pc.TSNE(max_iterations=250))


def test_small_pictures_keep_their_shape_and_their_order() -> None:
    images = np.zeros((5, 40, 20), np.float32)
    for i in range(5):
        images[i, 8 * i : 8 * i + 8] = 1
    small = small_pictures(stack(images, chunk=2), [4, 0], 20)
    assert small.shape == (2, 20, 20, 3)
    assert (small[:, :, :5] == 255).all()  # beside an image twice as high as wide
    assert (small[:, :, 15:] == 255).all()
    assert small[0, 18, 10, 0] > 200 > 50 > small[0, 2, 10, 0]
    assert small[1, 2, 10, 0] > 200 > 50 > small[1, 18, 10, 0]


def test_colours_are_shown_as_they_are() -> None:
    images = np.full((2, 9, 9, 3), (200, 100, 50), np.uint8)
    np.testing.assert_array_equal(small_pictures(stack(images), [1], 30)[0, 15, 15], (200, 100, 50))


def test_map_has_each_item_and_pictures_apart(found: ImageMap) -> None:
    figure = draw_map(found, stack(IMAGES), n_pictures=9, names={1: "a <$cluster$>"})
    (axes,) = figure.axes
    points = [len(collection.get_offsets()) for collection in axes.collections]
    assert points == list(found.sizes.values())
    boxes = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
    assert 2 <= len(boxes) <= 9
    places = np.array([box.xyann for box in boxes])
    extent = np.ptp(found.coordinates, axis=0)
    apart = np.abs(places[:, None] - places) / extent
    assert (apart.max(2)[~np.eye(len(boxes), dtype=bool)] > 0.05).all()
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[1] == f"a <$cluster$> ({found.sizes[1]})"
    figure.canvas.draw()


def test_members_have_a_row_for_each_cluster(found: ImageMap) -> None:
    figure = draw_members(found, stack(IMAGES), n_each=3)
    shown = sum(len(axes.images) for axes in figure.axes)
    assert shown == sum(len(items) for number in found.sizes for items in found.members(number, 3).values())
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == ["typical", "border", "outlying"]
    figure.canvas.draw()


def test_items_without_a_cluster_are_grey_and_colours_do_not_run_out(found: ImageMap) -> None:
    assert len(set(cluster_colours(np.arange(20)).values())) == 20
    assert set(cluster_colours([-1, 3, 5])) == {3, 5}
    label = pc.Cast("int32")(found.label)
    noise = replace(found, label=label)
    noise.labels[:4] = -1
    axes = draw_map(noise, stack(IMAGES), n_pictures=2).axes[0]
    assert axes.get_legend().get_texts()[0].get_text() == "no cluster (4)"
