"""The spec of one small image, as operators of images see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pycroclass.geometry import Geometry
from pycroclass.spec import Axis, AxisKind, Spec


@pytest.fixture
def image_spec() -> Callable[..., Spec]:
    """Makes the spec of an image ``(channel, y, x)`` with positions, units and a geometry."""

    def make(*shape: int, dtype: str = "uint16", beam: tuple[float, float] | None = (3.25, 4.5)) -> Spec:
        channel, height, width = shape if len(shape) == 3 else (1, *shape)
        axes = (
            Axis("channel", channel, kind=AxisKind.CHANNEL),
            Axis("ky", height, kind=AxisKind.RECIPROCAL, quantity="k", units="1/nm", offset=-2.0, step=0.5),
            Axis("kx", width, kind=AxisKind.RECIPROCAL, quantity="k", units="1/nm", offset=1.0, step=0.25),
        )
        geometry = beam and Geometry(beam, pixel_size=(1e-4, 2e-4), distance=0.1, wavelength=1e-10)
        return Spec(axes, dtype, quantity="intensity", units="counts", geometry=geometry or None)

    return make
