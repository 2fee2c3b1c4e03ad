"""Maps of neighbours: each sampled item at its own place, every other among its neighbours, and neighbours kept together."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, run_plain, spectra_spec
from sklearn.datasets import load_digits, make_blobs
from sklearn.manifold import trustworthiness

from pycroclass.errors import AxisError, DataError, MissingDependencyError, ParameterError
from pycroclass.estimators import TSNE, UMAP, PlaceAmongNeighbours
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis

BLOBS, _ = make_blobs(150, 6, centers=4, cluster_std=1.5, random_state=0)
BLOBS = BLOBS.astype(np.float32)


def franke_nielson(row: np.ndarray, known: np.ndarray, places: np.ndarray, k: int = 8) -> np.ndarray:
    """The definition, one item at a time."""
    distance = np.linalg.norm(known - row, axis=1)
    order = np.argsort(distance)
    radius = distance[order[k]]
    near = order[:k]
    weight = ((radius - distance[near]) / (radius * distance[near])) ** 2
    return np.asarray((weight[:, None] * places[near]).sum(0) / weight.sum())


def test_places_of_others_equal_the_definition() -> None:
    rng = np.random.default_rng(0)
    known, places, others = (rng.normal(size=(n, d)).astype(np.float32) for n, d in ((40, 3), (40, 2), (10, 3)))
    place = PlaceAmongNeighbours(known, places, (Axis("feature", 3),))
    wanted = [franke_nielson(row, known.astype(float), places) for row in others.astype(float)]
    np.testing.assert_allclose(run_plain(place, others), wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=10)
@given(offset=st.sampled_from([0.0, 1e3]), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_those_on_the_map_keep_their_places(offset: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    known, places = (scale * rng.normal(size=(40, 5)) + offset * scale).astype(np.float32), rng.normal(size=(40, 2)).astype(np.float32)
    place = PlaceAmongNeighbours(known, places, (Axis("feature", 5),))
    np.testing.assert_allclose(run_plain(place, known), places, atol=1e-4)


def test_items_that_are_all_the_same_or_not_finite() -> None:
    place = PlaceAmongNeighbours(np.zeros((9, 2)), np.arange(18.0).reshape(9, 2), (Axis("feature", 2),))
    found = run_plain(place, np.array([[0, 0], [1, 0], [np.nan, 0], [np.inf, 0]], np.float32))
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).all()


def test_neighbours_stay_together() -> None:
    fitted = TSNE(seed=0).fit(PlainData(BLOBS, [40]), spectra_spec(BLOBS))
    assert fitted.places.shape == (150, 2)
    assert trustworthiness(BLOBS, run_plain(fitted, BLOBS), n_neighbors=10) > 0.93


def test_same_seed_same_map_whatever_the_blocks() -> None:
    maps = [TSNE(seed=3, n_sampled=100, max_iterations=300).fit(PlainData(BLOBS, cuts), spectra_spec(BLOBS)) for cuts in ([], [20, 90])]
    np.testing.assert_array_equal(maps[0].items.values, maps[1].items.values)
    np.testing.assert_array_equal(maps[0].places.values, maps[1].places.values)
    assert maps[0].items.shape == (100, 6)
    steps, arrays = to_dict(maps[0])
    (back,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert back == maps[0]


def test_few_items_lower_the_perplexity() -> None:
    few = BLOBS[:6]
    assert TSNE().fit(PlainData(few), spectra_spec(few)).places.shape == (6, 2)
    with pytest.raises(DataError, match="at least 4 items, got 3"):
        TSNE().fit(PlainData(BLOBS[:3]), spectra_spec(BLOBS[:3]))


def test_what_cannot_be() -> None:
    with pytest.raises(ParameterError, match="perplexity must be a number of at least 1"):
        TSNE(perplexity=0.0)
    with pytest.raises(ParameterError, match="max_iterations must be at least 250"):
        TSNE(max_iterations=3)
    with pytest.raises(ParameterError, match="min_dist must be from 0 to 1"):
        UMAP(min_dist=-1)
    with pytest.raises(ParameterError, match="a place for each"):
        PlaceAmongNeighbours(np.zeros((4, 2)), np.zeros((3, 2)), (Axis("feature", 2),))
    place = PlaceAmongNeighbours(np.eye(2), np.eye(2), (Axis("feature", 2),))
    with pytest.raises(AxisError, match="fitted on items of shape"):
        place.output(spectra_spec(np.zeros((4, 3), np.float32)))
    with pytest.raises(DataError, match="NaN or inf"):
        TSNE().fit(PlainData(np.where(BLOBS > 5, np.nan, BLOBS)), spectra_spec(BLOBS))


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pycroclass\[umap\]'"):
        UMAP().fit(PlainData(BLOBS), spectra_spec(BLOBS))


@pytest.mark.slow
def test_umap_keeps_neighbours_together() -> None:
    pytest.importorskip("umap")
    digits = (load_digits().data[:600] / 16).astype(np.float32)
    fits = [UMAP(seed=1).fit(PlainData(digits, cuts), spectra_spec(digits)) for cuts in ([], [200])]
    np.testing.assert_array_equal(fits[0].places.values, fits[1].places.values)
    assert trustworthiness(digits, fits[0].places.values, n_neighbors=5) > 0.95
    with pytest.raises(ParameterError, match="is more than the 64"):
        UMAP(65).fit(PlainData(digits), spectra_spec(digits))
