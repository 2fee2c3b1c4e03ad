"""CXI files: frames, mask, geometry, events, several detectors and modules."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pycroclass.geometry import Geometry, PanelGeometry
from pycroclass.readers import read
from pycroclass.sid import provenance_of, unwrap
from pycroclass.spec import Domain

FRAMES = np.random.default_rng(0).poisson(3, (5, 33, 41)).astype("u2")
EV = 1.602176634e-19


def cxi(path: Path, frames: np.ndarray = FRAMES, **detector: object) -> Path:
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 150
        entry = file.create_group("entry_1")
        group = entry.create_group("instrument_1/detector_1")
        group.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]))
        for name, value in detector.items():
            group[name] = value
        entry["data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        entry["instrument_1/source_1/energy"] = 9000 * EV
        entry["experiment_identifier"] = [f"event {i}".encode() for i in range(len(frames))]
    return path


KNOWN: dict[str, object] = {"distance": 0.13, "x_pixel_size": 110e-6, "y_pixel_size": 100e-6}


def test_frames_and_mask(tmp_path: Path) -> None:
    mask = (FRAMES[0] > 7).astype("u1")
    found = read(cxi(tmp_path / "a.cxi", mask=mask, **KNOWN))
    assert list(found) == ["image", "mask"]
    assert np.array_equal(np.asarray(found["image"].compute()), FRAMES)
    assert np.array_equal(np.asarray(found["mask"].compute()), mask)
    spec = unwrap(found["image"])[1]
    assert [(axis.name, axis.kind.value, axis.units) for axis in spec.axes] == [
        ("frame", "temporal", "generic"),
        ("y", "spatial", "m"),
        ("x", "spatial", "m"),
    ]
    assert (spec["y"].offset, spec["y"].step, spec["x"].step) == (0, 100e-6, 110e-6)
    assert spec.core(Domain.IMAGE) == ("y", "x")
    assert unwrap(found["mask"])[1].axes == spec.axes[1:]
    assert found["image"].metadata["event_ids"] == [f"event {i}" for i in range(5)]
    assert found["image"].metadata["detector"]["distance"] == 0.13
    assert found["image"].metadata["detector"]["wavelength"] == pytest.approx(12398.41984 / 9000 * 1e-10, rel=1e-6)
    assert found["image"].original_metadata["instrument_1/detector_1/distance"] == 0.13


def test_without_a_beam_centre_there_is_no_geometry(tmp_path: Path) -> None:
    assert unwrap(read(cxi(tmp_path / "a.cxi", **KNOWN))["image"])[1].geometry is None


@pytest.mark.parametrize("flip", [1, -1])
def test_beam_centre_from_corner_and_basis(tmp_path: Path, flip: int) -> None:
    """The centre of pixel (12, 20) lies on the beam: the corner is 12.5 and 20.5 pixels away."""
    basis = np.array([[0, -flip * 100e-6, 0], [-110e-6, 0, 0]])
    corner = np.array([20.5 * 110e-6, 12.5 * flip * 100e-6, 0.13])
    geometry = unwrap(read(cxi(tmp_path / "a.cxi", corner_position=corner, basis_vectors=basis, **KNOWN))["image"])[1].geometry
    assert geometry is not None
    assert geometry.beam_centre == pytest.approx((12, 20))
    assert geometry.pixel_size == (100e-6, 110e-6)
    assert geometry.is_calibrated


def test_beam_centre_in_pixels_from_the_edge(tmp_path: Path) -> None:
    path = cxi(tmp_path / "a.cxi", beam_center_x=20.5, beam_center_y=12.5, **KNOWN)
    geometry = unwrap(read(path)["image"])[1].geometry
    assert geometry is not None
    assert geometry.beam_centre == (12, 20)


def in_metres(geometry: PanelGeometry, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(geometry.coordinates(shape), axis=-1)


def places(corner: np.ndarray, basis: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Centres of all pixels, by the definition of the format."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return corner + y[..., None] * basis[0] + x[..., None] * basis[1]


def test_a_tilted_detector_is_a_panel(tmp_path: Path) -> None:
    basis = np.array([[10e-6, 99e-6, 8e-6], [-109e-6, 11e-6, 9e-6]])
    corner = np.array([20.5 * 110e-6, -12.5 * 100e-6, 0.131])
    found = read(cxi(tmp_path / "a.cxi", mask=np.zeros((33, 41), "u2"), corner_position=corner, basis_vectors=basis, **KNOWN))
    geometry = unwrap(found["image"])[1].geometry
    assert isinstance(geometry, PanelGeometry)
    np.testing.assert_allclose(in_metres(geometry, (33, 41)), places(corner, basis, (33, 41)), rtol=1e-9, atol=1e-12)
    assert geometry.wavelength == pytest.approx(12398.41984 / 9000 * 1e-10, rel=1e-6)
    assert unwrap(found["mask"])[1].geometry == geometry


def test_a_detector_turned_in_its_plane_is_flat(tmp_path: Path) -> None:
    cos, sin = np.cos(0.3), np.sin(0.3)
    basis = np.array([[-sin * 100e-6, cos * 100e-6, 0], [cos * 110e-6, sin * 110e-6, 0]])
    corner = np.array([-2e-3, -1e-3, 0.13])
    geometry = unwrap(read(cxi(tmp_path / "a.cxi", corner_position=corner, basis_vectors=basis, **KNOWN))["image"])[1].geometry
    assert isinstance(geometry, Geometry)
    x, y, _ = np.moveaxis(places(corner, basis, (33, 41)), -1, 0)
    np.testing.assert_allclose(geometry.radius((33, 41)), np.hypot(x, y) / 110e-6, rtol=1e-9)


@pytest.mark.parametrize("has_distance", [True, False])
def test_modules_are_panels(tmp_path: Path, has_distance: bool) -> None:
    rng = np.random.default_rng(1)
    frames = rng.poisson(3, (2, 3, 5, 7)).astype("u2")
    bases = np.array([[0, 100e-6, 0], [110e-6, 0, 0]]) + rng.normal(0, 1e-6, (3, 2, 3))
    corners = np.array([[0, 0, 0.13], [1e-3, 0, 0.13], [0, 1e-3, 0.131]])
    known = {name: value for name, value in KNOWN.items() if has_distance or name != "distance"}
    path = cxi(tmp_path / "a.cxi", frames, mask=np.zeros((3, 5, 7), "u2"), corner_position=corners, basis_vectors=bases, **known)
    found = read(path)
    geometry = unwrap(found["image"])[1].geometry
    assert isinstance(geometry, PanelGeometry)
    assert geometry.slab_shape == (3, 5, 7)
    wanted = np.stack([places(corner, basis, (5, 7)) for corner, basis in zip(corners, bases, strict=True)])
    np.testing.assert_allclose(in_metres(geometry, (3, 5, 7)), wanted, rtol=1e-9, atol=1e-12)
    assert unwrap(found["mask"])[1].geometry == geometry
    with h5py.File(path, "r+") as file:
        del file["entry_1/instrument_1/detector_1/mask"]
        file["entry_1/instrument_1/detector_1/mask"] = np.zeros((5, 7), "u2")
    assert unwrap(read(path)["mask"])[1].geometry is None


def test_geometry_1_where_corner_and_basis_are_missing(tmp_path: Path) -> None:
    """Two unit vectors, along x and along y of the data, and the place of the corner."""
    frames = np.zeros((2, 2, 5, 7), "u2")
    path = cxi(tmp_path / "a.cxi", frames, **KNOWN)
    x, y, corners = np.array([0.8, 0.6, 0]), np.array([-0.6, 0.8, 0]), np.array([[1e-3, 2e-3, 0.14], [-1e-3, 2e-3, 0.14]])
    with h5py.File(path, "r+") as file:
        group = file.create_group("entry_1/instrument_1/detector_1/geometry_1")
        group["orientation"], group["translation"] = np.tile(np.concatenate([x, y]), (2, 1)), corners
    geometry = unwrap(read(path)["image"])[1].geometry
    assert isinstance(geometry, PanelGeometry)
    wanted = np.stack([places(corner, np.stack([y * 100e-6, x * 110e-6]), (5, 7)) for corner in corners])
    np.testing.assert_allclose(in_metres(geometry, (2, 5, 7)), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "broken",
    [
        {"corner_position": np.zeros((2, 3)), "basis_vectors": np.ones((3, 2, 3))},
        {"corner_position": np.zeros((3, 3)), "basis_vectors": np.ones((3, 2, 3))},
        {"corner_position": np.full((3, 3), np.nan), "basis_vectors": np.ones((3, 2, 3))},
        {"basis_vectors": np.ones((3, 2, 3))},
    ],
)
def test_modules_without_a_place_have_no_geometry(tmp_path: Path, broken: dict[str, object]) -> None:
    path = cxi(tmp_path / "a.cxi", np.zeros((2, 3, 5, 7), "u2"), **broken, **KNOWN)
    assert unwrap(read(path)["image"])[1].geometry is None


def test_energies_of_each_frame(tmp_path: Path) -> None:
    path = cxi(tmp_path / "a.cxi")
    with h5py.File(path, "r+") as file:
        del file["entry_1/instrument_1/source_1/energy"]
        file["entry_1/instrument_1/source_1/energy"] = np.array([1, 2, 3, 4, np.nan]) * 1e3 * EV
    metadata = read(path)["image"].metadata
    assert metadata["detector"]["photon_energy"] == pytest.approx(2500 * EV)
    assert metadata["photon_energies"].shape == (5,)


def test_modules_are_navigation(tmp_path: Path) -> None:
    frames = np.arange(2 * 3 * 5 * 7, dtype="f4").reshape(2, 3, 5, 7)
    path = cxi(tmp_path / "a.cxi", frames, mask=np.zeros((3, 5, 7), "u2"), beam_center_x=1.0, beam_center_y=1.0)
    found = read(path)
    spec = unwrap(found["image"])[1]
    assert spec.names == ("frame", "module", "y", "x")
    assert spec.core(Domain.IMAGE) == ("y", "x")
    assert spec.geometry is None
    assert unwrap(found["mask"])[1].names == ("module", "y", "x")
    with h5py.File(path, "r+") as file:
        file["entry_1/instrument_1/detector_1/data"].attrs["axes"] = "experiment_identifier:scan:y:x"
    assert unwrap(read(path)["image"])[1].names == ("frame", "scan", "y", "x")


def test_further_detectors_and_entries(tmp_path: Path) -> None:
    path = cxi(tmp_path / "a.cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/data_2/data"] = np.ones((5, 3, 4))
        file["entry_2/data_1/data"] = np.ones((2, 3, 4))
    assert {key: value.shape for key, value in read(path).items()} == {
        "image": (5, 33, 41),
        "image_2": (5, 3, 4),
        "entry_2/image": (2, 3, 4),
    }


def test_frames_in_another_file(tmp_path: Path) -> None:
    cxi(tmp_path / "frames.cxi")
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = h5py.ExternalLink("frames.cxi", "/entry_1/data_1/data")
    dataset = read(tmp_path / "a.cxi")["image"]
    assert np.array_equal(np.asarray(dataset.compute()), FRAMES)
    assert [Path(stamp.path).name for stamp in provenance_of(dataset).files] == ["a.cxi", "frames.cxi"]


def test_any_dataset_by_its_path(tmp_path: Path) -> None:
    path = cxi(tmp_path / "a.cxi")
    assert list(read(f"{path}::image")) == ["image"]
    assert list(read(f"{path}::/entry_1/data_1/data")) == ["entry_1/data_1/data"]


@pytest.mark.shared
def test_the_minimal_file(shared: Path) -> None:
    path = shared / "diffraction/formats/minimal.cxi"
    (dataset,) = read(path).values()
    with h5py.File(path, "r") as file:
        assert np.array_equal(np.asarray(dataset.compute()), file["entry_1/data_1/data"][()])
    assert unwrap(dataset)[1].names == ("y", "x")
