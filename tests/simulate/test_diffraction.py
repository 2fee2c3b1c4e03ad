from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pycroclass.errors import ParameterError
from pycroclass.simulate import CCD, EXPERIMENTS, Crystal, Experiment, Run
from pycroclass.simulate.diffraction import _lattice, diffract, random_rotation, reciprocal_cell, wilson

SHARP = Crystal(domain=(2000.0, 2000.0), mosaicity=(1e-6, 1e-6), overlap=(1.0, 1.0), size_spread=0.0)


def textbook_spacing(cell: tuple[float, ...], h: int, k: int, l: int) -> float:  # noqa: E741 - Miller indices
    """1/d² by the metric tensor, from the direct cell alone."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    metric = np.array([[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]])
    return float(np.array([h, k, l]) @ np.linalg.inv(metric) @ np.array([h, k, l]))


@pytest.mark.parametrize("cell", [(50.7, 98.4, 53.1, 90.0, 112.7, 90.0), (31.0, 42.0, 53.0, 81.0, 97.0, 104.0)])
def test_reciprocal_cell(cell: tuple[float, float, float, float, float, float]) -> None:
    found = reciprocal_cell(cell) @ [3, -2, 5]
    np.testing.assert_allclose(found @ found, textbook_spacing(cell, 3, -2, 5))
    np.testing.assert_allclose(1 / np.linalg.det(reciprocal_cell(cell)), Crystal(cell).volume)


@pytest.mark.parametrize("cell", [(50.0, 60.0, 70.0, 30.0, 30.0, 90.0), (0.0, 60.0, 70.0, 90.0, 90.0, 90.0)])
def test_impossible_cells_are_refused(cell: tuple[float, float, float, float, float, float]) -> None:
    with pytest.raises(ParameterError, match="no cell"):
        Crystal(cell)


def test_number_of_reflections_follows_from_the_volume_of_the_cell() -> None:
    lattice = _lattice(Crystal(), 0.16)
    np.testing.assert_allclose(len(lattice.points), 4 / 3 * np.pi * 0.16**3 * Crystal().volume, rtol=0.02)
    assert lattice.squares.max() < 0.16**2


def test_intensities_have_wilson_statistics_and_friedel_pairs() -> None:
    """Acentric: exponential, so that mean = standard deviation = 1 and <I²> = 2 <I>²."""
    indices = np.stack(np.meshgrid(*(np.arange(-20, 21),) * 3), axis=-1).reshape(-1, 3)
    values = wilson(indices, 5)
    np.testing.assert_array_equal(values, wilson(-indices, 5))
    half = values[: len(values) // 2]
    np.testing.assert_allclose(half.mean(), 1, atol=4 / np.sqrt(half.size))
    np.testing.assert_allclose((half**2).mean() / half.mean() ** 2, 2, atol=0.1)
    assert stats.kstest(half[:5000], "expon").pvalue > 1e-3
    assert abs(np.corrcoef(half, wilson(indices, 6)[: half.size])[0, 1]) < 0.02
    assert abs(np.corrcoef(half[1:], half[:-1])[0, 1]) < 0.02


def test_a_structure_does_not_depend_on_how_much_of_it_is_seen() -> None:
    few, many = _lattice(Crystal(b_factor=10), 0.05), _lattice(Crystal(b_factor=10), 0.09)
    order = {tuple(point.round(9)): strength for point, strength in zip(many.points, many.strengths)}
    assert [order[tuple(point.round(9))] for point in few.points] == few.strengths.tolist()


def test_spots_lie_where_the_ewald_construction_says() -> None:
    """Every lattice vector, turned and put on the sphere one by one with plain trigonometry, against the spots of a sharp crystal."""
    run = Run(seed=3, beam_shift=(3.5, -7.25), experiment=Experiment(crystal=SHARP, bandwidth=0.0))
    rng = np.random.default_rng(8)
    spots = diffract(run, 1, 1.0, rng)

    twin = np.random.default_rng(8)
    for _ in range(2):
        twin.uniform()  # domain and mosaicity
    twin.standard_normal()  # size
    twin.uniform()  # overlap
    rotation = random_rotation(twin)
    wavelength, distance, pixel = 1.271876, 0.1301, 109.92e-6
    expected = []
    basis = reciprocal_cell(SHARP.cell)
    for h in range(-12, 13):
        for k in range(-24, 25):
            for l in range(-12, 13):  # noqa: E741 - Miller indices
                s = rotation @ (basis @ np.array([h, k, l]))
                outgoing = s + np.array([0, 0, 1 / wavelength])
                off = np.linalg.norm(outgoing) - 1 / wavelength
                if (h, k, l) != (0, 0, 0) and abs(off) < 4 * 0.4 / 2000 and np.linalg.norm(s) < 0.15:
                    two_theta, azimuth = np.arccos(outgoing[2] / np.linalg.norm(outgoing)), np.arctan2(outgoing[1], outgoing[0])
                    radius = distance * np.tan(two_theta) / pixel
                    place = (178.0 + radius * np.sin(azimuth), 167.25 + radius * np.cos(azimuth))
                    square = s @ s
                    light = wilson(np.array([[h, k, l]]), 0)[0] * np.exp(-35 * square / 2) * (1 - 0.85 * np.exp(-150 * square))
                    light *= 8000 * 1e5 / SHARP.volume * np.exp(-(off**2) / (2 * (0.4 / 2000) ** 2))
                    expected.append((*place, light * (1 - (np.sin(two_theta) * np.cos(azimuth)) ** 2)))
    assert len(expected) >= 5
    found = np.column_stack([spots.y, spots.x])
    away = np.linalg.norm(found[:, None] - np.array(expected)[None, :, :2], axis=2)
    np.testing.assert_allclose(away.min(0), 0, atol=1e-6)
    np.testing.assert_allclose(spots.photons[away.argmin(0)], np.array(expected)[:, 2], rtol=2e-4)


def test_intensity_falls_as_the_formula_says() -> None:
    """Summed over many orientations a reflection's mean intensity is the lattice's, whatever the cell is turned to."""
    run = Run(seed=1, experiment=Experiment(crystal=replace(SHARP, domain=(300.0, 300.0), amplitude=100.0)))
    bright = diffract(run, 1, 1.0, np.random.default_rng(2)).photons.sum()
    double = diffract(run, 1, 2.0, np.random.default_rng(2)).photons.sum()
    np.testing.assert_allclose(double, 2 * bright)
    lattice = _lattice(run.experiment.crystal, 0.17)
    shells = np.digitize(np.sqrt(lattice.squares), [0.08, 0.12, 0.16])
    means = [lattice.strengths[shells == shell].mean() for shell in (1, 2)]
    expected = [np.exp(-25 * s**2 / 2) * (1 - 0.85 * np.exp(-150 * s**2)) for s in (0.1027, 0.1419)]
    np.testing.assert_allclose(means, expected, rtol=0.1)


def test_more_lattices_give_more_spots() -> None:
    run = Run(seed=3)
    counts = [len(diffract(run, n, 1.0, np.random.default_rng(5)).y) for n in (1, 3)]
    assert counts[1] > 2 * counts[0]


def test_presets_diffract() -> None:
    for experiment in EXPERIMENTS.values():
        run = Run(seed=1, experiment=experiment)
        assert len(diffract(run, 1, 1.0, np.random.default_rng(0)).y) > 20
    assert CCD.crystal.volume > 1e7


def test_orientations_are_uniform() -> None:
    rng = np.random.default_rng(1)
    directions = np.array([random_rotation(rng)[:, 2] for _ in range(4000)])
    np.testing.assert_allclose(directions.mean(0), 0, atol=0.05)
    np.testing.assert_allclose((directions**2).mean(0), 1 / 3, atol=0.03)
