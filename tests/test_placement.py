"""A geometry given by the user: in the metadata, in results, in their replay; from a geometry file while reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.errors import AxisError, ParameterError, ReadError
from pycroclass.geometry import Geometry, Panel, PanelGeometry
from pycroclass.readers.placing import placed
from pycroclass.replay import Verdict
from pycroclass.sid import unwrap

FRAMES = np.random.default_rng(0).poisson(5, (5, 12, 16)).astype("u2")
MASK = (np.arange(192).reshape(12, 16) % 7 == 0).astype("u2")
LEFT = Panel("left", min_fs=0, max_fs=7, min_ss=0, max_ss=11, corner_x=-9.5, corner_y=-6, fs=(0.999, 0.02, 0), res=1e4, clen=0.1)
RIGHT = replace(LEFT, name="right", min_fs=8, max_fs=15, corner_x=1.5, corner_y=-5.5)
TWO = PanelGeometry((LEFT, RIGHT), wavelength=1.3e-10)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.cxi"
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/instrument_1/detector_1/data"] = FRAMES
        file["entry_1/instrument_1/detector_1/mask"] = MASK
        file["entry_1/instrument_1/source_1/energy"] = 1.5e-15
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        file["entry_1/result_1/label"] = np.arange(5)
        file["LCLS/clen"] = 100.0
    return path


@pytest.fixture
def geom(tmp_path: Path) -> Path:
    return pc.CrystFELGeometry.of(TWO, data="/entry_1/data_1/data").write(tmp_path / "two.geom")


def test_read_with_a_geometry_file(run: Path, geom: Path) -> None:
    datasets = pc.read(run, geometry=geom)
    assert list(datasets) == ["image", "mask", "label"]
    assert [unwrap(dataset)[1].geometry for dataset in datasets.values()] == [TWO, TWO, None]
    np.testing.assert_array_equal(np.asarray(datasets["image"]), FRAMES)
    np.testing.assert_array_equal(np.asarray(datasets["label"]), np.arange(5))
    assert unwrap(pc.read(f"{run}::image", geometry=str(geom))["image"])[1].geometry == TWO
    assert unwrap(pc.read(run, geometry=TWO)["image"])[1].geometry == TWO
    flat = Geometry((3, 4))
    assert unwrap(pc.read(run, geometry=flat)["mask"])[1].geometry == flat


def test_what_the_geometry_file_leaves_to_the_data_file(run: Path, geom: Path) -> None:
    lines = geom.read_text().replace("clen = 0.1 m", "clen = /LCLS/clen").splitlines()
    geom.write_text("\n".join(line for line in lines if "wavelength" not in line))
    for path in (run, f"{run}::image"):
        geometry = unwrap(pc.read(path, geometry=geom)["image"])[1].geometry
        assert geometry.distance == pytest.approx(0.1)
        assert geometry.wavelength == pytest.approx(1.986445857e-25 / 1.5e-15)
    datasets = pc.read(run)
    with pytest.raises(ParameterError, match="these are several files"):
        placed(datasets, geom, [run])


def test_results_are_replayed(run: Path, geom: Path, tmp_path: Path) -> None:
    """Also where the geometry file is gone: its values are in the provenance."""
    frames = pc.read(run, geometry=geom)["image"]
    pc.write({"profile": pc.RadialProfile()(frames), "frames": (pc.Assemble())(frames)}, tmp_path / "out.h5")
    geom.unlink()
    assert [replayed.verdict for replayed in pc.replay(tmp_path / "out.h5")] == [Verdict.IDENTICAL] * 2
    back = pc.read(tmp_path / "out.h5")
    image = next(dataset for key, dataset in back.items() if key.endswith("frames"))
    assert isinstance(unwrap(image)[1].geometry, Geometry)


def test_from_the_command_line(
    run: Path, geom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "profile.yaml"
    recipe.write_text("dataset: image\npipeline: [RadialProfile]\n")
    for command in (["plan", recipe, run], ["run", recipe, run, "-o", tmp_path / "out.h5", "--device", "cpu"]):
        monkeypatch.setattr("sys.argv", ["pycroclass", *map(str, command), "--geometry", str(geom)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, capsys.readouterr().err
    (profile,) = pc.read(tmp_path / "out.h5").values()
    np.testing.assert_array_equal(np.asarray(profile), np.asarray(pc.RadialProfile()(pc.read(run, geometry=geom)["image"])))


def test_nsid_keeps_panels(run: Path, geom: Path, tmp_path: Path) -> None:
    frames = pc.read(run, geometry=geom)["image"]
    pc.write({"log": pc.Log1p()(frames)}, tmp_path / "out.h5")
    (back,) = pc.read(tmp_path / "out.h5").values()
    assert unwrap(back)[1].geometry == TWO
    (again,) = pc.replay(tmp_path / "out.h5")
    assert again.verdict is Verdict.IDENTICAL


def test_geometry_of_other_frames(run: Path, tmp_path: Path) -> None:
    wide = PanelGeometry((LEFT, replace(RIGHT, max_fs=16)))
    path = pc.CrystFELGeometry.of(wide).write(tmp_path / "wide.geom")
    with pytest.raises(AxisError, match=r"fits no dataset\. image: the panels need \(12, 17\) pixels, the images have \(12, 16\)"):
        pc.read(run, geometry=path)
    with pytest.raises(ReadError, match="cannot be read"):
        pc.read(run, geometry=tmp_path / "none.geom")


def test_axes_are_named_by_the_geometry_file(tmp_path: Path) -> None:
    """A file of modules that says nothing of its axes; the mask has no frames."""
    path = tmp_path / "modules.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(5 * 2 * 6 * 8).reshape(5, 2, 6, 8)
        file["mask"] = np.zeros((2, 6, 8), "u1")
    modules = PanelGeometry([replace(LEFT, name=f"m{i}", max_ss=5, module=i, corner_x=10.0 * i) for i in range(2)])
    geom = pc.CrystFELGeometry.of(modules, data="/data").write(tmp_path / "m.geom")
    datasets = pc.read(path, format="HDF5", geometry=geom)
    assert {key: unwrap(dataset)[1].names for key, dataset in datasets.items()} == {
        "data": ("frame", "module", "y", "x"),
        "mask": ("module", "y", "x"),
    }
    assert all(unwrap(dataset)[1].geometry == modules for dataset in datasets.values())
    pc.write({"image": (pc.StackModules() | pc.Assemble())(datasets["data"])}, tmp_path / "out.h5")
    (again,) = pc.replay(tmp_path / "out.h5")
    assert again.verdict is Verdict.IDENTICAL


def test_with_geometry_refuses(run: Path) -> None:
    image = pc.read(run)["image"]
    with pytest.raises(AxisError, match="has no axis 'module'"):
        pc.with_geometry(image, PanelGeometry([replace(LEFT, module=0)]))
    with pytest.raises(AxisError, match="must name each of the 3 axes"):
        pc.with_geometry(image, TWO, axes=("y", "x"))
    with pytest.raises(AxisError, match="geometry of other frames"):
        pc.with_geometry(image, PanelGeometry([replace(LEFT, max_ss=40)]))


def test_a_mask_of_bits_and_of_regions_in_use(run: Path, geom: Path) -> None:
    """Bits of the mask of the file, by its CXI meaning and by the geometry file's, as operators take them."""
    datasets = pc.read(run, geometry=geom)
    np.testing.assert_array_equal(pc.bad_pixels(datasets["mask"]), MASK != 0)
    file = replace(pc.read_crystfel(geom), panels=tuple(replace(p, mask_edge_pixels=1) for p in pc.read_crystfel(geom).panels))
    bad = file.bad_pixels(FRAMES.shape[1:]) | pc.bad_pixels(datasets["mask"])
    filled = np.asarray(pc.MaskPixels(bad, fill=0)(datasets["image"]))
    np.testing.assert_array_equal(filled, np.where(bad, 0, FRAMES))
    assert np.isfinite(np.asarray(pc.RadialSNR(mask=bad)(datasets["image"]))).all()


@pytest.mark.shared
def test_a_real_frame_cut_into_panels(shared: Path) -> None:
    """Quarters of a real CXI frame, moved apart by whole pixels: the assembled image is made of them, place by place."""
    path = shared / "diffraction/formats/minimal.cxi"
    (plain,) = pc.read(path).values()
    values = np.asarray(plain)
    height, width = (n // 2 for n in values.shape)
    corners = {"nw": (-width - 3.0, 2.0), "ne": (4.0, 1.0), "sw": (-width - 2.0, -height - 1.0), "se": (1.0, -height - 5.0)}
    ends = [(ss, fs) for ss in ((0, height - 1), (height, 2 * height - 1)) for fs in ((0, width - 1), (width, 2 * width - 1))]
    panels = [
        Panel(name, min_ss=ss[0], max_ss=ss[1], min_fs=fs[0], max_fs=fs[1], corner_x=x, corner_y=y, res=1e4)
        for (name, (x, y)), (ss, fs) in zip(corners.items(), ends, strict=True)
    ]
    (dataset,) = pc.read(path, geometry=PanelGeometry(panels)).values()
    image = np.asarray(pc.Assemble()(dataset))
    top, left = (int(min(panel.corner_y for panel in panels)), int(min(panel.corner_x for panel in panels)))
    wanted = np.full(image.shape, np.nan)
    for panel in panels:
        y, x = int(panel.corner_y) - top, int(panel.corner_x) - left
        wanted[y : y + height, x : x + width] = values[panel.where]
    np.testing.assert_array_equal(image, wanted.astype(image.dtype))
    back = np.asarray(pc.Disassemble(PanelGeometry(panels))(pc.Assemble()(dataset)))
    np.testing.assert_array_equal(back, values[: 2 * height, : 2 * width])
