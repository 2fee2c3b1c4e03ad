"""What lies in a well: the drop, crystals, precipitate, and the other things that happen.

Each function draws upon a `Scene`: a thickness times the difference of two refractive indices is added to its optical path, what
scatters to its density.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pycroclass.simulate.drop_optics import Grid, Scene
from pycroclass.simulate.drop_parameters import Plate, Site
from pycroclass.simulate.noise import Float32Array

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """Where a drop touches the well: a circle, bent by low harmonics.

    Parameters
    ----------
    y, x, radius : float
        In metres.
    amplitudes, phases : tuple of float
        Of the harmonics from 2 on, relative to the radius and in radian.
    """

    y: float
    x: float
    radius: float
    amplitudes: tuple[float, ...] = ()
    phases: tuple[float, ...] = ()

    def distance(self, grid: Grid) -> Float32Array:
        """From the middle, relative to the outline: 1 on it, shape (ny, nx)."""
        y, x = grid.y - np.float32(self.y), grid.x - np.float32(self.x)
        azimuth = np.arctan2(y, x)
        edge = np.full(grid.shape, self.radius, np.float32)
        for order, (amplitude, phase) in enumerate(zip(self.amplitudes, self.phases, strict=True), start=2):
            edge += np.float32(self.radius * amplitude) * np.cos(order * azimuth + np.float32(phase))
        relative: Float32Array = np.hypot(y, x) / edge
        return relative


@dataclass(frozen=True)
class Well:
    """A well with its drop, in which something may lie.

    Parameters
    ----------
    site : Site
    plate : Plate
    outline : Outline
    inside : float32 array, shape (ny, nx)
        1 in the drop, falling to 0 at its edge.
    """

    site: Site
    plate: Plate
    outline: Outline
    inside: Float32Array

    def place(self, rng: np.random.Generator, reach: float = 0.8) -> tuple[float, float]:
        """A random point of the drop within that part of its radius, evenly over the area."""
        radius = self.outline.radius * reach * math.sqrt(rng.random())
        azimuth = rng.uniform(0, 2 * math.pi)
        return self.outline.y + radius * math.sin(azimuth), self.outline.x + radius * math.cos(azimuth)


def draw_drop(scene: Scene, site: Site, plate: Plate, rng: np.random.Generator) -> Well:
    """A drop in its well: a spherical cap above its outline, with the contact angle of the plate."""
    y, x = np.array(plate.well) + rng.normal(0, 45e-6, 2)
    orders = np.arange(2, 7)
    amplitudes = rng.normal(0, 0.09 / orders**1.3)
    radius = plate.radius * math.exp(0.10 * rng.standard_normal())
    outline = Outline(float(y), float(x), radius, tuple(amplitudes), tuple(rng.uniform(0, 2 * math.pi, orders.size)))
    return add_cap(scene, site, plate, outline, plate.contact_angle * rng.uniform(0.9, 1.1))


def add_cap(scene: Scene, site: Site, plate: Plate, outline: Outline, contact_angle: float) -> Well:
    """A spherical cap of the drop's solution above an outline."""
    u = outline.distance(scene.grid)
    sine, cosine = np.float32(math.sin(contact_angle)), np.float32(math.cos(contact_angle))
    height = (np.sqrt(1 - (np.minimum(u, 1) * sine) ** 2) - cosine) / sine
    scene.path += height * np.float32(outline.radius * (site.media.solution - 1))
    return Well(site, plate, outline, np.clip((np.float32(0.97) - u) * 12, 0, 1))


# ---- crystals


def draw_crystals(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """Crystals of the habit of the plate: many small ones, or a few large ones; needles may grow from one point."""
    plate = well.plate
    size = plate.crystal_size * math.exp(0.25 * rng.standard_normal())
    n_crystals = 1 + rng.poisson(min(14.0, (1.1 * well.outline.radius / size) ** 2 / 3))
    aspect = max(1.0, plate.aspect * math.exp(0.15 * rng.standard_normal()))
    if aspect > 4 and rng.random() < 0.5:
        for _ in range(1 + n_crystals // 6):
            _add_bundle(scene, well, well.place(rng, 0.6), size, aspect, rng)
        return
    for _ in range(n_crystals):
        length = min(size * math.exp(0.3 * rng.standard_normal()), 0.8 * well.outline.radius)
        reach = 0.85 - length / 2 / well.outline.radius
        _add_crystal(scene, well, well.place(rng, reach), length, aspect, rng.uniform(0, math.pi), rng)


def _add_bundle(scene: Scene, well: Well, centre: tuple[float, float], size: float, aspect: float, rng: np.random.Generator) -> None:
    """Needles that grow from one point."""
    for _ in range(rng.integers(4, 12)):
        length, angle = size * math.exp(0.25 * rng.standard_normal()), rng.uniform(0, 2 * math.pi)
        middle = centre[0] + length / 2 * math.sin(angle), centre[1] + length / 2 * math.cos(angle)
        _add_crystal(scene, well, middle, length, 1.3 * aspect, angle, rng)


def _add_crystal(
    scene: Scene, well: Well, centre: tuple[float, float], length: float, aspect: float, angle: float, rng: np.random.Generator
) -> None:
    """One crystal: pairs of parallel faces, each rising at its own slope to a flat top."""
    width = max(length / aspect, 16e-6)
    end = math.pi / 2 + rng.choice([0.0, 0.35, -0.35])
    faces = [(0.0, length / 2), (end, width / 2)]
    if aspect < 3:  # cut corners
        faces.append((rng.uniform(0.6, 1.0), rng.uniform(0.36, 0.5) * math.hypot(length, width)))
    part = scene.grid.around(*centre, 0.6 * math.hypot(length, width) + 2 * scene.grid.step)
    y, x = scene.grid.y[part[0]] - np.float32(centre[0]), scene.grid.x[:, part[1]] - np.float32(centre[1])
    thickness = np.full((y.size, x.size), width * well.plate.flatness, np.float32)
    for turn, distance in faces:
        along = x * np.float32(math.cos(angle + turn)) + y * np.float32(math.sin(angle + turn))
        for side in (1, -1):
            slope = np.float32(rng.uniform(0.5, 2.0))
            np.minimum(thickness, slope * (np.float32(distance) - side * along), out=thickness)
    np.maximum(thickness, 0, out=thickness)
    scene.path[part] += thickness * np.float32(well.site.media.crystal - well.site.media.solution)
    scene.density[part] += np.where(thickness > 0, np.float32(0.04), np.float32(0))


# ---- precipitate


def draw_precipitate(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """Grains everywhere, or denser in some parts of the drop, from faint to brown and opaque."""
    add_grains(scene, well, math.exp(rng.uniform(math.log(0.3), math.log(3.0))), rng)


def add_grains(scene: Scene, well: Well, strength: float, rng: np.random.Generator) -> None:
    """Precipitate of a strength: 0.1 is hardly seen, 1 is plain, 3 is brown and opaque; it gathers in clumps as it grows."""
    grid, grain = scene.grid, well.plate.grain
    patches = np.exp(rng.uniform(0.1, 0.8) * grid.clouds(120e-6, 600e-6, rng))
    amount = patches * well.inside * np.float32(strength)
    fine, clumps = grid.clouds(grain, 2 * grain, rng), grid.clouds(2.5 * grain, 8 * grain, rng)
    scene.path += np.tanh(amount) * fine * np.float32(0.06 * grain)
    scene.density += amount * (np.float32(0.06) + np.maximum(np.float32(0.10) * fine + np.float32(0.14 * strength) * clumps, 0))


# ---- other


def draw_other(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """One of: two liquids, a wrinkled skin, a fibre, bubbles, a splashed drop."""
    _OTHERS[rng.integers(len(_OTHERS))](scene, well, rng)


def _add_two_liquids(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """Droplets of oil in the drop."""
    typical = math.exp(rng.uniform(math.log(26e-6), math.log(55e-6)))
    room = int(0.4 * (well.outline.radius / typical) ** 2)
    for _ in range(min(int(rng.integers(15, 90)), room)):
        _add_sphere(scene, well.place(rng, 0.9), typical * math.exp(0.45 * rng.standard_normal()), well.site.media.oil, well)


def _add_bubbles(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 5)):
        _add_sphere(scene, well.place(rng, 0.8), rng.uniform(35e-6, 110e-6), 1.0, well)


def _add_sphere(scene: Scene, centre: tuple[float, float], radius: float, index: float, well: Well) -> None:
    part = scene.grid.around(*centre, radius)
    y, x = scene.grid.y[part[0]] - np.float32(centre[0]), scene.grid.x[:, part[1]] - np.float32(centre[1])
    thickness = 2 * np.sqrt(np.maximum(np.float32(radius**2) - y**2 - x**2, 0))
    scene.path[part] += thickness * np.float32(index - well.site.media.solution)


def _add_skin(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """A film with parallel wrinkles."""
    grid = scene.grid
    angle, wavelength = rng.uniform(0, math.pi), rng.uniform(45e-6, 90e-6)
    along = grid.x * np.float32(math.cos(angle)) + grid.y * np.float32(math.sin(angle))
    bent = along + np.float32(60e-6) * grid.clouds(200e-6, 500e-6, rng)
    strength = np.clip(0.6 + grid.clouds(150e-6, 500e-6, rng), 0, 2) * well.inside
    scene.path += strength * np.sin(bent * np.float32(2 * math.pi / wavelength)) * np.float32(0.016 * wavelength)
    scene.density += np.float32(0.12) * well.inside


def _add_fibre(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """A hair or two, bent in arcs across the drop."""
    for _ in range(rng.integers(1, 3)):
        radius, length, half = rng.uniform(0.25e-3, 1.2e-3), rng.uniform(0.5e-3, 1.2e-3), rng.uniform(7e-6, 13e-6)
        (y, x), angle = well.place(rng, 0.5), rng.uniform(0, 2 * math.pi)
        across = scene.grid.y - np.float32(y + radius * math.sin(angle)), scene.grid.x - np.float32(x + radius * math.cos(angle))
        away = np.abs(np.hypot(*across) - np.float32(radius))
        turned = np.arctan2(*across) - np.float32(angle)
        off = np.abs((turned + 2 * np.pi) % (2 * np.pi) - np.pi)
        is_fibre = (away < half) & (off < length / radius / 2)
        scene.path += np.where(is_fibre, np.sqrt(np.maximum(np.float32(half**2) - away**2, 0)) * np.float32(0.3), 0)
        scene.density += np.where(is_fibre, np.float32(0.9), np.float32(0))


def _add_splash(scene: Scene, well: Well, rng: np.random.Generator) -> None:
    """Small drops around the large one."""
    plate = well.plate
    for _ in range(rng.integers(6, 16)):
        away, azimuth = well.outline.radius * rng.uniform(1.05, 1.8), rng.uniform(0, 2 * math.pi)
        y, x = well.outline.y + away * math.sin(azimuth), well.outline.x + away * math.cos(azimuth)
        add_cap(scene, well.site, plate, Outline(y, x, rng.uniform(30e-6, 120e-6)), plate.contact_angle)


# ---- what is no one's fault


def draw_dirt(scene: Scene, site: Site, rng: np.random.Generator) -> None:
    """Dust, and scratches in the plastic, in any image."""
    grid = scene.grid
    corner = np.array([grid.y.max(), grid.x.max()])
    for _ in range(rng.poisson(2.0)):
        (y, x), radius = rng.uniform(-corner, corner), rng.uniform(4e-6, 12e-6)
        part = grid.around(y, x, 4 * radius)
        far = (grid.y[part[0]] - np.float32(y)) ** 2 + (grid.x[:, part[1]] - np.float32(x)) ** 2
        scene.density[part] += np.float32(rng.uniform(0.3, 1.2)) * np.exp(-far / np.float32(2 * radius**2))
    for _ in range(rng.poisson(site.scratches)):
        (y, x), angle, length = rng.uniform(-corner, corner), rng.uniform(0, math.pi), rng.uniform(0.1e-3, 0.7e-3)
        down, right = grid.y - np.float32(y), grid.x - np.float32(x)
        across = np.float32(math.sin(angle)) * right - np.float32(math.cos(angle)) * down
        along = np.float32(math.cos(angle)) * right + np.float32(math.sin(angle)) * down
        ends_softly = np.clip((np.float32(length / 2) - np.abs(along)) / np.float32(6e-5), 0, 1)
        depth = np.exp(-((across / np.float32(5e-6)) ** 2) / 2) * ends_softly
        scene.path -= depth * np.float32(rng.uniform(0.15e-6, 0.5e-6))


_OTHERS: Final[tuple[Callable[[Scene, Well, np.random.Generator], None], ...]] = (
    _add_two_liquids,
    _add_bubbles,
    _add_skin,
    _add_fibre,
    _add_splash,
)
