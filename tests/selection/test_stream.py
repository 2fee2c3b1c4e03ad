"""Stream files of CrystFEL: written against a parser of a few lines, read from text as indexamajig writes it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sidpy
from hypothesis import given
from hypothesis import strategies as st

import pycroclass as pc
from pycroclass.crystfel import CrystFELGeometry
from pycroclass.errors import AxisError, DataError, ParameterError, ReadError, WriteError
from pycroclass.geometry import Geometry, Panel, PanelGeometry
from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.provenance import Provenance
from pycroclass.readers import read
from pycroclass.selection import FrameSelection, labels_from_stream, read_stream, stream_chunks, write_stream
from pycroclass.selection.stream_format import EventNames, as_comments, from_comments
from pycroclass.sid import unwrap, wrap
from pycroclass.spec import Axis, Spec
from pycroclass.writers import write_cxi

RES = {"res": 1 / 75e-6, "clen": 0.1}
SLAB = PanelGeometry(
    [
        Panel("p0", min_fs=0, max_fs=19, min_ss=0, max_ss=9, corner_x=1.5, corner_y=-40.0, **RES),
        Panel("p1", min_fs=0, max_fs=19, min_ss=10, max_ss=19, corner_x=-30, corner_y=20, fs=(0.8, 0.6, 0), ss=(-0.6, 0.8, 0), **RES),
        Panel("tilted", min_fs=0, max_fs=19, min_ss=20, max_ss=29, corner_x=9, corner_y=9, fs=(0.0, 1.0, 0.1), coffset=0.002, **RES),
    ],
    wavelength=1.3e-10,
)
MODULES = PanelGeometry(tuple(replace(p.moved(-p.min_ss, 0), module=i) for i, p in enumerate(SLAB.panels)), SLAB.wavelength)
ENERGY = 12398.41984 / 1.3


def selection(n: int = 5, **changed: object) -> FrameSelection:
    columns = {
        "file": [f"/data/run_{i % 2}.cxi" for i in range(n)],
        "dataset": ["/entry_1/data_1/data"] * n,
        "index": [7 * i for i in range(n)],
        "event": [""] * n,
        "score": np.linspace(0, 1, n),
        "decision": [("miss", "uncertain", "hit")[i % 3] for i in range(n)],
        "reason": ["hit" if i % 3 == 2 else "" for i in range(n)],
        "about": {"policy": {"sensitivity": 0.98}, "note": "µ" * 3000},
    }
    return FrameSelection(**{**columns, **changed})


def table(counts: list[int], n_peaks: int = 6, chunks: int = 2) -> tuple[np.ndarray, sidpy.Dataset]:
    rng = np.random.default_rng(3)
    values = np.full((len(counts), n_peaks, len(COLUMNS)), np.nan, "f4")
    for i, n in enumerate(counts):
        values[i, :n] = rng.uniform(1, 900, (n, len(COLUMNS)))
        values[i, :n, 0], values[i, :n, 1] = rng.uniform(0, 19, n).round(2), rng.uniform(0, 29, n).round(2)
    axes = (Axis("frame", len(counts), "temporal"), Axis("peak", n_peaks), Axis("column", len(COLUMNS), "channel"))
    spec = Spec(axes, values.dtype, classes=COLUMNS)
    return values, wrap(da.from_array(values, chunks=(chunks, 4, 3)), spec, provenance=Provenance("given", {}))


COUNTS = [0, 6, 2, 0, 5]


def blocks(text: str, begin: str, end: str) -> Iterator[list[str]]:
    """Lines between two marks."""
    lines = iter(text.splitlines())
    for line in lines:
        if line == begin:
            yield list(takewhile(lambda one: one != end, lines))


@pytest.mark.parametrize("geometry", [SLAB, CrystFELGeometry.of(SLAB, data="/entry_1/data_1/data"), MODULES])
def test_the_file_is_what_the_format_says(tmp_path: Path, geometry: PanelGeometry | CrystFELGeometry) -> None:
    chosen, (values, peaks) = selection(), table(COUNTS)
    text = write_stream(chosen, tmp_path / "a.stream", peaks=peaks, geometry=geometry).read_text()
    assert text.splitlines()[0] == "CrystFEL stream format 2.3"
    assert max(map(len, text.splitlines())) < 1023, "CrystFEL cuts longer lines"
    chunks = list(blocks(text, "----- Begin chunk -----", "----- End chunk -----"))
    assert len(chunks) == 5
    for i, chunk in enumerate(chunks):
        assert chunk[:5] == [
            f"Image filename: /data/run_{i % 2}.cxi",
            f"Event: //{7 * i}",
            f"Image serial number: {i + 1}",
            f"hit = {int(i % 3 == 2)}",
            "indexed_by = none",
        ]
        facts = dict(line.split(" = ") for line in chunk if " = " in line)
        assert float(facts["photon_energy_eV"]) == pytest.approx(ENERGY, rel=1e-6)
        assert int(facts["num_peaks"]) == COUNTS[i]
        assert facts["average_camera_length"] == f"{0.1 + 0.002 / 3:f} m"
        ((head, *rows),) = blocks("\n".join(chunk), "Peaks from peak search", "End of peak list")
        assert head == "  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel"
        assert len(rows) == COUNTS[i]
        for row, (fs, ss, _, intensity, *_) in zip(rows, values[i]):
            assert re.fullmatch(r" *\d+\.\d\d +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d   \w+", row)
            found_fs, found_ss, inverse_d, found, panel = row.split()
            number = int(np.rint(ss) // 10)
            assert panel == SLAB.panels[number].name
            in_file = ss - 10 * number if geometry is MODULES else ss
            assert (float(found_fs), float(found_ss)) == pytest.approx((fs + 0.5, in_file + 0.5), abs=0.0051)
            assert float(found) == pytest.approx(intensity, abs=0.0051)
            assert float(inverse_d) == pytest.approx(resolution(number, fs, ss - 10 * number), abs=0.0051)


def resolution(panel: int, fs: float, ss: float) -> float:
    """2 sin(theta) / lambda in 1/nm, from the angle at the sample."""
    p = SLAB.panels[panel]
    steps = np.array([p.fs, p.ss]) * 75e-6
    place = np.array([p.corner_x * 75e-6, p.corner_y * 75e-6, 0.1 + p.coffset]) + (fs + 0.5) * steps[0] + (ss + 0.5) * steps[1]
    two_theta = np.arctan2(np.hypot(place[0], place[1]), place[2])
    return 2 * np.sin(two_theta / 2) / 0.13


def test_1_over_d_is_that_of_the_geometry() -> None:
    """q / 2 pi of the maps that operators use."""
    from pycroclass.selection.peak_places import PeakPlaces

    places, (ss, fs) = PeakPlaces(SLAB), (grid.ravel().astype(float) for grid in np.mgrid[:30, :20])
    panels = places.panels(fs, ss)
    np.testing.assert_array_equal(panels, SLAB.panel_numbers((30, 20)).ravel())
    np.testing.assert_allclose(places.resolution(fs, ss, panels), SLAB.q_map((30, 20)).ravel() * 1e-9 / (2 * np.pi), rtol=1e-9)


@pytest.mark.parametrize("geometry", [SLAB, MODULES])
def test_read_gives_back_what_was_written(tmp_path: Path, geometry: PanelGeometry) -> None:
    chosen, (values, peaks) = selection(), table(COUNTS)
    path = write_stream(chosen, tmp_path / "a.stream", peaks=peaks, geometry=geometry)
    stream = read_stream(path)
    for name in ("file", "dataset", "index", "event", "reason"):
        np.testing.assert_array_equal(getattr(stream.frames, name), getattr(chosen, name))
    np.testing.assert_allclose(stream.frames.score, chosen.score)
    assert stream.frames.decision.tolist() == ["hit" if name == "hit" else "miss" for name in chosen.decision]
    assert stream.frames.about == chosen.about
    assert stream.geometry is not None
    assert stream.geometry.detector() == CrystFELGeometry.of(geometry, data="/entry_1/data_1/data").detector()
    spec = unwrap(stream.peaks)[1]
    assert (spec.names, spec.classes, spec.shape) == (("frame", "peak", "column"), COLUMNS, values.shape)
    found = stream.peaks.compute()
    np.testing.assert_allclose(found[..., [0, 1, 3]], values[..., [0, 1, 3]], atol=0.0051)
    np.testing.assert_array_equal(found[..., 2], np.rint(values[..., 1]) // 10)
    np.testing.assert_array_equal(stream.peaks[1:3, 1:4].compute(), found[1:3, 1:4])
    assert stream.frames.more["n_peaks"].tolist() == COUNTS
    assert not stream.frames.more["is_indexed"].any()


def test_blocks_do_not_matter(tmp_path: Path) -> None:
    texts = {
        write_stream(selection(), tmp_path / f"{chunks}.stream", peaks=table(COUNTS, chunks=chunks)[1], geometry=SLAB).read_text()
        for chunks in (1, 2, 5)
    }
    assert len(texts) == 1


def test_without_a_geometry(tmp_path: Path) -> None:
    chosen = selection(2500)
    path = write_stream(chosen, tmp_path / "a.stream")
    assert "photon_energy" not in path.read_text()
    stream = read_stream(path)
    np.testing.assert_array_equal(stream.frames.index, chosen.index)
    assert stream.geometry is None
    assert np.isnan(stream.peaks.compute()).all()
    assert np.isnan(stream.frames.more["photon_energy_eV"]).all()


def test_a_long_geometry_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        write_stream(selection(), tmp_path / "a.stream", geometry=SLAB)
        assert not caplog.text
        path = write_stream(selection(about={"note": "x" * 70_000}), tmp_path / "b.stream", geometry=SLAB)
    assert "no more than 65534" in caplog.text
    assert read_stream(path).frames.about == {"note": "x" * 70_000}


def test_energies_of_each_frame(tmp_path: Path) -> None:
    energies = np.array([9000, 9001.5, np.nan, 9003, 9004])
    path = write_stream(selection(more={"photon_energy_eV": energies}), tmp_path / "a.stream", geometry=SLAB)
    np.testing.assert_allclose(read_stream(path).frames.more["photon_energy_eV"], energies)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path, (_, peaks) = tmp_path / "a.stream", table(COUNTS)
    with pytest.raises(ParameterError, match="need a geometry"):
        write_stream(selection(), path, peaks=peaks)
    with pytest.raises(ParameterError, match="of_flat"):
        write_stream(selection(), path, geometry=Geometry((1, 2)))
    with pytest.raises(ParameterError, match="resolved"):
        write_stream(selection(), path, peaks=peaks, geometry=replace(SLAB, wavelength=None))
    with pytest.raises(ParameterError, match="5 frames, the selection has 4"):
        write_stream(selection(4), path, peaks=peaks, geometry=SLAB)
    array, spec = unwrap(peaks)
    with pytest.raises(AxisError, match="lack fs, ss, intensity"):
        write_stream(selection(), path, peaks=wrap(array, replace(spec, classes=()), provenance=Provenance("given", {})), geometry=SLAB)
    far = wrap(array + 300, spec, provenance=Provenance("given", {}))
    with pytest.raises(DataError, match=r"frame 1 .* lies on no panel"):
        write_stream(selection(), path, peaks=far, geometry=SLAB)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_stream(selection(), path)
    assert path.read_bytes() == b"precious"


INDEXED = """CrystFEL stream format 2.3
Generated by CrystFEL 0.10.2
indexamajig -i files.lst -g a.geom -o a.stream --indexing=mosflm
Indexing methods selected: mosflm-nolatt-nocell
----- Begin geometry file -----
photon_energy = 9505 eV
clen = /LCLS/detector_1/EncoderValue
res = 9097.52
data = /entry_1/data_1/data
dim0 = %
dim1 = ss
dim2 = fs
q0a0/min_fs = 0
q0a0/max_fs = 193
q0a0/min_ss = 0
q0a0/max_ss = 184
q0a0/corner_x = -2
q0a0/corner_y = 4
----- End geometry file -----
----- Begin unit cell -----
CrystFEL unit cell file version 1.0
----- End unit cell -----
----- Begin chunk -----
Image filename: run 7/r0093.cxi
Event: //41
Image serial number: 42
hit = 1
indexed_by = mosflm-nolatt-nocell
n_indexing_tries = 1
photon_energy_eV = 9498.310547
beam_divergence = 0.00e+00 rad
beam_bandwidth = 1.00e-08 (fraction)
average_camera_length = 0.135000 m
num_peaks = 2
peak_resolution = 3.270000 nm^-1 or 3.058104 A
Peaks from peak search
  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel
 108.36   13.08       1.55     1211.13   q0a0
  77.50  160.50       2.75      812.00   q0a0
End of peak list
--- Begin crystal
Cell parameters 7.80000 7.80000 3.70000 nm, 90.00000 90.00000 90.00000 deg
astar = +0.0876500 +0.0322100 -0.0876500 nm^-1
num_peaks = 99
num_reflections = 2
Reflections measured after indexing
   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel
 -14    3    1      20.86      14.71      70.00      15.19  100.5  170.4 q0a0
----- 1    2    3      20.86      14.71      70.00      15.19  100.5  170.4 q0a0
End of reflections
--- End crystal
--- Begin crystal
Cell parameters 7.80000 7.80000 3.70000 nm, 90.00000 90.00000 90.00000 deg
--- End crystal
----- End chunk -----
----- Begin chunk -----
Image filename: run 7/r0093.cxi
Event: //43
Image serial number: 44
hit = 1
indexed_by = none
n_indexing_tries = 0
photon_energy_eV = 9498.310547
num_peaks = 1
Peaks from peak search
  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel
   0.50    0.50       0.10       12.00   q0a0
End of peak list
----- End chunk -----
----- Begin chunk -----
Image filename: run 7/r0093.cxi
Event: //44
Image serial number: 45
hit = 0
indexed_by = none
photon_energy_eV = 9498.310547
num_peaks = 0
Peaks from peak search
  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel
End of peak list
----- End chunk -----
"""


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    path = tmp_path / "a.stream"
    path.write_text(INDEXED)
    return path


def test_a_stream_of_indexamajig(indexed: Path, tmp_path: Path) -> None:
    stream = read_stream(indexed)
    frames = stream.frames
    assert frames.file.tolist() == [str(tmp_path / "run 7" / "r0093.cxi")] * 3
    assert frames.dataset.tolist() == ["/entry_1/data_1/data"] * 3
    assert frames.index.tolist() == [41, 43, 44]
    assert frames.decision.tolist() == ["hit", "hit", "miss"]
    assert frames.score.tolist() == [2, 1, 0]
    assert frames.more["is_indexed"].tolist() == [True, False, False]
    assert frames.more["indexed_by"].tolist() == ["mosflm-nolatt-nocell", "none", "none"]
    assert frames.more["n_crystals"].tolist() == [2, 0, 0]
    assert frames.more["photon_energy_eV"].tolist() == [9498.310547] * 3
    found = stream.peaks.compute()
    np.testing.assert_allclose(found[0, 1, [0, 1, 2, 3]], [77, 160, 0, 812])
    np.testing.assert_allclose(found[1, 0, [0, 1]], [0, 0])
    assert np.isnan(found[1, 1]).all()
    assert np.isnan(found[2]).all()
    assert read_stream(indexed, folder="/elsewhere").frames.file[0] == "/elsewhere/run 7/r0093.cxi"


def test_chunks_one_by_one(indexed: Path) -> None:
    first, second, third = stream_chunks(indexed)
    assert first.facts["n_indexing_tries"] == "1"
    assert first.number("num_peaks") == 2, "what a crystal says of itself is not of the frame"
    assert first.panels == ("q0a0", "q0a0")
    assert second.peaks.tolist() == [[0.5, 0.5, 0.1, 12.0]]
    assert third.peaks.shape == (0, 4)


def test_older_streams(tmp_path: Path) -> None:
    """Version 2.1: no panels, no word on hits."""
    old = re.sub(r"   q0a0$|^hit = .*\n", "", INDEXED, flags=re.MULTILINE).replace("format 2.3", "format 2.1")
    (tmp_path / "a.stream").write_text(re.sub(r"----- Begin geometry.*End geometry file -----\n", "", old, flags=re.DOTALL))
    stream = read_stream(tmp_path / "a.stream")
    assert stream.frames.decision.tolist() == ["hit", "miss", "miss"]
    assert stream.frames.dataset.tolist() == [""] * 3
    assert np.isnan(stream.peaks.compute()[..., COLUMNS.index("panel")]).all()


def test_a_chunk_that_does_not_end_is_left_out(indexed: Path, caplog: pytest.LogCaptureFixture) -> None:
    for at in (INDEXED.rindex("hit = 0"), INDEXED.rindex("  fs/px") + 10):
        indexed.write_text(INDEXED[:at])
        with caplog.at_level(logging.WARNING):
            assert read_stream(indexed).frames.index.tolist() == [41, 43]
        assert "chunk 2 does not end" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("CrystFEL stream format 2.3", "CrystFEL stream format 3.0", "no stream of CrystFEL"),
        ("  0.50    0.50 ", "  0.50    half ", "chunk 1 cannot"),
        ("  0.50    0.50 ", "  0.50 ", "chunk 1 cannot"),
        ("Event: //43", "Event: //43/2", "chunk 1 cannot .* several axes"),
        ("160.50       2.75      812.00   q0a0", "160.50       2.75      812.00   q9", "chunk 0 .* no panel q9"),
        ("num_peaks = 1\n", "num_peaks = one\n", "chunk 1 cannot"),
        ("Image filename: run 7", "Image: run 7", "chunk 0 cannot .*Image filename"),
        ("q0a0/corner_x = -2", "q0a0/corner_x = west", "geometry file"),
    ],
)
def test_damaged_streams(indexed: Path, found: str, instead: str, message: str) -> None:
    assert found in INDEXED
    indexed.write_text(INDEXED.replace(found, instead))
    with pytest.raises(ReadError, match=message):
        read_stream(indexed)


def test_streams_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.stream").write_text("CrystFEL stream format 2.3\n")
    with pytest.raises(ReadError, match="holds no frame"):
        read_stream(tmp_path / "a.stream")
    with pytest.raises(ReadError, match="cannot be read"):
        read_stream(tmp_path / "none.stream")
    (tmp_path / "a.stream").write_text(INDEXED.replace("//43", "//41"))
    with pytest.raises(DataError, match="twice"):
        read_stream(tmp_path / "a.stream")


def places(*rows: tuple[str, int]) -> FrameSelection:
    n = len(rows)
    files, index = zip(*rows)
    return FrameSelection(
        file=files, dataset=["/data"] * n, index=index, event=[""] * n, score=[0] * n, decision=["miss"] * n, reason=[""] * n
    )


def test_labels(indexed: Path, tmp_path: Path) -> None:
    stream, file = read_stream(indexed), str(tmp_path / "run 7" / "r0093.cxi")
    labels = labels_from_stream(stream, places((file, 44), (file, 41), (file, 42), ("/other.cxi", 41), (file, 43)))
    assert labels.tolist() == [0, 1, -1, -1, 0]
    assert labels_from_stream(stream, places(("/copy/r0093.cxi", 41), ("/copy/r0093.cxi", 43))).tolist() == [1, 0]
    with pytest.raises(DataError, match="several files have the same name"):
        labels_from_stream(stream, places(("/a/r0093.cxi", 41), ("/b/r0093.cxi", 43)))
    with pytest.raises(DataError, match="none of the 1 frames"):
        labels_from_stream(stream, places(("/a/x.cxi", 41)))


def test_events_in_paths(tmp_path: Path) -> None:
    """As of SACLA: each shot is a group of its own."""
    text = INDEXED.replace("data = /entry_1/data_1/data", "data = /%/data").replace(
        "dim0 = %\ndim1 = ss\ndim2 = fs", "dim0 = ss\ndim1 = fs"
    )
    (tmp_path / "a.stream").write_text(re.sub(r"Event: //(\d+)", r"Event: tag-\1//", text))
    stream = read_stream(tmp_path / "a.stream")
    assert stream.frames.dataset.tolist() == ["/tag-41/data", "/tag-43/data", "/tag-44/data"]
    assert stream.frames.index.tolist() == [0, 0, 0]
    assert stream.frames.event.tolist() == ["tag-41//", "tag-43//", "tag-44//"]
    again = read_stream(write_stream(stream.frames, tmp_path / "b.stream", geometry=stream.geometry)).frames
    assert again.dataset.tolist() == stream.frames.dataset.tolist()
    assert labels_from_stream(stream, again).tolist() == [1, 0, 0]
    with pytest.raises(DataError, match="cannot be named"):
        write_stream(selection(), tmp_path / "c.stream", geometry=stream.geometry)


@given(
    st.sampled_from(["/a/b", "/%/b", "/a/%/b/%", "%"]),
    st.lists(st.text("abc-_7", min_size=1), min_size=2, max_size=2),
    st.integers(0, 9999),
)
def test_event_names_and_places(data: str, parts: list[str], index: int) -> None:
    dataset = data
    for part in parts:
        dataset = dataset.replace("%", part, 1)
    names = EventNames(data)
    assert names.place(names.name(dataset, index)) == (dataset, index)


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=5000))
def test_texts_in_comments(text: str) -> None:
    lines = as_comments(text)
    assert from_comments([f"{line}\n" for line in lines]) == text
    assert all(len(line) <= 1000 for line in lines)


@pytest.mark.shared
def test_peaks_of_real_frames(shared: Path, tmp_path: Path) -> None:
    """CSPAD hits: through a stream and through CXI come the same peaks, at the resolution of the geometry's own map."""
    images = [np.load(file) for file in sorted((shared / "diffraction" / "cspad").glob("*.npz"))]
    frames, bad = np.stack([file["image"] for file in images]), images[0]["mask"] == 0
    known = images[0]
    pixel = float(known["pixel_mm"]) * 1e-3
    flat = Geometry((889.5, 889.5), (pixel, pixel), float(known["distance_mm"]) * 1e-3, float(known["wavelength_A"]) * 1e-10)
    axes = (Axis("frame", 2, "temporal"), Axis("y", 1780, "spatial"), Axis("x", 1780, "spatial"))
    dataset = wrap(da.from_array(frames, chunks=(1, -1, -1)), Spec(axes, frames.dtype, geometry=flat), provenance=Provenance("given", {}))
    found = pc.PeakFinder8(150, min_snr=5, max_pixels=20, mask=bad, max_peaks=300)(dataset)
    table = np.asarray(found["peaks"].compute())
    assert (found["n_peaks"].compute() > 50).all()
    geometry = PanelGeometry.of_flat(flat, (1780, 1780))
    stream = read_stream(write_stream(selection(2), tmp_path / "a.stream", peaks=found["peaks"], geometry=geometry))
    np.testing.assert_allclose(stream.peaks.compute()[..., :2], table[:, : stream.peaks.shape[1], :2], atol=0.0051)
    q = geometry.q_map((1780, 1780)) * 1e-9 / (2 * np.pi)
    for chunk, rows in zip(stream_chunks(tmp_path / "a.stream"), table):
        fs, ss = np.rint(rows[: len(chunk.peaks), :2]).astype(int).T
        np.testing.assert_allclose(chunk.peaks[:, 2], q[ss, fs], atol=0.02)
    again = read(write_cxi({"image": dataset, **found}, tmp_path / "a.cxi", compression="bitshuffle-lz4"))
    np.testing.assert_array_equal(again["peaks"].compute(), table)
    np.testing.assert_array_equal(again["image"].compute(), frames)
