"""Pictures are drawn for whatever can be read or computed."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from pycroclass.pictures import hit_page, phases, thumbnails
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

Y, X = Axis("y", 6, "spatial"), Axis("x", 7, "spatial")
ENERGY = Axis("energy", 9, "spectral", units=r"$\sqrt E$")
FRAME, CHANNEL, LABEL = Axis("frame", 4, "temporal"), Axis("channel", 3, "channel"), Axis("label", 5, "channel")


KINDS = (
    (ENERGY,),
    (FRAME,),
    (LABEL,),
    (ENERGY, LABEL),
    (FRAME, ENERGY),
    (Y, X),
    (Y, X, CHANNEL),
    (Y, X, ENERGY),
    (FRAME, Y, X),
    (FRAME, Y, X, CHANNEL),
    (Axis("a", 3), Axis("b", 4)),
    (Axis("a", 1), Axis("b", 1), Axis("c", 2)),
)


@pytest.mark.parametrize("axes", KINDS, ids=lambda axes: "-".join(axis.name for axis in axes))
@pytest.mark.parametrize("dtype", ["f4", "i4", "c8"])
def test_any_dataset(axes: tuple[Axis, ...], dtype: str) -> None:
    spec = Spec(axes, np.dtype(dtype))
    values = np.random.default_rng(0).normal(size=spec.shape).astype(dtype)
    dataset = wrap(da.from_array(values), spec, provenance=Provenance("given", {}))
    figure = thumbnails({r"name with $\sqrt E$": dataset, "again": dataset})
    figure.canvas.draw()
    assert len(figure.axes) == 2


def test_each_label_has_its_curve() -> None:
    spec = Spec((ENERGY, LABEL), np.dtype("f4"))
    dataset = wrap(da.zeros(spec.shape, dtype="f4"), spec, provenance=Provenance("given", {}))
    assert len(thumbnails({"mean": dataset}).axes[0].lines) == LABEL.size


def test_hit_page() -> None:
    rng = np.random.default_rng(0)
    figure = hit_page(rng.normal(size=(8, 30, 32)), rng.random(8), np.arange(8) % 2)
    figure.canvas.draw()
    assert len(figure.axes) == 12


def test_phases_show_what_was_spent_and_what_is_left() -> None:
    figure = phases({"read": 1.0, "decode": 0.5, "copy": 0.0, "compute": 2.0, "write": 0.25}, 2.0, 2)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [1, 0.5, 0, 2, 0.25, 0.25]
    assert [label.get_text() for label in axes.texts][3] == "2 s, 50%"
