"""Geometry files of CrystFEL: what each line means, there and back, bad pixels, values in data files."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.crystfel import BadRegion, CrystFELGeometry, CrystFELPanel, PixelMask, Quantity, read_crystfel
from pycroclass.crystfel.parsing import parse
from pycroclass.errors import AxisError, DataError, ParameterError, ReadError, WriteError
from pycroclass.geometry import Panel, PanelGeometry

FILE = """
; a detector of two panels and a half
photon_energy = 9.5 keV   ; nine and a half
clen = 560 mm
coffset = 0.002
res = 9090.91
adu_per_eV = 0.00338
data = /entry_1/data_1/data
dim0 = %
dim1 = ss
dim2 = fs
mask = /entry_1/data_1/mask
mask_good = 0x0000
mask_bad = 0xfeff
mask1_data = /extra
mask1_file = ./mask.h5
mask1_goodbits = 010
peak_list = /entry_1/result_1
rigid_group_q0 = q0a0,q0a1

q0a0/min_fs = 0
q0a0/max_fs = 3
q0a0/min_ss = 0
q0a0/max_ss = 2
q0a0/corner_x = 10.5
q0a0/corner_y = -20
q0a0/fs = +0.009877x +0.999951y
q0a0/ss = -0.999951x +0.009877y -0.001z

max_adu = 10000
res = 5000
q0a1/min_fs = 4
q0a1/max_fs = 7.0
q0a1/min_ss = 0
q0a1/max_ss = 2
q0a1/corner_x = -30
q0a1/corner_y = 1e1
q0a1/fs = -x
q0a1/ss = y
q0a1/coffset = -.5e-3
q0a1/no_index = 0
q0a0/no_index = true
q0a0/flag_equal = 65535

badbeam/min_x = -1.5
badbeam/max_x = 2.5
badbeam/min_y = -3
badbeam/max_y = 3
bad_corner/min_fs = 4
bad_corner/max_fs = 5
bad_corner/min_ss = 1
bad_corner/max_ss = 2
bad_corner/panel = q0a1
rigid_group_collection_quadrants = q0
"""


def test_every_line_by_hand() -> None:
    geometry = parse(FILE)
    first, second = geometry.panels
    assert (first.name, first.min_fs, first.max_fs, first.min_ss, first.max_ss) == ("q0a0", 0, 3, 0, 2)
    assert (first.corner_x, first.corner_y, first.res, first.coffset) == (10.5, -20, 9090.91, 0.002)
    assert (first.fs, first.ss) == ((0.009877, 0.999951, 0), (-0.999951, 0.009877, -0.001))
    assert (first.no_index, first.max_adu, first.other) == (True, None, (("flag_equal", "65535"),))
    assert (second.max_fs, second.corner_y, second.res, second.coffset, second.max_adu) == (7, 10, 5000, -0.0005, 10000)
    assert (second.fs, second.ss, second.no_index) == ((-1, 0, 0), (0, 1, 0), False)
    for panel in geometry.panels:
        assert (panel.clen, panel.adu_per_eV, panel.data) == (Quantity("clen", 560, "mm"), 0.00338, "/entry_1/data_1/data")
        assert panel.dims == ("%", "ss", "fs")
        assert panel.masks == (
            PixelMask(0, "/entry_1/data_1/mask", None, 0, 0xFEFF),
            PixelMask(1, "/extra", "./mask.h5", 8, 0),
        )
    assert geometry.bad_regions == (
        BadRegion("badbeam", x=(-1.5, 2.5), y=(-3, 3)),
        BadRegion("bad_corner", fs=(4, 5), ss=(1, 2), panel="q0a1"),
    )
    assert geometry.groups == (("rigid_group_q0", ("q0a0", "q0a1")), ("rigid_group_collection_quadrants", ("q0",)))
    assert geometry.other == (("peak_list", "/entry_1/result_1"),)
    assert geometry.wavelength == pytest.approx(1.239841984e-6 / 9500, rel=1e-9)
    assert geometry.axes() == ("frame", "y", "x")
    detector = geometry.detector()
    assert [panel.z for panel in detector.panels] == pytest.approx([0.562, 0.5595])
    assert detector.wavelength == geometry.wavelength


def test_text_gives_it_back() -> None:
    geometry = parse(FILE)
    assert parse(geometry.to_text()) == geometry
    assert parse(geometry.to_text()).to_text() == geometry.to_text()


def numbers(low: float = -1e3, high: float = 1e3) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def crystfel_panels(draw: st.DrawFn, name: str, dims: tuple[str, ...]) -> CrystFELPanel:
    a, b = draw(numbers()), draw(numbers(0.1, 10))
    masks = [
        PixelMask(n, draw(st.none() | st.just("/m")), draw(st.none() | st.just("m.h5")), draw(st.integers(0, 2**32)), 3) for n in (0, 5)
    ]
    return CrystFELPanel(
        name,
        min_fs=draw(st.integers(0, 9)),
        max_fs=draw(st.integers(9, 30)),
        min_ss=draw(st.integers(0, 9)),
        max_ss=draw(st.integers(9, 30)),
        corner_x=draw(numbers()),
        corner_y=draw(numbers()),
        fs=(b, a, draw(numbers())),
        ss=(-a, b, draw(numbers())),
        res=draw(numbers(1, 1e5)),
        coffset=draw(st.sampled_from([0.0, 0.25]) | numbers()),
        clen=draw(st.none() | st.sampled_from([Quantity("clen", 0.1, "m"), Quantity("clen", "/clen"), Quantity("clen", 99.5, "mm")])),
        data=draw(st.none() | st.sampled_from(["/data", "/%/data"])),
        dims=tuple(draw(st.integers(0, 3)) if dim == "module" else dim for dim in dims),
        masks=tuple(masks[: draw(st.integers(0, 2))]),
        no_index=draw(st.booleans()),
        mask_edge_pixels=draw(st.integers(0, 2)),
        adu_per_photon=draw(st.none() | numbers()),
        max_adu=draw(st.none() | numbers()),
        other=tuple(sorted(draw(st.dictionaries(st.sampled_from(["flag_equal", "badrow_direction", "mine"]), st.just("5"))).items())),
    )


@settings(max_examples=60)
@given(st.data())
def test_any_value_comes_back_from_its_text(data: st.DataObject) -> None:
    dims = data.draw(st.sampled_from([("ss", "fs"), ("%", "ss", "fs"), ("%", "module", "ss", "fs"), ("module", "%", "ss", "fs")]))
    panels = tuple(data.draw(crystfel_panels(f"p{i}", dims)) for i in range(data.draw(st.integers(1, 3))))
    beams = [Quantity("wavelength", 1.3, "A"), Quantity("photon_energy", "/energy", "keV"), Quantity("electron_voltage", 200.0, "kV"), None]
    shifts = (Quantity("detector_shift_x", 0.1, "mm"), Quantity("detector_shift_y", "/shift"))
    regions = (BadRegion("bada", x=(-1.0, data.draw(numbers())), y=(0.0, 1.0)), BadRegion("badb", fs=(1, 2), ss=(3, 4), panel="p0"))
    geometry = CrystFELGeometry(
        panels,
        beam=data.draw(st.sampled_from(beams)),
        bad_regions=regions[: data.draw(st.integers(0, 2))],
        shift=shifts[: data.draw(st.integers(0, 2))],
        groups=(("group_all", ("p0",)),)[: data.draw(st.integers(0, 1))],
        other=(("bandwidth", "0.001"),)[: data.draw(st.integers(0, 1))],
    )
    assert parse(geometry.to_text()) == geometry


@settings(max_examples=30)
@given(st.lists(st.tuples(numbers(), numbers(), numbers(-3, 3)), min_size=1, max_size=4), st.booleans())
def test_a_detector_comes_back_from_its_file(places: list[tuple[float, float, float]], has_modules: bool) -> None:
    panels = tuple(
        Panel(
            f"p{i}",
            min_fs=0 if has_modules else 10 * i,
            max_fs=9 if has_modules else 10 * i + 9,
            min_ss=0,
            max_ss=4,
            corner_x=x,
            corner_y=y,
            fs=(np.cos(angle), np.sin(angle), 0.0),
            ss=(-np.sin(angle), np.cos(angle), 0.01),
            res=13333.3,
            clen=0.1,
            coffset=angle / 100,
            module=i if has_modules else None,
        )
        for i, (x, y, angle) in enumerate(places)
    )
    detector = PanelGeometry(panels, wavelength=1.2e-10)
    back = parse(CrystFELGeometry.of(detector, data="/data").to_text())
    assert back.detector() == detector
    assert back.axes() == (("frame", "module", "y", "x") if has_modules else ("frame", "y", "x"))


def test_distances_of_their_own_go_into_the_offset() -> None:
    one = Panel("a", min_fs=0, max_fs=3, min_ss=0, max_ss=3, corner_x=0, corner_y=0, res=1e4, clen=0.1)
    other = replace(one, name="b", min_fs=4, max_fs=7, clen=0.25, coffset=0.01)
    geometry = CrystFELGeometry.of(PanelGeometry((one, other)))
    assert len({panel.clen for panel in geometry.panels}) == 1
    assert [panel.z for panel in geometry.detector().panels] == pytest.approx([0.1, 0.26], rel=1e-15)


PANEL = "\n".join(
    [
        "res = 1e4",
        "clen = 0.1",
        *(f"p/{key}" for key in ("min_fs = 0", "max_fs = 3", "min_ss = 0", "max_ss = 3", "corner_x = 0", "corner_y = 0")),
    ]
)


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("x", (1, 0, 0)),
        ("-y", (0, -1, 0)),
        ("+0.5x+2y", (0.5, 2, 0)),
        ("1e-3x - 2.5E+1 y + .5z", (1e-3, -25, 0.5)),
        ("-0.003y 0.9x".replace(" ", " +"), (0.9, -0.003, 0)),
        ("+1.000000x +0.000000y", (1, 0, 0)),
    ],
)
def test_vectors(text: str, vector: tuple[float, float, float]) -> None:
    ss = "y" if vector[0] else "x"
    assert parse(f"{PANEL}\np/fs = {text}\np/ss = {ss}").panels[0].fs == vector


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("clen = 560 mm", 0.56),
        ("clen = 560mm", 0.56),
        ("clen = 0.56 m", 0.56),
        ("clen = 0.56", 0.56),
    ],
)
def test_distances(text: str, metres: float) -> None:
    assert parse(PANEL.replace("clen = 0.1", text)).panels[0].place.clen == pytest.approx(metres)


@pytest.mark.parametrize(
    ("text", "angstrom"),
    [
        ("wavelength = 1.5 A", 1.5),
        ("wavelength = 1.5e-10", 1.5),
        ("wavelength = 1.5e-10 m", 1.5),
        ("photon_energy = 12398.42", 1.0),
        ("photon_energy = 12.39842 keV", 1.0),
        ("photon_energy = 0.01239842 MeV", 1.0),
        ("electron_voltage = 200 kV", 0.0250793),
        ("electron_voltage = 300000", 0.0196875),
    ],
)
def test_wavelengths(text: str, angstrom: float) -> None:
    """Those of electrons from tables (Williams and Carter, Transmission Electron Microscopy: 0.00251 nm, 0.00197 nm)."""
    assert parse(f"{text}\n{PANEL}").wavelength == pytest.approx(angstrom * 1e-10, rel=1e-5)


def test_one_distance_for_all_panels_wherever_it_stands() -> None:
    """What else stands below a panel does not count for it."""
    geometry = parse("\n".join([*PANEL.splitlines()[:1], *PANEL.splitlines()[2:], "clen = 0.3", "coffset = 1"]))
    assert geometry.panels[0].place.z == 0.3


def test_pixel_pitch_and_shift_of_the_detector() -> None:
    text = PANEL.replace("res = 1e4", "pixel_pitch = 1e-4\ndetector_shift_x = 2 mm\ndetector_shift_y = -1e-3")
    panel = parse(text).detector().panels[0]
    assert (panel.res, panel.corner_x, panel.corner_y) == pytest.approx((1e4, 20, -10))


@pytest.mark.parametrize(
    ("line", "number", "message"),
    [
        ("p/min_fs", 9, "not of the form key = value"),
        ("p/min_fs = zero", 9, "wanted a number"),
        ("p/min_fs = 0.5", 9, "whole number"),
        ("p/fs = 1 2 0", 9, "wanted a vector"),
        ("p/fs = 0.5x0.2y", 9, "wanted a vector"),
        ("p/fs = x + x", 9, "wanted a vector"),
        ("clen = 0,1", 9, "a number with its unit, or a path"),
        ("clen = 1 inch", 9, "is in m or mm"),
        ("photon_energy = 9 GeV", 9, "is in eV or keV"),
        ("mask_bad = many", 9, "wanted bits"),
        ("badx/min_q = 1", 9, "a bad region has min and max"),
        ("badx/min_fs = 1", 9, "lacks min or max of fs"),
        ("badx/min_fs = 1\nbadx/max_fs = 2", 9, "needs min and max of fs and ss"),
        ("p/dim1 = fs", 3, "dim1 but not dim0"),
        ("p/dim0 = fs\np/dim1 = ss", 3, "ss and behind it fs"),
        ("p/max_fs = -2", 3, "must not be below zero"),
        ("q/min_fs = 0", 9, "lacks max_fs, min_ss"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, number: int, message: str) -> None:
    with pytest.raises(ReadError, match=rf"a\.geom: line {number}: .*{message}"):
        parse(f"{PANEL}\n{line}", "a.geom")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("; nothing\n", "at least one panel"),
        (f"wavelength = 1 A\nphoton_energy = 9\n{PANEL}", "line 2: .* has a wavelength already"),
        (f"{PANEL}\nbada/min_x = 0\nbada/max_x = 0\nbada/min_y = 0\nbada/max_y = 0\nbada/panel = q", "which is no panel"),
    ],
)
def test_files_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        parse(text)


def test_what_is_not_known_is_kept_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        geometry = parse(f"{PANEL}\ncofset = 3\np/tilt = 4")
    assert [record.getMessage() for record in caplog.records] == [
        "geometry: line 9: 'cofset' is not known and has no effect",
        "geometry: line 10: 'tilt' is not known and has no effect",
    ]
    assert (geometry.other, geometry.panels[0].other) == ((("cofset", "3"),), (("tilt", "4"),))


def test_bad_pixels_one_by_one() -> None:
    """Each pixel by what the format says of it, in plain loops."""
    text = FILE.replace("q0a0/no_index = true", "q0a0/mask_edge_pixels = 1").replace("q0a1/corner_x = -30", "q0a1/corner_x = 3")
    text = text.replace("q0a1/corner_y = 1e1", "q0a1/corner_y = 1.2")
    geometry = parse(text)
    rng = np.random.default_rng(0)
    masks = {"/entry_1/data_1/mask": rng.integers(0, 2, (4, 9)) << 8 | rng.integers(0, 2, (4, 9)), "/extra": rng.choice([8, 24, 0], (4, 9))}
    wanted, wanted_masked = np.ones((4, 9), bool), np.ones((4, 9), bool)
    for ss in range(3):
        for fs in range(8):
            if fs < 4:
                bad = ss in (0, 2) or fs in (0, 3)
                x = 10.5 + (fs + 0.5) * 0.009877 - (ss + 0.5) * 0.999951
                y = -20 + (fs + 0.5) * 0.999951 + (ss + 0.5) * 0.009877
            else:
                bad = fs <= 5 and 1 <= ss <= 2
                x, y = 3 - (fs - 4 + 0.5), 1.2 + ss + 0.5
            bad = bad or (-1.5 <= x <= 2.5 and -3 <= y <= 3)
            wanted[ss, fs] = bad
            wanted_masked[ss, fs] = bad or bool(masks["/entry_1/data_1/mask"][ss, fs] & 0xFEFF) or not masks["/extra"][ss, fs] & 8
    np.testing.assert_array_equal(geometry.bad_pixels((4, 9)), wanted)
    np.testing.assert_array_equal(geometry.bad_pixels((4, 9), masks=masks), wanted_masked)
    assert not wanted.all()
    assert (wanted_masked != wanted).any()
    assert geometry.bad_pixels().shape == (3, 8)
    assert parse(FILE).bad_pixels()[:, :4].all()


def test_bad_pixels_refuse() -> None:
    geometry = parse(f"mask = /m\nmask_bad = 1\n{PANEL}")
    assert geometry.bad_pixels(masks=np.eye(4, dtype=int)).sum() == 4
    with pytest.raises(AxisError, match=r"the mask /m has shape \(3, 3\), the frames \(4, 4\)"):
        geometry.bad_pixels(masks=np.eye(3, dtype=int))
    with pytest.raises(DataError, match="must hold integers"):
        geometry.bad_pixels(masks=np.eye(4))
    with pytest.raises(DataError, match="these are missing: /m"):
        geometry.bad_pixels(masks={"/n": np.eye(4)})
    with pytest.raises(DataError, match="the geometry names none"):
        parse(PANEL).bad_pixels(masks=np.eye(4, dtype=int))
    with pytest.raises(AxisError, match="geometry of other frames"):
        geometry.bad_pixels((3, 9))


def test_values_in_a_data_file(tmp_path: Path) -> None:
    text = PANEL.replace("clen = 0.1", "clen = /LCLS/clen\nphoton_energy = /LCLS/energy keV\ndetector_shift_x = /LCLS/x mm")
    geometry = parse(text)
    assert not geometry.is_resolved
    assert geometry.wavelength is None
    with pytest.raises(ParameterError, match=r"resolved\(file\)"):
        geometry.detector()
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["LCLS/clen"] = [99.0, 100.0, 103.0]
        file["LCLS/energy"] = 12.39842
        file["LCLS/x"] = 3.0
    detector = geometry.resolved(tmp_path / "run.h5").detector()
    assert detector.panels[0].clen == pytest.approx(0.1)
    assert detector.wavelength == pytest.approx(1e-10, rel=1e-6)
    assert detector.panels[0].corner_x == pytest.approx(30)
    assert parse(text.replace("/LCLS/clen", "/LCLS/x m")).resolved(tmp_path / "run.h5").panels[0].place.clen == 3
    for missing, message in (("/LCLS/other", "has no number at /LCLS/other"), ("/%/clen", "elsewhere for each frame")):
        with pytest.raises(ReadError, match=message):
            parse(text.replace("/LCLS/clen", missing)).resolved(tmp_path / "run.h5")


def test_panels_of_several_places() -> None:
    text = f"{PANEL}\np/data = /a\n" + PANEL.replace("p/", "q/") + "\nq/data = /b\nq/dim0 = %\nq/dim1 = 3\nq/dim2 = ss\nq/dim3 = fs"
    geometry = parse(text)
    assert geometry.data == ("/a", "/b")
    assert [geometry.detector(place).slab_shape for place in geometry.data] == [(4, 4), (4, 4, 4)]
    assert geometry.axes("/b") == ("frame", "module", "y", "x")
    assert geometry.bad_pixels(data="/b").sum() == 48
    with pytest.raises(ParameterError, match="name one with data=: /a, /b"):
        geometry.detector()
    with pytest.raises(ParameterError, match="no panel lies at '/c'"):
        geometry.detector("/c")
    with pytest.raises(ParameterError, match="dims of the panels differ"):
        parse(text.replace("/b", "/a").replace("q/min_fs = 0\nq/max_fs = 3", "q/min_fs = 4\nq/max_fs = 7")).detector()


def test_files(tmp_path: Path) -> None:
    geometry = parse(FILE)
    path = geometry.write(tmp_path / "a.geom")
    assert read_crystfel(path) == geometry
    with pytest.raises(WriteError, match="exists already"):
        geometry.write(path)
    assert geometry.write(path, overwrite=True) == path
    with pytest.raises(ReadError, match="cannot be read"):
        read_crystfel(tmp_path / "b.geom")


@pytest.mark.parametrize("name", ["badpanel", "group1", "a/b", "", "a b", "rigid_group"])
def test_names_that_the_format_cannot_hold(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be named"):
        CrystFELGeometry.of(PanelGeometry((replace(parse(PANEL).detector().panels[0], name=name),)))
