"""Which items are shown, and that their pictures are theirs."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from classified import CLASSES, bundle, images, predictions
from PIL import Image

from pycroclass.errors import DataError
from pycroclass.evaluation import Predictions
from pycroclass.per_item import take
from pycroclass.provenance import Provenance
from pycroclass.reporting.montage import KINDS, choose, montage, numbers_in
from pycroclass.reporting.pixels import sized, stretched
from pycroclass.sid import unwrap, wrap


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))), float)


def test_every_item_is_shown_once_and_under_its_true_class() -> None:
    seen = predictions()
    for n_each in (1, 4, 100):
        chosen = choose(seen, n_each)
        numbers = np.concatenate([found for kinds in chosen.values() for found in kinds.values()])
        assert len(set(numbers.tolist())) == len(numbers)
        for c, name in enumerate(CLASSES):
            kinds = chosen[name]
            assert all((seen.labels[found] == c).all() and len(found) <= n_each for found in kinds.values())
            assert (seen.label[kinds["wrong"]] != c).all()
            assert (seen.label[kinds["right"]] == c).all()
            assert (np.diff(seen.confidence[kinds["wrong"]]) <= 0).all()
            assert (np.diff(seen.confidence[kinds["uncertain"]]) >= 0).all()


def test_items_left_uncertain_come_first_among_the_uncertain() -> None:
    probability = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.99, 0.01]]
    seen = Predictions(probability, [0, 0, 0, 0], ("a", "b"), decided=[2, 0, 0, 0])
    chosen = choose(seen, 2)["a"]
    assert {kind: found.tolist() for kind, found in chosen.items()} == {"wrong": [], "uncertain": [0, 2], "right": [3, 1]}


def test_a_class_without_items_shows_nothing() -> None:
    chosen = choose(Predictions([[0.9, 0.1]], [0], ("a", "b")), 3)
    assert all(len(found) == 0 for found in chosen["b"].values())


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_tiles_hold_the_item_they_name(n_channels: int) -> None:
    walls = montage(predictions(), images(n_channels=n_channels), bundle(n_channels=n_channels), n_each=2)
    assert tuple(walls["crystal"]) == KINDS
    for name, column, row in (("crystal", slice(16, 26), slice(6, 14)), ("other", slice(1, 5), slice(0, 32))):  # after the crop to 32
        for tiles in walls[name].values():
            for tile in tiles:
                shown = pixels(tile.picture).mean(2)
                mask = np.zeros((32, 32), bool)
                mask[row, column] = True
                mask = mask.repeat(len(shown) // 32, 0).repeat(len(shown) // 32, 1)
                assert shown[mask].mean() > shown[~mask].mean() + 60
                assert pixels(tile.evidence).shape == pixels(tile.picture).shape
                assert tile.truth == name
                assert tile.group.startswith("plate")


def test_only_shown_items_are_computed() -> None:
    array, spec = unwrap(images())
    computed = []

    def watch(block: np.ndarray) -> np.ndarray:
        computed.append(len(block))
        return block

    watched = array.rechunk((1, -1, -1)).map_blocks(watch, dtype=array.dtype, meta=np.empty((0, 0, 0), array.dtype))
    walls = montage(predictions(), wrap(watched, spec, provenance=Provenance("given", {})), bundle(), n_each=1)
    assert len(computed) == sum(len(tiles) for kinds in walls.values() for tiles in kinds.values()) <= 9


def test_peaks_of_one_pixel_stay_to_be_seen() -> None:
    image = np.zeros((400, 300))
    image[211, 107] = 1
    assert sized(image, has_peaks=True).max() == 1
    assert sized(image).max() == pytest.approx(1 / 9)  # 400 pixels become 133
    assert sized(image).shape == (133, 100)
    np.testing.assert_array_equal(sized(np.eye(2)), np.kron(np.eye(2), np.ones((72, 72))))


def test_colour_images_of_bytes_are_shown_as_they_are() -> None:
    image = np.random.default_rng(0).integers(60, 90, (5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(stretched(image), image / 255)
    grey = stretched(image[..., 0])
    assert (grey.shape, grey.min(), grey.max()) == ((5, 6, 3), 0, 1)


def test_items_are_found_by_number_by_label_or_by_name() -> None:
    data, seen = images(), predictions()
    assert numbers_in(seen, data).tolist() == list(range(90))
    assert numbers_in(replace(seen, names=None), data).tolist() == list(range(90))
    data.metadata["labels"] = [-1, *data.metadata["labels"][1:]]
    assert numbers_in(replace(seen.take(np.arange(1, 90)), names=None), data).tolist() == list(range(1, 90))
    assert numbers_in(seen.take(np.array([5, 3])), data).tolist() == [5, 3]
    with pytest.raises(DataError, match="which is which cannot be told"):
        numbers_in(seen, take(data, np.arange(30)))


def test_items_of_other_classes_are_not_those_that_were_evaluated() -> None:
    data, backwards = images(), predictions().take(np.arange(90)[::-1])
    assert numbers_in(backwards, data).tolist() == list(range(90))[::-1]
    with pytest.raises(DataError, match="other classes"):
        numbers_in(replace(backwards, names=None), data)
