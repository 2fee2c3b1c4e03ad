from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy

from pycroclass.crystfel import read_crystfel
from pycroclass.errors import AxisError, ParameterError, WriteError
from pycroclass.geometry import Geometry, Panel, PanelGeometry
from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.operators import PeakCountRule, PeakFinder8
from pycroclass.provenance import Provenance
from pycroclass.readers import read
from pycroclass.replay import Verdict, replay
from pycroclass.sid import unwrap, wrap
from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
from pycroclass.spec import Axis, Spec
from pycroclass.writers import write, write_cxi

RES = {"res": 1 / 1e-4, "clen": 0.1}
RUN = draw_run(seed=8, hit_rate=0.5, experiment=Experiment(Detector(shape=(41, 53))))


@pytest.fixture
def datasets() -> dict[str, sidpy.Dataset]:
    return simulate_run(RUN, 11)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_read_gives_back_what_was_written(datasets: dict[str, sidpy.Dataset], tmp_path: Path, compression: str | None) -> None:
    path = write_cxi(datasets, tmp_path / "run.cxi", compression=compression, event_ids=[f"shot {i}" for i in range(11)])
    found = read(path)
    for name in ("image", "mask"):
        np.testing.assert_array_equal(found[name].compute(), datasets[name].compute())
        assert found[name].dtype == datasets[name].dtype
    image = found["image"]
    given = datasets["image"].metadata["geometry"]
    for name, value in image.metadata["geometry"].items():
        np.testing.assert_allclose(value, given[name], rtol=1e-9)
    assert [axis.name for axis in image._axes.values()] == ["frame", "y", "x"]
    assert list(image.metadata["event_ids"]) == [f"shot {i}" for i in range(11)]


def test_label_keeps_its_classes(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = write_cxi(datasets, tmp_path / "run.cxi")
    (label,) = read(f"{path}::/entry_1/result_1/label").values()
    np.testing.assert_array_equal(label.compute(), datasets["label"].compute())
    assert label.metadata["classes"] == ["miss", "hit"]


def test_layout(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    with h5py.File(write_cxi(datasets, tmp_path / "run.cxi"), "r") as file:
        detector = file["entry_1/instrument_1/detector_1"]
        assert isinstance(file["entry_1/data_1"].get("data", getlink=True), h5py.SoftLink)
        assert file["entry_1/data_1/data"] == detector["data"]
        assert (detector["data"].chunks, detector["data"].compression, detector["data"].shuffle) == ((1, 41, 53), "gzip", True)
        assert detector["mask"].dtype == np.uint32
        assert detector["data"].attrs["axes"] == "experiment_identifier:y:x"
        np.testing.assert_allclose(file["entry_1/instrument_1/source_1/energy"][()] / 1.602176634e-16, 9.7482, rtol=1e-4)  # keV
        (y, x), pixel = RUN.geometry.beam_centre, RUN.experiment.detector.pixel_size
        np.testing.assert_allclose(detector["corner_position"][()], [-(x + 0.5) * pixel, -(y + 0.5) * pixel, 0.1301])
        assert file["cxi_version"][()] == 160


def test_an_existing_file_stays(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = tmp_path / "run.cxi"
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_cxi(datasets, path)
    assert path.read_bytes() == b"precious"
    write_cxi(datasets, path, overwrite=True)
    assert read(path)["image"].shape == (11, 41, 53)


def test_what_does_not_fit_is_refused(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = tmp_path / "run.cxi"
    with pytest.raises(ParameterError, match="wanted image"):
        write_cxi({"mask": datasets["mask"]}, path)
    with pytest.raises(ParameterError, match="wanted image"):
        write_cxi({**datasets, "other": datasets["mask"]}, path)
    with pytest.raises(ParameterError, match="11 frames, got 2"):
        write_cxi(datasets, path, event_ids=["a", "b"])
    with pytest.raises(AxisError, match="shapes"):
        write_cxi({**datasets, "label": simulate_run(RUN, 5)["label"]}, path)
    with pytest.raises(AxisError, match="pixel size, distance and wavelength"):
        write_cxi({"image": sidpy.Dataset.from_array(np.zeros((2, 3, 4)))}, path)
    assert not path.exists()


MODULES = PanelGeometry(
    [
        Panel(f"q{i}", min_fs=0, max_fs=6, min_ss=0, max_ss=4, corner_x=10 * i + 1.5, corner_y=-3.25 * i, fs=fs, ss=ss, module=i, **RES)
        for i, (fs, ss) in enumerate([((1, 0, 0), (0, 1, 0)), ((0.8, 0.6, 0), (-0.6, 0.8, 0)), ((0, 1, 0.01), (-1, 0, 0.02))])
    ],
    wavelength=1.3e-10,
)
SLAB = PanelGeometry([replace(panel, module=None).moved(5 * i, 0) for i, panel in enumerate(MODULES.panels)], MODULES.wavelength)


def frames_of(geometry: PanelGeometry | Geometry, shape: tuple[int, ...], dtype: str = "u2") -> sidpy.Dataset:
    values = np.random.default_rng(5).poisson(3, shape).astype(dtype)
    axes = [Axis("frame", shape[0], "temporal"), *([Axis("module", shape[1])] if len(shape) == 4 else [])]
    axes += [Axis("y", shape[-2], "spatial"), Axis("x", shape[-1], "spatial")]
    spec = Spec(tuple(axes), np.dtype(dtype), geometry=geometry)
    return wrap(da.from_array(values, chunks=(2, *([-1] * (len(shape) - 1)))), spec, provenance=Provenance("given", {}))


@pytest.mark.parametrize("compression", ["gzip", "bitshuffle-lz4"])
def test_modules_stand_where_they_stood(tmp_path: Path, compression: str) -> None:
    frames = frames_of(MODULES, (5, 3, 5, 7))
    mask = sidpy.Dataset.from_array(np.arange(105, dtype="u4").reshape(3, 5, 7) % 4)
    path = write_cxi({"image": frames, "mask": mask}, tmp_path / "a.cxi", compression=compression)
    found = read(path)
    np.testing.assert_array_equal(found["image"].compute(), frames.compute())
    np.testing.assert_array_equal(found["mask"].compute(), mask.compute())
    assert unwrap(found["image"])[1].names == ("frame", "module", "y", "x")
    geometry = unwrap(found["image"])[1].geometry
    np.testing.assert_allclose(geometry.coordinates((3, 5, 7)), MODULES.coordinates((3, 5, 7)), rtol=1e-12, atol=1e-15)
    assert [panel.name for panel in geometry.panels] == ["q0", "q1", "q2"]
    assert unwrap(found["mask"])[1].geometry == geometry


def test_layout_of_modules(tmp_path: Path) -> None:
    """Places of pixels, by the definition of the format."""
    with h5py.File(write_cxi({"image": frames_of(MODULES, (2, 3, 5, 7))}, tmp_path / "a.cxi"), "r") as file:
        detector = file["entry_1/instrument_1/detector_1"]
        assert detector["data"].attrs["axes"] == "experiment_identifier:module_identifier:y:x"
        assert detector["data"].chunks == (1, 1, 5, 7)
        corners, bases = detector["corner_position"][()], detector["basis_vectors"][()]
        y, x = np.mgrid[:5, :7][:, None, :, :, None] + 0.5
        places = corners[:, None, None] + y * bases[:, None, None, 0] + x * bases[:, None, None, 1]
        np.testing.assert_allclose(np.moveaxis(places, -1, 0), MODULES.coordinates((3, 5, 7)), rtol=1e-12, atol=1e-15)
        assert detector["distance"][()] == pytest.approx(0.1)


def test_panels_side_by_side_stand_in_a_geometry_file(tmp_path: Path) -> None:
    frames = frames_of(SLAB, (3, 15, 7))
    path = write_cxi({"image": frames}, tmp_path / "a.cxi")
    found = read(path)["image"]
    np.testing.assert_array_equal(found.compute(), frames.compute())
    geometry = unwrap(found)[1].geometry
    np.testing.assert_allclose(geometry.coordinates((15, 7)), SLAB.coordinates((15, 7)), rtol=1e-9, atol=1e-12)
    assert [panel.name for panel in geometry.panels] == ["q0", "q1", "q2"]
    assert geometry.wavelength == pytest.approx(1.3e-10, rel=1e-6)
    with h5py.File(path, "r") as file:
        text = file["entry_1/instrument_1/detector_1/crystfel_geometry"][()].decode()
        assert "corner_position" not in file["entry_1/instrument_1/detector_1"]
    (tmp_path / "a.geom").write_text(text)
    assert read_crystfel(tmp_path / "a.geom").data == ("/entry_1/data_1/data",)


def test_a_tilted_detector_keeps_its_name(tmp_path: Path) -> None:
    tilted = PanelGeometry([replace(MODULES.panels[2], module=None)], 1.3e-10)
    geometry = unwrap(read(write_cxi({"image": frames_of(tilted, (2, 5, 7))}, tmp_path / "a.cxi"))["image"])[1].geometry
    np.testing.assert_allclose(geometry.coordinates((5, 7)), tilted.coordinates((5, 7)), rtol=1e-12, atol=1e-15)
    assert geometry.panels[0].name == "q2"


def test_geometry_and_frames_must_fit(tmp_path: Path) -> None:
    with pytest.raises(AxisError, match="need"):
        write_cxi({"image": frames_of(MODULES, (2, 2, 5, 7))}, tmp_path / "a.cxi")
    with pytest.raises(AxisError, match="need a PanelGeometry"):
        write_cxi({"image": frames_of(RUN.geometry, (2, 3, 5, 7))}, tmp_path / "a.cxi")
    with pytest.raises(ParameterError, match="bitshuffle-lz4"):
        write_cxi({"image": frames_of(MODULES, (2, 3, 5, 7))}, tmp_path / "a.cxi", compression="zip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_bitshuffle_is_read_by_hdf5_itself(tmp_path: Path, dtype: str) -> None:
    frames = frames_of(replace(RUN.geometry), (7, 41, 53), dtype)
    path = write_cxi({"image": frames}, tmp_path / "a.cxi", compression="bitshuffle-lz4")
    with h5py.File(path, "r") as file:
        data = file["entry_1/data_1/data"]
        (number, _, parameters, _) = data.id.get_create_plist().get_filter(0)
        assert (number, parameters[2], parameters[4]) == (32008, np.dtype(dtype).itemsize, 2)
        assert data.chunks == (1, 41, 53)
        np.testing.assert_array_equal(data[...], frames.compute())
    np.testing.assert_array_equal(read(path)["image"].compute(), frames.compute())


def test_pieces_of_frames_become_whole_chunks(tmp_path: Path) -> None:
    """Blocks of a graph that cut frames must not cut what is compressed together."""
    frames = frames_of(RUN.geometry, (4, 41, 53))
    array, spec = unwrap(frames)
    cut = wrap(array.rechunk((3, 17, 20)), spec, provenance=Provenance("given", {}))
    path = write_cxi({"image": cut}, tmp_path / "a.cxi", compression="bitshuffle-lz4")
    np.testing.assert_array_equal(read(path)["image"].compute(), frames.compute())


def tables(counts: list[int], n_peaks: int) -> tuple[np.ndarray, dict[str, sidpy.Dataset]]:
    values = np.random.default_rng(6).uniform(1, 30, (len(counts), n_peaks, len(COLUMNS))).astype("f4")
    for i, n in enumerate(counts):
        values[i, n:] = np.nan
    axes = (Axis("frame", len(counts), "temporal"), Axis("peak", n_peaks), Axis("column", len(COLUMNS), "channel"))
    peaks = wrap(da.from_array(values, chunks=(2, 3, 4)), Spec(axes, values.dtype, classes=COLUMNS), provenance=Provenance("given", {}))
    numbers = np.array([n + 10 * (n == n_peaks) for n in counts], "i4")
    return values, {"peaks": peaks, "n_peaks": sidpy.Dataset.from_array(numbers)}


def test_peaks_come_back_as_they_were(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    counts = [0, 3, 1, 0, 7, 2, 0, 0, 5, 7, 1]
    values, found = tables(counts, 7)
    path = write_cxi({**datasets, **found}, tmp_path / "run.cxi")
    again = read(path)
    np.testing.assert_array_equal(again["peaks"].compute(), values)
    spec = unwrap(again["peaks"])[1]
    assert (spec.names, spec.classes, spec.dtype) == (("frame", "peak", "column"), COLUMNS, np.dtype("f4"))
    np.testing.assert_array_equal(again["n_peaks"].compute(), found["n_peaks"].compute())
    part = again["peaks"][3:6].compute()
    np.testing.assert_array_equal(part, values[3:6])


def test_layout_of_peaks(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    """As Cheetah and OnDA write them, and CrystFEL reads them: zeros behind the last, never more than the lists hold."""
    counts = [0, 3, 1, 0, 7, 2, 0, 0, 5, 7, 1]
    values, found = tables(counts, 7)
    with h5py.File(write_cxi({**datasets, **found}, tmp_path / "run.cxi"), "r") as file:
        group = file["entry_1/result_1"]
        assert group["nPeaks"][()].tolist() == counts
        names = {
            "peakXPosRaw": "fs",
            "peakYPosRaw": "ss",
            "peakTotalIntensity": "intensity",
            "peakMaximumValue": "max",
            "peakSNR": "snr",
            "peakNPixels": "n_pixels",
        }
        for name, column in names.items():
            lists = group[name][()]
            assert lists.shape == (11, 7)
            for i, n in enumerate(counts):
                np.testing.assert_array_equal(lists[i, :n], values[i, :n, COLUMNS.index(column)])
                assert not lists[i, n:].any()


def test_lists_of_other_programs_have_fewer_columns(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = write_cxi(datasets, tmp_path / "run.cxi")
    with h5py.File(path, "r+") as file:
        group = file["entry_1/result_1"]
        group["nPeaks"] = np.array([2] + [0] * 10)
        for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"):
            group[name] = np.arange(33, dtype="f8").reshape(11, 3)
    found = read(path)
    table = found["peaks"].compute()
    assert found["n_peaks"].compute()[0] == 2
    np.testing.assert_array_equal(table[0, :, COLUMNS.index("fs")], [0, 1, np.nan])
    assert np.isnan(table[..., COLUMNS.index("panel")]).all()
    assert np.isnan(table[1:]).all()


def test_holes_in_a_table_close(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    values, found = tables([3] * 11, 4)
    values[:, 1] = np.nan
    spec = unwrap(found["peaks"])[1]
    holed = wrap(da.from_array(values), spec, provenance=Provenance("given", {}))
    table = read(write_cxi({**datasets, "peaks": holed}, tmp_path / "run.cxi"))["peaks"].compute()
    np.testing.assert_array_equal(table[:, :2], values[:, [0, 2]])
    assert np.isnan(table[:, 2:]).all()


def test_what_is_known_of_frames_goes_along(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    image = datasets["image"]
    energies = (np.arange(11) + 9000) * 1.602e-19
    items = {"jet": [f"j{i % 3}" for i in range(11)], "flux": np.linspace(0, 1, 11).tolist(), "is_dark": [False] * 10 + [True]}
    image.metadata = {**image.metadata, "items": items, "event_ids": [f"e{i}" for i in range(11)], "photon_energies": energies.tolist()}
    image.metadata["selection"] = {"policy": {"sensitivity": 0.98}, "who": "µ"}
    found = read(write_cxi(datasets, tmp_path / "run.cxi"))["image"]
    assert found.metadata["items"] == items
    assert found.metadata["selection"] == {"policy": {"sensitivity": 0.98}, "who": "µ"}
    assert found.metadata["event_ids"] == [f"e{i}" for i in range(11)]
    np.testing.assert_array_equal(found.metadata["photon_energies"], energies)
    image.metadata["items"] = {"nPeaks": [0] * 11}
    with pytest.raises(ParameterError, match="nPeaks"):
        write_cxi(datasets, tmp_path / "other.cxi")


def test_a_table_without_positions_is_refused(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    _, found = tables([1] * 11, 3)
    array, spec = unwrap(found["peaks"])
    nameless = wrap(array, replace(spec, classes=()), provenance=Provenance("given", {}))
    with pytest.raises(AxisError, match="no column fs or ss"):
        write_cxi({**datasets, "peaks": nameless}, tmp_path / "run.cxi")
    with pytest.raises(AxisError, match="StackModules"):
        write_cxi({**datasets, "peaks": datasets["mask"]}, tmp_path / "run.cxi")


def test_what_fails_on_the_way_leaves_nothing(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("broken")

    array, spec = unwrap(datasets["image"])
    broken = wrap(array.map_blocks(fail, dtype=array.dtype), spec, provenance=Provenance("given", {}))
    with pytest.raises(RuntimeError, match="broken"):
        write_cxi({"image": broken}, tmp_path / "run.cxi", compression="bitshuffle-lz4")
    assert not list(tmp_path.iterdir())


def test_found_peaks_and_frames_in_one_pass(tmp_path: Path) -> None:
    """The peaks of real searching, lazily, beside the frames that they were found in."""
    datasets = simulate_run(draw_run(seed=3, hit_rate=0.9, experiment=Experiment(Detector(shape=(200, 200)))), 6)
    found = PeakFinder8(threshold=40, min_snr=5, max_pixels=30, mask=datasets["mask"], max_peaks=40)(datasets["image"])
    path = write_cxi({**datasets, **found}, tmp_path / "run.cxi", compression="bitshuffle-lz4")
    again = read(path)
    assert again["n_peaks"].compute().max() > 1
    for name in ("image", "peaks", "n_peaks"):
        np.testing.assert_array_equal(again[name].compute(), {**datasets, **found}[name].compute())


def test_results_of_stored_peaks_can_be_replayed(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    _, found = tables([0, 3, 1, 0, 7, 2, 0, 0, 5, 7, 1], 7)
    path = write_cxi({**datasets, **found}, tmp_path / "run.cxi")
    (counts,) = read(f"{path}::n_peaks").values()
    by_rule = PeakCountRule(2, 4)(counts)
    assert by_rule["label"].compute().tolist() == [0, 2, 0, 0, 1, 2, 0, 0, 1, 1, 0]
    write(by_rule, tmp_path / "out.h5")
    assert [report.verdict for report in replay(tmp_path / "out.h5")] == [Verdict.IDENTICAL] * 2
