"""What the jet and all else in the beam scatter: smooth patterns about the beam."""

from __future__ import annotations

import math

import numpy as np

from pycroclass.simulate.noise import Float32Array
from pycroclass.simulate.parameters import Run


def scatter(run: Run) -> tuple[Float32Array, Float32Array]:
    """Photons that the jet scatters, and those of all else, for each pixel, at mean thickness and pulse energy; shape (y, x) each.

    The jet: rings ``b exp(-(s - 1/d)² / 2 w²)``, the streak ``exp(-(sin(φ - φ₀) / w)² / 2)`` that fades outwards, and half of what is
    flat. All else: the small angles ``1 / (1 + (s / w)^p)`` and the other half. Both are polarised along x,
    ``1 - (sin 2θ cos φ)²``, and seen by pixels under the solid angle ``cos³ 2θ``; s is ``2 sin θ / λ``.
    """
    parameters, geometry, detector = run.experiment.scatter, run.geometry, run.experiment.detector
    radius = geometry.radius(detector.shape)
    s = geometry.q(radius) / (2e10 * math.pi)
    two_theta = np.arctan(radius * detector.pixel_size / detector.distance)
    y, x = np.indices(detector.shape, sparse=True)
    azimuth = np.arctan2(y - geometry.beam_centre[0], x - geometry.beam_centre[1])
    solid_angle = np.cos(two_theta) ** 3 * (1 - (np.sin(two_theta) * np.cos(azimuth)) ** 2)
    rings = [ring.brightness * run.ring * np.exp(-(((s - 1 / ring.spacing) / ring.width) ** 2) / 2) for ring in parameters.rings]
    centre = parameters.centre * run.centre / (1 + (s / parameters.centre_width) ** parameters.centre_power)
    across = np.sin(azimuth - run.streak_angle) / parameters.streak_width
    streak = parameters.streak * run.streak * np.exp(-(across**2) / 2 - s / (3 * parameters.centre_width))
    jet = sum(rings, start=streak + parameters.flat / 2)
    return (jet * solid_angle).astype(np.float32), ((centre + parameters.flat / 2) * solid_angle).astype(np.float32)
