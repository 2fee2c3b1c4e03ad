from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from pycroclass.errors import ParameterError
from pycroclass.per_item import take
from pycroclass.simulate import Microscope, Site, draw_site, simulate_drop, simulate_drops
from pycroclass.simulate.drop_contents import Outline, add_cap, draw_crystals, draw_drop, draw_precipitate
from pycroclass.simulate.drop_optics import Scene, _binned, grid_of, photograph, transmitted
from pycroclass.simulate.drop_parameters import CLASSES, draw_plate

SMALL = Microscope(shape=(61, 83), pixel_size=21e-6)


@pytest.fixture
def site() -> Site:
    return draw_site(seed=11, microscope=SMALL)


def only(site: Site, name: str) -> Site:
    return replace(site, prior=tuple(float(name == each) for each in CLASSES))


def test_a_drop_follows_from_site_plate_and_well(site: Site) -> None:
    first = [simulate_drop(site, 0, 5), simulate_drop(site, 1, 3)]
    grid_of.cache_clear()
    again = [simulate_drop(pickle.loads(pickle.dumps(site)), plate, well) for plate, well in ((1, 3), (0, 5))][::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.label == b.label
    others = [simulate_drop(site, 0, 6), simulate_drop(site, 1, 5), simulate_drop(replace(site, seed=12), 0, 5)]
    assert not any(np.array_equal(first[0].image, other.image) for other in others)


def test_drops_do_not_depend_on_chunks(site: Site) -> None:
    image = simulate_drops([site, draw_site(seed=2, microscope=SMALL)], n_plates=2, n_wells=3)["image"]
    whole = image.compute()
    np.testing.assert_array_equal(np.asarray(image[2:5, 10:20, :, 1]), whole[2:5, 10:20, :, 1])
    np.testing.assert_array_equal(np.asarray(image).reshape(12, -1)[4], simulate_drop(site, 1, 1).image.ravel())
    assert (whole.dtype, whole.shape) == (np.uint8, (12, 61, 83, 3))


def test_drops_can_be_taken(site: Site) -> None:
    image = simulate_drops(site, n_plates=3, n_wells=4)["image"]
    some = take(image, [9, 1, 4])
    np.testing.assert_array_equal(some.compute(), image.compute()[[9, 1, 4]])
    assert some.metadata["items"]["plate"] == ["site 11, plate 3", "site 11, plate 1", "site 11, plate 2"]
    assert some.metadata["labels"] == [image.metadata["labels"][i] for i in (9, 1, 4)]


def test_labels_and_columns_say_what_and_where_each_drop_is(site: Site) -> None:
    other = draw_site(seed=2, microscope=SMALL)
    datasets = simulate_drops([site, other], n_plates=3, n_wells=14)
    truth = [CLASSES.index(simulate_drop(one, plate, well).label) for one in (site, other) for plate in range(3) for well in range(14)]
    metadata = datasets["image"].metadata
    assert datasets["label"].compute().tolist() == metadata["labels"] == truth
    assert datasets["label"].metadata["classes"] == metadata["classes"] == list(CLASSES)
    assert metadata["items"]["site"] == ["site 11"] * 42 + ["site 2"] * 42
    assert metadata["items"]["plate"][13:15] == ["site 11, plate 1", "site 11, plate 2"]
    assert metadata["items"]["well"][:14] == [f"A{column}" for column in range(1, 13)] + ["B1", "B2"]


def test_classes_occur_as_often_as_the_site_says() -> None:
    site = replace(draw_site(seed=3), prior=(5, 1, 0, 2))
    share = np.bincount(simulate_drops(site, n_plates=10, n_wells=400)["image"].metadata["labels"], minlength=4) / 4000
    np.testing.assert_allclose(share, [5 / 8, 1 / 8, 0, 2 / 8], atol=3 * math.sqrt(0.25 / 4000))


@pytest.mark.parametrize(("slope", "tilt"), [(0.1, 0.0), (0.1, 0.06), (-0.1, 0.06), (0.0, 0.06)])
def test_light_through_a_wedge(slope: float, tilt: float) -> None:
    """A wedge bends all light by one angle; through a Gaussian aperture comes exp(-(g + t)² / 2 σ²), relative to no wedge."""
    scene = Scene.empty(grid_of(SMALL))
    scene.path += slope * scene.grid.x
    expected = math.exp(-((slope + tilt) ** 2 - tilt**2) / (2 * 0.14**2))
    np.testing.assert_allclose(transmitted(scene, (0.0, tilt), 0.14, 1e-4), expected, rtol=1e-3)


def test_a_lens_gathers_light_out_of_focus() -> None:
    """The path a (x² + y²) / 2 has the curvature 2 a: a beam is 1 - 2 a z as bright behind it, to first order."""
    scene, a, z = Scene.empty(grid_of(SMALL)), -400.0, 1e-4
    scene.path += np.float32(a / 2) * (scene.grid.y**2 + scene.grid.x**2)
    middle = transmitted(scene, (0.0, 0.0), 1e3, z)[5:-5, 5:-5]
    np.testing.assert_allclose(middle, 1 - 2 * a * z, rtol=2e-3)


def test_a_drop_is_a_spherical_cap(site: Site) -> None:
    """Its height is R tan(θ / 2), its volume π h (3 R² + h²) / 6."""
    fine = replace(site, microscope=Microscope(shape=(256, 256), pixel_size=5e-6))
    scene, angle, radius = Scene.empty(grid_of(fine.microscope)), 0.5, 500e-6
    add_cap(scene, fine, draw_plate(fine, 0), Outline(0.0, 0.0, radius), angle)
    thickness = scene.path / (fine.media.solution - 1)
    height = radius * math.tan(angle / 2)
    np.testing.assert_allclose(thickness.max(), height, rtol=1e-3)
    np.testing.assert_allclose(thickness.sum() * scene.grid.step**2, math.pi * height * (3 * radius**2 + height**2) / 6, rtol=1e-3)


def test_crystals_are_flat_faced_and_lie_in_the_drop(site: Site) -> None:
    plate = replace(draw_plate(site, 0), aspect=2.0, crystal_size=200e-6, radius=500e-6)
    fine = replace(site, microscope=Microscope(shape=(256, 256), pixel_size=5e-6))
    scene = Scene.empty(grid_of(fine.microscope))
    rng = np.random.default_rng(5)
    well = draw_drop(scene, fine, plate, rng)
    before = scene.path.copy()
    draw_crystals(scene, well, rng)
    added = scene.path - before
    covered = added > 0
    assert 0.01 < covered.mean() < 0.3
    assert added.min() >= 0
    assert (well.outline.distance(scene.grid)[covered] < 1.05).all()
    slope = np.hypot(*np.gradient(added, scene.grid.step))[covered]
    curvature = np.abs(np.gradient(np.gradient(added, scene.grid.step, axis=1), scene.grid.step, axis=1))[covered]
    assert np.median(curvature) < 0.02 * np.median(slope[slope > 0]) / scene.grid.step  # planes: no curvature but at edges


def test_precipitate_takes_more_blue_than_red_and_more_the_stronger_it_is(site: Site) -> None:
    plain = replace(site, tint=(1.0, 1.0, 1.0), vignette=0.0)
    plate = draw_plate(plain, 0)
    scene = Scene.empty(grid_of(SMALL))
    rng = np.random.default_rng(1)
    well = draw_drop(scene, plain, plate, rng)
    clear = photograph(scene, plain, plate, rng)
    draw_precipitate(scene, well, rng)
    brown = photograph(scene, plain, plate, rng)
    inside = _binned(well.inside) > 0.99
    red, green, blue = (brown[inside].mean(0) / clear[inside].mean(0)).tolist()
    assert 1 > red > green > blue


def test_noise_is_that_of_photons() -> None:
    """Of brightness b, in units of the brightest, the variance is b / photons, beside that of rounding to 8 bits."""
    microscope = Microscope(shape=(32, 32), gamma=1.0, photons=1500.0)
    site = Site(seed=0, brightness=0.5, vignette=0.0, well_radius=1.0, microscope=microscope)
    plate = replace(draw_plate(site, 0), brightness=1.0)
    scene, rng = Scene.empty(grid_of(microscope)), np.random.default_rng(0)
    grey = np.stack([photograph(scene, site, plate, rng) for _ in range(50)]).astype(float) / 255
    np.testing.assert_allclose(grey.mean(), 0.5, rtol=2e-3)
    np.testing.assert_allclose(grey.var(0).mean(), 0.5 / 1500 + 1 / 255**2 / 12, rtol=2e-2)


def test_the_watermark_is_all_that_changes(site: Site) -> None:
    """The code of the class is written into the corner, as white digits of 3 x 5 points."""
    plain = only(site, "Crystals")
    before, after = (simulate_drop(one, 0, 1).image for one in (plain, replace(plain, watermark=(10, 27, 33, 48))))
    corner = after[2:7, 2:9]
    seven = np.array([[1, 1, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    assert (corner[:, 4:7][seven] == 255).all()
    changed = (before != after).any(2)
    changed[2:7, 2:9] = False
    assert not changed.any()
    np.testing.assert_array_equal(corner[:, 4:7][~seven], before[2:7, 6:9][~seven])


def test_what_lies_in_a_drop_is_seen() -> None:
    """Clear drops are smooth inside; in all others light changes from point to point."""

    def roughness(name: str, seed: int) -> float:
        image = simulate_drop(only(draw_site(seed), name), 0, seed).image.mean(2)[44:84, 44:84]
        return float(np.abs(np.diff(image, 2, axis=0)).mean() / image.mean())

    rough = {name: np.median([roughness(name, seed) for seed in range(12)]) for name in CLASSES}
    assert rough["Clear"] < 0.6 * min(rough["Crystals"], rough["Other"])
    assert rough["Precipitate"] > 1.5 * rough["Crystals"]


@pytest.mark.parametrize("changes", [{"prior": (1, 1, 1)}, {"prior": (-1, 1, 1, 1)}, {"watermark": (1, 2)}, {"watermark": (1, 2, 3, 100)}])
def test_impossible_sites_are_refused(changes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ParameterError, match=r"Clear.*Precipitate.*got"):
        replace(draw_site(seed=1), **changes)


def test_impossible_screens_are_refused(site: Site) -> None:
    with pytest.raises(ParameterError, match="at least one"):
        simulate_drops([], n_plates=1)
    with pytest.raises(ParameterError, match="at least one"):
        simulate_drops(site, n_wells=0)
    with pytest.raises(ParameterError, match="one size"):
        simulate_drops([site, draw_site(seed=1)])
    with pytest.raises(ParameterError, match="seed"):
        simulate_drops([site, site])
    with pytest.raises(ParameterError, match="16 x 16"):
        Microscope(shape=(8, 64))
