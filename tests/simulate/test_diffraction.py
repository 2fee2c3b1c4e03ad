from __future__ import annotations

from dataclasses import replace

import numpy as np

from pycroclass.simulate import draw_run
from pycroclass.simulate.diffraction import _reflections, diffract, random_rotation, reciprocal_cell
from pycroclass.simulate.parameters import Crystal


def test_reciprocal_cell_of_a_monoclinic_crystal() -> None:
    """d spacings after the textbook formula 1/d² = (h²/a² + l²/c² - 2hl cos β / ac) / sin² β + k²/b²."""
    a, b, c, beta = 50.7, 98.4, 53.1, np.radians(112.7)
    h, k, l = 3, -2, 5  # noqa: E741 - Miller indices
    expected = (h**2 / a**2 + l**2 / c**2 - 2 * h * l * np.cos(beta) / (a * c)) / np.sin(beta) ** 2 + k**2 / b**2
    found = reciprocal_cell((a, b, c, 90, 112.7, 90)) @ [h, k, l]
    np.testing.assert_allclose(found @ found, expected)


def test_number_of_reflections_follows_from_the_volume_of_the_cell() -> None:
    points, _, lengths = _reflections(Crystal(), 0.16)
    volume = 1 / abs(np.linalg.det(reciprocal_cell(Crystal().cell)))
    np.testing.assert_allclose(len(points), 4 / 3 * np.pi * 0.16**3 * volume, rtol=0.02)
    assert lengths.max() < 0.16


def test_friedel_pairs_are_equal() -> None:
    points, strengths, _ = _reflections(Crystal(), 0.05)
    opposite = np.array([np.argmin(np.linalg.norm(points + point, axis=1)) for point in points])
    np.testing.assert_allclose(strengths, strengths[opposite])


def test_spots_lie_where_the_ewald_sphere_meets_the_lattice() -> None:
    """Back from the detector: the scattering vector of a spot has the length of a lattice vector, to the width of the sphere."""
    run = draw_run(seed=3)
    run = replace(
        run, experiment=replace(run.experiment, crystal=replace(run.experiment.crystal, domain=(1e5, 1e5), mosaicity=(1e-6, 1e-6)))
    )
    spots = diffract(run, 1.0, np.random.default_rng(0))
    y, x = run.geometry.beam_centre
    s = run.geometry.q(np.hypot(spots.y - y, spots.x - x)) / (2e10 * np.pi)
    _, _, lengths = _reflections(run.experiment.crystal, 0.2)
    assert len(s) > 0
    assert np.abs(s[:, None] - lengths).min(1).max() < 1e-4


def test_orientations_are_uniform() -> None:
    rng = np.random.default_rng(1)
    directions = np.array([random_rotation(rng)[:, 2] for _ in range(4000)])
    np.testing.assert_allclose(directions.mean(0), 0, atol=0.05)
    np.testing.assert_allclose((directions**2).mean(0), 1 / 3, atol=0.03)
