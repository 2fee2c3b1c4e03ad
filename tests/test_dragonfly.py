"""Detector files of Dragonfly, against the formulas of a flat detector in plain numpy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pycroclass.dragonfly import DragonflyDetector, read_detector, write_detector
from pycroclass.errors import AxisError, ParameterError, ReadError, WriteError
from pycroclass.geometry import Geometry, Panel, PanelGeometry

FLAT = Geometry((20.3, 17.8), pixel_size=(75e-6, 75e-6), distance=0.0125, wavelength=1e-9)
SHAPE = (41, 37)
ROWS = ("qx", "qy", "qz", "corr", "mask")


def plainly(polarisation: str, ewald: float | None) -> np.ndarray:
    """What Dragonfly's documentation says, all lengths in pixels."""
    detd = 0.0125 / 75e-6
    ewald = detd if ewald is None else ewald
    cy, cx = (grid.ravel() - centre for grid, centre in zip(np.mgrid[:41, :37], FLAT.beam_centre))
    fac = np.sqrt(cx**2 + cy**2 + detd**2)
    polar = {"x": 1 - cx**2 / fac**2, "y": 1 - cy**2 / fac**2, "none": np.ones_like(cx)}[polarisation]
    return np.stack([cx * ewald / fac, cy * ewald / fac, ewald * (detd / fac - 1), detd / fac**3 * polar])


def columns(detector: DragonflyDetector) -> np.ndarray:
    return np.stack([*detector.q.T, detector.correction])


@pytest.mark.parametrize("ewald", [None, 650.0])
@pytest.mark.parametrize("polarisation", ["x", "y", "none"])
def test_a_flat_detector(polarisation: str, ewald: float | None) -> None:
    detector = DragonflyDetector.of(FLAT, SHAPE, polarisation=polarisation, ewald_radius=ewald)
    np.testing.assert_allclose(columns(detector), plainly(polarisation, ewald), rtol=1e-9, atol=1e-12)
    assert detector.distance == pytest.approx(0.0125 / 75e-6)
    assert detector.ewald_radius == pytest.approx(ewald or 0.0125 / 75e-6)
    assert not detector.mask.any()


def test_the_solid_angle_of_a_whole_sphere() -> None:
    """Six faces of a cube around the sample: four pi, whatever the tilt; the sum over fine pixels is the integral."""
    n, size = 101, 0.1 / 101
    face = Panel("front", min_fs=0, max_fs=n - 1, min_ss=0, max_ss=n - 1, corner_x=-n / 2, corner_y=-n / 2, res=1 / size, clen=0.05)
    front = DragonflyDetector.of(PanelGeometry((face,)), (n, n), polarisation="none").correction.sum()
    assert front == pytest.approx(4 * np.pi / 6, rel=1e-3)
    r, pitch = 0.2, 1e-6  # a small panel whose normal makes an angle of cosine 0.6 with the beam
    turned = {"fs": (0.6, 0.0, 0.8), "corner_x": -n / 2 * 0.6, "coffset": -0.8 * n / 2 * pitch}
    small = replace(face, res=1 / pitch, clen=r, **turned)
    got = DragonflyDetector.of(PanelGeometry((small,)), (n, n), polarisation="none").correction.sum()
    assert got == pytest.approx((n * pitch) ** 2 * 0.6 / r**2, rel=1e-5)


def test_panels_are_parts_of_the_flat_detector() -> None:
    """Cut in two and with a gap between: the same numbers where there are pixels."""
    whole = PanelGeometry.of_flat(FLAT, SHAPE)
    top, bottom = whole.panels[0].cut(0, 0, 19, 36), whole.panels[0].cut(20, 0, 40, 36)
    apart = PanelGeometry((replace(top, name="a"), replace(bottom, name="b").moved(3, 0)), FLAT.wavelength)
    detector = DragonflyDetector.of(apart, (44, 37))
    wanted = plainly("x", None).reshape(4, 41, 37)
    got = columns(detector).reshape(4, 44, 37)
    np.testing.assert_allclose(np.delete(got, [20, 21, 22], axis=1), wanted, rtol=1e-9, atol=1e-12)
    assert (detector.mask.reshape(44, 37)[20:23] == 2).all()
    assert detector.mask.sum() == 2 * 3 * 37
    assert not got[:3, 20:23].any()
    modules = PanelGeometry(tuple(replace(p.moved(-p.min_ss, 0), module=i) for i, p in enumerate(apart.panels)))
    by_module = columns(DragonflyDetector.of(modules, (2, 21, 37))).reshape(4, 42, 37)
    np.testing.assert_allclose(np.delete(by_module, 20, axis=1), wanted, rtol=1e-9, atol=1e-12)


def test_masks() -> None:
    values = np.random.default_rng(0).integers(0, 3, SHAPE)
    np.testing.assert_array_equal(DragonflyDetector.of(FLAT, SHAPE, mask=values).mask, values.ravel())
    np.testing.assert_array_equal(DragonflyDetector.of(FLAT, SHAPE, mask=values > 0).mask, 2 * (values > 0).ravel())
    with pytest.raises(ParameterError, match="bad_pixels"):
        DragonflyDetector.of(FLAT, SHAPE, mask=values * 8)
    with pytest.raises(AxisError, match="mask"):
        DragonflyDetector.of(FLAT, SHAPE, mask=values[1:])


@pytest.mark.parametrize("ending", ["dat", "h5"])
def test_round_trip(tmp_path: Path, ending: str) -> None:
    mask = np.random.default_rng(0).integers(0, 3, SHAPE)
    detector = DragonflyDetector.of(FLAT, SHAPE, mask=mask, ewald_radius=1 / 3e-3)
    again = read_detector(write_detector(detector, tmp_path / f"detector.{ending}"))
    for name in ("q", "correction", "mask"):
        np.testing.assert_allclose(getattr(again, name), getattr(detector, name), rtol=1e-14)
    assert (again.distance, again.ewald_radius) == (detector.distance, detector.ewald_radius)


def test_text_by_the_format(tmp_path: Path) -> None:
    path = write_detector(DragonflyDetector.of(FLAT, SHAPE), tmp_path / "detector.dat")
    first, *lines = path.read_text().splitlines()
    n_pixels, detd, ewald = first.split()
    assert (int(n_pixels), float(detd), float(ewald)) == (41 * 37, pytest.approx(0.0125 / 75e-6), pytest.approx(0.0125 / 75e-6))
    rows = np.array([line.split() for line in lines], float)
    np.testing.assert_allclose(rows[:, :4].T, plainly("x", None), rtol=1e-9, atol=1e-12)
    assert {line.split()[4] for line in lines} == {"0"}


def test_hdf5_by_the_format(tmp_path: Path) -> None:
    with h5py.File(write_detector(DragonflyDetector.of(FLAT, SHAPE), tmp_path / "detector.h5"), "r") as file:
        assert set(file) == {*ROWS, "detd", "ewald_rad"}
        assert file["mask"].dtype == np.uint8
        np.testing.assert_allclose(np.stack([file[name][()] for name in ROWS[:4]]), plainly("x", None), rtol=1e-9, atol=1e-12)
        assert file["detd"].shape == file["ewald_rad"].shape == ()


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FLAT, distance=None),
        replace(FLAT, pixel_size=None),
        PanelGeometry((replace(PanelGeometry.of_flat(FLAT, SHAPE).panels[0], clen=-1.0),)),
    ],
)
def test_what_is_not_known_is_asked_for(wrong: Geometry | PanelGeometry) -> None:
    with pytest.raises(ParameterError, match=r"distance|pixels"):
        DragonflyDetector.of(wrong, SHAPE)


@pytest.mark.parametrize(
    "text", ["1517\n", "2 10.0 10.0\n1 2 3 4 0\n", "1 10.0 10.0\n1 2 3 x 0\n", "1 10.0 10.0\n1 2 3 4 7\n", "1 0 1\n1 2 3 4 0\n"]
)
def test_damaged_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "detector.dat"
    path.write_text(text)
    with pytest.raises(ReadError, match=r"detector\.dat"):
        read_detector(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_detector(tmp_path / "none.dat")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["qx"] = [1.0]
    with pytest.raises(ReadError, match="no detd"):
        read_detector(tmp_path / "a.h5")
    with pytest.raises(WriteError, match="exists already"):
        write_detector(DragonflyDetector.of(FLAT, SHAPE), tmp_path / "a.h5")
